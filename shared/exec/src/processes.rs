//! The processes of a run: found by the mark that they carry, or because they descend from its runner; told by their start, so
//! that an id that was given again is not mistaken.

use std::collections::HashMap;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};
use tokio::time::Instant;

/// The variable that every process of a run has in its environment, with the run's mark.
pub const MARK_VARIABLE: &str = "SWITCHYARD_RUN";
/// The argument before the mark of a runner, which does not let others look into its environment.
pub const MARK_ARGUMENT: &str = "--mark";
/// Between two looks at processes that are to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process, as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub pid: Pid,
    parent: i32,
    /// When it began, in the kernel's ticks since the machine did.
    started: u64,
    /// It has ended and is only there to be asked how.
    ended: bool,
    /// It is a runner: the mark stands among its arguments.
    pub is_runner: bool,
}

impl Found {
    /// Sends a signal, unless the process has ended or its id is another's by now.
    pub fn signal(&self, signal: Signal) {
        // A descriptor means one process for ever; whether it is the right one is looked at once it is open.
        let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return;
        };
        let same = read(self.pid.as_raw_nonzero().get())
            .is_some_and(|now| now.started == self.started && !now.ended);
        if same && let Err(error) = pidfd_send_signal(&process, signal) {
            tracing::warn!(pid = %self.pid.as_raw_nonzero(), "a process could not be signalled: {error}");
        }
    }
}

/// What is left of a run although it was told to end at once.
#[derive(Debug, thiserror::Error)]
#[error("{count} processes of the run do not end, the first has the id {first}")]
pub struct Left {
    /// How many.
    pub count: usize,
    /// One of them.
    pub first: i32,
}

/// Which processes are looked for.
#[derive(Debug, Clone)]
pub struct Processes {
    mark: Mark,
    /// Who looks: neither it nor what it is told to spare is found. Its descendants are, with the mark or without.
    own: Option<Pid>,
}

#[derive(Debug, Clone)]
enum Mark {
    Is(String),
    BeginsWith(String),
}

impl Mark {
    fn fits(&self, mark: &[u8]) -> bool {
        match self {
            Self::Is(wanted) => mark == wanted.as_bytes(),
            Self::BeginsWith(wanted) => mark.starts_with(wanted.as_bytes()),
        }
    }
}

impl Processes {
    /// Every process with this mark.
    #[must_use]
    pub fn marked(mark: &str) -> Self {
        Self {
            mark: Mark::Is(mark.to_owned()),
            own: None,
        }
    }

    /// Every process with a mark that begins so.
    #[must_use]
    pub fn marked_beginning(mark: &str) -> Self {
        Self {
            mark: Mark::BeginsWith(mark.to_owned()),
            own: None,
        }
    }

    /// Every process with this mark but the present one, and every one that descends from it.
    #[must_use]
    pub fn of_this_runner(mark: &str) -> Self {
        Self {
            mark: Mark::Is(mark.to_owned()),
            own: Some(rustix::process::getpid()),
        }
    }

    /// Those that run now.
    #[must_use]
    pub fn find(&self) -> Vec<Found> {
        let own = self.own.map(|pid| pid.as_raw_nonzero().get());
        let all: HashMap<i32, Found> = ids().filter_map(|id| Some((id, read(id)?))).collect();
        let mut of_run = Vec::new();
        for (&id, found) in &all {
            // The end of one that has ended is its parent's to ask for.
            if Some(id) == own || found.ended {
                continue;
            }
            let is_runner = self.is_runner(id);
            let descends = own.is_some_and(|own| descends(&all, found, own));
            if is_runner || descends || self.is_marked(id) {
                of_run.push(Found {
                    is_runner,
                    ..*found
                });
            }
        }
        of_run
    }

    fn is_marked(&self, id: i32) -> bool {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| {
            variable
                .strip_prefix(MARK_VARIABLE.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
                .is_some_and(|mark| self.mark.fits(mark))
        })
    }

