//! The files of a lab, from wherever its job says that they are.

use artifacts::rows::Artifact;
use artifacts::{ArtifactError, Artifacts};
use checkout::CheckoutError;
use git::Fetcher;
use host::{Ctx, Job};
use labs::{FilesError, LabFile, LabFiles};
use model::TenantId;
use runs::{Files, InWorkspace, LabSource};
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
    /// The workspace cannot be read.
    #[error(transparent)]
    Checkout(#[from] CheckoutError),
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
            Self::Checkout(error) => error.is_passing(),
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

/// Gathers the files of a lab for a job. `topology` is the topology's path unless the source says another. What comes from a workspace
/// is kept as an artifact of the job, and is the same for all of its attempts.
///
/// # Errors
/// When they are not there, or not what a lab may have.
pub async fn gather<S>(
    ctx: &Ctx,
    fetcher: &Fetcher,
    job: &Job<S>,
    source: &LabSource,
    topology: &str,
) -> Result<Gathered, SourceError> {
    let (files, archive) = match (&source.files, source.artifact, source.place()) {
        (Some(given), _, _) => (inline(given)?, None),
        (None, Some(id), _) => {
            let here = |error: anyhow::Error| SourceError::Here(error);
            let found = ctx
                .store()
                .artifact(job.tenant, id)
                .await
                .map_err(|e| here(e.into()))?;
            let found = found.ok_or(SourceError::NoArtifact(id))?;
            of_archive(ctx, job.tenant, found).await?
        }
        (None, None, Some(place)) => of_workspace(ctx, fetcher, job, &place).await?,
        (None, None, None) => return Err(SourceError::None),
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

fn inline(given: &Files) -> Result<LabFiles, FilesError> {
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
    Ok(files)
}

/// Files, and the archive that they came in, with its SHA-256.
type Unpacked = (LabFiles, Option<(Uuid, String)>);

async fn of_archive(ctx: &Ctx, tenant: TenantId, found: Artifact) -> Result<Unpacked, SourceError> {
    if found.sealed {
        return Err(SourceError::Sealed(found.id));
    }
    if found.bytes > ARCHIVE_BYTES_MAX {
        return Err(SourceError::TooLarge {
            id: found.id,
            bytes: found.bytes,
        });
    }
    let kept = Artifacts::of(ctx).map_err(|error| SourceError::Here(error.into()))?;
    let bytes = kept.bytes(tenant, &found).await?;
    Ok((LabFiles::from_tar(&bytes)?, Some((found.id, found.sha256))))
}

async fn of_workspace<S>(
    ctx: &Ctx,
    fetcher: &Fetcher,
    job: &Job<S>,
    place: &InWorkspace<'_>,
) -> Result<Unpacked, SourceError> {
    if let Some(kept) = checkout::kept_before(ctx, job).await? {
        return of_archive(ctx, job.tenant, kept).await;
    }
    let fetched = checkout::fetch(ctx, fetcher, job, place, place.folder).await?;
    // What is no lab is not kept.
    let files = LabFiles::from_tar(&fetched.archive.tar)?;
    let kept = checkout::keep(ctx, job, &fetched.archive).await?;
    Ok((files, Some((kept.id, kept.sha256))))
}
