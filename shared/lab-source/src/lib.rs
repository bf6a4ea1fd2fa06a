//! The files of a lab, from wherever its job says that they are.

use artifacts::{ArtifactError, Artifacts};
use host::Ctx;
use labs::{FilesError, LabFile, LabFiles};
use model::TenantId;
use runs::LabSource;
use uuid::Uuid;

/// The largest archive that is read, in bytes.
const ARCHIVE_BYTES_MAX: i64 = 80 * 1024 * 1024;

/// A lab's files.
#[derive(Debug)]
pub struct Gathered {
    /// All of them, the topology among them.
    pub files: LabFiles,
    /// The topology's path.
    pub topology: String,
    /// Its text.
    pub text: String,
    /// The archive that they came in, with its SHA-256.
    pub archive: Option<(Uuid, String)>,
}

/// Why a lab's files are not there.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// They lead elsewhere, or are too much.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The archive is not the tenant's, or nowhere.
    #[error("there is no artifact {0}: it was removed, or its time was over")]
    NoArtifact(Uuid),
    /// What is sealed is an admin's to open, on record, and a lab's files can be read in what is made of them.
    #[error("the artifact {0} is sealed, and is not read as a lab's files")]
    Sealed(Uuid),
    /// The archive is too large.
    #[error("the artifact {id} has {bytes} bytes, and {ARCHIVE_BYTES_MAX} are read of a lab")]
    TooLarge {
        /// Which.
        id: Uuid,
        /// Its size.
        bytes: i64,
    },
    /// The topology is not among them.
    #[error("{path} is not among the lab's files: say source.topology")]
    NoTopology {
        /// What it should be called.
        path: String,
    },
    /// The topology is no text.
    #[error("{path} is not text")]
    NotText {
        /// What it is called.
        path: String,
    },
    /// The job names none; it was checked before.
    #[error("the lab has no source")]
    None,
    /// The artifact cannot be read.
    #[error("the artifact of the lab's files cannot be read")]
    Artifact(#[from] ArtifactError),
    /// The database does not answer, or a setting is missing.
    #[error("the lab's files cannot be looked up")]
    Here(#[source] anyhow::Error),
}

impl SourceError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Artifact(error) => error.is_passing(),
            Self::Here(_) => true,
            Self::Files(_)
            | Self::NoArtifact(_)
            | Self::Sealed(_)
            | Self::TooLarge { .. }
            | Self::NoTopology { .. }
            | Self::NotText { .. }
            | Self::None => false,
        }
    }
}

/// Gathers the files of a lab. `topology` is the topology's path unless the source says another.
///
/// # Errors
/// When they are not there, or not what a lab may have.
pub async fn gather(
    ctx: &Ctx,
    tenant: TenantId,
    source: &LabSource,
    topology: &str,
) -> Result<Gathered, SourceError> {
    let (files, archive) = match (&source.files, source.artifact) {
        (Some(given), _) => {
            let mut files = LabFiles::default();
            for (path, text) in given {
                let bytes = text.clone().into_bytes();
                files.add(
                    path,
                    LabFile {
                        bytes,
                        executable: false,
                    },
                )?;
            }
            (files, None)
        }
        (None, Some(id)) => {
            let here = |error: anyhow::Error| SourceError::Here(error);
            let found = ctx
                .store()
                .artifact(tenant, id)
                .await
                .map_err(|e| here(e.into()))?;
            let found = found.ok_or(SourceError::NoArtifact(id))?;
            if found.sealed {
                return Err(SourceError::Sealed(id));
            }
            if found.bytes > ARCHIVE_BYTES_MAX {
                return Err(SourceError::TooLarge {
                    id,
                    bytes: found.bytes,
                });
            }
            let kept = Artifacts::of(ctx).map_err(|e| here(e.into()))?;
            let bytes = kept.bytes(tenant, &found).await?;
            (LabFiles::from_tar(&bytes)?, Some((id, found.sha256)))
        }
        (None, None) => return Err(SourceError::None),
    };
    let path = source.topology.as_deref().unwrap_or(topology).to_owned();
    let Some(file) = files.get(&path) else {
        return Err(SourceError::NoTopology { path });
    };
    let Ok(text) = String::from_utf8(file.bytes.clone()) else {
        return Err(SourceError::NotText { path });
    };
    Ok(Gathered {
        files,
        topology: path,
        text,
        archive,
    })
}
