//! From a claimed job to a runner, and back when it has to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chrono::TimeDelta;
use host::metrics::Repair;
use host::{CancelReport, Ctx, Job, Outcome, TaskError};
use model::run::{Program, RunEnd, RunOver, RunReport, RunSpec};
use queue::runs::{Begun, NewRun};
use queue::{CancelTry, Hold};
use secrecy::SecretString;
use serde_json::Value;
use store::{CallbackToken, RUN_SPEC_BYTES_MAX, run_spec_slot};

use crate::{Launch, Launcher, RunId, Settings, Stopped};

/// For how much longer than the run itself its token is good: a runner that could not say its last word for a day may say it
/// then, and is told that it is late.
const TOKEN_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);
/// What a runner needs beside its steps: to fetch, to send what is kept, to say its last word.
const ROUND_THE_STEPS: Duration = Duration::from_secs(15 * 60);

/// Where runs of a task are done, and how. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runners {
    launcher: Arc<dyn Launcher>,
    settings: Settings,
}

impl Runners {
    /// Runs that this launcher starts.
    #[must_use]
    pub fn new(launcher: Arc<dyn Launcher>, settings: Settings) -> Self {
        Self { launcher, settings }
    }

    /// What the operator says of them.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where they run.
    #[must_use]
    pub fn launcher(&self) -> &dyn Launcher {
        &*self.launcher
    }
}

/// Begins a run for a job that is held: seals what the runner is told, lets the job wait for it, and starts it. A job that was
/// asked to stop meanwhile is cancelled instead, and nothing is started. A spec without a heartbeat gets the installation's.
///
/// # Errors
/// When the spec cannot be, something of an earlier run of the job still runs, or the database does not answer.
pub async fn start<S>(
    ctx: &Ctx,
    job: &Job<S>,
    runners: &Runners,
    mut spec: RunSpec,
) -> Result<Outcome, TaskError> {
    if spec.heartbeat_ms == 0 {
        spec.heartbeat_ms =
            u64::try_from(runners.settings.heartbeat().as_millis()).unwrap_or(u64::MAX);
    }
    check(&spec, &runners.settings).map_err(TaskError::fail)?;
    let plain = serde_json::to_vec(&spec)
        .context("what the runner is told cannot be written")
        .map_err(TaskError::fail)?;
    if plain.len() > RUN_SPEC_BYTES_MAX {
        return Err(TaskError::fail(anyhow!(
            "what the runner is told has {} bytes, more than {RUN_SPEC_BYTES_MAX}: large files travel as artifacts",
            plain.len()
        )));
    }
    let id = RunId {
        tenant: job.tenant,
        job: job.id(),
        epoch: job.hold.epoch,
    };
    let launcher = runners.launcher();
    // Two runs of one job never meet.
    launcher
        .clear(id)
        .await
        .context("an earlier run of this job is not gone yet")
        .map_err(TaskError::retry)?;
    let keyring = ctx.keyring().map_err(TaskError::fail)?;
    let sealed = keyring.seal_packed(run_spec_slot(id.tenant, id.job, id.epoch), &plain);
    let time = Duration::from_secs(spec.limits.time_secs);
    let launch = Launch {
        id,
        handle: launcher.handle(id),
        callback: runners.settings.callback_url.clone(),
        token: token(ctx, id, time).map_err(TaskError::fail)?,
        time_max: time.saturating_add(ROUND_THE_STEPS),
        stop_max: stop_max(&spec),
    };
    let steps: Vec<String> = spec.steps.iter().map(|step| step.name.clone()).collect();
    let run = NewRun {
        phase: &spec.phase,
        launcher: launcher.name(),
        spec: &sealed,
        handle: &launch.handle,
        steps: &steps,
        start_within: runners.settings.start_within(),
        lease: runners.settings.lease(),
        time: launch.time_max,
        then: spec.then,
        retry: spec.retry,
    };
    let begun = database::answered(|| ctx.queue().begin_run(job.hold, &run))
        .await
        .context("that the job waits for a runner could not be recorded")
        .map_err(TaskError::retry)?;
    match begun {
        Begun::Waiting => {}
        Begun::Cancelled | Begun::Stale => return Ok(Outcome::Recorded),
    }
    tracing::info!(
        job.id = id.job.0,
        run.phase = spec.phase,
        run.launcher = launcher.name(),
        "a run begins"
    );
    match launcher.launch(&launch).await {
        Ok(()) => watch(ctx, runners, id, launch.handle),
        Err(error) => not_started(ctx, id, job.hold, &error).await,
    }
    Ok(Outcome::Recorded)
}

/// For as long as this process lives it tells of a runner that is gone without its last word; afterwards the run's lease does.
fn watch(ctx: &Ctx, runners: &Runners, id: RunId, handle: Value) {
    let launcher = Arc::clone(&runners.launcher);
    let own = ctx.clone();
    // Waited for by nobody: it ends with the runner, or when the function stops.
    drop(ctx.spawn(async move {
        let gone = tokio::select! {
            gone = launcher.gone(&handle) => gone,
            () = own.stopping().cancelled() => return,
        };
        match gone {
            Ok(None) => {}
            Ok(Some(why)) => lost(&own, id, &why).await,
            Err(error) => tracing::warn!(
                job.id = id.job.0,
                "a runner cannot be watched, its lease will tell of it: {error:#}"
            ),
        }
    }));
}

