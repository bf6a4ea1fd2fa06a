//! Pushes.

use model::Vendor;
use model::git::CommitId;
use serde::Deserialize;
use webhook::git::{Commit, Hash, Message, Push, RefName, together};
use webhook::{Line, ParseError, Parsed};

use super::{Person, Repository, too_little};

/// A `git.push`.
#[derive(Debug, Deserialize)]
pub(crate) struct PushPayload {
    resource: Option<Resource>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(rename = "refUpdates")]
    updates: Option<Vec<Update>>,
    repository: Option<Repository>,
    #[serde(rename = "pushedBy")]
    pushed_by: Option<Person>,
    /// The newest first.
    #[serde(default)]
    commits: Option<Vec<PushedCommit>>,
}

#[derive(Debug, Deserialize)]
struct Update {
    name: RefName,
    #[serde(rename = "oldObjectId")]
    old: Hash,
    #[serde(rename = "newObjectId")]
    new: Hash,
}

#[derive(Debug, Deserialize)]
struct PushedCommit {
    #[serde(rename = "commitId")]
    id: CommitId,
    #[serde(default)]
    comment: Message,
    author: Option<Author>,
}

#[derive(Debug, Deserialize)]
struct Author {
    name: Option<Line<200>>,
}

impl PushPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let Some(it) = self.resource else {
            return Ok(too_little());
        };
        let (Some(updates), Some(repository)) = (it.updates, it.repository) else {
            return Ok(too_little());
        };
        let repository = repository.normalised()?;
        let pusher = it.pushed_by.map(Person::told).unwrap_or_default();
        let several = updates.len() > 1;
        let commits: Vec<Commit> = it
            .commits
            .unwrap_or_default()
            .into_iter()
            // Whose they are is not said where several references moved.
            .filter(|_| !several)
            .map(|commit| {
                let author = commit.author.and_then(|author| author.name);
                Commit::without_paths(commit.id, commit.comment, author)
            })
            .collect();
        let pushes = updates
            .into_iter()
            .map(|update| Push {
                vendor: Vendor::AzureDevops,
                ref_name: update.name,
                before: update.old,
                after: update.new,
                // It does not say whether history was rewritten.
                forced: false,
                repository: repository.clone(),
                pusher: pusher.clone(),
                commits: commits.clone(),
                commits_missing: Some("it is not said how many commits there were".to_owned()),
                paths_missing: Some("Azure DevOps does not list the paths of a push".to_owned()),
                tells_of_branches: true,
            })
            .collect();
        together(pushes)
    }
}
