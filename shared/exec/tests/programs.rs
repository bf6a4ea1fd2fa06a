//! Real programs, run and stopped.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use exec::{Ended, ExecError, Piece, Place, Processes, Program, Reading, Redactor, Stop, User};
use model::LogStream;
use model::run::{LOG_LINE_BYTES_MAX, Signal, StopLadder};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_exec-under-test");

struct World {
    folder: TempDir,
    place: Place,
    redactor: Redactor,
    environment: BTreeMap<String, String>,
    ladder: StopLadder,
    stop: Stop,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        let place = Place {
            mark: folder.path().display().to_string(),
            user: None,
            path: None,
            home: work.clone(),
            temporary: work.clone(),
            writable: Vec::new(),
            memory_bytes: None,
            file_bytes: None,
            shim: (PROGRAM.into(), vec![exec::SHIM_COMMAND.into()]),
        };
        Self {
            folder,
            place,
            redactor: Redactor::new([]).unwrap(),
            environment: BTreeMap::new(),
            ladder: StopLadder {
                first: Signal::Int,
                grace_ms: 60_000,
                term_ms: 60_000,
            },
            stop: Stop::default(),
        }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    async fn run(&self, argv: &[&str]) -> (Result<Ended, ExecError>, Vec<(LogStream, String)>) {
        self.read(argv, Reading::Lines(LOG_LINE_BYTES_MAX)).await
    }

    async fn sh(&self, script: &str) -> (Result<Ended, ExecError>, Vec<(LogStream, String)>) {
        self.run(&["sh", "-c", script]).await
    }

    async fn read(
        &self,
        argv: &[&str],
        reading: Reading,
    ) -> (Result<Ended, ExecError>, Vec<(LogStream, String)>) {
        let argv: Vec<String> = argv.iter().map(|&part| part.to_owned()).collect();
        let folder = self.work();
        let program = Program {
            argv: &argv,
            install: Some("from where it is"),
            environment: &self.environment,
            folder: &folder,
            stop: self.ladder,
        };
        let (lines, mut taken) = mpsc::channel::<Piece>(exec::PIECES_MAX);
        let running = async {
            let ended = exec::run(
                &self.place,
                &program,
                reading,
                &self.redactor,
                &lines,
                &self.stop,
            );
            let ended = ended.await;
            drop(lines);
            ended
        };
        let taking = async {
            let mut all = Vec::new();
            while let Some(piece) = taken.recv().await {
                for line in piece.lines {
                    let shown = line.shown(&self.redactor);
                    // What tells a test that the program is ready.
                    if shown == "stop me" {
                        self.stop.asked.cancel();
                    }
                    if shown == "stop me at once" {
                        self.stop.at_once.cancel();
                    }
                    all.push((piece.stream, shown));
                }
            }
            all
        };
        tokio::join!(running, taking)
    }

    fn left(&self) -> usize {
        Processes::of_this_runner(&self.place.mark).find().len()
    }
}

fn texts(lines: &[(LogStream, String)]) -> Vec<&str> {
    lines
        .iter()
        .map(|(_, text)| text.as_str())
        // What a shell says when a child of its own is killed before it is.
        .filter(|text| !matches!(*text, "Killed" | "Terminated"))
        .collect()
}

/// These tests look at all descendants of their process, and so take turns.
async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    TURN.lock().await
}

#[tokio::test]
async fn a_program_gets_what_it_is_given_and_nothing_else() {
    let _turn = turn().await;
    let mut world = World::new();
    world
        .environment
        .insert("GIVEN".to_owned(), "a b".to_owned());
    let (ended, lines) = world.run(&["env"]).await;
    assert_eq!(ended.unwrap().code, 0);
    let mut names: Vec<&str> = texts(&lines)
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["GIVEN", "HOME", "LANG", "PATH", "SWITCHYARD_RUN", "TMPDIR"]
    );
    assert!(texts(&lines).contains(&"GIVEN=a b"));
}

#[tokio::test]
async fn arguments_are_data() {
    let _turn = turn().await;
    let (_, lines) = World::new()
        .run(&["echo", "$(id)", "; rm -rf / #", "a\nb"])
        .await;
    assert_eq!(texts(&lines), ["$(id) ; rm -rf / # a", "b"]);
}

