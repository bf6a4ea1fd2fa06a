//! Why a job that is not finished does not go on, as types: whoever shows them finds the words.

use chrono::{DateTime, Utc};
use model::{JobId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::Queue;

/// Jobs that are asked about at a time, at most.
pub const JOBS_MAX: usize = 100;

/// What a limit or a pause reaches over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All jobs of the tenant.
    Tenant,
    /// All jobs of the task, of every tenant.
    Task,
    /// The tenant's jobs of the task.
    TenantTask,
    /// A named queue of the tenant.
    Queue,
}

/// One thing that a job waits for; or, when it is worked on, who does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// It runs, and is let go when its worker falls silent.
    Running {
        /// Who runs it.
        worker: String,
        /// Since when.
        since: DateTime<Utc>,
        /// When the lease ends unless it is renewed.
        lease_until: DateTime<Utc>,
        /// When it is renewed no more.
        attempt_until: DateTime<Utc>,
        /// How far it is, as its worker tells.
        progress: Option<Value>,
    },
    /// A person has to approve it.
    Approval {
        /// When it is given up.
        deadline: DateTime<Utc>,
    },
    /// Somebody's function has to call back.
    Callback {
        /// When it is given up.
        deadline: DateTime<Utc>,
        /// How far it is, as the function tells.
        progress: Option<Value>,
    },
    /// A runner has to finish it.
    Runner {
        /// Which one.
        runner: String,
        /// When it is given up.
        deadline: DateTime<Utc>,
        /// How far it is, as the runner tells.
        progress: Option<Value>,
    },
    /// It was asked to stop and has not confirmed.
    Stopping {
        /// When it was asked.
        asked_at: DateTime<Utc>,
        /// By whom.
        asked_by: Option<String>,
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
        /// Tries that counted so far.
        attempts: i32,
        /// How many there may be.
        attempts_max: i32,
        /// What went wrong.
        error: String,
    },
    /// Somebody has paused what it belongs to.
    Paused {
        /// What is paused.
        scope: Scope,
        /// The named queue, where it is one.
        queue: Option<String>,
        /// The task, where it is one.
        task: Option<String>,
        /// Who paused it.
        by: String,
        /// Why.
        note: Option<String>,
        /// When.
        since: DateTime<Utc>,
    },
    /// Nobody of ours works on its task.
    NoExecutor {
        /// The task.
        task: String,
    },
    /// Its named queue works on one job at a time, in order.
    Queue {
        /// The queue.
        queue: String,
        /// The job before it.
        job: JobId,
    },
    /// An older job with its key is still worked on.
    Key {
        /// That job.
        job: JobId,
    },
    /// As many jobs are in flight as there may be.
    Full {
        /// Of what.
        scope: Scope,
        /// How many there are.
        in_flight: i32,
        /// How many there may be.
        in_flight_max: i32,
    },
    /// As many jobs were started lately as there may be.
    Rate {
        /// Of what.
        scope: Scope,
        /// When the next one may.
        next_at: DateTime<Utc>,
    },
    /// Nothing is in its way: the next claim that comes to it takes it.
    Ready {
        /// Since when.
        since: DateTime<Utc>,
        /// When a worker for it was last seen; nothing when none was within the last hour.
        worker_seen_at: Option<DateTime<Utc>>,
    },
}

impl Queue {
    /// Why these jobs of a tenant do not go on, nearest reason first. A job that is not live is not among them; of more
    /// than [`JOBS_MAX`] the first are asked about.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reasons(
        &self,
        tenant: TenantId,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Vec<Reason>)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select job_id as "job!", reason as "reason!" from switchyard.job_reasons($1, $2)"#,
            tenant.uuid(),
            &ids(jobs)
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        by_job(rows.into_iter().map(|row| (JobId(row.job), row.reason)))
    }
}

/// [`Queue::reasons`] of the tenant of the caller's transaction.
///
/// # Errors
/// When the database does not answer.
pub async fn own_reasons(
    conn: &mut PgConnection,
    jobs: &[JobId],
) -> Result<Vec<(JobId, Vec<Reason>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select job_id as "job!", reason as "reason!" from switchyard.own_job_reasons($1)"#,
        &ids(jobs)
    )
    .fetch_all(conn)
    .await?;
    by_job(rows.into_iter().map(|row| (JobId(row.job), row.reason)))
}

fn ids(jobs: &[JobId]) -> Vec<i64> {
    jobs.iter().take(JOBS_MAX).map(|job| job.0).collect()
}

/// Gathers rows that come job by job.
fn by_job(
    rows: impl Iterator<Item = (JobId, Value)>,
) -> Result<Vec<(JobId, Vec<Reason>)>, sqlx::Error> {
    let mut jobs: Vec<(JobId, Vec<Reason>)> = Vec::new();
    for (job, reason) in rows {
        let reason =
            serde_json::from_value(reason).map_err(|error| sqlx::Error::Decode(error.into()))?;
        match jobs.last_mut() {
            Some((last, reasons)) if *last == job => reasons.push(reason),
            Some(_) | None => jobs.push((job, vec![reason])),
        }
    }
    Ok(jobs)
}
