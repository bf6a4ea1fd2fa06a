//! The push, and what it says about branches and tags.

use std::collections::BTreeSet;

use model::Vendor;
use model::git::{
    ChangedPaths, CommitId, CommitSummary, GitBranch, GitPushed, GitTagged, RefAction,
};
use serde::Deserialize;

use super::{Hash, Message, RefName, ShortName};
use crate::{Line, Name, Normalised, ParseError, Parsed, Text};

/// How many commits of a push are kept, for people.
const COMMITS_KEPT_MAX: usize = 20;

/// How many changed paths are kept; a push of more counts as one that does not say.
const PATHS_MAX: usize = 3_000;

/// How many bytes the kept paths may have together.
const PATHS_BYTES_MAX: usize = 256 * 1024;

/// A commit of a push, as GitHub invented it. A vendor that tells less leaves out what it does not tell.
#[derive(Debug, Clone, Deserialize)]
pub struct Commit {
    /// The commit.
    pub id: CommitId,
    /// Its message.
    pub message: Message,
    /// Who wrote it.
    pub author: Option<Author>,
    #[serde(default)]
    added: Option<Vec<Path>>,
    #[serde(default)]
    removed: Option<Vec<Path>>,
    #[serde(default)]
    modified: Option<Vec<Path>>,
}

/// No length of its own is asked of a path: they are counted together.
type Path = Text<{ usize::MAX }>;

/// Who wrote a commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Author {
    name: Option<Line<200>>,
}

impl Commit {
    /// A commit of a vendor that lists no paths.
    #[must_use]
    pub fn without_paths(id: CommitId, message: Message, author: Option<Line<200>>) -> Self {
        Self {
            id,
            message,
            author: author.map(|name| Author { name: Some(name) }),
            added: None,
            removed: None,
            modified: None,
        }
    }

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

/// Who pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pusher {
    /// What the vendor calls them.
    pub id: Option<String>,
    /// Their name, where that is an id and nothing for people.
    pub name: Option<String>,
}

impl Pusher {
    /// Somebody who is called what they call themselves.
    #[must_use]
    pub fn login(login: Name<255>) -> Self {
        Self {
            id: login.filled(),
            name: None,
        }
    }
}

/// A push of one reference, read from a vendor's payload.
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
    pub repository: model::git::Repository,
    /// Who pushed.
    pub pusher: Pusher,
    /// The commits, newest first.
    pub commits: Vec<Commit>,
    /// Why the list of commits may not be all, where nothing else says so.
    pub commits_missing: Option<String>,
    /// Why the paths that the commits list may not be all.
    pub paths_missing: Option<String>,
    /// Whether the vendor tells of new and deleted branches in no other words, so that the push has to.
    pub tells_of_branches: bool,
}

/// What one push says.
enum Told {
    Facts(Vec<Normalised>),
    /// Nothing moved: this is how Gitea and Gogs try a hook, with the head of the default branch on both sides.
    Try,
    /// Neither a branch nor a tag.
    Other(RefName),
}

impl Push {
    /// The push in our own words.
    ///
    /// # Errors
    /// When it moves from nothing to nothing.
    pub fn normalised(self) -> Result<Parsed, ParseError> {
        together(vec![self])
    }

    fn told(self) -> Result<Told, ParseError> {
        let (before, after) = (self.before.0.clone(), self.after.0.clone());
        if before == after {
            return match after {
                Some(_) => Ok(Told::Try),
                None => Err(ParseError::malformed(
                    "after",
                    "before and after are both zeros; a commit is expected in one of them",
                )),
            };
        }
        if let Some(branch) = self.ref_name.branch().map(str::to_owned) {
            Ok(Told::Facts(self.of_branch(branch)))
        } else if let Some(tag) = self.ref_name.tag() {
            Ok(Told::Facts(vec![Normalised::Tagged(GitTagged {
                head_unknown: false,
                tag: tag.to_owned(),
                vendor: self.vendor,
                repository: self.repository,
                ref_name: self.ref_name.as_str().to_owned(),
                before,
                after,
                commit: None,
                announced: None,
                pusher: self.pusher.id,
                pusher_name: self.pusher.name,
            })]))
        } else {
            Ok(Told::Other(self.ref_name))
        }
    }

    fn of_branch(self, branch: String) -> Vec<Normalised> {
        let pushed = GitPushed {
            head_unknown: false,
            branch,
            changed_paths: self.changed_paths(),
            skip_asked: self.skip_asked(),
            vendor: self.vendor,
            repository: self.repository,
            ref_name: self.ref_name.as_str().to_owned(),
            before: self.before.0,
            after: self.after.0,
            forced: self.forced,
            pusher: self.pusher.id,
            pusher_name: self.pusher.name,
            commits: summaries(self.commits),
        };
        let at = |at: &Option<CommitId>| GitBranch {
            vendor: pushed.vendor,
            repository: pushed.repository.clone(),
            ref_name: pushed.ref_name.clone(),
            branch: pushed.branch.clone(),
            at: at.clone(),
            pusher: pushed.pusher.clone(),
            pusher_name: pushed.pusher_name.clone(),
        };
        let also = match pushed.action() {
            RefAction::Created if self.tells_of_branches => {
                Some(Normalised::BranchCreated(at(&pushed.after)))
            }
            RefAction::Deleted if self.tells_of_branches => {
                Some(Normalised::BranchDeleted(at(&pushed.before)))
            }
            RefAction::Created | RefAction::Moved | RefAction::Deleted => None,
        };
        let mut facts = vec![Normalised::Pushed(pushed)];
        facts.extend(also);
        facts
    }

