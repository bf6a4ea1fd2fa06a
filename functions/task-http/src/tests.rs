use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use database::{Connect, SystemDb};
use host::{Env, Resources, ServeLimits};
use model::{CancelOutcome, JobId, JobState, TenantId};
use queue::executors::{CompletesBy, Executor, Heard, NewDefault, NewExecutor, Said, ToldLines};
use queue::{By, Hold, Queue};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use store::{CallbackToken, Keyring};
use tempfile::NamedTempFile;
use testkit::TestDb;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

const TASK: &str = "hello";
const ANN: By<'static> = By {
    name: "Ann",
    why: None,
};

/// The function, served, and a tenant.
struct World {
    router: Router,
    ctx: host::Ctx,
    queue: Queue,
    rows: PgPool,
    tenant: TenantId,
    keyring: Keyring,
    _key: NamedTempFile,
    _db: TestDb,
}

async fn world() -> World {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let key = Keyring::generate();
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(key.expose_secret().as_bytes())
        .expect("a file");
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "20")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"))
        .with("HEARTBEAT_SECS", "1")
        .with("CALLBACK_URL", "http://callback.test/callback")
        .with("FUNCTIONS_NAMESPACE", "functions")
        .with("OPENFAAS_GATEWAY", "http://gateway.test:8080");
    let resources = Resources::new().expect("an HTTP client");
    let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
    let system = SystemDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::System,
        connections_max: 4,
        acquire_timeout: Duration::from_secs(20),
    })
    .expect("a URL");
    let tenant = new_tenant(&rows, "acme").await;
    World {
        router: mounted.router,
        ctx: mounted.ctx,
        queue: Queue::new(system),
        rows,
        tenant,
        keyring: Keyring::from_base64(&key).expect("a key"),
        _key: file,
        _db: db,
    }
}

async fn new_tenant(rows: &PgPool, name: &str) -> TenantId {
    let id: Uuid = sqlx::query_scalar(
        "insert into switchyard.tenants (name) values ($1) returning database_id",
    )
    .bind(name)
    .fetch_one(rows)
    .await
    .expect("a tenant");
    id.into()
}

fn to<'a>(executor: Option<Executor>, url: Option<&'a str>) -> NewExecutor<'a> {
    NewExecutor {
        task: TASK,
        executor,
        url,
        namespace: None,
        completes_by: None,
        callback_deadline: None,
        attempt_time_max: None,
        attempts_max: None,
        by: ANN,
    }
}

impl World {
    /// The task's row. What fails rests for seconds, as upstream has it: with full jitter it may rest for next to nothing, and
    /// the drain that is waited for would try it once more.
    async fn set(&self, new: &NewExecutor<'_>) {
        let set = self.queue.set_executor(new).await;
        set.expect("it is possible");
        sqlx::query("update switchyard.tasks set backoff = 'upstream' where name = $1")
            .bind(TASK)
            .execute(&self.rows)
            .await
            .expect("tasks");
    }

    /// The task's function is at this URL.
    async fn at(&self, url: &str) {
        self.set(&to(Some(Executor::Http), Some(url))).await;
    }

    async fn add(&self, tenant: TenantId, payload: &str) -> JobId {
        let id: i64 = sqlx::query_scalar(
            "select job_id from switchyard.add_job($1, $2, $3::jsonb, p_actor => 'Ann', p_traceparent => $4)",
        )
        .bind(tenant.uuid())
        .bind(TASK)
        .bind(payload)
        .bind("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .fetch_one(&self.rows)
        .await
        .expect("a job");
        JobId(id)
    }

    async fn job(&self) -> JobId {
        self.add(self.tenant, "{}").await
    }

    /// Wakes the function and waits until it has worked off what it could.
    async fn wake(&self) {
        self.wake_as("external").await;
    }

    async fn wake_as(&self, executor: &str) {
        let wakeup = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", Uuid::new_v4().to_string())
            .header("ce-source", "/test")
            .header("ce-type", "dev.switchyard.job.queued.v1")
            .header("ce-task", TASK)
            .header("ce-executor", executor)
            .header("content-type", "application/json")
            .body(Body::from(json!({"task": TASK}).to_string()))
            .expect("a request");
        let answer = self.router.clone().oneshot(wakeup).await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::ACCEPTED);
    }

