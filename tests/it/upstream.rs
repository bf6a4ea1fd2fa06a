//! Upstream's published worker, function wrapper, callback server and scheduler, unchanged, on our database.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use host::Env;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;
use url::Url;

use crate::harness::{turn, until};
use crate::outside;

/// Any other than upstream's default, which shows that its setting is heeded.
const SCHEMA: &str = "upstream_jobs";
const TENANT: &str = "aaaaaaaa-0000-4000-8000-000000000000";
/// Upstream's processes start within some seconds on a busy machine, and poll every 15.
const WITHIN: Duration = Duration::from_secs(60);
/// Sooner than its poll: it was notified.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Where the packages are installed; nothing, after saying so, without what installs them.
fn packages() -> anyhow::Result<Option<PathBuf>> {
    for program in ["node", "npm"] {
        if Command::new(program).arg("--version").output().is_err() {
            outside::skipped(&format!("there is no {program}"));
            return Ok(None);
        }
    }
    let from = outside::root().join("tests/upstream");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("upstream");
    fs::create_dir_all(&to)?;
    // Two who test at once install one after the other.
    let lock = File::create(to.join("lock"))?;
    lock.lock()?;
    for file in ["callback.js", "function.js", "package.json"] {
        fs::copy(from.join(file), to.join(file))?;
    }
    let wanted = fs::read(from.join("package-lock.json"))?;
    let installed = to.join("installed.json");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(to));
    }
    fs::write(to.join("package-lock.json"), &wanted)?;
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&to)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        outside::skipped(&format!("npm cannot install upstream's packages: {said}"));
        return Ok(None);
    }
    fs::write(installed, wanted)?;
    Ok(Some(to))
}

/// A process of upstream's. Killed when it is dropped.
struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    fn start(
        packages: &Path,
        script: &str,
        log: &Path,
        settings: &BTreeMap<&str, String>,
    ) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let path = Env::of_process().get("PATH").unwrap_or_default().to_owned();
        let child = Command::new("node")
            .arg(script)
            .current_dir(packages)
            .env_clear()
            .env("PATH", path)
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start {script}"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// The rest of the lines that begin with a text.
    fn said(&self, start: &str) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter_map(|line| line.strip_prefix(start));
        lines.map(str::to_owned).collect()
    }

    /// The port that it says it listens on.
    async fn port(&self) -> String {
        until(
            &format!("a port in {}", self.log.display()),
            WITHIN,
            async || self.said("listening on ").pop(),
        )
        .await
    }

    fn kill(&mut self) {
        // Both fail only when it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All of upstream's runtime.
struct Upstream {
    db: TestDb,
    rows: PgPool,
    packages: PathBuf,
    logs: tempfile::TempDir,
    settings: BTreeMap<&'static str, String>,
    function: Node,
    _callbacks: Node,
}

impl Upstream {
    /// The function and the callback server; nothing, after saying so, where upstream's packages cannot be had.
    async fn start() -> anyhow::Result<Option<Self>> {
        let Some(packages) = packages()? else {
            return Ok(None);
        };
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        sqlx::query("select switchyard.install_jobs_schema($1)")
            .bind(SCHEMA)
            .execute(&rows)
            .await?;
        let logs = tempfile::tempdir()?;
        let mut settings = connection(&db)?;
        settings.insert("JOBS_SCHEMA", SCHEMA.to_owned());
        settings.insert("HOSTNAME", "worker-of-upstream".to_owned());
        let start = |script, settings: &_| {
            Node::start(&packages, script, &logs.path().join(script), settings)
        };
        let function = start("function.js", &settings)?;
        let callbacks = start("callback.js", &settings)?;
        settings.insert(
            "INTERNAL_GATEWAY_URL",
            format!("http://127.0.0.1:{}", function.port().await),
        );
        settings.insert(
            "INTERNAL_JOBS_CALLBACK_URL",
            format!("http://127.0.0.1:{}/callback", callbacks.port().await),
        );
        Ok(Some(Self {
            db,
            rows,
            packages,
            logs,
            settings,
            function,
            _callbacks: callbacks,
        }))
    }

    /// A process of one of its packages, by the program that it publishes.
    fn run(&self, package: &str) -> anyhow::Result<Node> {
        let script = format!("node_modules/@constructive-io/{package}/run.js");
        let log = self.logs.path().join(package);
        Node::start(&self.packages, &script, &log, &self.settings)
    }

    async fn add(&self, task: &str, more: &str) -> anyhow::Result<i64> {
        let statement = format!("select id from {SCHEMA}.add_job($1::uuid, $2{more})");
        Ok(sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(TENANT.parse::<uuid::Uuid>()?)
            .bind(task)
            .fetch_one(&self.rows)
            .await?)
    }

    /// Waits until a query that answers with one truth answers with yes.
    async fn until(&self, what: &str, limit: Duration, query: &str) -> anyhow::Result<()> {
        let seen = until(what, limit, async || {
            let query = sqlx::query_scalar::<_, bool>(AssertSqlSafe(query.to_owned()));
            match query.fetch_one(&self.rows).await {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            }
        });
        Ok(seen.await?)
    }

    async fn until_ended(&self, job: i64, state: &str, limit: Duration) -> anyhow::Result<()> {
        let query = format!(
            "select exists (select from switchyard.jobs_archive where id = {job} and state = '{state}')"
        );
        self.until(&format!("job {job} {state}"), limit, &query)
            .await
    }
}

/// How `pg` for Node is told of a database.
fn connection(db: &TestDb) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let url = Url::parse(&db.owner_url())?;
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let host = query
        .get("host")
        .map(String::as_str)
        .or(url.host_str())
        .context("the database has an address")?;
    ensure!(!url.username().is_empty(), "the database has a user");
    Ok(BTreeMap::from([
        ("PGHOST", host.to_owned()),
        ("PGPORT", url.port().unwrap_or(5432).to_string()),
        ("PGUSER", url.username().to_owned()),
        ("PGPASSWORD", url.password().unwrap_or_default().to_owned()),
        ("PGDATABASE", url.path().trim_start_matches('/').to_owned()),
    ]))
}

