//! The drain against a real Postgres, and the server against clients that do not behave.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "host/cancel.rs"]
mod cancel;
#[path = "host/pressure.rs"]
mod pressure;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use database::{Connect, SystemDb};
use host::{
    CtxError, Env, Function, Job, Kind, Mounted, Outcome, Resources, Routes, ServeLimits,
    SettingsError, TaskError, task,
};
use model::{CancelOutcome, DatabaseRole, JobId, JobState, TaskPolicy, TenantId};
use queue::{NewJob, Queue};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

/// Whatever is waited for comes before this or not at all.
const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(2);
/// For so long a handler keeps its thread that never yields.
const BLOCKED: Duration = Duration::from_secs(3);

const POLICY: TaskPolicy = TaskPolicy {
    slots: 4,
    ..TaskPolicy::DEFAULT
};

const FIXTURE: Function = Function {
    name: "fixture",
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |_| Ok(task(POLICY, run)),
};

const HASTY_POLICY: TaskPolicy = TaskPolicy {
    attempt_time_max: Duration::from_millis(200),
    ..POLICY
};

const HASTY: Function = Function {
    name: "hasty",
    role: DatabaseRole::System,
    kind: Kind::Task(HASTY_POLICY),
    routes: |_| Ok(task(HASTY_POLICY, run)),
};

/// What a job of the fixture does, and under which name it is counted.
#[derive(Debug, Deserialize)]
struct Spec {
    act: Act,
    mark: String,
    /// What is said when somebody wants to stop its work outside.
    #[serde(default)]
    answer: String,
}

#[derive(Debug, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Act {
    Succeed,
    Panic,
    Hang,
    /// Stops when it is told to.
    Obey,
    /// Goes on when its gate is opened.
    Gate,
    /// Keeps its thread.
    Block,
    /// Leaves something running outside …
    Outside,
    /// … but begins with it only when it is told to stop.
    OutsideTooLate,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    begun: usize,
    running: usize,
    most: usize,
    open: bool,
}

/// Handlers are plain functions: what they did is kept here, by mark.
static COUNTS: LazyLock<Mutex<HashMap<String, Count>>> = LazyLock::new(Mutex::default);

fn count<T>(mark: &str, change: impl FnOnce(&mut Count) -> T) -> T {
    change(COUNTS.lock().unwrap().entry(mark.to_owned()).or_default())
}

/// Counts a handler for as long as it is there.
struct Present(String);

impl Present {
    fn new(mark: &str) -> Self {
        count(mark, |count| {
            count.begun += 1;
            count.running += 1;
            count.most = count.most.max(count.running);
        });
        Self(mark.to_owned())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        count(&self.0, |count| count.running -= 1);
    }
}

async fn run(_: host::Ctx, job: Job<Spec>) -> Result<Outcome, TaskError> {
    let present = Present::new(&job.spec.mark);
    match job.spec.act {
        Act::Succeed => {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        Act::Panic => panic!("a handler that panics"),
        Act::Hang => std::future::pending().await,
        Act::Obey => {
            job.cancelled().cancelled().await;
            return Err(TaskError::Stopped);
        }
        Act::Gate => {
            until(|| async { count(&present.0, |count| count.open) }).await;
        }
        Act::Block => std::thread::sleep(BLOCKED),
        Act::Outside => return Ok(cancel::outside(&job)),
        Act::OutsideTooLate => {
            job.cancelled().cancelled().await;
            return Ok(cancel::outside(&job));
        }
    }
    Ok(Outcome::Done)
}

/// Asks again and again, until it is so.
async fn until<Fut: Future<Output = bool>>(is_so: impl Fn() -> Fut) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(
            Instant::now() < deadline,
            "it did not come to it in {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct World {
    _db: TestDb,
    owner: PgPool,
    queue: Queue,
    tenant: TenantId,
    function: Mounted,
    mark: String,
}

fn env(url: &str) -> Env {
    Env::default()
        .with("DATABASE_URL", url)
        // Many tests at once open connections to one server.
        .with(
            "DATABASE_ACQUIRE_TIMEOUT_SECS",
            PATIENCE.as_secs().to_string(),
        )
        .with("LEASE_SECS", LEASE.as_secs().to_string())
        .with("HEARTBEAT_SECS", "1")
        .with("SLICE_SECS", "1")
}

async fn world(function: Function) -> World {
    world_with(function, &Resources::new().unwrap(), |env| env).await
}

async fn world_with(
    function: Function,
    resources: &Resources,
    settings: impl FnOnce(Env) -> Env,
) -> World {
    let db = testkit::database().await;
    let owner = db.pool(None).await;
    let tenant = Uuid::new_v4();
    sqlx::query("insert into switchyard.tenants (database_id, name) values ($1, 'tenant')")
        .bind(tenant)
        .execute(&owner)
        .await
        .unwrap();
    let system = SystemDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::System,
        connections_max: 4,
        acquire_timeout: PATIENCE,
    })
    .unwrap();
    let function = function
        .mount(&settings(env(&db.owner_url())), resources)
        .unwrap();
    World {
        _db: db,
        owner,
        queue: Queue::new(system),
        tenant: tenant.into(),
        function,
        mark: tenant.to_string(),
    }
}

