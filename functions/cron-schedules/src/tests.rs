use axum::Router;
use host::{Clock, Env, Resources};
use http::StatusCode;
use serde_json::json;
use sqlx::PgPool;
use testkit::TestDb;
use uuid::Uuid;

use super::*;

/// The function on a database, with a machine's clock that may be wrong.
struct Served {
    router: Router,
    rows: PgPool,
    tenant: Uuid,
    db: TestDb,
}

impl Served {
    async fn new() -> Self {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let tenant = Uuid::new_v4();
        sqlx::query("insert into switchyard.tenants values ($1, 'acme')")
            .bind(tenant)
            .execute(&rows)
            .await
            .expect("a tenant");
        Self {
            router: router(&db, Clock::Machine),
            rows,
            tenant,
            db,
        }
    }

    async fn declare(&self, name: &str, rule: serde_json::Value, next_at: &str) {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "insert into switchyard.schedules (database_id, name, task, schedule_info, next_at)
             values ($1, $2, 'task', $3, {next_at})"
        )))
        .bind(self.tenant)
        .bind(name)
        .bind(rule)
        .execute(&self.rows)
        .await
        .expect("a schedule");
    }

    async fn jobs(&self) -> i64 {
        sqlx::query_scalar("select count(*) from switchyard.jobs")
            .fetch_one(&self.rows)
            .await
            .expect("a number")
    }
}

fn router(db: &TestDb, clock: Clock) -> Router {
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60");
    let resources = Resources::new().expect("an HTTP client").with_clock(clock);
    let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
    mounted.router
}

#[tokio::test]
async fn what_is_due_is_fired_and_what_has_no_ticks_is_planned_in_one_pass() {
    let it = Served::new().await;
    it.declare("due", json!("0 0 1 1 *"), "now() - interval '1 second'")
        .await;
    it.declare("new", json!({"hour": 9, "minute": 0}), "null")
        .await;
    it.declare("wrong", json!({"hours": 9}), "null").await;
    assert_eq!(testkit::tick(&it.router).await, StatusCode::ACCEPTED);
    assert_eq!(it.jobs().await, 1);
    let without: Vec<String> = sqlx::query_scalar(
        "select name || ': ' || problem from switchyard.schedules where next_at is null",
    )
    .fetch_all(&it.rows)
    .await
    .expect("rows");
    assert_eq!(without.len(), 1);
    assert!(
        without[0].starts_with("wrong: a rule has no \"hours\""),
        "{without:?}"
    );
    assert_eq!(testkit::tick(&it.router).await, StatusCode::ACCEPTED);
    assert_eq!(it.jobs().await, 1);
}

#[tokio::test]
async fn more_than_one_batch_is_due_and_all_of_it_is_fired() {
    let it = Served::new().await;
    sqlx::query(
        "insert into switchyard.schedules (database_id, name, task, schedule_info, next_at)
         select $1, 'n' || n, 'task', '\"0 0 1 1 *\"', now() - interval '1 second' from generate_series(1, 450) n",
    )
    .bind(it.tenant)
    .execute(&it.rows)
    .await
    .expect("schedules");
    // Two at once: each fires what the other does not.
    let other = router(&it.db, Clock::Machine);
    let (one, two) = tokio::join!(testkit::tick(&it.router), testkit::tick(&other));
    assert_eq!((one, two), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    while it.jobs().await < 450 {
        assert_eq!(testkit::tick(&it.router).await, StatusCode::ACCEPTED);
    }
    assert_eq!(it.jobs().await, 450);
}

#[tokio::test]
async fn a_machine_whose_clock_is_ten_minutes_wrong_fires_no_tick_too_early_and_none_twice() {
    let it = Served::new().await;
    it.declare("soon", json!("* * * * *"), "now() + interval '5 minutes'")
        .await;
    it.declare("due", json!("0 0 1 1 *"), "now() - interval '1 second'")
        .await;
    let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select now()")
        .fetch_one(&it.rows)
        .await
        .expect("the present");
    let skew = chrono::TimeDelta::minutes(10);
    for clock in [Clock::Fixed(now + skew), Clock::Fixed(now - skew)] {
        assert_eq!(
            testkit::tick(&router(&it.db, clock)).await,
            StatusCode::ACCEPTED
        );
        assert_eq!(it.jobs().await, 1);
    }
}

#[tokio::test]
async fn a_tick_of_a_trigger_is_one_event_however_many_fire_it() {
    let it = Served::new().await;
    let trigger = Uuid::now_v7();
    sqlx::query("insert into switchyard.triggers (id, database_id, name, kind) values ($1, $2, 'each minute', 'schedule')")
        .bind(trigger)
        .bind(it.tenant)
        .execute(&it.rows)
        .await
        .expect("a trigger");
    sqlx::query(
        "insert into switchyard.schedules (database_id, trigger_id, task, schedule_info, next_at)
         values ($1, $2, 'trigger', '\"* * * * *\"', date_trunc('minute', now()))",
    )
    .bind(it.tenant)
    .bind(trigger)
    .execute(&it.rows)
    .await
    .expect("a schedule");
    let others: Vec<Router> = (0..4).map(|_| router(&it.db, Clock::Machine)).collect();
    let all = others.iter().map(testkit::tick);
    for status in futures::future::join_all(all).await {
        assert_eq!(status, StatusCode::ACCEPTED);
    }
    let events: Vec<(String, Uuid, serde_json::Value)> =
        sqlx::query_as("select type, trigger_id, data from switchyard.events")
            .fetch_all(&it.rows)
            .await
            .expect("events");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "dev.switchyard.schedule.fired.v1");
    assert_eq!(events[0].1, trigger);
    assert!(events[0].2["tick"].is_string());
    assert_eq!(it.jobs().await, 0);
    let ticks: Vec<(String, Option<Uuid>)> =
        sqlx::query_as("select outcome::text, event_id from switchyard.schedule_ticks")
            .fetch_all(&it.rows)
            .await
            .expect("ticks");
    assert!(
        matches!(&ticks[..], [(outcome, Some(_))] if outcome == "fired"),
        "{ticks:?}"
    );
}

#[tokio::test]
async fn a_secret_whose_time_is_over_is_forgotten() {
    let it = Served::new().await;
    sqlx::query(
        "insert into switchyard.triggers
            (id, database_id, name, kind, secret, secret_previous, secret_previous_until)
         values (gen_random_uuid(), $1, 'over', 'git', 'new', 'old', now() - interval '1 s'),
            (gen_random_uuid(), $1, 'not yet', 'git', 'new', 'old', now() + interval '1 hour'),
            (gen_random_uuid(), $1, 'for ever', 'git', 'new', 'old', null)",
    )
    .bind(it.tenant)
    .execute(&it.rows)
    .await
    .expect("triggers");
    testkit::tick(&it.router).await;
    let kept: Vec<String> = sqlx::query_scalar(
        "select name from switchyard.triggers where secret_previous is not null order by name",
    )
    .fetch_all(&it.rows)
    .await
    .expect("names");
    assert_eq!(kept, ["for ever", "not yet"]);
}