    async fn row(&self, job: JobId) -> (JobState, Option<String>, Option<Value>) {
        let (state, reason, result): (String, Option<String>, Option<Value>) = sqlx::query_as(
            "select state::text, last_error, null::jsonb from switchyard.jobs where id = $1
             union all
             select state::text, reason, result from switchyard.jobs_archive where id = $1",
        )
        .bind(job.0)
        .fetch_one(&self.rows)
        .await
        .expect("there is one row of a job");
        (state.parse().expect("a state"), reason, result)
    }

    async fn state(&self, job: JobId) -> JobState {
        self.row(job).await.0
    }

    async fn number(&self, sql: String) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&self.rows)
            .await
            .expect("a number")
    }

    async fn attempts(&self, job: JobId) -> i64 {
        self.number(format!(
            "select attempts::bigint from switchyard.jobs where id = {job}"
        ))
        .await
    }

    /// The reason of the last time that a job was put off.
    async fn put_off(&self, job: JobId) -> Option<String> {
        sqlx::query_scalar(
            "select data ->> 'reason' from switchyard.job_events
             where job_id = $1 and kind = 'snoozed' order by id desc limit 1",
        )
        .bind(job.0)
        .fetch_optional(&self.rows)
        .await
        .expect("an answer")
    }

    async fn come_due(&self) {
        sqlx::query("update switchyard.jobs set run_at = now() - interval '1 s' where state = 'queued' and not due")
            .execute(&self.rows)
            .await
            .expect("jobs");
    }
}

/// What a function was asked.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// Somebody's function, which answers every call with the same.
struct Theirs {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: DropGuard,
}

type Headers = &'static [(&'static str, &'static str)];

impl Theirs {
    async fn answering(status: u16, headers: Headers, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::start(move || {
            let mut response = Response::new(Body::from(body.clone()));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            for (name, value) in headers {
                let value = value.parse().expect("a value");
                response.headers_mut().insert(*name, value);
            }
            std::future::ready(response)
        })
        .await
    }

