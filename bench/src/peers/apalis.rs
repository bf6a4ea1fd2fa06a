//! `apalis-postgres`: jobs stay in its table when they are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{DRAIN_TIMEOUT, LOOK_EVERY};
use crate::ground::Ground;

const QUEUE: &str = "bench";
/// Jobs that its worker fetches at a time; ten would be its default.
pub const FETCH: usize = 500;
/// How many jobs it works on at once.
pub const CONCURRENCY: usize = 24;
const POLL: Duration = Duration::from_millis(5);
const FILL_CHUNK: i64 = 5_000;

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    id: i64,
    data: String,
}

/// Its tables.
pub async fn make(ground: &Ground) -> anyhow::Result<()> {
    let pool = ground.pool().await?;
    PostgresStorage::setup(&pool).await?;
    pool.close().await;
    Ok(())
}

/// Adds jobs, many in a transaction.
pub async fn fill(ground: &Ground, jobs: i64) -> anyhow::Result<()> {
    let mut connection = ground.connection().await?;
    let mut next = 0;
    while next < jobs {
        let end = (next + FILL_CHUNK).min(jobs);
        let mut chunk = Vec::new();
        for id in next..end {
            let data = format!("test_{id}");
            chunk.push(TaskBuilder::new(serde_json::to_vec(&Counted { id, data })?).build());
        }
        apalis_postgres::queries::push_tasks(&mut connection, QUEUE, chunk).await?;
        next = end;
    }
    Ok(())
}

/// From the start of its worker until every job is recorded as done.
pub async fn drain(ground: &Ground, jobs: u64) -> anyhow::Result<Duration> {
    let pool = ground.pool().await?;
    let config = Config::default()
        .queue(QUEUE)
        .batch_size(FETCH)
        .lock_tasks(false);
    let backend = PostgresStorage::<Counted>::new(&pool)
        .with_config(config)
        .poll_with_strategy(Strategy::new().interval(POLL));
    let done = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&done);
    let worker = WorkerBuilder::new("bench")
        .backend(backend)
        .concurrency(CONCURRENCY)
        .build(move |_: Counted| {
            let done = Arc::clone(&counting);
            async move {
                done.fetch_add(1, Ordering::Relaxed);
                Ok::<(), BoxDynError>(())
            }
        });
    let stop = CancellationToken::new();
    let asked = stop.clone();
    let asked = async move {
        asked.cancelled().await;
        Ok::<(), std::io::Error>(())
    };
    let begun = Instant::now();
    let all = async {
        let recorded = async {
            while done.load(Ordering::Relaxed) < jobs {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            // Done counts when it is recorded.
            let left = "select exists (select from apalis.jobs where status <> 'Done')";
            while sqlx::query_scalar::<_, bool>(left).fetch_one(&pool).await? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(begun.elapsed())
        };
        let recorded = tokio::time::timeout(DRAIN_TIMEOUT, recorded).await;
        stop.cancel();
        recorded.context("apalis-postgres did not work its jobs off in time")?
    };
    // In one task, because its future cannot be sent to another thread.
    let (ended, elapsed) = tokio::join!(worker.run_until(asked), all);
    ended?;
    let elapsed = elapsed?;
    pool.close().await;
    Ok(elapsed)
}
