//! Harm to workers: 1 to 4 and 19 of the table.

use std::time::{Duration, Instant};

use queue::NewJob;
use rustix::process::Signal;
use serde_json::json;
use sqlx::PgConnection;

use super::cast::{Cast, TASK};
use super::ledger::now;
use crate::ground::Place;
use crate::report::Figure;
use crate::stats::{Samples, ms};

/// What workers have in production.
const LEASE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const RUNNING: &str = "select count(*) from switchyard.jobs where state = 'running'";
const LONG: Duration = Duration::from_secs(120);

/// 1: one of four workers is killed with the jobs that it has in hand.
pub async fn kill_one(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut cast = Cast::start(place, 4).await?;
    cast.add(200, Duration::from_secs(90)).await?;
    cast.until("200 jobs run", LONG, RUNNING, |running| running == 200)
        .await?;
    // The one that has about fifty.
    let mut hands = Vec::new();
    for (at, (worker, _)) in cast.workers.iter().enumerate() {
        hands.push((cast.ledger.in_hand(worker.id())?, at));
    }
    hands.sort_by_key(|(hand, _)| hand.len().abs_diff(50));
    let (hand, at) = hands.swap_remove(0);
    let (mut victim, _) = cast.workers.remove(at);
    cast.reach();
    let killed = now()?;
    victim.kill().await?;
    let last = all_begun_again(&cast, &hand, victim.id(), LEASE * 3).await?;
    let again = cast.balance(LONG * 3).await?;
    cast.leave().await?;
    anyhow::ensure!(
        again <= hand.len(),
        "{again} jobs were begun again, and only {} were in its hand",
        hand.len()
    );
    Ok(vec![
        Figure::at_most(
            "chaos",
            "1: kill -9 of a worker → all its jobs run again, s",
            (last - killed) as f64 / 1e3,
            45.0,
        )
        .showing(format!("{:.1} s", (last - killed) as f64 / 1e3), "-")
        .noting(format!(
            "one of 4 workers with {} of 200 running jobs; {again} were begun again, none was lost, each has one outcome",
            hand.len()
        )),
    ])
}

