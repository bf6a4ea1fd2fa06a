//! Artifacts that a task stores itself.

use std::time::Duration;

use model::TenantId;
use model::run::Presigned;
use queue::Hold;
use sha2::{Digest as _, Sha256};
use store::artifacts::{ArtifactName, NewArtifact, Refused, SEALED_BYTES_MAX};

use crate::parts::WHOLE;
use crate::{ArtifactError, Artifacts, Kept, kept, media_type, staged};

/// An artifact that is in memory.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it is; guessed from the name otherwise.
    pub media_type: Option<&'a str>,
    /// Encrypted at rest, and downloaded only by an admin, on record.
    pub sealed: bool,
}

impl Artifacts {
    /// Keeps bytes as an artifact of a job that is held. The same again is the first one; other bytes under its name are
    /// refused.
    ///
    /// # Errors
    /// When it is refused, or the store or the database do not answer: then nothing is kept, and it may be tried again.
    pub async fn add_bytes(
        &self,
        tenant: TenantId,
        hold: Hold,
        given: Given<'_>,
        bytes: Vec<u8>,
    ) -> Result<Kept, ArtifactError> {
        let name = ArtifactName::new(given.name)?;
        let digest = Sha256::digest(&bytes);
        let sha256 = hex::encode(digest);
        let store = self.ctx.store();
        if let Some(there) = store.artifact_named(tenant, hold, &name).await? {
            return if there.sha256 == sha256 {
                Ok(Kept {
                    id: there.id,
                    sha256,
                })
            } else {
                Err(Refused::Differs.into())
            };
        }
        let length = bytes.len() as u64;
        if given.sealed && length > SEALED_BYTES_MAX {
            return Err(ArtifactError::SealedTooLarge);
        }
        let new_id = self.ctx.new_id();
        let id = store
            .stage_artifact(tenant, hold, &name, length, new_id)
            .await??;
        let path = self.write(tenant, id, bytes, given.sealed).await?;
        let new = NewArtifact {
            id,
            name: &name,
            media_type: &media_type(given.media_type, &name),
            bytes: length,
            sha256: digest.into(),
            blob: path.as_str(),
            sealed: given.sealed,
        };
        let written = store.add_artifact(tenant, hold, &new).await?;
        self.written(tenant, id, written, sha256).await
    }

    /// The answer to who brought an artifact; one whose place was given up meanwhile takes its bytes along.
    pub(crate) async fn written(
        &self,
        tenant: TenantId,
        id: uuid::Uuid,
        written: Result<store::artifacts::Written, Refused>,
        sha256: String,
    ) -> Result<Kept, ArtifactError> {
        match written {
            Ok(written) => Ok(Kept {
                id: written.id(),
                sha256,
            }),
            Err(refused) => {
                if refused == Refused::Gone {
                    self.clear(&kept(tenant, id)?).await;
                }
                Err(refused.into())
            }
        }
    }

    /// Where a runner may PUT an artifact of this name instead of sending it to us, for so long. Nothing where the store is a
    /// folder. What arrives there is read back, compared and copied before it counts.
    ///
    /// # Errors
    /// When it is refused, or the store or the database do not answer.
    pub async fn presigned(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &str,
        good_for: Duration,
    ) -> Result<Option<Presigned>, ArtifactError> {
        if !self.blobs.can_presign() {
            return Ok(None);
        }
        let name = ArtifactName::new(name)?;
        let new_id = self.ctx.new_id();
        let id = self
            .ctx
            .store()
            .stage_artifact(tenant, hold, &name, 0, new_id)
            .await??;
        let path = staged(tenant, id)?.join(WHOLE)?;
        let url = self.blobs.presigned_put(&path, good_for).await?;
        Ok(url.map(|url| Presigned {
            url: url.into(),
            blob: path.to_string(),
        }))
    }
}
