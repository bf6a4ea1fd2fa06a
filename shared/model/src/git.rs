//! What Git hosts tell us, in one form for all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Vendor;

/// A commit by its full name: 40 or 64 lower-case hexadecimal digits, never all zeros.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..7]
    }

    /// Reads what a hook sends, where all zeros stand for "no commit".
    ///
    /// # Errors
    /// When the text is neither a commit nor zeros.
    pub fn from_hook(text: &str) -> Result<Option<Self>, CommitIdError> {
        if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b == b'0') {
            return Ok(None);
        }
        text.parse().map(Some)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, CommitIdError> {
        if matches!(text.len(), 40 | 64) && names_a_commit(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CommitIdError(text.chars().take(80).collect()))
        }
    }
}

/// Whether these are lower-case hexadecimal digits and not all zeros, by which hooks name no commit.
fn names_a_commit(text: &str) -> bool {
    let digits = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    digits && text.bytes().any(|b| b != b'0')
}

impl TryFrom<String> for CommitId {
    type Error = CommitIdError;

    fn try_from(text: String) -> Result<Self, CommitIdError> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

/// A text that is no commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a commit: 40 or 64 lower-case hexadecimal digits are expected")]
pub struct CommitIdError(String);

/// A commit by how its name begins: 7 to 64 lower-case hexadecimal digits. Bitbucket Cloud names twelve of them in its pull
/// requests; most others name all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitPrefix(String);

impl CommitPrefix {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit, when the prefix is its whole name.
    #[must_use]
    pub fn whole(&self) -> Option<CommitId> {
        self.0.parse().ok()
    }
}

impl fmt::Display for CommitPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitPrefix {
    type Err = CommitPrefixError;

    fn from_str(text: &str) -> Result<Self, CommitPrefixError> {
        if (7..=64).contains(&text.len()) && names_a_commit(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CommitPrefixError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for CommitPrefix {
    type Error = CommitPrefixError;

    fn try_from(text: String) -> Result<Self, CommitPrefixError> {
        text.parse()
    }
}

impl From<CommitPrefix> for String {
    fn from(prefix: CommitPrefix) -> Self {
        prefix.0
    }
}

impl From<CommitId> for CommitPrefix {
    fn from(id: CommitId) -> Self {
        Self(id.0)
    }
}

/// A text that no commit's name begins with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a commit: 7 to 64 lower-case hexadecimal digits are expected")]
pub struct CommitPrefixError(String);

/// Where code lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// The host's name when the hook's URLs tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `owner/name`, or deeper where the host has groups.
    pub path: String,
    /// Where it can be fetched from.
    #[serde(default)]
    pub clone_urls: Vec<String>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_url: Option<String>,
    /// The branch that a clone checks out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
}

/// Which paths a push changed. A filter on paths can only decide when they are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "are", rename_all = "snake_case")]
pub enum ChangedPaths {
    /// These and no others.
    Known {
        /// Added, modified or removed.
        paths: BTreeSet<String>,
    },
    /// The hook does not say; a filter on paths lets the event pass.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// One commit of a push, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSummary {
    /// The commit.
    pub id: CommitId,
    /// Its message's first line.
    pub message: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// What happened to a branch or a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefAction {
    /// It is new.
    Created,
    /// It names another commit.
    Moved,
    /// It went away.
    Deleted,
}

impl RefAction {
    fn between(before: Option<&CommitId>, after: Option<&CommitId>) -> Self {
        match (before, after) {
            (_, None) => Self::Deleted,
            (None, Some(_)) => Self::Created,
            (Some(_), Some(_)) => Self::Moved,
        }
    }
}

/// Data of `dev.switchyard.git.pushed.v1`: a branch moved, appeared or went away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitPushed {
    /// Who told us.
    pub vendor: Vendor,
    /// Where.
    pub repository: Repository,
    /// The full name, `refs/heads/main`.
    pub ref_name: String,
    /// The branch.
    pub branch: String,
    /// Where the branch was; nothing when it is new.
    pub before: Option<CommitId>,
    /// Where the branch is; nothing when it went away.
    pub after: Option<CommitId>,
    /// Whether the sender names no commit: `after` is nothing, and the branch is there all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub head_unknown: bool,
    /// Whether history was rewritten.
    #[serde(default)]
    pub forced: bool,
    /// What changed.
    pub changed_paths: ChangedPaths,
    /// Whether every commit of the push asks that nothing be started, as `[skip ci]` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_asked: bool,
    /// Who pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// The pusher's name, where the vendor calls people by an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher_name: Option<String>,
    /// The newest commits of the push, at most 20.
    #[serde(default)]
    pub commits: Vec<CommitSummary>,
}

impl GitPushed {
    /// What happened to the branch.
    #[must_use]
    pub fn action(&self) -> RefAction {
        if self.head_unknown {
            return RefAction::Moved;
        }
        RefAction::between(self.before.as_ref(), self.after.as_ref())
    }
}

/// Data of `dev.switchyard.git.tagged.v1`: a tag moved, appeared or went away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitTagged {
    /// Who told us.
    pub vendor: Vendor,
    /// Where.
    pub repository: Repository,
    /// The full name, `refs/tags/v1`.
    pub ref_name: String,
    /// The tag.
    pub tag: String,
    /// What the tag named before; nothing when it is new.
    pub before: Option<CommitId>,
    /// What the tag names; nothing when it went away. May be a tag object rather than a commit.
    pub after: Option<CommitId>,
    /// The commit, where `after` is a tag object and the sender says which commit that names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Whether the sender names no commit: `after` is nothing, and the tag is there all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub head_unknown: bool,
    /// Set where a hook tells of the tag in so many words. Mostly a push tells the same, as with GitHub's and Gitea's `create`
    /// and `delete`: then nothing starts from it, because one action starts things once. Where the head is unknown, no push does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<RefAction>,
    /// Who pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// The pusher's name, where the vendor calls people by an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher_name: Option<String>,
}

impl GitTagged {
    /// What happened to the tag.
    #[must_use]
    pub fn action(&self) -> RefAction {
        match self.announced {
            Some(announced) => announced,
            None if self.head_unknown => RefAction::Moved,
            None => RefAction::between(self.before.as_ref(), self.after.as_ref()),
        }
    }
}

/// Data of `dev.switchyard.git.branch.created.v1` and `….deleted.v1`. A push of the branch is an event of its own, and the one
/// that starts things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitBranch {
    /// Who told us.
    pub vendor: Vendor,
    /// Where.
    pub repository: Repository,
    /// The full name, `refs/heads/main`.
    pub ref_name: String,
    /// The branch.
    pub branch: String,
    /// Where it began or ended, when the vendor says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<CommitId>,
    /// Who pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// The pusher's name, where the vendor calls people by an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher_name: Option<String>,
}

