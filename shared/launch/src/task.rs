//! A task whose jobs begin runs.

use host::{Ctx, Job, Outcome, Routes, TaskError};
use model::TaskPolicy;
use serde::de::DeserializeOwned;

use crate::Runners;
use crate::begin::stop;
use crate::unstarted::look_back;

/// As [`host::task`]; the run of a job that is asked to stop is stopped. When the function starts it looks once for runs that were
/// recorded before and whose runners were never heard of: one that is not there ends at once, and not when the time for its
/// first sign of life is over.
pub fn task<S, F, Fut>(policy: TaskPolicy, runners: Runners, run: F) -> Routes
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    let stopping = runners.clone();
    host::task_with_cancel(policy, run, move |_, what| stop(stopping.clone(), what))
        .beside(move |ctx| look_back(ctx, runners.clone()))
}
