use host::Resources;
use http::StatusCode;

use super::*;

#[test]
fn what_is_kept_for_no_day_is_refused_at_the_start() {
    for name in [
        "JOBS_KEPT_DAYS",
        "LOGS_KEPT_DAYS",
        "TICKS_KEPT_DAYS",
        "DEEDS_KEPT_DAYS",
        "DELIVERY_BODIES_KEPT_DAYS",
        "DELIVERIES_KEPT_DAYS",
        "ARTIFACTS_KEPT_DAYS",
    ] {
        let error = Settings::of(&Env::default().with(name, "0")).expect_err("no day");
        assert!(error.to_string().contains(name), "{error}");
        assert!(Settings::of(&Env::default().with(name, "1")).is_ok());
    }
    let ids = |days| Settings::of(&Env::default().with("DELIVERY_IDS_KEPT_DAYS", days));
    assert!(ids("7").is_err() && ids("8").is_ok());
    let settings = Settings::of(&Env::default()).expect("defaults");
    assert_eq!(settings.keep(History::Jobs), DAY * 30);
    assert_eq!(settings.keep(History::Ticks), DAY * 7);
}

fn settings_with(db: &testkit::TestDb, blobs: &std::path::Path) -> Env {
    Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("BLOBS_URL", blobs.to_str().expect("a path"))
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
    let folder = tempfile::tempdir().expect("a folder");
    let env = settings_with(&db, folder.path());
    let resources = Resources::new().expect("an HTTP client");
    let router = FUNCTION
        .mount(&env, &resources)
        .expect("good settings")
        .router;
    for _ in 0..2 {
        assert_eq!(testkit::tick(&router).await, StatusCode::ACCEPTED);
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

#[tokio::test]
async fn bodies_go_before_deliveries_and_what_is_young_stays() {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let tenant = uuid::Uuid::new_v4();
    let mut statements = vec![
        format!("insert into switchyard.tenants values ('{tenant}', 'acme')"),
        format!(
            "insert into switchyard.triggers (id, database_id, name, kind) values ('{tenant}', '{tenant}', 'push', 'git')"
        ),
    ];
    for days in [0, 13, 15, 89, 91] {
        let at = format!("now() - interval '{days} days'");
        statements.push(format!(
            "insert into switchyard.deliveries (id, database_id, trigger_id, vendor, verdict, body, body_bytes, received_at)
             values (gen_random_uuid(), '{tenant}', '{tenant}', 'gitea', 'accepted', 'x', 1, {at})"
        ));
        statements.push(format!(
            "insert into switchyard.rejections (database_id, trigger_id, hour, reason)
             values ('{tenant}', '{tenant}', {at}, 'why')"
        ));
    }
    for (key, created, over) in [
        ("named and young", 29, "null"),
        ("named and old", 31, "null"),
        ("of a body", 0, "now() + interval '1 hour'"),
        ("of a body and over", 0, "now() - interval '1 hour'"),
    ] {
        statements.push(format!(
            "insert into switchyard.delivery_keys (database_id, trigger_id, key, delivery_id, body_sha256, created_at, expires_at)
             values ('{tenant}', '{tenant}', '{key}', '{tenant}', 'x', now() - interval '{created} days', {over})"
        ));
    }
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&rows)
            .await
            .expect("the owner may");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let env = settings_with(&db, folder.path());
    let resources = Resources::new().expect("an HTTP client");
    let ctx = FUNCTION.mount(&env, &resources).expect("settings").ctx;
    let settings = Settings::of(&env).expect("defaults");
    let report = reconcile(ctx.clone(), settings.clone()).await;
    let report = report.expect("a report");
    let went = |report: &Report| {
        (
            report.bodies,
            report.deliveries,
            report.delivery_ids,
            report.rejections,
        )
    };
    assert_eq!(went(&report), (3, 1, 2, 1));
    let left: (i64, i64, String) = sqlx::query_as(
        "select (select count(*) from switchyard.deliveries), count(body_dropped_at),
            (select string_agg(key, ', ' order by key) from switchyard.delivery_keys)
         from switchyard.deliveries",
    )
    .fetch_one(&rows)
    .await
    .expect("numbers");
    assert_eq!(left, (4, 2, "named and young, of a body".to_owned()));
    let again = reconcile(ctx, settings).await.expect("a report");
    assert_eq!(went(&again), (0, 0, 0, 0));
}

#[tokio::test]
async fn artifacts_go_with_their_bytes_and_so_does_what_nobody_sends_any_more() {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let tenant = uuid::Uuid::new_v4();
    let id = uuid::Uuid::from_u128;
    let execute = async |statement: String| {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&rows)
            .await
            .expect("the owner may");
    };
    execute(format!(
        "insert into switchyard.tenants values ('{tenant}', 'acme')"
    ))
    .await;
    // Of a job that has ended, old and young; of one that has not; on the shelf.
    let pending: i64 =
        sqlx::query_scalar("select job_id from switchyard.add_job($1, 'task', '{}')")
            .bind(tenant)
            .fetch_one(&rows)
            .await
            .expect("a job");
    for (n, job, days) in [(1, 7, 31), (2, 7, 29), (3, pending, 31), (4, 0, 31)] {
        execute(format!(
            "insert into switchyard.artifacts
                 (id, database_id, job_id, epoch, name, media_type, bytes, sha256, blob, sealed, created_at)
             values ('{0}', '{tenant}', {job}, 0, 'a{n}', 'text/plain', 5, sha256('x'),
                 'artifacts/{tenant}/{0}/x', false, now() - interval '{days} days')",
            id(n)
        ))
        .await;
    }
    execute(format!("insert into switchyard.artifact_quotas (database_id, bytes, artifacts) values ('{tenant}', 20, 4)")).await;
    // Sent by who is gone, by somebody an hour and a half ago whose claim is over, and just now.
    for (n, job, epoch, hours) in [(5, 0, 0, 25), (6, 7, 1, 2), (7, 0, 0, 1)] {
        execute(format!(
            "insert into switchyard.artifact_uploads (id, database_id, job_id, epoch, name, touched_at)
             values ('{}', '{tenant}', {job}, {epoch}, 'u{n}', now() - interval '{hours} hours')",
            id(n)
        ))
        .await;
    }
    for (ended, job) in [(31, 101), (29, 102)] {
        execute(format!(
            "insert into switchyard.runs
                 (database_id, job_id, epoch, phase, launcher, spec, state, lease, until, retry, log_seq, ended_at)
             values ('{tenant}', {job}, 1, 'plan', 'local', 'x', 'succeeded', '30 s', now(), false, 0,
                 now() - interval '{ended} days')"
        ))
        .await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let env = settings_with(&db, folder.path());
    let resources = Resources::new().expect("an HTTP client");
    let ctx = FUNCTION.mount(&env, &resources).expect("settings").ctx;
    let blobs = ctx.blobs().expect("a folder").clone();
    let path = |text: String| blobs::BlobPath::new(text).expect("a path");
    let bytes = |n| path(format!("artifacts/{tenant}/{}/x", id(n)));
    let piece = |n| path(format!("staged/{tenant}/{}/0", id(n)));
    for n in 1..=4 {
        blobs.put(&bytes(n), "bytes".into()).await.expect("a blob");
    }
    for n in 5..=7 {
        blobs.put(&piece(n), "bytes".into()).await.expect("a blob");
    }
    let settings = Settings::of(&env).expect("defaults");
    let report = reconcile(ctx.clone(), settings.clone()).await;
    let report = report.expect("a report");
    assert_eq!((report.artifacts, report.cleared, report.runs), (1, 3, 1));
    // Of the run that is kept, what its runner was told goes.
    let told: Vec<Vec<u8>> = sqlx::query_scalar("select spec from switchyard.runs")
        .fetch_all(&rows)
        .await
        .expect("runs");
    assert_eq!((report.run_specs, told), (1, vec![Vec::new()]));
    let there = async |path| blobs.head(&path).await.expect("an answer").is_some();
    for (path, stays) in [
        (bytes(1), false),
        (bytes(2), true),
        (bytes(3), true),
        (bytes(4), true),
        (piece(5), false),
        (piece(6), false),
        (piece(7), true),
    ] {
        assert_eq!(there(path.clone()).await, stays, "{path}");
    }
    let kept: (i64, i64) =
        sqlx::query_as("select bytes, artifacts from switchyard.artifact_quotas")
            .fetch_one(&rows)
            .await
            .expect("a row");
    assert_eq!(kept, (15, 3));
    let again = reconcile(ctx, settings).await.expect("a report");
    assert_eq!((again.artifacts, again.cleared, again.runs), (0, 0, 0));
}