/// What happened to a change: a pull request or merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// It is new.
    Opened,
    /// It has other commits.
    Synchronized,
    /// What is said about it changed: its title, target, labels, reviewers, or whether it is a draft.
    Edited,
    /// Somebody approved it, or said that it is not good yet.
    Reviewed,
    /// It is open again.
    Reopened,
    /// It was closed without being merged.
    Closed,
    /// It was merged.
    Merged,
}

/// One end of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEnd {
    /// The branch.
    pub branch: String,
    /// The commit, or how its name begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<CommitPrefix>,
    /// The path of its repository; nothing when that is gone or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// Data of `dev.switchyard.git.change.*.v1`: something happened to a pull request or merge request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitChange {
    /// Who told us.
    pub vendor: Vendor,
    /// Where it is to go.
    pub repository: Repository,
    /// Its number there.
    pub number: u64,
    /// What happened.
    pub action: ChangeAction,
    /// The vendor's word for what happened.
    pub vendor_action: String,
    /// What it is called.
    pub title: String,
    /// What is to be merged.
    pub head: ChangeEnd,
    /// What it is to be merged into.
    pub base: ChangeEnd,
    /// Whether what is to be merged comes from another repository, written by people who may not write here. Also set where
    /// the vendor does not say where it comes from.
    pub from_fork: bool,
    /// Whether it says that it is not ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
    /// Whether its title or its last commit asks that nothing be started, as `[skip ci]` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_asked: bool,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_url: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The actor's name, where the vendor calls people by an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
}

