//! What a connection costs whose server falls silent, or may no longer write.

use std::net::SocketAddr;
use std::time::Duration;

use database::{Connect, SystemDb, is_passing};
use model::DatabaseRole;
use testkit::{Proxy, TestDb};
use tokio::task::JoinSet;
use url::Url;

fn connect(url: &Url, connections_max: u32) -> SystemDb {
    SystemDb::new(&Connect {
        url: url.as_str().into(),
        role: DatabaseRole::System,
        connections_max,
        acquire_timeout: Duration::from_secs(20),
    })
    .expect("a URL")
}

/// A proxy before a test's server, and the database's URL through it.
async fn proxied(test: &TestDb) -> (Proxy, Url) {
    let mut url: Url = test.owner_url().parse().expect("a URL");
    let host = url.host_str().expect("a host").to_owned();
    let port = url.port().expect("a port");
    let server: SocketAddr = format!("{host}:{port}").parse().expect("an address");
    let proxy = Proxy::to(server).await;
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.address().port())).expect("a port");
    (proxy, url)
}

#[tokio::test]
async fn a_server_that_falls_silent_costs_its_connection_and_no_place() -> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let (proxy, url) = proxied(&test).await;
    // One place: it must be free again for the second statement.
    let db = connect(&url, 1);
    let mut conn = db.acquire().await?;
    sqlx::query("select 1").execute(&mut *conn).await?;
    proxy.fall_silent();
    tokio::time::pause();
    let error = sqlx::query("select 2")
        .execute(&mut *conn)
        .await
        .expect_err("nobody answers");
    tokio::time::resume();
    assert!(is_passing(&error), "{error}");
    assert!(
        error.to_string().contains("said nothing for 20 s"),
        "{error}"
    );
    drop(conn);
    proxy.heal();
    sqlx::query("select 3")
        .execute(&mut *db.acquire().await?)
        .await?;
    assert_eq!(
        proxy.accepted(),
        2,
        "the silent connection was not used again"
    );
    Ok(())
}

#[tokio::test]
async fn a_statement_that_is_given_up_costs_its_connection() -> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let (proxy, url) = proxied(&test).await;
    let db = connect(&url, 1);
    let mut conn = db.acquire().await?;
    sqlx::query("select 1").execute(&mut *conn).await?;
    proxy.fall_silent();
    {
        let waits = sqlx::query("select 2").fetch_one(&mut *conn);
        let given_up = tokio::time::timeout(Duration::from_millis(10), waits).await;
        assert!(given_up.is_err(), "nobody answers");
    }
    drop(conn);
    proxy.heal();
    sqlx::query("select 3")
        .execute(&mut *db.acquire().await?)
        .await?;
    assert_eq!(proxy.accepted(), 2);
    Ok(())
}

#[tokio::test]
async fn a_server_that_turned_read_only_is_left_for_whoever_may_write() -> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let (proxy, url) = proxied(&test).await;
    let db = connect(&url, 1);
    let mut conn = db.acquire().await?;
    sqlx::raw_sql("set default_transaction_read_only = on")
        .execute(&mut *conn)
        .await?;
    let error = sqlx::query("update switchyard.outbox set attempts = 0")
        .execute(&mut *conn)
        .await
        .expect_err("it may not write");
    assert!(is_passing(&error), "{error}");
    drop(conn);
    sqlx::query("update switchyard.outbox set attempts = 0")
        .execute(&mut *db.acquire().await?)
        .await?;
    assert_eq!(proxy.accepted(), 2);
    Ok(())
}

#[tokio::test]
async fn a_refusal_costs_nothing() -> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let (proxy, url) = proxied(&test).await;
    let db = connect(&url, 1);
    for _ in 0..3 {
        let error = sqlx::query("select 1 / 0")
            .fetch_all(&mut *db.acquire().await?)
            .await
            .expect_err("nothing divides by zero");
        assert!(!is_passing(&error), "{error}");
    }
    assert_eq!(proxy.accepted(), 1);
    Ok(())
}

#[tokio::test]
async fn who_finds_too_many_waiting_is_told_at_once() -> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let url: Url = test.owner_url().parse().expect("a URL");
    let db = connect(&url, 1);
    let only = db.acquire().await?;
    let mut waiting = JoinSet::new();
    for _ in 0..16 {
        let db = db.clone();
        waiting.spawn(async move { db.acquire().await.map(drop) });
    }
    // On one thread: each of them has begun to wait when it is our turn again.
    tokio::task::yield_now().await;
    let told = db.acquire().await.expect_err("sixteen wait already");
    assert!(matches!(told, sqlx::Error::PoolTimedOut), "{told}");
    drop(only);
    while let Some(one) = waiting.join_next().await {
        one.expect("no panic")?;
    }
    Ok(())
}

#[tokio::test]
async fn who_waits_to_open_a_connection_takes_one_that_comes_back() -> Result<(), sqlx::Error> {
    const AT_ONCE: usize = 4;
    let test = testkit::database().await;
    let (proxy, url) = proxied(&test).await;
    let db = connect(&url, 16);
    let only = db.acquire().await?;
    // From now on none can be opened.
    proxy.fall_silent();
    let mut waiting = JoinSet::new();
    for _ in 0..AT_ONCE * 2 {
        let db = db.clone();
        waiting.spawn(async move { db.acquire().await });
    }
    while proxy.accepted() <= AT_ONCE {
        tokio::task::yield_now().await;
    }
    drop(only);
    let mut first = waiting
        .join_next()
        .await
        .expect("one has it")
        .expect("no panic")?;
    assert_eq!(proxy.accepted(), 1 + AT_ONCE, "few are opened at a time");
    proxy.heal();
    sqlx::query("select 1").execute(&mut *first).await?;
    while let Some(one) = waiting.join_next().await {
        one.expect("no panic")?;
    }
    Ok(())
}

#[tokio::test]
async fn one_broken_connection_tells_of_those_that_lie_idle() -> Result<(), sqlx::Error> {
    const CONNECTIONS: usize = 8;
    let test = testkit::database().await;
    let owner = test.pool(None).await;
    let url: Url = test.owner_url().parse().expect("a URL");
    let db = connect(&url, 16);
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(db.acquire().await?);
    }
    drop(held);
    let ended: i64 = sqlx::query_scalar(
        "select count(*) filter (where pg_terminate_backend(pid, 10000)) from pg_stat_activity
         where datname = current_database() and application_name = 'switchyard_system'",
    )
    .fetch_one(&owner)
    .await?;
    assert_eq!(usize::try_from(ended), Ok(CONNECTIONS));
    // They have lain idle for so short a time that they are not asked: one fails, the others are closed with it.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let answer: i32 = db
        .reconnected(|| async {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            sqlx::query_scalar("select 1")
                .fetch_one(&mut *db.acquire().await?)
                .await
        })
        .await?;
    assert_eq!((answer, asked.into_inner()), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_pool_that_nobody_gives_back_to_is_not_waited_for_as_if_it_recovered()
-> Result<(), sqlx::Error> {
    let test = testkit::database().await;
    let url: Url = test.owner_url().parse().expect("a URL");
    let db = SystemDb::new(&Connect {
        url: url.as_str().into(),
        role: DatabaseRole::System,
        connections_max: 1,
        acquire_timeout: Duration::from_millis(300),
    })
    .expect("a URL");
    let only = db.acquire().await?;
    let begun = std::time::Instant::now();
    let told = db
        .reconnected(|| async { db.acquire().await.map(drop) })
        .await;
    assert!(matches!(told, Err(sqlx::Error::PoolTimedOut)), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(only);
    Ok(())
}
