//! One revision: fetched, rendered and stored. Which one is live is for the transaction that finishes the job.

use std::collections::BTreeMap;

use blobs::Blobs;
use blobs::site::{SitePath, SitePathError, check_name};
use bytes::Bytes;
use git::{
    Case, Checkout, CommitId, FetchAsk, FetchError, Fetcher, Login, Name, Taking, Wanted, Warnings,
};
use tokio_util::sync::CancellationToken;

use crate::config::StaticConfig;
use crate::publish::{self, PublishError, Published};
use crate::render::{self, RenderError};
use crate::source::StorageBytes;

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

/// What a site is built from.
#[derive(Clone, Copy, Debug)]
pub struct BuildFrom<'a> {
    /// Where it is, and how it is rendered.
    pub config: &'a StaticConfig,
    /// Who asks for it.
    pub login: Option<&'a Login>,
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

/// Fetches what the branch has, renders its files and stores them as a revision of `workload`. Safe to repeat and to run
/// twice at once; a cancel ends it between files and while it waits for the network.
pub async fn build(
    fetcher: &Fetcher,
    blobs: &Blobs,
    workload: &str,
    from: BuildFrom<'_>,
    cancel: &CancellationToken,
) -> Result<Built, BuildError> {
    let BuildFrom { config, login } = from;
    let ask = FetchAsk {
        source: &config.source.place(),
        wanted: &Wanted::Head(config.branch.clone()),
        login,
        folder: &config.folder,
        taking: taking(config.storage_bytes_max),
    };
    let checkout = fetcher.fetch(ask, cancel).await?;
    let commit = checkout.commit.clone();
    let (files, mut warnings) = site_files(checkout);
    let (markdown, storage) = (config.markdown, config.storage_bytes_max);
    let stop = cancel.clone();
    let rendering = move || render::render(files, markdown, storage, &|| stop.is_cancelled());
    let mut site = tokio::task::spawn_blocking(rendering).await??;
    let published = publish::publish(blobs, workload, &site, cancel).await?;
    warnings.extend(std::mem::take(&mut site.warnings));
    Ok(Built {
        commit,
        published,
        warnings,
    })
}

/// What of a repository a site is.
fn taking(storage: StorageBytes) -> Taking {
    Taking {
        what: "the site",
        bytes_max: storage.get(),
        name: |named| match check_name(named.name, named.depth) {
            Ok(()) => Name::Taken,
            // `.gitignore`, `.github`: every repository has some, nobody means to publish them.
            Err(SitePathError::Hidden) => Name::Ignored,
            Err(error) => Name::LeftOut(error.to_string()),
        },
        // What is served would depend on where it was built.
        case: Case::Refused,
    }
}

/// The files whose paths a site may have; the names in them were checked one by one.
fn site_files(checkout: Checkout) -> (BTreeMap<SitePath, Bytes>, Warnings) {
    let mut warnings = checkout.warnings;
    let mut files = BTreeMap::new();
    for (path, file) in checkout.files {
        match SitePath::new(path.as_str()) {
            Ok(path) => {
                files.insert(path, file.bytes);
            }
            Err(error) => warnings.add(format!("{path:?} is left out: {error}")),
        }
    }
    (files, warnings)
}