    /// Whether every commit asks that nothing be started. A list that may not be all cannot speak for the rest.
    fn skip_asked(&self) -> bool {
        self.commits_missing.is_none()
            && !self.commits.is_empty()
            && self
                .commits
                .iter()
                .all(|commit| commit.message.skip_asked())
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
            self.paths_missing
                .as_ref()
                .or(self.commits_missing.as_ref())
                .cloned()
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

/// Pushes of several references that came in one delivery.
///
/// # Errors
/// As [`Push::normalised`], for any of them.
pub fn together(pushes: Vec<Push>) -> Result<Parsed, ParseError> {
    let mut facts = Vec::new();
    let mut tried = false;
    let mut others = Vec::new();
    for push in pushes {
        match push.told()? {
            Told::Facts(told) => facts.extend(told),
            Told::Try => tried = true,
            Told::Other(ref_name) => others.push(ref_name),
        }
    }
    Ok(match (facts.is_empty(), others.first()) {
        (false, _) => Parsed::Events(facts),
        (true, Some(other)) => Parsed::Ignored {
            reason: format!("{:?} is neither a branch nor a tag", other.as_str()),
        },
        (true, None) if tried => Parsed::Ping,
        (true, None) => Parsed::Ignored {
            reason: "the push moves no reference".to_owned(),
        },
    })
}

/// Kept for people: the newest ones.
fn summaries(commits: Vec<Commit>) -> Vec<CommitSummary> {
    commits
        .into_iter()
        .take(COMMITS_KEPT_MAX)
        .map(|commit| CommitSummary {
            id: commit.id,
            message: commit.message.line().to_owned(),
            author: commit
                .author
                .and_then(|author| author.name)
                .map(Line::into_string)
                .filter(|name| !name.is_empty()),
        })
        .collect()
}

/// What a hook can tell of in so many words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefType {
    /// A branch.
    Branch,
    /// A tag.
    Tag,
}

/// A branch or a tag that a hook tells of in so many words: GitHub's `create` and `delete`, which others have too.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Who sent it.
    pub vendor: Vendor,
    /// Whether it is new or gone.
    pub action: RefAction,
    /// What it is.
    pub ref_type: RefType,
    /// Its short name.
    pub name: ShortName,
    /// What it names or named, when the vendor says so.
    pub at: Option<CommitId>,
    /// Where.
    pub repository: model::git::Repository,
    /// Who did it.
    pub pusher: Pusher,
    /// Whether the vendor sends a push of a tag as well, which is the one that starts things.
    pub pushes_tags: bool,
}

