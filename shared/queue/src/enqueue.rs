//! Adding jobs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{JobId, KeyMode, TaskPolicy, TenantId, WorkloadId};
use sqlx::PgConnection;

use crate::refused::RuleError;

/// A job to be.
#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// The task's name.
    pub task: &'a str,
    /// What to do.
    pub payload: &'a serde_json::Value,
    /// A named queue: one job at a time, in order.
    pub queue_name: Option<&'a str>,
    /// At most one job with this key is pending and one is worked on.
    pub key: Option<(&'a str, KeyMode)>,
    /// Smaller comes first within its lane.
    pub priority: i32,
    /// Not before; at once when none is given.
    pub run_at: Option<DateTime<Utc>>,
    /// Tries that count; the task's number when none is given.
    pub attempts_max: Option<i32>,
    /// What it works on.
    pub workload: Option<WorkloadId>,
    /// Who asked for it.
    pub actor: Option<&'a str>,
    /// It waits until no other job with its key has come for so long, at most ten times that.
    pub debounce: Option<Duration>,
}

impl<'a> NewJob<'a> {
    /// A job with nothing special about it.
    #[must_use]
    pub const fn new(tenant: TenantId, task: &'a str, payload: &'a serde_json::Value) -> Self {
        Self {
            tenant,
            task,
            payload,
            queue_name: None,
            key: None,
            priority: 0,
            run_at: None,
            attempts_max: None,
            workload: None,
            actor: None,
            debounce: None,
        }
    }

    /// Whether there is nothing special about it.
    fn is_plain(&self) -> bool {
        let Self {
            tenant: _,
            task: _,
            payload: _,
            queue_name,
            key,
            priority,
            run_at,
            attempts_max,
            workload,
            actor,
            debounce,
        } = self;
        *priority == 0
            && queue_name.is_none()
            && key.is_none()
            && run_at.is_none()
            && attempts_max.is_none()
            && workload.is_none()
            && actor.is_none()
            && debounce.is_none()
    }
}

/// What became of a new job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is queued.
    Added(JobId),
    /// Its key has seen a newer one: it is in the archive already.
    Superseded(JobId),
    /// The queued one with its key stays.
    Kept(JobId),
}

impl Added {
    /// The job that stands for the request now.
    #[must_use]
    pub const fn job(self) -> JobId {
        match self {
            Self::Added(job) | Self::Superseded(job) | Self::Kept(job) => job,
        }
    }

    fn told(outcome: &str, id: JobId) -> Result<Self, sqlx::Error> {
        match outcome {
            "added" => Ok(Self::Added(id)),
            "superseded" => Ok(Self::Superseded(id)),
            "kept" => Ok(Self::Kept(id)),
            other => Err(sqlx::Error::Decode(
                format!("add_job answered {other:?}").into(),
            )),
        }
    }
}

/// Adds a job, in the caller's transaction if there is one.
///
/// # Errors
/// When the database does not answer, or refuses: a value is too long, or the tenant, task or queue is draining.
pub async fn enqueue(conn: &mut PgConnection, job: &NewJob<'_>) -> Result<Added, sqlx::Error> {
    if job.is_plain()
        && let Some(id) = enqueue_plain(conn, job).await?
    {
        return Ok(Added::Added(id));
    }
    let row = sqlx::query!(
        r#"
        select job_id as "job_id!", outcome as "outcome!"
        from switchyard.add_job(
            $1, $2, $3,
            p_queue_name => $4,
            p_key => $5,
            p_key_mode => $6::text::switchyard.key_mode,
            p_priority => $7,
            p_run_at => $8,
            p_attempts_max => $9,
            p_workload_id => $10,
            p_actor => $11,
            p_debounce => make_interval(secs => $12)
        )
        "#,
        job.tenant.uuid(),
        job.task,
        job.payload,
        job.queue_name,
        job.key.map(|(key, _)| key),
        job.key.map_or(KeyMode::Replace, |(_, mode)| mode).as_str(),
        job.priority,
        job.run_at,
        job.attempts_max,
        job.workload.map(WorkloadId::uuid),
        job.actor,
        job.debounce.map(|debounce| debounce.as_secs_f64()),
    )
    .fetch_one(conn)
    .await?;
    Added::told(&row.outcome, JobId(row.job_id))
}

/// A job that a person of a tenant wants, whose transaction it is.
#[derive(Debug, Clone, Copy)]
pub struct OwnJob<'a> {
    /// The task's name.
    pub task: &'a str,
    /// What to do.
    pub payload: &'a serde_json::Value,
    /// A named queue: one job at a time, in order.
    pub queue_name: Option<&'a str>,
    /// At most one job with this key is pending and one is worked on; the newest wins.
    pub key: Option<&'a str>,
    /// Who asked for it.
    pub actor: &'a str,
}

/// Adds a job to the tenant's own.
///
/// # Errors
/// When the task is one whose deeds are asked for elsewhere, when the database does not answer, or when it refuses: a value is
/// too long, or the tenant, task or queue is draining.
pub async fn enqueue_own(tx: &mut TenantTx, job: &OwnJob<'_>) -> Result<Added, RuleError> {
    if model::is_only_asked_for(job.task) {
        return Err(RuleError::Wrong(format!(
            "task: {} is not started by its name; ask for its deed, such as a replay or a purge",
            job.task
        )));
    }
    let row = sqlx::query!(
        r#"
        select job_id as "job_id!", outcome as "outcome!"
        from switchyard.add_own_job($1, $2, $3, $4, null, $5)
        "#,
        job.task,
        job.payload,
        job.queue_name,
        job.key,
        job.actor,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Added::told(&row.outcome, JobId(row.job_id))?)
}

/// The short way, which is open most of the time. Nothing when it is not, and then nothing was added.
async fn enqueue_plain(
    conn: &mut PgConnection,
    job: &NewJob<'_>,
) -> Result<Option<JobId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        r#"
        insert into switchyard.plain_jobs (database_id, task, payload)
        values ($1, $2, $3)
        returning id as "id!"
        "#,
        job.tenant.uuid(),
        job.task,
        job.payload,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(JobId))
}

/// Makes a task known with its policy. An operator's changes of a task that is known already stay. For migrations.
///
/// # Errors
/// When the login is not the owner or the database does not answer.
pub async fn know_task(
    conn: &mut PgConnection,
    name: &str,
    policy: &TaskPolicy,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select switchyard.know_task($1, $2, make_interval(secs => $3), make_interval(secs => $4))",
        name,
        policy.attempts_max,
        policy.attempt_time_max.as_secs_f64(),
        policy.backoff_max.as_secs_f64(),
    )
    .execute(conn)
    .await
    .map(drop)
}
