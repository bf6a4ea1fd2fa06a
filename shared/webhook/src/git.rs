//! The push that GitHub invented and others send with small differences.

use std::collections::BTreeSet;

use http::Uri;
use model::Vendor;
use model::git::{ChangedPaths, CommitId, CommitSummary, GitPushed, GitTagged};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::{Line, Name, Normalised, ParseError, Parsed, Text};

/// How many commits of a push are kept, for people.
const COMMITS_KEPT_MAX: usize = 20;

/// How many changed paths are kept; a push of more counts as one that does not say.
const PATHS_MAX: usize = 3_000;

/// How many bytes the kept paths may have together.
const PATHS_BYTES_MAX: usize = 256 * 1024;

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

/// The repository of a hook.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository {
    full_name: Name<512>,
    html_url: Option<Name<2_048>>,
    clone_url: Option<Name<2_048>>,
    ssh_url: Option<Name<2_048>>,
    default_branch: Option<Name<1_024>>,
}

impl Repository {
    fn normalised(self) -> Result<model::git::Repository, ParseError> {
        let filled = |name: Option<Name<2_048>>| name.and_then(Name::filled);
        let path = self.full_name.filled().ok_or_else(|| {
            ParseError::malformed("repository.full_name", "is empty; owner/name is expected")
        })?;
        let html_url = filled(self.html_url);
        let clone_url = filled(self.clone_url);
        Ok(model::git::Repository {
            host: html_url.as_deref().or(clone_url.as_deref()).and_then(host),
            path,
            clone_urls: clone_url.into_iter().chain(filled(self.ssh_url)).collect(),
            html_url,
            default_branch: self.default_branch.and_then(Name::filled),
        })
    }
}

