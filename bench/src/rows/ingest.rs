//! A signed push of GitHub, acknowledged when it is durable, beside a bare handler that inserts one row.

use std::sync::Arc;
use std::time::Duration;

use host::Resources;

use super::served::{Served, bare};
use crate::ground::{Ground, POOL};
use crate::load::{Load, Requests};
use crate::push::{BODY_BYTES, Push};
use crate::report::Figure;
use crate::stats::median;

/// Keep-alive connections, each with one request under way.
const CLIENTS: usize = 32;
/// How long each side is driven before it is measured, and in each measurement.
const WARM: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(4);
/// Pairs of measurements, one side after the other.
const PAIRS: usize = 7;

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let mounted = webhook_github::FUNCTION.mount(&ground.env(), &Resources::new()?)?;
    let webhook = Served::start(mounted.router).await?;
    let pool = ground.pool().await?;
    let baseline = Served::start(bare(pool.clone())).await?;

    let push = Push::new()?;
    let path = format!("/{}", ground.trigger);
    let signed = push.clone();
    let ours: Requests = Arc::new(move || signed.request(&path));
    let theirs: Requests = Arc::new(move || push.request("/"));

    let stored = "select count(*) from switchyard.deliveries where verdict = 'accepted'";
    let before = ground.count(stored).await?;
    let mut our_load = Load::connect(webhook.addr, CLIENTS).await?;
    let mut their_load = Load::connect(baseline.addr, CLIENTS).await?;
    let mut acknowledged = our_load.drive(WARM, &ours).await?.answered;
    their_load.drive(WARM, &theirs).await?;
    let (mut our_rates, mut their_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (a, b) = (
            our_load.drive(WINDOW, &ours).await?,
            their_load.drive(WINDOW, &theirs).await?,
        );
        acknowledged += a.answered;
        our_rates.push(a.rate());
        their_rates.push(b.rate());
        ratios.push(a.rate() / b.rate());
    }
    let kept = ground.count(stored).await? - before;
    anyhow::ensure!(
        u64::try_from(kept)? == acknowledged,
        "{acknowledged} deliveries were acknowledged and {kept} are there"
    );
    drop((our_load, their_load));
    webhook.stop().await?;
    baseline.stop().await?;
    pool.close().await;

    let figure = Figure::at_least(
        "ingest",
        "signed GitHub push of 8 KiB → durable 202, over a bare insert",
        median(&ratios)?,
        0.6,
    )
    .showing(
        format!("{:.0}/s", median(&our_rates)?),
        format!("{:.0}/s", median(&their_rates)?),
    )
    .noting(format!(
        "{CLIENTS} keep-alive clients, a pool of {POOL}, the host's server on both sides; {PAIRS} pairs of {} s, one side \
         after the other; the ratio is the median of {}",
        WINDOW.as_secs(),
        ratios.iter().map(|it| format!("{it:.2}")).collect::<Vec<_>>().join(" ")
    ))
    .noting(format!(
        "body of {BODY_BYTES} bytes on both sides; ours makes 4 rows a push (delivery with its body sealed, its key, event, \
         outbox) and {kept} pushes were checked to be there; the baseline makes 1 row (bigint, bytea, timestamptz)"
    ));
    Ok(vec![figure])
}
