//! A branch or a tag that is new or gone.

use model::Vendor;
use model::git::{CommitId, RefAction};
use serde::Deserialize;
use webhook::git::{Announced, Pusher, RefType, Repository, ShortName};
use webhook::{Name, ParseError, Parsed};

use super::User;

/// A `create` or a `delete`. Of a tag Gogs sends no other word; the others send a push as well.
#[derive(Debug, Deserialize)]
pub(crate) struct RefPayload {
    ref_type: RefType,
    #[serde(rename = "ref")]
    name: ShortName,
    /// Empty or missing where the sender does not know it.
    sha: Option<Name<64>>,
    repository: Repository,
    sender: Option<User>,
}

impl RefPayload {
    pub(crate) fn normalised(
        self,
        vendor: Vendor,
        action: RefAction,
    ) -> Result<Parsed, ParseError> {
        let at = self.sha.and_then(Name::filled);
        let at = at
            .map(|sha| sha.parse::<CommitId>())
            .transpose()
            .map_err(|error| ParseError::malformed("sha", &error.to_string()))?;
        Ok(Announced {
            vendor,
            action,
            ref_type: self.ref_type,
            name: self.name,
            at,
            repository: self.repository.normalised(),
            pusher: self
                .sender
                .map(|sender| Pusher::login(sender.login))
                .unwrap_or_default(),
            pushes_tags: vendor != Vendor::Gogs,
        }
        .normalised())
    }
}
