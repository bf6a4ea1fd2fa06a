//! Jobs, live or finished, in one shape. Why a live one does not go on is told by `queue::reasons`.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, CancelOutcome, EventId, JobId, JobState, Waiting, WorkloadId};
use serde::Serialize;
use serde_json::Value;

use super::{Named, rows, word};

/// Events of a job that are shown, at most: the newest.
const JOB_EVENTS_MAX: i64 = 200;

/// A job in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// The kind of work.
    pub task: String,
    /// Its state.
    pub state: JobState,
    /// What it waits for outside, where it does.
    pub waits_for: Option<Waiting>,
    /// The workload that it works on.
    pub workload: Option<Named<WorkloadId>>,
    /// Why it ended as it did, or what went wrong in its last attempt.
    pub reason: Option<String>,
    /// Tries that count.
    pub attempts: i32,
    /// How many there may be.
    pub attempts_max: i32,
    /// Its fencing token.
    pub epoch: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its latest attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it came into its state.
    pub since: DateTime<Utc>,
    /// Its named queue.
    pub queue: Option<String>,
    /// The event that made it.
    pub event: Option<EventId>,
    /// The binding that made it.
    pub binding: Option<BindingId>,
    /// The person who made it.
    pub actor: Option<String>,
    /// The job that it repeats.
    pub replay_of: Option<JobId>,
}

/// One job.
#[derive(Debug, Clone, Serialize)]
pub struct JobDetail {
    /// What the list has.
    #[serde(flatten)]
    pub job: Job,
    /// What it was asked to do.
    pub payload: Value,
    /// What came of it.
    pub result: Option<Value>,
    /// Who asked it to stop.
    pub cancel_requested_by: Option<String>,
}

/// Something that happened to a job besides the plain way.
#[derive(Debug, Clone, Serialize)]
pub struct JobEvent {
    /// What: `retry_planned`, `lease_over`, `cancel_requested` …
    pub kind: String,
    /// Under which epoch.
    pub epoch: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// More about it.
    pub data: Value,
}

/// One job with its payload and result.
///
/// # Errors
/// When the database does not answer.
pub async fn job(tx: &mut TenantTx, id: JobId) -> Result<Option<JobDetail>, sqlx::Error> {
    Ok(read(tx, &[id.0], Bulk::Whole).await?.pop())
}

/// The jobs with these ids that there are, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn jobs(tx: &mut TenantTx, ids: &[JobId]) -> Result<Vec<Job>, sqlx::Error> {
    let ids: Vec<i64> = ids.iter().take(super::ROWS_MAX).map(|id| id.0).collect();
    list(tx, &ids).await
}

/// Jobs before one that is known, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn latest_jobs(
    tx: &mut TenantTx,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<Job>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        with held as materialized (
            select id from switchyard.jobs
            where database_id = switchyard.current_tenant() and state <> 'queued'
        )
        (
            select id as "id!" from switchyard.jobs
            where database_id = switchyard.current_tenant() and state = 'queued' and lease_until is null and id < $1
            order by id desc limit $2
        ) union all (
            select id from held where id < $1
            order by id desc limit $2
        ) union all (
            select id from switchyard.jobs_archive
            where database_id = switchyard.current_tenant() and id < $1
            order by id desc limit $2
        )
        order by 1 desc limit $2
        "#,
        before.map_or(i64::MAX, |id| id.0),
        rows(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    list(tx, &ids).await
}

/// Jobs of a workload before one that is known, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn workload_jobs(
    tx: &mut TenantTx,
    workload: WorkloadId,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<Job>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        (
            select id as "id!" from switchyard.jobs
            where database_id = switchyard.current_tenant() and workload_id = $1 and id < $2
            order by id desc limit $3
        ) union all (
            select id from switchyard.jobs_archive
            where database_id = switchyard.current_tenant() and workload_id = $1 and id < $2
            order by id desc limit $3
        )
        order by 1 desc limit $3
        "#,
        workload.uuid(),
        before.map_or(i64::MAX, |id| id.0),
        rows(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    list(tx, &ids).await
}

