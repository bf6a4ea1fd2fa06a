//! What tasks and the site read and write of workloads.

use model::{FinishReport, Host, JobState, RevisionId, TenantId, WorkloadId};
use queue::Hold;
use serde_json::{Map, Value};

use crate::Store;
use crate::dispatch::object;

/// A workload as its task needs it.
#[derive(Debug, Clone)]
pub struct StoredWorkload {
    /// The workload.
    pub id: WorkloadId,
    /// For people.
    pub name: String,
    /// The kind of its source.
    pub source: String,
    /// The source's config.
    pub config: Map<String, Value>,
    /// The first label of the host name that it is served under.
    pub host: String,
    /// What is served there now.
    pub live: Option<LiveRevision>,
}

/// The revision of a workload that is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRevision {
    /// Its number within the workload.
    pub number: i32,
    /// Its commit.
    pub commit: String,
    /// SHA-256 over paths and bytes, in hexadecimal.
    pub content_hash: String,
}

/// What a deploy made.
#[derive(Debug, Clone)]
pub struct NewRevision<'a> {
    /// Of which workload.
    pub workload: WorkloadId,
    /// The commit that the event named.
    pub asked_commit: Option<&'a str>,
    /// The commit that was found.
    pub commit: &'a str,
    /// Where the files are in the blob store.
    pub prefix: &'a str,
    /// SHA-256 over paths and bytes, in hexadecimal.
    pub content_hash: &'a str,
    /// How many files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// What was left out or changed, for people.
    pub warnings: &'a [String],
}

/// What became of a deploy's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeployReport {
    /// The hold was over: nothing has changed.
    Stale,
    /// The revision is live.
    Live {
        /// The revision.
        revision: RevisionId,
        /// Its number within the workload.
        number: i32,
        /// Whether it was made now; false when the same content was live already.
        is_new: bool,
    },
}

/// A site as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSite {
    /// Whose.
    pub tenant: TenantId,
    /// Of which workload.
    pub workload: WorkloadId,
    /// The revision that is live.
    pub revision: RevisionId,
    /// Where its files are in the blob store.
    pub prefix: String,
}

impl Store {
    /// A tenant's workload.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workload(
        &self,
        tenant: TenantId,
        id: WorkloadId,
    ) -> Result<Option<StoredWorkload>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select w.name, w.source, w.config, w.host,
                r.number as "number?", r.commit as "commit?", r.content_hash as "content_hash?"
            from switchyard.workloads w
            left join switchyard.revisions r on r.database_id = w.database_id and r.id = w.live_revision
            where w.database_id = $1 and w.id = $2
            "#,
            tenant.uuid(),
            id.uuid()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        row.map(|row| {
            Ok(StoredWorkload {
                id,
                name: row.name,
                source: row.source,
                config: object(row.config)?,
                host: row.host,
                live: row.number.zip(row.commit).zip(row.content_hash).map(
                    |((number, commit), content_hash)| LiveRevision {
                        number,
                        commit,
                        content_hash,
                    },
                ),
            })
        })
        .transpose()
    }

    /// Where the files of a workload's revision are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision_prefix(
        &self,
        tenant: TenantId,
        workload: WorkloadId,
        revision: RevisionId,
    ) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            select prefix
            from switchyard.revisions
            where database_id = $1 and workload_id = $2 and id = $3
            "#,
            tenant.uuid(),
            workload.uuid(),
            revision.uuid()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await
    }

    /// Ends a deploy: the job succeeds, the revision is recorded and live, all under the job's epoch or not at all.
    ///
    /// # Errors
    /// When the database does not answer; it may be asked again.
    pub async fn finish_deploy(
        &self,
        hold: Hold,
        revision: &NewRevision<'_>,
    ) -> Result<DeployReport, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select applied::text as applied, revision_id, number, is_new as "is_new!"
            from switchyard.finish_deploy($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            "#,
            hold.job.0,
            hold.epoch,
            revision.workload.uuid(),
            revision.asked_commit,
            revision.commit,
            revision.prefix,
            revision.content_hash,
            i32::try_from(revision.files).unwrap_or(i32::MAX),
            i64::try_from(revision.bytes).unwrap_or(i64::MAX),
            Value::from(revision.warnings),
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match (row.revision_id, row.number) {
            (Some(revision), Some(number)) => Ok(DeployReport::Live {
                revision: revision.into(),
                number,
                is_new: row.is_new,
            }),
            _ => Ok(DeployReport::Stale),
        }
    }

    /// Ends a rollback: the job succeeds and the earlier revision is live, under the job's epoch or not at all.
    ///
    /// # Errors
    /// When the database does not answer, or the workload has no such revision.
    pub async fn finish_rollback(
        &self,
        hold: Hold,
        workload: WorkloadId,
        revision: RevisionId,
    ) -> Result<FinishReport, sqlx::Error> {
        let applied = sqlx::query_scalar!(
            "select switchyard.finish_rollback($1, $2, $3, $4)::text",
            hold.job.0,
            hold.epoch,
            workload.uuid(),
            revision.uuid()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(match applied {
            Some(_) => FinishReport::Applied(JobState::Succeeded),
            None => FinishReport::Stale,
        })
    }

    /// The site that is served under a host label. Nothing when no workload has it or none of its revisions is live.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live_site(&self, host: &Host) -> Result<Option<LiveSite>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select w.database_id as tenant, w.id as workload, r.id as revision, r.prefix
            from switchyard.workloads w
            join switchyard.revisions r on r.database_id = w.database_id and r.id = w.live_revision
            where w.host = $1 and w.source = 'static'
            "#,
            host.as_str()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(|row| LiveSite {
            tenant: row.tenant.into(),
            workload: row.workload.into(),
            revision: row.revision.into(),
            prefix: row.prefix,
        }))
    }
}
