//! From the commit of a new job to the start of its task, on an idle system.

use std::time::Instant;

use queue::NewJob;
use serde_json::json;

use super::latency::{Beside, SAMPLES, WARM};
use crate::ground::Ground;
use crate::report::Figure;
use crate::stats::{Samples, ms};
use crate::system::{System, TASK};

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let mut system = System::start(ground).await?;
    let mut connection = ground.connection().await?;
    let payload = json!({"for": "a measurement"});
    let mut beside = Beside::new(ground).await?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for at in 0..WARM + SAMPLES {
        beside.pause().await?;
        queue::enqueue(&mut connection, &NewJob::new(ground.tenant, TASK, &payload)).await?;
        let committed = Instant::now();
        let started = system.next_start().await?;
        if at >= WARM {
            samples.push(started.saturating_duration_since(committed));
        }
    }
    anyhow::ensure!(system.unasked_starts() == 0, "a job was started twice");
    system.stop().await;
    let (samples, commits) = (Samples::new(samples)?, beside.commits()?);
    let commit = commits.p50().as_secs_f64();
    let (p50, p99) = (samples.p50(), samples.percentile(99.0));
    let note = format!(
        "{} jobs, one after the other on an idle system with random pauses, each beside a commit of one row; p90 {}; \
         commits p99 {}",
        samples.count(),
        ms(samples.percentile(90.0)),
        ms(commits.percentile(99.0)),
    );
    Ok(vec![
        Figure::at_most(
            "pickup",
            "job committed → task starts, p50 over p50 of a commit",
            p50.as_secs_f64() / commit,
            3.0,
        )
        .showing(ms(p50), ms(commits.p50()))
        .noting(note)
        .noting("on the way: relay → broker work (no flush) → claim (1 commit)"),
        Figure::at_most(
            "pickup",
            "job committed → task starts, p99 over p50 of a commit",
            p99.as_secs_f64() / commit,
            10.0,
        )
        .showing(ms(p99), ms(commits.p50())),
    ])
}
