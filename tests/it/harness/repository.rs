//! Bare repositories, made by git itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A bare repository with the branch `main`.
pub(crate) struct Repository {
    path: PathBuf,
    /// `owner/name`, as a trigger's filter knows it.
    pub(crate) name: String,
}

/// A commit that moved the branch.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Repository {
    /// Makes an empty one below a folder.
    pub(crate) fn new(below: &Path, name: &str) -> Self {
        let path = below.join(format!("{}.git", name.replace('/', "-")));
        std::fs::create_dir_all(&path).expect("a folder");
        git(
            &path,
            &["init", "--quiet", "--bare", "--initial-branch=main"],
            "",
        );
        Self {
            path,
            name: name.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a commit on `main` whose only page is `page`.
    pub(crate) fn commit(&self, page: &str) -> Commit {
        let before = self.head();
        let parent = match &before {
            Some(_) => "from refs/heads/main^0\n",
            None => "",
        };
        let size = page.len();
        let stream = format!(
            "commit refs/heads/main\ncommitter Ann <ann@example.test> 1790000000 +0000\ndata 4\nPage\n{parent}\
             M 100644 inline index.html\ndata {size}\n{page}\n"
        );
        git(&self.path, &["fast-import", "--quiet"], &stream);
        Commit {
            before: before.unwrap_or_else(|| "0".repeat(40)),
            after: self.head().expect("there is a commit now"),
        }
    }

    /// Where `main` is.
    pub(crate) fn head(&self) -> Option<String> {
        let head = std::fs::read_to_string(self.path.join("refs/heads/main")).ok()?;
        Some(head.trim().to_owned())
    }
}

/// Runs git with nothing of the machine's or the person's configuration.
fn git(folder: &Path, arguments: &[&str], input: &str) {
    let mut child = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("git is installed");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(input.as_bytes()).expect("git reads");
    drop(stdin);
    let ended = child.wait().expect("git ends");
    assert!(ended.success(), "git {arguments:?}: {ended}");
}
