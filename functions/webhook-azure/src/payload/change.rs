//! Pull requests.

use model::Vendor;
use model::git::{ChangeAction, ChangeEnd, CommitPrefix, GitChange};
use serde::Deserialize;
use serde::de::IgnoredAny;
use webhook::git::{Message, RefName, Word};
use webhook::{Name, Normalised, ParseError, Parsed};

use super::{Person, Repository, too_little};

/// A `git.pullrequest.*`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangePayload {
    resource: Option<Resource>,
}

/// A pull request whose subscription sends little has no more than its number and address.
#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(rename = "pullRequestId")]
    number: Option<u64>,
    status: Option<Word>,
    title: Option<Message>,
    repository: Option<Repository>,
    #[serde(rename = "createdBy")]
    created_by: Option<Person>,
    #[serde(rename = "sourceRefName")]
    source: Option<RefName>,
    #[serde(rename = "targetRefName")]
    target: Option<RefName>,
    #[serde(rename = "lastMergeSourceCommit")]
    source_commit: Option<Commit>,
    #[serde(rename = "lastMergeTargetCommit")]
    target_commit: Option<Commit>,
    #[serde(rename = "isDraft", default)]
    draft: bool,
    /// There only when it comes from a fork.
    #[serde(rename = "forkSource")]
    fork: Option<Fork>,
    #[serde(rename = "_links", default)]
    links: Links,
}

#[derive(Debug, Deserialize)]
struct Commit {
    #[serde(rename = "commitId")]
    id: CommitPrefix,
}

#[derive(Debug, Deserialize)]
struct Fork {
    #[serde(rename = "repository")]
    _repository: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
struct Links {
    web: Option<Link>,
}

#[derive(Debug, Deserialize)]
struct Link {
    href: Name<2_048>,
}

impl ChangePayload {
    pub(crate) fn normalised(self, event: &str) -> Result<Parsed, ParseError> {
        let Some(it) = self.resource else {
            return Ok(too_little());
        };
        let (Some(number), Some(repository), Some(source), Some(target)) =
            (it.number, it.repository, it.source, it.target)
        else {
            return Ok(too_little());
        };
        let status = it.status.as_ref().map_or("", Word::as_str);
        let path = repository.path()?.into_string();
        let actor = it.created_by.map(Person::told).unwrap_or_default();
        let title = it.title.unwrap_or_default();
        let end = |name: &RefName, commit: Option<Commit>, repository: Option<String>| ChangeEnd {
            branch: name.branch().unwrap_or_else(|| name.as_str()).to_owned(),
            sha: commit.map(|commit| commit.id),
            repository,
        };
        let head_path = it.fork.is_none().then(|| path.clone());
        Ok(Parsed::Events(vec![Normalised::Changed(GitChange {
            vendor: Vendor::AzureDevops,
            repository: repository.normalised()?,
            number,
            action: action(event, status),
            vendor_action: event.to_owned(),
            title: title.line().to_owned(),
            head: end(&source, it.source_commit, head_path),
            base: end(&target, it.target_commit, Some(path)),
            from_fork: it.fork.is_some(),
            draft: it.draft,
            skip_asked: title.skip_asked(),
            html_url: it.links.web.and_then(|link| link.href.filled()),
            // Who opened it; who did this is said nowhere but in a sentence for people.
            actor: actor.id,
            actor_name: actor.name,
        })]))
    }
}

/// `merged` does not mean that it is merged: it is sent for each commit that tries whether it could be. An update does not say
/// what is new.
fn action(event: &str, status: &str) -> ChangeAction {
    match (event, status) {
        ("git.pullrequest.created", _) => ChangeAction::Opened,
        (_, "completed") => ChangeAction::Merged,
        (_, "abandoned") => ChangeAction::Closed,
        ("git.pullrequest.merged", _) => ChangeAction::Edited,
        _ => ChangeAction::Synchronized,
    }
}
