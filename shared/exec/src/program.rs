//! Runs one program to its end, and sees to it that nothing of it is left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use model::LogStream;
use model::run::{Signal as Asked, StopLadder};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Redactor;
use crate::lines::{Line, Splitter};
use crate::processes::{Left, MARK_VARIABLE, Processes, put_away_orphans};
use crate::shim::{Hold, SHIM_COMMAND};

/// What is read of a pipe at once, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How many such pieces wait to be taken; then the program waits.
pub const PIECES_MAX: usize = 16;
/// How long processes may take to end that were killed.
const KILL_MAX: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL to what a program that ended by itself leaves behind.
const LEFT_BEHIND_TERM: Duration = Duration::from_millis(500);
/// How long a pipe is still read whose writers should be gone: somebody outside may hold it.
const REST_MAX: Duration = Duration::from_secs(5);
/// Where programs are looked for when nothing else is known.
const PATH_OF_OLD: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// What all programs of a run share.
#[derive(Debug, Clone)]
pub struct Place {
    /// Found by it: see [`MARK_VARIABLE`].
    pub mark: String,
    /// Who they run as; none: as we do.
    pub user: Option<User>,
    /// `PATH`, where programs are found.
    pub path: Option<String>,
    /// `HOME`.
    pub home: PathBuf,
    /// `TMPDIR`.
    pub temporary: PathBuf,
    /// The only folders in which they may write, where the kernel can see to that; none: wherever their user may.
    pub writable: Vec<PathBuf>,
    /// Bytes of address space of each process.
    pub memory_bytes: Option<u64>,
    /// Bytes of one file.
    pub file_bytes: Option<u64>,
    /// Our own program, as it is called to become another; with what stands before its arguments.
    pub shim: (PathBuf, Vec<OsString>),
}

impl Place {
    /// This program, called with [`SHIM_COMMAND`]. By a path that is good for users who cannot see where it lies, and after it
    /// was replaced by a newer one.
    #[must_use]
    pub fn own_shim() -> (PathBuf, Vec<OsString>) {
        ("/proc/self/exe".into(), vec![SHIM_COMMAND.into()])
    }
}

/// A program and what is particular to it.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its name or path, and its arguments.
    pub argv: &'a [String],
    /// Where it comes from.
    pub install: Option<&'a str>,
    /// Besides what every program gets.
    pub environment: &'a BTreeMap<String, String>,
    /// Where it runs.
    pub folder: &'a Path,
    /// How it is asked to stop.
    pub stop: StopLadder,
}

/// How standard output is read; standard error always is lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Lines, at most so many bytes of each.
    Lines(usize),
    /// As a whole, at most so many bytes.
    Whole(usize),
}

/// Lines that were read together.
#[derive(Debug)]
pub struct Piece {
    /// From where.
    pub stream: LogStream,
    /// In their order.
    pub lines: Vec<Line>,
}

/// By whom a program is stopped.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// It is asked, and given its time.
    pub asked: CancellationToken,
    /// It is not asked.
    pub at_once: CancellationToken,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; of one that was ended by a signal 128 and the signal's number, as shells say it.
    pub code: i32,
    /// The signal.
    pub signal: Option<i32>,
    /// What [`Reading::Whole`] read. None when there was more than was to be read.
    pub output: Option<Vec<u8>>,
}

/// Why a program was not run, or not to an end that is known.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It is not on this machine.
    #[error("{program} is not installed where the run takes place (looked in {looked_in}){}", hint(.install.as_deref()))]
    Missing {
        /// Its name.
        program: String,
        /// Where it was looked for.
        looked_in: String,
        /// Where it comes from.
        install: Option<String>,
    },
    /// There is nothing to run.
    #[error("no program is named")]
    Empty,
    /// It could not be started.
    #[error("{program} could not be started")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// How it ended is not known.
    #[error("the end of {program} could not be waited for")]
    Wait {
        /// Its name.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something of it runs on.
    #[error("{program} has ended, and something that it started has not")]
    Left {
        /// Its name.
        program: String,
        /// What.
        #[source]
        source: Left,
    },
}

