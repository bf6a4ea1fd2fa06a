//! A worker whose jobs take as long as they are told to and leave marks outside the database: what harm is done to.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::{Ctx, Function, Job, Kind, Outcome, TaskError};
use model::{DatabaseRole, TaskPolicy};
use queue::Hold;
use serde::Deserialize;

const POLICY: TaskPolicy = TaskPolicy {
    slots: 70,
    attempt_time_max: Duration::from_secs(30 * 60),
    ..TaskPolicy::DEFAULT
};

/// The task is known under the program's name.
const FUNCTION: Function = Function {
    name: "bench-worker",
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |_| Ok(host::task(POLICY, run)),
};

/// Between two marks of a job that goes on.
const STEP: Duration = Duration::from_millis(100);

/// What a job is told.
#[derive(Debug, Deserialize)]
struct Work {
    for_ms: u64,
    /// Where its marks go.
    ledger: PathBuf,
    #[serde(default)]
    then: Then,
}

/// How it ends.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    #[default]
    Done,
    Panic,
    /// Takes the process with it.
    Abort,
    /// Keeps a thread for ever.
    Spin,
}

fn main() -> ExitCode {
    host::main(FUNCTION)
}

async fn run(_: Ctx, job: Job<Work>) -> Result<Outcome, TaskError> {
    let ledger = &job.spec.ledger;
    let say = |what| mark(ledger, job.hold, what).map_err(TaskError::retry);
    say("begin")?;
    let mut left = Duration::from_millis(job.spec.for_ms);
    while !left.is_zero() {
        let step = left.min(STEP);
        tokio::select! {
            () = job.cancelled().cancelled() => {
                say("stopped")?;
                return Err(TaskError::Stopped);
            }
            () = tokio::time::sleep(step) => {}
        }
        say("step")?;
        left -= step;
    }
    match job.spec.then {
        Then::Done => {}
        Then::Panic => panic!("as it was told"),
        Then::Abort => std::process::abort(),
        Then::Spin => loop {
            std::hint::spin_loop();
        },
    }
    say("end")?;
    Ok(Outcome::Done)
}

/// One line, which the system appends as a whole: `<ms since 1970> <process> <job> <epoch> <what>`.
fn mark(ledger: &Path, hold: Hold, what: &str) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let line = format!(
        "{now} {} {} {} {what}\n",
        std::process::id(),
        hold.job.0,
        hold.epoch
    );
    File::options()
        .append(true)
        .create(true)
        .open(ledger)?
        .write_all(line.as_bytes())?;
    Ok(())
}
