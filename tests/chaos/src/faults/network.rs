//! Faults of the network: nobody is told.

use std::time::Duration;

use model::CancelOutcome;
use tokio::time::Instant;

use super::{Seen, held_by};
use crate::ledger::{What, now};
use crate::{Act, Cluster, Setup};

/// How long a lost wake-up may stay lost.
const POLL_MAX: Duration = Duration::from_secs(5);
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
        .until("jobs run", cluster.times.slack * 2, || async {
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

/// Fault 10: the listening connection dies and notifications are lost.
///
/// # Panics
/// When a job waits for longer than the poll, or a cancel for longer than a heartbeat.
pub async fn notifications_are_lost(setup: &Setup) -> Seen {
    let cluster = Cluster::start(setup, 1).await;
    // Whoever looks whether to notify sees that nobody wants it: as if the notification had been sent and lost.
    let (rows, outage) = (cluster.rows.clone(), cluster.times.outage * 2);
    #[expect(clippy::disallowed_methods, reason = "waited for below")]
    let losing = tokio::spawn(async move {
        let end = Instant::now() + outage;
        let mut first = true;
        while Instant::now() < end {
            if first {
                sqlx::query(
                    "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'",
                )
                .execute(&rows)
                .await
                .ok();
            }
            first = false;
            sqlx::query("update switchyard.relay_flags set armed = false where armed")
                .execute(&rows)
                .await
                .ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut slowest = Duration::ZERO;
    while !losing.is_finished() {
        let (added, at) = (Instant::now(), now());
        let job = cluster.add(Act::Work { millis: 1 }).await;
        cluster
            .until("it runs", POLL_MAX + cluster.times.slack, || async {
                let effects = cluster.ledger.effects();
                effects.iter().any(|it| it.job == job.0 && it.at > at)
            })
            .await;
        slowest = slowest.max(added.elapsed());
        // Not in step with the polls.
        tokio::time::sleep(Duration::from_millis(700)).await;
        if slowest > Duration::from_secs(1) {
            break;
        }
    }
    let job = cluster.add(Act::Work { millis: 60_000 }).await;
    cluster
        .until("it runs", POLL_MAX + cluster.times.slack, || async {
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
    let within = cluster.times.heartbeat + cluster.times.slack / 2;
    cluster
        .until("it is cancelled", within, || async {
            let cancelled = format!(
                "select count(*) from switchyard.jobs_archive where id = {job} and state = 'cancelled'"
            );
            cluster.count(&cancelled).await == 1
        })
        .await;
    let cancelled = asked.elapsed();
    losing.await.expect("nobody panicked");
    cluster.quiet(cluster.times.slack).await;
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
    let millis = u64::try_from(cluster.times.outage.as_millis() * 2).unwrap_or(u64::MAX);
    for _ in 0..10 {
        cluster.add(Act::Work { millis }).await;
    }
    cluster
        .until("jobs run", cluster.times.slack * 2, || async {
            held_by(&cluster, cut_off).len() == 10
        })
        .await;
    let other = cluster.add_worker().await;
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
    cluster
        .quiet(cluster.times.outage * 2 + cluster.times.slack * 3)
        .await;
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
