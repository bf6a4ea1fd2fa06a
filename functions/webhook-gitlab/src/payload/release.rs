//! Releases.

use model::Vendor;
use model::git::{CommitId, GitReleased, ReleaseAction};
use serde::Deserialize;
use webhook::git::{ShortName, Word};
use webhook::{Line, Name, Normalised, Parsed};

use super::Project;

/// A `release`. It does not say who did it.
#[derive(Debug, Deserialize)]
pub(crate) struct ReleasePayload {
    action: Word,
    tag: ShortName,
    name: Option<Line<200>>,
    url: Option<Name<2_048>>,
    project: Project,
    commit: Option<Commit>,
}

#[derive(Debug, Deserialize)]
struct Commit {
    id: CommitId,
}

impl ReleasePayload {
    pub(crate) fn normalised(self) -> Parsed {
        let action = match self.action.as_str() {
            // There are no drafts: what is created is there for everybody.
            "create" => ReleaseAction::Published,
            "update" => ReleaseAction::Edited,
            "delete" => ReleaseAction::Deleted,
            other => {
                return Parsed::Ignored {
                    reason: format!("unhandled action {other:?} of a release"),
                };
            }
        };
        Parsed::Events(vec![Normalised::Released(GitReleased {
            vendor: Vendor::Gitlab,
            repository: self.project.normalised(),
            action,
            tag: self.tag.into_string(),
            name: self
                .name
                .map(Line::into_string)
                .filter(|name| !name.is_empty()),
            target: self.commit.map(|commit| commit.id.to_string()),
            draft: false,
            prerelease: false,
            html_url: self.url.and_then(Name::filled),
            actor: None,
        })])
    }
}
