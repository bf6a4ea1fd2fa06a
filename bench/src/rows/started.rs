//! From the 202 of a webhook to the start of the task, on an idle system.

use std::time::Instant;

use super::latency::{Beside, SAMPLES, WARM};
use crate::ground::Ground;
use crate::load::Client;
use crate::push::Push;
use crate::report::Figure;
use crate::stats::{Samples, ms};
use crate::system::System;

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let mut system = System::start(ground).await?;
    let mut client = Client::connect(system.runtime.gateway()).await?;
    let push = Push::new()?;
    let path = format!("/webhook-github/{}", ground.trigger);
    let mut beside = Beside::new(ground).await?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for at in 0..WARM + SAMPLES {
        beside.pause().await?;
        client.accepted(push.request(&path)).await?;
        let accepted = Instant::now();
        let started = system.next_start().await?;
        if at >= WARM {
            samples.push(started.saturating_duration_since(accepted));
        }
    }
    anyhow::ensure!(
        system.unasked_starts() == 0,
        "a push started its task twice"
    );
    drop(client);
    system.stop().await;
    let (samples, commits) = (Samples::new(samples)?, beside.commits()?);
    let ratio = samples.p50().as_secs_f64() / commits.p50().as_secs_f64();
    let figure = Figure::at_most(
        "started",
        "webhook accepted → task starts, p50 over p50 of a commit",
        ratio,
        6.0,
    )
    .showing(ms(samples.p50()), ms(commits.p50()))
    .noting(format!(
        "{} pushes of 8 KiB through the gateway, one after the other on an idle system with random pauses, each beside a \
         commit of one row; p90 {}, p99 {}; commits p99 {}",
        samples.count(),
        ms(samples.percentile(90.0)),
        ms(samples.percentile(99.0)),
        ms(commits.percentile(99.0)),
    ))
    .noting(
        "on the way: relay → broker inbound (1 commit) → dispatch (1 commit) → relay → broker work (no flush) → claim (1 \
         commit)",
    );
    Ok(vec![figure])
}
