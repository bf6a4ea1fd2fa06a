//! A backlog that is worked off in batches: our queue beside raw SQL that does the same, and, where no history is kept,
//! beside the queues of others. Every measurement has a fresh server.

use crate::ground::{Ground, POOL, Place};
use crate::jobs::{self, BATCH, Backlog, CLIENTS, Drain, rate};
use crate::peers::{apalis, graphile, raw};
use crate::report::Figure;
use crate::stats::{listed, median};

/// Jobs of a backlog.
const JOBS: i64 = 200_000;
/// Whose they are, and of how many tasks: one lane for each pair.
const TENANTS: usize = 8;
const TASKS: usize = 2;
/// How often everything is measured, one after the other.
const ROUNDS: usize = 3;

/// Jobs a second, one figure for each round.
#[derive(Default)]
struct Rates {
    full: Vec<f64>,
    raw: Vec<f64>,
    none: Vec<f64>,
    graphile: [Vec<f64>; graphile::CONCURRENCY.len()],
    apalis: Vec<f64>,
}

/// Measures it.
pub async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut rates = Rates::default();
    let (mut our_width, mut raw_width) = (0, 0);
    for _ in 0..ROUNDS {
        let (full, width) = ours(place, "full").await?;
        rates.full.push(said("ours, full history", full));
        our_width = width;
        let (raw, width) = raw_sql(place).await?;
        rates.raw.push(said("raw SQL", raw));
        raw_width = width;
        let (none, _) = ours(place, "none").await?;
        rates.none.push(said("ours, no history", none));
        for (rates, concurrency) in rates.graphile.iter_mut().zip(graphile::CONCURRENCY) {
            let ground = place.ground().await?;
            graphile::make(&ground).await?;
            graphile::fill(&ground, JOBS).await?;
            ground.settle().await?;
            let elapsed = graphile::drain(&ground, JOBS.unsigned_abs(), concurrency).await?;
            rates.push(said("graphile_worker", rate(JOBS, elapsed)));
            ground.leave().await?;
        }
        let ground = place.ground().await?;
        apalis::make(&ground).await?;
        apalis::fill(&ground, JOBS).await?;
        ground.settle().await?;
        let elapsed = apalis::drain(&ground, JOBS.unsigned_abs()).await?;
        rates
            .apalis
            .push(said("apalis-postgres", rate(JOBS, elapsed)));
        ground.leave().await?;
    }
    figures(&rates, our_width, raw_width)
}

fn figures(rates: &Rates, our_width: i64, raw_width: i64) -> anyhow::Result<Vec<Figure>> {
    let over = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a / b).collect() };
    let of_raw = over(&rates.full, &rates.raw);
    // Whichever of its configurations is the faster one.
    let medians = [median(&rates.graphile[0])?, median(&rates.graphile[1])?];
    let best = usize::from(medians[1] > medians[0]);
    let of_graphile = over(&rates.none, &rates.graphile[best]);
    Ok(vec![
        Figure::at_least(
            "drain",
            "drain, batched, full history, over raw SQL of the same statements",
            median(&of_raw)?,
            0.8,
        )
        .showing(shown(&rates.full)?, shown(&rates.raw)?)
        .noting(format!(
            "{JOBS} jobs of {TENANTS} tenants × {TASKS} tasks, {our_width} bytes a row (baseline {raw_width}, the same rows), \
             payloads as `{{\"id\": 7, \"data\": \"test_7\"}}`; {CLIENTS} clients, a pool of {POOL}, claims of {BATCH}; a \
             fresh server for each of {ROUNDS} rounds; ratios {}",
            listed(&of_raw)
        ))
        .noting(
            "ours: fair over tenants and lanes, leases, fenced by epoch, each end announced in the outbox; the baseline: \
             `update … skip locked … returning` of 500, then one statement that deletes and inserts into a table in day \
             partitions; its tables have their primary keys, and that of jobs an index of what is ready",
        ),
        Figure::more_than(
            "drain",
            "drain, batched, no history, over graphile_worker",
            median(&of_graphile)?,
            1.0,
        )
        .showing(shown(&rates.none)?, format!("{:.0}/s", medians[best]))
        .noting(format!(
            "the same jobs; ours as above with history = none, still announced; graphile_worker 0.14 with a local queue of \
             {}, completions collected for {} ms, the same pool: {:.0}/s at a concurrency of {}, {:.0}/s at {}; ratios {}",
            graphile::LOCAL_QUEUE,
            graphile::DELAY.as_millis(),
            medians[0],
            graphile::CONCURRENCY[0],
            medians[1],
            graphile::CONCURRENCY[1],
            listed(&of_graphile)
        ))
        .noting(format!(
            "beside it apalis-postgres 1, which keeps its jobs: {}, fetching {} at a time with a concurrency of {}",
            shown(&rates.apalis)?,
            apalis::FETCH,
            apalis::CONCURRENCY
        )),
    ])
}

