//! `graphile_worker`: jobs are deleted when they are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPool;

use super::{DRAIN_TIMEOUT, LOOK_EVERY};
use crate::ground::Ground;

const SCHEMA: &str = "graphile_worker";
/// Jobs that its worker fetches at a time, and how long it collects those that are done.
pub const LOCAL_QUEUE: usize = 5_000;
pub const DELAY: Duration = Duration::from_millis(5);
/// How many jobs it works on at once: what it was fastest with elsewhere, and what its own measurements have.
pub const CONCURRENCY: [usize; 2] = [24, 500];
const FILL_CHUNK: i64 = 10_000;

/// A job that does nothing but count.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    id: i64,
    data: String,
}

#[derive(Debug, Clone)]
struct Done(Arc<AtomicU64>);

impl TaskHandler for Counted {
    const IDENTIFIER: &'static str = "counted";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(done) = ctx.get_ext::<Done>() {
            done.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

/// Its tables.
pub async fn make(ground: &Ground) -> anyhow::Result<()> {
    let pool = ground.pool().await?;
    WorkerUtils::new(pool.clone(), SCHEMA).migrate().await?;
    pool.close().await;
    Ok(())
}

/// Adds jobs, many in a transaction.
pub async fn fill(ground: &Ground, jobs: i64) -> anyhow::Result<()> {
    let pool = ground.pool().await?;
    let utils = WorkerUtils::new(pool.clone(), SCHEMA);
    let mut next = 0;
    while next < jobs {
        let end = (next + FILL_CHUNK).min(jobs);
        let chunk: Vec<RawJobSpec> = (next..end).map(job).collect();
        utils.add_raw_jobs(&chunk).await?;
        next = end;
    }
    pool.close().await;
    Ok(())
}

fn job(id: i64) -> RawJobSpec {
    RawJobSpec {
        identifier: Counted::IDENTIFIER.to_owned(),
        payload: serde_json::json!({"id": id, "data": format!("test_{id}")}),
        spec: JobSpec::default(),
    }
}

/// Adds one job in a transaction of its own.
pub async fn add(utils: &WorkerUtils, id: i64) -> anyhow::Result<()> {
    let payload = serde_json::json!({"id": id, "data": format!("test_{id}")});
    utils
        .add_raw_job(Counted::IDENTIFIER, payload, JobSpec::default())
        .await?;
    Ok(())
}

/// Who adds jobs through this pool.
pub fn utils(pool: &PgPool) -> WorkerUtils {
    WorkerUtils::new(pool.clone(), SCHEMA)
}

/// From the start of its worker until no job is left in its table.
pub async fn drain(ground: &Ground, jobs: u64, concurrency: usize) -> anyhow::Result<Duration> {
    let pool = ground.pool().await?;
    let done = Done(Arc::default());
    let worker = WorkerOptions::default()
        .pg_pool(pool.clone())
        .schema(SCHEMA)
        .concurrency(concurrency)
        .poll_interval(DELAY)
        .complete_job_batch_delay(DELAY)
        .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE))
        .listen_os_shutdown_signals(false)
        .add_extension(done.clone())
        .define_job::<Counted>()
        .init()
        .await?;
    let worker = Arc::new(worker);
    let running = Arc::clone(&worker);
    let begun = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "it is waited for when it stops")]
    let running = tokio::spawn(async move { running.run().await });
    let all = async {
        while done.0.load(Ordering::Relaxed) < jobs {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // Done counts when it is recorded.
        let left = "select exists (select from graphile_worker._private_jobs)";
        while sqlx::query_scalar::<_, bool>(left).fetch_one(&pool).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DRAIN_TIMEOUT, all)
        .await
        .context("graphile_worker did not work its jobs off in time")??;
    let elapsed = begun.elapsed();
    worker.request_shutdown();
    running.await??;
    pool.close().await;
    Ok(elapsed)
}
