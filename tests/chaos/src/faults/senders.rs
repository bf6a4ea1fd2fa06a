//! Faults as senders of webhooks see them, who should not.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Seen;
use super::database::END_EVERY;
use crate::{Cluster, Hook, Setup};

/// Of a hundred posts ninety-nine are answered within this.
const ANSWER_P99: Duration = Duration::from_secs(5);

/// Fault 5 once more: all connections are ended every two seconds, and no sender is told.
///
/// # Panics
/// When a post is not accepted or takes too long, or what was accepted is lost or becomes two jobs.
pub async fn senders_do_not_notice_that_connections_end(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let hook = std::sync::Arc::new(Hook::of(&mut cluster).await);
    let mut posts = JoinSet::new();
    let mut beat = tokio::time::interval(Duration::from_secs(1) / cluster.times.rate);
    let (end, mut end_at) = (
        Instant::now() + cluster.times.load,
        Instant::now() + END_EVERY,
    );
    let mut sent = 0_usize;
    while Instant::now() < end {
        beat.tick().await;
        if Instant::now() >= end_at {
            end_at += END_EVERY;
            cluster.end_backends().await;
        }
        sent += 1;
        let (hook, delivery) = (std::sync::Arc::clone(&hook), format!("delivery-{sent}"));
        posts.spawn(async move { hook.post(&delivery).await });
    }
    let mut took = Vec::with_capacity(sent);
    let mut refused = Vec::new();
    for told in posts.join_all().await {
        took.push(told.took);
        if !told.status.is_success() {
            refused.push(told);
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {sent} were refused: {:?}",
        refused.len(),
        refused.first()
    );
    took.sort_unstable();
    let (p50, p99) = (took[sent / 2], took[sent * 99 / 100]);
    assert!(
        p99 < ANSWER_P99 + cluster.times.slack,
        "1 of 100 waits for {p99:?}"
    );
    let all = i64::try_from(sent).expect("there are few");
    cluster
        .until("all is dispatched", cluster.times.patience, || async {
            let waiting = "select count(*) from switchyard.events where dispatched_at is null";
            cluster.count(waiting).await == 0
        })
        .await;
    for (what, sql) in [
        (
            "deliveries that were accepted",
            "select count(*) from switchyard.deliveries where verdict = 'accepted'",
        ),
        ("deliveries", "select count(*) from switchyard.deliveries"),
        ("events", "select count(*) from switchyard.events"),
        (
            "jobs",
            "select count(distinct job_id) from switchyard.decisions where matched",
        ),
        (
            "jobs, live or superseded",
            "select (select count(*) from switchyard.jobs) + (select count(*) from switchyard.jobs_archive)",
        ),
    ] {
        assert_eq!(cluster.count(sql).await, all, "{what}");
    }
    drop(hook);
    cluster.end().await;
    vec![("answered, p50", p50), ("answered, p99", p99)]
}
