//! What follows a plan: the apply of exactly that one, once.

use anyhow::{Context as _, anyhow};
use artifacts::ArtifactName;
use checkout::SOURCE;
use host::{Ctx, Job, Outcome, TaskError};
use model::run::FileContent;
use queue::Hold;
use queue::runs::{LastRun, RunState};
use runs::terraform::Payload;
use serde_json::Value;
use store::artifacts::Artifact;

use crate::backend::Backend;
use crate::configuration;
use crate::settings::Worker;
use crate::spec::{self, PLAN};

/// Begins the apply of a plan that was approved.
pub(crate) async fn approved(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
    planned: &LastRun,
) -> Result<Outcome, TaskError> {
    let by = ctx
        .store()
        .approved_by(job.tenant, job.id(), planned.epoch)
        .await
        .context("who approved the plan cannot be read")
        .map_err(TaskError::retry)?;
    let Some(by) = by.filter(|_| !payload.untrusted) else {
        return Err(TaskError::fail(anyhow!(
            "the plan is there and nobody approved it: start the run again"
        )));
    };
    let moved = ctx
        .store()
        .terraform_state_moved(job.tenant, job.id(), planned.epoch)
        .await
        .context("the state cannot be compared with the one that was planned from")
        .map_err(TaskError::retry)?;
    if moved == Some(true) {
        return Err(TaskError::fail(anyhow!(
            "the state has changed since the plan was made, and nothing was applied: start the run again for a new plan"
        )));
    }
    let hold = Hold {
        job: job.id(),
        epoch: planned.epoch,
    };
    let plan = artifact(ctx, job, hold, PLAN).await?.ok_or_else(|| {
        TaskError::fail(anyhow!(
            "the plan that was approved is not there any more: start the run again for a new plan"
        ))
    })?;
    if planned.report.artifacts.get(PLAN) != Some(&plan.sha256) {
        return Err(TaskError::fail(anyhow!(
            "the plan that is kept is not the one that was approved: nothing was applied"
        )));
    }
    let configuration = match artifact(ctx, job, hold, SOURCE).await? {
        Some(source) => {
            // Planning asked us for the state if it is ours, and that is on record.
            let backend = if moved.is_some() {
                Backend::Ours
            } else {
                Backend::Own
            };
            configuration::kept(payload, source.id, source.sha256, backend)
        }
        None => configuration::inline(payload),
    };
    job.log
        .line(format!(
            "approved by {by}: applying the plan {}",
            plan.sha256
        ))
        .await;
    let plan = FileContent::Artifact {
        id: plan.id,
        sha256: plan.sha256,
    };
    let spec =
        spec::second(ctx, worker, job, payload, &configuration, plan).map_err(TaskError::fail)?;
    launch::start(ctx, job, &worker.runners, spec).await
}

async fn artifact(
    ctx: &Ctx,
    job: &Job<Value>,
    hold: Hold,
    name: &str,
) -> Result<Option<Artifact>, TaskError> {
    let name = ArtifactName::new(name).map_err(TaskError::fail)?;
    ctx.store()
        .artifact_named(job.tenant, hold, &name)
        .await
        .context("what the plan's run kept cannot be read")
        .map_err(TaskError::retry)
}

/// Why a job whose apply began and did not come to an end is not tried again.
pub(crate) fn lost(last: &LastRun) -> TaskError {
    let what = match last.state {
        RunState::Lost | RunState::Launching | RunState::Running => {
            let how = last.reason.as_deref().unwrap_or("its runner went away");
            format!("while it applied, {how}")
        }
        RunState::Succeeded | RunState::Failed | RunState::Cancelled => {
            "its apply is over".to_owned()
        }
    };
    TaskError::fail(anyhow!(
        "{what}. An apply is not begun twice. Look at the log for what was changed, at the state's versions (one that came \
         too late is quarantined there), and plan again: the plan shows what is left to do"
    ))
}
