//! Faults of the database.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::Instant;

use super::Seen;
use crate::ledger::now;
use crate::{Act, Cluster, Setup};

/// Between two times that all connections are ended.
pub(super) const END_EVERY: Duration = Duration::from_secs(2);
/// From the database's return until jobs run.
const BACK_MAX: Duration = Duration::from_secs(10);
/// How long somebody may wait for being told that there is no connection.
const TOLD_MAX: Duration = Duration::from_secs(1);

/// Adds jobs for as long as there is load, beside what else happens.
fn feed(cluster: &Cluster, time: Duration) -> tokio::task::JoinHandle<()> {
    let (feeder, rate) = (cluster.feeder(), cluster.times.rate);
    #[expect(clippy::disallowed_methods, reason = "waited for by who asks for it")]
    tokio::spawn(async move { feeder.feed(rate, time, Act::Work { millis: 20 }).await })
}

/// Waits until something is done that was begun after this; says how long it took.
async fn works_again(cluster: &Cluster, limit: Duration) -> Duration {
    let (since, at) = (Instant::now(), now());
    cluster.add(Act::Work { millis: 1 }).await;
    cluster
        .until("jobs run again", limit, || async {
            cluster.ledger.effects().iter().any(|it| it.at > at)
        })
        .await;
    since.elapsed()
}

/// Fault 5: all connections are ended every two seconds, under load.
///
/// # Panics
/// When something is lost or done twice, or a process has to be started again.
pub async fn backends_are_ended_again_and_again(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 2).await;
    let began = Instant::now();
    let feeding = feed(&cluster, cluster.times.load);
    while !feeding.is_finished() {
        tokio::time::sleep(END_EVERY).await;
        cluster.end_backends().await;
    }
    feeding.await.expect("nobody panicked");
    cluster
        .quiet(cluster.times.taken_over() + cluster.times.patience)
        .await;
    let quiet = began.elapsed();
    cluster.balance().await;
    assert_eq!(cluster.deaths(), 0, "nobody has to be started again");
    cluster.end().await;
    vec![("quiet after the load began", quiet)]
}

/// Fault 6: the server is restarted as an operator does, and as a crash does.
///
/// # Panics
/// When something that was acknowledged is lost, or a process has to be started again.
pub async fn the_server_restarts(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 2).await;
    let feeding = feed(&cluster, cluster.times.load);
    let mut seen = Vec::new();
    for (name, fast) in [("after a fast restart", true), ("after a crash", false)] {
        tokio::time::sleep(cluster.times.load / 6).await;
        cluster.end_server(fast);
        // Answered as soon as it is back.
        cluster.execute("select 1").await;
        seen.push((
            name,
            works_again(&cluster, BACK_MAX + cluster.times.slack).await,
        ));
    }
    feeding.await.expect("nobody panicked");
    cluster
        .quiet(cluster.times.taken_over() + cluster.times.patience)
        .await;
    cluster.balance().await;
    assert_eq!(cluster.deaths(), 0, "nobody has to be started again");
    cluster.end().await;
    seen
}

