//! Runs of real runners under a whole Switchyard that is killed, and what becomes of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use exec::Processes;
use model::{JobId, Role, TenantId};
use rustix::process::Signal;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::Keyring;
use tempfile::TempDir;
use testkit::TestDb;

use crate::harness::{Process, turn, until};
use crate::outside;

/// The shortest lease that is taken, in seconds.
const LEASE_SECS: u64 = 20;
/// A lease, a tick and what it takes to begin again.
const NOTICED: Duration = Duration::from_secs(LEASE_SECS + 15 + 20);
const WITHIN: Duration = Duration::from_secs(60);
/// What the settings of a task with runs say, and where they stand.
const ENV: &str = "          env:\n";
const SETTINGS: &str = r#"            - name: RUNNER
              value: kubernetes
            - name: CALLBACK_URL
              value: http://callback.switchyard.svc.cluster.local/callback
            - name: RUN_LEASE_SECS
              value: "20"
"#;

/// A whole Switchyard that can be killed, on a database that stays.
pub(crate) struct World {
    db: TestDb,
    rows: PgPool,
    folder: TempDir,
    tenant: TenantId,
    process: Option<Process>,
    port: u16,
}

/// How a job ended.
#[derive(Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Ended {
    pub(crate) state: String,
    epoch: i64,
    attempts: i32,
    pub(crate) reason: Option<String>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With more settings for the task, as its manifest has them.
    async fn with(settings: &str) -> Self {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let mut owner = rows.acquire().await.expect("a connection");
        let (tenant, _) = store::people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
            .await
            .expect("a tenant");
        for function in bundle::functions::FUNCTIONS {
            if let host::Kind::Task(policy) = &function.kind {
                queue::know_task(&mut owner, function.name, policy)
                    .await
                    .expect("a task");
            }
        }
        queue::know_task(&mut owner, "task-inline", &task_inline::POLICY)
            .await
            .expect("a task");
        drop(owner);
        let folder = tempfile::Builder::new()
            .prefix("switchyard-runs-")
            .tempdir()
            .expect("a folder");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("ours");
        std::fs::write(
            folder.path().join("key"),
            Keyring::generate().expose_secret(),
        )
        .expect("ours");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let mut world = Self {
            db,
            rows,
            folder,
            tenant,
            process: None,
            port,
        };
        world.write_manifests(settings);
        world.start().await;
        world
    }

    fn write_manifests(&self, settings: &str) {
        for name in ["knative", "triggers"] {
            let to = self.folder.path().join("manifests").join(name);
            std::fs::create_dir_all(&to).expect("a folder");
            for entry in std::fs::read_dir(outside::root().join(name)).expect("the manifests") {
                let path = entry.expect("an entry").path();
                std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
            }
            let like = std::fs::read_to_string(to.join("task-static.yaml")).expect("a manifest");
            let inline = like
                .replace("task-static", "task-inline")
                .replace(ENV, &format!("{ENV}{SETTINGS}{settings}"));
            std::fs::write(to.join("task-inline.yaml"), inline).expect("a manifest");
        }
    }

    pub(crate) async fn start(&mut self) {
        let settings = [
            ("DATABASE_URL", self.db.owner_url().to_owned()),
            ("FOLDER", self.folder.path().display().to_string()),
            ("PORT", self.port.to_string()),
            ("RUST_LOG", "info".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let mut process = Process::start(
            &self.folder.path().join("log"),
            &["up-with-inline"],
            settings,
        );
        process.says("everything is running").await;
        self.process = Some(process);
    }

    /// `kill -9` of everything but the runners and the database.
    pub(crate) fn kill(&mut self) {
        drop(self.process.take());
    }

    pub(crate) async fn add(&self, script: &str, more: Value) -> JobId {
        let mut spec = json!({
            "phase": "test",
            "steps": [{"name": "one", "run": {"local": {"argv": ["sh", "-c", script]}},
                "stop": {"first": "int", "grace_ms": 5_000, "term_ms": 500}}],
            "limits": {"time_secs": 600, "log_bytes": 10_000_000, "artifact_bytes": 1_000_000, "artifacts": 10},
            "heartbeat_ms": 0,
        });
        for (name, value) in more.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        let mut owner = self.rows.acquire().await.expect("a connection");
        let new = queue::NewJob::new(self.tenant, "task-inline", &spec);
        queue::enqueue(&mut owner, &new).await.expect("a job").job()
    }

    /// What programs have said, in the log's order.
    pub(crate) async fn lines(&self, job: JobId) -> Vec<String> {
        sqlx::query_scalar(
            "select line from switchyard.job_logs where job_id = $1 and stream = 'stdout' order by epoch, seq",
        )
        .bind(job.0)
        .fetch_all(&self.rows)
        .await
        .expect("the log can be read")
    }

    pub(crate) async fn until_said(&self, job: JobId, text: &str) {
        until(text, WITHIN, async || {
            self.lines(job)
                .await
                .iter()
                .any(|line| line == text)
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn ended(&self, job: JobId, within: Duration) -> Ended {
        until("the end of the job", within, async || {
            sqlx::query_as(
                "select state::text, epoch, attempts, reason from switchyard.jobs_archive where id = $1",
            )
            .bind(job.0)
            .fetch_optional(&self.rows)
            .await
            .expect("the archive can be read")
        })
        .await
    }

    pub(crate) async fn runs(&self, job: JobId) -> Vec<String> {
        sqlx::query_scalar("select state from switchyard.runs where job_id = $1 order by epoch")
            .bind(job.0)
            .fetch_all(&self.rows)
            .await
            .expect("the runs can be read")
    }

    /// Why its first run ended as it did.
    async fn why(&self, job: JobId) -> Option<String> {
        sqlx::query_scalar(
            "select reason from switchyard.runs where job_id = $1 order by epoch limit 1",
        )
        .bind(job.0)
        .fetch_one(&self.rows)
        .await
        .expect("the runs can be read")
    }

    /// A job whose first run goes on for ever, and is at it, and whose second ends at once. `also` is done by both.
    async fn in_the_first_of_two_runs(&self, also: &str) -> JobId {
        let script = format!(
            "{also} echo ready; if [ -e ../../../second ]; then exit 0; fi; while :; do sleep 0.1; done"
        );
        let job = self.add(&script, json!({"retry": true})).await;
        self.until_said(job, "ready").await;
        std::fs::write(self.folder.path().join("second"), "").expect("ours");
        job
    }

    /// The first run of an ended job was lost, for this reason, and its second did what it was for.
    async fn did_at_the_second(&self, job: JobId, why: &str) {
        let ended = self.ended(job, WITHIN).await;
        assert_eq!(
            (ended.state.as_str(), ended.epoch),
            ("succeeded", 2),
            "{ended:?}"
        );
        assert_eq!(self.runs(job).await, ["lost", "succeeded"]);
        assert_eq!(self.why(job).await.as_deref(), Some(why));
    }

    async fn happened(&self, job: JobId) -> Vec<String> {
        sqlx::query_scalar(
            "select kind::text from switchyard.job_events where job_id = $1 order by id",
        )
        .bind(job.0)
        .fetch_all(&self.rows)
        .await
        .expect("the events can be read")
    }

    /// How often its end is on record.
    async fn ends(&self, job: JobId) -> i64 {
        sqlx::query_scalar("select count(*) from switchyard.jobs_archive where id = $1")
            .bind(job.0)
            .fetch_one(&self.rows)
            .await
            .expect("the archive can be read")
    }

    async fn cancel(&self, job: JobId) -> String {
        sqlx::query_scalar("select switchyard.cancel_job($1, $2, 'ann')")
            .bind(self.tenant.uuid())
            .bind(job.0)
            .fetch_one(&self.rows)
            .await
            .expect("it can be asked to stop")
    }

    async fn processes(&self, job: JobId) -> Processes {
        let mark: String = until("the run's handle", WITHIN, async || {
            sqlx::query_scalar("select runner -> 'local' ->> 'mark' from switchyard.jobs where id = $1 and runner is not null")
                .bind(job.0)
                .fetch_optional(&self.rows)
                .await
                .expect("the job can be read")
        })
        .await;
        Processes::marked(&mark)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Its database, as the owner sees it.
    pub(crate) fn rows(&self) -> &PgPool {
        &self.rows
    }

    /// A page of its portal.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn folder_of_runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_without_switchyard_and_counts_once() {
    let _turn = turn().await;
    let mut world = World::new().await;
    let job = world
        .add(
            "for i in $(seq 1 400); do echo $i; sleep 0.2; done",
            json!({}),
        )
        .await;
    world.until_said(job, "5").await;
    world.kill();
    world.start().await;
    world.until_said(job, "20").await;
    // Down for longer than three leases.
    world.kill();
    tokio::time::sleep(Duration::from_secs(3 * LEASE_SECS + 2)).await;
    world.start().await;
    let ended = world.ended(job, WITHIN).await;
    assert_eq!(
        (ended.state.as_str(), ended.epoch, ended.attempts),
        ("succeeded", 1, 1),
        "{ended:?}"
    );
    assert_eq!(world.lines(job).await, numbers(400));
    assert_eq!(world.runs(job).await, ["succeeded"]);
    assert_eq!(world.ends(job).await, 1);
    until("the run's folder to be gone", WITHIN, async || {
        let left = std::fs::read_dir(world.folder_of_runs())
            .expect("it is there")
            .flatten();
        left.filter(|entry| entry.path().is_dir())
            .count()
            .eq(&0)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_is_noticed_at_once_and_its_job_begun_again() {
    let _turn = turn().await;
    let world = World::new().await;
    // What it started in a session of its own outlives it, until the next try begins.
    let job = world
        .in_the_first_of_two_runs("(setsid sh -c 'while :; do sleep 0.1; done' &);")
        .await;
    let processes = world.processes(job).await;
    let from = Instant::now();
    for found in processes.find() {
        if found.is_runner {
            found.signal(Signal::KILL);
        }
    }
    world.ended(job, NOTICED).await;
    // By who started it, not by a lease that was over.
    assert!(
        from.elapsed() < Duration::from_secs(LEASE_SECS / 2),
        "{:?}",
        from.elapsed()
    );
    world
        .did_at_the_second(job, "its runner went away: signal: 9 (SIGKILL)")
        .await;
    assert_eq!(world.lines(job).await, ["ready", "ready"]);
    assert!(
        processes.find().is_empty(),
        "nothing of the first try is left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_died_while_nobody_was_there_is_noticed_by_its_lease() {
    let _turn = turn().await;
    let mut world = World::new().await;
    let job = world.in_the_first_of_two_runs("").await;
    world.kill();
    for found in world.processes(job).await.find() {
        found.signal(Signal::KILL);
    }
    world.start().await;
    // One lease more, if it was away for longer than one.
    world
        .ended(job, NOTICED + Duration::from_secs(LEASE_SECS))
        .await;
    world.did_at_the_second(job, "its runner went away").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_recorded_and_not_started_is_begun_again_soon_after_a_restart() {
    let _turn = turn().await;
    let tools = tempfile::tempdir().expect("a folder");
    use std::os::unix::fs::PermissionsExt as _;
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(tools.path(), all.clone()).expect("ours");
    // The first of them takes Switchyard along before it has said a word.
    let (once, program) = (tools.path().join("once"), tools.path().join("runner"));
    let script = format!(
        "#!/bin/sh\nif mkdir '{}' 2>/dev/null; then kill -9 $PPID; exit 1; fi\nexec '{}' \"$@\"\n",
        once.display(),
        Process::program().display()
    );
    std::fs::write(&program, script).expect("ours");
    std::fs::set_permissions(&program, all).expect("ours");
    let mut world = World::with(&format!(
        "            - name: RUNNER_PROGRAM\n              value: {}\n",
        program.display()
    ))
    .await;
    let job = world.add("echo done", json!({"retry": true})).await;
    until("the first runner", WITHIN, async || {
        once.exists().then_some(())
    })
    .await;
    world.kill();
    assert_eq!(world.runs(job).await, ["launching"]);
    world.start().await;
    // Within a minute: the time for the first word is three.
    world
        .did_at_the_second(
            job,
            "its runner went away: it is not where it was to be started",
        )
        .await;
    assert_eq!(world.lines(job).await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_cannot_be_one_says_why_at_once() {
    let _turn = turn().await;
    let world =
        World::with("            - name: RUN_AS\n              value: nobody-of-ours\n").await;
    let from = Instant::now();
    let job = world.add("echo never", json!({"retry": true})).await;
    let ended = world.ended(job, WITHIN).await;
    assert!(
        from.elapsed() < Duration::from_secs(30),
        "{:?}",
        from.elapsed()
    );
    assert_eq!(
        (ended.state.as_str(), ended.attempts),
        ("dead", 2),
        "{ended:?}"
    );
    let why = ended.reason.unwrap_or_default();
    assert!(
        why.starts_with("its runner went away: exit status: 78: ") && why.contains("RUN_AS"),
        "{why}"
    );
    assert_eq!(world.runs(job).await, ["lost", "lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_slept_past_its_lease_stops_when_it_is_told() {
    let _turn = turn().await;
    let world = World::new().await;
    let job = world
        .add(
            "echo ready; for i in $(seq 1 300); do sleep 0.1; done; echo late",
            json!({}),
        )
        .await;
    world.until_said(job, "ready").await;
    let processes = world.processes(job).await;
    let runner = processes
        .find()
        .into_iter()
        .find(|found| found.is_runner)
        .expect("it runs");
    runner.signal(Signal::STOP);
    // The job is somebody else's: that one does it, after it has ended what it found.
    until("a second claim", NOTICED, async || {
        (world.runs(job).await.len() == 2).then_some(())
    })
    .await;
    let ended = world.ended(job, WITHIN).await;
    assert_eq!(
        (ended.state.as_str(), ended.epoch),
        ("succeeded", 2),
        "{ended:?}"
    );
    assert!(processes.gone_within(Duration::from_secs(10)).await);
    assert_eq!(world.lines(job).await, ["ready", "ready", "late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_applied_when_nothing_runs_any_more() {
    let _turn = turn().await;
    let world = World::new().await;
    let script = "trap 'echo asked; sleep 1; echo saved; exit 1' INT; (setsid sleep 1000 &); echo ready; \
                  while :; do sleep 0.05; done";
    let job = world.add(script, json!({})).await;
    world.until_said(job, "ready").await;
    let processes = world.processes(job).await;
    let from = Instant::now();
    world.cancel(job).await;
    let ended = world.ended(job, WITHIN).await;
    assert!(
        from.elapsed() < Duration::from_secs(4),
        "{:?}",
        from.elapsed()
    );
    assert_eq!(ended.state, "cancelled");
    let left = processes.find();
    assert!(left.iter().all(|found| found.is_runner), "{left:?}");
    assert_eq!(world.lines(job).await, ["ready", "asked", "saved"]);
    let happened = world.happened(job).await;
    let place = |kind: &str| happened.iter().position(|it| it == kind);
    assert!(
        place("cancel_acknowledged") < place("cancelled"),
        "{happened:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_what_a_killed_runner_left_behind() {
    let _turn = turn().await;
    let world = World::new().await;
    let script = "setsid sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.1; done' & wait";
    let job = world.add(script, json!({})).await;
    world.until_said(job, "ready").await;
    let processes = world.processes(job).await;
    for found in processes.find() {
        if found.is_runner {
            found.signal(Signal::KILL);
        }
    }
    let from = Instant::now();
    world.cancel(job).await;
    let ended = world.ended(job, WITHIN).await;
    // By whom it was found, not by a lease that was over.
    assert!(
        from.elapsed() < Duration::from_secs(LEASE_SECS / 2),
        "{:?}",
        from.elapsed()
    );
    assert_eq!(ended.state, "cancelled");
    assert!(processes.find().is_empty());
    assert_eq!(world.runs(job).await, ["cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_moment_leaves_one_outcome() {
    let _turn = turn().await;
    let world = World::new().await;
    // From before there is a runner to after its end.
    let mut jobs = Vec::new();
    for wait in (0..12).map(|n| Duration::from_millis(n * 60)) {
        let job = world.add("echo done", json!({})).await;
        tokio::time::sleep(wait).await;
        world.cancel(job).await;
        jobs.push(job);
    }
    for job in jobs {
        let ended = world.ended(job, NOTICED).await;
        let lines = world.lines(job).await;
        match ended.state.as_str() {
            "succeeded" => assert_eq!(lines, ["done"]),
            "cancelled" => assert!(lines.len() <= 1, "{lines:?}"),
            _ => panic!("{ended:?}"),
        }
        assert_eq!(world.ends(job).await, 1);
        let runs = world.runs(job).await;
        assert!(
            runs.iter()
                .all(|state| matches!(state.as_str(), "succeeded" | "cancelled")),
            "{runs:?}"
        );
    }
}
