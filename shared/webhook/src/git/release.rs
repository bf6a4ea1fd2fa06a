//! The release that GitHub invented and others send with small differences.

use model::Vendor;
use model::git::{GitReleased, ReleaseAction};
use serde::Deserialize;

use super::{Repository, Word};
use crate::{Line, Name, Normalised, Parsed};

/// A release as a hook tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    tag_name: Option<Name<1_024>>,
    name: Option<Line<200>>,
    target_commitish: Option<Name<1_024>>,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    html_url: Option<Name<2_048>>,
}

/// What happened to a release.
#[derive(Debug, Clone)]
pub struct ReleaseTold {
    /// Who sent it.
    pub vendor: Vendor,
    /// The vendor's word.
    pub action: Word,
    /// The release.
    pub release: Release,
    /// Where.
    pub repository: Repository,
    /// Who did it.
    pub actor: Option<String>,
}

impl ReleaseTold {
    /// The release in our own words.
    #[must_use]
    pub fn normalised(self) -> Parsed {
        let action = match self.action.as_str() {
            "created" => ReleaseAction::Created,
            "published" => ReleaseAction::Published,
            "released" => ReleaseAction::Released,
            "prereleased" => ReleaseAction::Prereleased,
            "edited" | "updated" => ReleaseAction::Edited,
            "unpublished" => ReleaseAction::Unpublished,
            "deleted" => ReleaseAction::Deleted,
            other => {
                return Parsed::Ignored {
                    reason: format!("unhandled action {other:?} of a release"),
                };
            }
        };
        let it = self.release;
        let Some(tag) = it.tag_name.and_then(Name::filled) else {
            return Parsed::Ignored {
                reason: "the release is a draft and has no tag yet".to_owned(),
            };
        };
        Parsed::Events(vec![Normalised::Released(GitReleased {
            vendor: self.vendor,
            action,
            tag,
            name: it
                .name
                .map(Line::into_string)
                .filter(|name| !name.is_empty()),
            target: it.target_commitish.and_then(Name::filled),
            draft: it.draft,
            prerelease: it.prerelease,
            html_url: it.html_url.and_then(Name::filled),
            repository: self.repository.normalised(),
            actor: self.actor,
        })])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(action: &str, release: &Value) -> Parsed {
        ReleaseTold {
            vendor: Vendor::Gitea,
            action: serde_json::from_value(json!(action)).expect("a word"),
            release: serde_json::from_value(release.clone()).expect("a release"),
            repository: serde_json::from_value(json!({"full_name": "team/site"}))
                .expect("a repository"),
            actor: None,
        }
        .normalised()
    }

    #[test]
    fn every_word_has_its_meaning() {
        for (word, action) in [
            ("created", ReleaseAction::Created),
            ("published", ReleaseAction::Published),
            ("released", ReleaseAction::Released),
            ("prereleased", ReleaseAction::Prereleased),
            ("edited", ReleaseAction::Edited),
            ("updated", ReleaseAction::Edited),
            ("unpublished", ReleaseAction::Unpublished),
            ("deleted", ReleaseAction::Deleted),
        ] {
            let Parsed::Events(events) = told(word, &json!({"tag_name": "v1"})) else {
                panic!("{word}");
            };
            assert!(
                matches!(&events[..], [Normalised::Released(it)] if it.action == action),
                "{word}"
            );
        }
        assert!(matches!(
            told("painted", &json!({"tag_name": "v1"})),
            Parsed::Ignored { .. }
        ));
    }

    #[test]
    fn a_draft_without_a_tag_is_no_release_yet() {
        for draft in [
            json!({"tag_name": "", "draft": true}),
            json!({"draft": true}),
        ] {
            assert!(matches!(told("created", &draft), Parsed::Ignored { .. }));
        }
    }
}
