//! A branch or a tag that is new or gone.

use model::Vendor;
use model::git::RefAction;
use serde::Deserialize;
use webhook::Parsed;
use webhook::git::{Announced, Pusher, RefType, Repository, ShortName};

use super::Sender;

/// A `create` or a `delete`. Neither says which commit.
#[derive(Debug, Deserialize)]
pub(crate) struct RefPayload {
    #[serde(rename = "ref")]
    name: ShortName,
    ref_type: RefType,
    repository: Repository,
    sender: Sender,
}

impl RefPayload {
    pub(crate) fn normalised(self, action: RefAction) -> Parsed {
        Announced {
            vendor: Vendor::Github,
            action,
            ref_type: self.ref_type,
            name: self.name,
            at: None,
            repository: self.repository.normalised(),
            pusher: Pusher::login(self.sender.login),
            pushes_tags: true,
        }
        .normalised()
    }
}
