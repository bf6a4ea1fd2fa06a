//! The pull request that GitHub invented and others send with small differences.

use model::Vendor;
use model::git::{ChangeAction, ChangeEnd, CommitPrefix, GitChange};
use serde::Deserialize;

use super::{Message, Repository, ShortName, Word};
use crate::{Name, Normalised, Parsed};

/// A pull request as a hook tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct PullRequest {
    number: Option<u64>,
    title: Message,
    html_url: Option<Name<2_048>>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    merged: Option<bool>,
    head: End,
    base: End,
}

#[derive(Debug, Clone, Deserialize)]
struct End {
    #[serde(rename = "ref")]
    branch: ShortName,
    sha: Option<Name<64>>,
    /// Nothing when the repository is gone.
    repo: Option<Repository>,
}

impl End {
    /// An end without a commit has an empty name for it.
    fn normalised(&self) -> Result<ChangeEnd, String> {
        let sha = self.sha.clone().and_then(Name::filled);
        let sha: Option<CommitPrefix> = sha
            .map(|sha| sha.parse())
            .transpose()
            .map_err(|error: model::git::CommitPrefixError| error.to_string())?;
        Ok(ChangeEnd {
            branch: self.branch.as_str().to_owned(),
            sha,
            repository: self.repo.as_ref().map(|repo| repo.path().to_owned()),
        })
    }
}

/// What happened to a pull request.
#[derive(Debug, Clone)]
pub struct Change {
    /// Who sent it.
    pub vendor: Vendor,
    /// The vendor's word.
    pub action: Word,
    /// Its number where that stands beside it; what it says itself counts.
    pub number: Option<u64>,
    /// The pull request.
    pub pull_request: PullRequest,
    /// Where it is to go.
    pub repository: Repository,
    /// Who did it.
    pub actor: Option<String>,
}

/// What a vendor's word means; `None` for a word that is not known here. Words of GitHub, Gitea, Forgejo and Gogs mean the same
/// where they have the same.
///
/// <https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request>
/// <https://github.com/go-gitea/gitea/blob/main/modules/structs/hook.go>
#[must_use]
pub fn change_action(word: &str, merged: bool) -> Option<ChangeAction> {
    Some(match word {
        "opened" => ChangeAction::Opened,
        "synchronize" | "synchronized" => ChangeAction::Synchronized,
        "reopened" => ChangeAction::Reopened,
        "closed" if merged => ChangeAction::Merged,
        "closed" => ChangeAction::Closed,
        "reviewed" | "submitted" | "dismissed" => ChangeAction::Reviewed,
        "assigned"
        | "auto_merge_disabled"
        | "auto_merge_enabled"
        | "converted_to_draft"
        | "demilestoned"
        | "dequeued"
        | "edited"
        | "enqueued"
        | "label_cleared"
        | "label_updated"
        | "labeled"
        | "locked"
        | "milestoned"
        | "ready_for_review"
        | "review_request_removed"
        | "review_requested"
        | "unassigned"
        | "unlabeled"
        | "unlocked" => ChangeAction::Edited,
        _ => return None,
    })
}

impl Change {
    /// The change in our own words. A word that is not known here is ignored: vendors invent new ones.
    ///
    /// # Errors
    /// When a commit is none, or it has no number.
    pub fn normalised(self) -> Result<Parsed, crate::ParseError> {
        let merged = self.pull_request.merged.unwrap_or(false);
        match change_action(self.action.as_str(), merged) {
            Some(action) => self.told(action),
            None => Ok(Parsed::Ignored {
                reason: format!("unhandled action {:?} of a change", self.action.as_str()),
            }),
        }
    }

