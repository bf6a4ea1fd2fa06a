//! What is measured, told and diagnosed, on a real Postgres.

use axum::body::Body;
use host::{Env, Mounted, Resources};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;
use tower::ServiceExt as _;

struct World {
    function: Mounted,
    pool: PgPool,
    _db: TestDb,
}

impl World {
    async fn new() -> Self {
        let db = testkit::database().await;
        let world = Self::at(&db.url("switchyard_system"), db.pool(None).await, db);
        world
            .execute("insert into switchyard.tasks (name, executor) values ('ours', 'builtin')")
            .await;
        world
            .execute("insert into switchyard.tenants (name) values ('a')")
            .await;
        world
    }

    fn at(url: &str, pool: PgPool, db: TestDb) -> Self {
        let env: Env = [("DATABASE_URL".to_owned(), url.to_owned())]
            .into_iter()
            .collect();
        let resources = Resources::new().expect("a client");
        Self {
            function: crate::FUNCTION
                .mount(&env, &resources)
                .expect("good settings"),
            pool,
            _db: db,
        }
    }

    async fn execute(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&self.pool)
            .await
            .expect("a good statement");
    }

    async fn add(&self, task: &str) {
        self.execute(&format!(
            "select switchyard.add_job(database_id, '{task}', '{{}}') from switchyard.tenants"
        ))
        .await;
    }

    async fn measure(&self) {
        let queue = self.function.ctx.queue();
        assert!(queue.measure().await.expect("an answer"));
    }

    async fn ask(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = self.function.router.clone().oneshot(request).await;
        let response = response.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        (status, text)
    }

    async fn diag(&self) -> Value {
        let (status, text) = self.ask("/diag").await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_str(&text).expect("JSON")
    }

    async fn codes(&self) -> Vec<String> {
        let diagnosis = self.diag().await;
        let findings = diagnosis["findings"].as_array().expect("a list").iter();
        findings
            .map(|finding| finding["code"].as_str().expect("a code").to_owned())
            .collect()
    }
}

#[tokio::test]
async fn what_was_measured_is_told_with_what_the_process_counts() {
    let world = World::new().await;
    let (status, before) = world.ask("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(!before.contains("switchyard_task_queue_depth"), "{before}");
    for task in ["ours", "ours", "unheard-of"] {
        world.add(task).await;
    }
    world.measure().await;
    let (status, told) = world.ask("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        r#"switchyard_task_queue_depth{task="ours",priority="normal"} 2.0"#,
        r#"switchyard_task_queue_depth{task="ours",priority="high"} 0.0"#,
        r#"switchyard_task_queue_depth{task="_other",priority="normal"} 1.0"#,
        r#"switchyard_task_running_oldest_age_seconds{task="ours"} 0.0"#,
        r#"switchyard_task_pool_queue_depth{pool="ours"} 2.0"#,
        r#"switchyard_task_workers_alive{pool="ours"} 0.0"#,
        r#"switchyard_outbox_refused{broker="inbound"} 0.0"#,
        "switchyard_tasks_enqueued_total 3",
        "switchyard_unserved_tasks 1.0",
        "switchyard_terraform_state_lock_age_seconds 0.0",
        r#"switchyard_events_received_total{source="cron-metrics"} 0"#,
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
    assert_eq!(told.matches("# EOF").count(), 1);
    // A name is told by one of the two alone.
    let mut types: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let all = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), all);
}

#[tokio::test]
async fn a_system_with_nothing_wrong_is_ok() {
    let world = World::new().await;
    let diagnosis = world.diag().await;
    assert_eq!(diagnosis["status"], "unknown");
    assert_eq!(diagnosis["findings"][0]["code"], "not_measured");
    world.add("ours").await;
    world.measure().await;
    let diagnosis = world.diag().await;
    assert_eq!(diagnosis["status"], "ok", "{diagnosis:#}");
    assert_eq!(diagnosis["workers"], json!([]));
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_named_with_its_bound() {
    let world = World::new().await;
    for task in ["ours", "unheard-of"] {
        world.add(task).await;
    }
    world
        .execute("update switchyard.jobs set run_at = now() - interval '301 s'")
        .await;
    world
        .execute("update switchyard.lanes set fronts = array_fill('-infinity'::timestamptz, array[cardinality(fronts)])")
        .await;
    world
        .execute("insert into switchyard.relay_hearing (broker, hears) values ('work', false), ('inbound', true)")
        .await;
    world
        .execute(
            "insert into switchyard.outbox (broker, ce_id, ce_type, ce_source, refused_at)
             values ('observed', '1', 't', '/s', now())",
        )
        .await;
    world.measure().await;
    let expected = [
        "queue_stalled",
        "no_executor",
        "no_workers",
        "notifications_swallowed",
        "outbox_refused",
    ];
    assert_eq!(world.codes().await, expected);
    let diagnosis = world.diag().await;
    assert_eq!(diagnosis["status"], "degraded");
    let stalled = &diagnosis["findings"][0];
    assert_eq!(
        (&stalled["of"], &stalled["bound"]),
        (&json!("ours"), &json!(300.0))
    );

    // A worker that fell silent is another thing than none.
    world
        .execute(
            "insert into switchyard.workers (id, function, slots, used, seen_at)
             values (gen_random_uuid(), 'ours', 4, 3, now() - interval '121 s')",
        )
        .await;
    world.measure().await;
    assert!(world.codes().await.contains(&"heartbeat_stale".to_owned()));
    let (_, told) = world.ask("/metrics").await;
    assert!(
        told.contains(r#"switchyard_task_workers_alive{pool="ours"} 0.0"#),
        "{told}"
    );
}

#[tokio::test]
async fn a_measurement_that_is_old_is_no_good_news() {
    let world = World::new().await;
    world.measure().await;
    world
        .execute("update switchyard.measurement set taken_at = taken_at - interval '61 s'")
        .await;
    assert_eq!(world.codes().await, ["measurement_old"]);
}

#[tokio::test]
async fn without_a_database_there_is_no_diagnosis() {
    let db = testkit::database().await;
    let pool = db.pool(None).await;
    let world = World::at("postgres://nobody@127.0.0.1:1/none", pool, db);
    let (status, text) = world.ask("/diag").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let diagnosis: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(diagnosis["findings"][0]["code"], "database_unavailable");
}
