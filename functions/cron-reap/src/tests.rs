//! What one pass makes good, on a real Postgres.

use host::{Env, Mounted, Resources};
use http::StatusCode;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;

const WORKER: &str = "00000000-0000-4000-8000-00000000000a";

struct World {
    function: Mounted,
    rows: PgPool,
    _db: TestDb,
}

impl World {
    async fn new() -> Self {
        let db = testkit::database().await;
        let env = Env::default()
            .with("DATABASE_URL", &db.url("switchyard_system"))
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60");
        let resources = Resources::new().expect("an HTTP client");
        let world = Self {
            function: crate::FUNCTION
                .mount(&env, &resources)
                .expect("good settings"),
            rows: db.pool(None).await,
            _db: db,
        };
        world
            .execute("insert into switchyard.tenants (name) values ('acme')")
            .await;
        world
    }

    async fn execute(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&self.rows)
            .await
            .expect("a good statement");
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.rows)
            .await
            .expect("a number")
    }

    /// A job of this task.
    async fn add(&self, task: &str, more: &str) -> i64 {
        self.number(&format!(
            "select a.job_id from switchyard.tenants t, switchyard.add_job(t.database_id, '{task}', '{{}}' {more}) a"
        ))
        .await
    }

    async fn claim(&self, task: &str) {
        let claim = format!(
            "select count(*) from switchyard.claim_jobs('{WORKER}', array['{task}'], 10, interval '1 minute')"
        );
        assert!(self.number(&claim).await > 0);
    }

    async fn state(&self, job: i64) -> String {
        sqlx::query_scalar(
            "select state::text from switchyard.jobs where id = $1
             union all select state::text from switchyard.jobs_archive where id = $1",
        )
        .bind(job)
        .fetch_one(&self.rows)
        .await
        .expect("there is one row of a job")
    }

    async fn tick(&self) {
        assert_eq!(
            testkit::tick(&self.function.router).await,
            StatusCode::ACCEPTED
        );
    }

    /// What the process has counted as taken back.
    fn taken_back(&self) -> String {
        let mut told = String::new();
        let metrics = self.function.ctx.metrics();
        metrics.encode(&mut told).expect("a string takes all");
        let line = told
            .lines()
            .find_map(|line| {
                line.strip_prefix(r#"switchyard_task_repairs_total{kind="lease_expired"} "#)
            })
            .expect("it is told from the start");
        line.to_owned()
    }
}

#[tokio::test]
async fn what_dead_workers_held_goes_back_or_ends_and_what_is_due_is_ready() {
    let world = World::new().await;
    let (again, last) = (
        world.add("left", "").await,
        world.add("left", ", p_attempts_max => 1").await,
    );
    world.claim("left").await;
    let held = world.add("held", "").await;
    world.claim("held").await;
    let due = world
        .add("later", ", p_run_at => now() + interval '1 hour'")
        .await;
    let later = world
        .add("later", ", p_run_at => now() + interval '1 hour'")
        .await;
    world
        .execute(&format!(
            "update switchyard.jobs set lease_until = now() - interval '1 s' where id in ({again}, {last})"
        ))
        .await;
    world
        .execute(&format!(
            "update switchyard.jobs set run_at = now() - interval '1 s' where id = {due}"
        ))
        .await;
    assert_eq!(world.taken_back(), "0");
    for _ in 0..2 {
        world.tick().await;
        assert_eq!(world.state(again).await, "queued");
        assert_eq!(world.state(last).await, "dead", "it has no try left");
        assert_eq!(world.state(held).await, "running", "its worker is there");
        let ready =
            format!("select count(*) from switchyard.jobs where due and id in ({due}, {later})");
        assert_eq!(world.number(&ready).await, 1);
        assert_eq!(world.taken_back(), "2", "counted once");
    }
}

#[tokio::test]
async fn a_cancel_that_nobody_took_up_is_told_again_and_not_at_every_pass() {
    let world = World::new().await;
    let job = world.add("outside", "").await;
    world.claim("outside").await;
    world
        .execute(&format!(
            "select switchyard.wait_job({job}, 1, 'runner', interval '1 hour', '{{\"pod\": \"a\"}}')"
        ))
        .await;
    world
        .execute(&format!(
            "select switchyard.cancel_job(database_id, {job}, 'Ann') from switchyard.tenants"
        ))
        .await;
    let told = "select count(*) from switchyard.outbox where ce_type = 'dev.switchyard.job.cancel.requested.v1'";
    assert_eq!(world.number(told).await, 1);
    // It was published, and came to nobody.
    world
        .execute("delete from switchyard.outbox where ce_type = 'dev.switchyard.job.cancel.requested.v1'")
        .await;
    world.tick().await;
    assert_eq!(world.number(told).await, 0, "it may still be on its way");
    world
        .execute(
            "update switchyard.jobs set cancel_told_at = now() - interval '20 s',
                cancel_requested_at = now() - interval '20 s' where state = 'cancelling'",
        )
        .await;
    for _ in 0..2 {
        world.tick().await;
        assert_eq!(world.number(told).await, 1);
    }
    assert_eq!(world.state(job).await, "cancelling", "until it has stopped");
}

#[tokio::test]
async fn days_that_are_missing_are_made() {
    let world = World::new().await;
    world.tick().await;
    let ahead =
        "select count(*) from pg_inherits where inhparent = 'switchyard.job_logs'::regclass";
    let before = world.number(ahead).await;
    let newest: String = sqlx::query_scalar(
        r"select max(inhrelid::regclass::text) from pg_inherits
          where inhparent = 'switchyard.job_logs'::regclass and inhrelid::regclass::text ~ '\d{8}$'",
    )
    .fetch_one(&world.rows)
    .await
    .expect("there are days ahead");
    world.execute(&format!("drop table {newest}")).await;
    world.tick().await;
    assert_eq!(world.number(ahead).await, before, "{newest} is there again");
}
