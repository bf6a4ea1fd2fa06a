//! Runs terraform: plans, asks a person, applies exactly what was approved, destroys, and looks for drift.
//!
//! One job is one plan and what becomes of it. Its first run plans and keeps the plan, sealed; where there are changes the job
//! waits for a decision. Approved, the same job is claimed again and its second run applies that very plan, if the state is still
//! the one that it was made from. An apply is never begun a second time by itself: whoever lost one is told what to look at.

mod apply;
mod backend;
mod configuration;
mod settings;
mod spec;

use anyhow::{Context as _, anyhow};
use host::{Ctx, Function, Job, Kind, Outcome, TaskError};
use model::{DatabaseRole, TaskPolicy};
use queue::runs::RunState;
use runs::terraform::{Action, Payload};
use serde_json::Value;

use crate::settings::Worker;
use crate::spec::Phase;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |env| {
        let worker = Worker::new(env)?;
        let runners = worker.runners.clone();
        Ok(launch::task(POLICY, runners, move |ctx, job| {
            run(ctx, worker.clone(), job)
        }))
    },
};

/// The usual: a fetch may take a minute; what takes longer is a run.
const POLICY: TaskPolicy = TaskPolicy::DEFAULT;

async fn run(ctx: Ctx, worker: Worker, job: Job<Value>) -> Result<Outcome, TaskError> {
    // What is wrong with it was said to who asked; what comes from a binding is checked here first.
    let payload: Payload = runs::read(&job.spec).map_err(TaskError::fail)?;
    payload.check().map_err(TaskError::fail)?;
    if payload.auto_approve && !worker.auto_approve {
        return Err(TaskError::fail(anyhow!(
            "auto_approve: this installation applies nothing without a decision (TERRAFORM_AUTO_APPROVE is not set)"
        )));
    }
    let last = ctx
        .queue()
        .last_run(job.tenant, job.id())
        .await
        .context("what became of earlier runs of this job cannot be read")
        .map_err(TaskError::retry)?;
    match last {
        None => begin(&ctx, &worker, &job, &payload).await,
        Some(last) if last.phase == Phase::Apply.as_str() => Err(apply::lost(&last)),
        Some(last) if last.state == RunState::Succeeded => {
            apply::approved(&ctx, &worker, &job, &payload, &last).await
        }
        // A plan changes nothing but the time on the clock: it is made again.
        Some(_) => begin(&ctx, &worker, &job, &payload).await,
    }
}

async fn begin(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
) -> Result<Outcome, TaskError> {
    let configuration = configuration::of(ctx, worker, job, payload).await?;
    let phase = match payload.action {
        Action::Drift => Phase::Drift,
        Action::Apply if payload.auto_approve => Phase::Apply,
        Action::Plan | Action::Apply | Action::Destroy => Phase::Plan,
    };
    let spec =
        spec::first(ctx, worker, job, payload, &configuration, phase).map_err(TaskError::fail)?;
    launch::start(ctx, job, &worker.runners, spec).await
}
