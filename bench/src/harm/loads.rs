//! Too much of something: what is measured of 20, and 24 of the table.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use queue::{Ended, NewJob};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ground::{Ground, Place};
use crate::jobs::{self, Backlog, CLIENTS, LEASE, finish};
use crate::report::Figure;
use crate::rows::pages;
use crate::rows::xmin::Load;
use crate::stats::{Samples, ms};

/// How long the pace is measured without a snapshot.
const UNHELD: Duration = Duration::from_secs(60);
/// When the portal is asked: while the snapshot is held.
const LISTED_BEFORE_THE_END: Duration = Duration::from_secs(60);
const MEASURED_EVERY: Duration = Duration::from_secs(15);
const TICKS_A_MINUTE: usize = 4;
const MANY: i64 = 1_000_000;
/// Jobs of the other tenant, and how often one is added.
const SAMPLES: usize = 300;
const EVERY: Duration = Duration::from_millis(100);
/// Slots of each worker, and how long a job takes.
const SLOTS: i32 = 8;
const WORK: Duration = Duration::from_millis(5);

/// 20: a million queued jobs of one tenant, and one now and then of another; how long claims take meanwhile.
pub async fn noisy_tenant(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let ground = place.ground().await?;
    let tenants = ground.tenants(2).await?;
    let tasks = jobs::tasks(&ground, "noisy", 1).await?;
    Backlog::new(MANY, &tenants[..1], &tasks)
        .add(&ground)
        .await?;
    ground.settle().await?;
    let stop = CancellationToken::new();
    let (sender, mut started) = tokio::sync::mpsc::unbounded_channel();
    let mut workers = JoinSet::new();
    for _ in 0..CLIENTS {
        let (queue, tasks, stop) = (ground.queue()?, tasks.clone(), stop.clone());
        let (sender, other) = (sender.clone(), tenants[1]);
        workers.spawn(async move {
            let worker = Uuid::new_v4();
            let mut claims = Vec::new();
            while !stop.is_cancelled() {
                let begun = Instant::now();
                let claimed = queue.claim(worker, &tasks, SLOTS, LEASE).await?;
                claims.push(begun.elapsed());
                if claimed.iter().any(|job| job.tenant == other) {
                    sender.send(Instant::now()).ok();
                }
                tokio::time::sleep(WORK).await;
                finish(&queue, &claimed, Ended::Succeeded).await?;
            }
            anyhow::Ok(claims)
        });
    }
    let mut connection = ground.system_connection().await?;
    let payload = serde_json::json!({});
    let mut waits = Vec::new();
    for _ in 0..SAMPLES {
        tokio::time::sleep(EVERY).await;
        let job = NewJob::new(tenants[1], &tasks[0], &payload);
        queue::enqueue(&mut connection, &job).await?;
        let committed = Instant::now();
        let at = tokio::time::timeout(LEASE, started.recv())
            .await?
            .unwrap_or(committed + LEASE);
        waits.push(at.saturating_duration_since(committed));
    }
    stop.cancel();
    let mut claims = Vec::new();
    while let Some(ended) = workers.join_next().await {
        claims.extend(ended??);
    }
    ground.leave().await?;
    let (waits, claims) = (Samples::new(waits)?, Samples::new(claims)?);
    Ok(vec![
        Figure::at_most(
            "chaos",
            "20: beside 1 M queued of another tenant, committed → started, p99, s",
            waits.percentile(99.0).as_secs_f64(),
            2.0,
        )
        .showing(ms(waits.percentile(99.0)), "-"),
        Figure::at_most(
            "chaos",
            "20: a claim meanwhile, p50, ms",
            claims.p50().as_secs_f64() * 1e3,
            10.0,
        )
        .showing(ms(claims.p50()), "-")
        .noting(format!(
            "{} claims of {SLOTS} by {CLIENTS} clients at once; p99 {}",
            claims.count(),
            ms(claims.percentile(99.0))
        )),
    ])
}