impl Announced {
    /// The branch or tag in our own words.
    #[must_use]
    pub fn normalised(self) -> Parsed {
        let deleted = self.action == RefAction::Deleted;
        let fact = match self.ref_type {
            RefType::Branch => {
                let branch = GitBranch {
                    vendor: self.vendor,
                    repository: self.repository,
                    ref_name: RefName::of_branch(&self.name).as_str().to_owned(),
                    branch: self.name.into_string(),
                    at: self.at,
                    pusher: self.pusher.id,
                    pusher_name: self.pusher.name,
                };
                if deleted {
                    Normalised::BranchDeleted(branch)
                } else {
                    Normalised::BranchCreated(branch)
                }
            }
            RefType::Tag => {
                // Nothing else tells of it, and it must not pass for a tag that went away.
                let head_unknown = !self.pushes_tags && !deleted && self.at.is_none();
                let (before, after) = if deleted {
                    (self.at, None)
                } else {
                    (None, self.at)
                };
                Normalised::Tagged(GitTagged {
                    head_unknown,
                    vendor: self.vendor,
                    repository: self.repository,
                    ref_name: RefName::of_tag(&self.name).as_str().to_owned(),
                    tag: self.name.into_string(),
                    before,
                    after,
                    commit: None,
                    announced: (self.pushes_tags || head_unknown).then_some(self.action),
                    pusher: self.pusher.id,
                    pusher_name: self.pusher.name,
                })
            }
        };
        Parsed::Events(vec![fact])
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

    fn ref_name(text: &str) -> RefName {
        serde_json::from_value(json!(text)).expect("the name of a reference")
    }

    fn commit(paths: usize) -> serde_json::Value {
        let added: Vec<_> = (0..paths).map(|n| format!("pages/{n}.md")).collect();
        json!({"id": NEW, "message": "Add pages\n\nMore.", "author": {"name": "Ann"}, "added": added})
    }

    fn push(commits: &serde_json::Value) -> Push {
        Push {
            vendor: Vendor::Github,
            ref_name: ref_name("refs/heads/main"),
            before: hash(OLD),
            after: hash(NEW),
            forced: false,
            repository: serde_json::from_value::<crate::git::Repository>(json!({
                "full_name": "team/site",
                "html_url": "https://Git.example.test:3000/team/site",
                "clone_url": "https://git.example.test:3000/team/site.git",
                "ssh_url": "",
                "default_branch": null,
            }))
            .expect("a repository")
            .normalised(),
            pusher: Pusher::default(),
            commits: serde_json::from_value(commits.clone()).expect("commits"),
            commits_missing: None,
            paths_missing: None,
            tells_of_branches: false,
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
        truncated.commits_missing = Some("cut".to_owned());
        assert_eq!(doubt(truncated), "cut");

        let mut silent = whole();
        silent.paths_missing = Some("not told".to_owned());
        assert_eq!(doubt(silent), "not told");

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
        notes.ref_name = ref_name("refs/notes/commits");
        let ignored = notes.normalised().expect("well-formed");
        let reason = "\"refs/notes/commits\" is neither a branch nor a tag".to_owned();
        assert_eq!(ignored, Parsed::Ignored { reason });
    }

    #[test]
    fn a_push_asks_to_skip_when_every_commit_does() {
        let skipping = |messages: &[&str]| {
            let commits: Vec<_> = messages
                .iter()
                .map(|message| json!({"id": NEW, "message": message, "added": []}))
                .collect();
            push(&json!(commits))
        };
        assert!(pushed(skipping(&["a [skip ci]", "b\n\n[ci skip]"])).skip_asked);
        assert!(!pushed(skipping(&["a [skip ci]", "b"])).skip_asked);
        assert!(!pushed(skipping(&[])).skip_asked);
        let mut cut = skipping(&["a [skip ci]"]);
        cut.commits_missing = Some("cut".to_owned());
        assert!(!pushed(cut).skip_asked, "the rest was not seen");
        let mut pathless = skipping(&["a [skip ci]"]);
        pathless.paths_missing = Some("not told".to_owned());
        assert!(pushed(pathless).skip_asked, "paths do not matter here");
    }

    #[test]
    fn pushes_that_come_together_are_told_in_their_order() {
        let mut created = push(&json!([commit(1)]));
        created.before = hash(ZEROS);
        created.tells_of_branches = true;
        let mut gone = push(&json!([]));
        gone.after = hash(ZEROS);
        gone.tells_of_branches = true;
        let mut tag = push(&json!([]));
        tag.ref_name = ref_name("refs/tags/v1");
        let mut notes = push(&json!([]));
        notes.ref_name = ref_name("refs/notes/commits");
        let mut still = push(&json!([]));
        still.before = still.after.clone();
        let all = vec![created, gone, notes.clone(), still.clone(), tag];
        let Ok(Parsed::Events(facts)) = together(all) else {
            panic!("they are facts");
        };
        let kinds: Vec<_> = facts
            .iter()
            .map(|fact| match fact {
                Normalised::Pushed(_) => "pushed",
                Normalised::BranchCreated(branch) => {
                    assert_eq!(branch.at, hash(NEW).0);
                    "created"
                }
                Normalised::BranchDeleted(branch) => {
                    assert_eq!(branch.at, hash(OLD).0);
                    "deleted"
                }
                Normalised::Tagged(_) => "tagged",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["pushed", "created", "pushed", "deleted", "tagged"]);
        assert_eq!(together(vec![still]), Ok(Parsed::Ping));
        for nothing in [vec![notes], Vec::new()] {
            assert!(matches!(together(nothing), Ok(Parsed::Ignored { .. })));
        }
    }

    #[test]
    fn what_a_hook_tells_in_so_many_words_is_told_as_such() {
        let told = |ref_type, action, pushes_tags| {
            let announced = Announced {
                vendor: Vendor::Gitea,
                action,
                ref_type,
                name: serde_json::from_value(json!("v1")).expect("a name"),
                at: hash(NEW).0,
                repository: push(&json!([])).repository,
                pusher: Pusher::default(),
                pushes_tags,
            };
            match announced.normalised() {
                Parsed::Events(mut events) => events.pop().expect("one event"),
                other => panic!("{other:?}"),
            }
        };
        let Normalised::Tagged(tag) = told(RefType::Tag, RefAction::Deleted, true) else {
            panic!("a tag");
        };
        assert_eq!((tag.before, tag.after), (hash(NEW).0, None));
        assert_eq!(tag.announced, Some(RefAction::Deleted));
        let Normalised::Tagged(tag) = told(RefType::Tag, RefAction::Created, false) else {
            panic!("a tag");
        };
        assert_eq!((tag.after, tag.announced), (hash(NEW).0, None));
        let Normalised::BranchCreated(branch) = told(RefType::Branch, RefAction::Created, true)
        else {
            panic!("a branch");
        };
        assert_eq!(branch.ref_name, "refs/heads/v1");
        assert!(matches!(
            told(RefType::Branch, RefAction::Deleted, true),
            Normalised::BranchDeleted(_)
        ));
    }
}
