//! What work leaves behind: a row for each file, whose bytes are blobs. Who writes bytes opens an *upload* first, which names
//! the place; the row is written when they are there. All blobs of an artifact are below the id of its upload, so that nothing
//! in the store is without a row.

mod own;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{JobId, TenantId};
use queue::Hold;
use serde::Serialize;
use uuid::Uuid;

use crate::Store;

pub use own::{
    ArtifactFilter, add_own, artifact, artifacts, drop_own_upload, note_own_read, remove_own,
    stage_own,
};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 512;
/// The longest media type, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 100;
/// The largest artifact that is sealed, in bytes: it is sealed and opened in one piece.
pub const SEALED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What an artifact is called: a relative path without `.` and `..`, without control characters and backslashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactName(String);

/// A text that cannot be an artifact's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an artifact's name is a relative path of 1 to {NAME_CHARS_MAX} characters, without empty parts, `.`, `..`, backslashes and control characters"
)]
pub struct BadArtifactName;

impl ArtifactName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: impl Into<String>) -> Result<Self, BadArtifactName> {
        let text = text.into();
        let good = text.chars().count() <= NAME_CHARS_MAX
            && !text.chars().any(|c| c.is_control() || c == '\\')
            && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if good {
            Ok(Self(text))
        } else {
            Err(BadArtifactName)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ArtifactName {
    type Err = BadArtifactName;

    fn from_str(text: &str) -> Result<Self, BadArtifactName> {
        Self::new(text)
    }
}

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Which.
    pub id: Uuid,
    /// Of which job; none: on the tenant's shelf.
    pub job: Option<JobId>,
    /// Of which of the job's claims; 0: a person's.
    pub epoch: i64,
    /// What it is called.
    pub name: String,
    /// What it says that it is.
    pub media_type: String,
    /// How long it is, as it is read.
    pub bytes: i64,
    /// Its SHA-256, as hexadecimal digits.
    pub sha256: String,
    /// Encrypted at rest, and downloaded only by an admin, on record.
    pub sealed: bool,
    /// Who brought it; none: a runner or a task.
    pub uploaded_by: Option<String>,
    /// When it was complete.
    pub created_at: DateTime<Utc>,
    /// Where its bytes are.
    #[serde(skip)]
    pub blob: String,
}

/// An artifact as the database has it.
struct Row {
    id: Uuid,
    job: Option<i64>,
    epoch: i64,
    name: String,
    media_type: String,
    bytes: i64,
    sha256: String,
    sealed: bool,
    uploaded_by: Option<String>,
    created_at: DateTime<Utc>,
    blob: String,
}

impl From<Row> for Artifact {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            job: row.job.map(JobId),
            epoch: row.epoch,
            name: row.name,
            media_type: row.media_type,
            bytes: row.bytes,
            sha256: row.sha256,
            sealed: row.sealed,
            uploaded_by: row.uploaded_by,
            created_at: row.created_at,
            blob: row.blob,
        }
    }
}

/// An artifact whose bytes are there.
#[derive(Debug, Clone, Copy)]
pub struct NewArtifact<'a> {
    /// The id of its upload.
    pub id: Uuid,
    /// What it is called.
    pub name: &'a ArtifactName,
    /// What it says that it is.
    pub media_type: &'a str,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Where its bytes are.
    pub blob: &'a str,
    /// Whether they are sealed there.
    pub sealed: bool,
}

/// Why an artifact, or a piece of one, is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody else holds the job, or it has ended.
    #[error("the job went on without this run, or has ended")]
    Stale,
    /// The tenant has no such job.
    #[error("there is no such job")]
    Unknown,
    /// It alone is more than the tenant may have in one.
    #[error(
        "it is larger than an artifact of this tenant may be: 1 GiB unless the operator said otherwise"
    )]
    TooLarge,
    /// With what is there it is more than the tenant may have.
    #[error(
        "the tenant keeps as many artifacts as it may, 20 GiB unless the operator said otherwise: delete some, or ask for more"
    )]
    Full,
    /// The run has as many as one may have.
    #[error("a run leaves 10000 artifacts at most: put files together into an archive")]
    TooMany,
    /// There is another of this name, with other bytes.
    #[error("there is another artifact of this name, with other bytes")]
    Differs,
    /// Its place was given up meanwhile, because nothing came for long.
    #[error("what was sent before was let go because nothing more came: send it again")]
    Gone,
}

/// That an artifact is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is now.
    Added(Uuid),
    /// It was before, with the same bytes.
    Present(Uuid),
}

impl Written {
    /// Its id.
    #[must_use]
    pub const fn id(self) -> Uuid {
        match self {
            Self::Added(id) | Self::Present(id) => id,
        }
    }
}

/// A place in the store that is to be cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DroppedUpload {
    /// Whose.
    pub tenant: TenantId,
    /// Below this id.
    pub id: Uuid,
    /// Whether there is an artifact of this id, whose own blobs stay.
    pub kept: bool,
    /// When it was given up: what is given up again meanwhile is not forgotten.
    pub dropped_at: DateTime<Utc>,
}

fn staged(outcome: &str, id: Option<Uuid>) -> Result<Result<Uuid, Refused>, sqlx::Error> {
    match (outcome, id) {
        ("open", Some(id)) => Ok(Ok(id)),
        (other, _) => refused(other).map(Err),
    }
}

fn written(outcome: &str, id: Option<Uuid>) -> Result<Result<Written, Refused>, sqlx::Error> {
    match (outcome, id) {
        ("added", Some(id)) => Ok(Ok(Written::Added(id))),
        ("present", Some(id)) => Ok(Ok(Written::Present(id))),
        (other, _) => refused(other).map(Err),
    }
}

