//! Workloads with their revisions and what starts them.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, JobId, RevisionId, SourceKind, TriggerId, WorkloadId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Named, rows, word};

/// How a workload is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadState {
    /// Nothing was deployed yet.
    Empty,
    /// A job works on it or will.
    Deploying,
    /// A revision is live, and the latest job did not fail.
    Live,
    /// The latest job failed; what was live still is.
    Failed,
}

/// A workload in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Workload {
    /// The workload.
    pub id: WorkloadId,
    /// Its name.
    pub name: String,
    /// The kind of its source.
    pub source: SourceKind,
    /// First label of the host name that it is served under.
    pub host: String,
    /// How it is doing.
    pub state: WorkloadState,
    /// The revision that is live.
    pub live: Option<Revision>,
}

/// One workload.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloadDetail {
    /// What the list has.
    #[serde(flatten)]
    pub workload: Workload,
    /// The source's config.
    pub config: Value,
}

/// A state in which a workload was deployed.
#[derive(Debug, Clone, Serialize)]
pub struct Revision {
    /// The revision.
    pub id: RevisionId,
    /// Its number within the workload.
    pub number: i32,
    /// What the event named.
    pub asked_commit: Option<String>,
    /// What was found and deployed.
    pub commit: String,
    /// How many files it has.
    pub files: i32,
    /// Their size.
    pub bytes: i64,
    /// What was left out or changed, for people.
    pub warnings: Value,
    /// The job that deployed it.
    pub job: JobId,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Something that starts a workload's deploys.
#[derive(Debug, Clone, Serialize)]
pub struct Binding {
    /// The binding.
    pub id: BindingId,
    /// The trigger that it listens to.
    pub trigger: Named<TriggerId>,
    /// What kind of trigger that is.
    pub kind: String,
    /// The trigger's filter with the binding's over it.
    pub filter: Value,
    /// Whether both are switched on.
    pub enabled: bool,
}

/// Workloads whose names come after one that is known, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn workloads(
    tx: &mut TenantTx,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Workload>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        select id
        from switchyard.workloads
        where database_id = switchyard.current_tenant() and name > $1
        order by name
        limit $2
        "#,
        after.unwrap_or_default(),
        rows(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    let found = read(tx, &ids).await?;
    Ok(found.into_iter().map(|detail| detail.workload).collect())
}

/// One workload.
///
/// # Errors
/// When the database does not answer.
pub async fn workload(
    tx: &mut TenantTx,
    id: WorkloadId,
) -> Result<Option<WorkloadDetail>, sqlx::Error> {
    Ok(read(tx, &[id.uuid()]).await?.pop())
}

async fn read(tx: &mut TenantTx, ids: &[Uuid]) -> Result<Vec<WorkloadDetail>, sqlx::Error> {
    let found = sqlx::query_file!("src/pages/sql/workloads.sql", ids)
        .fetch_all(&mut **tx)
        .await?;
    let live: Vec<Uuid> = found.iter().filter_map(|row| row.live_revision).collect();
    let mut revisions = sqlx::query_as!(
        RevisionRow,
        r#"
        select id, number, asked_commit, commit, files, bytes, warnings, job_id, created_at
        from switchyard.revisions
        where database_id = switchyard.current_tenant() and id = any ($1)
        "#,
        &live
    )
    .fetch_all(&mut **tx)
    .await?;
    found
        .into_iter()
        .map(|row| {
            let live = revisions
                .iter()
                .position(|revision| Some(revision.id) == row.live_revision)
                .map(|at| Revision::from(revisions.swap_remove(at)));
            let state = if row.is_worked_on {
                WorkloadState::Deploying
            } else if row.failed {
                WorkloadState::Failed
            } else if live.is_some() {
                WorkloadState::Live
            } else {
                WorkloadState::Empty
            };
            Ok(WorkloadDetail {
                workload: Workload {
                    id: row.id.into(),
                    name: row.name,
                    source: word(&row.source)?,
                    host: row.host,
                    state,
                    live,
                },
                config: row.config,
            })
        })
        .collect()
}

struct RevisionRow {
    id: Uuid,
    number: i32,
    asked_commit: Option<String>,
    commit: String,
    files: i32,
    bytes: i64,
    warnings: Value,
    job_id: i64,
    created_at: DateTime<Utc>,
}

impl From<RevisionRow> for Revision {
    fn from(row: RevisionRow) -> Self {
        Self {
            id: row.id.into(),
            number: row.number,
            asked_commit: row.asked_commit,
            commit: row.commit,
            files: row.files,
            bytes: row.bytes,
            warnings: row.warnings,
            job: JobId(row.job_id),
            created_at: row.created_at,
        }
    }
}

/// Revisions of a workload before a number that is known, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn revisions(
    tx: &mut TenantTx,
    workload: WorkloadId,
    before: Option<i32>,
    limit: usize,
) -> Result<Vec<Revision>, sqlx::Error> {
    let found = sqlx::query_as!(
        RevisionRow,
        r#"
        select id, number, asked_commit, commit, files, bytes, warnings, job_id, created_at
        from switchyard.revisions
        where database_id = switchyard.current_tenant() and workload_id = $1 and number < $2
        order by number desc
        limit $3
        "#,
        workload.uuid(),
        before.unwrap_or(i32::MAX),
        rows(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found.into_iter().map(Revision::from).collect())
}

/// A workload's revision by its id.
///
/// # Errors
/// When the database does not answer.
pub async fn revision(
    tx: &mut TenantTx,
    workload: WorkloadId,
    id: RevisionId,
) -> Result<Option<Revision>, sqlx::Error> {
    let found = sqlx::query_as!(
        RevisionRow,
        r#"
        select id, number, asked_commit, commit, files, bytes, warnings, job_id, created_at
        from switchyard.revisions
        where database_id = switchyard.current_tenant() and workload_id = $1 and id = $2
        "#,
        workload.uuid(),
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(Revision::from))
}

/// A workload's revision by its number.
///
/// # Errors
/// When the database does not answer.
pub async fn revision_numbered(
    tx: &mut TenantTx,
    workload: WorkloadId,
    number: i32,
) -> Result<Option<Revision>, sqlx::Error> {
    let found = sqlx::query_as!(
        RevisionRow,
        r#"
        select id, number, asked_commit, commit, files, bytes, warnings, job_id, created_at
        from switchyard.revisions
        where database_id = switchyard.current_tenant() and workload_id = $1 and number = $2
        "#,
        workload.uuid(),
        number
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(Revision::from))
}

/// What starts a workload's deploys, up to [`super::ROWS_MAX`].
///
/// # Errors
/// When the database does not answer.
pub async fn bindings(
    tx: &mut TenantTx,
    workload: WorkloadId,
) -> Result<Vec<Binding>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select b.id, b.trigger_id, t.name, t.kind, t.config || b.filter as "filter!", b.enabled and t.enabled as "enabled!"
        from switchyard.bindings b
        join switchyard.triggers t on t.database_id = b.database_id and t.id = b.trigger_id
        where b.database_id = switchyard.current_tenant() and b.workload_id = $1 and b.removed_at is null
        order by t.name, b.position, b.id
        limit $2
        "#,
        workload.uuid(),
        rows(super::ROWS_MAX)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| Binding {
            id: row.id.into(),
            trigger: Named {
                id: row.trigger_id.into(),
                name: row.name,
            },
            kind: row.kind,
            filter: row.filter,
            enabled: row.enabled,
        })
        .collect())
}
