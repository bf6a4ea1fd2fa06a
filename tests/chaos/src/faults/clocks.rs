//! Clocks that are wrong, and those that are changed by law.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::Seen;
use crate::cluster::SCHEDULES_EVERY;
use crate::task::FUNCTION;
use crate::{Act, Cluster, Setup};

/// How wrong the clocks are, one early and one late.
const WRONG: TimeDelta = TimeDelta::minutes(10);

/// A schedule of every night at half past two in Paris, over three nights that nobody fired, and its ticks by the rule for
/// summer time: its name, its first tick, its end, its ticks.
const NIGHTS: [(&str, &str, &str, [&str; 3]); 2] = [
    (
        "a time that the clock skips ticks at the first moment after it",
        "2026-03-28T01:30:00Z",
        "2026-03-30T12:00:00Z",
        [
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
        ],
    ),
    (
        "a time that the clock repeats ticks the first time",
        "2025-10-25T00:30:00Z",
        "2025-10-27T12:00:00Z",
        [
            "2025-10-25T00:30:00Z",
            "2025-10-26T00:30:00Z",
            "2025-10-27T01:30:00Z",
        ],
    ),
];

/// Fault 21: workers and schedulers whose clocks are ten minutes wrong, each in its own direction.
///
/// # Panics
/// When a lease is over before its time or kept beyond it, or a tick is fired early, twice, or not at all.
pub async fn clocks_are_wrong(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let mut workers = Vec::new();
    for wrong in [WRONG, -WRONG] {
        workers.push(cluster.on_a_wrong_clock(&FUNCTION, wrong).await);
        let scheduler = cluster
            .on_a_wrong_clock(&cron_schedules::FUNCTION, wrong)
            .await;
        cluster.tick(scheduler, SCHEDULES_EVERY);
    }
    cluster.lead_all_to(workers);
    // Longer than a lease: it has to be renewed in time, by the database's clock.
    let lease = u64::try_from(cluster.times.lease.as_millis()).unwrap_or(u64::MAX);
    cluster.attempts_take(cluster.times.lease * 3).await;
    for _ in 0..16 {
        cluster.add(Act::Work { millis: lease * 2 }).await;
    }
    let tenant = cluster.tenant.uuid();
    let began = Instant::now();
    let payload = serde_json::to_value(Act::Work { millis: 1 }).expect("plain data");
    cluster
        .execute(&format!(
            "select switchyard.declare_schedule('{tenant}', 'each second', '{}', '\"* * * * * *\"',
                p_payload => '{payload}', p_missed => 'all')",
            FUNCTION.name
        ))
        .await;
    for (name, first, end, _) in NIGHTS {
        cluster
            .execute(&format!(
                "select switchyard.declare_schedule('{tenant}', '{name}', '{}',
                    '{{\"rule\": \"30 2 * * *\", \"end\": \"{end}\"}}', p_time_zone => 'Europe/Paris',
                    p_payload => '{payload}', p_missed => 'all', p_next => '{first}')",
                FUNCTION.name
            ))
            .await;
    }
    tokio::time::sleep(cluster.times.load).await;
    cluster
        .execute("update switchyard.schedules set paused_by = 'Ann', paused_at = now()")
        .await;
    let ran = began.elapsed();
    for (name, _, _, expected) in NIGHTS {
        let ticks: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "select tick from switchyard.schedule_ticks t join switchyard.schedules s on s.id = t.schedule_id
             where s.name = $1 and t.outcome = 'fired' order by tick",
        )
        .bind(name)
        .fetch_all(&cluster.rows)
        .await
        .expect("the database answers");
        let expected = expected.map(|tick| tick.parse::<DateTime<Utc>>().expect("an instant"));
        assert_eq!(ticks, expected, "{name}");
    }
    cluster
        .quiet(cluster.times.lease * 2 + cluster.times.patience)
        .await;
    let each_second =
        "switchyard.schedule_ticks t join switchyard.schedules s on s.id = t.schedule_id
        where s.name = 'each second'";
    for (what, sql, count) in [
        (
            "leases were over",
            "select count(*) from switchyard.job_events where kind = 'lease_over'".to_owned(),
            0,
        ),
        (
            "ticks came before their time",
            format!("select count(*) from {each_second} and t.at < t.tick"),
            0,
        ),
        (
            "ticks are missing between the first and the last",
            format!(
                "select extract(epoch from max(tick) - min(tick))::bigint + 1 - count(*) from {each_second} and t.outcome = 'fired'"
            ),
            0,
        ),
        (
            "ticks have a job that is another's too",
            "select count(*) - count(distinct job_id) from switchyard.schedule_ticks where outcome = 'fired'".to_owned(),
            0,
        ),
    ] {
        assert_eq!(cluster.count(&sql).await, count, "{what}");
    }
    let fired = cluster
        .count(&format!(
            "select count(*) from {each_second} and t.outcome = 'fired'"
        ))
        .await;
    let seconds = i64::try_from(ran.as_secs()).unwrap_or(i64::MAX);
    assert!(fired + 3 >= seconds, "{fired} ticks in {ran:?}");
    // What schedules have made was acknowledged by nobody here.
    let findings = cluster.books().await.findings(true);
    assert!(findings.is_empty(), "{findings:#?}");
    cluster.end().await;
    vec![("ticked", ran)]
}
