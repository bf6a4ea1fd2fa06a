//! What is read of the payloads of Bitbucket Cloud.
//! <https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/>

use model::Vendor;
use model::git::{
    ChangeAction, ChangeEnd, CommitId, CommitPrefix, GitChange, PipelineFinished, PipelineKind,
    PipelineOutcome,
};
use serde::Deserialize;
use webhook::git::{
    Commit, Hash, Message, Place, Push, Pusher, RefName, RepositoryPath, ShortName, Word, together,
};
use webhook::{Line, Name, Normalised, ParseError, Parsed};

/// Why a filter on paths cannot decide.
const NO_PATHS: &str = "Bitbucket does not list the paths of a push";

#[derive(Debug, Deserialize)]
struct Repository {
    uuid: Option<Name<64>>,
    full_name: RepositoryPath,
    #[serde(default)]
    links: Links,
    mainbranch: Option<MainBranch>,
}

#[derive(Debug, Default, Deserialize)]
struct Links {
    html: Option<Link>,
}

#[derive(Debug, Deserialize)]
struct Link {
    href: Name<2_048>,
}

#[derive(Debug, Deserialize)]
struct MainBranch {
    name: Name<1_024>,
}

impl Repository {
    fn normalised(self) -> model::git::Repository {
        Place {
            path: self.full_name,
            html_url: self.links.html.map(|link| link.href),
            // None is told; where a page is, `git` is answered too, but nobody promises it.
            clone_urls: Vec::new(),
            default_branch: self.mainbranch.map(|branch| branch.name),
        }
        .normalised()
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.uuid, &other.uuid) {
            (Some(uuid), Some(other)) => uuid == other,
            (_, None) | (None, _) => self.full_name == other.full_name,
        }
    }
}

/// Who did it. Names that people choose went away in 2019, but for teams.
#[derive(Debug, Deserialize)]
struct Actor {
    username: Option<Name<255>>,
    nickname: Option<Name<255>>,
    account_id: Option<Name<255>>,
    uuid: Option<Name<255>>,
    display_name: Option<Name<255>>,
}

impl Actor {
    fn told(self) -> Pusher {
        let first =
            |names: [Option<Name<255>>; 2]| names.into_iter().flatten().find_map(Name::filled);
        match first([self.username, self.nickname]) {
            Some(login) => Pusher {
                id: Some(login),
                name: None,
            },
            None => Pusher {
                id: first([self.account_id, self.uuid]),
                name: self.display_name.and_then(Name::filled),
            },
        }
    }
}

/// A `repo:push`: one change for each reference.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
    push: Changes,
    repository: Repository,
    actor: Option<Actor>,
}

#[derive(Debug, Deserialize)]
struct Changes {
    changes: Vec<Moved>,
}

#[derive(Debug, Deserialize)]
struct Moved {
    old: Option<Reference>,
    new: Option<Reference>,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    commits: Vec<PushedCommit>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    #[serde(rename = "type")]
    kind: Word,
    name: ShortName,
    target: Target,
}

#[derive(Debug, Deserialize)]
struct Target {
    hash: CommitId,
}

#[derive(Debug, Deserialize)]
struct PushedCommit {
    hash: CommitId,
    #[serde(default)]
    message: Message,
    author: Option<Author>,
}

#[derive(Debug, Deserialize)]
struct Author {
    user: Option<AuthorUser>,
    raw: Option<Line<200>>,
}

#[derive(Debug, Deserialize)]
struct AuthorUser {
    display_name: Option<Line<200>>,
}

impl PushPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let repository = self.repository.normalised();
        let pusher = self.actor.map(Actor::told).unwrap_or_default();
        let mut pushes = Vec::with_capacity(self.push.changes.len());
        for (at, moved) in self.push.changes.into_iter().enumerate() {
            let Some(named) = moved.new.as_ref().or(moved.old.as_ref()) else {
                let at = format!("push.changes[{at}]");
                return Err(ParseError::malformed(&at, "neither old nor new is there"));
            };
            let ref_name = match named.kind.as_str() {
                "branch" | "named_branch" => RefName::of_branch(&named.name),
                "tag" | "annotated_tag" => RefName::of_tag(&named.name),
                // What Mercurial had, and what is not invented yet.
                _ => continue,
            };
            pushes.push(Push {
                vendor: Vendor::Bitbucket,
                ref_name,
                before: Hash(moved.old.map(|old| old.target.hash)),
                after: Hash(moved.new.map(|new| new.target.hash)),
                forced: moved.forced,
                repository: repository.clone(),
                pusher: pusher.clone(),
                // Newest first, and no more than five.
                commits: moved.commits.into_iter().map(PushedCommit::told).collect(),
                commits_missing: moved
                    .truncated
                    .then(|| "only the newest commits of the push are listed".to_owned()),
                paths_missing: Some(NO_PATHS.to_owned()),
                tells_of_branches: true,
            });
        }
        together(pushes)
    }
}

