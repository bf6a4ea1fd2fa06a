//! Artifacts that a person brings: to a job, or to the tenant's shelf.

use blobs::BlobPath;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use model::{JobId, TenantId};
use sha2::{Digest as _, Sha256};
use store::artifacts::{ArtifactName, NewArtifact, Refused, SEALED_BYTES_MAX, Written};
use store::artifacts::{add_own, drop_own_upload, stage_own};
use uuid::Uuid;

use crate::{ArtifactError, Artifacts, Kept, kept, media_type};

/// An artifact that a person brings.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'a> {
    /// To which job; none: to the shelf.
    pub job: Option<JobId>,
    /// What it is called.
    pub name: &'a ArtifactName,
    /// What it is; guessed from the name otherwise.
    pub media_type: Option<&'a str>,
    /// Encrypted at rest, and downloaded only by an admin, on record.
    pub sealed: bool,
    /// How long it may be, in bytes.
    pub bytes_max: u64,
    /// Who brings it.
    pub by: &'a str,
}

/// The bytes that came.
struct Came {
    bytes: u64,
    sha256: [u8; 32],
    blob: BlobPath,
}

impl Artifacts {
    /// Keeps what a person brings as it comes, and writes down who brought it. The same again is the first one; other bytes under
    /// its name are refused: it has to go before.
    ///
    /// # Errors
    /// When it is refused, too large or breaks off, or the store or the database do not answer: then nothing is kept.
    pub async fn bring<S, E>(
        &self,
        tenant: TenantId,
        brought: Brought<'_>,
        body: S,
    ) -> Result<(Kept, Written), ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let mut tx = self.ctx.tenants().begin(tenant).await?;
        let new_id = self.ctx.new_id();
        let id = stage_own(&mut tx, brought.job, brought.name, 0, new_id).await??;
        tx.commit().await?;
        let kept = match self.come(tenant, id, brought, body).await {
            Ok(came) => self.keep(tenant, id, brought, &came).await,
            Err(error) => Err(error),
        };
        if kept.is_err() {
            let mut tx = self.ctx.tenants().begin(tenant).await?;
            drop_own_upload(&mut tx, id).await?;
            tx.commit().await?;
        }
        kept
    }

    async fn come<S, E>(
        &self,
        tenant: TenantId,
        id: Uuid,
        brought: Brought<'_>,
        mut body: S,
    ) -> Result<Came, ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let cap = if brought.sealed {
            brought.bytes_max.min(SEALED_BYTES_MAX)
        } else {
            brought.bytes_max
        };
        let mut hasher = Sha256::new();
        let mut length = 0;
        let mut sealed = Vec::new();
        // Under a name of its own: two who bring the same at once do not write over each other.
        let place = kept(tenant, id)?.join(&self.ctx.new_id().to_string())?;
        let mut writer = self.blobs.writer(&place).await?;
        let came = loop {
            let bytes = match body.next().await {
                None => break Ok(()),
                Some(Err(_)) => break Err(ArtifactError::Broken),
                Some(Ok(bytes)) => bytes,
            };
            length += bytes.len() as u64;
            if length > cap {
                break Err(if brought.sealed {
                    ArtifactError::SealedTooLarge
                } else {
                    Refused::TooLarge.into()
                });
            }
            hasher.update(&bytes);
            if brought.sealed {
                sealed.extend_from_slice(&bytes);
            } else if let Err(error) = writer.write(bytes).await {
                break Err(error.into());
            }
        };
        if let Err(error) = came {
            let let_go = writer.abort().await;
            if let Err(error) = let_go {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(error, "what came of an artifact stays for now");
            }
            return Err(error);
        }
        let blob = if brought.sealed || length == 0 {
            writer.abort().await?;
            self.write(tenant, id, sealed, brought.sealed).await?
        } else {
            writer.finish().await?;
            place
        };
        Ok(Came {
            bytes: length,
            sha256: hasher.finalize().into(),
            blob,
        })
    }

    async fn keep(
        &self,
        tenant: TenantId,
        id: Uuid,
        brought: Brought<'_>,
        came: &Came,
    ) -> Result<(Kept, Written), ArtifactError> {
        let new = NewArtifact {
            id,
            name: brought.name,
            media_type: &media_type(brought.media_type, brought.name),
            bytes: came.bytes,
            sha256: came.sha256,
            blob: came.blob.as_str(),
            sealed: brought.sealed,
        };
        let mut tx = self.ctx.tenants().begin(tenant).await?;
        let written = add_own(&mut tx, brought.job, &new, brought.by).await?;
        tx.commit().await?;
        if !matches!(written, Ok(Written::Added(_))) {
            // Somebody was faster; what came now is nobody's.
            self.blobs.delete(&came.blob).await?;
        }
        let outcome = written?;
        let sha256 = hex::encode(came.sha256);
        if let Written::Present(_) = outcome {
            let mut tx = self.ctx.tenants().begin(tenant).await?;
            drop_own_upload(&mut tx, id).await?;
            tx.commit().await?;
        }
        let kept = self.written(tenant, id, Ok(outcome), sha256).await?;
        Ok((kept, outcome))
    }
}