fn wakeup(task: &str) -> Request<Body> {
    event(
        "dev.switchyard.job.queued.v1",
        format!(r#"{{"task":"{task}"}}"#),
    )
}

fn event(ty: &str, data: String) -> Request<Body> {
    Request::post("/")
        .header("ce-specversion", "1.0")
        .header("ce-id", Uuid::new_v4().to_string())
        .header("ce-source", "/test")
        .header("ce-type", ty)
        .header("content-type", "application/json")
        .body(Body::from(data))
        .unwrap()
}

impl World {
    async fn add(&self, act: &str) -> JobId {
        self.add_answering(act, "").await
    }

    async fn add_answering(&self, act: &str, answer: &str) -> JobId {
        let payload = serde_json::json!({"act": act, "mark": self.mark, "answer": answer});
        let task = self.function.ctx.function();
        let job = NewJob::new(self.tenant, task, &payload);
        self.queue.add(&job).await.unwrap().job()
    }

    /// Sends a wake-up; its answer comes with the next of the set.
    fn wake(&self, requests: &mut JoinSet<StatusCode>) {
        let router = self.function.router.clone();
        let request = wakeup(self.function.ctx.function());
        requests.spawn(async move { router.oneshot(request).await.unwrap().status() });
    }

    async fn wake_and_wait(&self) {
        let mut requests = JoinSet::new();
        self.wake(&mut requests);
        assert_eq!(
            requests.join_next().await.unwrap().unwrap(),
            StatusCode::ACCEPTED
        );
    }

    fn count(&self) -> Count {
        count(&self.mark, |count| *count)
    }

    async fn begun(&self) {
        until(|| async { self.count().running > 0 }).await;
    }

    async fn left(&self) {
        until(|| async { self.count().running == 0 }).await;
    }

    async fn state(&self, job: JobId) -> JobState {
        let state: String = sqlx::query_scalar(
            "select state::text from switchyard.jobs where id = $1
             union all select state::text from switchyard.jobs_archive where id = $1",
        )
        .bind(job.0)
        .fetch_one(&self.owner)
        .await
        .unwrap();
        state.parse().unwrap()
    }

    async fn text(&self, sql: &str) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    async fn stop(&self) {
        self.function.ctx.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn slots_bound_what_runs_whatever_the_wakeups() {
    let world = world(FIXTURE).await;
    for _ in 0..12 {
        world.add("gate").await;
    }
    let mut requests = JoinSet::new();
    for _ in 0..3 {
        world.wake(&mut requests);
    }
    until(|| async { world.count().running == POLICY.slots }).await;
    count(&world.mark, |count| count.open = true);
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::ACCEPTED);
    }
    let all = world.count();
    assert_eq!((all.begun, all.most), (12, POLICY.slots));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_quick_jobs_all_succeed() {
    let world = world(FIXTURE).await;
    for _ in 0..200 {
        world.add("succeed").await;
    }
    let succeeded = "select count(*)::text from switchyard.jobs_archive where state = 'succeeded' and attempts = 1";
    until(|| async {
        world.wake_and_wait().await;
        world.text(succeeded).await == "200"
    })
    .await;
    assert_eq!(world.count().begun, 200);
    world.stop().await;
}

#[tokio::test]
async fn a_panic_ends_one_attempt() {
    // Writing the trace of a panic may keep the only thread for longer than a short lease lasts, and what ends beyond its
    // lease is not recorded.
    let long = |env: Env| env.with("LEASE_SECS", "60");
    let world = world_with(FIXTURE, &Resources::new().unwrap(), long).await;
    let bad = world.add("panic").await;
    let good = world.add("succeed").await;
    world.wake_and_wait().await;
    assert_eq!(world.state(good).await, JobState::Succeeded);
    assert_eq!(world.state(bad).await, JobState::Queued);
    let why = world.text("select last_error from switchyard.jobs").await;
    assert_eq!(why, "the task panicked: a handler that panics");
    let lines = world
        .text("select string_agg(line, '|') from switchyard.job_logs")
        .await;
    assert!(lines.contains("panicked"), "{lines}");
    world.stop().await;
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_dropped_and_tried_again() {
    let world = world(HASTY).await;
    let job = world.add("hang").await;
    world.wake_and_wait().await;
    world.left().await;
    assert_eq!(world.state(job).await, JobState::Queued);
    let why = world.text("select last_error from switchyard.jobs").await;
    assert!(why.starts_with("the attempt took longer than"), "{why}");
    world.stop().await;
}

#[tokio::test]
async fn a_cancel_arrives_with_a_heartbeat() {
    let world = world(FIXTURE).await;
    let job = world.add("obey").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    let asked = world
        .queue
        .cancel(world.tenant, job, "a person")
        .await
        .unwrap();
    assert_eq!(asked, Some(CancelOutcome::Requested));
    until(|| async { world.state(job).await == JobState::Cancelled }).await;
    assert_eq!(
        requests.join_next().await.unwrap().unwrap(),
        StatusCode::ACCEPTED
    );
    world.stop().await;
}

#[tokio::test]
async fn a_job_goes_on_beyond_its_first_lease_while_it_is_renewed() {
    let world = world(FIXTURE).await;
    let job = world.add("gate").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    let first = world
        .text("select lease_until::text from switchyard.jobs")
        .await;
    until(|| async {
        let sql = format!("select (clock_timestamp() > '{first}'::timestamptz)::text");
        world.text(&sql).await == "true"
    })
    .await;
    assert_eq!(
        world.queue.reap(10).await.unwrap(),
        0,
        "the lease was renewed"
    );
    count(&world.mark, |count| count.open = true);
    requests.join_next().await.unwrap().unwrap();
    assert_eq!(world.state(job).await, JobState::Succeeded);
    assert_eq!(world.count().begun, 1);
    world.stop().await;
}

#[tokio::test]
async fn who_lost_its_job_drops_it_and_writes_nothing() {
    let world = world(FIXTURE).await;
    let job = world.add("hang").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    // Somebody else has claimed it.
    sqlx::query("update switchyard.jobs set epoch = epoch + 1, lease_until = lease_until + interval '1 hour'")
        .execute(&world.owner)
        .await
        .unwrap();
    world.left().await;
    requests.join_next().await.unwrap().unwrap();
    assert_eq!(world.state(job).await, JobState::Running);
    assert_eq!(
        world
            .text("select count(*)::text from switchyard.job_events")
            .await,
        "0"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_ends_the_work_before_the_lease() {
    let world = world(FIXTURE).await;
    let job = world.add("hang").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    // Nobody may write to the job: heartbeats wait, as they would for a server that hangs.
    let mut conn = world.owner.acquire().await.unwrap();
    sqlx::raw_sql("begin; select from switchyard.jobs for update")
        .execute(&mut *conn)
        .await
        .unwrap();
    let since = Instant::now();
    world.left().await;
    assert!(
        since.elapsed() <= LEASE,
        "it went on for {:?}",
        since.elapsed()
    );
    sqlx::raw_sql("commit").execute(&mut *conn).await.unwrap();
    requests.join_next().await.unwrap().unwrap();
    assert_eq!(
        world.state(job).await,
        JobState::Running,
        "taken back by the reaper"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_stop_gives_back_what_is_held_uncounted() {
    let world = world(FIXTURE).await;
    let job = world.add("obey").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    let since = Instant::now();
    world.function.ctx.stop(Duration::from_secs(15)).await;
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(world.state(job).await, JobState::Queued);
    let row = world
        .text("select attempts || ' ' || due from switchyard.jobs")
        .await;
    assert_eq!(row, "0 true", "at once, and the attempt does not count");
    assert_eq!(
        requests.join_next().await.unwrap().unwrap(),
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn work_does_not_end_with_the_request_that_woke_it() {
    let world = world(FIXTURE).await;
    let job = world.add("gate").await;
    let mut requests = JoinSet::new();
    world.wake(&mut requests);
    world.begun().await;
    requests.shutdown().await;
    assert_eq!(world.count().running, 1, "whoever sent it has hung up");
    count(&world.mark, |count| count.open = true);
    world.stop().await;
    assert_eq!(world.state(job).await, JobState::Succeeded);
}

#[tokio::test]
async fn what_is_no_wakeup_of_this_task_is_refused_for_good() {
    let world = world(FIXTURE).await;
    for (request, status) in [
        (wakeup("another"), StatusCode::UNPROCESSABLE_ENTITY),
        (
            event("dev.switchyard.job.queued.v1", "{}".to_owned()),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            event("com.example.unknown", "{}".to_owned()),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            Request::post("/").body(Body::from("{}")).unwrap(),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let response = world
            .function
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(response.status(), status);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_wakeup_while_the_database_is_down_may_be_repeated() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/none", closed.local_addr().unwrap());
    drop(closed);
    let env = env(&url).with("DATABASE_ACQUIRE_TIMEOUT_SECS", "1");
    let function = FIXTURE.mount(&env, &Resources::new().unwrap()).unwrap();
    let response = function
        .router
        .clone()
        .oneshot(wakeup("fixture"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let ready = Request::get("/readyz").body(Body::empty()).unwrap();
    let response = function.router.oneshot(ready).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_missing_or_wrong_setting_is_named_before_the_start() {
    let resources = Resources::new().unwrap();
    let error = FIXTURE.mount(&Env::default(), &resources).unwrap_err();
    assert!(
        matches!(&error, CtxError::Settings(SettingsError::Missing { name }) if name == "DATABASE_URL"),
        "{error}"
    );
    let env = env("postgres://somebody@localhost/one").with("HEARTBEAT_SECS", "2");
    let error = FIXTURE.mount(&env, &resources).unwrap_err();
    assert!(error.to_string().contains("HEARTBEAT_SECS"), "{error}");
    assert_eq!(host::EXIT_SETTINGS, 78);
}

const LIMIT: Duration = Duration::from_millis(300);
/// Bytes of bodies that the server of these tests holds.
const BODIES_BYTES_MAX: usize = 1000;
/// What a limit may take longer on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

const WEB: Function = Function {
    name: "web",
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: |_| {
        Ok(Routes::from(
            Router::new()
                .route(
                    "/",
                    post(|body: Bytes| async move { body.len().to_string() }),
                )
                .route(
                    "/panic",
                    get(|| async {
                        if true {
                            panic!("a request that panics")
                        }
                    }),
                )
                .route("/stream", get(stream)),
        ))
    },
};

async fn stream() -> Body {
    use futures::StreamExt as _;
    let first =
        futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from("data: 1\n\n")) });
    Body::from_stream(first.chain(futures::stream::pending()))
}

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

async fn serve() -> Server {
    let env = env("postgres://somebody@127.0.0.1:1/none");
    let function = WEB.mount(&env, &Resources::new().unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let limits = ServeLimits {
        connections_max: 2,
        header_timeout: LIMIT,
        body_idle_timeout: LIMIT,
        body_timeout: LIMIT * 3,
        idle_timeout: LIMIT,
        bodies_bytes_max: BODIES_BYTES_MAX,
        grace: LIMIT,
        ..ServeLimits::default()
    };
    let mut serving = JoinSet::new();
    serving.spawn(host::serve(listener, function.router, limits, stop.clone()));
    Server {
        address,
        stop,
        serving,
    }
}

impl Server {
    async fn say(&self, words: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        stream
    }
}

/// All that is said until the connection ends, which must be soon. A reset is an end.
async fn heard(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(LIMIT + SLACK, stream.read_to_end(&mut all)).await;
    drop(read.expect("the connection ends"));
    String::from_utf8(all).unwrap()
}

async fn is_served(server: &Server) {
    let answer = heard(
        server
            .say("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await,
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn who_says_nothing_or_half_a_header_is_hung_up_on() {
    let server = serve().await;
    for half in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ",
    ] {
        // Both places that there are, so that the next is served only when these are free again.
        let (one, other) = (server.say(half).await, server.say(half).await);
        let (one, other) = tokio::join!(heard(one), heard(other));
        assert!(
            !one.contains("200") && !other.contains("200"),
            "{half:?}: {one}"
        );
        is_served(&server).await;
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let server = serve().await;
    let slow = server
        .say("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhello")
        .await;
    let answer = heard(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    is_served(&server).await;
}

#[tokio::test]
async fn a_body_that_crawls_is_408_though_it_never_stops() {
    let server = serve().await;
    let mut slow = server
        .say("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")
        .await;
    let (reading, mut writing) = slow.split();
    let crawl = async {
        let mut beat = tokio::time::interval(LIMIT / 4);
        loop {
            beat.tick().await;
            if writing.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    let mut answer = [0; 12];
    let mut reading = reading;
    let answered = tokio::time::timeout(LIMIT * 3 + SLACK, reading.read_exact(&mut answer));
    tokio::select! {
        () = crawl => panic!("the connection ended without an answer"),
        answered = answered => drop(answered.expect("in time").expect("an answer")),
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn bodies_that_there_is_no_room_for_are_503_with_a_time_to_come_again() {
    let server = serve().await;
    let half = BODIES_BYTES_MAX / 2 + 1;
    let one = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {half}\r\n\r\nhello");
    let holding = server.say(&one).await;
    // The first holds its place before it is there as a whole.
    let chunked = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{half:x}\r\n{}\r\n", "a".repeat(half));
    for other in [one.clone(), format!("{chunked}{chunk}")] {
        let answer = heard(server.say(&other).await).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("retry-after: "), "{answer}");
    }
    let answer = heard(holding).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let whole = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {half}\r\n\r\n{}",
        "a".repeat(half)
    );
    let answer = heard(server.say(&whole).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_client_of_http2_that_asks_nothing_is_hung_up_on() {
    let server = serve().await;
    // The preface and empty settings: a whole handshake, and nothing after it.
    let mut quiet = server.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    quiet.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut all = Vec::new();
    let read = tokio::time::timeout(LIMIT + SLACK, quiet.read_to_end(&mut all)).await;
    drop(read.expect("the connection ends"));
}

#[tokio::test]
async fn a_header_that_is_too_large_or_names_two_hosts_is_refused() {
    let server = serve().await;
    let large = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n",
        "a".repeat(100_000)
    );
    let many: String = (0..1000).map(|n| format!("x-{n}: a\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let two = "GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n";
    for (request, status) in [(&*large, "431"), (&many, "431"), (two, "400")] {
        let answer = heard(server.say(request).await).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    is_served(&server).await;
}

#[tokio::test]
async fn a_panic_ends_one_request() {
    let server = serve().await;
    let answer = heard(
        server
            .say("GET /panic HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await,
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(
        !answer.contains("panics"),
        "its text is not for strangers: {answer}"
    );
    is_served(&server).await;
}

#[tokio::test]
async fn an_open_stream_does_not_hold_the_stop_beyond_the_grace() {
    let mut server = serve().await;
    let mut stream = server.say("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut some = [0; 256];
    let length = stream.read(&mut some).await.unwrap();
    assert!(some[..length].starts_with(b"HTTP/1.1 200"));
    server.stop.cancel();
    tokio::time::timeout(LIMIT + SLACK, server.serving.join_next())
        .await
        .expect("the server ends")
        .unwrap()
        .unwrap();
    // Nothing of it goes on, though the process does.
    heard(stream).await;
}