/// The host of a URL, with its port when it names one.
fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.to_ascii_lowercase();
    Some(match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

/// A commit of a push.
#[derive(Debug, Clone, Deserialize)]
pub struct Commit {
    id: CommitId,
    message: Line<200>,
    author: Option<Author>,
    added: Option<Vec<Path>>,
    removed: Option<Vec<Path>>,
    modified: Option<Vec<Path>>,
}

/// No length of its own is asked of a path: they are counted together.
type Path = Text<{ usize::MAX }>;

#[derive(Debug, Clone, Deserialize)]
struct Author {
    name: Option<Line<200>>,
}

impl Commit {
    /// How many paths it lists, or `None` when it lists none at all.
    #[must_use]
    pub fn paths(&self) -> Option<usize> {
        let lists = [&self.added, &self.removed, &self.modified];
        lists
            .iter()
            .any(|list| list.is_some())
            .then(|| lists.into_iter().flatten().map(Vec::len).sum())
    }
}

/// A push, read from a vendor's payload.
#[derive(Debug, Clone)]
pub struct Push {
    /// Who sent it.
    pub vendor: Vendor,
    /// What moved.
    pub ref_name: RefName,
    /// Where it was.
    pub before: Hash,
    /// Where it is.
    pub after: Hash,
    /// Whether history was rewritten, as far as the vendor says.
    pub forced: bool,
    /// Where.
    pub repository: Repository,
    /// Who pushed.
    pub pusher: Option<String>,
    /// The commits, newest first.
    pub commits: Vec<Commit>,
    /// Why the list of commits, or what they list, may not be all. It is asked only where nothing else speaks against it.
    pub incomplete: Option<String>,
}

impl Push {
    /// The push in our own words.
    ///
    /// # Errors
    /// When it moves from nothing to nothing.
    pub fn normalised(self) -> Result<Parsed, ParseError> {
        let (before, after) = (self.before.0.clone(), self.after.0.clone());
        if before == after {
            // Nothing moved: this is how Gitea and Gogs try a hook, with the head of the default branch on both sides.
            return match after {
                Some(_) => Ok(Parsed::Ping),
                None => Err(ParseError::malformed(
                    "after",
                    "before and after are both zeros; a commit is expected in one of them",
                )),
            };
        }
        let ref_name = self.ref_name.0.clone();
        if let Some(branch) = ref_name.strip_prefix("refs/heads/") {
            Ok(Parsed::Events(vec![Normalised::Pushed(GitPushed {
                branch: branch.to_owned(),
                changed_paths: self.changed_paths(),
                vendor: self.vendor,
                repository: self.repository.normalised()?,
                ref_name,
                before,
                after,
                forced: self.forced,
                pusher: self.pusher,
                commits: summaries(self.commits),
            })]))
        } else if let Some(tag) = ref_name.strip_prefix("refs/tags/") {
            Ok(Parsed::Events(vec![Normalised::Tagged(GitTagged {
                tag: tag.to_owned(),
                vendor: self.vendor,
                repository: self.repository.normalised()?,
                ref_name,
                before,
                after,
                pusher: self.pusher,
            })]))
        } else {
            Ok(Parsed::Ignored {
                reason: format!("{ref_name:?} is neither a branch nor a tag"),
            })
        }
    }

    /// The paths, or why they are not known. A filter on paths lets an unknown pass, so every doubt must end there: a list
    /// that only looks complete would lose a push.
    fn changed_paths(&self) -> ChangedPaths {
        let doubt = if self.after.0.is_none() {
            Some("the branch went away".to_owned())
        } else if self.forced {
            Some("the push was forced, and what it dropped is not listed".to_owned())
        } else if self.commits.is_empty() {
            Some("the push lists no commits".to_owned())
        } else {
            self.incomplete.clone()
        };
        if let Some(reason) = doubt {
            return ChangedPaths::Unknown { reason };
        }
        let mut paths = BTreeSet::new();
        let mut bytes = 0;
        for commit in &self.commits {
            if commit.paths().is_none() {
                let reason = format!("commit {} does not list its paths", commit.id.short());
                return ChangedPaths::Unknown { reason };
            }
            let lists = [&commit.added, &commit.removed, &commit.modified];
            for path in lists.into_iter().flatten().flatten() {
                if paths.insert(path.as_str().to_owned()) {
                    bytes += path.as_str().len();
                }
                if paths.len() > PATHS_MAX || bytes > PATHS_BYTES_MAX {
                    let reason = format!(
                        "the push changes more than {PATHS_MAX} paths, or more than {} KiB of them",
                        PATHS_BYTES_MAX / 1024
                    );
                    return ChangedPaths::Unknown { reason };
                }
            }
        }
        ChangedPaths::Known { paths }
    }
}

/// Kept for people: the newest ones.
fn summaries(commits: Vec<Commit>) -> Vec<CommitSummary> {
    commits
        .into_iter()
        .take(COMMITS_KEPT_MAX)
        .map(|commit| CommitSummary {
            id: commit.id,
            message: commit.message.into_string(),
            author: commit
                .author
                .and_then(|author| author.name)
                .map(Line::into_string)
                .filter(|name| !name.is_empty()),
        })
        .collect()
}

/// A tag that appeared, told by a vendor that does not send a push for it.
#[derive(Debug, Clone)]
pub struct NewTag {
    /// Who sent it.
    pub vendor: Vendor,
    /// Its short name.
    pub tag: String,
    /// What it names.
    pub after: CommitId,
    /// Where.
    pub repository: Repository,
    /// Who made it.
    pub pusher: Option<String>,
}

impl NewTag {
    /// The tag in our own words.
    ///
    /// # Errors
    /// When the repository has no name.
    pub fn normalised(self) -> Result<Parsed, ParseError> {
        Ok(Parsed::Events(vec![Normalised::Tagged(GitTagged {
            vendor: self.vendor,
            repository: self.repository.normalised()?,
            ref_name: format!("refs/tags/{}", self.tag),
            tag: self.tag,
            before: None,
            after: Some(self.after),
            pusher: self.pusher,
        })]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const ZEROS: &str = "0000000000000000000000000000000000000000";

    fn hash(text: &str) -> Hash {
        Hash(CommitId::from_hook(text).expect("a commit or zeros"))
    }

    fn commit(paths: usize) -> serde_json::Value {
        let added: Vec<_> = (0..paths).map(|n| format!("pages/{n}.md")).collect();
        json!({"id": NEW, "message": "Add pages\n\nMore.", "author": {"name": "Ann"}, "added": added})
    }

    fn push(commits: &serde_json::Value) -> Push {
        Push {
            vendor: Vendor::Github,
            ref_name: RefName("refs/heads/main".to_owned()),
            before: hash(OLD),
            after: hash(NEW),
            forced: false,
            repository: serde_json::from_value(json!({
                "full_name": "team/site",
                "html_url": "https://Git.example.test:3000/team/site",
                "clone_url": "https://git.example.test:3000/team/site.git",
                "ssh_url": "",
                "default_branch": null,
            }))
            .expect("a repository"),
            pusher: None,
            commits: serde_json::from_value(commits.clone()).expect("commits"),
            incomplete: None,
        }
    }

    fn pushed(push: Push) -> GitPushed {
        match push.normalised().expect("a push") {
            Parsed::Events(mut events) => match events.pop() {
                Some(Normalised::Pushed(pushed)) => pushed,
                other => panic!("not a push: {other:?}"),
            },
            other => panic!("not a push: {other:?}"),
        }
    }

    fn doubt(push: Push) -> String {
        match pushed(push).changed_paths {
            ChangedPaths::Unknown { reason } => reason,
            ChangedPaths::Known { paths } => panic!("known: {paths:?}"),
        }
    }

    #[test]
    fn a_push_says_what_changed() {
        let pushed = pushed(push(&json!([commit(2)])));
        insta::assert_json_snapshot!(pushed, @r#"
        {
          "vendor": "github",
          "repository": {
            "host": "git.example.test:3000",
            "path": "team/site",
            "clone_urls": [
              "https://git.example.test:3000/team/site.git"
            ],
            "html_url": "https://Git.example.test:3000/team/site"
          },
          "ref_name": "refs/heads/main",
          "branch": "main",
          "before": "1111111111111111111111111111111111111111",
          "after": "2222222222222222222222222222222222222222",
          "forced": false,
          "changed_paths": {
            "are": "known",
            "paths": [
              "pages/0.md",
              "pages/1.md"
            ]
          },
          "commits": [
            {
              "id": "2222222222222222222222222222222222222222",
              "message": "Add pages",
              "author": "Ann"
            }
          ]
        }
        "#);
    }

    #[test]
    fn every_doubt_about_the_paths_makes_them_unknown() {
        let whole = || push(&json!([commit(2)]));
        let mut gone = whole();
        gone.after = hash(ZEROS);
        assert_eq!(doubt(gone), "the branch went away");

        let mut forced = whole();
        forced.forced = true;
        assert_eq!(
            doubt(forced),
            "the push was forced, and what it dropped is not listed"
        );

        let mut at_an_existing_commit = push(&json!([]));
        at_an_existing_commit.before = hash(ZEROS);
        assert_eq!(doubt(at_an_existing_commit), "the push lists no commits");

        let mut truncated = whole();
        truncated.incomplete = Some("cut".to_owned());
        assert_eq!(doubt(truncated), "cut");

        let silent = push(&json!([commit(2), {"id": NEW, "message": "", "author": null}]));
        assert_eq!(doubt(silent), "commit 2222222 does not list its paths");

        let many = push(&json!([commit(PATHS_MAX + 1)]));
        assert_eq!(
            doubt(many),
            "the push changes more than 3000 paths, or more than 256 KiB of them"
        );
    }

    #[test]
    fn as_many_paths_as_are_kept_are_known() {
        let most = pushed(push(&json!([commit(PATHS_MAX), commit(PATHS_MAX)])));
        let ChangedPaths::Known { paths } = most.changed_paths else {
            panic!("unknown");
        };
        assert_eq!(paths.len(), PATHS_MAX);
    }

    #[test]
    fn an_empty_commit_changes_nothing() {
        let empty = pushed(push(&json!([commit(0)])));
        let paths = BTreeSet::new();
        assert_eq!(empty.changed_paths, ChangedPaths::Known { paths });
    }

    #[test]
    fn only_the_newest_commits_are_kept() {
        let many: Vec<_> = (0..COMMITS_KEPT_MAX + 5).map(|_| commit(0)).collect();
        assert_eq!(pushed(push(&json!(many))).commits.len(), COMMITS_KEPT_MAX);
    }

    #[test]
    fn zeros_of_either_length_mean_no_commit() {
        for zeros in [ZEROS, &"0".repeat(64)] {
            let mut created = push(&json!([commit(1)]));
            created.before = hash(zeros);
            assert_eq!(pushed(created).before, None);
        }
    }

    #[test]
    fn a_push_from_nothing_to_nothing_is_malformed() {
        let mut nothing = push(&json!([]));
        (nothing.before, nothing.after) = (hash(ZEROS), hash(ZEROS));
        let error = nothing.normalised().expect_err("it says nothing");
        assert!(error.to_string().contains("both zeros"), "{error}");
    }

    #[test]
    fn a_push_that_moves_nothing_is_a_try() {
        let mut tried = push(&json!([commit(1)]));
        tried.before = tried.after.clone();
        assert_eq!(tried.normalised(), Ok(Parsed::Ping));
    }

    #[test]
    fn a_reference_that_is_neither_branch_nor_tag_is_ignored() {
        let mut notes = push(&json!([]));
        notes.ref_name = RefName("refs/notes/commits".to_owned());
        let ignored = notes.normalised().expect("well-formed");
        let reason = "\"refs/notes/commits\" is neither a branch nor a tag".to_owned();
        assert_eq!(ignored, Parsed::Ignored { reason });
    }

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
}
