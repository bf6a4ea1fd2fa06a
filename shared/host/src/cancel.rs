//! Stopping what a job left running outside, by the handle it recorded: by whichever replica hears of it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::{FinishReport, TaskPolicy};
use queue::{CancelTry, Hold};
use serde::de::DeserializeOwned;

use crate::attempt::{again, reading};
use crate::drain::routes;
use crate::metrics::Stopped;
use crate::tasks::Serves;
use crate::{Ctx, Job, Outcome, Routes, TaskError};

/// How long one try to stop work outside may take.
const TRY_MAX: Duration = Duration::from_secs(20);
/// For so long nobody else tries: a try, and what it takes to record it.
const AT_IT: Duration = Duration::from_secs(30);

/// What became of a try to stop work outside.
#[derive(Debug)]
pub enum CancelReport {
    /// It is known to have stopped, or never to have started.
    Applied,
    /// It cannot be stopped as things are, and why. The job stays visible as being cancelled.
    Cannot(String),
    /// It is not known, because of this: tried again, with a growing wait.
    Retry(anyhow::Error),
}

type Stop = dyn Fn(Ctx, CancelTry) -> BoxFuture<'static, CancelReport> + Send + Sync;

/// What a function can stop.
#[derive(Clone)]
pub(crate) enum Stops {
    /// Nothing: its jobs leave nothing running outside.
    Nothing,
    /// What this stops.
    ByHandle(Arc<Stop>),
}

impl fmt::Debug for Stops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::ByHandle(_) => "ByHandle(..)",
        })
    }
}

impl Stops {
    pub(crate) fn by_handle<C, CFut>(stop: C) -> Self
    where
        C: Fn(Ctx, CancelTry) -> CFut + Send + Sync + 'static,
        CFut: Future<Output = CancelReport> + Send + 'static,
    {
        Self::ByHandle(Arc::new(move |ctx, what| stop(ctx, what).boxed()))
    }
}

/// A task whose jobs leave work running outside: as [`crate::task`], and `stop` is called when such a job is asked to stop,
/// on any replica, more than once if need be, never for one job at two places at a time.
pub fn task_with_cancel<S, F, Fut, C, CFut>(policy: TaskPolicy, run: F, stop: C) -> Routes
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
    C: Fn(Ctx, CancelTry) -> CFut + Send + Sync + 'static,
    CFut: Future<Output = CancelReport> + Send + 'static,
{
    routes(policy, Serves::Own, reading(run), Stops::by_handle(stop))
}

/// Takes up the cancel of a job if there is work outside to stop and its time has come, and records what became of it.
pub(crate) async fn by_handle(ctx: Ctx, stops: Stops, hold: Hold) -> Result<(), sqlx::Error> {
    let Some(what) = ctx.queue().take_cancel(hold, AT_IT).await? else {
        return Ok(());
    };
    let tries = what.tries;
    let report = match stops {
        Stops::Nothing => CancelReport::Cannot(format!(
            "{} does not know how to stop what it started",
            ctx.function()
        )),
        Stops::ByHandle(stop) => {
            let trying = AssertUnwindSafe(stop(ctx.clone(), what)).catch_unwind();
            match tokio::time::timeout(TRY_MAX, trying).await {
                Ok(Ok(report)) => report,
                Ok(Err(panic)) => CancelReport::Retry(anyhow::anyhow!(
                    "stopping it panicked: {}",
                    crate::serve::panic_text(&*panic)
                )),
                Err(_) => CancelReport::Retry(anyhow::anyhow!(
                    "stopping it took longer than {} s",
                    TRY_MAX.as_secs()
                )),
            }
        }
    };
    let queue = ctx.queue();
    let recorded = match &report {
        CancelReport::Applied => again(|| queue.cancel_applied(hold)).await,
        CancelReport::Cannot(why) => again(|| queue.cancel_cannot(hold, why)).await,
        CancelReport::Retry(error) => {
            let why = format!("{error:#}");
            again(|| queue.cancel_again(hold, &why)).await
        }
    };
    if !matches!(report, CancelReport::Applied) && recorded != Some(FinishReport::Stale) {
        ctx.metrics().stopped(ctx.function(), Stopped::Failed);
    }
    let job = hold.job.0;
    match (report, recorded) {
        (_, Some(FinishReport::Stale)) => {
            tracing::info!(job.id = job, "the job ended before its work was stopped");
        }
        (CancelReport::Applied, _) => {
            tracing::info!(job.id = job, tries, "its work outside was stopped");
        }
        (CancelReport::Cannot(why), _) => {
            tracing::warn!(
                job.id = job,
                tries,
                "its work outside cannot be stopped: {why}"
            );
        }
        (CancelReport::Retry(error), _) => {
            tracing::warn!(
                job.id = job,
                tries,
                "its work outside was not stopped yet: {error:#}"
            );
        }
    }
    Ok(())
}
