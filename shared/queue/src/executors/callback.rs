//! What a called function says of its job, and whether that counted.

use model::{JobState, LogStream, TenantId};

use crate::hold::{storable, storable_json};
use crate::{Hold, Queue};

/// What a called function says of its job.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It is on it, and this far.
    Progress(Option<serde_json::Value>),
    /// It did what it was for.
    Success(Option<serde_json::Value>),
    /// It failed.
    Error {
        /// What went wrong.
        error: String,
        /// Whether another try may help.
        retry: bool,
    },
    /// It stopped because it was asked to.
    Cancelled,
}

/// Lines for a job's log that came from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldLines {
    /// At most 16 KiB each.
    pub lines: Vec<String>,
    /// The number of the first one, as its writer counts from 1; lines that came before are dropped. Without it a repeat is
    /// not recognised.
    pub first: Option<i64>,
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counted.
    Applied {
        /// What the job is now.
        state: JobState,
        /// Somebody asked it to stop.
        cancel: bool,
    },
    /// The same had been said before. The job is this now, unless its history is not kept.
    Duplicate(Option<JobState>),
    /// It came too late: the job is somebody else's, or ended in another way.
    Stale(Option<JobState>),
    /// The tenant has no such job.
    Unknown,
}

impl Queue {
    /// Puts lines at the end of a job's log, for who does not know how many it has. False when the hold is over.
    ///
    /// # Errors
    /// When the database does not answer; then the lines may be there or not.
    pub async fn append_lines(
        &self,
        hold: Hold,
        stream: LogStream,
        lines: &[String],
    ) -> Result<bool, sqlx::Error> {
        let lines: Vec<String> = lines.iter().map(|line| storable(line)).collect();
        sqlx::query_scalar!(
            r#"select switchyard.append_lines($1, $2, $3, $4) as "held!""#,
            hold.job.0,
            hold.epoch,
            stream.as_str(),
            &lines,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Takes what a called function says. Said twice it counts once; of two ends the first counts.
    ///
    /// # Errors
    /// When the database does not answer, or refuses a line that is too long.
    pub async fn callback(
        &self,
        tenant: TenantId,
        hold: Hold,
        said: &Said,
        log: &ToldLines,
    ) -> Result<Heard, sqlx::Error> {
        let (word, error, retry, result, progress) = match said {
            Said::Progress(progress) => ("progress", None, true, None, progress.as_ref()),
            Said::Success(result) => ("success", None, true, result.as_ref(), None),
            Said::Error { error, retry } => ("error", Some(storable(error)), *retry, None, None),
            Said::Cancelled => (
                "cancelled",
                Some("cancelled: its function says so".to_owned()),
                true,
                None,
                None,
            ),
        };
        let lines: Vec<String> = log.lines.iter().map(|line| storable(line)).collect();
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", state::text as state, cancel as "cancel!"
            from switchyard.callback_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            word,
            error,
            retry,
            result.cloned().map(storable_json),
            progress.cloned().map(storable_json),
            (!lines.is_empty()).then_some(lines) as Option<Vec<String>>,
            log.first,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        let state = row
            .state
            .map(|state| state.parse::<JobState>())
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        match (row.outcome.as_str(), state) {
            ("applied", Some(state)) => Ok(Heard::Applied {
                state,
                cancel: row.cancel,
            }),
            ("duplicate", state) => Ok(Heard::Duplicate(state)),
            ("stale", state) => Ok(Heard::Stale(state)),
            ("unknown", None) => Ok(Heard::Unknown),
            (outcome, state) => Err(sqlx::Error::Decode(
                format!("callback_job answered {outcome:?} with {state:?}").into(),
            )),
        }
    }
}
