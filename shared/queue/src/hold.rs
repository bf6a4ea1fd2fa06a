//! What the holder of a job may do: everything here carries the epoch.

use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{FinishReport, JobId, JobState, LogLine, TenantId, Waiting};
use sqlx::types::Json;
use uuid::Uuid;

use crate::Queue;
use crate::turn::Turn;

/// The right to write to a job: its id and the number of the claim. A later claim ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hold {
    /// The job.
    pub job: JobId,
    /// The fencing token.
    pub epoch: i64,
}

/// A job as its claim returns it.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The right to write to it.
    pub hold: Hold,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its task.
    pub task: String,
    /// What to do.
    pub payload: serde_json::Value,
    /// Tries that count, this one included.
    pub attempts: i32,
    /// How many there may be.
    pub attempts_max: i32,
    /// When this attempt's time is over.
    pub attempt_until: DateTime<Utc>,
    /// The delivery or request it all began with.
    pub correlation_id: Option<String>,
    /// W3C trace context of what led here.
    pub traceparent: Option<String>,
    /// How often work led to work on the way here.
    pub depth: i32,
    /// Smaller comes first, within its lane.
    pub priority: i32,
    /// How long it was ready before this claim took it.
    pub waited: Duration,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did what it was for.
    Succeeded,
    /// It never will.
    Dead,
    /// It stopped because it was asked to.
    Cancelled,
}

impl Ended {
    const fn state(self) -> JobState {
        match self {
            Self::Succeeded => JobState::Succeeded,
            Self::Dead => JobState::Dead,
            Self::Cancelled => JobState::Cancelled,
        }
    }
}

/// One end to record.
#[derive(Debug, Clone)]
pub struct Finish {
    /// By which right.
    pub hold: Hold,
    /// How it ended.
    pub ended: Ended,
    /// Why, unless it simply succeeded.
    pub reason: Option<String>,
    /// What it has to say.
    pub result: Option<serde_json::Value>,
}

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The job.
    pub job: JobId,
    /// Whether the lease was renewed. If not, stop: somebody else may hold the job.
    pub held: bool,
    /// Whether it should stop because somebody asked.
    pub cancel: bool,
}

/// What a job begins to wait for.
#[derive(Debug, Clone)]
pub struct Wait {
    /// For what.
    pub waiting: Waiting,
    /// How long at most.
    pub deadline: Duration,
    /// By what the work outside can be stopped.
    pub runner: Option<serde_json::Value>,
}

