//! The bytes of artifacts: written piece by piece and compared with what was announced, sealed where they are secret, read and
//! downloaded. The rows are [`store::artifacts`]'.
//!
//! Where what is: pieces on their way are below `staged/<tenant>/<upload>/`, an artifact's bytes below
//! `artifacts/<tenant>/<upload>/`, and an artifact has the id of the upload that brought it. A row is written when its bytes are
//! there, durable, and have the size and the SHA-256 that were announced; whatever comes to nothing is cleared by
//! `cron-retention`.

mod download;
mod given;
mod parts;
mod shelf;
mod sweep;

use blobs::{BlobError, BlobPath, BlobPathError, Blobs};
use bytes::Bytes;
use host::{Ctx, SettingsError};
use model::TenantId;
use sha2::{Digest as _, Sha256};
use store::artifacts::{Artifact, BadArtifactName, Refused, SEALED_BYTES_MAX};
use store::{Keyring, SealedError, Slot};
use uuid::Uuid;

pub use given::Given;
pub use parts::{Announced, Sent};
pub use shelf::Brought;
pub use store::artifacts::{self as rows, ArtifactName};
pub use sweep::{Swept, sweep};

/// The column that a sealed artifact belongs to.
const SEALED: &str = "artifacts.blob";
/// What is no longer than this is gathered in memory and written at once, in bytes: one request to a bucket instead of three.
const AT_ONCE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Artifacts as a function sees them that has `BLOBS_URL` and `MASTER_KEY_FILE`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    ctx: Ctx,
    blobs: Blobs,
    keyring: Keyring,
}

/// That an artifact is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: Uuid,
    /// Its SHA-256, as hexadecimal digits.
    pub sha256: String,
}

/// Why an artifact, or a piece of one, was not taken or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It cannot be called so.
    #[error(transparent)]
    Name(#[from] BadArtifactName),
    /// It may not be, at this size, or any more.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A part has another size than parts have.
    #[error("part {part} has {bytes} bytes: a part has 1 to {max}, and all but the last have as many as may be", max = model::run::ARTIFACT_PART_BYTES)]
    PartSize {
        /// Its number, from 0.
        part: u32,
        /// How many it has.
        bytes: usize,
    },
    /// More parts than an artifact has.
    #[error(
        "{parts} parts are more than the {} that an artifact has at most",
        parts::PARTS_MAX
    )]
    TooManyParts {
        /// How many were announced.
        parts: u32,
    },
    /// Parts are not there.
    #[error("parts are not there, part {part} first: send them")]
    MissingPart {
        /// The first of them.
        part: u32,
    },
    /// It was to be sent elsewhere, and is not there.
    #[error("nothing is at the place that it was to be sent to: send it, then say so again")]
    NotSent,
    /// It is at a place that was not given for it.
    #[error("`{blob}` is not the place that was given for this artifact")]
    ElsewhereSent {
        /// The place.
        blob: String,
    },
    /// The bytes are not those that were announced.
    #[error(
        "what was sent is not what was announced ({announced} bytes, SHA-256 {announced_sha256}): it has {found} and SHA-256 {found_sha256}; it was dropped, send it anew"
    )]
    Differs {
        /// How many were announced.
        announced: u64,
        /// As what.
        announced_sha256: String,
        /// How many there are.
        found: String,
        /// As what.
        found_sha256: String,
    },
    /// What is sealed is bounded.
    #[error("an artifact that is sealed has {SEALED_BYTES_MAX} bytes at most")]
    SealedTooLarge,
    /// There is a row and no blob.
    #[error("the bytes of the artifact {id} are not in the store any more")]
    Lost {
        /// Which.
        id: Uuid,
    },
    /// What is sealed does not open.
    #[error("a sealed artifact cannot be opened")]
    Sealed(#[from] SealedError),
    /// The place of a blob is none.
    #[error("an artifact's place in the store is none")]
    Path(#[from] BlobPathError),
    /// The store of blobs does not answer, or takes nothing.
    #[error("the store of artifacts does not take or give what it should")]
    Store(#[from] BlobError),
    /// Who brings it stopped in the middle.
    #[error("the body did not come to its end")]
    Broken,
    /// The database does not answer.
    #[error("the row of an artifact cannot be read or written")]
    Database(#[from] sqlx::Error),
}

impl ArtifactError {
    /// Whether the same may go well later: the database or the store is away.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Database(error) => database::is_passing(error),
            Self::Name(_)
            | Self::Refused(_)
            | Self::PartSize { .. }
            | Self::TooManyParts { .. }
            | Self::MissingPart { .. }
            | Self::NotSent
            | Self::ElsewhereSent { .. }
            | Self::Differs { .. }
            | Self::SealedTooLarge
            | Self::Lost { .. }
            | Self::Sealed(_)
            | Self::Path(_)
            | Self::Broken => false,
        }
    }
}

impl Artifacts {
    /// Those of this function.
    ///
    /// # Errors
    /// When it was started without `BLOBS_URL` or `MASTER_KEY_FILE`.
    pub fn of(ctx: &Ctx) -> Result<Self, SettingsError> {
        Ok(Self {
            ctx: ctx.clone(),
            blobs: ctx.blobs()?.clone(),
            keyring: ctx.keyring()?.clone(),
        })
    }

    /// All bytes of an artifact, opened where it is sealed. For those that are known to be small.
    ///
    /// # Errors
    /// When the store does not answer, or the bytes are not there or do not open.
    pub async fn bytes(
        &self,
        tenant: TenantId,
        artifact: &Artifact,
    ) -> Result<Bytes, ArtifactError> {
        let path = BlobPath::new(artifact.blob.as_str())?;
        let lost = ArtifactError::Lost { id: artifact.id };
        let bytes = self.blobs.get(&path).await?.ok_or(lost)?.bytes().await?;
        if !artifact.sealed {
            return Ok(bytes);
        }
        let mut opened = self.keyring.open(slot(tenant, artifact.id), &bytes)?;
        Ok(Bytes::from(std::mem::take(&mut *opened)))
    }

    /// Writes bytes that are known to be an artifact's, and returns where they are.
    async fn write(
        &self,
        tenant: TenantId,
        id: Uuid,
        bytes: Vec<u8>,
        sealed: bool,
    ) -> Result<BlobPath, ArtifactError> {
        let path = kept(tenant, id)?.join(&hex::encode(Sha256::digest(&bytes)))?;
        let bytes = if sealed {
            self.keyring.seal(slot(tenant, id), &bytes)
        } else {
            bytes
        };
        self.blobs.put(&path, bytes.into()).await?;
        Ok(path)
    }

    /// Clears what an upload left behind; if that fails now, `cron-retention` does it later.
    async fn clear(&self, path: &BlobPath) {
        if let Err(error) = self.blobs.delete_prefix(path, sweep::BLOBS_MAX).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "what was staged stays for now"
            );
        }
    }
}

