//! What is read of the payloads of Bitbucket Data Center and Server.
//! <https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html>

use model::Vendor;
use model::git::{ChangeAction, ChangeEnd, CommitId, CommitPrefix, GitChange};
use serde::Deserialize;
use webhook::git::{Commit, Hash, Message, Place, Push, Pusher, RefName, RepositoryPath, together};
use webhook::{Line, Name, Normalised, ParseError, Parsed};

/// Why a filter on paths cannot decide.
const NO_PATHS: &str = "Bitbucket does not list the paths of a push";

#[derive(Debug, Deserialize)]
struct Repository {
    id: Option<u64>,
    slug: Name<255>,
    project: Project,
    #[serde(default)]
    links: Links,
}

#[derive(Debug, Deserialize)]
struct Project {
    key: Name<255>,
}

/// Versions before 6 send none, and hooks of many versions a list with nothing in it but `null`.
/// <https://jira.atlassian.com/browse/BSERV-10279>
#[derive(Debug, Default, Deserialize)]
struct Links {
    #[serde(default)]
    clone: Vec<Option<Link>>,
    #[serde(rename = "self", default)]
    pages: Vec<Option<Link>>,
}

#[derive(Debug, Deserialize)]
struct Link {
    href: Name<2_048>,
}

impl Links {
    fn page(&self) -> Option<Name<2_048>> {
        let page = self.pages.iter().flatten().next();
        page.map(|link| link.href.clone())
    }
}

impl Repository {
    fn path(&self) -> Result<RepositoryPath, ParseError> {
        RepositoryPath::of(&[self.project.key.as_str(), self.slug.as_str()])
            .map_err(|problem| ParseError::malformed("repository", &problem))
    }

    fn normalised(self) -> Result<model::git::Repository, ParseError> {
        Ok(Place {
            path: self.path()?,
            html_url: self.links.page(),
            clone_urls: self
                .links
                .clone
                .into_iter()
                .flatten()
                .map(|link| link.href)
                .collect(),
            default_branch: None,
        }
        .normalised())
    }

    fn is(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(id), Some(other)) => id == other,
            (_, None) | (None, _) => {
                self.project.key == other.project.key && self.slug == other.slug
            }
        }
    }
}

/// Who did it. The slug is what its URLs and its API call them; the name may have capitals and other letters.
#[derive(Debug, Deserialize)]
struct Actor {
    slug: Option<Name<255>>,
    name: Name<255>,
}

impl Actor {
    fn login(self) -> Name<255> {
        let slug = self.slug.filter(|slug| !slug.as_str().is_empty());
        slug.unwrap_or(self.name)
    }
}

/// A `repo:refs_changed`: one change for each reference.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
    actor: Option<Actor>,
    repository: Repository,
    changes: Vec<Moved>,
    /// Versions from 7.14 on list some, the newest first.
    #[serde(default)]
    commits: Vec<PushedCommit>,
}

#[derive(Debug, Deserialize)]
struct Moved {
    #[serde(rename = "ref")]
    named: Reference,
    #[serde(rename = "fromHash")]
    from: Hash,
    #[serde(rename = "toHash")]
    to: Hash,
}

#[derive(Debug, Deserialize)]
struct Reference {
    id: RefName,
}

#[derive(Debug, Deserialize)]
struct PushedCommit {
    id: CommitId,
    #[serde(default)]
    message: Message,
    author: Option<Author>,
}

#[derive(Debug, Deserialize)]
struct Author {
    name: Option<Line<200>>,
}

impl PushPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let repository = self.repository.normalised()?;
        let pusher = self
            .actor
            .map(|actor| Pusher::login(actor.login()))
            .unwrap_or_default();
        let several = self.changes.len() > 1;
        let commits: Vec<Commit> = self
            .commits
            .into_iter()
            // Whose they are is not said where several references moved.
            .filter(|_| !several)
            .map(|commit| {
                let author = commit.author.and_then(|author| author.name);
                Commit::without_paths(commit.id, commit.message, author)
            })
            .collect();
        let pushes = self
            .changes
            .into_iter()
            .map(|moved| Push {
                vendor: Vendor::BitbucketDataCenter,
                ref_name: moved.named.id,
                before: moved.from,
                after: moved.to,
                // It does not say whether history was rewritten.
                forced: false,
                repository: repository.clone(),
                pusher: pusher.clone(),
                commits: commits.clone(),
                commits_missing: Some("it is not said how many commits there were".to_owned()),
                paths_missing: Some(NO_PATHS.to_owned()),
                tells_of_branches: true,
            })
            .collect();
        together(pushes)
    }
}

/// A `pr:*`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangePayload {
    actor: Option<Actor>,
    #[serde(rename = "pullRequest")]
    pull_request: PullRequest,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    id: u64,
    title: Message,
    #[serde(default)]
    draft: bool,
    #[serde(rename = "fromRef")]
    from: End,
    #[serde(rename = "toRef")]
    to: End,
    #[serde(default)]
    links: Links,
}

#[derive(Debug, Deserialize)]
struct End {
    id: RefName,
    #[serde(rename = "latestCommit")]
    commit: Option<CommitPrefix>,
    repository: Repository,
}

impl End {
    fn told(&self) -> Result<ChangeEnd, ParseError> {
        let branch = self.id.branch().unwrap_or_else(|| self.id.as_str());
        Ok(ChangeEnd {
            branch: branch.to_owned(),
            sha: self.commit.clone(),
            repository: Some(self.repository.path()?.into_string()),
        })
    }
}

/// What an event of a pull request means; `None` for one that nothing here acts on.
pub(crate) fn change_action(event: &str) -> Option<ChangeAction> {
    Some(match event {
        "pr:opened" => ChangeAction::Opened,
        "pr:from_ref_updated" => ChangeAction::Synchronized,
        "pr:modified" | "pr:to_ref_updated" | "pr:reviewer:updated" => ChangeAction::Edited,
        "pr:reviewer:approved"
        | "pr:reviewer:unapproved"
        | "pr:reviewer:needs_work"
        | "pr:reviewer:changes_requested" => ChangeAction::Reviewed,
        "pr:merged" => ChangeAction::Merged,
        "pr:declined" | "pr:deleted" => ChangeAction::Closed,
        _ => return None,
    })
}

impl ChangePayload {
    pub(crate) fn normalised(
        self,
        event: &str,
        action: ChangeAction,
    ) -> Result<Parsed, ParseError> {
        let it = self.pull_request;
        Ok(Parsed::Events(vec![Normalised::Changed(GitChange {
            vendor: Vendor::BitbucketDataCenter,
            number: it.id,
            action,
            vendor_action: event.to_owned(),
            head: it.from.told()?,
            base: it.to.told()?,
            from_fork: !it.from.repository.is(&it.to.repository),
            repository: it.to.repository.normalised()?,
            draft: it.draft,
            skip_asked: it.title.skip_asked(),
            title: it.title.line().to_owned(),
            html_url: it.links.page().and_then(Name::filled),
            actor: self.actor.and_then(|actor| actor.login().filled()),
            actor_name: None,
        })]))
    }
}
