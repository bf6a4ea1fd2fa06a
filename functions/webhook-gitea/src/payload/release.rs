//! Releases.

use model::Vendor;
use serde::Deserialize;
use webhook::Parsed;
use webhook::git::{Release, ReleaseTold, Repository, Word};

use super::User;

/// A `release`. The first versions did not say what happened to it.
#[derive(Debug, Deserialize)]
pub(crate) struct ReleasePayload {
    action: Option<Word>,
    release: Release,
    repository: Repository,
    sender: Option<User>,
}

impl ReleasePayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Parsed {
        let Some(action) = self.action else {
            return Parsed::Ignored {
                reason: "it does not say what happened to the release".to_owned(),
            };
        };
        ReleaseTold {
            vendor,
            action,
            release: self.release,
            repository: self.repository,
            actor: self.sender.and_then(User::filled),
        }
        .normalised()
    }
}