#[tokio::test]
async fn lines_come_in_order_with_their_stream_and_the_exit_code() {
    let _turn = turn().await;
    let (ended, lines) = World::new()
        .sh("for i in 1 2 3; do echo out $i; done; echo err >&2; exit 7")
        .await;
    let ended = ended.unwrap();
    assert_eq!((ended.code, ended.signal), (7, None));
    let of = |stream| -> Vec<&str> {
        lines
            .iter()
            .filter(|line| line.0 == stream)
            .map(|line| line.1.as_str())
            .collect()
    };
    assert_eq!(of(LogStream::Stdout), ["out 1", "out 2", "out 3"]);
    assert_eq!(of(LogStream::Stderr), ["err"]);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_where_it_comes_from() {
    let _turn = turn().await;
    let (ended, _) = World::new().run(&["no-such-program", "plan"]).await;
    let error = ended.unwrap_err().to_string();
    assert!(
        error.starts_with("no-such-program is not installed"),
        "{error}"
    );
    assert!(error.ends_with("install it: from where it is"), "{error}");
}

#[tokio::test]
async fn a_program_killed_by_a_signal_says_which() {
    let _turn = turn().await;
    let (ended, _) = World::new().sh("kill -SEGV $$").await;
    let ended = ended.unwrap();
    assert_eq!((ended.code, ended.signal), (139, Some(11)));
}

#[tokio::test]
async fn a_line_of_500_mb_and_a_million_lines_pass_in_bounded_memory() {
    let _turn = turn().await;
    let world = World::new();
    let before = memory_max();
    let (_, lines) = world.run(&[PROGRAM, "one-line", "500000000"]).await;
    assert_eq!(lines.len(), 2);
    assert!(lines[0].1.ends_with("bytes cut]") && lines[0].1.len() <= LOG_LINE_BYTES_MAX);
    assert_eq!(lines[1].1, "the next");
    let grown = memory_max() - before;
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes");
    let (_, lines) = world.sh("seq 1000000").await;
    assert_eq!(lines.len(), 1_000_000);
    assert!(
        lines
            .iter()
            .zip(1..)
            .all(|((_, line), number)| *line == u32::to_string(&number))
    );
}

/// The most memory that this process has had, in bytes.
fn memory_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[tokio::test]
async fn bytes_that_are_no_text_become_text() {
    let _turn = turn().await;
    let (_, lines) = World::new().sh(r"printf 'a\377\000b\nnext'").await;
    assert_eq!(texts(&lines), ["a\u{fffd}\u{fffd}b", "next"]);
}

#[tokio::test]
async fn a_secret_that_is_written_in_pieces_is_not_seen() {
    let _turn = turn().await;
    let mut world = World::new();
    world.redactor = Redactor::new(["hunter2-hunter2"]).unwrap();
    let (_, lines) = world
        .sh("printf hunter2; sleep 0.2; printf '%s\\n' -hunter2; printf hunter2-hunter2 | base64")
        .await;
    assert_eq!(texts(&lines)[0], "***");
    assert!(texts(&lines)[1].starts_with("***"), "{lines:?}");
}

#[tokio::test]
async fn output_is_read_as_a_whole_or_not_at_all() {
    let _turn = turn().await;
    let world = World::new();
    let (ended, lines) = world
        .read(&["sh", "-c", "printf abc; echo d >&2"], Reading::Whole(3))
        .await;
    assert_eq!(ended.unwrap().output.as_deref(), Some(&b"abc"[..]));
    assert_eq!(texts(&lines), ["d"]);
    let (ended, _) = world.read(&["printf", "abcd"], Reading::Whole(3)).await;
    assert_eq!(ended.unwrap().output, None);
}

#[tokio::test]
async fn the_first_signal_is_one_and_goes_to_the_program_alone() {
    let _turn = turn().await;
    let world = World::new();
    // The child would say so if it were signalled too; the program counts its own and ends by itself.
    let (ended, lines) = world
        .sh(
            "trap 'echo asked' INT; sh -c 'trap \"echo child asked\" INT TERM; sleep 1' & \
             trap 'echo term' TERM; echo stop me; wait; wait; wait; echo by itself; exit 3",
        )
        .await;
    assert_eq!(ended.unwrap().code, 3);
    assert_eq!(texts(&lines), ["stop me", "asked", "by itself"]);
}

#[tokio::test]
async fn who_ignores_everything_is_killed_with_all_that_it_started() {
    let _turn = turn().await;
    let mut world = World::new();
    world.ladder = StopLadder {
        first: Signal::Int,
        grace_ms: 200,
        term_ms: 200,
    };
    let from = Instant::now();
    let (ended, lines) = world
        .sh("trap '' INT TERM; (env -i setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &); \
             echo stop me; while :; do sleep 1; done")
        .await;
    assert_eq!(ended.unwrap().signal, Some(9));
    assert_eq!(texts(&lines), ["stop me"]);
    assert!(
        from.elapsed() >= Duration::from_millis(400),
        "{:?}",
        from.elapsed()
    );
    // One without the mark, in a session of its own, whose parent had ended.
    assert_eq!(world.left(), 0);
}

#[tokio::test]
async fn the_end_is_not_said_before_everything_has_ended() {
    let _turn = turn().await;
    let mut world = World::new();
    world.ladder.term_ms = 10_000;
    // What it started needs a while for its own end; it does not.
    let (ended, _) = world
        .sh("setsid sh -c 'trap \"sleep 0.5; echo done > late; exit\" TERM; echo stop me; while :; do sleep 0.05; done' & \
             trap 'exit 0' INT; wait")
        .await;
    assert_eq!(ended.unwrap().code, 0);
    assert_eq!(world.left(), 0);
    assert_eq!(
        std::fs::read_to_string(world.work().join("late")).unwrap(),
        "done\n"
    );
}

#[tokio::test]
async fn at_once_means_without_asking() {
    let _turn = turn().await;
    let world = World::new();
    let from = Instant::now();
    let (ended, lines) = world
        .sh("trap 'echo asked' INT TERM; echo stop me at once; while :; do sleep 0.1; done")
        .await;
    assert_eq!(ended.unwrap().signal, Some(9));
    assert!(from.elapsed() < Duration::from_secs(10));
    assert!(
        texts(&lines)
            .iter()
            .filter(|text| **text == "asked")
            .count()
            <= 1
    );
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let _turn = turn().await;
    let world = World::new();
    let (ended, lines) = world.sh("setsid sleep 1000 & echo gone").await;
    assert_eq!(ended.unwrap().code, 0);
    assert_eq!(texts(&lines), ["gone"]);
    assert_eq!(world.left(), 0);
}

#[tokio::test]
async fn files_and_memory_have_bounds() {
    let _turn = turn().await;
    let mut world = World::new();
    world.place.file_bytes = Some(1000);
    world.place.memory_bytes = Some(64 * 1024 * 1024);
    let (_, lines) = world
        .sh("ulimit -f -v; head -c 5000 /dev/zero > large; wc -c < large")
        .await;
    assert!(
        texts(&lines).iter().any(|line| line.contains("65536")),
        "{lines:?}"
    );
    assert_eq!(texts(&lines).last(), Some(&"1000"));
}

#[tokio::test]
async fn a_program_writes_only_where_it_may() {
    let _turn = turn().await;
    let mut world = World::new();
    let fenced = std::process::Command::new(PROGRAM)
        .arg("fenced")
        .status()
        .unwrap();
    if !fenced.success() {
        println!("skipped: this kernel has no Landlock");
        return;
    }
    world.place.writable = vec![world.work()];
    let outside = world.folder.path().join("outside");
    let script = format!(
        "echo in > inside; cat inside > /dev/null; echo out > {}",
        outside.display()
    );
    let (ended, lines) = world.sh(&script).await;
    assert_ne!(ended.unwrap().code, 0);
    assert!(
        texts(&lines)
            .iter()
            .any(|line| line.contains("ermission denied")),
        "{lines:?}"
    );
    assert!(world.work().join("inside").exists() && !outside.exists());
}

#[tokio::test]
async fn root_runs_programs_as_somebody_else() {
    let _turn = turn().await;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let mut world = World::new();
    world.place.user = Some(User {
        uid: 64_321,
        gid: 64_321,
    });
    // The folder is given to that user, and everybody may pass on the way to it.
    for folder in [world.folder.path(), &world.work()] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
    }
    std::os::unix::fs::chown(world.work(), Some(64_321), Some(64_321)).unwrap();
    let (ended, lines) = world.sh("id -u; id -G; echo mine > file").await;
    assert_eq!(ended.unwrap().code, 0, "{lines:?}");
    assert_eq!(texts(&lines), ["64321", "64321"]);
}

#[tokio::test]
async fn a_program_hears_signals_that_who_started_us_ignores() {
    let _turn = turn().await;
    let shim = env!("CARGO_BIN_EXE_exec-under-test");
    let ignored = format!(
        "trap '' INT HUP QUIT TERM; {shim} runner-exec $$ - - -- /bin/sh -c \
         'trap \"echo asked; exit 3\" INT; kill -INT $$; sleep 1; exit 4'; exit $?"
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &ignored])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*said), (Some(3), "asked\n"));
}
