//! A push of a branch or a tag.

use model::Vendor;
use serde::Deserialize;
use webhook::git::{Commit, Hash, Push, Pusher, RefName};
use webhook::{Name, ParseError, Parsed};

use super::Project;

/// A `push` or a `tag_push`. Of more than twenty commits the newest twenty are listed, the oldest of them first; a push that
/// moves more than three references is not told at all.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
    #[serde(rename = "ref")]
    ref_name: RefName,
    before: Hash,
    after: Hash,
    user_username: Option<Name<255>>,
    user_name: Option<Name<255>>,
    project: Project,
    commits: Option<Vec<Commit>>,
    total_commits_count: Option<u64>,
}

impl PushPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let commits = self.commits.unwrap_or_default();
        let listed = commits.len() as u64;
        let commits_missing = match self.total_commits_count {
            Some(total) if total > listed => {
                Some(format!("{listed} of the push's {total} commits are listed"))
            }
            Some(_) => None,
            None => Some("it is not said how many commits there were".to_owned()),
        };
        let pusher = [self.user_username, self.user_name]
            .into_iter()
            .flatten()
            .find_map(Name::filled);
        Push {
            vendor: Vendor::Gitlab,
            ref_name: self.ref_name,
            before: self.before,
            after: self.after,
            // It does not say whether history was rewritten.
            forced: false,
            repository: self.project.normalised(),
            pusher: Pusher {
                id: pusher,
                name: None,
            },
            commits: commits.into_iter().rev().collect(),
            commits_missing,
            paths_missing: None,
            tells_of_branches: true,
        }
        .normalised()
    }
}
