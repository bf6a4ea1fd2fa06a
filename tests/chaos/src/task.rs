//! A task that does what a fault needs, and writes down all it does.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host::{Ctx, Function, Job, Kind, Outcome, TaskError, task};
use model::{DatabaseRole, TaskPolicy};
use serde::{Deserialize, Serialize};

use crate::ledger::{Effect, What};

/// The function.
pub const FUNCTION: Function = Function {
    name: "task-chaos",
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |env| {
        let settings: Settings = env.parse()?;
        let ledger = File::options()
            .create(true)
            .append(true)
            .open(&settings.chaos_ledger)
            .map_err(|error| host::SettingsError::wrong("CHAOS_LEDGER", error))?;
        let ledger = Arc::new(ledger);
        Ok(task(POLICY, move |ctx, job| {
            run(ctx, Arc::clone(&ledger), job)
        }))
    },
};

/// Many at a time; an attempt may take a minute unless the database says less.
pub(crate) const POLICY: TaskPolicy = TaskPolicy {
    slots: 16,
    attempt_time_max: Duration::from_secs(60),
    backoff_max: Duration::from_secs(1),
    ..TaskPolicy::DEFAULT
};

/// Between two effects of a job that works.
const EFFECT_EVERY: Duration = Duration::from_millis(50);
/// A line of a job that talks.
const LINE_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
struct Settings {
    /// The file that everything is written to.
    chaos_ledger: PathBuf,
}

/// What a job does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// Has an effect every 50 ms.
    Work {
        /// For so long.
        millis: u64,
    },
    /// Panics.
    Panic,
    /// Ends the process.
    Abort,
    /// Computes for ever and never yields.
    Spin,
    /// Talks.
    Talk {
        /// So much.
        mib: u32,
    },
    /// Returns a result of this size.
    Result {
        /// So large.
        mib: u32,
    },
}

async fn run(_ctx: Ctx, ledger: Arc<File>, job: Job<Act>) -> Result<Outcome, TaskError> {
    let write = |what: What| {
        let effect = Effect::now(job.id(), job.hold.epoch, what);
        let line = serde_json::to_string(&effect).map_err(TaskError::fail)? + "\n";
        // One write, appended: lines of many processes do not mix.
        (&*ledger)
            .write_all(line.as_bytes())
            .map_err(TaskError::retry)
    };
    write(What::Began)?;
    match job.spec {
        Act::Work { millis } => {
            let end = tokio::time::Instant::now() + Duration::from_millis(millis);
            while tokio::time::Instant::now() < end {
                tokio::select! {
                    () = job.cancelled().cancelled() => return Err(TaskError::Stopped),
                    () = tokio::time::sleep_until(end.min(tokio::time::Instant::now() + EFFECT_EVERY)) => {}
                }
                write(What::Did)?;
            }
        }
        Act::Panic => panic!("a job that panics"),
        Act::Abort => std::process::abort(),
        Act::Spin => loop {
            std::hint::spin_loop();
        },
        Act::Talk { mib } => {
            let line = "x".repeat(LINE_BYTES);
            for _ in 0..usize::try_from(mib).unwrap_or_default() * (1024 * 1024 / LINE_BYTES) {
                job.log.line(&line).await;
            }
        }
        Act::Result { mib } => {
            let bytes = usize::try_from(mib).unwrap_or_default() * 1024 * 1024;
            return Ok(Outcome::DoneWith("x".repeat(bytes).into()));
        }
    }
    write(What::Ended)?;
    Ok(Outcome::Done)
}
