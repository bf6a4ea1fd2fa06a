//! Artifacts that a runner sends: in parts, or to a place in a bucket; put together, compared, and only then kept.

use blobs::BlobPath;
use bytes::Bytes;
use futures::TryStreamExt as _;
use model::TenantId;
use model::run::ARTIFACT_PART_BYTES;
use queue::Hold;
use sha2::{Digest as _, Sha256};
use store::artifacts::{ArtifactName, NewArtifact, Refused, SEALED_BYTES_MAX};
use uuid::Uuid;

use crate::{AT_ONCE_BYTES_MAX, ArtifactError, Artifacts, Kept, kept, media_type, staged};

/// The last part of the place of an artifact that is sent to a bucket.
pub(crate) const WHOLE: &str = "whole";
/// Parts of one artifact, at most: 64 GiB, which is more than any quota that makes sense.
pub(crate) const PARTS_MAX: u32 = 16 * 1024;

/// An artifact that was sent.
#[derive(Debug, Clone)]
pub struct Announced<'a> {
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, as hexadecimal digits.
    pub sha256: &'a str,
    /// What it is; guessed from the name otherwise.
    pub media_type: Option<&'a str>,
    /// Encrypted at rest, and downloaded only by an admin, on record.
    pub sealed: bool,
    /// Where it is.
    pub from: Sent,
}

/// Where an artifact is that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// In so many parts.
    Parts(u32),
    /// At the place in a bucket that was given for it.
    Blob(String),
}

/// What came of reading what was sent.
struct Found {
    bytes: u64,
    sha256: [u8; 32],
    blob: BlobPath,
}

impl Artifacts {
    /// Keeps a part, from 0, of an artifact that is on its way. The same again replaces it.
    ///
    /// # Errors
    /// When it is refused or has no part's size, or the store or the database do not answer.
    pub async fn put_part(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
        part: u32,
        bytes: Bytes,
    ) -> Result<(), ArtifactError> {
        if bytes.is_empty() || bytes.len() > ARTIFACT_PART_BYTES || part >= PARTS_MAX {
            return Err(ArtifactError::PartSize {
                part,
                bytes: bytes.len(),
            });
        }
        let end = u64::from(part) * ARTIFACT_PART_BYTES as u64 + bytes.len() as u64;
        let id = self.stage(tenant, hold, name, end).await?;
        let path = staged(tenant, id)?.join(&part.to_string())?;
        self.blobs.put(&path, bytes).await?;
        Ok(())
    }

    /// The parts that are there of an artifact that is on its way. How large it will be, as far as that is known, is refused here
    /// rather than when most of it was sent.
    ///
    /// # Errors
    /// When it is refused, or the store or the database do not answer.
    pub async fn parts(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
        bytes: u64,
        sealed: bool,
    ) -> Result<Vec<u32>, ArtifactError> {
        if sealed && bytes > SEALED_BYTES_MAX {
            return Err(ArtifactError::SealedTooLarge);
        }
        let id = self.stage(tenant, hold, name, bytes).await?;
        let there: Vec<_> = self.blobs.list(&staged(tenant, id)?).try_collect().await?;
        let mut parts: Vec<u32> = there
            .iter()
            .filter_map(|blob| blob.path.as_str().rsplit('/').next()?.parse().ok())
            .collect();
        parts.sort_unstable();
        Ok(parts)
    }

    /// Keeps an artifact that was sent, if it is what was announced; if not, what was sent is dropped. The same again is the
    /// first one.
    ///
    /// # Errors
    /// When it is refused, incomplete or something else, or the store or the database do not answer: then what was sent stays, and
    /// the same may be said again.
    pub async fn put_together(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
        announced: &Announced<'_>,
    ) -> Result<Kept, ArtifactError> {
        if let Some(kept) = self.there(tenant, hold, name, announced).await? {
            return Ok(kept);
        }
        if announced.sealed && announced.bytes > SEALED_BYTES_MAX {
            return Err(ArtifactError::SealedTooLarge);
        }
        // Before anything is made of a number that somebody said.
        if let Sent::Parts(parts) = announced.from
            && parts > PARTS_MAX
        {
            return Err(ArtifactError::TooManyParts { parts });
        }
        let id = self.stage(tenant, hold, name, announced.bytes).await?;
        let found = match self.read(tenant, id, announced).await {
            Ok(found) => found,
            Err(error) => {
                // Somebody who said the same may have been faster and cleared the parts.
                if let Some(kept) = self.there(tenant, hold, name, announced).await? {
                    return Ok(kept);
                }
                if matches!(error, ArtifactError::Differs { .. }) {
                    self.clear(&staged(tenant, id)?).await;
                    // A place in a bucket stays the same, so that the URL that was given for it can be used again.
                    if matches!(announced.from, Sent::Parts(_)) {
                        self.ctx.store().drop_upload(tenant, id).await?;
                    }
                }
                return Err(error);
            }
        };
        let new = NewArtifact {
            id,
            name,
            media_type: &media_type(announced.media_type, name),
            bytes: found.bytes,
            sha256: found.sha256,
            blob: found.blob.as_str(),
            sealed: announced.sealed,
        };
        let written = self.ctx.store().add_artifact(tenant, hold, &new).await?;
        let sha256 = hex::encode(found.sha256);
        let kept = self.written(tenant, id, written, sha256).await?;
        self.clear(&staged(tenant, id)?).await;
        Ok(kept)
    }