    async fn start<F>(answer: impl Fn() -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| {
            let (record, answer) = (Arc::clone(&record), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20)
                    .await
                    .unwrap_or_default();
                record.lock().expect("nobody panicked").push(Seen {
                    path: parts.uri.path().to_owned(),
                    headers: parts.headers,
                    body,
                });
                answer().await
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/in", listener.local_addr().expect("it listens"));
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "a test's own server")]
        tokio::spawn(host::serve(
            listener,
            router,
            ServeLimits::default(),
            stop.clone(),
        ));
        Self {
            url,
            seen,
            _stop: stop.drop_guard(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panicked").clone()
    }

    fn calls(&self) -> usize {
        self.seen().len()
    }
}

#[tokio::test]
async fn a_job_is_one_post_of_its_payload_and_the_answer_is_its_result() {
    let world = world().await;
    let theirs = Theirs::answering(
        200,
        &[("content-type", "application/json")],
        r#"{"greeting":"Hello, Ann!"}"#,
    )
    .await;
    world.at(&theirs.url).await;
    // More digits than a float has.
    let payload = r#"{"name": "Zoë", "number": 12345678901234567890.5}"#;
    let job = world.add(world.tenant, payload).await;
    world.wake().await;
    assert_eq!(
        world.row(job).await,
        (
            JobState::Succeeded,
            None,
            Some(json!({"greeting": "Hello, Ann!"}))
        )
    );
    let [seen] = &theirs.seen()[..] else {
        panic!("it was called {} times", theirs.calls());
    };
    assert_eq!(seen.path, "/in");
    assert_eq!(std::str::from_utf8(&seen.body), Ok(payload));
    let id = job.to_string();
    let tenant = world.tenant.uuid().to_string();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-job-id", id.as_str()),
        ("idempotency-key", &id),
        ("x-database-id", &tenant),
        ("x-callback-url", "http://callback.test/callback"),
        ("x-current-user-id", "Ann"),
        ("x-job-epoch", "1"),
        ("x-job-attempt", "1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let mut told = String::new();
    world
        .ctx
        .metrics()
        .encode(&mut told)
        .expect("a string takes all");
    let asked = r#"integration_requests_total{system="function",operation="call",code="2xx"} "#;
    let count = told
        .lines()
        .find_map(|line| line.split_once(asked)?.1.parse().ok());
    assert!(count >= Some(1_u64), "other tests ask as well: {told}");
    let token = seen.header("x-worker-id");
    let token = CallbackToken::verify(token, &[&world.keyring], world.ctx.now())
        .expect("it is a token of ours");
    assert_eq!((token.job, token.epoch), (job, 1));
}

#[tokio::test]
async fn what_answers_202_or_completes_by_callback_is_waited_for() {
    let world = world().await;
    for (status, by) in [
        (202, CompletesBy::Response),
        (202, CompletesBy::Callback),
        (200, CompletesBy::Callback),
    ] {
        let theirs = Theirs::answering(status, &[], "{}").await;
        world
            .set(&NewExecutor {
                completes_by: Some(by),
                callback_deadline: Some(Duration::from_secs(40)),
                ..to(Some(Executor::Http), Some(&theirs.url))
            })
            .await;
        let job = world.job().await;
        world.wake().await;
        assert_eq!(world.state(job).await, JobState::Waiting, "{status} {by:?}");
        let left = format!(
            "select round(extract(epoch from lease_until - now()))::bigint from switchyard.jobs where id = {job}"
        );
        assert!((30..=40).contains(&world.number(left).await));
        let hold = Hold { job, epoch: 1 };
        let success = Said::Success(None);
        let log = ToldLines::default();
        let heard = world.queue.callback(world.tenant, hold, &success, &log);
        assert_eq!(
            heard.await.expect("an answer"),
            Heard::Applied {
                state: JobState::Succeeded,
                cancel: false
            }
        );
    }
}

#[tokio::test]
async fn an_error_header_on_a_200_is_never_a_success_although_the_callback_is_lost() {
    let world = world().await;
    for by in [CompletesBy::Response, CompletesBy::Callback] {
        let theirs =
            Theirs::answering(200, &[("x-job-error", "true")], r#"{"message":"no disk"}"#).await;
        world
            .set(&NewExecutor {
                completes_by: Some(by),
                attempts_max: Some(2),
                ..to(Some(Executor::Http), Some(&theirs.url))
            })
            .await;
        let job = world.job().await;
        world.wake().await;
        let (state, reason, _) = world.row(job).await;
        assert_eq!(
            (state, reason.as_deref()),
            (JobState::Queued, Some("no disk"))
        );
        world.come_due().await;
        world.wake().await;
        assert_eq!(world.state(job).await, JobState::Dead);
        assert_eq!(theirs.calls(), 2);
    }
}

#[tokio::test]
async fn a_lost_callback_is_noticed_at_its_deadline() {
    let world = world().await;
    let theirs = Theirs::answering(202, &[], "").await;
    world.at(&theirs.url).await;
    let job = world.job().await;
    world.wake().await;
    let over = format!(
        "update switchyard.jobs set lease_until = now() - interval '1 s' where id = {job} returning id"
    );
    world.number(over).await;
    assert_eq!(world.queue.reap(10).await.expect("an answer"), 1);
    let (state, reason, _) = world.row(job).await;
    assert_eq!(
        (state, reason.as_deref()),
        (JobState::Queued, Some("no answer before its deadline"))
    );
}

#[tokio::test]
async fn a_function_that_dies_in_the_middle_is_noticed_at_once() {
    let world = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    world
        .at(&format!(
            "http://{}/",
            listener.local_addr().expect("it listens")
        ))
        .await;
    let job = world.job().await;
    let dies = async {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(read > 0, "it asks before it is left alone");
        }
    };
    let begun = std::time::Instant::now();
    tokio::select! {
        _ = world.wake() => {}
        () = dies => {}
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let (state, reason, _) = world.row(job).await;
    assert_eq!(state, JobState::Queued);
    let reason = reason.expect("it says why");
    assert!(reason.contains("did not answer"), "{reason}");
    assert_eq!(world.attempts(job).await, 1);
    let line: String = sqlx::query_scalar("select line from switchyard.job_logs where job_id = $1")
        .bind(job.0)
        .fetch_one(&world.rows)
        .await
        .expect("one line tells of it");
    assert!(line.starts_with("POST 127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn who_asks_for_time_gets_it_and_no_attempt_is_counted() {
    let world = world().await;
    let theirs = Theirs::answering(503, &[("retry-after", "30")], "busy").await;
    world.at(&theirs.url).await;
    let job = world.job().await;
    world.wake().await;
    assert_eq!(world.state(job).await, JobState::Queued);
    assert_eq!(world.attempts(job).await, 0);
    assert_eq!(
        world.put_off(job).await.as_deref(),
        Some("the function answered 503 Service Unavailable: busy")
    );
    let left = format!(
        "select round(extract(epoch from run_at - now()))::bigint from switchyard.jobs where id = {job}"
    );
    assert!((25..=30).contains(&world.number(left).await));
}

#[tokio::test]
async fn what_no_try_can_help_is_dead_at_once() {
    let world = world().await;
    let large = "x".repeat(1024 * 1024 + 1);
    for (status, headers, body, why) in [
        (404, &[][..], "no such town", "no such town"),
        (
            302,
            &[("location", "http://169.254.169.254/")][..],
            "",
            "redirects are not followed",
        ),
        (200, &[], large.as_str(), "more than 1048576 bytes"),
    ] {
        let theirs = Theirs::answering(status, headers, body.to_owned()).await;
        world.at(&theirs.url).await;
        let job = world.job().await;
        world.wake().await;
        let (state, reason, _) = world.row(job).await;
        let reason = reason.unwrap_or_default();
        assert_eq!(state, JobState::Dead, "{status}: {reason}");
        assert!(reason.contains(why), "{reason}");
        assert_eq!(theirs.calls(), 1);
    }
}

#[tokio::test]
async fn who_takes_longer_than_its_task_allows_is_tried_again() {
    let world = world().await;
    let theirs = Theirs::start(std::future::pending).await;
    world
        .set(&NewExecutor {
            attempt_time_max: Some(Duration::from_secs(6)),
            ..to(Some(Executor::Http), Some(&theirs.url))
        })
        .await;
    let job = world.job().await;
    world.wake().await;
    let (state, reason, _) = world.row(job).await;
    let reason = reason.unwrap_or_default();
    assert_eq!(state, JobState::Queued, "{reason}");
    assert!(reason.contains("did not answer within 1 s"), "{reason}");
    assert_eq!(world.attempts(job).await, 1);
}

#[tokio::test]
async fn a_target_that_is_not_there_is_left_alone_and_its_jobs_say_so() {
    let world = world().await;
    // Nobody listens on port 1.
    world.at("http://127.0.0.1:1/").await;
    for _ in 0..5 {
        world.job().await;
    }
    world.wake().await;
    let counted = "select count(*) from switchyard.jobs where attempts = 1 and state = 'queued'";
    assert_eq!(world.number(counted.to_owned()).await, 5);

    // Not even claimed while it is known to be away.
    let job = world.job().await;
    world.wake().await;
    assert_eq!(world.attempts(job).await, 0);
    let events = format!("select count(*) from switchyard.job_events where job_id = {job}");
    assert_eq!(world.number(events).await, 0);
}

#[tokio::test]
async fn jobs_in_hand_when_a_circuit_opens_are_put_off_uncounted() {
    let world = world().await;
    let hold = Hold {
        job: JobId(17),
        epoch: 1,
    };
    let outcome = call::put_off_until(&world.ctx, "hello.test/in", hold, Duration::from_secs(8));
    let host::Outcome::Snooze { delay, reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        reason.starts_with("circuit of hello.test/in open until 20"),
        "{reason}"
    );
    assert!(delay >= Duration::from_secs(8) && delay < Duration::from_secs(10));
}

#[tokio::test]
async fn a_task_changes_hands_by_its_row_and_back() {
    let world = world().await;
    let (one, other) = (
        Theirs::answering(200, &[], "1").await,
        Theirs::answering(200, &[], "2").await,
    );
    let job = world.job().await;
    world.wake().await;
    assert_eq!(
        world.state(job).await,
        JobState::Queued,
        "a task without a row is nobody's"
    );
    world.at(&one.url).await;
    world.wake().await;
    assert_eq!((one.calls(), other.calls()), (1, 0));
    world.at(&other.url).await;
    world.job().await;
    world.wake().await;
    assert_eq!((one.calls(), other.calls()), (1, 1));
    for nobody in [Some(Executor::Builtin), None] {
        world.set(&to(nobody, None)).await;
        let job = world.job().await;
        world.wake().await;
        assert_eq!(world.state(job).await, JobState::Queued, "{nobody:?}");
    }
    world.at(&one.url).await;
    world.wake_as("builtin").await;
    assert_eq!(one.calls(), 1, "a wake-up for who had the task before");
    world.wake().await;
    assert_eq!((one.calls(), other.calls()), (3, 1));
}

#[tokio::test]
async fn a_default_is_for_tasks_without_a_row_of_those_who_have_it() {
    let world = world().await;
    let umbra = new_tenant(&world.rows, "umbra").await;
    let mut default = NewDefault {
        tenant: Some(world.tenant),
        executor: Some(Executor::Knative),
        namespace: Some("acme"),
        completes_by: None,
        callback_deadline: None,
        by: ANN,
    };
    world
        .queue
        .set_default_executor(&default)
        .await
        .expect("it is possible");
    let (ours, theirs) = (world.job().await, world.add(umbra, "{}").await);
    world.wake().await;
    // Nobody resolves that name here: it was called, and did not answer.
    let (_, reason, _) = world.row(ours).await;
    assert!(reason.is_some_and(|reason| reason.contains("did not answer")));
    // What has no row has full jitter: the next try may have followed at once.
    let tried = world.attempts(ours).await;
    assert!(tried >= 1);
    assert_eq!(world.attempts(theirs).await, 0, "it has no default");
    let name: String =
        sqlx::query_scalar("select line from switchyard.job_logs where job_id = $1 limit 1")
            .bind(ours.0)
            .fetch_one(&world.rows)
            .await
            .expect("a line");
    assert!(
        name.contains("hello.acme.svc.cluster.local"),
        "in the tenant's namespace: {name}"
    );

    // The installation's is for all others; a tenant may be left out of it.
    default.executor = None;
    world
        .queue
        .set_default_executor(&default)
        .await
        .expect("it is possible");
    default = NewDefault {
        tenant: None,
        executor: Some(Executor::Knative),
        namespace: None,
        ..default
    };
    world
        .queue
        .set_default_executor(&default)
        .await
        .expect("it is possible");
    world.come_due().await;
    world.wake().await;
    assert_eq!(world.attempts(ours).await, tried, "it is left out");
    assert!(world.attempts(theirs).await >= 1);
}

#[tokio::test]
async fn a_tenants_own_url_goes_through_the_guard() {
    let world = world().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("it is possible");
    let port = listener.local_addr().expect("it listens").port();
    world.set(&to(Some(Executor::Http), None)).await;
    let none = world.job().await;
    world.wake().await;
    let (state, reason, _) = world.row(none).await;
    assert_eq!(state, JobState::Dead);
    assert!(reason.is_some_and(|reason| reason.contains("has not said where")));

    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        "https://169.254.169.254/latest".to_owned(),
        "https://[::ffff:127.0.0.1]/".to_owned(),
    ] {
        sqlx::query(
            "insert into switchyard.tenant_urls (database_id, task, url, set_by) values ($1, $2, $3, 'Ann')
             on conflict (database_id, task) do update set url = excluded.url",
        )
        .bind(world.tenant.uuid())
        .bind(TASK)
        .bind(&url)
        .execute(&world.rows)
        .await
        .expect("a URL");
        let job = world.job().await;
        world.wake().await;
        let (state, reason, _) = world.row(job).await;
        let reason = reason.unwrap_or_default();
        assert_eq!(state, JobState::Dead, "{url}: {reason}");
        assert!(reason.contains("egress denied"), "{reason}");
    }
    let knock = listener.accept().expect_err("nobody knocked");
    assert_eq!(knock.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_cancelled_call_is_hung_up_and_its_function_may_still_say_that_it_stopped() {
    let world = world().await;
    let called = Arc::new(Notify::new());
    let tell = Arc::clone(&called);
    let theirs = Theirs::start(move || {
        tell.notify_one();
        std::future::pending()
    })
    .await;
    world.at(&theirs.url).await;
    let job = world.job().await;
    let cancels = async {
        called.notified().await;
        let cancelled = world.queue.cancel(world.tenant, job, "Ann").await;
        assert_eq!(
            cancelled.expect("an answer"),
            Some(CancelOutcome::Requested)
        );
    };
    tokio::join!(world.wake(), cancels);
    assert_eq!(world.state(job).await, JobState::Cancelling);
    let waits = format!(
        "select count(*) from switchyard.jobs where id = {job} and waiting = 'callback' and lease_until < now() + interval '1 minute'"
    );
    assert_eq!(
        world.number(waits).await,
        1,
        "it is waited for, and not for ever"
    );
    let hold = Hold { job, epoch: 1 };
    let log = ToldLines::default();
    let heard = world
        .queue
        .callback(world.tenant, hold, &Said::Cancelled, &log);
    assert_eq!(
        heard.await.expect("an answer"),
        Heard::Applied {
            state: JobState::Cancelled,
            cancel: false
        }
    );
}

#[tokio::test]
async fn a_callback_before_the_answer_counts_and_the_answer_changes_nothing() {
    let world = world().await;
    let (queue, tenant) = (world.queue.clone(), world.tenant);
    let job = Arc::new(Mutex::new(None));
    let known = Arc::clone(&job);
    let theirs = Theirs::start(move || {
        let (queue, known) = (queue.clone(), Arc::clone(&known));
        async move {
            let job = known.lock().expect("nobody panicked").expect("it is known");
            let (hold, log) = (Hold { job, epoch: 1 }, ToldLines::default());
            let said = Said::Success(Some(json!("first")));
            let heard = queue.callback(tenant, hold, &said, &log).await;
            assert!(matches!(heard, Ok(Heard::Applied { .. })), "{heard:?}");
            StatusCode::ACCEPTED.into_response()
        }
    })
    .await;
    // Nobody of ours takes it before it is known.
    let id = world.job().await;
    *job.lock().expect("nobody panicked") = Some(id);
    world.at(&theirs.url).await;
    world.wake().await;
    assert_eq!(
        world.row(id).await,
        (JobState::Succeeded, None, Some(json!("first")))
    );
}