impl Queue {
    /// Takes up to `limit` ready jobs of these tasks, by priority and due time. An empty answer does not mean that there is no work: another claim
    /// may hold the lanes for a moment.
    ///
    /// # Errors
    /// When the database does not answer; then nothing was claimed, or the leases run out.
    pub async fn claim(
        &self,
        worker: Uuid,
        tasks: &[String],
        limit: i32,
        lease: Duration,
    ) -> Result<Vec<ClaimedJob>, sqlx::Error> {
        let place = tasks.join("\n");
        let turn = self.turn(&place);
        let mut rows = sqlx::query!(
            r#"
            select id as "id!", epoch as "epoch!", database_id as "database_id!", task as "task!",
                payload as "payload!", attempts as "attempts!", attempts_max as "attempts_max!",
                attempt_until as "attempt_until!", correlation_id, traceparent, depth as "depth!",
                priority as "priority!", run_at as "run_at!", created_at as "created_at!", started_at as "started_at!"
            from switchyard.claim_jobs($1, $2, $3, make_interval(secs => $4), $5, $6)
            "#,
            worker,
            tasks,
            limit,
            lease.as_secs_f64(),
            turn.after,
            turn.used,
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.sort_unstable_by_key(|row| (row.priority, row.run_at, row.id));
        let served = rows.iter().map(|row| TenantId::from(row.database_id));
        self.turns().insert(place, turn.next(served));
        Ok(rows
            .into_iter()
            .map(|row| ClaimedJob {
                hold: Hold {
                    job: JobId(row.id),
                    epoch: row.epoch,
                },
                tenant: row.database_id.into(),
                task: row.task,
                payload: row.payload,
                attempts: row.attempts,
                attempts_max: row.attempts_max,
                attempt_until: row.attempt_until,
                correlation_id: row.correlation_id,
                traceparent: row.traceparent,
                depth: row.depth,
                priority: row.priority,
                // A clock that was set back counts as no wait.
                waited: (row.started_at - row.run_at.max(row.created_at))
                    .to_std()
                    .unwrap_or_default(),
            })
            .collect())
    }

    fn turn(&self, place: &str) -> Turn {
        self.turns().get(place).copied().unwrap_or_default()
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, Turn>> {
        // What a panic left behind is at worst somebody's turn.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews leases, up to the end of each attempt's time.
    ///
    /// # Errors
    /// When the database does not answer; the leases then run on.
    pub async fn heartbeat(
        &self,
        holds: &[Hold],
        lease: Duration,
    ) -> Result<Vec<Beat>, sqlx::Error> {
        let (ids, epochs) = columns(holds);
        let rows = sqlx::query!(
            r#"
            select job_id as "job_id!", held as "held!", cancel as "cancel!"
            from switchyard.heartbeat_jobs($1, $2, make_interval(secs => $3))
            "#,
            &ids,
            &epochs,
            lease.as_secs_f64(),
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Beat {
                job: JobId(row.job_id),
                held: row.held,
                cancel: row.cancel,
            })
            .collect())
    }

    /// Records how jobs ended, all in one transaction. A job that ended by itself although it was asked to stop keeps its
    /// outcome; that the request came too late is recorded.
    ///
    /// # Errors
    /// When the database does not answer, or refuses: nobody asked to cancel a job that is said to be cancelled.
    pub async fn finish(
        &self,
        finishes: &[Finish],
    ) -> Result<Vec<(JobId, FinishReport)>, sqlx::Error> {
        let holds: Vec<Hold> = finishes.iter().map(|finish| finish.hold).collect();
        let (ids, epochs) = columns(&holds);
        let states: Vec<&str> = finishes
            .iter()
            .map(|finish| finish.ended.state().as_str())
            .collect();
        let reasons = until_nothing_but_null(
            finishes
                .iter()
                .map(|finish| finish.reason.as_deref().map(storable)),
        );
        let results = until_nothing_but_null(finishes.iter().map(|finish| {
            finish
                .result
                .clone()
                .map(|result| Json(storable_json(result)))
        }));
        let over: HashSet<JobId> = sqlx::query_scalar!(
            r#"
            select job_id as "job_id!"
            from switchyard.finish_jobs(
                $1, $2, $3::text[]::switchyard.job_state[], $4::text[], $5::jsonb[], false
            )
            "#,
            &ids,
            &epochs,
            states.as_slice() as _,
            reasons.as_slice() as _,
            results.as_slice() as _,
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?
        .into_iter()
        .map(JobId)
        .collect();
        Ok(finishes
            .iter()
            .map(|finish| {
                let report = if over.contains(&finish.hold.job) {
                    FinishReport::Stale
                } else {
                    FinishReport::Applied(finish.ended.state())
                };
                (finish.hold.job, report)
            })
            .collect())
    }

    /// Puts a job back for another try, after `delay` or else after its task's backoff; ends it when its tries are used up,
    /// when a newer job has its key, or when it was asked to stop.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retry(
        &self,
        hold: Hold,
        error: &str,
        delay: Option<Duration>,
    ) -> Result<FinishReport, sqlx::Error> {
        let state = sqlx::query_scalar!(
            "select switchyard.retry_job($1, $2, $3, make_interval(secs => $4))::text",
            hold.job.0,
            hold.epoch,
            storable(error),
            delay.map(|delay| delay.as_secs_f64()),
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        report(state)
    }

    /// Puts a job back for later, the attempt uncounted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn snooze(
        &self,
        hold: Hold,
        delay: Duration,
        reason: &str,
    ) -> Result<FinishReport, sqlx::Error> {
        let state = sqlx::query_scalar!(
            "select switchyard.snooze_job($1, $2, make_interval(secs => $3), $4)::text",
            hold.job.0,
            hold.epoch,
            delay.as_secs_f64(),
            storable(reason),
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        report(state)
    }

    /// Gives jobs back at once, the attempts uncounted: what a process does that has to leave. Returns how many it still
    /// held.
    ///
    /// # Errors
    /// When the database does not answer; the leases then run out.
    pub async fn release(&self, holds: &[Hold]) -> Result<i32, sqlx::Error> {
        let (ids, epochs) = columns(holds);
        sqlx::query_scalar!(
            r#"select switchyard.release_jobs($1, $2) as "released!""#,
            &ids,
            &epochs
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Lets a job wait for work outside, or for a person.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wait(&self, hold: Hold, wait: &Wait) -> Result<FinishReport, sqlx::Error> {
        let state = sqlx::query_scalar!(
            r#"
            select switchyard.wait_job(
                $1, $2, $3::text::switchyard.waiting, make_interval(secs => $4), $5
            )::text
            "#,
            hold.job.0,
            hold.epoch,
            wait.waiting.as_str(),
            wait.deadline.as_secs_f64(),
            wait.runner,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        report(state)
    }

    /// Appends lines to a job's log; those that were sent before are dropped. False when the hold is over: then nothing
    /// was written.
    ///
    /// # Errors
    /// When the database does not answer; the same lines may be sent again.
    pub async fn append_log(&self, hold: Hold, lines: &[LogLine]) -> Result<bool, sqlx::Error> {
        let seqs: Vec<i64> = lines.iter().map(|line| line.seq).collect();
        let streams: Vec<String> = lines
            .iter()
            .map(|line| line.stream.as_str().to_owned())
            .collect();
        let texts: Vec<String> = lines.iter().map(|line| storable(&line.text)).collect();
        sqlx::query_scalar!(
            r#"select switchyard.append_log($1, $2, $3, $4, $5) as "held!""#,
            hold.job.0,
            hold.epoch,
            &seqs,
            &streams,
            &texts
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

/// A NUL cannot be stored and means nothing to people; what a program or a vendor said must not keep a job's end from
/// being recorded.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same for all texts and names in a value.
pub(crate) fn storable_json(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
        Value::String(text) => Value::String(storable(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(storable_json).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (storable(&name), storable_json(value)))
                .collect(),
        ),
    }
}

/// Mostly there is nothing to say of any job, and then nothing is sent: the database takes what is missing as null.
fn until_nothing_but_null<T>(column: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let mut column: Vec<Option<T>> = column.collect();
    let said = column.iter().rposition(Option::is_some);
    column.truncate(said.map_or(0, |last| last + 1));
    column
}

pub(crate) fn columns(holds: &[Hold]) -> (Vec<i64>, Vec<i64>) {
    holds.iter().map(|hold| (hold.job.0, hold.epoch)).unzip()
}

/// Reads the state a transition recorded; nothing stands for a hold that was over.
pub(crate) fn report(state: Option<String>) -> Result<FinishReport, sqlx::Error> {
    state.map_or(Ok(FinishReport::Stale), |name| {
        name.parse()
            .map(FinishReport::Applied)
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))
    })
}
