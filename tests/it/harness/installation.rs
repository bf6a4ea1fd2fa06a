//! `switchyard up` on a database that the test writes to as well.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use exec::Processes;
use host::Env;
use sqlx::PgPool;
use testkit::TestDb;

use super::{Api, Process, free_port, until};

/// How long a run may take to be started.
const STARTED_MAX: Duration = Duration::from_secs(120);

/// An installation on a database that the test writes to as well.
pub(crate) struct Installation {
    up: Process,
    db: TestDb,
    rows: PgPool,
    folder: tempfile::TempDir,
    port: String,
    settings: Vec<String>,
}

impl Installation {
    /// Started, with nothing in it but its first tenant.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with settings that its operator gives to all functions, as `NAME=VALUE`.
    pub(crate) async fn with(settings: &[String]) -> Self {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let folder = tempfile::tempdir().expect("a folder");
        // Runs have users of their own, who pass through.
        let passage = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), passage).expect("our folder");
        let port = free_port().to_string();
        let mut it = Self {
            up: Self::up(&db, folder.path(), &port, settings),
            db,
            rows,
            folder,
            port,
            settings: settings.to_vec(),
        };
        it.up.says("Ctrl-C ends it").await;
        it
    }

    /// `kill -9` of all of it but the database.
    pub(crate) fn kill(&mut self) {
        self.up.kill();
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self) {
        self.up = Self::up(&self.db, self.folder.path(), &self.port, &self.settings);
        self.up.says("Ctrl-C ends it").await;
    }

    /// Its folder, which goes away with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of its database, for its owner.
    pub(crate) fn database_url(&self) -> String {
        self.db.owner_url()
    }

    /// Its database, as the owner sees it.
    pub(crate) fn rows(&self) -> &PgPool {
        &self.rows
    }

    /// A page of the portal.
    pub(crate) fn portal(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// The link that was printed at the start.
    pub(crate) async fn sign_in_link(&mut self) -> String {
        let line = self.up.says("/sign-in?token=").await;
        let mut words = line.split_whitespace();
        let link = words.find(|word| word.starts_with("http"));
        link.expect("a link").to_owned()
    }

    /// Starts a job that nobody works on, and returns its number.
    pub(crate) fn idle_job(&self) -> i64 {
        let started = self.run(&["run", "nobodys", "--detach"]);
        let id = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        id.parse().expect("a number")
    }

    /// The API, as an admin asks it.
    pub(crate) async fn admin(&self) -> Api {
        Api::of(self).await
    }

    /// The processes of a job's run, once it has been started.
    pub(crate) async fn processes(&self, job: i64) -> Processes {
        let mark: String = until("the run's handle", STARTED_MAX, async || {
            sqlx::query_scalar(
                "select runner -> 'local' ->> 'mark' from switchyard.jobs where id = $1 and runner is not null",
            )
            .bind(job)
            .fetch_optional(self.rows())
            .await
            .expect("the job can be read")
        })
        .await;
        Processes::marked(&mark)
    }

    fn up(db: &TestDb, folder: &Path, port: &str, settings: &[String]) -> Process {
        let data = folder.to_str().expect("our folders are text");
        let url = ("DATABASE_URL".to_owned(), db.owner_url().to_owned());
        let mut arguments = vec!["up", "--port", port, "--data-dir", data];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        Process::start(&folder.join("up.log"), &arguments, [url])
    }

    /// A command beside it, as the same account gives it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let own = Env::of_process();
        let mut command = Command::new(Process::program());
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.folder.path())
            .env_clear()
            .env("PATH", own.get("PATH").unwrap_or_default())
            .env("DATABASE_URL", self.db.owner_url())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command beside it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("the program starts")
    }

    /// Writes lines into a job's log, a text with their numbers behind it.
    pub(crate) async fn print(&self, job: i64, text: &str, from: i64, to: i64) {
        // Lines belong to a claim.
        sqlx::query("update switchyard.jobs set epoch = 1 where id = $1 and epoch = 0")
            .bind(job)
            .execute(&self.rows)
            .await
            .expect("a claim that was");
        sqlx::query(
            "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
             select database_id, id, greatest(epoch, 1), n, 'stdout', $4 || n
             from switchyard.jobs, generate_series($2::bigint, $3::bigint) n
             where id = $1",
        )
        .bind(job)
        .bind(from)
        .bind(to)
        .bind(text)
        .execute(&self.rows)
        .await
        .expect("lines");
    }
}