impl PushedCommit {
    fn told(self) -> Commit {
        let author = self.author.and_then(|author| {
            let user = author.user.and_then(|user| user.display_name);
            user.or(author.raw)
        });
        Commit::without_paths(self.hash, self.message, author)
    }
}

/// A `pullrequest:*`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangePayload {
    pullrequest: PullRequest,
    repository: Repository,
    actor: Option<Actor>,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    id: u64,
    title: Message,
    #[serde(default)]
    draft: bool,
    source: End,
    destination: End,
    #[serde(default)]
    links: Links,
}

#[derive(Debug, Deserialize)]
struct End {
    branch: Branch,
    commit: Option<EndCommit>,
    /// Nothing when the repository is gone.
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Branch {
    name: ShortName,
}

#[derive(Debug, Deserialize)]
struct EndCommit {
    /// Twelve digits.
    hash: CommitPrefix,
}

impl End {
    fn told(self) -> ChangeEnd {
        ChangeEnd {
            branch: self.branch.name.into_string(),
            sha: self.commit.map(|commit| commit.hash),
            repository: self.repository.map(|it| it.full_name.into_string()),
        }
    }
}

/// What an event of a pull request means; `None` for one that nothing here acts on.
pub(crate) fn change_action(event: &str) -> Option<ChangeAction> {
    Some(match event {
        "pullrequest:created" => ChangeAction::Opened,
        // Other commits, another title or another target: it does not say which.
        "pullrequest:updated" => ChangeAction::Synchronized,
        "pullrequest:approved"
        | "pullrequest:unapproved"
        | "pullrequest:changes_request_created"
        | "pullrequest:changes_request_removed" => ChangeAction::Reviewed,
        "pullrequest:fulfilled" => ChangeAction::Merged,
        "pullrequest:rejected" => ChangeAction::Closed,
        _ => return None,
    })
}

impl ChangePayload {
    pub(crate) fn normalised(self, event: &str, action: ChangeAction) -> Parsed {
        let it = self.pullrequest;
        let from_fork = match (&it.source.repository, &it.destination.repository) {
            (Some(source), Some(destination)) => !source.is(destination),
            (Some(source), None) => !source.is(&self.repository),
            (None, _) => true,
        };
        let actor = self.actor.map(Actor::told).unwrap_or_default();
        Parsed::Events(vec![Normalised::Changed(GitChange {
            vendor: Vendor::Bitbucket,
            repository: self.repository.normalised(),
            number: it.id,
            action,
            vendor_action: event.to_owned(),
            head: it.source.told(),
            base: it.destination.told(),
            from_fork,
            draft: it.draft,
            skip_asked: it.title.skip_asked(),
            title: it.title.line().to_owned(),
            html_url: it.links.html.and_then(|link| link.href.filled()),
            actor: actor.id,
            actor_name: actor.name,
        })])
    }
}

/// A `repo:commit_status_created` or `repo:commit_status_updated`.
#[derive(Debug, Deserialize)]
pub(crate) struct StatusPayload {
    commit_status: Status,
    repository: Repository,
    actor: Option<Actor>,
}

#[derive(Debug, Deserialize)]
struct Status {
    key: Line<200>,
    name: Option<Line<200>>,
    state: Word,
    /// Only Bitbucket's own pipelines say it.
    refname: Option<Name<1_024>>,
    url: Option<Name<2_048>>,
    commit: Option<StatusCommit>,
}

#[derive(Debug, Deserialize)]
struct StatusCommit {
    hash: CommitId,
}

impl StatusPayload {
    pub(crate) fn normalised(self) -> Parsed {
        let it = self.commit_status;
        let outcome = match it.state.as_str() {
            "SUCCESSFUL" => PipelineOutcome::Succeeded,
            "FAILED" => PipelineOutcome::Failed,
            "STOPPED" => PipelineOutcome::Cancelled,
            other => {
                return Parsed::Ignored {
                    reason: format!("it has not ended: its state is {other:?}"),
                };
            }
        };
        let actor = self.actor.map(Actor::told).unwrap_or_default();
        Parsed::Events(vec![Normalised::PipelineFinished(PipelineFinished {
            vendor: Vendor::Bitbucket,
            repository: Some(self.repository.normalised()),
            kind: PipelineKind::Check,
            run: it.key.into_string(),
            name: it
                .name
                .map(Line::into_string)
                .filter(|name| !name.is_empty()),
            outcome,
            vendor_outcome: it.state.into_string(),
            ref_short: it.refname.and_then(Name::filled),
            of_tag: false,
            sha: it.commit.map(|commit| commit.hash),
            // Commits of a fork have their statuses there.
            from_fork: false,
            html_url: it.url.and_then(Name::filled),
            actor: actor.id,
            actor_name: actor.name,
        })])
    }
}
