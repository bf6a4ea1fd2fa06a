//! What is read of GitHub's payloads.

use model::Vendor;
use serde::Deserialize;
use webhook::git::{Commit, Hash, Push, RefName, Repository};
use webhook::{Name, ParseError, Parsed};

/// How many commits GitHub lists at most; a push of more is cut there.
const COMMITS_MAX: usize = 2_048;

/// How many paths GitHub lists of one commit at most; a commit of more is cut there.
const PATHS_OF_A_COMMIT_MAX: usize = 3_000;

/// A `push`. `created`, `deleted` and `pusher.name` are asked for because every push of GitHub has them and those of
/// other senders do not; what was created or deleted is read from the zeros.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
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

#[derive(Debug, Deserialize)]
struct Sender {
    login: Name<255>,
}

impl PushPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let cut = |commit: &Commit| commit.paths().is_some_and(|n| n >= PATHS_OF_A_COMMIT_MAX);
        let incomplete = if self.commits.len() >= COMMITS_MAX {
            Some(format!(
                "GitHub lists at most {COMMITS_MAX} commits of a push"
            ))
        } else if self.commits.iter().any(cut) {
            Some(format!(
                "GitHub lists at most {PATHS_OF_A_COMMIT_MAX} paths of a commit"
            ))
        } else {
            None
        };
        let pusher = self.sender.map_or(self.pusher.name, |sender| sender.login);
        Push {
            vendor: Vendor::Github,
            ref_name: self.ref_name,
            before: self.before,
            after: self.after,
            forced: self.forced,
            repository: self.repository,
            pusher: pusher.filled(),
            // GitHub lists the oldest first.
            commits: self.commits.into_iter().rev().collect(),
            incomplete,
        }
        .normalised()
    }
}