pub(crate) async fn lost(ctx: &Ctx, id: RunId, why: &str) {
    let why = format!("its runner went away: {why}");
    let hold = Hold {
        job: id.job,
        epoch: id.epoch,
    };
    match database::answered(|| ctx.queue().lose_runner(id.tenant, hold, &why)).await {
        // It had said its last word.
        Ok(None) => {}
        Ok(Some(state)) => {
            ctx.metrics().repaired(Repair::LeaseExpired, 1);
            tracing::warn!(job.id = id.job.0, job.state = %state, "{why}");
        }
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            job.id = id.job.0,
            "that a runner is gone could not be recorded, its lease will tell of it"
        ),
    }
}

/// The job waits already: that its runner did not start is said in the runner's place.
async fn not_started(ctx: &Ctx, id: RunId, hold: Hold, error: &anyhow::Error) {
    tracing::error!(
        job.id = id.job.0,
        "a runner could not be started: {error:#}"
    );
    let over = RunOver {
        end: RunEnd::Failed,
        reason: Some(format!("the runner could not be started: {error:#}")),
        report: RunReport::default(),
    };
    if let Err(error) = database::answered(|| ctx.queue().end_run(id.tenant, hold, &over)).await {
        // The job is taken back when the time for the first sign of life is over.
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "that could not be recorded"
        );
    }
}

/// Stops the run of a job that was asked to stop.
pub(crate) async fn stop(runners: Runners, what: CancelTry) -> CancelReport {
    match runners.launcher.stop(&what.runner).await {
        Ok(Stopped::Gone) => CancelReport::Applied,
        Ok(Stopped::NotYet(why)) => CancelReport::Retry(anyhow!(why)),
        Ok(Stopped::Cannot(why)) => CancelReport::Cannot(why),
        Err(error) => CancelReport::Retry(error),
    }
}

fn token(ctx: &Ctx, id: RunId, time: Duration) -> anyhow::Result<SecretString> {
    let until = TimeDelta::from_std(time.saturating_add(TOKEN_MARGIN))
        .ok()
        .and_then(|good_for| ctx.now().checked_add_signed(good_for))
        .context("the run's time limit is longer than there are dates for")?;
    let token = CallbackToken {
        tenant: id.tenant,
        job: id.job,
        epoch: id.epoch,
        until,
    };
    Ok(token.sign(ctx.keyring()?).into())
}

/// How long the ladder of the slowest step takes to its end.
fn stop_max(spec: &RunSpec) -> Duration {
    let slowest = spec
        .steps
        .iter()
        .map(|step| step.stop.grace_ms.saturating_add(step.stop.term_ms))
        .max()
        .unwrap_or_default();
    Duration::from_millis(slowest)
}

fn check(spec: &RunSpec, settings: &Settings) -> anyhow::Result<()> {
    if spec.steps.is_empty() {
        anyhow::bail!("a run without steps does nothing");
    }
    let empty = |step: &&model::run::Step| match &step.run {
        Program::Local { argv, .. } | Program::Ssh(model::run::SshProgram { argv, .. }) => {
            argv.is_empty()
        }
        Program::NetlabApi(_) => false,
    };
    if let Some(step) = spec.steps.iter().find(empty) {
        anyhow::bail!("the step {:?} names no program", step.name);
    }
    if spec.limits.time_secs == 0 {
        anyhow::bail!("a run needs some time: limits.time_secs is 0");
    }
    let lease = settings.lease();
    if Duration::from_millis(spec.heartbeat_ms) > lease / 3 {
        anyhow::bail!(
            "a sign of life every {} ms is too seldom for a lease of {} s: three must fit",
            spec.heartbeat_ms,
            lease.as_secs()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use host::Env;
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        let env = Env::default()
            .with("MASTER_KEY_FILE", "/key")
            .with("RUNNER", "local")
            .with("CALLBACK_URL", "http://127.0.0.1:1/callback");
        Settings::read(&env).expect("they are right")
    }

    fn spec(change: impl FnOnce(&mut serde_json::Value)) -> RunSpec {
        let mut value = json!({
            "phase": "plan",
            "steps": [{"name": "one", "run": {"local": {"argv": ["true"]}}}],
            "limits": {"time_secs": 60, "log_bytes": 1, "artifact_bytes": 1, "artifacts": 1},
            "heartbeat_ms": 6000,
        });
        change(&mut value);
        serde_json::from_value(value).expect("a spec")
    }

    #[test]
    fn a_spec_that_cannot_be_is_refused_before_anything_is_recorded() {
        let wrong = |change: fn(&mut serde_json::Value)| {
            check(&spec(change), &settings())
                .expect_err("it is wrong")
                .to_string()
        };
        assert!(check(&spec(|_| {}), &settings()).is_ok());
        assert!(wrong(|spec| spec["steps"] = json!([])).contains("without steps"));
        assert!(wrong(|spec| spec["heartbeat_ms"] = json!(10_001)).contains("too seldom"));
        assert!(wrong(|spec| spec["limits"]["time_secs"] = json!(0)).contains("some time"));
        let nothing = wrong(|spec| spec["steps"][0]["run"]["local"]["argv"] = json!([]));
        assert!(nothing.contains(r#""one" names no program"#), "{nothing}");
    }

    #[test]
    fn the_slowest_step_says_how_long_stopping_takes() {
        let spec = spec(|spec| {
            spec["steps"][0]["stop"] = json!({"first": "int", "grace_ms": 60_000, "term_ms": 500});
        });
        assert_eq!(stop_max(&spec), Duration::from_millis(60_500));
    }
}
