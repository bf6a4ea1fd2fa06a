//! How senders prove that they know the trigger's secret. The trigger decides which scheme it is, never the request.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

pub(crate) mod hmac;

/// What is tried where there is no secret, so that its absence takes as long as its presence.
const NO_SECRET: &str = "no secret is configured";

/// A trigger's secrets: the one in use, and the one before it while a rotation is under way.
#[derive(Clone, Default)]
pub struct Secrets {
    current: Option<SecretString>,
    previous: Option<SecretString>,
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
        }
    }

    /// No secrets: nothing verifies, in the time that it takes to refuse a wrong signature.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
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