    fn is_runner(&self, id: i32) -> bool {
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|&byte| byte == 0);
        arguments.any(|argument| argument == MARK_ARGUMENT.as_bytes())
            && arguments.next().is_some_and(|mark| self.mark.fits(mark))
    }

    /// Sends a signal to all of them. Returns how many there were.
    pub fn signal(&self, signal: Signal) -> usize {
        let found = self.find();
        for process in &found {
            process.signal(signal);
        }
        found.len()
    }

    /// Waits until none is left. False when some are after `limit`.
    pub async fn gone_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            if self.find().is_empty() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends all of them: SIGTERM, after `term` SIGKILL, again and again for those that they start meanwhile, until none is left.
    ///
    /// # Errors
    /// When some are left after `limit`: they hang in the kernel, or are not ours to end.
    pub async fn end(&self, term: Duration, limit: Duration) -> Result<(), Left> {
        if self.signal(Signal::TERM) == 0 || self.gone_within(term).await {
            return Ok(());
        }
        let end = Instant::now() + limit;
        loop {
            self.signal(Signal::KILL);
            tokio::time::sleep(LOOK_EVERY).await;
            let left = self.find();
            let Some(first) = left.first() else {
                return Ok(());
            };
            if Instant::now() >= end {
                return Err(Left {
                    count: left.len(),
                    first: first.pid.as_raw_nonzero().get(),
                });
            }
        }
    }
}

/// Puts away children that this process was left by others and that have ended: all but `spared`, whose end somebody waits for.
pub fn put_away_orphans(spared: Option<Pid>) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for id in ids() {
        if let Some(found) = read(id)
            && found.ended
            && found.parent == own
            && Some(found.pid) != spared
        {
            match waitpid(Some(found.pid), WaitOptions::NOHANG) {
                Ok(_) | Err(Errno::CHILD) => {}
                Err(error) => tracing::debug!("a process could not be put away: {error}"),
            }
        }
    }
}

fn ids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `/proc/<pid>/stat`: the name in it may contain anything, so that it is read from its last bracket.
fn read(id: i32) -> Option<Found> {
    let stat = std::fs::read(format!("/proc/{id}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // The 22nd field of all, and the state is the third.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Found {
        pid: Pid::from_raw(id)?,
        parent,
        started,
        ended: matches!(state, "Z" | "X"),
        is_runner: false,
    })
}

fn descends(all: &HashMap<i32, Found>, found: &Found, from: i32) -> bool {
    let mut parent = found.parent;
    // Deeper than processes are ever nested; and while it is looked at, the tree may change.
    for _ in 0..1_000 {
        if parent == from {
            return true;
        }
        match all.get(&parent) {
            Some(next) => parent = next.parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn processes_are_found_by_their_mark_and_ended() {
        let mark = format!("a-mark-{}", std::process::id());
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; (setsid sleep 1000 &) ; sleep 1000"])
            .env(MARK_VARIABLE, &mark)
            .spawn()
            .expect("a shell");
        let processes = Processes::marked(&mark);
        while processes.find().len() < 3 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        assert!(Processes::marked("another").find().is_empty());
        let ended = processes.end(Duration::from_millis(100), Duration::from_secs(10));
        // The shell ends, and is only put away when it is waited for.
        ended.await.expect("all of them end");
        assert!(processes.find().is_empty());
        assert!(!child.wait().expect("our child").success());
    }

    #[test]
    fn an_id_that_is_anothers_by_now_is_not_signalled() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
        let id = i32::try_from(child.id()).expect("an id");
        let found = read(id).expect("it runs");
        let earlier = Found {
            started: found.started - 1,
            ..found
        };
        earlier.signal(Signal::KILL);
        assert!(child.try_wait().expect("our child").is_none());
        found.signal(Signal::KILL);
        child.wait().expect("our child");
    }
}