    /// The artifact, if it is there already.
    async fn there(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
        announced: &Announced<'_>,
    ) -> Result<Option<Kept>, ArtifactError> {
        let there = self.ctx.store().artifact_named(tenant, hold, name).await?;
        match there {
            None => Ok(None),
            Some(there) if there.sha256.eq_ignore_ascii_case(announced.sha256) => Ok(Some(Kept {
                id: there.id,
                sha256: there.sha256,
            })),
            Some(_) => Err(Refused::Differs.into()),
        }
    }

    async fn stage(
        &self,
        tenant: TenantId,
        hold: Hold,
        name: &ArtifactName,
        bytes: u64,
    ) -> Result<Uuid, ArtifactError> {
        let new_id = self.ctx.new_id();
        let store = self.ctx.store();
        Ok(store
            .stage_artifact(tenant, hold, name, bytes, new_id)
            .await??)
    }

    /// Reads what was sent, compares it, and writes it to where it stays: nobody who could still change what was sent can then
    /// change that.
    async fn read(
        &self,
        tenant: TenantId,
        id: Uuid,
        announced: &Announced<'_>,
    ) -> Result<Found, ArtifactError> {
        let from = staged(tenant, id)?;
        let sources = match &announced.from {
            Sent::Parts(parts) => (0..*parts)
                .map(|part| from.join(&part.to_string()))
                .collect::<Result<Vec<_>, _>>()?,
            Sent::Blob(blob) => {
                let place = from.join(WHOLE)?;
                if place.as_str() != blob {
                    return Err(ArtifactError::ElsewhereSent { blob: blob.clone() });
                }
                vec![place]
            }
        };
        if announced.sealed || announced.bytes <= AT_ONCE_BYTES_MAX {
            self.at_once(tenant, id, &sources, announced).await
        } else {
            self.piece_by_piece(tenant, id, &sources, announced).await
        }
    }

    async fn at_once(
        &self,
        tenant: TenantId,
        id: Uuid,
        sources: &[BlobPath],
        announced: &Announced<'_>,
    ) -> Result<Found, ArtifactError> {
        let mut all = Vec::with_capacity(usize::try_from(announced.bytes).unwrap_or_default());
        for (part, source) in sources.iter().enumerate() {
            let mut stream = self.part(source, part, announced).await?;
            while let Some(bytes) = stream.try_next().await? {
                if all.len() as u64 + bytes.len() as u64 > announced.bytes {
                    return Err(longer(announced));
                }
                all.extend_from_slice(&bytes);
            }
        }
        let sha256 = Sha256::digest(&all).into();
        let bytes = all.len() as u64;
        compare(announced, bytes, sha256)?;
        let blob = self.write(tenant, id, all, announced.sealed).await?;
        Ok(Found {
            bytes,
            sha256,
            blob,
        })
    }

    async fn piece_by_piece(
        &self,
        tenant: TenantId,
        id: Uuid,
        sources: &[BlobPath],
        announced: &Announced<'_>,
    ) -> Result<Found, ArtifactError> {
        let blob = kept(tenant, id)?.join(&announced.sha256.to_ascii_lowercase())?;
        let mut writer = self.blobs.writer(&blob).await?;
        let mut hasher = Sha256::new();
        let mut length = 0;
        let copied = async {
            for (part, source) in sources.iter().enumerate() {
                let mut stream = self.part(source, part, announced).await?;
                while let Some(bytes) = stream.try_next().await? {
                    length += bytes.len() as u64;
                    if length > announced.bytes {
                        return Err(longer(announced));
                    }
                    hasher.update(&bytes);
                    writer.write(bytes).await?;
                }
            }
            let sha256 = hasher.finalize().into();
            compare(announced, length, sha256)?;
            Ok(sha256)
        };
        match copied.await {
            Ok(sha256) => {
                writer.finish().await?;
                Ok(Found {
                    bytes: announced.bytes,
                    sha256,
                    blob,
                })
            }
            Err(error) => {
                // What cannot be let go now is below a place that is cleared later.
                if let Err(error) = writer.abort().await {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(error, "what was written of an artifact stays for now");
                }
                Err(error)
            }
        }
    }

    async fn part(
        &self,
        source: &BlobPath,
        part: usize,
        announced: &Announced<'_>,
    ) -> Result<futures::stream::BoxStream<'static, Result<Bytes, blobs::BlobError>>, ArtifactError>
    {
        match (self.blobs.get(source).await?, &announced.from) {
            (Some(blob), _) => Ok(blob.into_stream()),
            (None, Sent::Blob(_)) => Err(ArtifactError::NotSent),
            (None, Sent::Parts(_)) => Err(ArtifactError::MissingPart {
                part: u32::try_from(part).unwrap_or(u32::MAX),
            }),
        }
    }
}

fn compare(announced: &Announced<'_>, bytes: u64, sha256: [u8; 32]) -> Result<(), ArtifactError> {
    let found_sha256 = hex::encode(sha256);
    if bytes == announced.bytes && found_sha256.eq_ignore_ascii_case(announced.sha256) {
        return Ok(());
    }
    Err(ArtifactError::Differs {
        announced: announced.bytes,
        announced_sha256: announced.sha256.to_owned(),
        found: bytes.to_string(),
        found_sha256,
    })
}

/// Nobody reads to the end what is longer than it should be.
fn longer(announced: &Announced<'_>) -> ArtifactError {
    ArtifactError::Differs {
        announced: announced.bytes,
        announced_sha256: announced.sha256.to_owned(),
        found: "more".to_owned(),
        found_sha256: "another".to_owned(),
    }
}
