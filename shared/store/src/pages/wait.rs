//! Why a job that is not finished does not go on, or what it is doing.

use chrono::{DateTime, Utc};
use model::{JobId, JobState};
use serde::Serialize;

/// What a job waits for; for one that is worked on, who has it and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Wait {
    /// It may start at once and no worker has taken it.
    Worker {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// It was asked for later.
    Due {
        /// When it may start.
        at: DateTime<Utc>,
    },
    /// Its last attempt failed.
    Retry {
        /// When it may start again.
        at: DateTime<Utc>,
        /// What went wrong.
        error: String,
    },
    /// Its named queue works on one job at a time.
    Queue {
        /// The queue.
        queue: String,
        /// The job that holds it.
        job: JobId,
    },
    /// An older job with its key is still worked on.
    Key {
        /// That job.
        job: JobId,
    },
    /// As many jobs of its lane run as are allowed.
    Cap {
        /// How many run.
        running: i32,
    },
    /// No task of this name is known here.
    Executor {
        /// The name.
        task: String,
    },
    /// It runs, and is let go when its worker falls silent.
    Lease {
        /// The worker.
        worker: String,
        /// When the lease ends unless it is renewed.
        until: DateTime<Utc>,
    },
    /// A runner or somebody's callback has to finish it.
    Outside {
        /// What works on it, as far as it is known.
        runner: String,
        /// When it is given up.
        deadline: DateTime<Utc>,
    },
    /// A person has to approve it.
    Approval {
        /// When it is given up.
        deadline: DateTime<Utc>,
    },
    /// It was asked to stop and has not confirmed.
    Stop {
        /// When it was asked.
        asked_at: DateTime<Utc>,
    },
}

/// What of a live job's row and lane decides.
pub(super) struct Facts {
    pub(super) state: JobState,
    pub(super) task: String,
    pub(super) is_known: bool,
    pub(super) due: bool,
    pub(super) ready_at: DateTime<Utc>,
    pub(super) run_at: DateTime<Utc>,
    pub(super) last_error: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) queue_holder: Option<i64>,
    pub(super) key_holder: Option<i64>,
    pub(super) is_full: bool,
    pub(super) in_flight: i32,
    pub(super) worker: Option<String>,
    pub(super) held_until: Option<DateTime<Utc>>,
    pub(super) waits_for_approval: bool,
    pub(super) runner: Option<String>,
    pub(super) cancel_asked_at: Option<DateTime<Utc>>,
}

impl Facts {
    /// Nothing for a job that has ended. The nearest reason comes first: what is not due need not know that its queue is busy.
    pub(super) fn wait(self) -> Option<Wait> {
        let held_until = self.held_until.unwrap_or(self.run_at);
        Some(match self.state {
            JobState::Queued if !self.due => match self.last_error {
                Some(error) => Wait::Retry {
                    at: self.run_at,
                    error,
                },
                None => Wait::Due { at: self.run_at },
            },
            JobState::Queued => match (self.queue, self.queue_holder, self.key_holder) {
                (Some(queue), Some(job), _) => Wait::Queue {
                    queue,
                    job: JobId(job),
                },
                (_, _, Some(job)) => Wait::Key { job: JobId(job) },
                _ if self.is_full => Wait::Cap {
                    running: self.in_flight,
                },
                _ if !self.is_known => Wait::Executor { task: self.task },
                _ => Wait::Worker {
                    since: self.ready_at,
                },
            },
            JobState::Running => Wait::Lease {
                worker: self.worker.unwrap_or_default(),
                until: held_until,
            },
            JobState::Waiting if self.waits_for_approval => Wait::Approval {
                deadline: held_until,
            },
            JobState::Waiting => Wait::Outside {
                runner: self.runner.unwrap_or(self.task),
                deadline: held_until,
            },
            JobState::Cancelling => Wait::Stop {
                asked_at: self.cancel_asked_at.unwrap_or(held_until),
            },
            JobState::Succeeded | JobState::Dead | JobState::Cancelled | JobState::Superseded => {
                return None;
            }
        })
    }
}
