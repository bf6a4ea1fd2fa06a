use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use database::{Connect, SystemDb};
use host::{Env, Mounted, Resources};
use model::TenantId;
use queue::dead::{DeadDeed, DeadFilter};
use queue::{By, Ended, Finish, NewJob, Queue};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::TestDb;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

struct World {
    _db: TestDb,
    owner: PgPool,
    queue: Queue,
    tenant: TenantId,
    function: Mounted,
}

impl World {
    async fn new() -> Self {
        let db = testkit::database().await;
        let owner = db.pool(None).await;
        let tenant = Uuid::new_v4();
        sqlx::query("insert into switchyard.tenants (database_id, name) values ($1, 'tenant')")
            .bind(tenant)
            .execute(&owner)
            .await
            .expect("a tenant");
        let system = SystemDb::new(&Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::System,
            connections_max: 4,
            acquire_timeout: Duration::from_secs(20),
        })
        .expect("a URL");
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("SLICE_SECS", "1");
        let resources = Resources::new().expect("an HTTP client");
        Self {
            owner,
            queue: Queue::new(system),
            tenant: tenant.into(),
            function: FUNCTION.mount(&env, &resources).expect("good settings"),
            _db: db,
        }
    }

    /// Lets so many jobs of a task die.
    async fn die(&self, task: &str, count: i32) {
        let payload = json!({});
        for _ in 0..count {
            let job = NewJob::new(self.tenant, task, &payload);
            self.queue.add(&job).await.expect("a job");
        }
        let lease = Duration::from_secs(60);
        let claimed = self
            .queue
            .claim(Uuid::new_v4(), &[task.to_owned()], count, lease)
            .await
            .expect("jobs");
        let ends: Vec<_> = claimed
            .iter()
            .map(|job| Finish {
                hold: job.hold,
                ended: Ended::Dead,
                reason: Some("broken".to_owned()),
                result: None,
            })
            .collect();
        self.queue.finish(&ends).await.expect("ends");
    }

    async fn wake(&self) {
        let request = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", Uuid::new_v4().to_string())
            .header("ce-source", "/test")
            .header("ce-type", "dev.switchyard.job.queued.v1")
            .header("content-type", "application/json")
            .body(Body::from(r#"{"task":"task-bulk"}"#))
            .expect("a request");
        let answer = self.function.router.clone().oneshot(request).await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::ACCEPTED);
    }

    async fn ended(&self) -> (String, Option<Value>, Option<String>) {
        sqlx::query_as(
            "select state::text, result, reason from switchyard.jobs_archive where task = 'task-bulk'",
        )
        .fetch_one(&self.owner)
        .await
        .expect("it has ended")
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.owner)
            .await
            .expect("a number")
    }
}

fn of_task(task: &str) -> DeadFilter {
    DeadFilter {
        task: Some(task.to_owned()),
        ..DeadFilter::default()
    }
}

const ANN: By<'static> = By {
    name: "ann",
    why: None,
};

#[tokio::test]
async fn all_that_match_are_replayed_and_the_result_says_how_many() {
    let world = World::new().await;
    // More than two parts.
    world.die("a", 1100).await;
    world.die("b", 5).await;
    world
        .queue
        .ask_bulk(world.tenant, DeadDeed::Replay, &of_task("a"), ANN)
        .await
        .expect("a job");
    world.wake().await;
    let (state, result, _) = world.ended().await;
    assert_eq!(state, "succeeded");
    let expected = json!({"matched": 1100, "did": 1100, "refused": 0, "skipped": 0});
    assert_eq!(result, Some(expected));
    let queued = "select count(distinct replay_of) from switchyard.jobs where state = 'queued'";
    assert_eq!(world.count(queued).await, 1100);
    let left =
        "select count(*) from switchyard.jobs_archive where state = 'dead' and replayed_as is null";
    assert_eq!(world.count(left).await, 5);
    let lines: Vec<String> = sqlx::query_scalar("select line from switchyard.job_logs")
        .fetch_all(&world.owner)
        .await
        .expect("lines");
    assert_eq!(lines, ["1100 replayed"]);
    world.function.ctx.stop(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn all_that_match_are_purged() {
    let world = World::new().await;
    world.die("a", 3).await;
    world.die("b", 2).await;
    world
        .queue
        .ask_bulk(world.tenant, DeadDeed::Purge, &of_task("b"), ANN)
        .await
        .expect("a job");
    world.wake().await;
    let (state, result, _) = world.ended().await;
    let expected = json!({"matched": 2, "did": 2, "refused": 0, "skipped": 0});
    assert_eq!((state.as_str(), result), ("succeeded", Some(expected)));
    let left = "select count(*) from switchyard.jobs_archive where state = 'dead'";
    assert_eq!(world.count(left).await, 3);
    world.function.ctx.stop(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_payload_that_nobody_of_ours_wrote_fails_at_once() {
    let world = World::new().await;
    world.die("a", 1).await;
    for payload in [
        json!({"do": "forget", "filter": {}, "by": "ann"}),
        json!({"do": "purge", "filter": {"tasks": "a"}, "by": "ann"}),
        json!({"do": "purge", "by": "ann"}),
    ] {
        let job = NewJob::new(world.tenant, "task-bulk", &payload);
        world.queue.add(&job).await.expect("a job");
        world.wake().await;
        let (state, _, reason) = world.ended().await;
        assert_eq!(state, "dead", "{reason:?}");
        sqlx::query("delete from switchyard.jobs_archive where task = 'task-bulk'")
            .execute(&world.owner)
            .await
            .expect("the owner may");
    }
    let left = "select count(*) from switchyard.jobs_archive where state = 'dead'";
    assert_eq!(world.count(left).await, 1);
    world.function.ctx.stop(Duration::from_secs(20)).await;
}
