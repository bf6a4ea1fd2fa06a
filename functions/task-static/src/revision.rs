//! One revision: fetched, rendered and stored. Which one is live is for the transaction that finishes the job.

use blobs::Blobs;
use tokio_util::sync::CancellationToken;

use crate::fetch_error::FetchError;
use crate::git::{FetchAsk, Fetcher};
use crate::publish::{self, PublishError, Published};
use crate::render::{self, RenderError};
use crate::source::CommitId;
use crate::warnings::Warnings;

/// A revision that is stored and not yet live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The commit that was deployed, which may be newer than the one asked for.
    pub commit: CommitId,
    /// Where its site is.
    pub published: Published,
    /// What was left out of it.
    pub warnings: Warnings,
}

/// Why a revision was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The repository could not be fetched.
    #[error("could not fetch the repository")]
    Fetch(#[from] FetchError),
    /// Its files could not be rendered.
    #[error("could not render the site")]
    Render(#[from] RenderError),
    /// The site could not be stored.
    #[error("could not publish the site")]
    Publish(#[from] PublishError),
    /// A thread of ours ended early.
    #[error("rendering broke off")]
    Broken(#[from] tokio::task::JoinError),
}

impl BuildError {
    /// Whether the same attempt may work later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Fetch(error) => error.may_pass(),
            Self::Publish(PublishError::Store(_)) => true,
            Self::Render(_) | Self::Publish(_) | Self::Broken(_) => false,
        }
    }

    /// Whether it ended because somebody cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Fetch(FetchError::Cancelled)
                | Self::Render(RenderError::Cancelled)
                | Self::Publish(PublishError::Cancelled)
        )
    }
}

/// Fetches a commit, renders its files and stores them as a revision of `workload`. Safe to repeat and to run twice at
/// once; a cancel ends it between files and while it waits for the network.
pub async fn build(
    fetcher: &Fetcher,
    blobs: &Blobs,
    workload: &str,
    ask: FetchAsk<'_>,
    cancel: &CancellationToken,
) -> Result<Built, BuildError> {
    let checkout = fetcher.fetch(ask, cancel).await?;
    let (markdown, storage) = (ask.config.markdown, ask.config.storage_bytes_max);
    let (files, stop) = (checkout.files, cancel.clone());
    let rendering = move || render::render(files, markdown, storage, &|| stop.is_cancelled());
    let mut site = tokio::task::spawn_blocking(rendering).await??;
    let published = publish::publish(blobs, workload, &site, cancel).await?;
    let mut warnings = checkout.warnings;
    warnings.extend(std::mem::take(&mut site.warnings));
    Ok(Built {
        commit: checkout.commit,
        published,
        warnings,
    })
}
