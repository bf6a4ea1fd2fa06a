//! What Git hosts send, as far as they send the same: references, commits, repositories and pushes.

mod change;
mod message;
mod push;
mod release;
mod repository;

use model::git::CommitId;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

pub use change::{Change, PullRequest, change_action};
pub use message::Message;
pub use push::{Announced, Author, Commit, Push, Pusher, RefType, together};
pub use release::{Release, ReleaseTold};
pub use repository::{Place, Repository, RepositoryPath, host};

use crate::Name;

/// How long a word may be that names what happened, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// A commit by what a hook calls it, where zeros stand for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash(pub Option<CommitId>);

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        CommitId::from_hook(&text)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// A reference by its full name, such as `refs/heads/main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefName(String);

impl RefName {
    /// The full name of a branch.
    #[must_use]
    pub fn of_branch(branch: &ShortName) -> Self {
        Self(format!("refs/heads/{}", branch.0))
    }

    /// The full name of a tag.
    #[must_use]
    pub fn of_tag(tag: &ShortName) -> Self {
        Self(format!("refs/tags/{}", tag.0))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch's short name, when it is a branch.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The tag's short name, when it is a tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// What follows the kind: the short name.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.splitn(3, '/').nth(2).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for RefName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = Name::<1_024>::deserialize(from)?;
        let full = name.as_str().strip_prefix("refs/");
        let kind_and_rest = full.and_then(|rest| rest.split_once('/'));
        match kind_and_rest {
            Some((_, rest)) if is_ref(rest) => Ok(Self(name.as_str().to_owned())),
            Some(_) | None => Err(D::Error::custom(format_args!(
                "{:?} is not the full name of a reference, such as refs/heads/main",
                name.as_str()
            ))),
        }
    }
}

/// A branch or a tag by its short name, such as `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortName(String);

impl ShortName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for ShortName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = Name::<1_024>::deserialize(from)?;
        if is_ref(name.as_str()) {
            Ok(Self(name.as_str().to_owned()))
        } else {
            Err(D::Error::custom(format_args!(
                "{:?} is not the name of a branch or a tag",
                name.as_str()
            )))
        }
    }
}

/// Whether Git would have such a name, by the rules of `git check-ref-format`.
fn is_ref(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.split('/').all(part)
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
}

/// A vendor's word for what happened, such as `ready_for_review`: letters, digits, `_`, `-`, `:` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
        if (1..=WORD_BYTES_MAX).contains(&word.len()) && word.chars().all(fits) {
            Ok(Self(word))
        } else {
            let shown: String = word.chars().take(WORD_BYTES_MAX).collect();
            Err(format!("{shown:?} is not a word for what happened"))
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A word that may be left empty, which says as little as none.
///
/// # Errors
/// When it is there, not empty, and no word.
pub fn word_if_filled<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    Option::<String>::deserialize(from)?
        .filter(|word| !word.is_empty())
        .map(|word| Word::try_from(word).map_err(D::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_git_refuses_is_no_reference() {
        for good in ["main", "release/1.2", "ветка", "a.b", "@"] {
            assert!(is_ref(good), "{good}");
        }
        for bad in [
            "", "a b", "../../x", "a..b", "a/", "/a", ".a", "a/.b", "a.lock", "a~1", "a^", "a:b",
            "a?b", "a*", "a[b", "a\\b", "a@{1}", "a.", "a\nb",
        ] {
            assert!(!is_ref(bad), "{bad:?}");
            assert!(
                serde_json::from_value::<ShortName>(json!(bad)).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_short_name_is_no_reference() {
        for bad in [
            "main",
            "",
            "refs/heads",
            "refs/heads/",
            "refs/heads/a\u{7}",
            "../../x",
        ] {
            assert!(
                serde_json::from_value::<RefName>(json!(bad)).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_reference_knows_its_short_name() {
        let name = |text: &str| serde_json::from_value::<RefName>(json!(text)).expect("a name");
        assert_eq!(name("refs/heads/a/b").branch(), Some("a/b"));
        assert_eq!(name("refs/heads/a/b").tag(), None);
        assert_eq!(name("refs/tags/v1").tag(), Some("v1"));
        assert_eq!(name("refs/pull/1/head").short(), "1/head");
    }

    #[test]
    fn a_word_leads_nowhere() {
        for good in [
            "opened",
            "ready_for_review",
            "pr:opened",
            "Push-Hook",
            "ms.vss-code.x",
        ] {
            assert!(
                serde_json::from_value::<Word>(json!(good)).is_ok(),
                "{good}"
            );
        }
        let long = "a".repeat(WORD_BYTES_MAX + 1);
        for bad in ["", "../../x", "a b", "a\u{0}", "а", &long] {
            assert!(serde_json::from_value::<Word>(json!(bad)).is_err(), "{bad}");
        }
        for nothing in [json!(""), json!(null)] {
            assert!(matches!(word_if_filled(&nothing), Ok(None)), "{nothing}");
        }
        assert!(matches!(word_if_filled(json!("opened")), Ok(Some(_))));
        assert!(word_if_filled(json!("../../x")).is_err());
    }
}