/// Fault 7: the server may no longer be written to, and keeps its connections open. Another one may: here the same, a
/// while later, for whoever connects again. One server is enough: what is lost in a failover is up to replication, which is
/// the operator's; what is ours is to leave the old one and to look for the new one, and that is seen on the way to it.
///
/// # Panics
/// When connections are kept that can no longer write, or something is lost or done twice.
pub async fn the_server_turns_read_only(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 1).await;
    let (proxy, url) = cluster.proxy().await;
    cluster
        .add_worker_with(&[("DATABASE_URL", url.clone())])
        .await;
    cluster.start_relay_with(url).await;
    cluster.lead_to(1);
    works_again(&cluster, BACK_MAX + cluster.times.slack).await;
    let before = proxy.accepted();
    let feeding = feed(&cluster, cluster.times.outage);
    tokio::time::sleep(cluster.times.outage / 6).await;
    // For sessions that there are as for new ones: what a standby is.
    cluster
        .execute("alter system set default_transaction_read_only = on")
        .await;
    cluster.execute("select pg_reload_conf()").await;
    let turned = Instant::now();
    // The one that listens among them.
    cluster
        .until(
            "nobody keeps a connection from before",
            BACK_MAX + cluster.times.slack,
            || async { proxy.oldest_open().is_none_or(|number| number >= before) },
        )
        .await;
    let left = turned.elapsed();
    tokio::time::sleep_until(turned + cluster.times.outage / 2).await;
    let asked_again = proxy.accepted() - before;
    cluster
        .execute("alter system reset default_transaction_read_only")
        .await;
    cluster.execute("select pg_reload_conf()").await;
    let back = works_again(&cluster, BACK_MAX + cluster.times.slack).await;
    assert!(asked_again > 0, "it never looked for one that may write");
    cluster
        .until(
            "the relay listens",
            BACK_MAX + cluster.times.slack,
            || async {
                let listening =
                    "select count(*) from pg_stat_activity where query ilike 'listen%switchyard_relay%'";
                cluster.count(listening).await == 1
            },
        )
        .await;
    feeding.await.expect("nobody panicked");
    cluster
        .quiet(cluster.times.taken_over() + cluster.times.patience)
        .await;
    cluster.balance().await;
    assert_eq!(cluster.deaths(), 0, "nobody has to be started again");
    cluster.end().await;
    vec![
        ("all old connections left", left),
        ("jobs run after it may write", back),
    ]
}

/// Fault 8: all connections of a process are busy with statements that do not come back.
///
/// # Panics
/// When a wake-up waits for longer than a second to be told, the process says meanwhile that it is ready, or it does not
/// recover by itself.
pub async fn the_pool_is_exhausted(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let worker = cluster
        .add_worker_with(&[("DATABASE_POOL_MAX", "1".to_owned())])
        .await;
    works_again(&cluster, BACK_MAX + cluster.times.slack).await;
    cluster.quiet(cluster.times.patience).await;
    // A claim waits for this on the only connection.
    let mut lock = cluster.rows.acquire().await.expect("a connection");
    sqlx::raw_sql("begin; lock table switchyard.lanes, switchyard.jobs in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("a lock");
    let (told, ready) = told(&cluster, worker, 40).await;
    assert!(!ready, "it says that it is ready");
    let slowest = told.iter().map(|(_, took)| *took).max().unwrap_or_default();
    assert!(told.iter().all(|(later, _)| *later), "each may be repeated");
    assert!(
        slowest <= TOLD_MAX + cluster.times.slack / 5,
        "somebody was told after {slowest:?}"
    );
    sqlx::raw_sql("rollback")
        .execute(&mut *lock)
        .await
        .expect("the end");
    drop(lock);
    let back = works_again(&cluster, BACK_MAX + cluster.times.slack).await;
    cluster
        .until("it is ready again", BACK_MAX, || async {
            cluster.is_ready(worker).await
        })
        .await;
    cluster.quiet(cluster.times.patience).await;
    cluster.balance().await;
    assert_eq!(cluster.deaths(), 0);
    cluster.end().await;
    vec![("told", slowest), ("jobs run after it", back)]
}

/// Wakes a worker so many times at once. Who gets the connection waits with it; what the others are told, and when; and
/// whether it says that it is ready.
async fn told(cluster: &Cluster, worker: usize, wakeups: usize) -> (Vec<(bool, Duration)>, bool) {
    // The one whose claim hangs.
    let hangs = cluster.wake(worker);
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let told = futures::future::join_all((0..wakeups).map(|_| cluster.wake(worker))).await;
        (told, cluster.is_ready(worker).await)
    };
    let (told, ready) = tokio::select! {
        (status, ..) = hangs => panic!("the claim did not hang: {status}"),
        answers = others => answers,
    };
    let told = told
        .into_iter()
        .map(|(status, later, took)| (status == StatusCode::SERVICE_UNAVAILABLE && later, took));
    (told.collect(), ready)
}
