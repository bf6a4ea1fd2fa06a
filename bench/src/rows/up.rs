//! `switchyard up` on a database that is there: how long until it is ready, and what it takes while it idles.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::machine::{ASKED, Data};
use crate::report::Figure;
use crate::stats::Samples;

/// Starts that are timed.
const STARTS: usize = 7;
/// How long it idles before its memory is read.
const IDLE: Duration = Duration::from_secs(10);

/// Measures it.
pub async fn measure(folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let data = Data::new(folder)?;
    // The first makes the database.
    data.start().await?.stop().await?;
    let mut starts = Vec::with_capacity(STARTS);
    let mut memory = Vec::with_capacity(STARTS);
    for at in 0..STARTS {
        let begun = Instant::now();
        let up = data.start().await?;
        starts.push(begun.elapsed());
        // The first and the last of them idle for a while.
        if at == 0 || at + 1 == STARTS {
            tokio::time::sleep(IDLE).await;
            memory.push(up.memory_mib()?);
        }
        up.stop().await?;
    }
    let starts = Samples::new(starts)?;
    let seconds = starts.p50().as_secs_f64();
    let most = memory.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::at_most("up", "`switchyard up` on an existing database → ready, seconds", seconds, 1.5)
            .showing(format!("{seconds:.2} s"), "-")
            .noting(format!(
                "the median of {STARTS} starts, Postgres stopped before each and started by it; the slowest took {:.2} s; \
                 ready is when it says so and {} answer /readyz, which asks the database",
                starts.percentile(100.0).as_secs_f64(),
                ASKED.join(" and ")
            )),
        Figure::at_most("up", "idle memory without Postgres, MiB", most, 80.0)
            .showing(format!("{most:.1} MiB"), "-")
            .noting(format!(
                "resident set {} s after it was ready; the larger of {}",
                IDLE.as_secs(),
                memory.iter().map(|it| format!("{it:.1}")).collect::<Vec<_>>().join(" and ")
            )),
    ])
}
