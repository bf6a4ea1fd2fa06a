//! Our queue as the rows on it use it: a backlog, and clients that work it off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use model::{FinishReport, TaskPolicy, TenantId};
use queue::{ClaimedJob, Ended, Finish, Queue};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ground::Ground;

/// Jobs that a client claims at a time, where a row does not say otherwise.
pub const BATCH: i32 = 500;
/// Clients, each with one statement under way.
pub const CLIENTS: usize = 4;
/// What functions have by default.
pub const LEASE: Duration = Duration::from_secs(30);
/// Jobs added in one transaction when a backlog is made.
const FILL_CHUNK: i64 = 5_000;
/// How long a drain may take before it counts as stuck.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);
/// Between two claims that found nothing.
const IDLE: Duration = Duration::from_millis(1);

/// Jobs to be added. They are dealt out to tenants, then tasks, then queues, one after the other.
#[derive(Debug, Clone)]
pub struct Backlog<'a> {
    /// How many.
    pub jobs: i64,
    /// Whose.
    pub tenants: &'a [TenantId],
    /// Of which tasks.
    pub tasks: &'a [String],
    /// Over how many named queues of each tenant; each has jobs of one task.
    pub queues: Option<i64>,
    /// How much later they are due.
    pub later: Option<Duration>,
}

impl<'a> Backlog<'a> {
    /// Jobs that are due at once, in no named queue.
    pub fn new(jobs: i64, tenants: &'a [TenantId], tasks: &'a [String]) -> Self {
        Self {
            jobs,
            tenants,
            tasks,
            queues: None,
            later: None,
        }
    }

    /// Adds them as everybody does, many in a transaction.
    pub async fn add(&self, ground: &Ground) -> anyhow::Result<()> {
        let tenants: Vec<Uuid> = self.tenants.iter().map(|tenant| tenant.uuid()).collect();
        let mut connection = ground.connection().await?;
        let mut next = 0;
        while next < self.jobs {
            let end = (next + FILL_CHUNK).min(self.jobs);
            let added: i64 = sqlx::query_scalar(
                "select count(a.job_id)
                from generate_series($1::bigint, $2 - 1) n
                cross join lateral (select n / cardinality($3::uuid[]) as turn) t
                cross join lateral switchyard.add_job(
                    $3[1 + n % cardinality($3)],
                    $4[1 + coalesce(t.turn % $5, t.turn) % cardinality($4::text[])],
                    jsonb_build_object('id', n, 'data', 'test_' || n),
                    p_queue_name => 'queue-' || t.turn % $5::bigint,
                    p_run_at => clock_timestamp() + make_interval(secs => $6)
                ) a",
            )
            .bind(next)
            .bind(end)
            .bind(&tenants)
            .bind(self.tasks)
            .bind(self.queues)
            .bind(self.later.map(|later| later.as_secs_f64()))
            .fetch_one(&mut connection)
            .await
            .context("could not add jobs")?;
            anyhow::ensure!(added == end - next, "{added} of {} were added", end - next);
            next = end;
        }
        Ok(())
    }
}

/// So many jobs a second.
pub fn rate(jobs: i64, elapsed: Duration) -> f64 {
    jobs as f64 / elapsed.as_secs_f64()
}

/// Makes tasks known, named `<name>-0` and so on.
pub async fn tasks(ground: &Ground, name: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let mut owner = ground.connection().await?;
    let names: Vec<String> = (0..count)
        .map(|number| format!("{name}-{number}"))
        .collect();
    for name in &names {
        queue::know_task(&mut owner, name, &TaskPolicy::DEFAULT).await?;
    }
    Ok(names)
}

/// Clients that claim and finish until so many jobs are done.
#[derive(Debug, Clone)]
pub struct Drain<'a> {
    /// Of these tasks.
    pub tasks: &'a [String],
    /// How many jobs are finished before the clients stop.
    pub jobs: u64,
    /// Jobs claimed at a time.
    pub batch: i32,
    /// How they all end.
    pub ended: Ended,
}

impl<'a> Drain<'a> {
    /// All of these succeed, in batches.
    pub fn new(tasks: &'a [String], jobs: u64) -> Self {
        Self {
            tasks,
            jobs,
            batch: BATCH,
            ended: Ended::Succeeded,
        }
    }

    /// From the first claim to the last finish.
    pub async fn run(&self, queue: &Queue) -> anyhow::Result<Duration> {
        self.counting(queue, |_| true).await
    }

    /// The same until so many of those jobs are done that count.
    pub async fn counting(
        &self,
        queue: &Queue,
        counts: impl Fn(&ClaimedJob) -> bool + Send + Sync + 'static,
    ) -> anyhow::Result<Duration> {
        // Who connects first must not be ahead.
        let mut opening = JoinSet::new();
        for _ in 0..CLIENTS {
            let queue = queue.clone();
            opening.spawn(async move { queue.next_due().await });
        }
        while let Some(opened) = opening.join_next().await {
            opened??;
        }
        let (done, counts) = (Arc::new(AtomicU64::new(0)), Arc::new(counts));
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (it, queue) = (self.owned(), queue.clone());
            let (done, counts) = (Arc::clone(&done), Arc::clone(&counts));
            clients.spawn(async move {
                let worker = Uuid::new_v4();
                while done.load(Ordering::Relaxed) < it.jobs {
                    let claimed = queue.claim(worker, &it.tasks, it.batch, LEASE).await?;
                    if claimed.is_empty() {
                        tokio::time::sleep(IDLE).await;
                        continue;
                    }
                    let counted = claimed.iter().filter(|job| counts(job)).count();
                    finish(&queue, &claimed, it.ended).await?;
                    done.fetch_add(u64::try_from(counted)?, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        let all = async {
            while let Some(ended) = clients.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(DRAIN_TIMEOUT, all)
            .await
            .context("the jobs were not worked off in time")??;
        Ok(begun.elapsed())
    }

    fn owned(&self) -> OwnedDrain {
        OwnedDrain {
            tasks: self.tasks.to_vec(),
            jobs: self.jobs,
            batch: self.batch,
            ended: self.ended,
        }
    }
}

struct OwnedDrain {
    tasks: Vec<String>,
    jobs: u64,
    batch: i32,
    ended: Ended,
}

/// Finishes jobs that are held; each must be recorded.
pub async fn finish(queue: &Queue, claimed: &[ClaimedJob], ended: Ended) -> anyhow::Result<()> {
    let finishes: Vec<Finish> = claimed
        .iter()
        .map(|job| Finish {
            hold: job.hold,
            ended,
            reason: (ended == Ended::Dead).then(|| "it never will".to_owned()),
            result: None,
        })
        .collect();
    let reports = queue.finish(&finishes).await?;
    let applied = reports
        .iter()
        .filter(|(_, report)| matches!(report, FinishReport::Applied(_)))
        .count();
    anyhow::ensure!(
        applied == claimed.len(),
        "{applied} of {} ends were recorded",
        claimed.len()
    );
    Ok(())
}
