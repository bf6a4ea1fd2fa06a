//! A tenant's tasks and named queues as people see them: how much is ready, in flight, and what keeps it from starting.

use database::TenantTx;
use model::JobId;
use serde::Serialize;

/// Where counting what is ready stops.
pub const READY_MAX: i64 = 1000;

/// A task of a tenant (its jobs that are in no named queue), or one of its named queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// The task; of a queue, that of the job at its head.
    pub task: String,
    /// The queue's name.
    pub queue: Option<String>,
    /// Jobs that may start now; at most [`READY_MAX`].
    pub ready: i64,
    /// Whether there are more.
    pub ready_more: bool,
    /// Jobs that are worked on, here or outside.
    pub in_flight: i64,
    /// Jobs that wait for a person.
    pub approvals: i64,
    /// How many may be in flight; a queue has 1.
    pub cap: Option<i32>,
    /// Whether nothing starts because of a pause.
    pub paused: bool,
    /// Whether nothing is added because of a drain.
    pub drained: bool,
    /// The job that holds a queue: the one that is worked on, or that keeps its place between two attempts.
    pub holder: Option<JobId>,
    /// Whether there is a task of this name.
    pub is_known: bool,
}

/// The tenant's tasks after one that is known, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn tasks(
    tx: &mut TenantTx,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Lane>, sqlx::Error> {
    read(tx, Which::Tasks, after, None, limit).await
}

/// One of the tenant's tasks.
///
/// # Errors
/// When the database does not answer.
pub async fn task(tx: &mut TenantTx, name: &str) -> Result<Option<Lane>, sqlx::Error> {
    Ok(read(tx, Which::Tasks, None, Some(name), 1).await?.pop())
}

/// The tenant's named queues after one that is known, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn queues(
    tx: &mut TenantTx,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Lane>, sqlx::Error> {
    read(tx, Which::Queues, after, None, limit).await
}

/// One of the tenant's named queues.
///
/// # Errors
/// When the database does not answer.
pub async fn queue(tx: &mut TenantTx, name: &str) -> Result<Option<Lane>, sqlx::Error> {
    Ok(read(tx, Which::Queues, None, Some(name), 1).await?.pop())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Tasks,
    Queues,
}

async fn read(
    tx: &mut TenantTx,
    which: Which,
    after: Option<&str>,
    name: Option<&str>,
    limit: i64,
) -> Result<Vec<Lane>, sqlx::Error> {
    let rows = sqlx::query_file!(
        "src/sql/lanes.sql",
        which == Which::Queues,
        after,
        name,
        limit,
        READY_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Lane {
            task: row.task,
            queue: row.queue_name,
            ready: row.ready.min(READY_MAX),
            ready_more: row.ready > READY_MAX,
            in_flight: row.in_flight,
            approvals: row.approvals,
            cap: row.cap,
            paused: row.paused,
            drained: row.drained,
            holder: row.holder.map(JobId),
            is_known: row.is_known,
        })
        .collect())
}
