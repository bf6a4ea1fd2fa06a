use axum::body::Body;
use host::Resources;
use http::{Request, StatusCode};
use tower::ServiceExt as _;

use super::*;

#[test]
fn what_is_kept_for_no_day_is_refused_at_the_start() {
    for name in [
        "JOBS_KEPT_DAYS",
        "LOGS_KEPT_DAYS",
        "TICKS_KEPT_DAYS",
        "DEEDS_KEPT_DAYS",
    ] {
        let error = Settings::of(&Env::default().with(name, "0")).expect_err("no day");
        assert!(error.to_string().contains(name), "{error}");
        assert!(Settings::of(&Env::default().with(name, "1")).is_ok());
    }
    let settings = Settings::of(&Env::default()).expect("defaults");
    assert_eq!(settings.keep(History::Jobs), DAY * 30);
    assert_eq!(settings.keep(History::Ticks), DAY * 7);
}

#[tokio::test]
async fn one_pass_drops_deletes_forgets_and_analyses_and_the_next_finds_nothing() {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let tenant = uuid::Uuid::new_v4();
    for statement in [
        format!("insert into switchyard.tenants values ('{tenant}', 'acme')"),
        "create table switchyard.job_logs_20200101 partition of switchyard.job_logs
            for values from ('2020-01-01 00:00:00+00') to ('2020-01-02 00:00:00+00')"
            .to_owned(),
        // One that has a day and one that missed it.
        format!(
            "insert into switchyard.job_logs (database_id, job_id, epoch, seq, at, stream, line)
             values ('{tenant}', 1, 1, 1, '2020-01-01 12:00:00+00', 'task', 'a'),
                    ('{tenant}', 1, 1, 2, '2020-01-03 12:00:00+00', 'task', 'b'),
                    ('{tenant}', 1, 1, 3, now(), 'task', 'c')"
        ),
        "select setval('switchyard.accepted', 10)".to_owned(),
        "insert into switchyard.accepted_marks (at, seq) values (now() - interval '3 days', 10)"
            .to_owned(),
        format!("insert into switchyard.job_keys values ('{tenant}', 'k', 5)"),
        "insert into switchyard.audit (at, by_whom, deed)
         values (now() - interval '366 days', 'Ann', 'pause'), (now() - interval '364 days', 'Ann', 'resume')"
            .to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&rows)
            .await
            .expect("the owner may");
    }
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60");
    let resources = Resources::new().expect("an HTTP client");
    let router = FUNCTION
        .mount(&env, &resources)
        .expect("good settings")
        .router;
    for _ in 0..2 {
        let event = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/clock")
            .header("ce-type", "dev.knative.sources.ping")
            .body(Body::empty())
            .expect("a request");
        let answer = router.clone().oneshot(event).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let left: (i64, i64, String, bool) = sqlx::query_as(
            "select (select count(*) from switchyard.job_logs), (select count(*) from switchyard.job_keys),
                (select string_agg(deed, ' ') from switchyard.audit),
                to_regclass('switchyard.job_logs_20200101') is null",
        )
        .fetch_one(&rows)
        .await
        .expect("numbers");
        assert_eq!(left, (1, 0, "resume".to_owned(), true));
    }
}
