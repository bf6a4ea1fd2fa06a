//! Releases.

use model::Vendor;
use serde::Deserialize;
use webhook::Parsed;
use webhook::git::{Release, ReleaseTold, Repository, Word};

use super::User;

/// A `release`.
#[derive(Debug, Deserialize)]
pub(crate) struct ReleasePayload {
    action: Word,
    release: Release,
    repository: Repository,
    sender: Option<User>,
}

impl ReleasePayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Parsed {
        ReleaseTold {
            vendor,
            action: self.action,
            release: self.release,
            repository: self.repository,
            actor: self.sender.and_then(User::filled),
        }
        .normalised()
    }
}
