//! One program on another machine, from its start to its certain end.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use exec::lines::Splitter;
use exec::{Ended, Piece, Redactor, Stop};
use model::LogStream;
use model::run::{Signal, StopLadder};
use tokio::sync::mpsc;

use crate::script;
use crate::session::{Session, SshError, Target};

/// The first wait before a connection that broke off is made again; it doubles …
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// … up to this.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// How long it is tried to reach a machine on which a program runs, before it is said that its end is not known.
const AWAY_MAX: Duration = Duration::from_secs(15 * 60);
/// How long what was killed may take to be gone.
const KILL_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the last of its output is waited for once nothing of a program runs.
const REST_MAX: Duration = Duration::from_secs(10);
/// The largest file that is fetched, in bytes.
const DOWNLOAD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Between SIGTERM and SIGKILL to what a program that ended by itself left behind.
const LEFT_BEHIND_TERM: Duration = Duration::from_millis(500);

/// What is run, and how it is stopped.
#[derive(Debug)]
pub struct RemoteProgram<'a> {
    /// Names the program: the same mark is the same program, which is started once.
    pub mark: &'a str,
    /// The program and its arguments.
    pub argv: &'a [String],
    /// For the program.
    pub environment: &'a BTreeMap<String, String>,
    /// Where it runs there; the user's home unless it is said.
    pub folder_there: Option<&'a str>,
    /// Where files come from and go to here.
    pub folder_here: &'a Path,
    /// Put there first: path here → path there.
    pub upload: &'a BTreeMap<String, String>,
    /// Fetched afterwards: path there → path here.
    pub download: &'a BTreeMap<String, String>,
    /// How it is asked to stop.
    pub ladder: StopLadder,
    /// When.
    pub stop: &'a Stop,
    /// Keeps secrets out of lines.
    pub redactor: &'a Redactor,
    /// Where its output goes.
    pub lines: &'a mpsc::Sender<Piece>,
}

/// Runs a program and returns when nothing of it is left there.
///
/// # Errors
/// When it could not be started, or it is not known that it has ended.
pub async fn run(target: &Target<'_>, program: &RemoteProgram<'_>) -> Result<Ended, SshError> {
    check(program)?;
    if program.stop.asked.is_cancelled() || program.stop.at_once.is_cancelled() {
        return Ok(stopped());
    }
    let session = Session::connect(target).await?;
    upload(&session, program).await?;
    let start = script::start(
        program.mark,
        program.argv,
        program.environment,
        program.folder_there,
    );
    let said = session.script(&start).await?;
    let group = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    if said.code != 0 || group.is_empty() || !group.bytes().all(|b| b.is_ascii_digit()) {
        // Whatever of it did start is ended, and only then it has not.
        clear(&session, program.mark).await?;
        return Err(SshError::Script {
            what: "starting the program",
            address: session.address(),
            why: format!("exit code {}: {}", said.code, said.stderr.trim()),
        });
    }
    let held = Held {
        target,
        program,
        group,
        read: [AtomicU64::new(0), AtomicU64::new(0)],
    };
    let (session, was_stopped) = held.to_its_end(session).await?;
    let code = session.script(&script::code(program.mark)).await?;
    let code: Option<i32> = String::from_utf8_lossy(&code.stdout).trim().parse().ok();
    clear(&session, program.mark).await?;
    if !was_stopped {
        download(&session, program).await?;
    }
    session.script(&script::forget(program.mark)).await?;
    session.close().await;
    Ok(code.map_or_else(stopped, |code| Ended {
        code,
        signal: (code > 128).then_some(code - 128),
        output: Some(Vec::new()),
    }))
}

/// What ended without saying how was killed.
fn stopped() -> Ended {
    Ended {
        code: 137,
        signal: Some(9),
        output: Some(Vec::new()),
    }
}

fn check(program: &RemoteProgram<'_>) -> Result<(), SshError> {
    let is_name = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
    };
    if let Some(name) = program.environment.keys().find(|name| !is_name(name)) {
        return Err(SshError::Program(format!(
            "{name:?} is no name for a variable"
        )));
    }
    let words = program.argv.iter().chain(program.environment.values());
    if words.clone().any(|word| word.contains('\0'))
        || program.argv.first().is_none_or(String::is_empty)
    {
        return Err(SshError::Program(
            "the program has no name, or a word with a zero byte".to_owned(),
        ));
    }
    let marks = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if program.mark.is_empty() || !program.mark.bytes().all(marks) || program.mark.starts_with('.')
    {
        return Err(SshError::Program(format!(
            "{:?} cannot name a program",
            program.mark
        )));
    }
    Ok(())
}