/// Waits until each of these jobs was begun by another process, and returns when the last was, in ms since 1970.
async fn all_begun_again(
    cast: &Cast,
    hand: &std::collections::BTreeSet<(i64, i64)>,
    not_by: u32,
    within: Duration,
) -> anyhow::Result<u128> {
    let until = Instant::now() + within;
    loop {
        let marks = cast.ledger.marks()?;
        let again: Vec<Option<u128>> = hand
            .iter()
            .map(|(job, epoch)| {
                marks
                    .iter()
                    .filter(|mark| {
                        mark.job == *job
                            && mark.epoch > *epoch
                            && mark.process != not_by
                            && mark.what == "begin"
                    })
                    .map(|mark| mark.at)
                    .min()
            })
            .collect();
        if let Some(times) = again.iter().copied().collect::<Option<Vec<_>>>() {
            return Ok(times.into_iter().max().unwrap_or(now()?));
        }
        anyhow::ensure!(
            Instant::now() < until,
            "{} of {} jobs were not begun again within {} s",
            again.iter().filter(|at| at.is_none()).count(),
            hand.len(),
            within.as_secs()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// 2: everything is killed and started again.
pub async fn kill_all(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut cast = Cast::start(place, 2).await?;
    cast.add(600, Duration::from_secs(5)).await?;
    cast.until("all slots are taken", LONG, RUNNING, |running| {
        running >= 130
    })
    .await?;
    let mut hand = std::collections::BTreeSet::new();
    cast.relay.kill().await?;
    for (worker, _) in &mut cast.workers {
        worker.kill().await?;
        hand.extend(cast.ledger.in_hand(worker.id())?);
    }
    cast.workers.clear();
    let before = cast.ledger.marks()?.len();
    let started = now()?;
    cast.restart_relay().await?;
    for _ in 0..2 {
        cast.add_worker(None, &[]).await?;
    }
    let until = Instant::now() + LONG;
    let resumed = loop {
        let begun = cast.ledger.marks()?;
        if let Some(mark) = begun[before..].iter().find(|mark| mark.what == "begin") {
            break mark.at;
        }
        anyhow::ensure!(Instant::now() < until, "nothing was begun after the start");
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let orphans = all_begun_again(&cast, &hand, 0, LEASE * 3).await?;
    let again = cast.balance(LONG * 2).await?;
    cast.leave().await?;
    Ok(vec![
        Figure::at_most(
            "chaos",
            "2: kill -9 of all workers and the relay → the drain goes on, s after the start",
            (resumed - started) as f64 / 1e3,
            10.0,
        )
        .showing(format!("{:.1} s", (resumed - started) as f64 / 1e3), "-")
        .noting(format!(
            "2 workers and the relay with {} jobs in hand of 600; {again} were begun again; none was lost, each has one \
             outcome",
            hand.len()
        )),
        Figure::at_most(
            "chaos",
            "2: the same, until the last orphan runs again, s after the start",
            (orphans - started) as f64 / 1e3,
            (LEASE + Duration::from_secs(10)).as_secs_f64(),
        )
        .showing(format!("{:.1} s", (orphans - started) as f64 / 1e3), "-"),
    ])
}

/// 3: twenty workers are replaced one after the other while they work.
pub async fn roll(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    const PODS: usize = 20;
    let mut cast = Cast::start(place, PODS).await?;
    cast.add(1500, Duration::from_secs(3)).await?;
    cast.until("jobs run", LONG, RUNNING, |running| running >= 100)
        .await?;
    let (mut exits, mut releases) = (Vec::new(), Vec::new());
    for _ in 0..PODS {
        cast.add_worker(None, &[]).await?;
        let (mut leaving, _) = cast.workers.remove(0);
        cast.reach();
        let asked = Instant::now();
        leaving.signal(Signal::TERM)?;
        let hand: Vec<(i64, i64)> = cast.ledger.in_hand(leaving.id())?.into_iter().collect();
        let (ids, epochs): (Vec<i64>, Vec<i64>) = hand.into_iter().unzip();
        let mut connection = cast.ground.connection().await?;
        while held(&mut connection, &ids, &epochs).await? > 0 {
            anyhow::ensure!(asked.elapsed() < LEASE, "its jobs were not given back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        releases.push(asked.elapsed());
        let well = leaving.ended(LEASE).await?;
        anyhow::ensure!(well, "a worker that was asked to leave ended badly");
        exits.push(asked.elapsed());
    }
    cast.balance(LONG * 3).await?;
    let counted = cast
        .ground
        .count("select count(*) from switchyard.jobs_archive where attempts > 1")
        .await?;
    cast.leave().await?;
    let (exits, releases) = (Samples::new(exits)?, Samples::new(releases)?);
    Ok(vec![
        Figure::at_most(
            "chaos",
            "3: SIGTERM during work → its jobs are free, s, the most of 20",
            releases.percentile(100.0).as_secs_f64(),
            1.0,
        )
        .showing(ms(releases.percentile(100.0)), "-"),
        Figure::at_most(
            "chaos",
            "3: SIGTERM during work → it has left, s, the most of 20",
            exits.percentile(100.0).as_secs_f64(),
            25.0,
        )
        .showing(ms(exits.percentile(100.0)), "-"),
        Figure::at_most(
            "chaos",
            "3: attempts that were counted although nothing failed",
            counted as f64,
            0.0,
        )
        .showing(format!("{counted}"), "-")
        .noting("1500 jobs of 3 s, 20 workers replaced one after the other; none was lost, each has one outcome"),
    ])
}

/// How many of these claims still stand.
async fn held(connection: &mut PgConnection, ids: &[i64], epochs: &[i64]) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(
        "select count(*) from switchyard.jobs j
        join unnest($1::bigint[], $2::bigint[]) as a (id, epoch) on a.id = j.id and a.epoch = j.epoch
        where j.state <> 'queued'",
    )
    .bind(ids)
    .bind(epochs)
    .fetch_one(connection)
    .await?)
}

/// 4: a worker is stopped past its lease, and goes on when others have its jobs.
pub async fn zombie(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut cast = Cast::start(place, 2).await?;
    cast.add(100, Duration::from_secs(20)).await?;
    cast.until("100 jobs run", LONG, RUNNING, |running| running == 100)
        .await?;
    let zombie = cast.workers[0].0.id();
    let hand = cast.ledger.in_hand(zombie)?;
    cast.workers[0].0.signal(Signal::STOP)?;
    all_begun_again(&cast, &hand, zombie, LEASE * 3).await?;
    let woken = now()?;
    cast.workers[0].0.signal(Signal::CONT)?;
    cast.balance(LONG * 2).await?;
    // It may find out after one step that it was late; it must not go on.
    let late = cast
        .ledger
        .marks()?
        .into_iter()
        .filter(|mark| mark.process == zombie && mark.at > woken + 1_000)
        .filter(|mark| hand.contains(&(mark.job, mark.epoch)))
        .count();
    cast.leave().await?;
    Ok(vec![
        Figure::at_most(
            "chaos",
            "4: marks of a stopped worker more than 1 s after it went on",
            late as f64,
            0.0,
        )
        .showing(format!("{late}"), "-")
        .noting(format!(
            "SIGSTOP with {} jobs in hand until others had begun all of them, then SIGCONT; each has one outcome",
            hand.len()
        )),
    ])
}

/// 19: jobs that panic, take their process with them, or keep a thread for ever, beside those of another tenant.
pub async fn poison(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    const ATTEMPTS: i32 = 3;
    let mut cast = Cast::start(place, 2).await?;
    let others = cast.ground.tenants(1).await?[0];
    let mut connection = cast.ground.system_connection().await?;
    let quick = cast.payload(Duration::ZERO, "done");
    let alone = starts(&mut cast, &mut connection, others, &quick).await?;
    let mut poisoned = Vec::new();
    for then in ["panic", "abort", "spin"] {
        let payload = cast.payload(Duration::ZERO, then);
        let mut job = NewJob::new(cast.ground.tenant, TASK, &payload);
        job.attempts_max = Some(ATTEMPTS);
        poisoned.push(queue::enqueue(&mut connection, &job).await?.job().0);
    }
    let beside = starts(&mut cast, &mut connection, others, &quick).await?;
    let deadline = Instant::now() + LONG * 5;
    let mut dead = 0;
    while dead < 2 && Instant::now() < deadline {
        revive(&mut cast).await?;
        // One that spins keeps its worker until its attempt's time is over: it is not waited for.
        dead = cast
            .ground
            .count("select count(*) from switchyard.jobs_archive where state = 'dead'")
            .await?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let attempts: Vec<i32> = sqlx::query_scalar(
        "select attempts from switchyard.jobs_archive where state = 'dead' and id = any ($1)",
    )
    .bind(&poisoned)
    .fetch_all(&mut cast.ground.connection().await?)
    .await?;
    cast.leave().await?;
    anyhow::ensure!(
        attempts.iter().all(|&attempts| attempts == ATTEMPTS),
        "poison died after {attempts:?} attempts, not {ATTEMPTS}"
    );
    Ok(vec![
        Figure::at_least(
            "chaos",
            "19: jobs that panic or abort end dead",
            dead as f64,
            2.0,
        )
        .showing(format!("{dead}"), "-")
        .noting(format!(
            "after {ATTEMPTS} attempts each; a process that has gone is started again"
        )),
        Figure::at_most(
            "chaos",
            "19: another tenant's job committed → started, p50 beside poison over that without",
            beside.p50().as_secs_f64() / alone.p50().as_secs_f64(),
            1.5,
        )
        .showing(ms(beside.p50()), ms(alone.p50())),
    ])
}

/// Starts workers again that have gone, as Knative does.
async fn revive(cast: &mut Cast) -> anyhow::Result<()> {
    let mut at = 0;
    while at < cast.workers.len() {
        if cast.workers[at].0.has_ended()? {
            cast.workers.remove(at);
            cast.add_worker(None, &[]).await?;
        } else {
            at += 1;
        }
    }
    Ok(())
}

/// From commit to start of jobs that are added one after the other.
async fn starts(
    cast: &mut Cast,
    connection: &mut PgConnection,
    tenant: model::TenantId,
    payload: &serde_json::Value,
) -> anyhow::Result<Samples> {
    let mut samples = Vec::new();
    for number in 0..100 {
        revive(cast).await?;
        let mut payload = payload.clone();
        payload["number"] = json!(number);
        let job = NewJob::new(tenant, TASK, &payload);
        let id = queue::enqueue(connection, &job).await?.job().0;
        let committed = now()?;
        let until = Instant::now() + LONG;
        let at = loop {
            let marks = cast.ledger.marks()?;
            if let Some(mark) = marks
                .iter()
                .rev()
                .find(|mark| mark.job == id && mark.what == "begin")
            {
                break mark.at;
            }
            anyhow::ensure!(Instant::now() < until, "a job was not begun in time");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        samples.push(Duration::from_millis(u64::try_from(
            at.saturating_sub(committed),
        )?));
    }
    Samples::new(samples)
}
