//! Merge requests.

use model::Vendor;
use model::git::{ChangeAction, ChangeEnd, CommitId, GitChange};
use serde::Deserialize;
use webhook::git::{Message, ShortName, Word};
use webhook::{Name, Normalised, ParseError, Parsed};

use super::{Project, User};

/// A `merge_request`.
#[derive(Debug, Deserialize)]
pub(crate) struct MergeRequestPayload {
    user: User,
    /// Versions before 8.5 send it as the change's target only.
    project: Option<Project>,
    object_attributes: Attributes,
}

#[derive(Debug, Deserialize)]
struct Attributes {
    iid: u64,
    title: Message,
    url: Option<Name<2_048>>,
    action: Option<Word>,
    source_branch: ShortName,
    target_branch: ShortName,
    /// Nothing when the project is gone.
    source_project_id: Option<u64>,
    target_project_id: u64,
    source: Option<Project>,
    target: Option<Project>,
    last_commit: Option<LastCommit>,
    /// Where the branch was, only when it has other commits now.
    oldrev: Option<CommitId>,
    draft: Option<bool>,
    work_in_progress: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct LastCommit {
    id: CommitId,
    #[serde(default)]
    message: Message,
}

impl MergeRequestPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let it = self.object_attributes;
        let Some(word) = it.action else {
            return Ok(Parsed::Ignored {
                reason: "it does not say what happened to the merge request".to_owned(),
            });
        };
        let action = match word.as_str() {
            "open" => ChangeAction::Opened,
            "update" if it.oldrev.is_some() => ChangeAction::Synchronized,
            "update" => ChangeAction::Edited,
            "approved" | "unapproved" | "approval" | "unapproval" => ChangeAction::Reviewed,
            "reopen" => ChangeAction::Reopened,
            "close" => ChangeAction::Closed,
            "merge" => ChangeAction::Merged,
            other => {
                return Ok(Parsed::Ignored {
                    reason: format!("unhandled action {other:?} of a merge request"),
                });
            }
        };
        let path = |side: &Option<Project>| {
            let path = side.as_ref().map(|side| side.path_with_namespace.as_str());
            path.map(str::to_owned)
        };
        let (source, target) = (path(&it.source), path(&it.target));
        let project = self
            .project
            .or(it.target)
            .ok_or_else(|| ParseError::malformed("project", "is missing"))?;
        let commit_asks = it
            .last_commit
            .as_ref()
            .is_some_and(|commit| commit.message.skip_asked());
        Ok(Parsed::Events(vec![Normalised::Changed(GitChange {
            vendor: Vendor::Gitlab,
            repository: project.normalised(),
            number: it.iid,
            action,
            vendor_action: word.into_string(),
            title: it.title.line().to_owned(),
            head: ChangeEnd {
                branch: it.source_branch.into_string(),
                sha: it.last_commit.map(|commit| commit.id.into()),
                repository: source,
            },
            base: ChangeEnd {
                branch: it.target_branch.into_string(),
                sha: None,
                repository: target,
            },
            from_fork: it.source_project_id != Some(it.target_project_id),
            draft: it.draft.or(it.work_in_progress).unwrap_or(false),
            skip_asked: it.title.skip_asked() || commit_asks,
            html_url: it.url.and_then(Name::filled),
            actor: self.user.filled(),
            actor_name: None,
        })]))
    }
}
