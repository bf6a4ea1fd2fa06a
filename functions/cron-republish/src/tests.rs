//! What is told again, on a real Postgres.

use host::{Env, Mounted, Resources};
use http::StatusCode;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;

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

    /// What is in the outbox for a broker: whom or what it is about.
    async fn outbox(&self, broker: &str, of: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(format!(
            "select {of} from switchyard.outbox where broker = '{broker}' order by 1"
        )))
        .fetch_all(&self.rows)
        .await
        .expect("rows")
    }

    async fn tick(&self) {
        assert_eq!(
            testkit::tick(&self.function.router).await,
            StatusCode::ACCEPTED
        );
    }

    /// What the process has counted as told again.
    fn told_again(&self) -> String {
        let mut told = String::new();
        let metrics = self.function.ctx.metrics();
        metrics.encode(&mut told).expect("a string takes all");
        let line = told
            .lines()
            .find_map(|line| {
                line.strip_prefix(r#"switchyard_task_repairs_total{kind="republished"} "#)
            })
            .expect("it is told from the start");
        line.to_owned()
    }
}

#[tokio::test]
async fn an_event_that_nobody_dispatched_is_told_again_after_ever_longer() {
    let world = World::new().await;
    let event = |number: u8| format!("018f0000-0000-7000-8000-0000000000{number:02}");
    for (number, published, dispatched) in [
        (1, "31 s", "null"),
        (2, "29 s", "null"),
        (3, "31 s", "now()"),
    ] {
        world
            .execute(&format!(
                "insert into switchyard.events
                    (id, database_id, type, source, data, correlation_id, published_at, dispatched_at)
                 select '{}', database_id, 'dev.switchyard.git.pushed.v1', '/test', '{{}}', 'c',
                    now() - interval '{published}', {dispatched}
                 from switchyard.tenants",
                event(number)
            ))
            .await;
    }
    let unheeded = format!("evt_{}", event(1).replace('-', ""));
    for _ in 0..2 {
        world.tick().await;
        assert_eq!(world.outbox("inbound", "ce_id").await, [unheeded.as_str()]);
        assert_eq!(world.told_again(), "1");
    }
    // It is on its way a second time, and then waits twice as long.
    for (passed, count) in [("31 s", 0), ("61 s", 1)] {
        world
            .execute("delete from switchyard.outbox where broker = 'inbound'")
            .await;
        world
            .execute(&format!(
                "update switchyard.events set published_at = now() - interval '{passed}' where id = '{}'",
                event(1)
            ))
            .await;
        world.tick().await;
        assert_eq!(
            world.outbox("inbound", "ce_id").await.len(),
            count,
            "after {passed}"
        );
    }
}

#[tokio::test]
async fn work_that_nobody_claimed_is_told_again_to_who_takes_it() {
    let world = World::new().await;
    world
        .execute(
            "insert into switchyard.tasks (name, executor) values
                ('ours', 'builtin'), ('theirs', 'knative'), ('young', 'builtin')",
        )
        .await;
    for (task, since) in [
        ("ours", 31),
        ("ours", 31),
        ("theirs", 31),
        ("young", 29),
        ("nobodys", 31),
    ] {
        world
            .execute(&format!(
                "with added as (
                    select a.job_id from switchyard.tenants t, switchyard.add_job(t.database_id, '{task}', '{{}}') a
                 )
                 select job_id from added"
            ))
            .await;
        world
            .execute(&format!(
                "update switchyard.jobs set created_at = now() - interval '{since} s', run_at = now() - interval '{since} s'
                 where task = '{task}'"
            ))
            .await;
    }
    // What was told of them has been published, and came to nobody.
    world
        .execute("delete from switchyard.outbox where broker = 'work'")
        .await;
    // A front behind them would hide what was only just made old.
    world
        .execute("update switchyard.lanes set fronts = null, priorities = null")
        .await;
    for _ in 0..2 {
        world.tick().await;
        assert_eq!(
            world
                .outbox("work", "ce_subject || ' ' || (extensions ->> 'executor')")
                .await,
            ["ours builtin", "theirs external"],
            "each task once"
        );
        assert_eq!(world.told_again(), "2");
    }
}
