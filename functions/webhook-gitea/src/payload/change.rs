//! Pull requests and what people say about them.

use model::Vendor;
use model::git::{ChangeAction, ChangeEnd, GitChange};
use serde::Deserialize;
use webhook::git::{Change, Message, PullRequest, Repository, ShortName, Word, change_action};
use webhook::{Name, Normalised, ParseError, Parsed};

use super::User;

/// A `pull_request`, and what reviewers say about one.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangePayload {
    action: Word,
    number: Option<u64>,
    pull_request: PullRequest,
    repository: Repository,
    sender: Option<User>,
}

impl ChangePayload {
    fn change(self, vendor: Vendor) -> Change {
        Change {
            vendor,
            action: self.action,
            number: self.number,
            pull_request: self.pull_request,
            repository: self.repository,
            actor: self.sender.and_then(User::filled),
        }
    }

    pub(crate) fn normalised(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        self.change(vendor).normalised()
    }

    pub(crate) fn reviewed(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        self.change(vendor).told(ChangeAction::Reviewed)
    }
}

/// A `pull_request_comment`: a review that says something or, from some versions, a remark below the pull request, which is told
/// as one of an issue.
#[derive(Debug, Deserialize)]
pub(crate) struct CommentPayload {
    action: Word,
    pull_request: Option<PullRequest>,
    issue: Option<Issue>,
    repository: Repository,
    sender: Option<User>,
}

/// The issue that a pull request is as well.
#[derive(Debug, Deserialize)]
struct Issue {
    #[serde(rename = "number")]
    _number: u64,
}

impl CommentPayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        match (self.pull_request, self.issue) {
            (Some(pull_request), _) => ChangePayload {
                action: self.action,
                number: None,
                pull_request,
                repository: self.repository,
                sender: self.sender,
            }
            .reviewed(vendor),
            (None, Some(_)) => Ok(Parsed::Ignored {
                reason: "a remark below a pull request is no review".to_owned(),
            }),
            (None, None) => Err(ParseError::malformed("pull_request", "is missing")),
        }
    }
}

/// A `pull_request` of Gogs, which names branches and not their commits.
/// <https://github.com/gogs/docs-api/blob/master/Repositories/Webhooks.md>
#[derive(Debug, Deserialize)]
pub(crate) struct GogsChangePayload {
    action: Word,
    pull_request: GogsPullRequest,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Debug, Deserialize)]
struct GogsPullRequest {
    number: u64,
    title: Message,
    html_url: Option<Name<2_048>>,
    merged: Option<bool>,
    head_branch: ShortName,
    /// Nothing when the repository is gone.
    head_repo: Option<Repository>,
    base_branch: ShortName,
    base_repo: Option<Repository>,
}

impl GogsChangePayload {
    pub(crate) fn normalised(self) -> Parsed {
        let it = self.pull_request;
        let merged = it.merged.unwrap_or(false);
        let Some(action) = change_action(self.action.as_str(), merged) else {
            return Parsed::Ignored {
                reason: format!("unhandled action {:?} of a change", self.action.as_str()),
            };
        };
        let base = it.base_repo.unwrap_or_else(|| self.repository.clone());
        let end = |branch: ShortName, repository: Option<&Repository>| ChangeEnd {
            branch: branch.into_string(),
            sha: None,
            repository: repository.map(|repository| repository.path().to_owned()),
        };
        Parsed::Events(vec![Normalised::Changed(GitChange {
            vendor: Vendor::Gogs,
            number: it.number,
            action,
            vendor_action: self.action.into_string(),
            from_fork: it.head_repo.as_ref().is_none_or(|head| !head.is(&base)),
            head: end(it.head_branch, it.head_repo.as_ref()),
            base: end(it.base_branch, Some(&base)),
            draft: false,
            skip_asked: it.title.skip_asked(),
            title: it.title.line().to_owned(),
            html_url: it.html_url.and_then(Name::filled),
            repository: self.repository.normalised(),
            actor: self.sender.and_then(User::filled),
            actor_name: None,
        })])
    }
}