/// A program that runs, and how much of its output was taken.
struct Held<'a> {
    target: &'a Target<'a>,
    program: &'a RemoteProgram<'a>,
    group: String,
    read: [AtomicU64; 2],
}

impl Held<'_> {
    /// Follows the program to its end, over as many connections as it takes, and stops it when it is to be. True when it was.
    async fn to_its_end(&self, session: Session) -> Result<(Session, bool), SshError> {
        let mut out = Splitter::for_log(self.program.redactor);
        let mut err = Splitter::for_log(self.program.redactor);
        let mut session = session;
        let stopping = tokio::sync::Mutex::new(None);
        loop {
            let came = {
                // Whoever follows is never dropped while it hands on what it has read.
                let mut followed = std::pin::pin!(async {
                    let out = self.follow(&session, LogStream::Stdout, &mut out);
                    let err = self.follow(&session, LogStream::Stderr, &mut err);
                    let (out, err) = tokio::join!(out, err);
                    out.and(err)
                });
                tokio::select! {
                    followed = &mut followed => followed,
                    climbed = self.climb(&session, &stopping) => {
                        let rest = tokio::time::timeout(REST_MAX, &mut followed).await;
                        climbed.and(rest.unwrap_or(Ok(())))
                    }
                }
            };
            match came {
                Ok(()) => break,
                Err(error) if error.is_passing() => {
                    tracing::info!(
                        "a program on {} is followed over a new connection: {error}",
                        self.target.address
                    );
                    session = self.again().await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.tell(LogStream::Stdout, out.rest()).await;
        self.tell(LogStream::Stderr, err.rest()).await;
        let was_stopped = stopping.into_inner().is_some();
        Ok((session, was_stopped))
    }

    async fn follow(
        &self,
        session: &Session,
        stream: LogStream,
        splitter: &mut Splitter,
    ) -> Result<(), SshError> {
        let (file, read) = match stream {
            LogStream::Stdout => ("out", &self.read[0]),
            LogStream::Stderr | LogStream::Task => ("err", &self.read[1]),
        };
        let from = read.load(Ordering::SeqCst);
        let command = script::follow(self.program.mark, file, &self.group, from);
        let mut following = session.follow(&command).await?;
        while let Some(bytes) = following.next().await {
            let mut left = &bytes[..];
            let mut lines = Vec::new();
            while !left.is_empty() {
                let (taken, line) = splitter.take(left);
                left = &left[taken..];
                lines.extend(line);
            }
            // Counted before it is told: what was told is never told twice.
            read.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            if !lines.is_empty()
                && self
                    .program
                    .lines
                    .send(Piece { stream, lines })
                    .await
                    .is_err()
            {
                tracing::debug!("nobody takes the program's output any more");
            }
        }
        if following.has_ended() {
            Ok(())
        } else {
            Err(session.lost("it broke off"))
        }
    }

    async fn tell(&self, stream: LogStream, line: Option<exec::lines::Line>) {
        let Some(line) = line else { return };
        let lines = vec![line];
        if self
            .program
            .lines
            .send(Piece { stream, lines })
            .await
            .is_err()
        {
            tracing::debug!("nobody takes the program's output any more");
        }
    }

    /// Waits until the program is to be stopped, and goes up the ladder until nothing of it is left. `begun` says when the first signal
    /// was sent: over another connection the ladder is gone on with, not begun anew.
    async fn climb(
        &self,
        session: &Session,
        begun: &tokio::sync::Mutex<Option<tokio::time::Instant>>,
    ) -> Result<(), SshError> {
        let (stop, ladder, mark) = (self.program.stop, self.program.ladder, self.program.mark);
        let mut begun = begun.lock().await;
        if begun.is_none() {
            tokio::select! {
                () = stop.asked.cancelled() => {
                    let first = match ladder.first { Signal::Int => "INT", Signal::Term => "TERM" };
                    session.script(&script::signal_program(mark, first)).await?;
                }
                () = stop.at_once.cancelled() => {}
            }
            *begun = Some(tokio::time::Instant::now());
        }
        let since = begun.unwrap_or_else(tokio::time::Instant::now);
        let grace = Duration::from_millis(ladder.grace_ms);
        let wait = tokio::time::sleep_until(since + grace);
        tokio::select! {
            gone = self.gone(session) => return gone,
            () = wait => {}
            () = stop.at_once.cancelled() => {}
        }
        session.script(&script::signal_all(mark, "TERM")).await?;
        let wait = tokio::time::sleep(Duration::from_millis(ladder.term_ms));
        tokio::select! {
            gone = self.gone(session) => return gone,
            () = wait => {}
            () = stop.at_once.cancelled() => {}
        }
        kill(session, mark).await
    }

    /// Returns when nothing of the program is left.
    async fn gone(&self, session: &Session) -> Result<(), SshError> {
        loop {
            let said = session.script(&script::look(self.program.mark)).await?;
            if said.stdout.trim_ascii().is_empty() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A connection to the same machine, after one broke off.
    async fn again(&self) -> Result<Session, SshError> {
        let since = tokio::time::Instant::now();
        let mut wait = AGAIN_AFTER;
        loop {
            match Session::connect(self.target).await {
                Ok(session) => return Ok(session),
                Err(error) if error.is_passing() && since.elapsed() < AWAY_MAX => {
                    tracing::warn!("{error}; it is tried again in {} s", wait.as_secs_f32());
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_AFTER_MAX);
        }
    }
}

/// Ends what a program left behind.
async fn clear(session: &Session, mark: &str) -> Result<(), SshError> {
    let said = session.script(&script::signal_all(mark, "TERM")).await?;
    if said.stdout.trim_ascii().is_empty() {
        return Ok(());
    }
    tokio::time::sleep(LEFT_BEHIND_TERM).await;
    kill(session, mark).await
}

async fn kill(session: &Session, mark: &str) -> Result<(), SshError> {
    let since = tokio::time::Instant::now();
    loop {
        let said = session.script(&script::signal_all(mark, "KILL")).await?;
        let left = said.stdout.trim_ascii();
        if left.is_empty() {
            return Ok(());
        }
        if since.elapsed() > KILL_MAX {
            let processes = String::from_utf8_lossy(left).replace('\n', ", ");
            let address = session.address();
            return Err(SshError::Left { address, processes });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A path of the run's folder, which a remote name cannot lead out of; nor can a link that a program of the run has put there,
/// which we could follow and it could not.
fn here(folder: &Path, path: &str) -> Result<PathBuf, SshError> {
    let out = || SshError::Program(format!("{path:?} leads out of the run's folder"));
    let mut to = folder.to_owned();
    for part in Path::new(path).components() {
        let Component::Normal(name) = part else {
            return Err(out());
        };
        to.push(name);
        if to.symlink_metadata().is_ok_and(|it| it.is_symlink()) {
            return Err(out());
        }
    }
    if to == folder {
        return Err(out());
    }
    Ok(to)
}

async fn upload(session: &Session, program: &RemoteProgram<'_>) -> Result<(), SshError> {
    for (from, to) in program.upload {
        let path = here(program.folder_here, from)?;
        let source = |source| SshError::File {
            path: from.clone(),
            source,
        };
        let bytes = tokio::fs::read(&path).await.map_err(source)?;
        let said = session.exec(&script::upload(to), Some(&bytes), 0).await?;
        if said.code != 0 {
            return Err(SshError::Script {
                what: "putting a file there",
                address: session.address(),
                why: format!("{to}: {}", said.stderr.trim()),
            });
        }
    }
    Ok(())
}

async fn download(session: &Session, program: &RemoteProgram<'_>) -> Result<(), SshError> {
    for (from, to) in program.download {
        let path = here(program.folder_here, to)?;
        let said = session
            .exec(&script::download(from), None, DOWNLOAD_BYTES_MAX)
            .await?;
        if said.stdout.len() > DOWNLOAD_BYTES_MAX {
            let (path, address) = (from.clone(), session.address());
            return Err(SshError::TooLarge {
                path,
                address,
                bytes_max: DOWNLOAD_BYTES_MAX,
            });
        }
        if said.code != 0 {
            return Err(SshError::Script {
                what: "fetching a file",
                address: session.address(),
                why: format!("{from}: {}", said.stderr.trim()),
            });
        }
        let failed = |source| SshError::File {
            path: to.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(failed)?;
        }
        tokio::fs::write(&path, &said.stdout)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_runs_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("a")).expect("a folder");
        std::os::unix::fs::symlink("/etc", root.join("a/out")).expect("a link");
        std::os::unix::fs::symlink("/etc/passwd", root.join("passwd")).expect("a link");
        assert_eq!(here(root, "a/b/c").expect("inside"), root.join("a/b/c"));
        for path in [
            "",
            "..",
            "a/../../b",
            "/etc/passwd",
            "./a",
            "a/out/passwd",
            "passwd",
        ] {
            assert!(here(root, path).is_err(), "{path:?}");
        }
    }
}
