//! Functions that are not ours: those of the guide, run as it says, and one behind a network that fails.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use bundle::functions::FUNCTIONS;
use bundle::local::manifests::Manifests;
use bundle::local::{Databases, Runtime, RuntimeOptions};
use host::ServeLimits;
use model::Role;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use store::Keyring;
use tempfile::TempDir;
use testkit::{Proxy, TestDb};
use tokio_util::sync::CancellationToken;

use crate::harness::until;
use crate::outside;

const WITHIN: Duration = Duration::from_secs(30);

/// Everything of ours, on this machine, with a tenant `acme`.
struct Ours {
    runtime: Runtime,
    rows: PgPool,
    db: TestDb,
    _folder: TempDir,
}

impl Ours {
    async fn start(settings: BTreeMap<String, String>) -> Result<Self> {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let mut owner = rows.acquire().await?;
        store::people::ensure_member(&mut owner, "acme", "Ann", Role::Admin).await?;
        let folder = tempfile::tempdir()?;
        let key = folder.path().join("key");
        std::fs::write(&key, Keyring::generate().expose_secret())?;
        let url = || db.owner_url().into();
        let runtime = Runtime::start(RuntimeOptions {
            manifests: Manifests::embedded()?,
            functions: FUNCTIONS.to_vec(),
            databases: Databases {
                system_url: url(),
                tenant_url: url(),
                observer_url: url(),
                owner_url: url(),
            },
            master_key_file: key,
            blobs_url: folder.path().join("blobs").display().to_string(),
            run_data: folder.path().to_owned(),
            port: 0,
            isolate: Vec::new(),
            executable: None,
            settings,
        })
        .await?;
        Ok(Self {
            runtime,
            rows,
            db,
            _folder: folder,
        })
    }

