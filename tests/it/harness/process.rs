//! Processes of the program.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use host::Env;
use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// The program as it is shipped.
const PROGRAM: &str = env!("CARGO_BIN_EXE_switchyard-under-test");
/// How long a process may take to say that it is ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// A process that a test started. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// Where the log of this start begins, in bytes.
    from: u64,
}

impl Process {
    /// Where the program is.
    pub(crate) fn program() -> &'static Path {
        Path::new(PROGRAM)
    }

    /// Starts the program with nothing of the test's environment but its path. What it says is appended to `log`.
    pub(crate) fn start(
        log: &Path,
        arguments: &[&str],
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log can be written");
        let from = file.metadata().expect("the log is there").len();
        let also = file.try_clone().expect("a file can be written twice");
        // A program needs it to find Postgres and git.
        let own = Env::of_process();
        let path = own.get("PATH").unwrap_or_default();
        let child = Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("NO_COLOR", "1")
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(also)
            .spawn()
            .expect("the program starts");
        Self {
            child,
            log: log.to_owned(),
            from,
        }
    }

    /// What this process has said so far.
    pub(crate) fn said(&self) -> String {
        let all = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.from)
            .unwrap_or_default()
            .min(all.len());
        String::from_utf8_lossy(&all[from..]).into_owned()
    }

    /// Waits until it says something, and returns the line in which it does.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        let log = self.log.clone();
        until(&format!("{text:?} in {}", log.display()), READY_MAX, || {
            let said = self.said();
            let line = said
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            if line.is_none() {
                let ended = self.child.try_wait().expect("our child can be waited for");
                assert!(ended.is_none(), "it ended instead: {ended:?}\n{said}");
            }
            async move { line }
        })
        .await
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("ids of processes are small")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id()).expect("ids of processes are not zero");
        kill_process(pid, signal).expect("our own process can be signalled");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
