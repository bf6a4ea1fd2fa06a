//! Releases.

use model::Vendor;
use serde::Deserialize;
use webhook::Parsed;
use webhook::git::{Release, ReleaseTold, Repository, Word};

use super::Sender;

/// A `release`.
#[derive(Debug, Deserialize)]
pub(crate) struct ReleasePayload {
    action: Word,
    release: Release,
    repository: Repository,
    sender: Option<Sender>,
}

impl ReleasePayload {
    pub(crate) fn normalised(self) -> Parsed {
        ReleaseTold {
            vendor: Vendor::Github,
            action: self.action,
            release: self.release,
            repository: self.repository,
            actor: self.sender.and_then(Sender::filled),
        }
        .normalised()
    }
}