/// What happened to a release. One release of GitHub tells three things at once: created, published, released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseAction {
    /// It is there, perhaps as a draft.
    Created,
    /// Everybody can see it.
    Published,
    /// It was published, and is no pre-release.
    Released,
    /// It was published as a pre-release.
    Prereleased,
    /// What is said about it changed.
    Edited,
    /// It is a draft again.
    Unpublished,
    /// It is gone.
    Deleted,
}

/// Data of `dev.switchyard.git.released.v1`: something happened to a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitReleased {
    /// Who told us.
    pub vendor: Vendor,
    /// Where.
    pub repository: Repository,
    /// What happened.
    pub action: ReleaseAction,
    /// The tag that it is of.
    pub tag: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The branch or commit that the tag is made from, when the vendor says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether only its authors see it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
    /// Whether it says that it is not ready for everybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prerelease: bool,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_url: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// What kind of thing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineKind {
    /// A whole pipeline: GitLab's, a run of a GitHub workflow, a build of Azure DevOps.
    Pipeline,
    /// One check of a commit: GitHub's check run, Bitbucket's commit status.
    Check,
}

/// How a pipeline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineOutcome {
    /// It did what it should.
    Succeeded,
    /// It did not, or took too long.
    Failed,
    /// It was stopped.
    Cancelled,
    /// It did not have to run.
    Skipped,
    /// It ended and says neither: neutral, stale, or waiting for a person.
    Neutral,
}

/// Data of `dev.switchyard.pipeline.finished.v1`: somebody else's pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineFinished {
    /// Who told us.
    pub vendor: Vendor,
    /// Where it ran, when the vendor says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// What kind of thing it is.
    pub kind: PipelineKind,
    /// The vendor's id of this run.
    pub run: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it ended.
    pub outcome: PipelineOutcome,
    /// The vendor's word for how it ended.
    pub vendor_outcome: String,
    /// The short name of the branch or tag that it ran for, when the vendor says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_short: Option<String>,
    /// Whether it ran for a tag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_tag: bool,
    /// The commit that it ran for, when the vendor says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<CommitId>,
    /// Whether it ran for what comes from another repository, as in [`GitChange::from_fork`].
    pub from_fork: bool,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_url: Option<String>,
    /// Who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The actor's name, where the vendor calls people by an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_no_commit() {
        assert_eq!(CommitId::from_hook(&"0".repeat(40)), Ok(None));
        assert_eq!(CommitId::from_hook(&"0".repeat(64)), Ok(None));
        assert!("0".repeat(40).parse::<CommitId>().is_err());
    }

    #[test]
    fn the_beginning_of_a_name_is_seven_digits_or_more() {
        let short: CommitPrefix = "507a576e59b3".parse().expect("a prefix");
        assert_eq!(short.whole(), None);
        let whole: CommitPrefix = "a".repeat(40).parse().expect("a name");
        assert_eq!(whole.whole(), "a".repeat(40).parse().ok());
        for bad in ["507a57", "507A576", "0000000", "", "main", &"a".repeat(65)] {
            assert!(bad.parse::<CommitPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_that_is_told_of_twice_says_what_happened() {
        let mut tagged: GitTagged = serde_json::from_value(serde_json::json!({
            "vendor": "github",
            "repository": {"path": "team/site"},
            "ref_name": "refs/tags/v1",
            "tag": "v1",
            "before": null,
            "after": null,
        }))
        .expect("the data of an event");
        assert_eq!(tagged.action(), RefAction::Deleted);
        tagged.announced = Some(RefAction::Created);
        assert_eq!(tagged.action(), RefAction::Created);
        tagged.head_unknown = true;
        assert_eq!(tagged.action(), RefAction::Created);
        tagged.announced = None;
        assert_eq!(tagged.action(), RefAction::Moved);
        tagged.head_unknown = false;
        tagged.after = "a".repeat(40).parse().ok();
        assert_eq!(tagged.action(), RefAction::Created);
        tagged.before = "b".repeat(40).parse().ok();
        assert_eq!(tagged.action(), RefAction::Moved);
    }

    #[test]
    fn a_commit_is_forty_or_sixty_four_lower_case_digits() {
        assert!("a".repeat(40).parse::<CommitId>().is_ok());
        assert!("a".repeat(64).parse::<CommitId>().is_ok());
        for bad in [
            "A".repeat(40),
            "a".repeat(41),
            "g".repeat(40),
            String::new(),
        ] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }
}
