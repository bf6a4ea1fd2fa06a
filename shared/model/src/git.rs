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
        let digits = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let named = text.bytes().any(|b| b != b'0');
        if matches!(text.len(), 40 | 64) && digits && named {
            Ok(Self(text.to_owned()))
        } else {
            Err(CommitIdError(text.chars().take(80).collect()))
        }
    }
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
    /// Whether history was rewritten.
    #[serde(default)]
    pub forced: bool,
    /// What changed.
    pub changed_paths: ChangedPaths,
    /// Who pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// The newest commits of the push, at most 20.
    #[serde(default)]
    pub commits: Vec<CommitSummary>,
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
    /// Who pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
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
