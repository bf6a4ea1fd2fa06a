//! Runs that were recorded and whose runners were never started, because whoever was about to start them went away.

use std::time::Duration;

use anyhow::Context as _;
use host::Ctx;
use queue::runs::Launching;

use crate::begin::lost;
use crate::{Look, RunId, Runners};

/// How long who recorded a run may take to start its runner: it may be another process than this one, and is not told apart.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Looks once, and ends with the function.
pub(crate) async fn look_back(ctx: Ctx, runners: Runners) -> anyhow::Result<()> {
    let launcher = runners.launcher();
    let task = ctx.function();
    let launching = database::answered(|| ctx.queue().launching_runs(task, launcher.name()))
        .await
        .context("runs that were not started cannot be read")?;
    if !launching.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(STARTED_WITHIN) => {}
            () = ctx.stopping().cancelled() => return Ok(()),
        }
    }
    for run in launching {
        look(&ctx, &runners, run).await;
    }
    ctx.stopping().cancelled().await;
    Ok(())
}

async fn look(ctx: &Ctx, runners: &Runners, run: Launching) {
    let id = RunId {
        tenant: run.tenant,
        job: run.hold.job,
        epoch: run.hold.epoch,
    };
    match runners.launcher().look(&run.handle).await {
        Ok(Look::Lives | Look::Elsewhere) => {}
        Ok(Look::Gone(last)) => {
            let why = last.unwrap_or_else(|| "it is not where it was to be started".to_owned());
            lost(ctx, id, &why).await;
        }
        Err(error) => tracing::warn!(
            job.id = id.job.0,
            "whether a runner was started cannot be seen, its lease will tell of it: {error:#}"
        ),
    }
}
