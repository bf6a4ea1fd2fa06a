//! A job's log: lines go out in batches, numbered, under the job's epoch.

use std::time::Duration;

use model::{LogLine, LogStream};
use queue::{Hold, Queue};
use tokio::sync::{mpsc, oneshot};

/// The longest line, in bytes; what is longer is cut and says so.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// What is kept of one attempt, in bytes; then a line says that there was more.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a line costs beside its text.
const LINE_OVERHEAD_BYTES: usize = 64;
/// Lines that may wait to be written. Whoever writes faster waits.
const WAITING_MAX: usize = 1024;
/// Lines written at a time.
const BATCH_MAX: usize = 256;
/// How long a line waits for others before it is written.
const BATCH_WAIT: Duration = Duration::from_millis(50);
/// How often a batch is tried while the database does not answer, and how long is waited in between.
const TRIES_MAX: usize = 5;
const TRY_WAIT: Duration = Duration::from_millis(500);

/// Writes lines to a job's log. Cheap to clone; lines keep the order of the calls on one clone.
#[derive(Debug, Clone)]
pub struct JobLog {
    lines: mpsc::Sender<Entry>,
}

#[derive(Debug)]
enum Entry {
    Line(LogStream, String),
    Flush(oneshot::Sender<()>),
}

impl JobLog {
    /// A log, and the work that writes it; it ends when the last clone is dropped.
    pub(crate) fn new(queue: Queue, hold: Hold) -> (Self, impl Future<Output = ()> + Send) {
        let (lines, waiting) = mpsc::channel(WAITING_MAX);
        (Self { lines }, write(queue, hold, waiting))
    }

    /// Says something about the work.
    pub async fn line(&self, text: impl Into<String>) {
        self.write(LogStream::Task, text).await;
    }

    /// Passes on a line of a program's output.
    pub async fn write(&self, stream: LogStream, text: impl Into<String>) {
        for line in text.into().split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            // The writer ends only when the hold is over: then nobody reads these lines.
            // A NUL cannot be stored; what stands for it is longer, so that it is put in before the line is measured.
            let line = line.replace('\0', "\u{fffd}");
            self.lines.send(Entry::Line(stream, cut(&line))).await.ok();
        }
    }

    /// Waits until everything so far is written, or is known not to be.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.lines.send(Entry::Flush(done)).await.is_ok() {
            written.await.ok();
        }
    }
}

fn cut(line: &str) -> String {
    if line.len() <= LINE_BYTES_MAX {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(LINE_BYTES_MAX);
    format!("{}… [{} bytes cut]", &line[..end], line.len() - end)
}

/// How much more of an attempt's output is kept.
#[derive(Debug)]
pub struct LogRoom {
    bytes: usize,
}

impl Default for LogRoom {
    fn default() -> Self {
        Self {
            bytes: KEPT_BYTES_MAX,
        }
    }
}

impl LogRoom {
    /// What stands for all that is not kept.
    #[must_use]
    pub fn mark() -> String {
        format!(
            "… [what follows is not kept: the output is longer than {} MiB]",
            KEPT_BYTES_MAX / (1024 * 1024)
        )
    }

    /// Whether no more is kept.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.bytes == 0
    }

    /// The text if it is kept; in its place, once, that there was more.
    pub fn take(&mut self, text: String) -> Option<String> {
        if self.bytes == 0 {
            return None;
        }
        match self.bytes.checked_sub(text.len() + LINE_OVERHEAD_BYTES) {
            Some(left @ 1..) => {
                self.bytes = left;
                Some(text)
            }
            Some(0) | None => {
                self.bytes = 0;
                Some(Self::mark())
            }
        }
    }
}

async fn write(queue: Queue, hold: Hold, mut waiting: mpsc::Receiver<Entry>) {
    let mut seq = 0;
    let mut room = LogRoom::default();
    let mut entries = Vec::new();
    while waiting.recv_many(&mut entries, BATCH_MAX).await > 0 {
        let flushed =
            |entries: &[Entry]| entries.iter().any(|entry| matches!(entry, Entry::Flush(_)));
        if !flushed(&entries) && !room.is_over() {
            // More lines usually follow at once: one statement serves them all.
            tokio::time::sleep(BATCH_WAIT).await;
            while entries.len() < BATCH_MAX
                && let Ok(entry) = waiting.try_recv()
            {
                entries.push(entry);
            }
        }
        let mut lines = Vec::with_capacity(entries.len());
        let mut flushes = Vec::new();
        for entry in entries.drain(..) {
            match entry {
                Entry::Line(stream, text) => {
                    if let Some(text) = room.take(text) {
                        seq += 1;
                        lines.push(LogLine { seq, stream, text });
                    }
                }
                Entry::Flush(done) => flushes.push(done),
            }
        }
        if !lines.is_empty() && !append(&queue, hold, &lines).await {
            return;
        }
        for done in flushes {
            // Who asked may have gone.
            done.send(()).ok();
        }
    }
}

/// False when there is no use in going on.
async fn append(queue: &Queue, hold: Hold, lines: &[LogLine]) -> bool {
    for attempt in 1.. {
        match queue.append_log(hold, lines).await {
            Ok(held) => return held,
            Err(error) if database::is_passing(&error) && attempt < TRIES_MAX => {
                tokio::time::sleep(TRY_WAIT).await;
            }
            Err(error) => {
                tracing::warn!(
                    job.id = hold.job.0,
                    error = &error as &dyn std::error::Error,
                    "{} log lines could not be written",
                    lines.len()
                );
                return true;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_at_a_character_and_says_so() {
        let line = "é".repeat(LINE_BYTES_MAX);
        let cut = cut(&line);
        assert!(cut.len() < LINE_BYTES_MAX + 40, "{}", cut.len());
        assert!(
            cut.ends_with("[16384 bytes cut]"),
            "{}",
            &cut[cut.len() - 30..]
        );
        assert_eq!(super::cut("short"), "short");
    }

    #[test]
    fn of_endless_output_the_beginning_is_kept_and_that_there_was_more() {
        let mut room = LogRoom::default();
        let line = "a".repeat(LINE_BYTES_MAX);
        let kept: Vec<String> = (0..100_000)
            .filter_map(|_| room.take(line.clone()))
            .collect();
        let bytes: usize = kept.iter().map(String::len).sum();
        assert!(bytes <= KEPT_BYTES_MAX, "{bytes}");
        let (last, before) = kept.split_last().expect("some are kept");
        assert!(before.iter().all(|text| *text == line));
        assert!(last.contains("longer than 16 MiB"), "{last}");
    }
}
