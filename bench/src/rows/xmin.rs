//! Work under way while a transaction keeps an old snapshot: dead rows cannot be removed, and claims must not walk over all
//! of them each time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use model::TenantId;
use queue::{Ended, NewJob, Queue};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::ground::{Ground, Place};
use crate::jobs::{self, CLIENTS, LEASE, finish};
use crate::report::Figure;
use crate::stats::{Samples, ms};

/// What is compared at the beginning and at the end.
const WINDOW: Duration = Duration::from_secs(30);
/// Before the snapshot is taken.
const WARM: Duration = Duration::from_secs(10);
/// Those who add jobs, one by one, each in its own time.
const PRODUCERS: u32 = 8;
const TENANTS: usize = 8;
const TASKS: usize = 3;
/// Every fourth job is in one of these queues of its tenant.
const QUEUED_EVERY: u64 = 4;
const QUEUES: u64 = 25;
/// Jobs that a client claims at a time, and how long it rests when there was none.
const BATCH: i32 = 50;
const IDLE: Duration = Duration::from_millis(10);

/// Measures it.
pub async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (writes, what) in [
        (false, ["pace", "buffers for each claimed job", "claim p99"]),
        (
            true,
            [
                "pace, by one that has written",
                "buffers for each claimed job, the same",
                "claim p99, the same",
            ],
        ),
    ] {
        let load = Load {
            per_second: 800,
            time: Duration::from_secs(180),
        };
        let ground = place.ground_that_counts().await?;
        let held = load.under(&ground, Some(writes)).await?;
        ground.leave().await?;
        figures.extend(held.figures(&load, what)?);
    }
    Ok(figures)
}

/// Jobs that are offered, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many are added each second, whatever becomes of them.
    pub per_second: u32,
    /// For how long a snapshot is held meanwhile.
    pub time: Duration,
}

/// What was seen.
#[derive(Debug)]
pub struct Held {
    /// Jobs finished over jobs offered, in the last window.
    pub pace: f64,
    first: Seen,
    last: Seen,
    /// Dead rows of the live table in the end.
    dead_rows: i64,
}

/// What was seen in one window.
#[derive(Debug)]
struct Seen {
    jobs: u64,
    claims: usize,
    buffers_per_job: f64,
    p99: Duration,
}

/// A claim that found something.
#[derive(Debug, Clone, Copy)]
struct Claim {
    at: Instant,
    took: Duration,
    jobs: usize,
}

type Claims = Arc<Mutex<Vec<Claim>>>;

