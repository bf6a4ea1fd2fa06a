//! Processes of the programs that lie beside this one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A process. Killed when it is dropped.
pub struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts a program with nothing of our environment but its path, and waits until it says this.
    pub async fn start(
        program: &str,
        argument: Option<&str>,
        settings: &[(&str, String)],
        log: &Path,
        ready: &str,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name(program);
        let file = File::options().create(true).append(true).open(log)?;
        let child = Command::new(&program)
            .args(argument)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOST_LOOPBACK", "1")
            .env("RUST_LOG", "info")
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let id = child.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("a process has an id")?;
        let mut process = Self {
            child,
            pid,
            log: log.to_owned(),
        };
        let until = Instant::now() + READY_TIMEOUT;
        while !process.said()?.contains(ready) {
            anyhow::ensure!(
                process.child.try_wait()?.is_none() && Instant::now() < until,
                "{} does not get ready:\n{}",
                program.display(),
                process.said()?
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(process)
    }

    fn said(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// As it stands in the ledger.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Any other signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it has ended, and returns whether it did so well.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<bool> {
        let status = tokio::time::timeout(within, self.child.wait())
            .await
            .with_context(|| format!("it did not end within {} s", within.as_secs()))??;
        Ok(status.success())
    }
}