fn hint(install: Option<&str>) -> String {
    install.map_or_else(String::new, |install| format!("; install it: {install}"))
}

/// Runs a program. What it writes goes to `lines`; while nobody takes that, the program waits. Returns when it has ended and
/// nothing that it started is left, stopped or not.
///
/// # Errors
/// When it is not there, cannot be started, or something of it cannot be ended.
pub async fn run(
    place: &Place,
    program: &Program<'_>,
    reading: Reading,
    redactor: &Redactor,
    lines: &mpsc::Sender<Piece>,
    stop: &Stop,
) -> Result<Ended, ExecError> {
    let path = find(place, program)?;
    let name = || program.argv.first().cloned().unwrap_or_default();
    let mut child = spawn(place, program, &path).map_err(|source| ExecError::Start {
        program: name(),
        source,
    })?;
    let gone = CancellationToken::new();
    let out = child.stdout.take();
    let err = child.stderr.take();
    let read_out = async {
        match (out, reading) {
            (None, _) => Some(Vec::new()),
            (Some(out), Reading::Whole(most)) => whole(out, most, &gone).await,
            (Some(out), Reading::Lines(shown)) => {
                let splitter = Splitter::new(shown, redactor);
                split(out, splitter, LogStream::Stdout, lines, &gone).await;
                Some(Vec::new())
            }
        }
    };
    let read_err = async {
        if let Some(err) = err {
            split(
                err,
                Splitter::for_log(redactor),
                LogStream::Stderr,
                lines,
                &gone,
            )
            .await;
        }
    };
    let to_its_end = async {
        let ended = to_its_end(place, &mut child, program.stop, stop).await;
        gone.cancel();
        ended
    };
    let (ended, output, ()) = tokio::join!(to_its_end, read_out, read_err);
    let (status, left) = ended;
    if let Some(source) = left {
        return Err(ExecError::Left {
            program: name(),
            source,
        });
    }
    let status = status.map_err(|source| ExecError::Wait {
        program: name(),
        source,
    })?;
    Ok(Ended {
        code: code(status),
        signal: status.signal(),
        output,
    })
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Where the program is.
fn find(place: &Place, program: &Program<'_>) -> Result<PathBuf, ExecError> {
    let name = program.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or(ExecError::Empty)?;
    let runs = |path: &Path| {
        path.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    let path = program
        .environment
        .get("PATH")
        .or(place.path.as_ref())
        .map_or(PATH_OF_OLD, String::as_str);
    let (found, looked_in) = if name.contains('/') {
        let path = program.folder.join(name);
        (
            runs(&path).then(|| path.clone()),
            path.display().to_string(),
        )
    } else {
        let found = std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|path| runs(path));
        (found, path.to_owned())
    };
    found.ok_or_else(|| ExecError::Missing {
        program: name.clone(),
        looked_in,
        install: program.install.map(str::to_owned),
    })
}

fn spawn(place: &Place, program: &Program<'_>, path: &Path) -> std::io::Result<Child> {
    let hold = Hold {
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        writable: place.writable.clone(),
        memory_bytes: place.memory_bytes,
        file_bytes: place.file_bytes,
    };
    let (shim, first) = &place.shim;
    let mut command = Command::new(shim);
    command
        .args(first)
        .args(hold.arguments(path))
        .args(&program.argv[1..])
        .env_clear()
        .env("PATH", place.path.as_deref().unwrap_or(PATH_OF_OLD))
        .env("LANG", "C.UTF-8")
        .env("HOME", &place.home)
        .env("TMPDIR", &place.temporary)
        .envs(program.environment)
        .env(MARK_VARIABLE, &place.mark)
        .current_dir(program.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(user) = place.user {
        command.uid(user.uid).gid(user.gid);
    }
    command.spawn()
}

/// Waits for the program, or goes down the ladder with it; then ends whatever is left of it.
async fn to_its_end(
    place: &Place,
    child: &mut Child,
    ladder: StopLadder,
    stop: &Stop,
) -> (std::io::Result<ExitStatus>, Option<Left>) {
    let processes = Processes::of_this_runner(&place.mark);
    let own = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let term = Duration::from_millis(ladder.term_ms);
    let by_itself = tokio::select! {
        biased;
        () = stop.at_once.cancelled() => None,
        status = child.wait() => Some((status, LEFT_BEHIND_TERM)),
        () = stop.asked.cancelled() => asked(child, own, ladder, stop).await.map(|status| (status, term)),
    };
    let (status, left) = match by_itself {
        Some((status, term)) => (status, processes.end(term, KILL_MAX).await.err()),
        None => {
            let term = if stop.at_once.is_cancelled() {
                Duration::ZERO
            } else {
                term
            };
            // Its end is waited for meanwhile, for until then it is there.
            let (left, status) = tokio::join!(processes.end(term, KILL_MAX), async {
                tokio::time::timeout(term + KILL_MAX, child.wait()).await
            });
            let status = status.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            (status, left.err())
        }
    };
    put_away_orphans(None);
    (status, left)
}

/// The first step: one signal to the program itself, and time. Nothing when it did not end by that.
async fn asked(
    child: &mut Child,
    own: Option<Pid>,
    ladder: StopLadder,
    stop: &Stop,
) -> Option<std::io::Result<ExitStatus>> {
    let signal = match ladder.first {
        Asked::Int => Signal::INT,
        Asked::Term => Signal::TERM,
    };
    if let Some(own) = own
        // It has not been waited for, so that the id is still its own.
        && let Err(error) = kill_process(own, signal)
    {
        tracing::debug!("the program had ended when it was asked to: {error}");
    }
    tokio::select! {
        biased;
        () = stop.at_once.cancelled() => None,
        status = child.wait() => Some(status),
        () = tokio::time::sleep(Duration::from_millis(ladder.grace_ms)) => None,
    }
}

/// Reads a pipe to its end, or for a while after everybody is gone who should write to it.
async fn read(
    pipe: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    gone: &CancellationToken,
) -> usize {
    let read = tokio::select! {
        biased;
        read = pipe.read(buffer) => read,
        () = async { gone.cancelled().await; tokio::time::sleep(REST_MAX).await } => Ok(0),
    };
    read.unwrap_or_else(|error| {
        tracing::warn!("a program's output could not be read on: {error}");
        0
    })
}

async fn split(
    mut pipe: impl AsyncRead + Unpin,
    mut splitter: Splitter,
    stream: LogStream,
    lines: &mpsc::Sender<Piece>,
    gone: &CancellationToken,
) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = read(&mut pipe, &mut buffer, gone).await;
        let mut piece = Vec::new();
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let (taken, line) = splitter.take(rest);
            piece.extend(line);
            rest = &rest[taken..];
        }
        if read == 0 {
            piece.extend(splitter.rest());
        }
        // Nobody listens any more: the program need not wait for that.
        if !piece.is_empty() {
            lines
                .send(Piece {
                    stream,
                    lines: piece,
                })
                .await
                .ok();
        }
        if read == 0 {
            return;
        }
    }
}

async fn whole(
    mut pipe: impl AsyncRead + Unpin,
    most: usize,
    gone: &CancellationToken,
) -> Option<Vec<u8>> {
    let mut buffer = vec![0; READ_BYTES];
    let mut all = Some(Vec::new());
    loop {
        let read = read(&mut pipe, &mut buffer, gone).await;
        if read == 0 {
            return all;
        }
        all = all.filter(|all| all.len() + read <= most);
        if let Some(all) = &mut all {
            all.extend_from_slice(&buffer[..read]);
        }
    }
}