fn slot(tenant: TenantId, id: Uuid) -> Slot {
    Slot {
        tenant,
        column: SEALED,
        row: id,
    }
}

/// Below which the pieces of an upload are.
fn staged(tenant: TenantId, id: Uuid) -> Result<BlobPath, BlobPathError> {
    BlobPath::new(format!("staged/{}/{id}", tenant.uuid()))
}

/// Below which the bytes of an artifact are.
fn kept(tenant: TenantId, id: Uuid) -> Result<BlobPath, BlobPathError> {
    BlobPath::new(format!("artifacts/{}/{id}", tenant.uuid()))
}

/// The media type that an artifact gets: what was said, if that is one, or what the name tells.
fn media_type(said: Option<&str>, name: &ArtifactName) -> String {
    let good = |text: &&str| {
        text.len() <= rows::MEDIA_TYPE_BYTES_MAX
            && text.parse::<mime_guess::Mime>().is_ok()
            && http::HeaderValue::from_str(text).is_ok()
    };
    match said.filter(good) {
        Some(said) => said.to_owned(),
        None => mime_guess::from_path(name.as_str())
            .first_or_octet_stream()
            .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_none_is_guessed_from_the_name() {
        let name = ArtifactName::new("a/plan.json").expect("a name");
        for (said, is) in [
            (None, "application/json"),
            (
                Some("text/plain; charset=utf-8"),
                "text/plain; charset=utf-8",
            ),
            (Some("nonsense"), "application/json"),
            (Some("text/plain\r\nset-cookie: a=b"), "application/json"),
            (Some(""), "application/json"),
        ] {
            assert_eq!(media_type(said, &name), is, "{said:?}");
        }
        let long = format!("text/{}", "x".repeat(200));
        assert_eq!(media_type(Some(&long), &name), "application/json");
        let odd = ArtifactName::new("core").expect("a name");
        assert_eq!(media_type(None, &odd), "application/octet-stream");
    }
}
