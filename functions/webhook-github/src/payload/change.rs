//! Pull requests and what people say about them.

use model::Vendor;
use model::git::ChangeAction;
use serde::Deserialize;
use webhook::git::{Change, PullRequest, Repository, Word};
use webhook::{ParseError, Parsed};

use super::Sender;

/// A `pull_request`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangePayload {
    action: Word,
    number: Option<u64>,
    pull_request: PullRequest,
    repository: Repository,
    sender: Option<Sender>,
}

impl ChangePayload {
    fn change(self) -> Change {
        Change {
            vendor: Vendor::Github,
            action: self.action,
            number: self.number,
            pull_request: self.pull_request,
            repository: self.repository,
            actor: self.sender.and_then(Sender::filled),
        }
    }

    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        self.change().normalised()
    }
}

/// A `pull_request_review`. Its words are about the review, so that `edited` means another one than that of the pull request.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct ReviewPayload(ChangePayload);

impl ReviewPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        match self.0.action.as_str() {
            "submitted" | "edited" | "dismissed" => self.0.change().told(ChangeAction::Reviewed),
            other => Ok(Parsed::Ignored {
                reason: format!("unhandled action {other:?} of a review"),
            }),
        }
    }
}
