//! Why a repository was not fetched, and what to do.

use std::{error::Error, path::PathBuf, time::Duration};

use egress::Denied;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a repository was not fetched. Its text is for whoever configured where it is.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address may not be called.
    #[error("the provider's address is not allowed")]
    Denied(#[from] Denied),
    /// Nobody answered.
    #[error("could not reach {url}: check the provider's address, or wait until it is up")]
    Unreachable {
        /// What was called.
        url: String,
        /// What the client said.
        #[source]
        source: reqwest::Error,
    },
    /// The provider wants other credentials, or any.
    #[error(
        "{url} answered {status}: the repository is private, or the credential is not right; give it one with read access (a static site names in `token_env` a variable, GIT_TOKEN_…, in which the operator keeps a token for its tenant and provider)"
    )]
    Credentials {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
    },
    /// There is no such repository, for us.
    #[error(
        "{url} answered {status}: there is no such repository, or it is private and no credential that may read it is given"
    )]
    NoRepository {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
    },
    /// The repository moved.
    #[error(
        "{url} answered {status}, and redirects are not followed: the repository has moved; configure its new address{to}"
    )]
    Moved {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
        /// Where it says it went, as `: <url>`, if it says so.
        to: String,
    },
    /// The provider has a problem of its own.
    #[error("{url} answered {status}: the provider has a problem; the next attempt may work")]
    Provider {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
    },
    /// The answer is not Git's.
    #[error(
        "{url} answers, but not as a Git server does: check the provider's address and the repository"
    )]
    NotGit {
        /// What was called.
        url: String,
        /// What Git made of it.
        #[source]
        source: Option<Cause>,
    },
    /// The branch is not there.
    #[error("the repository has no branch `{branch}`: push it, or configure another")]
    NoBranch {
        /// The branch.
        branch: String,
    },
    /// The commit is not there, or the provider does not give it out.
    #[error(
        "the repository has no commit {commit}, or the provider does not hand it out by its hash any more"
    )]
    NoCommit {
        /// The commit.
        commit: String,
    },
    /// The folder is not there.
    #[error("the commit has no folder `{folder}`: push it, or configure another")]
    NoFolder {
        /// The folder.
        folder: String,
    },
    /// The local path is outside what the operator allows.
    #[error("{} is not inside a folder that the operator allows for local repositories", path.display())]
    NotAllowed {
        /// The path as it was configured, or what in the repository leads out.
        path: PathBuf,
    },
    /// There is no repository at the local path.
    #[error("{} is not a Git repository that can be read: create it, or configure another path", path.display())]
    NoLocalRepository {
        /// The path.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: Cause,
    },
    /// Something has too many bytes.
    #[error("{what} is larger than {bytes_max} bytes: make it smaller, or ask for a higher limit")]
    TooLarge {
        /// What.
        what: String,
        /// The limit.
        bytes_max: u64,
    },
    /// There is too much of something.
    #[error("there are more than {max} {what}: choose a smaller folder")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The tree has a name that is not taken, nor anything beside it.
    #[error("{path:?} is refused: {why}; remove it from the repository")]
    Refused {
        /// Where.
        path: String,
        /// Why.
        why: String,
    },
    /// It took too long.
    #[error("the repository was not fetched within {} s: try again, or make it smaller", limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// Somebody cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Git's own step failed.
    #[error("could not {step}")]
    Git {
        /// The step.
        step: &'static str,
        /// What Git said.
        #[source]
        source: Cause,
    },
    /// The machine failed us.
    #[error("could not {step}")]
    Machine {
        /// The step.
        step: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl FetchError {
    /// Whether the same attempt may work later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Provider { .. }
            | Self::TimedOut { .. }
            | Self::Git { .. }
            | Self::Machine { .. } => true,
            Self::Denied(_)
            | Self::Credentials { .. }
            | Self::NoRepository { .. }
            | Self::Moved { .. }
            | Self::NotGit { .. }
            | Self::NoBranch { .. }
            | Self::NoCommit { .. }
            | Self::NoFolder { .. }
            | Self::NotAllowed { .. }
            | Self::NoLocalRepository { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Refused { .. }
            | Self::Cancelled => false,
        }
    }
}

/// For `map_err` on a step of Git.
pub(crate) fn git<E: Into<Cause>>(step: &'static str) -> impl FnOnce(E) -> FetchError {
    move |source| FetchError::Git {
        step,
        source: source.into(),
    }
}
