//! How senders prove that they know the trigger's secret. The trigger decides which scheme it is, never the request.

use std::fmt;
use std::sync::Arc;

use model::Scheme;
use model::scheme::SchemeHeader;
use secrecy::{ExposeSecret, SecretString};

mod basic;
mod configured;
pub(crate) mod hmac;
pub(crate) mod oidc;
mod open;
mod password;
pub(crate) mod path;
mod standard;
mod token;
mod usual;

use oidc::SigningKey;
use path::PathSecrets;

/// What is tried where there is no secret, so that its absence takes as long as its presence.
const NO_SECRET: &str = "no secret is configured";

/// A trigger's secrets: the one in use, and the one before it while a rotation is under way.
#[derive(Clone, Default)]
pub struct Secrets {
    current: Option<SecretString>,
    previous: Option<SecretString>,
    scheme: Option<Scheme>,
    path: PathSecrets,
    keys: Arc<[SigningKey]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Which of a trigger's secrets made a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one in use.
    Current,
    /// The one before it.
    Previous,
}

impl Secrets {
    /// The secret in use and, while a rotation is under way, the one before it.
    #[must_use]
    pub fn new(current: SecretString, previous: Option<SecretString>) -> Self {
        Self {
            current: Some(current),
            previous,
            ..Self::none()
        }
    }

    /// No secrets: nothing verifies, in the time that it takes to refuse a wrong signature.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The same with the scheme that the trigger asks for, where its vendor leaves a choice.
    #[must_use]
    pub fn with_scheme(self, scheme: Option<Scheme>) -> Self {
        Self { scheme, ..self }
    }

    /// The scheme that the trigger asks for; `None` means the vendor's usual one.
    #[must_use]
    pub fn scheme(&self) -> Option<&Scheme> {
        self.scheme.as_ref()
    }

    /// The header that the trigger's scheme names for the proof.
    pub(crate) fn proof_header(&self) -> Option<SchemeHeader> {
        self.scheme.as_ref().and_then(Scheme::header).cloned()
    }

    /// The same with what may stand in the path of the trigger's URL.
    #[must_use]
    pub fn with_path(self, path: PathSecrets) -> Self {
        Self { path, ..self }
    }

    /// The same with the keys that the maker of the trigger's identity tokens publishes.
    #[must_use]
    pub fn with_keys(self, keys: Arc<[SigningKey]>) -> Self {
        Self { keys, ..self }
    }

    pub(crate) fn path(&self) -> &PathSecrets {
        &self.path
    }

    pub(crate) fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// Which secret passes the test. Two are always tried, whether they exist and whichever holds: the time tells
    /// nothing, as long as the test takes the same time for every secret.
    pub(crate) fn which(&self, holds: impl Fn(&str) -> bool) -> Option<Which> {
        let current = tried(self.current.as_ref(), &holds);
        let previous = tried(self.previous.as_ref(), &holds);
        match (current, previous) {
            (true, _) => Some(Which::Current),
            (false, true) => Some(Which::Previous),
            (false, false) => None,
        }
    }
}

/// An empty secret is none: anybody knows it.
fn tried(secret: Option<&SecretString>, holds: impl Fn(&str) -> bool) -> bool {
    let secret = secret
        .map(ExposeSecret::expose_secret)
        .filter(|secret| !secret.is_empty());
    holds(secret.unwrap_or(NO_SECRET)) && secret.is_some()
}
