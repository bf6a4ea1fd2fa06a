//! What the site says of requests that it could not answer, for who looks after the workload: lines that log rules read.
//!
//! A request waits for none of it. Lines are kept in memory for a moment and written together; where more comes than is
//! written, the rest is left out and counted in a line of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use host::Ctx;
use http::StatusCode;
use model::{TenantId, WorkloadId};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Lines that wait to be written.
const WAITING_MAX: usize = 1_000;
/// How long they wait.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Lines of one workload in that time.
const PER_WORKLOAD_MAX: usize = 20;
/// How much of a path is told, in characters.
const PATH_CHARS_MAX: usize = 500;

type Line = (TenantId, WorkloadId, String);

/// Where lines are said. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    lines: Sender<Line>,
    waiting: Arc<Mutex<Receiver<Line>>>,
    left_out: Arc<AtomicU64>,
}

impl Said {
    pub(crate) fn new() -> Self {
        let (lines, waiting) = mpsc::channel(WAITING_MAX);
        Self {
            lines,
            waiting: Arc::new(Mutex::new(waiting)),
            left_out: Arc::default(),
        }
    }

    /// Says how a request was answered, unless it was answered well.
    pub(crate) fn answered(
        &self,
        of: (TenantId, WorkloadId),
        request: &http::request::Parts,
        status: StatusCode,
    ) {
        if !status.is_client_error() && !status.is_server_error() {
            return;
        }
        let path: String = request.uri.path().chars().take(PATH_CHARS_MAX).collect();
        let line = format!("{} {} {path}", status.as_u16(), request.method);
        if self.lines.try_send((of.0, of.1, line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what was said, until the function stops.
    pub(crate) async fn write(self, ctx: Ctx) -> anyhow::Result<()> {
        let mut waiting = self.waiting.lock().await;
        loop {
            let stops = tokio::select! {
                () = ctx.stopping().cancelled() => true,
                () = tokio::time::sleep(WRITE_EVERY) => false,
            };
            let mut lines = Vec::new();
            while let Ok(line) = waiting.try_recv() {
                lines.push(line);
            }
            let lines = spare(lines, self.left_out.swap(0, Ordering::Relaxed));
            if !lines.is_empty() {
                ctx.store().append_site_lines(&lines).await?;
            }
            if stops {
                return Ok(());
            }
        }
    }
}

/// Up to so many lines of each workload, and one more that counts the others. `lost` never came so far; whose they were
/// nobody knows.
fn spare(lines: Vec<Line>, lost: u64) -> Vec<Line> {
    let mut counts: HashMap<(TenantId, WorkloadId), usize> = HashMap::new();
    let mut kept = Vec::new();
    for line in lines {
        let count = counts.entry((line.0, line.1)).or_default();
        *count += 1;
        if *count <= PER_WORKLOAD_MAX {
            kept.push(line);
        }
    }
    let over = counts
        .into_iter()
        .filter(|(_, count)| *count > PER_WORKLOAD_MAX);
    kept.extend(over.map(|((tenant, workload), count)| {
        let more = count - PER_WORKLOAD_MAX;
        (tenant, workload, format!("{more} more lines were left out"))
    }));
    if lost > 0 {
        tracing::warn!(lines = lost, "more was said of sites than is written");
    }
    kept
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_a_workload_says_too_much_is_counted() {
        let line = |workload: u128| {
            let tenant = TenantId::from(Uuid::from_u128(1));
            (
                tenant,
                Uuid::from_u128(workload).into(),
                "404 GET /".to_owned(),
            )
        };
        let mut lines = vec![line(1); PER_WORKLOAD_MAX + 5];
        lines.push(line(2));
        let kept = spare(lines, 0);
        assert_eq!(kept.len(), PER_WORKLOAD_MAX + 2);
        let last = kept.last().expect("there are some");
        assert_eq!(last.2, "5 more lines were left out");
    }
}
