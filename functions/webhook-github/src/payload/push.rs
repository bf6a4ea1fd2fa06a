//! A push of a branch or a tag.

use model::Vendor;
use serde::Deserialize;
use webhook::git::{Commit, Hash, Push, Pusher as Who, RefName, Repository, Word};
use webhook::{Name, ParseError, Parsed};

use super::Sender;

/// How many commits GitHub lists at most; a push of more is cut there.
const COMMITS_MAX: usize = 2_048;

/// How many paths GitHub lists of one commit at most; a commit of more is cut there.
const PATHS_OF_A_COMMIT_MAX: usize = 3_000;

/// A `push`. `created`, `deleted` and `pusher.name` are asked for because every push of GitHub has them and those of
/// other senders do not; what was created or deleted is read from the zeros.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
    #[serde(rename = "action")]
    _action: Option<Word>,
    #[serde(rename = "ref")]
    ref_name: RefName,
    before: Hash,
    after: Hash,
    #[serde(rename = "created")]
    _created: bool,
    #[serde(rename = "deleted")]
    _deleted: bool,
    forced: bool,
    commits: Vec<Commit>,
    repository: Repository,
    pusher: Pusher,
    sender: Option<Sender>,
}

#[derive(Debug, Deserialize)]
struct Pusher {
    name: Name<255>,
}

impl PushPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let cut = |commit: &Commit| commit.paths().is_some_and(|n| n >= PATHS_OF_A_COMMIT_MAX);
        let commits_missing = (self.commits.len() >= COMMITS_MAX)
            .then(|| format!("GitHub lists at most {COMMITS_MAX} commits of a push"));
        let paths_missing = self
            .commits
            .iter()
            .any(cut)
            .then(|| format!("GitHub lists at most {PATHS_OF_A_COMMIT_MAX} paths of a commit"));
        let pusher = self.sender.map_or(self.pusher.name, |sender| sender.login);
        Push {
            vendor: Vendor::Github,
            ref_name: self.ref_name,
            before: self.before,
            after: self.after,
            forced: self.forced,
            repository: self.repository.normalised(),
            pusher: Who::login(pusher),
            // GitHub lists the oldest first.
            commits: self.commits.into_iter().rev().collect(),
            commits_missing,
            paths_missing,
            // A hook can be sent `create` and `delete`.
            tells_of_branches: false,
        }
        .normalised()
    }
}
