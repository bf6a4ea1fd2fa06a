//! A branch or a tag that is new or gone.

use model::Vendor;
use model::git::{CommitId, RefAction};
use serde::Deserialize;
use webhook::Parsed;
use webhook::git::{Announced, Pusher, RefType, Repository, ShortName};

use super::User;

/// A `create` or a `delete`. Of a tag Gogs sends no other word; the others send a push as well.
#[derive(Debug, Deserialize)]
pub(crate) struct RefPayload {
    ref_type: RefType,
    #[serde(rename = "ref")]
    name: ShortName,
    sha: Option<CommitId>,
    repository: Repository,
    sender: User,
}

impl RefPayload {
    pub(crate) fn normalised(self, vendor: Vendor, action: RefAction) -> Parsed {
        if vendor == Vendor::Gogs
            && self.ref_type == RefType::Tag
            && action == RefAction::Created
            && self.sha.is_none()
        {
            // It would pass for a tag that went away.
            return Parsed::Ignored {
                reason: "the tag does not say which commit it names".to_owned(),
            };
        }
        Announced {
            vendor,
            action,
            ref_type: self.ref_type,
            name: self.name,
            at: self.sha,
            repository: self.repository.normalised(),
            pusher: Pusher::login(self.sender.login),
            pushes_tags: vendor != Vendor::Gogs,
        }
        .normalised()
    }
}
