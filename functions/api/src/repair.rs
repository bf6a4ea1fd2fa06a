//! Repair by hand of what is the tenant's: for when something stands still that should go on by itself.

use axum::response::{IntoResponse, Response};
use host::metrics::Repair;
use model::{JobId, Role};
use queue::By;
use queue::repair::{self, Chosen, JobRepair, REPAIRED_MAX, Run};
use serde::Deserialize;

use crate::answer;
use crate::asked::{Asked, Given};
use crate::problem::Problem;

/// What to do.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Tell those who work on tasks that there is work.
    Republish,
    /// Take jobs back from whoever has them.
    Reap,
    /// Make jobs ready now.
    Requeue,
}

/// What to repair, and how much of it at most.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    kind: Kind,
    jobs: Option<Vec<JobId>>,
    task: Option<String>,
    worker: Option<String>,
    limit: Option<i32>,
    #[serde(default)]
    dry_run: bool,
    why: Option<String>,
}

pub(crate) async fn repair(
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<Response, Problem> {
    let by = By {
        name: asked.may(Role::Admin)?,
        why: wanted.why.as_deref(),
    };
    let limit = wanted.limit.unwrap_or(REPAIRED_MAX);
    let run = if wanted.dry_run { Run::Dry } else { Run::Real };
    let chosen = Chosen {
        jobs: wanted.jobs.as_deref(),
        task: wanted.task.as_deref(),
        worker: wanted.worker.as_deref(),
    };
    let mut tx = asked.begin().await?;
    let jobs = match wanted.kind {
        Kind::Republish if chosen.jobs.is_some() || chosen.worker.is_some() => {
            return Err(Problem::BadBody(
                "tasks are told that there is work, not jobs or workers: say a task, or nothing for all"
                    .to_owned(),
            ));
        }
        Kind::Republish => {
            let report = repair::repair_own_wakeups(&mut tx, chosen.task, limit, run, by).await?;
            tx.commit().await?;
            return Ok(answer(report).into_response());
        }
        Kind::Reap => JobRepair::Reap,
        Kind::Requeue => JobRepair::Requeue,
    };
    let report = repair::repair_own_jobs(&mut tx, jobs, &chosen, limit, run, by).await?;
    tx.commit().await?;
    if run == Run::Real {
        let given_back = report.items.iter().filter(|job| job.did == "requeued");
        let given_back = u64::try_from(given_back.count()).unwrap_or(u64::MAX);
        asked.metrics().repaired(Repair::Requeued, given_back);
    }
    Ok(answer(report).into_response())
}
