use crate::StopError;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Child;

/// A fast shutdown rolls open transactions back and writes a checkpoint.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// An immediate one writes nothing; the next start recovers.
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(6);
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often we look whether a server that is not our child still runs.
const ADOPTED_POLL: Duration = Duration::from_millis(250);

/// A running server's first process.
#[derive(Debug)]
pub(crate) struct Postmaster {
    pid: i32,
    pgdata: PathBuf,
    /// `None`: adopted from a run before ours.
    child: Option<Child>,
}

impl Postmaster {
    pub(crate) fn spawned(child: Child, pgdata: &Path) -> io::Result<Self> {
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .ok_or_else(|| io::Error::other("the process ended at once"))?;
        Ok(Self {
            pid,
            pgdata: pgdata.to_owned(),
            child: Some(child),
        })
    }

    pub(crate) fn adopted(pid: i32, pgdata: &Path) -> Self {
        Self {
            pid,
            pgdata: pgdata.to_owned(),
            child: None,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it runs, without waiting.
    pub(crate) fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => is_postmaster_of(self.pid, &self.pgdata),
        }
    }

    /// Returns once it has ended. May be dropped and called again.
    pub(crate) async fn exited(&mut self) {
        match &mut self.child {
            Some(child) => {
                if let Err(error) = child.wait().await {
                    // Only when somebody else reaped it, which is as good an end as any.
                    tracing::debug!(pid = self.pid, error = %error, "cannot wait for the database server");
                }
            }
            None => {
                while is_postmaster_of(self.pid, &self.pgdata) {
                    tokio::time::sleep(ADOPTED_POLL).await;
                }
            }
        }
    }

    /// Stops it, more and more firmly. Fine when it has ended already.
    pub(crate) async fn stop(&mut self) -> Result<(), StopError> {
        let steps = [
            (Signal::INT, FAST_STOP_TIMEOUT),
            (Signal::QUIT, IMMEDIATE_STOP_TIMEOUT),
            (Signal::KILL, KILL_TIMEOUT),
        ];
        for (signal, patience) in steps {
            if !self.is_running() {
                return Ok(());
            }
            self.signal(signal)?;
            if tokio::time::timeout(patience, self.exited()).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(
                pid = self.pid,
                signal = ?signal,
                waited_secs = patience.as_secs(),
                "the database server did not stop"
            );
        }
        Err(StopError::StillRunning { pid: self.pid })
    }

    fn signal(&self, signal: Signal) -> Result<(), StopError> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(source) => Err(StopError::Signal {
                pid: self.pid,
                source: source.into(),
            }),
        }
    }
}

/// What we read of `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: i32,
    /// Not there in the first moments of a start.
    pub(crate) port: Option<u16>,
}

impl PidFile {
    pub(crate) fn path(pgdata: &Path) -> PathBuf {
        pgdata.join("postmaster.pid")
    }

    /// `None` when there is none, or it is empty, as after a full disk.
    pub(crate) fn read(pgdata: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(Self::path(pgdata)) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lines: process id, data folder, start time, port, and more that we do not need.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 0)?;
        let port = lines.nth(2).and_then(|line| line.trim().parse().ok());
        Some(Self { pid, port })
    }
}

/// Whether the process is the server of this data folder: the system may have given the id in an old `postmaster.pid`
/// to somebody else, who must not be signalled. False for a zombie.
pub(crate) fn is_postmaster_of(pid: i32, pgdata: &Path) -> bool {
    if cfg!(target_os = "linux") {
        // A postmaster's working folder is its data folder.
        return std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == pgdata);
    }
    let output = std::process::Command::new("/bin/ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output();
    output.is_ok_and(|output| {
        let command = String::from_utf8_lossy(&output.stdout).into_owned();
        command.contains(&format!("-D {} ", pgdata.display()))
    })
}

/// Whether there is any process of this id.
pub(crate) fn process_exists(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_and_the_port_are_read_from_the_first_lines() {
        let text = "4711\n/data/postgres\n1764000000\n20123\n\n127.0.0.1\n  1 2\nready   \n";
        assert_eq!(
            PidFile::parse(text),
            Some(PidFile {
                pid: 4711,
                port: Some(20_123)
            })
        );
        assert_eq!(
            PidFile::parse("4711\n/data\n"),
            Some(PidFile {
                pid: 4711,
                port: None
            })
        );
    }

    #[test]
    fn an_empty_or_broken_file_names_nobody() {
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("-4711\n"), None);
    }

    #[test]
    fn a_process_that_works_elsewhere_is_not_the_postmaster() -> io::Result<()> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        assert!(process_exists(pid));
        assert!(!is_postmaster_of(pid, Path::new("/nowhere")));
        Ok(())
    }
}