/// Our rate, and the bytes of a row in the queue.
async fn ours(place: Place<'_>, history: &str) -> anyhow::Result<(f64, i64)> {
    let ground = place.ground().await?;
    let tasks = backlog(&ground).await?;
    let mut owner = ground.connection().await?;
    sqlx::query(
        "update switchyard.tasks set history = $1::switchyard.history where name = any ($2)",
    )
    .bind(history)
    .bind(&tasks)
    .execute(&mut owner)
    .await?;
    let width = ground
        .count("select avg(pg_column_size(j.*))::bigint from switchyard.jobs j")
        .await?;
    ground.settle().await?;
    let queue = ground.queue()?;
    let elapsed = Drain::new(&tasks, JOBS.unsigned_abs()).run(&queue).await?;

    let left = ground.count("select count(*) from switchyard.jobs").await?;
    anyhow::ensure!(left == 0, "{left} jobs are left");
    let kept = ground
        .count("select count(*) from switchyard.jobs_archive where state = 'succeeded'")
        .await?;
    let expected = if history == "none" { 0 } else { JOBS };
    anyhow::ensure!(kept == expected, "{kept} jobs are kept, not {expected}");
    let announced = ground
        .count(
            "select coalesce(sum(case
                when packed is not null then json_array_length(packed -> 'jobs')
                when batch is not null then jsonb_array_length(batch)
                else 1
            end), 0)::bigint
            from switchyard.outbox where broker = 'observed'",
        )
        .await?;
    anyhow::ensure!(
        announced >= JOBS,
        "{announced} of {JOBS} ends were announced"
    );
    ground.leave().await?;
    Ok((rate(JOBS, elapsed), width))
}

async fn raw_sql(place: Place<'_>) -> anyhow::Result<(f64, i64)> {
    let ground = place.ground().await?;
    raw::make(&ground).await?;
    backlog(&ground).await?;
    raw::take_over(&ground).await?;
    let width = ground
        .count("select avg(pg_column_size(j.*))::bigint from bench.jobs j")
        .await?;
    ground.settle().await?;
    let elapsed = raw::drain(&ground).await?;
    let kept = ground
        .count("select count(*) from bench.jobs_archive")
        .await?;
    anyhow::ensure!(kept == JOBS, "{kept} of {JOBS} jobs are in the archive");
    ground.leave().await?;
    Ok((rate(JOBS, elapsed), width))
}

/// For who waits.
fn said(what: &str, rate: f64) -> f64 {
    eprintln!("  {what}: {rate:.0}/s");
    rate
}

async fn backlog(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let tenants = ground.tenants(TENANTS).await?;
    let tasks = jobs::tasks(ground, "drained", TASKS).await?;
    Backlog::new(JOBS, &tenants, &tasks).add(ground).await?;
    Ok(tasks)
}

fn shown(rates: &[f64]) -> anyhow::Result<String> {
    Ok(format!("{:.0}/s", median(rates)?))
}
