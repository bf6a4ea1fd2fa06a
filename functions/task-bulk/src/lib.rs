//! Does to many what a person asked for all that match: replays or purges dead jobs, makes the events of deliveries again.
//!
//! A job of this task goes on part by part. Each part, and how far the job is after it, is one transaction under the job's
//! epoch: a worker that dies in between repeats nothing and counts nothing twice, and one that lost its hold changes nothing.
//! Who asks the job to stop waits for one part at most; what was done until then stays done.

use std::time::Duration;

use host::{Ctx, Function, Job, Kind, Outcome, TaskError};
use model::{DatabaseRole, TaskPolicy};
use queue::dead::{BulkJob, BulkProgress, BulkStep};
use queue::replays::ReplayJob;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |_| Ok(host::task(POLICY, run)),
};

/// The usual; an attempt ends by itself long before its time is over.
const POLICY: TaskPolicy = TaskPolicy::DEFAULT;

/// Dead jobs that one part looks at: what is locked meanwhile is free again after some 100 ms.
const PART_JOBS: i32 = 500;
/// Deliveries that one part looks at, for the same reason.
const PART_DELIVERIES: i32 = 200;

/// What a job of this task says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Bulk {
    Dead(BulkJob),
    Deliveries(ReplayJob),
}

/// After this time an attempt makes room for other jobs and goes on later, uncounted.
const TURN: Duration = Duration::from_secs(60);

async fn run(ctx: Ctx, job: Job<Bulk>) -> Result<Outcome, TaskError> {
    let started = Instant::now();
    loop {
        // Each part goes on where the last one ended, also after an answer that was lost.
        let part = async || match &job.spec {
            Bulk::Dead(dead) => ctx.queue().bulk_step(job.hold, dead, PART_JOBS).await,
            Bulk::Deliveries(them) => {
                let queue = ctx.queue();
                queue.replay_step(job.hold, them, PART_DELIVERIES).await
            }
        };
        let step = database::answered(part).await.map_err(TaskError::retry)?;
        let progress = match step {
            // Whoever holds it now goes on; the host drops what this attempt says.
            BulkStep::Stale | BulkStep::Stop => return Err(TaskError::Stopped),
            BulkStep::Over(progress) => {
                job.log.line(progress.message.clone()).await;
                return Ok(Outcome::DoneWith(result(&progress)));
            }
            BulkStep::More(progress) => progress,
        };
        if job.cancelled().is_cancelled() {
            return Err(TaskError::Stopped);
        }
        if started.elapsed() >= TURN {
            return Ok(Outcome::Snooze {
                delay: Duration::ZERO,
                reason: format!("goes on: {}", progress.message),
            });
        }
    }
}

/// What the job has to say at its end.
fn result(progress: &BulkProgress) -> serde_json::Value {
    json!({
        "matched": progress.done,
        "did": progress.did,
        "refused": progress.refused,
        "skipped": progress.skipped,
    })
}

#[cfg(test)]
mod tests;