impl Held {
    fn figures(&self, load: &Load, what: [&'static str; 3]) -> anyhow::Result<Vec<Figure>> {
        let (first, last) = (&self.first, &self.last);
        Ok(vec![
            Figure::at_least("xmin", what[0], self.pace, 0.9)
                .showing(
                    format!("{:.0}/s", last.jobs as f64 / WINDOW.as_secs_f64()),
                    format!("{}/s", load.per_second),
                )
                .noting(format!(
                    "a snapshot held for {} s by a repeatable read transaction that has read the jobs; {} jobs a second of \
                     {TENANTS} tenants × {TASKS} tasks, every fourth in one of {QUEUES} queues of its tenant; {CLIENTS} \
                     clients, claims of up to {BATCH}; jobs finished in the last {} s over those offered; {} dead rows in \
                     the end",
                    load.time.as_secs(),
                    load.per_second,
                    WINDOW.as_secs(),
                    self.dead_rows
                )),
            Figure::at_most(
                "xmin",
                what[1],
                last.buffers_per_job / first.buffers_per_job,
                2.0,
            )
            .showing(
                format!("{:.1}", last.buffers_per_job),
                format!("{:.1}", first.buffers_per_job),
            )
            .noting(format!(
                "the last {0} s over the first {0} s; hit and read by all calls of claim_jobs, as pg_stat_statements counts \
                 them, over the rows that they returned; {1} and {2} claims with {3:.1} and {4:.1} jobs each",
                WINDOW.as_secs(),
                last.claims,
                first.claims,
                last.jobs as f64 / last.claims as f64,
                first.jobs as f64 / first.claims as f64,
            )),
            Figure::at_most(
                "xmin",
                what[2],
                last.p99.as_secs_f64() / first.p99.as_secs_f64(),
                2.0,
            )
            .showing(ms(last.p99), ms(first.p99)),
        ])
    }
}

impl Load {
    /// Jobs that are added and worked off while a snapshot is held, or none; `Some(true)` by a transaction that has written.
    pub async fn under(&self, ground: &Ground, writes: Option<bool>) -> anyhow::Result<Held> {
        let tenants = ground.tenants(TENANTS).await?;
        let tasks = jobs::tasks(ground, "offered", TASKS).await?;
        let claims: Claims = Arc::default();
        let end = Instant::now() + WARM + self.time;
        let mut running = JoinSet::new();
        for number in 0..PRODUCERS {
            running.spawn(produce(
                ground.system_connection().await?,
                tenants.clone(),
                tasks.clone(),
                Duration::from_secs(1) * PRODUCERS / self.per_second,
                u64::from(number),
                end,
            ));
        }
        let queue = ground.queue()?;
        for _ in 0..CLIENTS {
            running.spawn(work(queue.clone(), tasks.clone(), Arc::clone(&claims), end));
        }
        tokio::time::sleep(WARM).await;
        let mut watching = ground.connection().await?;
        let mut holder = ground.connection().await?;
        if let Some(writes) = writes {
            hold(&mut holder, writes).await?;
        }
        let begun = Instant::now();
        let first_buffers = buffers(&mut watching).await?;
        tokio::time::sleep(WINDOW).await;
        let first_end = Instant::now();
        let first_buffers = buffers(&mut watching).await? - first_buffers;
        tokio::time::sleep_until((end - WINDOW).into()).await;
        let last_begun = Instant::now();
        let last_buffers = buffers(&mut watching).await?;
        tokio::time::sleep_until(end.into()).await;
        let last_end = Instant::now();
        let last_buffers = buffers(&mut watching).await? - last_buffers;
        let dead_rows = ground
            .count("select n_dead_tup from pg_stat_all_tables where relid = 'switchyard.jobs'::regclass")
            .await?;
        holder.close().await?;
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        let claims = claims.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen(&claims, last_begun, last_end, last_buffers)?;
        let offered = f64::from(self.per_second) * (last_end - last_begun).as_secs_f64();
        Ok(Held {
            pace: last.jobs as f64 / offered,
            first: seen(&claims, begun, first_end, first_buffers)?,
            last,
            dead_rows,
        })
    }
}

fn seen(claims: &[Claim], from: Instant, to: Instant, buffers: f64) -> anyhow::Result<Seen> {
    let inside = || claims.iter().filter(|claim| (from..to).contains(&claim.at));
    let jobs = u64::try_from(inside().map(|claim| claim.jobs).sum::<usize>())?;
    let took = Samples::new(inside().map(|claim| claim.took).collect())
        .context("nothing was claimed in a window")?;
    Ok(Seen {
        jobs,
        claims: took.count(),
        buffers_per_job: buffers / jobs as f64,
        p99: took.percentile(99.0),
    })
}

/// Takes a snapshot that sees the jobs of now until the connection is closed.
async fn hold(connection: &mut PgConnection, writes: bool) -> anyhow::Result<()> {
    sqlx::raw_sql(
        "begin isolation level repeatable read;
        select count(*) from switchyard.jobs",
    )
    .execute(&mut *connection)
    .await?;
    if writes {
        sqlx::raw_sql("insert into bench.plain (body) values ('held')")
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Buffers that all claims since the server's start have hit or read.
async fn buffers(connection: &mut PgConnection) -> anyhow::Result<f64> {
    let blocks: i64 = sqlx::query_scalar(
        "select coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint
        from pg_stat_statements
        where query like '%from switchyard.claim_jobs(%' and query not like '%pg_stat_statements%'",
    )
    .fetch_one(connection)
    .await?;
    Ok(blocks as f64)
}

async fn produce(
    mut connection: PgConnection,
    tenants: Vec<TenantId>,
    tasks: Vec<String>,
    every: Duration,
    number: u64,
    end: Instant,
) -> anyhow::Result<()> {
    // Whoever is late catches up: what is offered does not depend on what becomes of it.
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut added = number;
    let payload = serde_json::json!({"id": number, "data": format!("test_{number}")});
    while Instant::now() < end {
        clock.tick().await;
        let at = usize::try_from(added)?;
        let queue = format!("queue-{}", added / QUEUED_EVERY % QUEUES);
        let mut job = NewJob::new(
            tenants[at % tenants.len()],
            &tasks[at / tenants.len() % tasks.len()],
            &payload,
        );
        job.queue_name = added.is_multiple_of(QUEUED_EVERY).then_some(&queue);
        queue::enqueue(&mut connection, &job).await?;
        // Another tenant's each time.
        added += u64::from(PRODUCERS) + 1;
    }
    Ok(())
}

async fn work(
    queue: Queue,
    tasks: Vec<String>,
    claims: Claims,
    end: Instant,
) -> anyhow::Result<()> {
    let worker = Uuid::new_v4();
    while Instant::now() < end {
        let at = Instant::now();
        let claimed = queue.claim(worker, &tasks, BATCH, LEASE).await?;
        if claimed.is_empty() {
            tokio::time::sleep(IDLE).await;
            continue;
        }
        let took = at.elapsed();
        finish(&queue, &claimed, Ended::Succeeded).await?;
        claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Claim {
                at,
                took,
                jobs: claimed.len(),
            });
    }
    Ok(())
}
