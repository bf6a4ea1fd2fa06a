//! A push as Gitea tells it, made from a repository.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::git::Git;

/// How many commits are listed, newest first: Gitea's `FEED_MAX_COMMIT_NUM`.
const COMMITS_MAX: usize = 5;

/// The body of a `push`.
#[derive(Debug, Serialize)]
pub(crate) struct Payload {
    #[serde(rename = "ref")]
    ref_name: String,
    before: String,
    after: String,
    commits: Vec<Commit>,
    total_commits: usize,
    repository: Repository,
    pusher: Person,
    sender: Person,
}

#[derive(Debug, Serialize)]
struct Commit {
    id: String,
    message: String,
    timestamp: String,
    author: Author,
    added: Vec<String>,
    removed: Vec<String>,
    modified: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Author {
    name: String,
    email: String,
}

#[derive(Debug, Serialize)]
struct Repository {
    name: String,
    full_name: String,
    clone_url: String,
    default_branch: String,
}

#[derive(Debug, Clone, Serialize)]
struct Person {
    login: String,
}

/// One line of what a `post-receive` hook reads: a reference and where it moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) ref_name: String,
}

impl Move {
    /// Reads `<old> <new> <reference>`.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (before, rest) = line.split_once(' ')?;
        let (after, ref_name) = rest.split_once(' ')?;
        let hash = |text: &str| {
            matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        (hash(before) && hash(after) && ref_name.starts_with("refs/")).then(|| Self {
            before: before.to_owned(),
            after: after.to_owned(),
            ref_name: ref_name.to_owned(),
        })
    }

    /// The branch's or tag's own name.
    pub(crate) fn short(&self) -> &str {
        let name = self.ref_name.as_str();
        let kinds = ["refs/heads/", "refs/tags/", "refs/"];
        kinds
            .into_iter()
            .find_map(|kind| name.strip_prefix(kind))
            .unwrap_or(name)
    }

    fn commits(&self) -> Option<String> {
        let none = |hash: &str| hash.bytes().all(|b| b == b'0');
        match (none(&self.before), none(&self.after)) {
            (_, true) => None,
            // A new branch: all that it has, of which the newest are listed.
            (true, false) => Some(self.after.clone()),
            (false, false) => Some(format!("{}..{}", self.before, self.after)),
        }
    }
}

/// Who pushed where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed<'a> {
    /// `owner/name`.
    pub(crate) repository: &'a str,
    /// The account.
    pub(crate) pusher: &'a str,
}

impl Payload {
    /// Describes what moved in the bare repository of a folder.
    pub(crate) async fn of(
        git: &Git,
        folder: &Path,
        moved: &Move,
        pushed: Pushed<'_>,
    ) -> anyhow::Result<Self> {
        let mut commits = Vec::new();
        let mut total_commits = 0;
        if let Some(range) = moved.commits() {
            let listed = git.run(folder, &["rev-list", "--count", &range]).await?;
            total_commits = listed
                .out
                .trim()
                .parse()
                .context("git did not count the commits")?;
            let most = format!("--max-count={COMMITS_MAX}");
            let listed = git.run(folder, &["rev-list", &most, &range]).await?;
            for id in listed.out.lines() {
                commits.push(Commit::of(git, folder, id).await?);
            }
        }
        let head = git
            .run(folder, &["symbolic-ref", "--short", "HEAD"])
            .await?;
        let person = Person {
            login: pushed.pusher.to_owned(),
        };
        let name = pushed
            .repository
            .rsplit_once('/')
            .map_or(pushed.repository, |(_, name)| name);
        Ok(Self {
            ref_name: moved.ref_name.clone(),
            before: moved.before.clone(),
            after: moved.after.clone(),
            commits,
            total_commits,
            repository: Repository {
                name: name.to_owned(),
                full_name: pushed.repository.to_owned(),
                clone_url: format!("file://{}", folder.display()),
                default_branch: head.out.trim().to_owned(),
            },
            pusher: person.clone(),
            sender: person,
        })
    }
}

impl Commit {
    async fn of(git: &Git, folder: &Path, id: &str) -> anyhow::Result<Self> {
        let format = "--format=%an%x00%ae%x00%cI%x00%B";
        let head = git.run(folder, &["log", "-1", format, id]).await?.out;
        let mut fields = head.splitn(4, '\0').map(str::to_owned);
        let mut field = || fields.next().unwrap_or_default();
        let author = Author {
            name: field(),
            email: field(),
        };
        let (timestamp, message) = (field(), field());
        let changes = git
            .run(
                folder,
                &[
                    "log",
                    "-1",
                    "--first-parent",
                    "-m",
                    "--no-renames",
                    "--name-status",
                    "--format=",
                    "-z",
                    id,
                ],
            )
            .await?
            .out;
        let mut commit = Self {
            id: id.to_owned(),
            message,
            timestamp,
            author,
            added: Vec::new(),
            removed: Vec::new(),
            modified: Vec::new(),
        };
        let mut words = changes.split('\0').filter(|word| !word.is_empty());
        while let (Some(status), Some(path)) = (words.next(), words.next()) {
            let list = match status.trim() {
                "A" => &mut commit.added,
                "D" => &mut commit.removed,
                _ => &mut commit.modified,
            };
            list.push(path.to_owned());
        }
        Ok(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const ZEROS: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn a_line_of_the_hook_is_read_whole_or_not_at_all() {
        let moved = Move::read(&format!("{OLD} {NEW} refs/heads/feature/a")).expect("it is one");
        assert_eq!(moved.short(), "feature/a");
        for bad in [
            "",
            "a b c",
            &format!("{OLD} {NEW}"),
            &format!("{OLD} {NEW} main"),
        ] {
            assert_eq!(Move::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_branch_that_goes_away_lists_nothing() {
        let commits = |before: &str, after: &str| {
            Move::read(&format!("{before} {after} refs/heads/main")).and_then(|it| it.commits())
        };
        assert_eq!(commits(OLD, ZEROS), None);
        assert_eq!(commits(ZEROS, NEW), Some(NEW.to_owned()));
        assert_eq!(commits(OLD, NEW), Some(format!("{OLD}..{NEW}")));
    }
}
