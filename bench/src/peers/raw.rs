//! Raw SQL that does the same to the same rows: claim in batches, delete, insert into an archive in day partitions. Tables
//! of the same columns, in one transaction for each statement; no tenants, lanes, fences, events or wake-ups.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::types::{Json, Uuid};
use tokio::task::JoinSet;

use crate::ground::Ground;
use crate::jobs::{BATCH, CLIENTS};

/// The same columns as our claim returns.
type Claimed = (
    i64,
    i64,
    Uuid,
    String,
    Json<serde_json::Value>,
    i32,
    i32,
    DateTime<Utc>,
    Option<String>,
    Option<String>,
    i32,
);

const CLAIM: &str = "update bench.jobs j
    set state = 'running',
        epoch = j.epoch + 1,
        attempts = j.attempts + 1,
        worker = $1,
        started_at = clock_timestamp(),
        attempt_until = clock_timestamp() + interval '2 minutes',
        lease_until = clock_timestamp() + interval '30 seconds'
    from (
        select id from bench.jobs
        where state = 'queued'
        order by priority, run_at, id
        limit $2
        for update skip locked
    ) picked
    where j.id = picked.id
    returning j.id, j.epoch, j.database_id, j.task, j.payload, j.attempts, j.attempts_max, j.attempt_until,
        j.correlation_id, j.traceparent, j.depth";

/// Tables with the columns of ours, and of the indexes only those that its statements need.
pub async fn make(ground: &Ground) -> anyhow::Result<()> {
    let mut owner = ground.connection().await?;
    sqlx::raw_sql(
        "create table bench.jobs (like switchyard.jobs including defaults including identity);
        alter table bench.jobs add primary key (id);
        create index on bench.jobs (priority, run_at, id) where state = 'queued';
        create table bench.jobs_archive (like switchyard.jobs_archive including defaults)
            partition by range (finished_at);
        alter table bench.jobs_archive add primary key (database_id, id, finished_at);
        do $$
        begin
            for day in 0..7 loop
                execute format(
                    'create table bench.jobs_archive_%s partition of bench.jobs_archive for values from (%L) to (%L)',
                    day, current_date + day, current_date + day + 1
                );
            end loop;
        end
        $$;",
    )
    .execute(&mut owner)
    .await?;
    Ok(())
}

/// Takes over the jobs that our queue has, row for row and in their order.
pub async fn take_over(ground: &Ground) -> anyhow::Result<()> {
    let mut owner = ground.connection().await?;
    sqlx::raw_sql(
        "insert into bench.jobs overriding system value select * from switchyard.jobs order by id;
        truncate switchyard.jobs",
    )
    .execute(&mut owner)
    .await?;
    Ok(())
}

/// From the first claim to the last finish.
pub async fn drain(ground: &Ground) -> anyhow::Result<Duration> {
    let pool = ground.pool().await?;
    let finish = finish_statement(&pool).await?;
    let mut opening = JoinSet::new();
    for _ in 0..CLIENTS {
        let pool = pool.clone();
        opening.spawn(async move { sqlx::query("select 1").execute(&pool).await });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (pool, finish) = (pool.clone(), finish.clone());
        clients.spawn(async move {
            let worker = Uuid::new_v4();
            loop {
                let claimed: Vec<Claimed> = sqlx::query_as(CLAIM)
                    .bind(worker)
                    .bind(BATCH)
                    .fetch_all(&pool)
                    .await?;
                if claimed.is_empty() {
                    // Nothing is added any more, and what others hold they finish.
                    return anyhow::Ok(());
                }
                let ids: Vec<i64> = claimed.iter().map(|job| job.0).collect();
                let finished = sqlx::query(AssertSqlSafe(finish.clone()))
                    .bind(&ids)
                    .execute(&pool)
                    .await?;
                anyhow::ensure!(
                    finished.rows_affected() == u64::try_from(ids.len())?,
                    "not every job was finished"
                );
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let elapsed = begun.elapsed();
    pool.close().await;
    Ok(elapsed)
}

/// What both tables have is copied, whatever columns that is.
async fn finish_statement(pool: &PgPool) -> anyhow::Result<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select a.attname::text
        from pg_attribute a
        join pg_attribute b on b.attrelid = 'bench.jobs'::regclass and b.attname = a.attname
        where a.attrelid = 'bench.jobs_archive'::regclass and a.attnum > 0 and b.attnum > 0
          and not a.attisdropped and not b.attisdropped and a.attname <> 'state'
        order by a.attnum",
    )
    .fetch_all(pool)
    .await?;
    let columns = columns.join(", ");
    Ok(format!(
        "with gone as (delete from bench.jobs where id = any ($1) returning *)
        insert into bench.jobs_archive (state, {columns}) select 'succeeded', {columns} from gone"
    ))
}