fn refused(outcome: &str) -> Result<Refused, sqlx::Error> {
    match outcome {
        "stale" => Ok(Refused::Stale),
        "unknown" => Ok(Refused::Unknown),
        "too_large" => Ok(Refused::TooLarge),
        "full" => Ok(Refused::Full),
        "too_many" => Ok(Refused::TooMany),
        "differs" => Ok(Refused::Differs),
        "gone" => Ok(Refused::Gone),
        other => Err(sqlx::Error::Decode(
            format!("an artifact was answered {other:?}").into(),
        )),
    }
}

/// More than any cap.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Store {
    /// The place for an artifact of a job that is held: `id`, or the one that was begun for this name. `bytes`: what is there of
    /// it then, at least.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stage_artifact(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
        bytes: u64,
        id: Uuid,
    ) -> Result<Result<Uuid, Refused>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", id
            from switchyard.stage_artifact($1, $2, $3, $4, $5, $6)
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            name.as_str(),
            signed(bytes),
            id
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        staged(&row.outcome, row.id)
    }

    /// Writes the row of an artifact of a job that is held. The same again is the first one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn add_artifact(
        &self,
        tenant: TenantId,
        hold: Hold,
        new: &NewArtifact<'_>,
    ) -> Result<Result<Written, Refused>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", id
            from switchyard.add_artifact($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            new.id,
            new.name.as_str(),
            new.media_type,
            signed(new.bytes),
            &new.sha256,
            new.blob,
            new.sealed
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        written(&row.outcome, row.id)
    }

    /// Lets an upload go that came to nothing; its blobs are cleared later.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_upload(&self, tenant: TenantId, id: Uuid) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.drop_upload($1, $2) as "dropped!""#,
            tenant.uuid(),
            id
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// One artifact.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn artifact(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<Artifact>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            r#"
            select id, nullif(job_id, 0) as job, epoch, name, media_type, bytes,
                encode(sha256, 'hex') as "sha256!", sealed, uploaded_by, created_at, blob
            from switchyard.artifacts
            where database_id = $1 and id = $2
            "#,
            tenant.uuid(),
            id
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(Artifact::from))
    }

    /// The artifact of this name that a claim of a job left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn artifact_named(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
    ) -> Result<Option<Artifact>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            r#"
            select id, nullif(job_id, 0) as job, epoch, name, media_type, bytes,
                encode(sha256, 'hex') as "sha256!", sealed, uploaded_by, created_at, blob
            from switchyard.artifacts
            where database_id = $1 and job_id = $2 and epoch = $3 and name = $4
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            name.as_str()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(Artifact::from))
    }

    /// The newest artifact of this name that any claim of a job left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn artifact_of_job(
        &self,
        tenant: TenantId,
        job: JobId,
        name: &ArtifactName,
    ) -> Result<Option<Artifact>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            r#"
            select id, nullif(job_id, 0) as job, epoch, name, media_type, bytes,
                encode(sha256, 'hex') as "sha256!", sealed, uploaded_by, created_at, blob
            from switchyard.artifacts
            where database_id = $1 and job_id = $2 and name = $3 and uploaded_by is null
            order by epoch desc
            limit 1
            "#,
            tenant.uuid(),
            job.0,
            name.as_str()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(Artifact::from))
    }

    /// The newest artifact of this name that a run or task of the tenant left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_artifact(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<Artifact>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            r#"
            select id, nullif(job_id, 0) as job, epoch, name, media_type, bytes,
                encode(sha256, 'hex') as "sha256!", sealed, uploaded_by, created_at, blob
            from switchyard.artifacts
            where database_id = $1 and name = $2 and job_id <> 0 and uploaded_by is null
            order by created_at desc, id desc
            limit 1
            "#,
            tenant.uuid(),
            name
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(Artifact::from))
    }

    /// Takes out up to `limit` artifacts of jobs that have ended and that are older than `keep`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than a day.
    pub async fn forget_artifacts(&self, keep: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_artifacts(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Gives up to `limit` uploads up that nobody goes on with: not touched for `idle`, or for an hour when the claim that began
    /// it is over. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or the time is less than an hour.
    pub async fn drop_idle_uploads(&self, idle: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.drop_idle_uploads(make_interval(secs => $1), $2) as "dropped!""#,
            idle.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Up to `limit` places that are to be cleared, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dropped_uploads(&self, limit: i64) -> Result<Vec<DroppedUpload>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select u.database_id, u.id, u.dropped_at as "dropped_at!", exists (
                select from switchyard.artifacts a where a.database_id = u.database_id and a.id = u.id
            ) as "kept!"
            from switchyard.artifact_uploads u
            where u.dropped_at is not null
            order by u.dropped_at
            limit $1
            "#,
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| DroppedUpload {
                tenant: row.database_id.into(),
                id: row.id,
                kept: row.kept,
                dropped_at: row.dropped_at,
            })
            .collect())
    }

    /// That a place was cleared. False when it was given up again meanwhile: then it is cleared again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_upload(&self, dropped: &DroppedUpload) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_upload($1, $2, $3) as "forgotten!""#,
            dropped.tenant.uuid(),
            dropped.id,
            dropped.dropped_at
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_that_stays_where_it_is() {
        for good in [
            "plan.json",
            "node_files/r1/bgp",
            "ü \"x\".txt",
            "...",
            "a%2Fb",
            ".hidden",
        ] {
            assert!(ArtifactName::new(good).is_ok(), "{good:?}");
        }
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for bad in [
            "",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "a/../b",
            "./a",
            "a\\b",
            "a\nb",
            "a\0",
            &long,
        ] {
            assert_eq!(ArtifactName::new(bad), Err(BadArtifactName), "{bad:?}");
        }
    }
}
