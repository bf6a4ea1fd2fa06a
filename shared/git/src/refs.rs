//! What a Git server says that it has.

use std::{collections::BTreeMap, time::Duration};

use egress::{BodyError, Denied, Integration, TenantEgress, read_capped};
use http::{Method, StatusCode};
use secrecy::ExposeSecret;
use url::Url;

use crate::advertisement::{self, NotGit};
use crate::fetch::Login;

/// How much a server may say: some two hundred thousand refs.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Branches and tags by their full names.
pub type Refs = BTreeMap<String, Ref>;

/// What a branch or tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// A commit, or a tag that is an object of its own. 40 or 64 hexadecimal digits.
    pub id: String,
    /// The commit of such a tag.
    pub peeled: Option<String>,
}

/// Why a server did not say what it has. Its text is for whoever configured where the repository is.
#[derive(Debug, thiserror::Error)]
pub enum RefsError {
    /// The address may not be called.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Nobody answered.
    #[error("nobody answers at {url}: {why}")]
    Unreachable {
        /// What was called.
        url: String,
        /// The innermost cause, which says most.
        why: String,
    },
    /// It wants other credentials, or any.
    #[error("{url} answered {status}: a credential that may read the repository is needed")]
    Credentials {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
    },
    /// There is no such repository, for us.
    #[error(
        "{url} answered {status}: there is no such repository, or it is private and needs a credential"
    )]
    NoRepository {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
    },
    /// The repository moved.
    #[error(
        "{url} answered {status}: it has moved, and redirects are not followed; configure its new address"
    )]
    Moved {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
    },
    /// It answered something else.
    #[error("{url} answered {status}")]
    Status {
        /// What was called.
        url: String,
        /// Its status.
        status: u16,
        /// When it wants to be asked again.
        wait: Option<Duration>,
    },
    /// The answer is not Git's.
    #[error("{url} is no Git repository: {why}")]
    NotGit {
        /// What was called.
        url: String,
        /// Why not.
        why: NotGit,
    },
    /// The answer was not read.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl RefsError {
    /// When the other side wants to be asked again, if it says so.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            Self::Denied(_)
            | Self::Unreachable { .. }
            | Self::Credentials { .. }
            | Self::NoRepository { .. }
            | Self::Moved { .. }
            | Self::NotGit { .. }
            | Self::Body(_) => None,
        }
    }
}

/// The branches and tags of a repository: one request, in the first version of the protocol, which every server speaks.
/// The login goes to the host of the URL and nowhere else.
///
/// # Errors
/// When it does not answer as a Git server does within `time`.
pub async fn refs(
    egress: &TenantEgress,
    repository: &Url,
    login: Option<&Login>,
    time: Duration,
) -> Result<Refs, RefsError> {
    let mut asked = repository.clone();
    asked.set_path(&format!(
        "{}/info/refs",
        repository.path().trim_end_matches('/')
    ));
    asked.set_query(Some("service=git-upload-pack"));
    let url = repository.to_string();
    let mut request = egress
        .request(Integration::GitRefs, Method::GET, &asked)?
        .timeout(time);
    if let Some(login) = login {
        request = request.basic_auth(login.user(), Some(login.secret.expose_secret()));
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            return Err(match egress::denied(&error) {
                Some(denied) => denied.clone().into(),
                None => RefsError::Unreachable {
                    url,
                    why: egress::cause(&error),
                },
            });
        }
    };
    let status = response.status();
    if !status.is_success() {
        let wait = egress::retry_after(response.headers(), None);
        return Err(refusal(url, status, wait));
    }
    let body = read_capped(response, ANSWER_BYTES_MAX).await?;
    advertisement::refs(&body).map_err(|why| RefsError::NotGit { url, why })
}

fn refusal(url: String, status: StatusCode, wait: Option<Duration>) -> RefsError {
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            RefsError::Credentials { url, status: code }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => RefsError::NoRepository { url, status: code },
        status if status.is_redirection() => RefsError::Moved { url, status: code },
        _ => RefsError::Status {
            url,
            status: code,
            wait,
        },
    }
}
