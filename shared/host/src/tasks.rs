//! The frame of a function that works on the jobs of other people's functions: which tasks those are it looks up, so that
//! a task changes hands by a change of its row.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use events::{Message, Value};
use model::{JobQueued, TaskPolicy};
use queue::ClaimedJob;
use serde::de::DeserializeOwned;

use crate::attempt::reading;
use crate::cancel::Stops;
use crate::{Ctx, Job, Outcome, Routes, TaskError, drain};

/// What wake-ups say of who works on their task, as an extension of that name.
const EXECUTOR: &str = "executor";
/// Somebody else's function, called by one of ours.
const EXTERNAL: &str = "external";

type Found = Pin<Box<dyn Future<Output = Result<Vec<String>, sqlx::Error>> + Send>>;

/// Whose jobs a function works on.
#[derive(Clone)]
pub(crate) enum Serves {
    /// Those of the task that has the function's name.
    Own,
    /// Those of the tasks that this finds; asked before each claim.
    Found(Arc<dyn Fn(Ctx) -> Found + Send + Sync>),
}

/// Works on the jobs of all tasks that `which` finds, which is asked before each claim, and of those that have no row where
/// their tenant's default is an executor outside. `run` is called for each attempt. The
/// routes take wake-ups of tasks that have an executor outside.
///
/// An attempt is dropped after the policy's time at the latest, whatever its own task allows.
pub fn tasks<S, W, WFut, F, Fut>(policy: TaskPolicy, which: W, run: F) -> Routes
where
    S: DeserializeOwned + Send + 'static,
    W: Fn(Ctx) -> WFut + Send + Sync + 'static,
    WFut: Future<Output = Result<Vec<String>, sqlx::Error>> + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    let which = Arc::new(move |ctx| -> Found { Box::pin(which(ctx)) });
    drain::routes(policy, Serves::Found(which), reading(run), Stops::Nothing)
}

impl Serves {
    /// Whether a wake-up is for this function.
    pub(crate) fn takes(&self, ctx: &Ctx, wakeup: &JobQueued) -> bool {
        match self {
            Self::Own => wakeup.task == ctx.function(),
            Self::Found(_) => true,
        }
    }

    /// Whether a wake-up that came here is for who else works on its task now.
    pub(crate) fn leaves(&self, ctx: &Ctx, wakeup: &JobQueued, message: &Message) -> bool {
        let external = message.attribute(EXECUTOR) == Some(Value::from(EXTERNAL));
        match self {
            Self::Own => external && wakeup.task == ctx.function(),
            Self::Found(_) => !external,
        }
    }

    /// Claims up to so many jobs.
    pub(crate) async fn claim(
        &self,
        ctx: &Ctx,
        most: usize,
    ) -> Result<Vec<ClaimedJob>, sqlx::Error> {
        let (queue, worker, lease) = (ctx.queue(), ctx.worker(), ctx.timing().lease);
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let which = match self {
            Self::Own => {
                let own = [ctx.function().to_owned()];
                return queue.claim(worker, &own, most, lease).await;
            }
            Self::Found(which) => which,
        };
        let tasks = which(ctx.clone()).await?;
        let mut jobs = if tasks.is_empty() {
            Vec::new()
        } else {
            queue.claim(worker, &tasks, most, lease).await?
        };
        let left = most.saturating_sub(i32::try_from(jobs.len()).unwrap_or(i32::MAX));
        if left > 0 {
            match queue.claim_by_default(worker, left, lease).await {
                Ok(more) => jobs.extend(more),
                Err(error) if jobs.is_empty() => return Err(error),
                // What is claimed is worked on; the rest comes with the next claim.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "jobs of tasks without a row could not be claimed"
                ),
            }
        }
        Ok(jobs)
    }
}

impl fmt::Debug for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "Own",
            Self::Found(_) => "Found(..)",
        })
    }
}
