//! The files of a tenant's workspace for a job: fetched once, at one commit, and kept as an artifact of the job.
//!
//! What a job has kept it can take again, so that its next attempt is about the same files whatever became of the branch meanwhile.

use artifacts::{ArtifactError, ArtifactName, Artifacts, Given};
use git::{Archive, ArchiveAsk, Branch, CommitId, FetchError, Fetcher, Folder, Login, Source};
use git::{Wanted, WordError};
use host::{Ctx, Job, TaskError};
use runs::InWorkspace;
use store::artifacts::Artifact;
use store::workspaces::StoredWorkspace;

/// What the files are kept as.
pub const SOURCE: &str = "source.tar";

/// Why the files of a workspace are not there.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// There is no workspace of that name or id.
    #[error("there is no workspace {0:?}")]
    NoWorkspace(String),
    /// A word that says where or what cannot be. It was checked when it was saved, and is again where it is used.
    #[error(transparent)]
    Word(#[from] WordError),
    /// The workspace's credential cannot be opened.
    #[error("{0}")]
    Login(String),
    /// The workspace's credential is for another host, and goes nowhere else.
    #[error("the credential of the workspace is for {0}")]
    Elsewhere(String),
    /// The repository could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The files cannot be kept.
    #[error("the files of the workspace cannot be kept for the run")]
    Keep(#[from] ArtifactError),
    /// The database does not answer, or a setting is missing.
    #[error("the workspace cannot be read")]
    Here(#[source] anyhow::Error),
}

impl CheckoutError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Fetch(error) => error.may_pass(),
            Self::Keep(error) => error.is_passing(),
            Self::Here(_) => true,
            Self::NoWorkspace(_) | Self::Word(_) | Self::Login(_) | Self::Elsewhere(_) => false,
        }
    }
}

impl From<CheckoutError> for TaskError {
    fn from(error: CheckoutError) -> Self {
        if error.is_passing() {
            Self::retry(error)
        } else {
            Self::fail(error)
        }
    }
}

/// Files that were fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The workspace's name.
    pub workspace: String,
    /// Its files.
    pub archive: Archive,
}

/// What a job kept of a workspace, if it has fetched it before.
///
/// # Errors
/// When the database does not answer.
pub async fn kept_before<S>(ctx: &Ctx, job: &Job<S>) -> Result<Option<Artifact>, CheckoutError> {
    let name = ArtifactName::new(SOURCE).map_err(ArtifactError::from)?;
    ctx.store()
        .artifact_of_job(job.tenant, job.id(), &name)
        .await
        .map_err(|error| CheckoutError::Here(error.into()))
}

/// Fetches the files of a place in a workspace, and says in the job's log what came. `folder` is a folder below the workspace's; of what
/// is not in it nothing is taken.
///
/// # Errors
/// When there is no such workspace, or its repository cannot be read.
pub async fn fetch<S>(
    ctx: &Ctx,
    fetcher: &Fetcher,
    job: &Job<S>,
    place: &InWorkspace<'_>,
    folder: &str,
) -> Result<Fetched, CheckoutError> {
    let keyring = ctx
        .keyring()
        .map_err(|error| CheckoutError::Here(error.into()))?;
    let workspace = ctx
        .store()
        .workspace(keyring, job.tenant, place.workspace)
        .await
        .map_err(|error| CheckoutError::Here(error.into()))?
        .ok_or_else(|| CheckoutError::NoWorkspace(place.workspace.to_owned()))?;
    let source = Source::try_from(workspace.repository.clone())?;
    let folder = Folder::try_from(below(&workspace.folder, folder))?;
    let wanted = match place.commit {
        Some(commit) => Wanted::Commit(CommitId::try_from(commit.to_owned())?),
        None => {
            let branch = place.branch.unwrap_or(&workspace.branch);
            Wanted::Head(Branch::try_from(branch.to_owned())?)
        }
    };
    let login = login(&source, &workspace)?;
    let ask = ArchiveAsk {
        source: &source,
        wanted: &wanted,
        login: login.as_ref(),
        folder: &folder,
        bytes_max: git::ARCHIVE_BYTES_MAX,
    };
    let archive = fetcher.archive(ask, job.cancelled()).await?;
    job.log
        .line(format!(
            "{} files of {} at {}",
            archive.files, workspace.name, archive.commit
        ))
        .await;
    for warning in archive.warnings.lines() {
        job.log.line(warning).await;
    }
    Ok(Fetched {
        workspace: workspace.name,
        archive,
    })
}

/// Keeps files as an artifact of the job; its id and its SHA-256.
///
/// # Errors
/// When they cannot be kept, or the store does not answer.
pub async fn keep<S>(
    ctx: &Ctx,
    job: &Job<S>,
    archive: &Archive,
) -> Result<artifacts::Kept, CheckoutError> {
    let given = Given {
        name: SOURCE,
        media_type: Some("application/x-tar"),
        sealed: false,
    };
    let artifacts = Artifacts::of(ctx).map_err(|error| CheckoutError::Here(error.into()))?;
    let kept = artifacts
        .add_bytes(job.tenant, job.hold, given, archive.tar.to_vec())
        .await?;
    Ok(kept)
}

fn below(folder: &str, deeper: &str) -> String {
    match (folder, deeper) {
        ("", only) | (only, "") => only.to_owned(),
        (folder, deeper) => format!("{folder}/{deeper}"),
    }
}

fn login(source: &Source, workspace: &StoredWorkspace) -> Result<Option<Login>, CheckoutError> {
    let login = match &workspace.login {
        Ok(Some(login)) => login,
        Ok(None) => return Ok(None),
        Err(error) => return Err(CheckoutError::Login(error.to_string())),
    };
    match source {
        // It was for this host when it was saved; it goes nowhere else.
        Source::Remote(url) if url.authority() == login.host => Ok(Some(Login {
            username: login.username.clone(),
            secret: login.secret.clone(),
        })),
        Source::Remote(_) | Source::Local(_) => Err(CheckoutError::Elsewhere(login.host.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_workspace_may_be_a_folder_itself() {
        assert_eq!(below("", ""), "");
        assert_eq!(below("labs", ""), "labs");
        assert_eq!(below("", "bgp"), "bgp");
        assert_eq!(below("labs", "bgp/clos"), "labs/bgp/clos");
    }
}
