//! What became of a push, step by step, for who waits for it: its delivery and event, the decisions, the job.

use database::TenantTx;
use model::{DeliveryId, EventId, JobId, JobState, TenantId, TriggerId, WorkloadId};

/// How many of a trigger's newest deliveries are searched for a commit.
const DELIVERIES_MAX: i64 = 100;
/// How many decisions of one event are read.
const DECISIONS_MAX: i64 = 100;

/// A push that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The request that brought it.
    pub delivery: DeliveryId,
    /// The fact that came of it.
    pub event: EventId,
    /// Whether the bindings have looked at it.
    pub dispatched: bool,
}

/// What one binding made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What the binding starts.
    pub workload: WorkloadId,
    /// The workload's name.
    pub workload_name: String,
    /// What came of it.
    pub outcome: DecidedOutcome,
}

/// Whether a binding matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedOutcome {
    /// It did, and this job is its work.
    Job(JobId),
    /// It did not.
    Unmatched {
        /// The clause that failed.
        clause: String,
        /// What it asks for.
        expected: String,
        /// What the event says.
        actual: String,
    },
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    /// Where it is.
    pub state: JobState,
    /// Tries so far.
    pub attempts: i32,
    /// Why it ended so, or what the last try failed with.
    pub reason: Option<String>,
}

/// The delivery and event of the push that moved a branch to this commit. Nothing while it has not arrived.
///
/// # Errors
/// When the database does not answer.
pub async fn arrived(
    tx: &mut TenantTx,
    tenant: TenantId,
    trigger: TriggerId,
    commit: &str,
) -> Result<Option<Arrived>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select d.id as delivery, e.id as event, e.dispatched_at is not null as "dispatched!"
        from (
            select id from switchyard.deliveries
            where database_id = $1 and trigger_id = $2
            order by id desc
            limit $4
        ) d
        join switchyard.events e on e.database_id = $1 and e.delivery_id = d.id
        where e.data ->> 'after' = $3
        order by e.seq desc
        limit 1
        "#,
        tenant.uuid(),
        trigger.uuid(),
        commit,
        DELIVERIES_MAX
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Arrived {
        delivery: row.delivery.into(),
        event: row.event.into(),
        dispatched: row.dispatched,
    }))
}

/// What the bindings made of an event, in their order.
///
/// # Errors
/// When the database does not answer.
pub async fn decisions(
    tx: &mut TenantTx,
    tenant: TenantId,
    event: EventId,
) -> Result<Vec<Decided>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select w.id, w.name, d.clause, d.expected, d.actual, d.job_id
        from switchyard.decisions d
        join switchyard.bindings b on b.database_id = d.database_id and b.id = d.binding_id
        join switchyard.workloads w on w.database_id = d.database_id and w.id = b.workload_id
        where d.database_id = $1 and d.event_id = $2
        order by b.position, b.id
        limit $3
        "#,
        tenant.uuid(),
        event.uuid(),
        DECISIONS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Decided {
            workload: row.id.into(),
            workload_name: row.name,
            outcome: match row.job_id {
                Some(job) => DecidedOutcome::Job(JobId(job)),
                None => DecidedOutcome::Unmatched {
                    clause: row.clause.unwrap_or_default(),
                    expected: row.expected.unwrap_or_default(),
                    actual: row.actual.unwrap_or_default(),
                },
            },
        })
        .collect())
}

/// How far a job is. Nothing when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn job(
    tx: &mut TenantTx,
    tenant: TenantId,
    id: JobId,
) -> Result<Option<JobProgress>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select state::text as "state!", attempts as "attempts!", last_error as reason
        from switchyard.jobs
        where database_id = $1 and id = $2
        union all
        select state::text, attempts, reason
        from switchyard.jobs_archive
        where database_id = $1 and id = $2
        limit 1
        "#,
        tenant.uuid(),
        id.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(JobProgress {
            state: row
                .state
                .parse()
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            attempts: row.attempts,
            reason: row.reason,
        })
    })
    .transpose()
}

/// The last lines of a job's log, oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn last_lines(
    tx: &mut TenantTx,
    tenant: TenantId,
    id: JobId,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let mut lines = sqlx::query_scalar!(
        r#"
        select line from switchyard.job_logs
        where database_id = $1 and job_id = $2
        order by epoch desc, seq desc
        limit $3
        "#,
        tenant.uuid(),
        id.0,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    lines.reverse();
    Ok(lines)
}