    /// The change, when what happened is told by something else than its word.
    ///
    /// # Errors
    /// When a commit is none, or it has no number.
    pub fn told(self, action: ChangeAction) -> Result<Parsed, crate::ParseError> {
        let it = self.pull_request;
        let number = it
            .number
            .or(self.number)
            .ok_or_else(|| crate::ParseError::malformed("pull_request.number", "is missing"))?;
        let end = |name: &str, end: &End| {
            end.normalised().map_err(|problem| {
                crate::ParseError::malformed(&format!("pull_request.{name}.sha"), &problem)
            })
        };
        let from_fork = match (&it.head.repo, &it.base.repo) {
            (Some(head), Some(base)) => !head.is(base),
            (Some(head), None) => !head.is(&self.repository),
            (None, _) => true,
        };
        Ok(Parsed::Events(vec![Normalised::Changed(GitChange {
            vendor: self.vendor,
            number,
            action,
            vendor_action: self.action.into_string(),
            head: end("head", &it.head)?,
            base: end("base", &it.base)?,
            from_fork,
            draft: it.draft.unwrap_or(false),
            skip_asked: it.title.skip_asked(),
            title: it.title.line().to_owned(),
            html_url: it.html_url.and_then(Name::filled),
            repository: self.repository.normalised(),
            actor: self.actor,
            actor_name: None,
        })]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SHA: &str = "2222222222222222222222222222222222222222";

    fn change(word: &str, pull_request: &Value) -> Change {
        Change {
            vendor: Vendor::Github,
            action: serde_json::from_value(json!(word)).expect("a word"),
            number: None,
            pull_request: serde_json::from_value(pull_request.clone()).expect("a pull request"),
            repository: serde_json::from_value(json!({"id": 1, "full_name": "team/site"}))
                .expect("a repository"),
            actor: Some("ann".to_owned()),
        }
    }

    fn pull_request() -> Value {
        json!({
            "number": 7,
            "title": "Add pages",
            "html_url": "https://git.example.test/team/site/pulls/7",
            "head": {"ref": "pages", "sha": SHA, "repo": {"id": 1, "full_name": "team/site"}},
            "base": {"ref": "main", "sha": SHA, "repo": {"id": 1, "full_name": "team/site"}},
        })
    }

    fn told(word: &str, pull_request: &Value) -> GitChange {
        match change(word, pull_request).normalised().expect("a change") {
            Parsed::Events(mut events) => match events.pop() {
                Some(Normalised::Changed(change)) => change,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_says_where_it_comes_from() {
        assert!(!told("opened", &pull_request()).from_fork);

        let mut fork = pull_request();
        fork["head"]["repo"] = json!({"id": 2, "full_name": "ann/site"});
        let fork = told("opened", &fork);
        assert!(fork.from_fork);
        assert_eq!(fork.head.repository.as_deref(), Some("ann/site"));

        let mut gone = pull_request();
        gone["head"]["repo"] = Value::Null;
        let gone = told("opened", &gone);
        assert!(gone.from_fork, "what is gone is not trusted");
        assert_eq!(gone.head.repository, None);

        let mut silent = pull_request();
        silent["base"]["repo"] = Value::Null;
        assert!(!told("opened", &silent).from_fork);
        silent["head"]["repo"] = json!({"id": 2, "full_name": "team/site"});
        assert!(told("opened", &silent).from_fork);
    }

    #[test]
    fn a_closed_change_was_merged_or_not() {
        let mut closed = pull_request();
        assert_eq!(told("closed", &closed).action, ChangeAction::Closed);
        closed["merged"] = json!(true);
        assert_eq!(told("closed", &closed).action, ChangeAction::Merged);
        assert_eq!(told("edited", &closed).action, ChangeAction::Edited);
    }

    #[test]
    fn a_word_that_is_not_known_is_ignored() {
        let ignored = change("painted", &pull_request()).normalised();
        let reason = "unhandled action \"painted\" of a change".to_owned();
        assert_eq!(ignored, Ok(Parsed::Ignored { reason }));
    }

    #[test]
    fn a_commit_that_is_none_is_malformed() {
        let mut bad = pull_request();
        bad["head"]["sha"] = json!("HEAD");
        let error = change("opened", &bad).normalised().expect_err("no commit");
        assert!(
            error.to_string().contains("pull_request.head.sha"),
            "{error}"
        );

        let mut empty = pull_request();
        empty["head"]["sha"] = json!("");
        assert_eq!(told("opened", &empty).head.sha, None);
    }

    #[test]
    fn a_number_may_stand_beside_the_change() {
        let mut unnumbered = pull_request();
        unnumbered
            .as_object_mut()
            .expect("an object")
            .remove("number");
        let mut change = change("opened", &unnumbered);
        let error = change.clone().normalised().expect_err("no number");
        assert!(error.to_string().contains("pull_request.number"), "{error}");
        change.number = Some(8);
        let told = change.normalised().expect("a change");
        assert!(
            matches!(&told, Parsed::Events(events) if matches!(&events[..], [Normalised::Changed(it)] if it.number == 8)),
            "{told:?}"
        );
    }

    #[test]
    fn a_title_can_ask_to_skip() {
        let mut skipping = pull_request();
        skipping["title"] = json!("Add pages [skip ci]");
        assert!(told("opened", &skipping).skip_asked);
        assert!(!told("opened", &pull_request()).skip_asked);
    }
}
