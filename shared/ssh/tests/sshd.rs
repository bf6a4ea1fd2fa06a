//! Programs on another machine, against a real SSH server on this one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use exec::lines::Line;
use exec::{Ended, Piece, Redactor, Stop};
use model::LogStream;
use model::run::{Signal, StopLadder};
use ssh::{HostKeys, RemoteProgram, SshError, Target};
use tempfile::TempDir;
use testkit::Sshd;
use tokio::sync::mpsc;

fn of(sshd: &Sshd) -> Target<'_> {
    Target {
        address: sshd.address(),
        user: sshd.user(),
        key: sshd.key(),
        host_keys: HostKeys::read([sshd.host_key()]).unwrap(),
    }
}

/// What a program of a test is made of.
struct Case {
    mark: String,
    argv: Vec<String>,
    environment: BTreeMap<String, String>,
    upload: BTreeMap<String, String>,
    download: BTreeMap<String, String>,
    stop: Stop,
    ladder: StopLadder,
    folder: TempDir,
}

impl Case {
    fn new(script: &str) -> Self {
        let mut bytes = [0_u8; 8];
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        bytes.copy_from_slice(
            &u64::try_from(seed & u128::from(u64::MAX))
                .unwrap()
                .to_le_bytes(),
        );
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        Self {
            mark: format!(
                "test-{:016x}-{}",
                u64::from_le_bytes(bytes),
                std::process::id()
            ),
            argv,
            environment: BTreeMap::new(),
            upload: BTreeMap::new(),
            download: BTreeMap::new(),
            stop: Stop::default(),
            ladder: StopLadder {
                first: Signal::Int,
                grace_ms: 5_000,
                term_ms: 300,
            },
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn run(&self, sshd: &Sshd, lines: &mpsc::Sender<Piece>) -> Result<Ended, SshError> {
        self.at(&of(sshd), lines).await
    }

    async fn at(
        &self,
        target: &Target<'_>,
        lines: &mpsc::Sender<Piece>,
    ) -> Result<Ended, SshError> {
        let redactor = Redactor::new(["the-secret"]).unwrap();
        let program = RemoteProgram {
            mark: &self.mark,
            argv: &self.argv,
            environment: &self.environment,
            folder_there: None,
            folder_here: self.folder.path(),
            upload: &self.upload,
            download: &self.download,
            ladder: self.ladder,
            stop: &self.stop,
            redactor: &redactor,
            lines,
        };
        ssh::run(target, &program).await
    }

    /// Runs it and collects what it said.
    async fn said(&self, sshd: &Sshd) -> (Result<Ended, SshError>, Vec<(LogStream, String)>) {
        let (send, receive) = mpsc::channel(16);
        let run = async {
            let ended = self.run(sshd, &send).await;
            drop(send);
            ended
        };
        tokio::join!(run, collect(receive))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn shown(line: &Line) -> String {
    line.shown(&Redactor::new(["the-secret"]).unwrap())
}

async fn collect(mut receive: mpsc::Receiver<Piece>) -> Vec<(LogStream, String)> {
    let mut all = Vec::new();
    while let Some(piece) = receive.recv().await {
        all.extend(piece.lines.iter().map(|line| (piece.stream, shown(line))));
    }
    all
}

/// Processes of this machine whose environment has the mark.
fn alive(mark: &str) -> Vec<u32> {
    let wanted = format!("{}={mark}", exec::MARK_VARIABLE);
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let has = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes());
            has.then_some(id)
        })
        .collect()
}

#[tokio::test]
async fn a_program_says_what_it_says_on_two_streams_and_how_it_ended() {
    let Some(sshd) = Sshd::start() else { return };
    let mut case = Case::new(
        "echo one; echo two >&2; echo \"$WORD\"; echo the-secret; printf last; cat in.txt >out.txt; exit 3",
    );
    case.environment
        .insert("WORD".to_owned(), "it's \"so\" $HOME".to_owned());
    let there = format!("/tmp/{}", case.mark);
    std::fs::write(case.path("here.txt"), "content").unwrap();
    case.upload
        .insert("here.txt".to_owned(), format!("{there}/in.txt"));
    case.download
        .insert(format!("{there}/out.txt"), "back/out.txt".to_owned());
    case.argv[2] = format!("cd {there} && {}", case.argv[2]);
    let (ended, said) = case.said(&sshd).await;
    assert_eq!(ended.unwrap().code, 3);
    let of = |stream| {
        let lines = said.iter().filter(move |line| line.0 == stream);
        lines.map(|line| line.1.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        of(LogStream::Stdout),
        ["one", "it's \"so\" $HOME", "***", "last"]
    );
    assert_eq!(of(LogStream::Stderr), ["two"]);
    assert_eq!(
        std::fs::read_to_string(case.path("back/out.txt")).unwrap(),
        "content"
    );
    std::fs::remove_dir_all(there).unwrap();
}

#[tokio::test]
async fn a_cancel_asks_the_program_and_ends_when_its_group_is_gone() {
    let Some(sshd) = Sshd::start() else { return };
    // It takes its time to stop, and leaves a child behind that has a session of its own.
    let mut case = Case::new(
        "setsid sleep 300 & trap 'echo asked; sleep 0.3; exit 7' INT; echo ready; while :; do sleep 0.1; done",
    );
    case.ladder.grace_ms = 60_000;
    let began = Instant::now();
    let (send, mut receive) = mpsc::channel(16);
    let run = async {
        let ended = case.run(&sshd, &send).await;
        drop(send);
        ended
    };
    let watch = async {
        let mut said = Vec::new();
        while let Some(piece) = receive.recv().await {
            for line in &piece.lines {
                let line = shown(line);
                if line == "ready" {
                    assert!(alive(&case.mark).len() >= 2);
                    case.stop.asked.cancel();
                }
                said.push(line);
            }
        }
        said
    };
    let (ended, said) = tokio::join!(run, watch);
    assert_eq!(
        ended.unwrap().code,
        7,
        "it was asked, and said how it ended"
    );
    assert_eq!(said, ["ready", "asked"]);
    assert_eq!(alive(&case.mark), Vec::<u32>::new());
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "what it left behind is ended at once, and not after the grace"
    );
}

#[tokio::test]
async fn a_program_that_ignores_every_request_is_killed_after_its_ladder() {
    let Some(sshd) = Sshd::start() else { return };
    let mut case = Case::new("trap '' INT TERM; echo ready; while :; do sleep 0.1; done");
    case.ladder = StopLadder {
        first: Signal::Int,
        grace_ms: 500,
        term_ms: 300,
    };
    let (send, mut receive) = mpsc::channel(16);
    let run = async {
        let ended = case.run(&sshd, &send).await;
        drop(send);
        ended
    };
    let watch = async {
        receive.recv().await.unwrap();
        case.stop.asked.cancel();
        let asked = Instant::now();
        while receive.recv().await.is_some() {}
        asked.elapsed()
    };
    let (ended, took) = tokio::join!(run, watch);
    assert_eq!(ended.unwrap().code, 137);
    assert!(
        took >= Duration::from_millis(800) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(alive(&case.mark), Vec::<u32>::new());
}

#[tokio::test]
async fn a_connection_that_breaks_off_costs_no_line_and_no_end() {
    let Some(mut sshd) = Sshd::start() else {
        return;
    };
    let case = Case::new(
        "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 5",
    );
    let (send, mut receive) = mpsc::channel(16);
    let (address, user, key, host_key) = (
        sshd.address(),
        sshd.user().to_owned(),
        sshd.key().to_owned(),
        sshd.host_key().to_owned(),
    );
    let target = Target {
        address,
        user: &user,
        key: &key,
        host_keys: HostKeys::read([host_key.as_str()]).unwrap(),
    };
    let run = async {
        let ended = case.at(&target, &send).await;
        drop(send);
        ended
    };
    let watch = async {
        let mut said = Vec::new();
        let mut broken = false;
        while let Some(piece) = receive.recv().await {
            said.extend(piece.lines.iter().map(shown));
            if !broken && said.len() > 5 {
                broken = true;
                sshd.stop();
                sshd.again();
            }
        }
        assert!(broken);
        said
    };
    let (ended, said) = tokio::join!(run, watch);
    assert_eq!(ended.unwrap().code, 5);
    let wanted: Vec<String> = (0..40).map(|i| format!("line {i}")).collect();
    assert_eq!(said, wanted, "no line is missing, and none comes twice");
}

#[tokio::test]
async fn a_machine_with_another_key_is_not_signed_in_to() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(other) = Sshd::start() else { return };
    let case = Case::new("true");
    let (send, _receive) = mpsc::channel(16);
    let mut target = of(&sshd);
    target.host_keys = HostKeys::read([other.host_key()]).unwrap();
    let error = case.at(&target, &send).await.unwrap_err();
    assert!(matches!(error, SshError::HostKey(_)), "{error}");
    let mut target = of(&sshd);
    target.key = other.key();
    let error = case.at(&target, &send).await.unwrap_err();
    assert!(matches!(error, SshError::Denied { .. }), "{error}");
    let gone = sshd.address();
    drop(sshd);
    let mut target = of(&other);
    target.address = gone;
    let error = case.at(&target, &send).await.unwrap_err();
    assert!(matches!(error, SshError::Lost { .. }), "{error}");
    assert!(HostKeys::read([]).is_err() && HostKeys::read(["ssh-rsa x"]).is_err());
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_why() {
    let Some(sshd) = Sshd::start() else { return };
    let mut case = Case::new("true");
    case.argv = vec!["no-such-program-here".to_owned()];
    let (ended, said) = case.said(&sshd).await;
    assert_eq!(ended.unwrap().code, 127);
    assert!(
        said.iter().any(|line| line.1.contains("not found")),
        "{said:?}"
    );
    case.upload.insert("../x".to_owned(), "/tmp/x".to_owned());
    let (ended, _) = case.said(&sshd).await;
    assert!(matches!(ended, Err(SshError::Program(_))));
}
