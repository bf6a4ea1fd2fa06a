//! A job as its handler sees it, and what the handler may say of it.

use std::time::Duration;

use model::{JobId, TenantId};
use queue::{Hold, Progress, Wait};
use tokio_util::sync::CancellationToken;

use crate::{Ctx, JobLog};

/// One attempt at a job.
#[derive(Debug)]
pub struct Job<S> {
    /// The right to write to it; handed to every write that must be fenced.
    pub hold: Hold,
    /// Whose it is.
    pub tenant: TenantId,
    /// What to do.
    pub spec: S,
    /// Which counted try this is, from 1.
    pub attempt: i32,
    /// How many there may be.
    pub attempts_max: i32,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Its log, as people see it.
    pub log: JobLog,
    pub(crate) cancelled: CancellationToken,
}

impl<S> Job<S> {
    /// The same attempt with its payload read.
    pub(crate) fn with<T>(self, spec: T) -> Job<T> {
        Job {
            hold: self.hold,
            tenant: self.tenant,
            spec,
            attempt: self.attempt,
            attempts_max: self.attempts_max,
            traceparent: self.traceparent,
            log: self.log,
            cancelled: self.cancelled,
        }
    }

    /// The job's id, which is also its idempotency key: the same for every attempt.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.hold.job
    }

    /// Tells people how far the job is. False when somebody else holds it by now: stop.
    ///
    /// # Errors
    /// When the database does not answer. What is told is for people: work may go on without it.
    pub async fn tell(&self, ctx: &Ctx, progress: Progress) -> Result<bool, sqlx::Error> {
        ctx.queue().set_progress(self.hold, progress).await
    }

    /// Fires when somebody asked the job to stop or the process has to leave. Long work looks at it between steps and hands
    /// it on; what does not stop is dropped after the grace.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

/// How an attempt ended well.
#[derive(Debug)]
pub enum Outcome {
    /// The job did what it was for.
    Done,
    /// The same, and this is what it has to say.
    DoneWith(serde_json::Value),
    /// The handler has recorded the end itself, in one statement with what depends on it.
    Recorded,
    /// Not now; the attempt does not count.
    Snooze {
        /// For how long.
        delay: Duration,
        /// Why, for people.
        reason: String,
    },
    /// The work goes on outside.
    Waiting(Wait),
}

/// How an attempt ended badly: whether trying again can help is decided where the error is known.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Trying again may help.
    #[error("{error:#}")]
    Retry {
        /// What went wrong.
        error: anyhow::Error,
        /// When the other side said when.
        after: Option<Duration>,
    },
    /// Trying again cannot help.
    #[error("{0:#}")]
    Fail(anyhow::Error),
    /// The work stopped because it was asked to.
    #[error("stopped")]
    Stopped,
}

impl TaskError {
    /// Trying again may help.
    pub fn retry(error: impl Into<anyhow::Error>) -> Self {
        Self::Retry {
            error: error.into(),
            after: None,
        }
    }

    /// Trying again may help, after this time.
    pub fn retry_after(error: impl Into<anyhow::Error>, after: Duration) -> Self {
        Self::Retry {
            error: error.into(),
            after: Some(after),
        }
    }

    /// Trying again cannot help.
    pub fn fail(error: impl Into<anyhow::Error>) -> Self {
        Self::Fail(error.into())
    }
}
