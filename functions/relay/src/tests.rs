//! The relay against a real Postgres and a broker that remembers what it took.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use host::{Env, Mounted, Resources};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::TenantId;
use queue::{NewJob, Queue};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::TestDb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// Whatever is waited for comes before this or not at all.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A broker: what it took, and what it answers to an id, one answer after the other, before it takes it.
#[derive(Clone, Default)]
struct Sink {
    taken: Arc<Mutex<Vec<HeaderMap>>>,
    tries: Arc<Mutex<HashMap<String, usize>>>,
    answers: Arc<BTreeMap<&'static str, Vec<StatusCode>>>,
}

impl Sink {
    fn answering(answers: impl IntoIterator<Item = (&'static str, Vec<StatusCode>)>) -> Self {
        Self {
            answers: Arc::new(answers.into_iter().collect()),
            ..Self::default()
        }
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(self.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .taken
            .lock()
            .unwrap()
            .iter()
            .map(|it| text(it, "ce-id"))
            .collect();
        ids.sort();
        ids
    }

    fn tries(&self, id: &str) -> usize {
        self.tries
            .lock()
            .unwrap()
            .get(id)
            .copied()
            .unwrap_or_default()
    }
}

async fn take(State(sink): State<Sink>, headers: HeaderMap) -> StatusCode {
    let id = text(&headers, "ce-id");
    let tries = {
        let mut tries = sink.tries.lock().unwrap();
        let tries = tries.entry(id.clone()).or_default();
        *tries += 1;
        *tries
    };
    let answer = sink
        .answers
        .get(&*id)
        .and_then(|answers| answers.get(tries - 1));
    if let Some(answer) = answer {
        return *answer;
    }
    sink.taken.lock().unwrap().push(headers);
    StatusCode::ACCEPTED
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

/// A database, its relay of one broker, and who watches both.
struct World {
    db: TestDb,
    pool: PgPool,
    relay: Mounted,
}

impl World {
    async fn new(broker: &str, sink: &Sink) -> Self {
        let db = testkit::database().await;
        let url = db.url("switchyard_system");
        Self::of(db, broker, sink, url).await
    }

    /// With the relay's connections to the database by this URL.
    async fn of(db: TestDb, broker: &str, sink: &Sink, url: String) -> Self {
        let env: Env = [
            ("DATABASE_URL", url),
            ("RELAY_BROKER", broker.to_owned()),
            ("K_SINK", sink.serve().await),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let pool = db.pool(None).await;
        let relay = crate::FUNCTION
            .mount(&env, &Resources::new().unwrap())
            .unwrap();
        relay.start_background();
        Self { db, pool, relay }
    }

    async fn batch(&self, events: Value) -> i64 {
        sqlx::query_scalar(
            "insert into switchyard.outbox (broker, ce_id, ce_type, ce_source, batch)
             values ('observed', 'row', 'dev.switchyard.job.finished.v1', '/switchyard/jobs', $1) returning id",
        )
        .bind(events)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Looks until a statement that gives a boolean says true.
    async fn until(&self, what: &str, sql: &'static str) {
        let end = Instant::now() + PATIENCE;
        while !sqlx::query_scalar::<_, Option<bool>>(sql)
            .fetch_optional(&self.pool)
            .await
            .unwrap()
            .flatten()
            .unwrap_or_default()
        {
            assert!(Instant::now() < end, "there was no sign of: {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn metrics(&self) -> String {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = self.relay.router.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn end(self) {
        self.relay.ctx.stop(PATIENCE).await;
        drop(self.db);
    }
}

fn finished(id: &str, state: &str) -> Value {
    json!({
        "id": id,
        "type": "dev.switchyard.job.finished.v1",
        "subject": "1",
        "extensions": {"tenantid": "t", "severity": "info"},
        "data": {"job": 1, "task": "task-a", "state": state, "epoch": 1, "attempts": 1},
    })
}

const EMPTY: &str = "select not exists (select from switchyard.outbox)";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_many_events_goes_when_all_are_through() {
    let sink = Sink::default();
    let world = World::new("observed", &sink).await;
    world
        .batch(json!([
            finished("a", "succeeded"),
            finished("b", "dead"),
            finished("c", "succeeded")
        ]))
        .await;
    world.until("the row's end", EMPTY).await;
    assert_eq!(sink.ids(), ["a", "b", "c"]);
    let one = sink.taken.lock().unwrap()[0].clone();
    assert_eq!(text(&one, "ce-source"), "/switchyard/jobs");
    assert_eq!(text(&one, "ce-tenantid"), "t");
    let metrics = world.metrics().await;
    for line in [
        r#"switchyard_tasks_finished_total{task="task-a",outcome="succeeded"} 2"#,
        r#"switchyard_tasks_finished_total{task="task-a",outcome="failed"} 1"#,
        r#"switchyard_events_delivered_total{sink="observed",code="2xx"} 3"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_through_of_a_row_is_not_sent_again() {
    let sink = Sink::answering([("b", vec![StatusCode::SERVICE_UNAVAILABLE; 2])]);
    let world = World::new("observed", &sink).await;
    world
        .batch(json!([
            finished("a", "succeeded"),
            finished("b", "succeeded")
        ]))
        .await;
    world.until("the row's end", EMPTY).await;
    assert_eq!((sink.tries("a"), sink.tries("b")), (1, 3));
    let metrics = world.metrics().await;
    let failures = r#"switchyard_task_publish_failures_total{broker="observed"} 2"#;
    assert!(metrics.contains(failures), "{metrics}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_of_a_row_stays_to_be_seen_and_the_rest_goes() {
    let sink = Sink::answering([("b", vec![StatusCode::BAD_REQUEST; 9])]);
    let world = World::new("observed", &sink).await;
    let row = world
        .batch(json!([
            finished("a", "succeeded"),
            finished("b", "succeeded"),
            finished("c", "succeeded")
        ]))
        .await;
    let refused = "select refused_at is not null from switchyard.outbox";
    world.until("the refusal", refused).await;
    assert_eq!(sink.ids(), ["a", "c"]);
    let kept: Value = sqlx::query_scalar("select batch from switchyard.outbox where id = $1")
        .bind(row)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(kept, json!([finished("b", "succeeded")]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wakeup_says_who_takes_it_and_nobody_is_woken_for_a_task_without_one() {
    let sink = Sink::default();
    let world = World::new("work", &sink).await;
    let tenant: uuid::Uuid = sqlx::query_scalar(
        "insert into switchyard.tenants (name) values ('a') returning database_id",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into switchyard.tasks (name, executor) values ('ours', 'builtin'), ('theirs', 'http'), ('nobody', null)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let mut conn = world.pool.acquire().await.unwrap();
    let payload = json!({});
    for task in ["nobody", "ours", "theirs"] {
        let job = NewJob::new(TenantId::from(tenant), task, &payload);
        queue::enqueue(&mut conn, &job).await.unwrap();
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let mut woken: Vec<_> = sink
            .taken
            .lock()
            .unwrap()
            .iter()
            .map(|it| (text(it, "ce-task"), text(it, "ce-executor")))
            .collect();
        woken.sort();
        woken.dedup();
        if woken.len() >= 2 {
            let pair = |task: &str, executor: &str| (task.to_owned(), executor.to_owned());
            assert_eq!(woken, [pair("ours", "builtin"), pair("theirs", "external")]);
            break;
        }
        assert!(Instant::now() < end, "only {woken:?} were woken");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_listens_is_opened_again_when_it_breaks() {
    let sink = Sink::default();
    let world = World::new("observed", &sink).await;
    world
        .until(
            "a relay that hears",
            "select hears from switchyard.relay_hearing",
        )
        .await;
    let killed: i64 = sqlx::query_scalar(
        "select count(*) from (
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and query like 'LISTEN%'
         ) killed",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(killed, 1);
    world
        .until(
            "another connection that listens, and a relay that sleeps",
            "select (select armed from switchyard.relay_flags where broker = 'observed') and exists (
                select from pg_stat_activity where datname = current_database() and query like 'LISTEN%'
             )",
        )
        .await;
    let written = Instant::now();
    sqlx::query("select switchyard.publish('observed', null, 'x', 'dev.switchyard.log.recorded.v1', '/s', null, '{}', '{}')")
        .execute(&world.pool)
        .await
        .unwrap();
    world.until("the row's end", EMPTY).await;
    assert_eq!(sink.ids(), ["x"]);
    assert!(
        written.elapsed() < Duration::from_secs(4),
        "it was found by the clock"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_notifications_are_swallowed_says_so_and_goes_on_by_the_clock() {
    let sink = Sink::default();
    let db = testkit::database().await;
    let mut url = url::Url::parse(&db.url("switchyard_system")).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let pooler = swallowing(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(pooler)).unwrap();
    // What is encrypted cannot be left out of.
    url.query_pairs_mut().append_pair("sslmode", "disable");
    let world = World::of(db, "observed", &sink, url.into()).await;
    world
        .until(
            "a relay that knows it is deaf",
            "select not hears from switchyard.relay_hearing",
        )
        .await;
    for id in ["x", "y"] {
        sqlx::query(
            "select switchyard.publish('observed', null, $1, 'dev.switchyard.log.recorded.v1', '/s', null, '{}', '{}')",
        )
        .bind(id)
        .execute(&world.pool)
        .await
        .unwrap();
        world.until("the row's end", EMPTY).await;
    }
    assert_eq!(sink.ids(), ["x", "y"]);
    world.end().await;
}

/// Passes on to a Postgres server everything but what it notifies, as a pooler does that gives each transaction another
/// connection.
async fn swallowing(server: String) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = async {
                        loop {
                            // A type, a length that counts itself, and the rest.
                            let mut head = [0; 5];
                            from_server.read_exact(&mut head).await?;
                            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                            let mut rest = vec![0; length as usize - 4];
                            from_server.read_exact(&mut rest).await?;
                            if head[0] != b'A' {
                                to_client.write_all(&head).await?;
                                to_client.write_all(&rest).await?;
                            }
                        }
                        #[expect(unreachable_code, reason = "says which error ends the loop")]
                        Ok::<(), std::io::Error>(())
                    } => {}
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_over_is_counted_as_a_repair() {
    let sink = Sink::default();
    let world = World::new("work", &sink).await;
    let tenant: uuid::Uuid = sqlx::query_scalar(
        "insert into switchyard.tenants (name) values ('a') returning database_id",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let queue: &Queue = world.relay.ctx.queue();
    let mut conn = world.pool.acquire().await.unwrap();
    let payload = json!({});
    let job = NewJob::new(TenantId::from(tenant), "ours", &payload);
    queue::enqueue(&mut conn, &job).await.unwrap();
    let held = queue
        .claim(
            uuid::Uuid::new_v4(),
            &["ours".to_owned()],
            1,
            Duration::from_millis(50),
        )
        .await
        .unwrap();
    assert_eq!(held.len(), 1);
    world
        .until(
            "a job that was taken back",
            "select state = 'queued' from switchyard.jobs",
        )
        .await;
    let repair = r#"switchyard_task_repairs_total{kind="lease_expired"} 1"#;
    let end = Instant::now() + PATIENCE;
    while !world.metrics().await.contains(repair) {
        assert!(Instant::now() < end, "the repair was not counted");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    world.end().await;
}
