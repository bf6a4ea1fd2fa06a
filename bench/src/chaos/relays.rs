//! Harm to what publishes: 10 and 16 of the table.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use http::StatusCode;
use model::JobId;
use rand::Rng as _;

use super::cast::{self, Cast};
use super::ledger::now;
use crate::ground::Place;
use crate::report::Figure;
use crate::rows::served::Served;
use crate::stats::{Samples, ms};

const LONG: Duration = Duration::from_secs(120);
const HEARTBEAT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// 10: whoever notifies, nobody hears it.
pub async fn lost_notifications(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    const TIME: Duration = Duration::from_secs(60);
    let mut cast = Cast::start(place, 1).await?;
    cast.add(5, Duration::ZERO).await?;
    cast.balance(LONG).await?;
    // In the place of one that notifies; as if each notification were lost on its way.
    let wakes: String = sqlx::query_scalar(
        "select pg_get_functiondef('switchyard.wake_relay(switchyard.broker)'::regprocedure)",
    )
    .fetch_one(&mut cast.ground.connection().await?)
    .await?;
    sqlx::raw_sql(
        "create or replace function switchyard.wake_relay(p_broker switchyard.broker) returns void
        language plpgsql security definer set search_path = pg_catalog, pg_temp
        as $$ begin end $$",
    )
    .execute(&mut cast.ground.connection().await?)
    .await?;
    let begun = Instant::now();
    let mut waits = Vec::new();
    while begun.elapsed() < TIME {
        let pause = rand::rng().random_range(100..2_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let job = cast.add(1, Duration::ZERO).await?[0];
        let added = now()?;
        let at = mark_of(&cast, job, "begin").await?;
        waits.push(Duration::from_millis(u64::try_from(
            at.saturating_sub(added),
        )?));
    }
    let job = cast.add(1, Duration::from_secs(120)).await?[0];
    mark_of(&cast, job, "begin").await?;
    let asked = now()?;
    cast.ground
        .queue()?
        .cancel(cast.ground.tenant, JobId(job), "bench")
        .await?;
    let stopped = mark_of(&cast, job, "stopped").await?;
    cast.added.remove(&job);
    sqlx::raw_sql(sqlx::AssertSqlSafe(wakes))
        .execute(&mut cast.ground.connection().await?)
        .await?;
    cast.leave().await?;
    let waits = Samples::new(waits)?;
    let landed = Duration::from_millis(u64::try_from(stopped.saturating_sub(asked))?);
    Ok(vec![
        Figure::at_most(
            "chaos",
            "10: committed → started while notifications are lost, s, the slowest",
            waits.percentile(100.0).as_secs_f64(),
            5.5,
        )
        .showing(ms(waits.percentile(100.0)), "-")
        .noting(format!(
            "{} jobs in {} s; the poll comes every 5 s, half a second is the way; p50 {}",
            waits.count(),
            TIME.as_secs(),
            ms(waits.p50())
        )),
        Figure::at_most(
            "chaos",
            "10: cancel asked for → stopped, the same, s",
            landed.as_secs_f64(),
            HEARTBEAT.as_secs_f64() + 0.5,
        )
        .showing(ms(landed), "-"),
    ])
}

/// When the ledger says this of a job.
async fn mark_of(cast: &Cast, job: i64, what: &str) -> anyhow::Result<u128> {
    let until = Instant::now() + LONG;
    loop {
        let marks = cast.ledger.marks()?;
        if let Some(mark) = marks
            .iter()
            .find(|mark| mark.job == job && mark.what == what)
        {
            return Ok(mark.at);
        }
        anyhow::ensure!(Instant::now() < until, "job {job} has no {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

type Heard = Arc<Mutex<Vec<String>>>;

/// 16: the relay of `observed` is killed again and again while ends of jobs are told.
pub async fn kill_relay(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    const KILLS: usize = 50;
    let mut cast = Cast::start(place, 2).await?;
    let heard: Heard = Arc::default();
    let listener = Served::start(
        Router::new()
            .fallback(post(hear))
            .with_state(Arc::clone(&heard)),
    )
    .await?;
    for _ in 0..KILLS {
        cast.add(40, Duration::ZERO).await?;
        let mut relay = cast::relay(&cast.ground, "observed", listener.addr).await?;
        let pause = rand::rng().random_range(5..200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        relay.kill().await?;
        // That of the wake-ups as well.
        cast.relay.kill().await?;
        cast.restart_relay().await?;
    }
    cast.balance(LONG * 2).await?;
    let relay = cast::relay(&cast.ground, "observed", listener.addr).await?;
    cast.until(
        "all is published",
        LONG * 2,
        "select count(*) from switchyard.outbox",
        |left| left == 0,
    )
    .await?;
    drop(relay);
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let told: BTreeSet<i64> = heard.iter().filter_map(|job| job.parse().ok()).collect();
    let never = cast.added.difference(&told).count();
    let jobs = cast.added.len();
    listener.stop().await?;
    cast.leave().await?;
    Ok(vec![
        Figure::at_most("chaos", "16: ends of jobs that were never told", never as f64, 0.0)
            .showing(format!("{never} of {jobs}"), "-")
            .noting(format!(
                "{KILLS} kills of both relays at random moments; {} events were heard, repeats included",
                heard.len()
            )),
    ])
}

async fn hear(State(heard): State<Heard>, headers: HeaderMap) -> StatusCode {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text("ce-type") == Some("dev.switchyard.job.finished.v1")
        && let Some(job) = text("ce-subject")
    {
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(job.to_owned());
    }
    StatusCode::ACCEPTED
}
