//! Jobs: their states, what may follow what, and what travels with them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::git::CommitId;
use crate::{RevisionId, WorkloadId};

/// How many times work may lead to an event that leads to work. An event deeper than this starts nothing.
pub const DEPTH_MAX: i32 = 16;

/// Where a job is. The last four are final; such a job is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Ready, or due later.
    Queued,
    /// Held by a worker under a lease.
    Running,
    /// Waits for a runner, a callback or an approval.
    Waiting,
    /// Asked to stop; not yet known to have stopped.
    Cancelling,
    /// Did what it was for.
    Succeeded,
    /// Will not be tried again by itself. May be replayed, as a new job.
    Dead,
    /// Stopped because somebody asked.
    Cancelled,
    /// A newer job with its key made it needless.
    Superseded,
}

impl JobState {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Cancelling,
        Self::Succeeded,
        Self::Dead,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing follows this state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Waiting | Self::Cancelling => false,
            Self::Succeeded | Self::Dead | Self::Cancelled | Self::Superseded => true,
        }
    }

    /// Whether a job may go from this state to `next`. The database's functions make exactly these moves.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        use JobState::{
            Cancelled, Cancelling, Dead, Queued, Running, Succeeded, Superseded, Waiting,
        };
        matches!(
            (self, next),
            (Queued, Running | Cancelled | Superseded | Dead | Succeeded)
                | (
                    Running,
                    Succeeded | Queued | Dead | Superseded | Waiting | Cancelling
                )
                | (
                    Waiting,
                    Succeeded | Queued | Dead | Superseded | Cancelling | Cancelled
                )
                | (Cancelling, Cancelled | Succeeded | Dead)
        )
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// A text that names no state of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a job state")]
pub struct UnknownState(String);

/// What a waiting job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Work outside, with a handle by which it can be stopped.
    Runner,
    /// Work outside that will call back.
    Callback,
    /// A person's yes or no.
    Approval,
}

impl Waiting {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Callback => "callback",
            Self::Approval => "approval",
        }
    }
}

impl FromStr for Waiting {
    type Err = UnknownWaiting;

    fn from_str(text: &str) -> Result<Self, UnknownWaiting> {
        [Self::Runner, Self::Callback, Self::Approval]
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or_else(|| UnknownWaiting(text.to_owned()))
    }
}

/// A text that names nothing that a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing that a job waits for")]
pub struct UnknownWaiting(String);

/// What a new job with a key does to one with the same key that is still queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyMode {
    /// The newer one stays, the older one becomes superseded.
    Replace,
    /// The older one stays, with its place and time, and takes the newer payload.
    Preserve,
    /// The older one stays as it is.
    Ignore,
}

impl KeyMode {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Preserve => "preserve",
            Self::Ignore => "ignore",
        }
    }
}

/// How a task's jobs are run unless a job says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPolicy {
    /// Tries that count, the first included.
    pub attempts_max: i32,
    /// Beyond this no heartbeat renews the lease.
    pub attempt_time_max: Duration,
    /// Jobs that one process runs at a time.
    pub slots: usize,
    /// The longest wait before a retry; the wait grows exponentially up to it, with full jitter.
    pub backoff_max: Duration,
}

impl TaskPolicy {
    /// What a task has that says nothing: 5 tries of up to 2 minutes, 4 at a time, waits of up to 10 minutes.
    pub const DEFAULT: Self = Self {
        attempts_max: 5,
        attempt_time_max: Duration::from_secs(120),
        slots: 4,
        backoff_max: Duration::from_secs(600),
    };
}

/// Which output a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// What the function says about its work.
    Task,
    /// A program's standard output.
    Stdout,
    /// A program's standard error.
    Stderr,
}

impl LogStream {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a job's log, as its writer numbers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// From 1, without gaps, within (job, epoch): a repeat is recognised and a reader sees what is missing.
    pub seq: i64,
    /// Where it came from.
    pub stream: LogStream,
    /// At most 16 KiB; a longer line is cut with a marker by its writer.
    pub text: String,
}

/// What became of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// The job was not being worked on and is cancelled.
    Cancelled,
    /// Its worker will be told at its next heartbeat.
    Requested,
    /// It had been asked for already.
    AlreadyRequested,
    /// The job had ended.
    TooLate,
}

/// What a finish did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReport {
    /// The job is now in this state.
    Applied(JobState),
    /// Somebody else holds or held the job since: nothing changed.
    Stale,
}

/// Data of `dev.switchyard.job.queued.v1`: there may be work for this task. Never work itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQueued {
    /// The task's name.
    pub task: String,
}

/// Data of `dev.switchyard.job.cancel.requested.v1`: somebody asked a job to stop. What to do about it is in the job's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCancelRequested {
    /// The job.
    pub job: i64,
    /// Its task.
    pub task: String,
    /// The number of the claim that is meant.
    pub epoch: i64,
}

/// Data of `dev.switchyard.job.*.v1` on `observed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobUpdate {
    /// The job.
    pub job: i64,
    /// Its task.
    pub task: String,
    /// What it is now.
    pub state: JobState,
    /// The number of the claim that led here.
    pub epoch: i64,
    /// Tries counted so far.
    pub attempts: i32,
    /// Why, when it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a task is asked to do with a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkloadAction {
    /// Bring the workload to what its source says now.
    Deploy {
        /// The commit that the event named; what is found there when the job starts is what is deployed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<CommitId>,
    },
    /// Make an earlier revision live again, exactly as it was.
    Rollback {
        /// The revision to go back to.
        revision: RevisionId,
    },
}

/// The payload of every job that works on a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadJob {
    /// The workload.
    pub workload: WorkloadId,
    /// What to do with it.
    pub action: WorkloadAction,
    /// The binding's overrides of the workload's config, merged at the top level.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub overrides: serde_json::Map<String, serde_json::Value>,
    /// Whether it comes from people who may not write here, as a change of a fork does: it gets no secrets, writes no state
    /// and asks for no approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_final_state() {
        for state in JobState::ALL {
            let leaves = JobState::ALL.iter().any(|next| state.can_become(*next));
            assert_eq!(leaves, !state.is_final(), "{state}");
        }
    }

    #[test]
    fn a_state_reads_back_from_its_name() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("Queued".parse::<JobState>().is_err(), "names are exact");
    }

    #[test]
    fn a_workload_job_refuses_what_it_does_not_know() {
        let id = WorkloadId::from(uuid::Uuid::nil());
        let good = format!(r#"{{"workload":"{id}","action":{{"action":"deploy"}}}}"#);
        assert!(serde_json::from_str::<WorkloadJob>(&good).is_ok());
        let bad = format!(r#"{{"workload":"{id}","action":{{"action":"deploy"}},"force":true}}"#);
        assert!(serde_json::from_str::<WorkloadJob>(&bad).is_err());
    }
}