    /// Runs a command of the guide, `switchyard …`, on this installation.
    fn switchyard(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_switchyard-under-test"))
            .args(arguments)
            .env("DATABASE_URL", self.db.owner_url())
            .env("USER", "ann")
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    fn send_to(&self, url: &str) -> Result<()> {
        self.switchyard(&["task", "set", "hello", "--executor", "http", "--url", url])
            .map(drop)
    }

    /// The results of all jobs that have ended, in their order.
    async fn results(&self) -> Vec<(String, Option<Value>)> {
        sqlx::query_as("select state::text, result from switchyard.jobs_archive order by id")
            .fetch_all(&self.rows)
            .await
            .expect("the archive can be read")
    }
}

/// A program of the guide, listening. Killed when it is dropped.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    /// Nothing, after saying so, without what runs it.
    async fn start(interpreter: &str, file: &str) -> Result<Option<Self>> {
        if Command::new(interpreter).arg("--version").output().is_err() {
            outside::skipped(&format!("there is no {interpreter}"));
            return Ok(None);
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(interpreter)
            .arg(outside::root().join("docs/examples").join(file))
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let program = Self {
            child,
            url: format!("http://127.0.0.1:{port}/"),
        };
        until(&format!("{file} listens"), WITHIN, || async {
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        Ok(Some(program))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn guide() -> String {
    std::fs::read_to_string(outside::root().join("docs/external-functions.md"))
        .expect("the guide is there")
}

/// The blocks of a language in the guide.
fn blocks(language: &str) -> Vec<String> {
    let guide = guide();
    let mut blocks = Vec::new();
    let mut rest = guide.as_str();
    while let Some((_, block)) = rest.split_once(&format!("```{language}\n")) {
        let (block, after) = block.split_once("```").expect("a block ends");
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

#[test]
fn the_guide_shows_the_examples_as_they_are_and_they_are_ten_lines() {
    for (language, file) in [("python", "hello.py"), ("js", "hello.mjs")] {
        let path = Path::new("docs/examples").join(file);
        let text = std::fs::read_to_string(outside::root().join(path)).expect("it is there");
        assert_eq!(blocks(language), std::slice::from_ref(&text), "{file}");
        assert!(text.lines().count() <= 10, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_becomes_the_work_of_somebodys_function_which_changes_hands_and_back() -> Result<()> {
    let Some(python) = Program::start("python3", "hello.py").await? else {
        return Ok(());
    };
    let Some(node) = Program::start("node", "hello.mjs").await? else {
        return Ok(());
    };
    let ours = Ours::start(BTreeMap::new()).await?;
    let sql = blocks("sql").concat();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&ours.rows)
        .await?;

    let mut greeted = Vec::new();
    for (url, name) in [
        (&python.url, "Ann"),
        (&node.url, "Bob"),
        (&python.url, "Eve"),
    ] {
        ours.send_to(url)?;
        sqlx::query("insert into people (name) values ($1)")
            .bind(name)
            .execute(&ours.rows)
            .await?;
        let greeting = json!({ "greeting": format!("Hello, {name}!") });
        greeted.push(("succeeded".to_owned(), Some(greeting)));
        until(&format!("{name} is greeted by {url}"), WITHIN, || async {
            (ours.results().await == greeted).then_some(())
        })
        .await;
    }
    let listed = ours.switchyard(&["task", "list"])?;
    ensure!(
        listed.contains(&format!("http, at {}", python.url)),
        "{listed}"
    );
    let heard: i64 =
        sqlx::query_scalar("select count(*) from switchyard.job_events where kind = 'called_back'")
            .fetch_one(&ours.rows)
            .await?;
    assert_eq!(heard, 1, "of the one that calls back");
    ours.runtime.stop().await;
    Ok(())
}

/// Where a proxy leads to is only known by the first call: it is made then.
#[derive(Default)]
struct Line(tokio::sync::OnceCell<Proxy>);

impl Line {
    async fn through(&self, url: &url::Url) -> Result<url::Url> {
        let target: SocketAddr = url.socket_addrs(|| None)?[0];
        let proxy = self.0.get_or_init(|| Proxy::to(target)).await;
        let mut through = url.clone();
        through
            .set_port(Some(proxy.address().port()))
            .ok()
            .context("it has a port")?;
        Ok(through)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a function of somebody else has a client of its own, and both end with the test"
)]
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_falls_silent_between_function_and_callback_costs_no_second_run()
-> Result<()> {
    const TRIES: usize = 6;
    const TRY_EVERY: Duration = Duration::from_millis(500);
    let line: Arc<Line> = Arc::default();
    let (calls, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // It says it again until it hears an answer, as a function should.
    let function = {
        let (line, calls, answers) = (Arc::clone(&line), Arc::clone(&calls), Arc::clone(&answers));
        Router::new().fallback(move |headers: HeaderMap| {
            let (line, answers) = (Arc::clone(&line), Arc::clone(&answers));
            calls.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let text = |name: &str| headers[name].to_str().expect("a header").to_owned();
                let url = text("x-callback-url").parse().expect("a URL");
                let url = line.through(&url).await.expect("a proxy");
                line.0.get().expect("it is made").fall_silent();
                let http = reqwest::Client::new();
                let ask = || {
                    http.post(url.clone())
                        .header("x-job-id", text("x-job-id"))
                        .header("x-worker-id", text("x-worker-id"))
                        .timeout(TRY_EVERY)
                        .send()
                };
                while !ask().await.is_ok_and(|answer| answer.status().is_success()) {}
                answers.fetch_add(1, Ordering::SeqCst);
            });
            async { StatusCode::ACCEPTED }
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(host::serve(
        listener,
        function,
        ServeLimits::default(),
        stop,
    ));
    let ours = Ours::start(BTreeMap::new()).await?;
    ours.send_to(&url)?;
    sqlx::query(
        "select switchyard.add_job(database_id, 'hello', '{}') from switchyard.tenants where name = 'acme'",
    )
    .execute(&ours.rows)
    .await?;
    until("it calls back in vain", WITHIN, || async {
        line.0
            .get()
            .is_some_and(|proxy| proxy.accepted() >= TRIES)
            .then_some(())
    })
    .await;
    assert_eq!(ours.results().await, [], "nothing got through");
    line.0.get().context("it is made")?.heal();
    until("it is heard", WITHIN, || async {
        (answers.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    assert_eq!(ours.results().await, [("succeeded".to_owned(), None)]);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "and was called once");
    let over: i64 =
        sqlx::query_scalar("select count(*) from switchyard.job_events where kind = 'lease_over'")
            .fetch_one(&ours.rows)
            .await?;
    assert_eq!(over, 0);
    ours.runtime.stop().await;
    Ok(())
}
