use axum::Router;
use host::{Env, Resources};
use http::StatusCode;
use sqlx::PgPool;
use testkit::TestDb;
use uuid::Uuid;

use super::*;

/// The function on a database, with a tenant that has one workload and one job of it.
struct Served {
    router: Router,
    rows: PgPool,
    tenant: Uuid,
    job: i64,
    _db: TestDb,
}

impl Served {
    async fn new() -> Self {
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60");
        let resources = Resources::new().expect("an HTTP client");
        let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
        let tenant = Uuid::new_v4();
        let it = Self {
            router: mounted.router,
            rows,
            tenant,
            job: 0,
            _db: db,
        };
        it.run("insert into switchyard.tenants values ($T, 'acme')")
            .await;
        it.run(
            "insert into switchyard.workloads (id, database_id, name, source, config, host)
             values ($T, $T, 'docs', 'static', '{}', 'docs')",
        )
        .await;
        it.run("insert into switchyard.triggers (id, database_id, name, kind) values ($T, $T, 'oops', 'log')")
            .await;
        let job = it.job("evt_1").await;
        Self { job, ..it }
    }

    /// Adds a job of the workload, of a chain.
    async fn job(&self, chain: &str) -> i64 {
        sqlx::query_scalar(
            "select job_id from switchyard.add_job(
                $1, 'task', '{}', p_workload_id => $1, p_correlation_id => $2
             )",
        )
        .bind(self.tenant)
        .bind(chain)
        .fetch_one(&self.rows)
        .await
        .expect("a job")
    }

    async fn run(&self, sql: &str) {
        let sql = sql.replace("$T", &format!("'{}'", self.tenant));
        sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
            .execute(&self.rows)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// A rule that looks for `oops`, and a first tick, from which on logs are read.
    async fn rule(&self, more: &str, values: &str) {
        self.run(&format!(
            "insert into switchyard.log_rules (id, database_id, name, pattern, severity, streams{more})
             values ($T, $T, 'oops', 'oops (?<what>\\w+)', 'error', '{{stderr,site}}'{values})"
        ))
        .await;
        self.tick().await;
    }

    async fn line(&self, job: i64, seq: i64, text: &str) {
        self.run(&format!(
            "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
             values ($T, {job}, 1, {seq}, 'stderr', '{text}')"
        ))
        .await;
    }

    async fn tick(&self) {
        assert_eq!(testkit::tick(&self.router).await, StatusCode::ACCEPTED);
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql)
            .fetch_all(&self.rows)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn told(&self) -> Vec<String> {
        self.texts("select message from switchyard.event_log order by at, message")
            .await
    }

    async fn started(&self) -> Vec<String> {
        self.texts("select correlation_id from switchyard.events where type = 'dev.switchyard.log.matched.v1'")
            .await
    }
}

#[tokio::test]
async fn a_match_is_told_once_on_observed_and_starts_nothing() {
    let it = Served::new().await;
    it.line(it.job, 1, "oops before anybody asked").await;
    it.rule("", "").await;
    it.line(it.job, 2, "oops disk").await;
    it.line(it.job, 3, "all is well").await;
    it.tick().await;
    it.tick().await;
    assert_eq!(it.told().await, ["oops: oops disk"]);
    assert!(it.started().await.is_empty());
    let published = it
        .texts("select data ->> 'data' from switchyard.outbox where ce_type = 'dev.switchyard.log.recorded.v1'")
        .await;
    assert_eq!(published.len(), 1);
    assert!(
        published[0].contains(r#""groups":{"what":"disk"}"#),
        "{published:?}"
    );
}

#[tokio::test]
async fn a_line_that_is_committed_late_is_not_left_out() {
    let it = Served::new().await;
    it.rule(", cooldown_secs", ", 0").await;
    let mut late = it.rows.acquire().await.expect("a connection");
    sqlx::raw_sql("begin")
        .execute(&mut *late)
        .await
        .expect("a transaction");
    sqlx::query(
        "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
         values ($1, $2, 1, 1, 'stderr', 'oops early')",
    )
    .bind(it.tenant)
    .bind(it.job)
    .execute(&mut *late)
    .await
    .expect("a line");
    it.line(it.job, 2, "oops later").await;
    it.tick().await;
    assert_eq!(it.told().await, ["oops: oops later"]);
    sqlx::raw_sql("commit")
        .execute(&mut *late)
        .await
        .expect("a commit");
    it.tick().await;
    it.tick().await;
    assert_eq!(it.told().await, ["oops: oops later", "oops: oops early"]);
}

#[tokio::test]
async fn two_that_read_at_once_tell_each_match_once() {
    let it = Served::new().await;
    it.rule(", cooldown_secs", ", 0").await;
    for seq in 1..=8 {
        it.line(it.job, seq, &format!("oops n{seq}")).await;
    }
    tokio::join!(it.tick(), it.tick(), it.tick());
    it.tick().await;
    assert_eq!(it.told().await.len(), 8);
}

#[tokio::test]
async fn after_a_match_a_rule_is_quiet_and_what_is_left_out_is_counted() {
    let it = Served::new().await;
    it.rule(", cooldown_secs", ", 3600").await;
    for seq in 1..=5 {
        it.line(it.job, seq, "oops again").await;
    }
    it.tick().await;
    assert_eq!(it.told().await.len(), 1);
    let counts = it
        .texts("select format('%s %s %s %s', matched, told, cooled, dropped) from switchyard.log_rule_counts")
        .await;
    assert_eq!(counts, ["5 1 4 0"]);
}

#[tokio::test]
async fn a_workload_that_says_too_much_is_cut_short() {
    let it = Served::new().await;
    it.rule(", cooldown_secs", ", 0").await;
    for seq in 1..=15 {
        it.line(it.job, seq, "oops again").await;
    }
    it.tick().await;
    assert_eq!(it.told().await.len(), 10);
    let counts = it
        .texts("select format('%s %s %s %s', matched, told, cooled, dropped) from switchyard.log_rule_counts")
        .await;
    assert_eq!(counts, ["15 10 0 5"]);
}

#[tokio::test]
async fn a_rule_starts_work_where_it_says_so_and_its_work_starts_no_more() {
    let it = Served::new().await;
    it.rule(", trigger_id", ", $T").await;
    it.line(it.job, 1, "oops disk").await;
    it.tick().await;
    let started = it.started().await;
    assert_eq!(started.len(), 1);
    // What dispatch makes of the event is of its chain; it fails in the same way, a long time after.
    let next = it.job(&started[0]).await;
    it.run("update switchyard.log_rule_counts set told_at = told_at - interval '1 hour'")
        .await;
    it.line(next, 1, "oops disk").await;
    it.tick().await;
    assert_eq!(it.told().await.len(), 2, "it is told");
    assert_eq!(it.started().await.len(), 1, "and starts nothing");
    let depth = it.texts("select depth::text from switchyard.events").await;
    assert_eq!(depth, ["1"]);
}

#[tokio::test]
async fn what_workloads_say_is_read_as_well() {
    let it = Served::new().await;
    it.rule("", "").await;
    it.run(
        "insert into switchyard.workload_logs (database_id, workload_id, stream, line)
         values ($T, $T, 'site', 'oops gone')",
    )
    .await;
    it.tick().await;
    assert_eq!(it.told().await, ["oops: oops gone"]);
}
