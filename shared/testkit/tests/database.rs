//! What a test gets, and what is left when it is over.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use sqlx::{Connection, PgConnection, PgPool};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

async fn text(pool: &PgPool, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn two_tests_do_not_see_each_others_rows() {
    let (one, other) = (testkit::database().await, testkit::database().await);
    let (one, other) = (one.pool(None).await, other.pool(None).await);
    sqlx::raw_sql("create table mine (id int)")
        .execute(&one)
        .await
        .unwrap();
    let there = "select coalesce(to_regclass('mine')::text, 'not there')";
    assert_eq!(text(&one, there).await, "mine");
    assert_eq!(text(&other, there).await, "not there");
}

#[tokio::test]
async fn migrations_have_been_applied() {
    let db = testkit::database().await;
    let pool = db.pool(None).await;
    let known = sqlx::migrate!("../../migrations").iter().count();
    let applied: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(applied).unwrap(), known);
}

#[tokio::test]
async fn a_session_of_a_role_has_that_roles_privileges_alone() {
    let db = testkit::database().await;
    let owner = db.pool(None).await;
    // Roles belong to the whole server, so the name is this test's own.
    sqlx::raw_sql("create role testkit_reader; create table secret (id int)")
        .execute(&owner)
        .await
        .unwrap();
    let reader = db.pool(Some("testkit_reader")).await;
    assert_eq!(
        text(&reader, "select current_user::text").await,
        "testkit_reader"
    );
    let error = sqlx::query("select from secret")
        .fetch_all(&reader)
        .await
        .unwrap_err();
    // insufficient_privilege
    assert_eq!(
        error.as_database_error().unwrap().code().as_deref(),
        Some("42501")
    );

    let mut by_url = PgConnection::connect(&db.url("testkit_reader"))
        .await
        .unwrap();
    let user: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&mut by_url)
        .await
        .unwrap();
    assert_eq!(user, "testkit_reader");
}

#[tokio::test]
async fn a_database_goes_away_with_its_value_though_somebody_is_connected() {
    let (db, other) = (testkit::database().await, testkit::database().await);
    let pool = db.pool(None).await;
    let name = text(&pool, "select current_database()::text").await;
    drop(db);
    // Requests are served in order, so this one comes after the drop.
    let _later = testkit::database().await;
    let left: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&other.pool(None).await)
            .await
            .unwrap();
    assert!(!left);
}

#[test]
fn a_killed_test_process_leaves_neither_server_nor_data() {
    let mut user = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "user", "--ignored", "--nocapture"])
        .env("TESTKIT_USER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let data: PathBuf = BufReader::new(user.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.split_once("data=").map(|(_, data)| data.into()))
        .unwrap();
    assert!(data.join("postmaster.pid").exists());
    user.kill().unwrap();
    user.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while data.exists() {
        assert!(
            Instant::now() < deadline,
            "{} is still there",
            data.display()
        );
        std::thread::yield_now();
    }
}

/// Not a test of its own: the process that the test above starts and kills.
#[tokio::test]
#[ignore = "started by another test"]
#[expect(clippy::disallowed_methods, reason = "a test talks to another test")]
async fn user() {
    if std::env::var_os("TESTKIT_USER").is_none() {
        return;
    }
    let db = testkit::database().await;
    let data = text(
        &db.pool(None).await,
        "select current_setting('data_directory')",
    )
    .await;
    println!("data={}", Path::new(&data).display());
    std::future::pending::<()>().await;
}
