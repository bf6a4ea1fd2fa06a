//! The only HTTP clients: [`ClusterEgress`] for addresses that the operator wrote, [`TenantEgress`] for those that a
//! tenant did.
//!
//! Neither follows redirects, obeys proxy variables, or reads a body without a cap.

mod asked;
mod cluster;
mod documents;
mod guard;
mod place;
mod retry;
mod settings;
mod tenant;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

pub use asked::{CODE_CLASSES, Integration, Request, code_class, counted, register};
pub use cluster::ClusterEgress;
pub use documents::{DocumentError, Documents};
pub use guard::{AllowList, AllowListError, Denied, Guard, Reserved, reserved};
pub use place::PlaceError;
pub use retry::retry_after;
pub use settings::{EgressSettings, EgressSettingsError};
pub use tenant::{Lookup, SystemLookup, TenantEgress, denied};

/// How long a connection may take to come up, name lookup included.
const CONNECT_SECS: u64 = 10;

/// A peer that is silently gone is noticed: after this time without a word it is asked, then as often as this until it has
/// not answered so many times. Fifteen seconds, where an answer may take minutes.
const KEEPALIVE_SECS: u64 = 5;
const KEEPALIVE_RETRIES: u32 = 2;

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("switchyard/", env!("CARGO_PKG_VERSION"));

/// A client could not be made: its TLS settings or certificates are unusable.
#[derive(Debug, thiserror::Error)]
#[error("could not make an HTTP client")]
pub struct ClientError(#[from] reqwest::Error);

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the reader takes. The connection is dropped with the rest.
    #[error("the answer is larger than {bytes_max} bytes")]
    TooLarge {
        /// The cap.
        bytes_max: usize,
    },
    /// The connection broke, or was silent for too long.
    #[error("the answer broke off")]
    Broken(#[from] reqwest::Error),
}

/// Reads a body into memory, at most `bytes_max` of it. An answer that announces more is refused before it is read.
pub async fn read_capped(
    mut response: reqwest::Response,
    bytes_max: usize,
) -> Result<Bytes, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |bytes| bytes > bytes_max) {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why there was no answer: the innermost cause, which says most.
#[must_use]
pub fn cause(error: &reqwest::Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

/// What both clients have in common.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where HTTP clients come from"
)]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(Duration::from_secs(CONNECT_SECS))
        .tcp_keepalive(Duration::from_secs(KEEPALIVE_SECS))
        .tcp_keepalive_interval(Duration::from_secs(KEEPALIVE_SECS))
        .tcp_keepalive_retries(KEEPALIVE_RETRIES)
}
