//! Artifacts as people see them: in a transaction in which the tenant is set.

use database::TenantTx;
use model::JobId;
use uuid::Uuid;

use super::{Artifact, ArtifactName, NewArtifact, Refused, Row, Written, signed, staged, written};
use crate::pages::ROWS_MAX;

/// Which artifacts are listed.
#[derive(Debug, Clone, Default)]
pub struct ArtifactFilter {
    /// Only those of this job.
    pub job: Option<JobId>,
    /// Only those of no job.
    pub shelf: bool,
    /// Only those whose names contain this, whatever the case.
    pub name: Option<String>,
}

/// Artifacts, the newest first, before one that is known.
///
/// # Errors
/// When the database does not answer.
pub async fn artifacts(
    tx: &mut TenantTx,
    filter: &ArtifactFilter,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Artifact>, sqlx::Error> {
    let job = match (filter.job, filter.shelf) {
        (Some(job), _) => Some(job.0),
        (None, true) => Some(0),
        (None, false) => None,
    };
    let rows = sqlx::query_as!(
        Row,
        r#"
        select id, nullif(job_id, 0) as job, epoch, name, media_type, bytes,
            encode(sha256, 'hex') as "sha256!", sealed, uploaded_by, created_at, blob
        from switchyard.artifacts
        where database_id = switchyard.current_tenant() and id < $1
          and ($2::bigint is null or job_id = $2)
          and ($3::text is null or position(lower($3) in lower(name)) > 0)
        order by id desc
        limit $4
        "#,
        before.unwrap_or(Uuid::max()),
        job,
        filter.name,
        i64::try_from(limit.min(ROWS_MAX)).expect("a hundred is a bigint")
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(Artifact::from).collect())
}

/// One artifact. Nothing when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn artifact(tx: &mut TenantTx, id: Uuid) -> Result<Option<Artifact>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select id, nullif(job_id, 0) as job, epoch, name, media_type, bytes,
            encode(sha256, 'hex') as "sha256!", sealed, uploaded_by, created_at, blob
        from switchyard.artifacts
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Artifact::from))
}

/// The place for an artifact that a person brings, to a job or to the shelf: `id`, or the one that was begun for this name.
///
/// # Errors
/// When the database does not answer.
pub async fn stage_own(
    tx: &mut TenantTx,
    job: Option<JobId>,
    name: &ArtifactName,
    bytes: u64,
    id: Uuid,
) -> Result<Result<Uuid, Refused>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select outcome as "outcome!", id from switchyard.stage_own_artifact($1, $2, $3, $4)"#,
        job.map_or(0, |job| job.0),
        name.as_str(),
        signed(bytes),
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    staged(&row.outcome, row.id)
}

/// Writes the row of an artifact that a person brought, and that they did.
///
/// # Errors
/// When the database does not answer.
pub async fn add_own(
    tx: &mut TenantTx,
    job: Option<JobId>,
    new: &NewArtifact<'_>,
    by: &str,
) -> Result<Result<Written, Refused>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select outcome as "outcome!", id
        from switchyard.add_own_artifact($1, $2, $3, $4, $5, $6, $7, $8, $9)
        "#,
        job.map_or(0, |job| job.0),
        new.id,
        new.name.as_str(),
        new.media_type,
        signed(new.bytes),
        &new.sha256,
        new.blob,
        new.sealed,
        by
    )
    .fetch_one(&mut **tx)
    .await?;
    written(&row.outcome, row.id)
}

/// Lets an upload of a person's go that came to nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn drop_own_upload(tx: &mut TenantTx, id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select switchyard.drop_own_upload($1) as "dropped!""#, id)
        .fetch_one(&mut **tx)
        .await
}

/// Lets an artifact go, and writes down who did. False when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_own(tx: &mut TenantTx, id: Uuid, by: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.remove_own_artifact($1, $2) as "removed!""#,
        id,
        by
    )
    .fetch_one(&mut **tx)
    .await
}

/// Writes down that somebody downloads a sealed artifact. False when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn note_own_read(tx: &mut TenantTx, id: Uuid, by: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.note_own_artifact_read($1, $2) as "noted!""#,
        id,
        by
    )
    .fetch_one(&mut **tx)
    .await
}