/// 24: thirty minutes under an old snapshot at 300 jobs a second, over five million finished jobs.
pub async fn old_snapshot(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let ground = place.ground_that_counts().await?;
    fill(&ground).await?;
    let load = Load {
        per_second: 300,
        time: Duration::from_secs(30 * 60),
    };
    let without = Load {
        time: UNHELD,
        ..load
    };
    let without = without.under(&ground, None).await?.pace;
    let (held, list, ages) = tokio::try_join!(
        load.under(&ground, Some(true)),
        async {
            tokio::time::sleep(load.time - LISTED_BEFORE_THE_END).await;
            pages::list(&ground).await
        },
        ages(&ground, load.time),
    )?;
    ground.leave().await?;
    Ok(vec![
        Figure::at_least(
            "chaos",
            "24: a snapshot held for 30 min at 300 jobs/s over 5 M finished: throughput over that without one",
            held.pace / without,
            0.7,
        )
        .showing(format!("{:.2}", held.pace), format!("{without:.2}"))
        .noting("jobs finished over jobs offered"),
        Figure::at_least(
            "chaos",
            "24: the alert DatabaseSnapshotOld fires",
            f64::from(fires(&ages)?),
            1.0,
        )
        .noting(format!(
            "by monitoring/alerts.yaml as promtool reads it, over what was measured each minute; at last {:.0} s",
            ages.last().copied().unwrap_or_default()
        )),
        Figure::at_most(
            "chaos",
            "24: a list of the portal then, p99, ms",
            list.percentile(99.0).as_secs_f64() * 1e3,
            300.0,
        )
        .showing(ms(list.percentile(99.0)), "-"),
    ])
}

/// How old the oldest snapshot was, in seconds, each minute: as `cron-metrics` measures it each 15 s and Prometheus reads it.
async fn ages(ground: &Ground, time: Duration) -> anyhow::Result<Vec<f64>> {
    let queue = ground.queue()?;
    let end = Instant::now() + time;
    let mut ticks = tokio::time::interval(MEASURED_EVERY);
    let mut ages = Vec::new();
    let mut tick = 0;
    while Instant::now() < end {
        ticks.tick().await;
        queue.measure().await?;
        if tick % TICKS_A_MINUTE == 0 {
            let measured = queue.measured().await?.context("nothing was measured")?;
            ages.push(measured.snapshot.oldest_snapshot_secs.unwrap_or_default());
        }
        tick += 1;
    }
    Ok(ages)
}

/// Whether the alert fires at the end of such a series, by the rules that are shipped.
fn fires(ages: &[f64]) -> anyhow::Result<bool> {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitoring/alerts.yaml");
    let values: Vec<String> = ages.iter().map(|age| format!("{age:.0}")).collect();
    let test = serde_json::json!({
        "rule_files": [rules],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [{
                "series": "switchyard_database_oldest_snapshot_age_seconds",
                "values": values.join(" "),
            }],
            "promql_expr_test": [{
                "expr": "ALERTS{alertname='DatabaseSnapshotOld', alertstate='firing'}",
                "eval_time": format!("{}m", ages.len().saturating_sub(1)),
                "exp_samples": [{
                    "labels": "ALERTS{alertname='DatabaseSnapshotOld', alertstate='firing', severity='warning'}",
                    "value": 1,
                }],
            }],
        }],
    });
    // JSON is YAML.
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    std::fs::write(file.path(), test.to_string())?;
    let status = std::process::Command::new("promtool")
        .args(["test", "rules"])
        .arg(file.path())
        .stdout(std::process::Stdio::null())
        .status()
        .context("there is no promtool; Debian has it in the package prometheus")?;
    Ok(status.success())
}

/// Finished jobs as the system leaves them behind, without going through it five million times.
async fn fill(ground: &Ground) -> anyhow::Result<()> {
    let mut owner = ground.connection().await?;
    for _ in 0..5 {
        sqlx::query(
            "insert into switchyard.jobs_archive (
                id, database_id, task, seq, state, priority, run_at, attempts, attempts_max, epoch, payload, started_at,
                depth, created_at, finished_at
            )
            select nextval(pg_get_serial_sequence('switchyard.jobs', 'id')), $1, 'finished', n,
                case when n % 20 = 0 then 'dead' else 'succeeded' end::switchyard.job_state, 0, now(), 1, 5,
                1, jsonb_build_object('id', n), now(), 0, now(), now()
            from generate_series(1, 1000000) n",
        )
        .bind(ground.tenant.uuid())
        .execute(&mut owner)
        .await?;
    }
    ground.settle().await
}
