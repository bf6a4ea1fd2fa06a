//! `switchyard demo` on a folder of its own.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Process, client};

/// How long it may take to leave.
const END_MAX: Duration = Duration::from_secs(30);

/// A demo that has shown its push and stays up. It ends, with its Postgres, when it is dropped.
pub(super) struct Demo {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Demo {
    pub(super) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("switchyard-it-demo-")
            .tempdir()
            .expect("a folder");
        // Postgres does not run as root, and must be able to pass.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        drop(listener);
        let data = folder.path().join("data");
        let (data, number) = (
            data.to_str().expect("our folders are text"),
            port.to_string(),
        );
        let arguments = ["demo", "--data-dir", data, "--port", &number];
        let mut process = Process::start(&folder.path().join("log"), &arguments, []);
        process.says("It stays up").await;
        Self {
            process,
            port,
            folder,
        }
    }

    /// The link that was printed at the start.
    pub(super) async fn sign_in_link(&mut self) -> String {
        let line = self.process.says("/sign-in?token=").await;
        let link = line
            .split_whitespace()
            .find(|word| word.starts_with("http"));
        link.expect("a link").to_owned()
    }

    /// A folder that goes away with it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A page of the portal.
    pub(super) fn portal(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// The site that the demo's pushes go to.
    pub(super) fn site(&self) -> String {
        format!("http://hello.localhost:{}/", self.port)
    }

    /// Its first page as it is served. Not every resolver knows the name, so the address is dialled with it.
    pub(super) async fn page(&self) -> String {
        let answer = client()
            .get(format!("http://127.0.0.1:{}/", self.port))
            .header("host", format!("hello.localhost:{}", self.port))
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.text().await.expect("a page")
    }

    /// Writes something new onto the first page, commits and pushes it.
    pub(super) fn push(&self, mark: &str) {
        let work = self.folder.path().join("data/demo/work");
        let mut page = File::options()
            .append(true)
            .open(work.join("index.md"))
            .expect("the demo's page");
        write!(page, "\n\n{mark}\n").expect("a line");
        git(&work, &["commit", "--quiet", "--all", "--message", mark]);
        git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// Makes whoever reads the branch wait: a slow repository.
    pub(super) fn hold_branch(&self) -> HeldBranch {
        let branch = self
            .folder
            .path()
            .join("data/demo/site.git/refs/heads/main");
        let (aside, pipe) = (
            branch.with_extension("aside"),
            self.folder.path().join("pipe"),
        );
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        std::fs::rename(&branch, &aside).expect("a branch");
        std::fs::hard_link(&pipe, &branch).expect("a name for the pipe");
        HeldBranch {
            branch,
            aside,
            pipe,
        }
    }
}

/// Runs git as somebody.
pub(super) fn git(folder: &Path, arguments: &[&str]) {
    let run = Command::new("git")
        .args([
            "-c",
            "user.name=Reader",
            "-c",
            "user.email=reader@example.test",
        ])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("git starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "git {arguments:?}: {said}");
}

/// A branch that nobody can read.
pub(super) struct HeldBranch {
    branch: PathBuf,
    aside: PathBuf,
    pipe: PathBuf,
}

impl HeldBranch {
    /// Puts the branch back, then tells it to whoever waits.
    pub(super) fn let_go(self) {
        let commit = std::fs::read(&self.aside).expect("a branch");
        std::fs::rename(&self.aside, &self.branch).expect("a branch");
        // Opening waits for the reader, who is there: the log said so.
        let mut pipe = File::options()
            .write(true)
            .open(&self.pipe)
            .expect("a pipe");
        pipe.write_all(&commit).expect("the reader waits");
        drop(pipe);
        std::fs::remove_file(&self.pipe).expect("a pipe");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let postmaster = self.folder.path().join("data/postgres/postmaster.pid");
        if let Some(pid) = Pid::from_raw(self.process.id()) {
            kill_process(pid, Signal::INT).ok();
        }
        let end = Instant::now() + END_MAX;
        while postmaster.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
