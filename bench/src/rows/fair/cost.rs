//! What it costs to be fair over many, and to keep caps.

use queue::By;
use queue::rules::{Limits, Scope};

use crate::ground::Place;
use crate::jobs::{self, BATCH, Backlog, CLIENTS, Drain, rate};
use crate::report::Figure;
use crate::stats::{listed, median};

const JOBS: i64 = 100_000;
const TENANTS: usize = 16;
const TASKS: usize = 3;
/// More than are ever in flight: counted, and never in the way.
const CAP: i32 = 10_000;
/// Each on a fresh server.
const ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    OneLane,
    Many,
    Capped,
}

pub(super) async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let (mut one, mut many, mut capped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(drained(place, How::OneLane).await?);
        many.push(drained(place, How::Many).await?);
        capped.push(drained(place, How::Capped).await?);
    }
    let figure = |what, ours: &[f64], theirs: &[f64]| {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        anyhow::Ok(
            Figure::at_least("fair", what, median(&ratios)?, 0.9)
                .showing(
                    format!("{:.0}/s", median(ours)?),
                    format!("{:.0}/s", median(theirs)?),
                )
                .noting(format!(
                    "{JOBS} jobs, {CLIENTS} clients, claims of {BATCH}, a fresh server each time; ratios {}",
                    listed(&ratios)
                )),
        )
    };
    Ok(vec![
        figure(
            "drain of 16 tenants × 3 tasks over that of one tenant's one lane",
            &many,
            &one,
        )?,
        figure(
            "drain with a cap on each tenant and each task over that without",
            &capped,
            &many,
        )?
        .noting(format!(
            "caps of {CAP}, which are counted and never reached"
        )),
    ])
}

async fn drained(place: Place<'_>, how: How) -> anyhow::Result<f64> {
    let ground = place.ground().await?;
    let (tenants, tasks) = if how == How::OneLane {
        (1, 1)
    } else {
        (TENANTS, TASKS)
    };
    let tenants = ground.tenants(tenants).await?;
    let tasks = jobs::tasks(&ground, "costly", tasks).await?;
    let queue = ground.queue()?;
    if how == How::Capped {
        let by = By {
            name: "bench",
            why: None,
        };
        let cap = Limits {
            in_flight_max: Some(CAP),
            rate: None,
        };
        for tenant in &tenants {
            queue.set_limit(Scope::Tenant(*tenant), cap, by).await?;
        }
        for task in &tasks {
            queue.set_limit(Scope::Task(task), cap, by).await?;
        }
    }
    Backlog::new(JOBS, &tenants, &tasks).add(&ground).await?;
    ground.settle().await?;
    let elapsed = Drain::new(&tasks, JOBS.unsigned_abs()).run(&queue).await?;
    ground.leave().await?;
    Ok(rate(JOBS, elapsed))
}
