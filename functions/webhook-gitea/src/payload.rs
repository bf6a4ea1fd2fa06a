//! What is read of the payloads of Gitea, Forgejo and Gogs.

use model::Vendor;
use model::git::CommitId;
use serde::Deserialize;
use webhook::git::{Commit, Hash, NewTag, Push, RefName, Repository};
use webhook::{Name, ParseError, Parsed};

/// How many commits of a push are listed when nobody changed `FEED_MAX_COMMIT_NUM`.
const COMMITS_DEFAULT_MAX: u64 = 5;

/// Why the creation of what is pushed as well starts nothing.
pub(crate) const PUSH_IS_SENT: &str =
    "a push is sent as well, and one action starts things once: let the hook send pushes";

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
    pusher: Pusher,
}

#[derive(Debug, Deserialize)]
struct Pusher {
    login: Name<255>,
}

impl PushPayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        let commits = self.commits.unwrap_or_default();
        let listed = commits.len() as u64;
        let incomplete = if self.before.0.is_none() {
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
            repository: self.repository,
            pusher: self.pusher.login.filled(),
            // These list the newest first.
            commits,
            incomplete,
        }
        .normalised()
    }
}

/// A `create` of Gogs, the only word that it sends about a new tag.
#[derive(Debug, Deserialize)]
pub(crate) struct CreatePayload {
    ref_type: RefType,
    #[serde(rename = "ref")]
    name: Name<1_024>,
    sha: Option<CommitId>,
    repository: Repository,
    sender: Pusher,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RefType {
    Branch,
    Tag,
}

impl CreatePayload {
    pub(crate) fn normalised(self, vendor: Vendor) -> Result<Parsed, ParseError> {
        match self.ref_type {
            RefType::Branch => Ok(Parsed::Ignored {
                reason: PUSH_IS_SENT.to_owned(),
            }),
            RefType::Tag => NewTag {
                vendor,
                tag: self
                    .name
                    .filled()
                    .ok_or_else(|| ParseError::malformed("ref", "is empty; a tag is expected"))?,
                after: self.sha.ok_or_else(|| {
                    ParseError::malformed("sha", "is missing; a commit is expected")
                })?,
                repository: self.repository,
                pusher: self.sender.login.filled(),
            }
            .normalised(),
        }
    }
}
