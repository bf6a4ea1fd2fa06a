//! Jobs beside dead ones, later ones, a tenant with many and a long named queue, compared with the same jobs alone.

use std::collections::HashSet;
use std::time::Duration;

use model::TenantId;
use queue::Ended;

use crate::ground::Place;
use crate::jobs::{self, BATCH, Backlog, CLIENTS, Drain, rate};
use crate::report::Figure;
use crate::stats::{listed, median};

/// Those that are measured, and whose they are.
const JOBS: i64 = 64_000;
const TENANTS: usize = 32;
/// What they are not to be slowed down by.
const DEAD: i64 = 200_000;
const LATER: i64 = 100_000;
const HOT: i64 = 20_000;
const QUEUED: i64 = 20_000;
const MUCH_LATER: Duration = Duration::from_secs(24 * 60 * 60);
/// Each on a fresh server.
const ROUNDS: usize = 3;

/// Measures it.
pub async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let (mut clean, mut crowded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let a = alone_or(place, false).await?;
        let b = alone_or(place, true).await?;
        clean.push(a);
        crowded.push(b);
        ratios.push(b / a);
    }
    let figure = Figure::at_least(
        "flat",
        "the other jobs, beside dead, later, a hot tenant's and a queue's, over the same alone",
        median(&ratios)?,
        0.9,
    )
    .showing(
        format!("{:.0}/s", median(&crowded)?),
        format!("{:.0}/s", median(&clean)?),
    )
    .noting(format!(
        "{JOBS} jobs of {TENANTS} tenants are timed, claims of {BATCH} by {CLIENTS} clients; beside them {DEAD} of the same \
         tenants are dead and {LATER} due tomorrow, one more tenant has {HOT} ready and another one {QUEUED} in one named \
         queue, which are claimed and finished as well but not counted, so that of 34 equal parts 2 are theirs; a fresh \
         server each time; ratios {}",
        listed(&ratios)
    ));
    Ok(vec![figure])
}

async fn alone_or(place: Place<'_>, crowded: bool) -> anyhow::Result<f64> {
    let ground = place.ground().await?;
    let tenants = ground.tenants(TENANTS + 2).await?;
    let (others, beside) = tenants.split_at(TENANTS);
    let tasks = jobs::tasks(&ground, "flat", 1).await?;
    let queue = ground.queue()?;
    if crowded {
        Backlog::new(DEAD, others, &tasks).add(&ground).await?;
        let dead = Drain {
            ended: Ended::Dead,
            ..Drain::new(&tasks, DEAD.unsigned_abs())
        };
        dead.run(&queue).await?;
        let later = Backlog {
            later: Some(MUCH_LATER),
            ..Backlog::new(LATER, others, &tasks)
        };
        later.add(&ground).await?;
        Backlog::new(HOT, &beside[..1], &tasks).add(&ground).await?;
        let queued = Backlog {
            queues: Some(1),
            ..Backlog::new(QUEUED, &beside[1..], &tasks)
        };
        queued.add(&ground).await?;
    }
    Backlog::new(JOBS, others, &tasks).add(&ground).await?;
    ground.settle().await?;
    let counted: HashSet<TenantId> = others.iter().copied().collect();
    let elapsed = Drain::new(&tasks, JOBS.unsigned_abs())
        .counting(&queue, move |job| counted.contains(&job.tenant))
        .await?;
    ground.leave().await?;
    Ok(rate(JOBS, elapsed))
}