#[tokio::test]
async fn upstreams_worker_completes_fails_retries_and_starts_again() -> anyhow::Result<()> {
    let _turn = turn().await;
    let Some(upstream) = Upstream::start().await? else {
        return Ok(());
    };
    let waiting = upstream
        .add("hello", r#", '{"name": "Ann"}'::json"#)
        .await?;
    let mut worker = upstream.run("knative-job-worker")?;
    upstream.until_ended(waiting, "succeeded", WITHIN).await?;
    let called = upstream.function.said("called ");
    let called: Vec<Value> = called
        .iter()
        .map(|call| serde_json::from_str(call))
        .collect::<Result<_, _>>()?;
    assert_eq!(
        called,
        [json!({
            "x-worker-id": "worker-of-upstream",
            "x-job-id": waiting.to_string(),
            "x-database-id": TENANT,
            "x-callback-url": upstream.settings["INTERNAL_JOBS_CALLBACK_URL"],
            "body": {"name": "Ann"},
        })]
    );

    // Idle, it is woken by what is added.
    let told = upstream.add("hello", "").await?;
    upstream.until_ended(told, "succeeded", AT_ONCE).await?;

    let broken = upstream.add("broken", ", max_attempts => 2").await?;
    let refused = upstream.add("refused", ", max_attempts => 1").await?;
    upstream.until_ended(refused, "dead", WITHIN).await?;
    let retried = format!(
        "select exists (
            select from {SCHEMA}.jobs
            where id = {broken} and attempts = 1 and locked_by is null and last_error = 'it''s broken' and run_at < now()
        )"
    );
    upstream
        .until("the time of the second attempt", WITHIN, &retried)
        .await?;
    upstream.add("hello", "").await?;
    upstream.until_ended(broken, "dead", WITHIN).await?;
    let reasons: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select last_error from {SCHEMA}.jobs where id in ({broken}, {refused}) order by id"
    )))
    .fetch_all(&upstream.rows)
    .await?;
    assert_eq!(reasons, ["it's broken", "HTTP 503"]);

    // Killed while it waits for its function, it gets its job back when it starts again under its name.
    let stuck = upstream.add("stuck", "").await?;
    until("a call that is not answered", WITHIN, async || {
        upstream.function.said("stuck").pop()
    })
    .await;
    worker.kill();
    let _again = upstream.run("knative-job-worker")?;
    upstream.until_ended(stuck, "succeeded", WITHIN).await?;
    upstream.rows.close().await;
    drop(upstream.db);
    Ok(())
}

#[tokio::test]
async fn upstreams_scheduler_fires_drops_and_takes_up_again() -> anyhow::Result<()> {
    let _turn = turn().await;
    let Some(upstream) = Upstream::start().await? else {
        return Ok(());
    };
    let _worker = upstream.run("knative-job-worker")?;
    let _scheduler = upstream.run("job-scheduler")?;
    let schedule = format!(
        "select id from {SCHEMA}.add_scheduled_job(
            '{TENANT}', 'hello', '{{\"each\": \"second\"}}', '{{\"rule\": \"*/1 * * * * *\"}}', 'pulse'
        )"
    );
    let add = async || {
        sqlx::query_scalar::<_, i64>(AssertSqlSafe(schedule.clone()))
            .fetch_one(&upstream.rows)
            .await
    };
    let done = |schedule: i64, times: u8| {
        format!(
            "select count(*) >= {times} from switchyard.schedule_ticks t
             join switchyard.jobs_archive a on a.id = t.job_id and a.state = 'succeeded'
             where t.schedule_id = {schedule}"
        )
    };
    let first = add().await?;
    upstream
        .until("three firings that were done", WITHIN, &done(first, 3))
        .await?;

    // Held by the scheduler, it is replaced; the scheduler hears of the new one and drops the old.
    let second = add().await?;
    ensure!(second != first, "it was held");
    upstream
        .until("three firings of the new one", WITHIN, &done(second, 3))
        .await?;
    let held: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(format!(
        "select id, locked_by from {SCHEMA}.scheduled_jobs"
    )))
    .fetch_all(&upstream.rows)
    .await?;
    assert_eq!(held, [(second, "worker-of-upstream".to_owned())]);
    upstream.rows.close().await;
    drop(upstream.db);
    Ok(())
}
