//! A push of a branch or a tag.

use model::Vendor;
use serde::Deserialize;
use webhook::git::{Commit, Hash, Push, Pusher, RefName, Repository};
use webhook::{ParseError, Parsed};

use super::User;

/// How many commits of a push are listed when nobody changed `FEED_MAX_COMMIT_NUM`.
const COMMITS_DEFAULT_MAX: u64 = 5;

/// A `push`. `pusher.login` is asked for because every push of these senders has it and those of GitHub do not.
/// A forced push does not say that it is one, so that paths which only the dropped commits touched are not seen.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
    #[serde(rename = "ref")]
    ref_name: RefName,
    before: Hash,
    after: Hash,
    commits: Option<Vec<Commit>>,
    total_commits: Option<u64>,
    repository: Repository,
    pusher: User,
}

impl PushPayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        let commits = self.commits.unwrap_or_default();
        let listed = commits.len() as u64;
        let commits_missing = if self.before.0.is_none() {
            Some("of a new branch the last commits are listed, whoever pushed them".to_owned())
        } else {
            match self.total_commits {
                Some(total) if total > listed => {
                    Some(format!("{listed} of the push's {total} commits are listed"))
                }
                None if listed >= COMMITS_DEFAULT_MAX => Some(format!(
                    "{listed} commits are listed, and not how many there were"
                )),
                Some(_) | None => None,
            }
        };
        Push {
            vendor,
            ref_name: self.ref_name,
            before: self.before,
            after: self.after,
            forced: false,
            repository: self.repository.normalised(),
            pusher: Pusher::login(self.pusher.login),
            // These list the newest first.
            commits,
            commits_missing,
            paths_missing: None,
            // A hook can be sent `create` and `delete`.
            tells_of_branches: false,
        }
        .normalised()
    }
}
