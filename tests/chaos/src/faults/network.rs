//! Faults of the network: nobody is told.

use std::time::Duration;

use model::CancelOutcome;
use tokio::time::Instant;

use super::{Seen, held_by};
use crate::ledger::{What, now};
use crate::{Act, Cluster, Setup};

/// How long a lost wake-up may stay lost.
const POLL_MAX: Duration = Duration::from_secs(5);
/// What it takes to do a thing and to see that it is done.
const LOOK: Duration = Duration::from_millis(500);
/// From the death of a connection until the process works again.
const RECOVERED_MAX: Duration = Duration::from_secs(60);

/// Fault 9: connections to the database die, and neither side hears of it. New ones can be made.
///
/// # Panics
/// When the process does not come back by itself, or something is lost or done twice.
pub async fn connections_die_silently(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let (proxy, url) = cluster.proxy().await;
    cluster.add_worker_with(&[("DATABASE_URL", url)]).await;
    for _ in 0..40 {
        cluster.add(Act::Work { millis: 1_000 }).await;
    }
    cluster
        .until("jobs run", cluster.times.patience, || async {
            held_by(&cluster, 0).len() > 8
        })
        .await;
    proxy.lose();
    let lost = Instant::now();
    cluster.quiet(RECOVERED_MAX + cluster.times.slack).await;
    let recovered = lost.elapsed();
    cluster.balance().await;
    assert_eq!(cluster.deaths(), 0, "it comes back by itself");
    cluster.end().await;
    vec![("all jobs done", recovered)]
}

/// Fault 10: the listening connection dies and notifications are lost. (That the server's queue of them is full, which takes
/// 8 GiB, is not tried: shortly before that nobody is notified any more, which is the same to who waits.)
///
/// # Panics
/// When a job waits for longer than the poll, or a cancel for longer than a heartbeat.
pub async fn notifications_are_lost(setup: &Setup) -> Seen {
    let cluster = Cluster::start(setup, 1).await;
    // Whoever looks whether to notify sees that nobody wants it: as if the notification had been sent and lost.
    let rows = cluster.rows.clone();
    #[expect(clippy::disallowed_methods, reason = "ended below")]
    let losing = tokio::spawn(async move {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'",
        )
        .execute(&rows)
        .await
        .ok();
        loop {
            sqlx::query("update switchyard.relay_flags set armed = false where armed")
                .execute(&rows)
                .await
                .ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let end = Instant::now() + cluster.times.outage;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let (added, at) = (Instant::now(), now());
        let job = cluster.add(Act::Work { millis: 1 }).await;
        cluster
            .until("it runs", POLL_MAX + LOOK + cluster.times.slack, || async {
                let effects = cluster.ledger.effects();
                effects.iter().any(|it| it.job == job.0 && it.at > at)
            })
            .await;
        slowest = slowest.max(added.elapsed());
        // Not in step with the polls.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    cluster.attempts_take(cluster.times.patience * 2).await;
    let job = cluster.add(Act::Work { millis: 120_000 }).await;
    cluster
        .until("it runs", POLL_MAX + LOOK + cluster.times.slack, || async {
            held_by(&cluster, 0).iter().any(|(held, _)| *held == job.0)
        })
        .await;
    let asked = Instant::now();
    let outcome = cluster
        .count(&format!(
            "select (switchyard.cancel_job('{}', {job}, 'a person') = 'requested')::int::bigint",
            cluster.tenant.uuid()
        ))
        .await;
    assert_eq!(outcome, 1, "{:?}", CancelOutcome::Requested);
    let within = cluster.times.heartbeat + LOOK + cluster.times.slack;
    cluster
        .until("it is cancelled", within, || async {
            let cancelled = format!(
                "select count(*) from switchyard.jobs_archive where id = {job} and state = 'cancelled'"
            );
            cluster.count(&cancelled).await == 1
        })
        .await;
    let cancelled = asked.elapsed();
    losing.abort();
    cluster.quiet(cluster.times.patience).await;
    let acknowledged = cluster
        .count("select count(*) from switchyard.job_events where kind = 'cancel_acknowledged'")
        .await;
    assert_eq!(acknowledged, 1);
    cluster.end().await;
    vec![("slowest pickup", slowest), ("cancelled", cancelled)]
}

/// Fault 11: a worker and the database do not hear each other for longer than a lease.
///
/// # Panics
/// When the worker goes on beyond its lease, or its jobs are not taken over.
pub async fn the_database_is_out_of_reach_of_a_worker(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let (proxy, url) = cluster.proxy().await;
    let cut_off = cluster.add_worker_with(&[("DATABASE_URL", url)]).await;
    // They outlast the silence.
    let work = cluster.times.outage * 2;
    cluster.attempts_take(work * 2).await;
    let millis = u64::try_from(work.as_millis()).unwrap_or(u64::MAX);
    for _ in 0..10 {
        cluster.add(Act::Work { millis }).await;
    }
    cluster
        .until("jobs run", cluster.times.patience, || async {
            held_by(&cluster, cut_off).len() == 10
        })
        .await;
    let other = cluster.add_worker().await;
    // A worker that starts says how long attempts of its tasks take.
    cluster.attempts_take(work * 2).await;
    cluster.lead_to(other);
    let held = held_by(&cluster, cut_off);
    proxy.fall_silent();
    let silent = Instant::now();
    cluster
        .until(
            "its jobs are taken over",
            cluster.times.taken_over(),
            || async { held_by(&cluster, other).len() == held.len() },
        )
        .await;
    let taken_over = silent.elapsed();
    let (effects, pid) = (cluster.ledger.effects(), cluster.workers[cut_off].id());
    let last = effects
        .iter()
        .filter(|it| it.pid == pid)
        .map(|it| it.at)
        .max();
    let first = effects
        .iter()
        .filter(|it| it.pid != pid && it.what == What::Began)
        .map(|it| it.at)
        .min();
    assert!(
        last < first,
        "it went on beyond its lease: {last:?}, {first:?}"
    );
    tokio::time::sleep(cluster.times.outage.saturating_sub(silent.elapsed())).await;
    proxy.heal();
    cluster.quiet(work + cluster.times.patience).await;
    let books = cluster.balance().await;
    assert_eq!(books.repeated(), held.len());
    assert_eq!(cluster.deaths(), 0);
    // It is of use again.
    cluster.lead_to(cut_off);
    cluster.add(Act::Work { millis: 1 }).await;
    cluster.quiet(RECOVERED_MAX).await;
    cluster.end().await;
    vec![("taken over", taken_over)]
}
