//! A Git repository that people push to.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A repository with a work tree, in a folder of its own: `owner/site.git` below it.
#[derive(Debug)]
pub struct GitOrigin {
    root: tempfile::TempDir,
}

impl GitOrigin {
    /// Makes one whose branch is `main`, without commits.
    ///
    /// # Errors
    /// When `git` fails.
    pub fn new() -> io::Result<Self> {
        let origin = Self {
            root: tempfile::tempdir()?,
        };
        std::fs::create_dir_all(origin.path("owner/site.git"))?;
        origin.git(&["init", "--quiet", "--initial-branch=main", "."])?;
        Ok(origin)
    }

    /// A path below the folder.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.path("owner/site.git")
    }

    /// What `git` says to these arguments.
    ///
    /// # Errors
    /// When it fails.
    pub fn git(&self, arguments: &[&str]) -> io::Result<String> {
        self.git_with_input(arguments, b"")
    }

    /// The same with something to read.
    ///
    /// # Errors
    /// When it fails.
    pub fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> io::Result<String> {
        let mut child = Command::new("git")
            .args([
                "-c",
                "user.name=Tester",
                "-c",
                "user.email=tester@example.com",
            ])
            .args(arguments)
            .current_dir(self.repository())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", self.root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(input)?;
        drop(stdin);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("git {arguments:?}: {said}")));
        }
        let said = String::from_utf8(output.stdout).map_err(io::Error::other)?;
        Ok(said.trim().to_owned())
    }

    /// Commits these files to what is checked out, and names the commit.
    ///
    /// # Errors
    /// When `git` fails.
    pub fn commit(&self, files: &[(&str, &str)]) -> io::Result<String> {
        for (name, text) in files {
            let path = self.repository().join(name);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, text)?;
        }
        self.git(&["add", "--all"])?;
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "A change",
        ])?;
        self.git(&["rev-parse", "HEAD"])
    }
}