/// What goes on: jobs that are worked on, then what is queued, then what failed for good in the last 24 hours; of each up
/// to `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn attention(tx: &mut TenantTx, limit: usize) -> Result<Vec<Job>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        with held as materialized (
            select id from switchyard.jobs
            where database_id = switchyard.current_tenant() and state <> 'queued'
        )
        (
            select id as "id!" from held
            order by id desc limit $1
        ) union all (
            select id from switchyard.jobs
            where database_id = switchyard.current_tenant() and state = 'queued' and lease_until is null
            order by id desc limit $1
        ) union all (
            select id from switchyard.jobs_archive
            where database_id = switchyard.current_tenant() and state = 'dead'
              and finished_at > now() - interval '1 day'
            order by finished_at desc limit $1
        )
        "#,
        rows(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut jobs = list(tx, &ids).await?;
    jobs.sort_by_key(|job| {
        (
            job.state.is_final(),
            job.state == JobState::Queued,
            std::cmp::Reverse(job.id),
        )
    });
    Ok(jobs)
}

/// What happened to a job, oldest first; of very much the newest part.
///
/// # Errors
/// When the database does not answer.
pub async fn job_events(tx: &mut TenantTx, job: JobId) -> Result<Vec<JobEvent>, sqlx::Error> {
    let mut events = sqlx::query_as!(
        JobEvent,
        r#"
        select kind, epoch, at, data
        from switchyard.job_events
        where database_id = switchyard.current_tenant() and job_id = $1
        order by id desc
        limit $2
        "#,
        job.0,
        JOB_EVENTS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    events.reverse();
    Ok(events)
}

/// Asks one of the tenant's jobs to stop. Nothing when it has no such job.
///
/// # Errors
/// When the database does not answer.
pub async fn cancel(
    tx: &mut TenantTx,
    job: JobId,
    by: &str,
) -> Result<Option<CancelOutcome>, sqlx::Error> {
    let outcome = sqlx::query_scalar!("select switchyard.cancel_own_job($1, $2)", job.0, by)
        .fetch_one(&mut **tx)
        .await?;
    match outcome.as_deref() {
        None => Ok(None),
        Some("cancelled") => Ok(Some(CancelOutcome::Cancelled)),
        Some("requested") => Ok(Some(CancelOutcome::Requested)),
        Some("already_requested") => Ok(Some(CancelOutcome::AlreadyRequested)),
        Some("too_late") => Ok(Some(CancelOutcome::TooLate)),
        Some(other) => Err(sqlx::Error::Decode(
            format!("cancel_own_job answered {other:?}").into(),
        )),
    }
}

/// Whether payload and result are read too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bulk {
    Whole,
    Head,
}

async fn list(tx: &mut TenantTx, ids: &[i64]) -> Result<Vec<Job>, sqlx::Error> {
    let found = read(tx, ids, Bulk::Head).await?;
    Ok(found.into_iter().map(|detail| detail.job).collect())
}

/// Live and finished in one statement, so that a job which ends meanwhile is seen once and in one state.
async fn read(tx: &mut TenantTx, ids: &[i64], bulk: Bulk) -> Result<Vec<JobDetail>, sqlx::Error> {
    sqlx::query_file!("src/pages/sql/jobs.sql", ids, bulk == Bulk::Whole)
        .fetch_all(&mut **tx)
        .await?
        .into_iter()
        .map(|row| {
            let state: JobState = word(&row.state)?;
            let started_at = row.started_at;
            let ready_at = row.run_at.max(row.created_at);
            let since = row.finished_at.unwrap_or(match state {
                JobState::Queued if row.due => ready_at,
                JobState::Cancelling => row.cancel_requested_at.unwrap_or(row.created_at),
                JobState::Queued => row.created_at,
                _ => started_at.unwrap_or(row.created_at),
            });
            Ok(JobDetail {
                job: Job {
                    id: JobId(row.id),
                    task: row.task,
                    state,
                    waits_for: row.waiting.as_deref().map(word).transpose()?,
                    workload: row.workload_id.zip(row.workload).map(|(id, name)| Named {
                        id: id.into(),
                        name,
                    }),
                    reason: row.reason,
                    attempts: row.attempts,
                    attempts_max: row.attempts_max,
                    epoch: row.epoch,
                    created_at: row.created_at,
                    started_at,
                    finished_at: row.finished_at,
                    since,
                    queue: row.queue_name,
                    event: row.event_id.map(EventId::from),
                    binding: row.binding_id.map(BindingId::from),
                    actor: row.actor,
                    replay_of: row.replay_of.map(JobId),
                },
                payload: row.payload.unwrap_or(Value::Null),
                result: row.result,
                cancel_requested_by: row.cancel_requested_by,
            })
        })
        .collect()
}
