//! Faults between other people's functions and us.

use std::time::Duration;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::Proxy;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Seen;
use crate::outside::{Outside, TASK};
use crate::{Cluster, Setup};

/// Jobs that are outside at a time.
const JOBS: usize = 10;
/// How often an end is said at once.
const AT_ONCE: usize = 10;
/// From the network's return until the results are recorded: a function that waits for an answer says it again.
const HEARD_MAX: Duration = Duration::from_secs(5);

async fn add(cluster: &Cluster, count: usize) {
    cluster
        .execute(&format!(
            "select switchyard.add_job('{}', '{TASK}', '{{}}') from generate_series(1, {count})",
            cluster.tenant.uuid()
        ))
        .await;
}

/// Each job has one outcome, of its first claim.
async fn balance(cluster: &Cluster, outside: &mut Outside, jobs: usize) {
    let jobs = i64::try_from(jobs).expect("there are few");
    for (what, sql, count) in [
        ("jobs are open", "select count(*) from switchyard.jobs", 0),
        (
            "outcomes of the first claim",
            "select count(*) from switchyard.jobs_archive where state = 'succeeded' and epoch = 1 and attempts = 1",
            jobs,
        ),
        (
            "outcomes",
            "select count(*) from switchyard.jobs_archive",
            jobs,
        ),
        (
            "leases were over",
            "select count(*) from switchyard.job_events where kind = 'lease_over'",
            0,
        ),
    ] {
        assert_eq!(cluster.count(sql).await, count, "{what}");
    }
    assert_eq!(outside.more_calls(), 0, "a function was called again");
}

/// Fault 12: functions and those who hear them do not hear each other for a while.
///
/// # Panics
/// When a result is lost, recorded twice, or a function is called again within its deadline.
pub async fn functions_are_cut_off_from_their_callback(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let outage = cluster.times.outage;
    let silence_max = outage * 2 + cluster.times.patience;
    let mut outside = Outside::of(&mut cluster, silence_max).await;
    let proxy = Proxy::to(outside.callbacks[0]).await;
    proxy.fall_silent();
    let began = Instant::now();
    add(&cluster, JOBS).await;
    let calls = outside.calls(JOBS, cluster.times.patience).await;
    let mut saying = JoinSet::new();
    for call in calls {
        let to = proxy.address();
        saying.spawn(async move {
            call.say_until_heard(to, &json!({"status": "success"}))
                .await
        });
    }
    tokio::time::sleep_until(began + outage).await;
    let heard = "select count(*) from switchyard.jobs_archive";
    assert_eq!(cluster.count(heard).await, 0, "nothing came through");
    assert!(proxy.accepted() > JOBS, "they have said it again");
    proxy.heal();
    let healed = Instant::now();
    let outcomes = tokio::time::timeout(HEARD_MAX + cluster.times.slack, saying.join_all()).await;
    let took = healed.elapsed();
    for outcome in outcomes.expect("all are heard") {
        // What was said in the silence may come late, and first.
        assert!(
            ["applied", "duplicate"].contains(&outcome.as_str()),
            "{outcome}"
        );
    }
    balance(&cluster, &mut outside, JOBS).await;
    drop(outside);
    cluster.end().await;
    vec![("all heard after the network's return", took)]
}

/// Fault 13: callbacks come more than once, at once, to two who hear them, and out of order.
///
/// # Panics
/// When anything but the first end counts, a later one is not told so, or lines lose their order.
pub async fn callbacks_come_twice_at_once_and_out_of_order(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 0).await;
    let mut outside = Outside::of(&mut cluster, setup.times.patience * 2).await;
    add(&cluster, JOBS).await;
    let calls = outside.calls(JOBS, cluster.times.patience).await;
    let to = outside.callbacks;
    let ok = |outcome: &str| Some((StatusCode::OK, outcome.to_owned()));
    let stale = Some((StatusCode::CONFLICT, "stale".to_owned()));
    let mut slowest = Duration::ZERO;
    for call in &calls {
        // Lines by their numbers, some of them twice, and by two ways.
        for (place, from, lines) in [
            (0, 1, vec!["1", "2"]),
            (1, 1, vec!["1", "2", "3"]),
            (0, 3, vec!["3", "4"]),
            (1, 2, vec!["2"]),
        ] {
            let said = json!({"status": "progress", "log": lines, "log_from": from});
            assert_eq!(call.say(to[place], &said).await, ok("applied"));
        }
        let success: Value = json!({"status": "success", "result": {"n": 1}});
        let asked = Instant::now();
        let said = join_all((0..AT_ONCE).map(|n| call.say(to[n % 2], &success))).await;
        slowest = slowest.max(asked.elapsed());
        let count = |expected| said.iter().filter(|it| **it == expected).count();
        assert_eq!(
            (count(ok("applied")), count(ok("duplicate"))),
            (1, AT_ONCE - 1),
            "{said:?}"
        );
        for late in [
            json!({"status": "progress", "log": ["5"], "log_from": 5}),
            json!({"status": "error", "error": "no", "retry": true}),
            json!({"status": "error", "error": "no", "retry": false}),
        ] {
            assert_eq!(call.say(to[0], &late).await, stale, "{late}");
        }
        assert_eq!(call.say(to[1], &success).await, ok("duplicate"));
        let lines: Vec<String> = sqlx::query_scalar(
            "select line from switchyard.job_logs where job_id = $1 and line ~ '^[0-9]$' order by seq",
        )
        .bind(call.job)
        .fetch_all(&cluster.rows)
        .await
        .expect("the database answers");
        assert_eq!(lines, ["1", "2", "3", "4"]);
    }
    balance(&cluster, &mut outside, JOBS).await;
    drop(outside);
    cluster.end().await;
    vec![("ten at once answered", slowest)]
}
