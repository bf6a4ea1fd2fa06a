//! Jobs that are added one by one, each in a transaction of its own, while a relay sleeps that must be woken, beside a bare
//! insert of the same row into the same table, columns and indexes, that looks at no lane and wakes nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::routing::post;
use host::{Mounted, Resources};
use http::StatusCode;
use model::TenantId;
use queue::NewJob;
use sqlx::PgConnection;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

use super::served::Served;
use crate::ground::Ground;
use crate::jobs;
use crate::peers::{graphile, raw};
use crate::report::Figure;
use crate::stats::{listed, median};

/// Clients, each with a connection of its own and one transaction under way.
const CLIENTS: usize = 24;
const WARM: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(4);
/// Pairs of measurements, one side after the other.
const PAIRS: usize = 7;
/// How often those are measured that stand beside it for information.
const BESIDE: usize = 3;
/// How long a relay may take until it sleeps.
const ARMED_TIMEOUT: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
/// Whose jobs they are.
const TENANTS: usize = 8;

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let tenants = ground.tenants(TENANTS).await?;
    let task = jobs::tasks(ground, "added", 1).await?.remove(0);
    raw::make(ground).await?;
    graphile::make(ground).await?;
    sqlx::raw_sql(
        "create table bench.same (like switchyard.jobs including all);
        create table bench.notified (like bench.jobs including all);
        grant usage on schema bench to switchyard_system;
        grant select, insert on bench.same, bench.jobs, bench.notified to switchyard_system",
    )
    .execute(&mut ground.connection().await?)
    .await?;

    let next = AtomicU64::new(0);
    let next = Arc::new(next);
    let mut ours = Vec::new();
    let mut bare = Vec::new();
    let mut lean = Vec::new();
    let mut notified = Vec::new();
    for _ in 0..CLIENTS {
        let client = |connection, sort| Client {
            connection,
            sort,
            tenants: tenants.clone(),
            task: task.clone(),
            next: Arc::clone(&next),
        };
        ours.push(client(ground.system_connection().await?, Sort::Ours));
        bare.push(client(ground.system_connection().await?, Sort::Bare));
        lean.push(client(ground.system_connection().await?, Sort::Lean));
        notified.push(client(ground.system_connection().await?, Sort::Notified));
    }
    let sink = Served::start(Router::new().fallback(post(async || StatusCode::ACCEPTED))).await?;

    let (mut our_rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lean_rates, mut lean_ratios) = (Vec::new(), Vec::new());
    for round in 0..=PAIRS {
        let window = if round == 0 { WARM } else { WINDOW };
        // It must not work beside the baseline.
        let relay = relay(ground, &sink).await?;
        let a = drive(&mut ours, window).await?;
        relay.ctx.stop(GRACE).await;
        let b = drive(&mut bare, window).await?;
        let c = drive(&mut lean, window).await?;
        if round > 0 {
            our_rates.push(a);
            bare_rates.push(b);
            lean_rates.push(c);
            ratios.push(a / b);
            lean_ratios.push(a / c);
        }
    }
    sink.stop().await?;
    let kept = ground
        .count(
            "select (select count(*) from switchyard.jobs) + (select count(*) from bench.same)
                + (select count(*) from bench.jobs)",
        )
        .await?;
    let added = next.load(Ordering::Relaxed);
    anyhow::ensure!(
        u64::try_from(kept)? == added,
        "{added} jobs were added and {kept} are there"
    );
    drop((ours, bare, lean));
    let (mut notified_rates, mut graphile_rates) = (Vec::new(), Vec::new());
    for _ in 0..BESIDE {
        notified_rates.push(drive(&mut notified, WINDOW).await?);
        graphile_rates.push(add_to_graphile(ground).await?);
    }

    let figure = Figure::at_least(
        "enqueue",
        "one job a transaction, 24 clients, wake-ups on, over a bare insert",
        median(&ratios)?,
        0.8,
    )
    .showing(
        format!("{:.0}/s", median(&our_rates)?),
        format!("{:.0}/s", median(&bare_rates)?),
    )
    .noting(format!(
        "{CLIENTS} clients with a connection each, all in the role that functions have; {PAIRS} pairs of {} s, one side after \
         the other; the ratio is the median of {}; all rows were counted afterwards",
        WINDOW.as_secs(),
        listed(&ratios)
    ))
    .noting(format!(
        "ours: {TENANTS} tenants in turn, one lane each, a relay asleep and armed in this process when a window begins, whose \
         wake-ups nobody follows; the baseline: the same values into a table of the same columns and indexes, without a look at \
         lanes, gates or relays, and nobody woken"
    ))
    .noting(format!(
        "beside it: the same insert into a table that has only the primary key and the index of what is ready, and so can \
         neither list nor find jobs by tenant, key, workload, time or lease: {:.0}/s, the ratio to it {:.2} ({})",
        median(&lean_rates)?,
        median(&lean_ratios)?,
        listed(&lean_ratios)
    ))
    .noting(format!(
        "beside it: insert and NOTIFY in one statement {:.0}/s; graphile_worker 0.14 add_raw_job {:.0}/s",
        median(&notified_rates)?,
        median(&graphile_rates)?
    ));
    Ok(vec![figure])
}

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Sort {
    Ours,
    Bare,
    /// Into a table of two indexes.
    Lean,
    /// As queues do that tell of each job.
    Notified,
}

struct Client {
    connection: PgConnection,
    sort: Sort,
    tenants: Vec<TenantId>,
    task: String,
    next: Arc<AtomicU64>,
}

/// Each tenant has a lane of its own.
const BARE: &str =
    "insert into bench.same (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
    values ($1, $3, $2, 0, true, now(), 5, $4)";
const LEAN: &str =
    "insert into bench.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
    values ($1, $3, $2, 0, true, now(), 5, $4)";
const NOTIFIED: &str = "with added as (
        insert into bench.notified (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
        values ($1, $3, $2, 0, true, now(), 5, $4)
        returning id
    )
    select pg_notify('jobs:insert', id::text) from added";

impl Client {
    async fn add(&mut self) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let lane = usize::try_from(number)? % self.tenants.len();
        let tenant = self.tenants[lane];
        let payload = serde_json::json!({"id": number, "data": format!("test_{number}")});
        let statement = match self.sort {
            Sort::Ours => {
                let job = NewJob::new(tenant, &self.task, &payload);
                queue::enqueue(&mut self.connection, &job).await?;
                return Ok(());
            }
            Sort::Bare => BARE,
            Sort::Lean => LEAN,
            Sort::Notified => NOTIFIED,
        };
        sqlx::query(statement)
            .bind(tenant.uuid())
            .bind(&self.task)
            .bind(i64::try_from(lane)?)
            .bind(payload)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// Transactions a second, all clients together.
async fn drive(clients: &mut Vec<Client>, time: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut running = JoinSet::new();
    for mut client in clients.drain(..) {
        running.spawn(async move {
            let mut added = 0_u64;
            while start.elapsed() < time {
                client.add().await?;
                added += 1;
            }
            anyhow::Ok((client, added))
        });
    }
    let mut added = 0;
    while let Some(ended) = running.join_next().await {
        let (client, count) = ended??;
        clients.push(client);
        added += count;
    }
    Ok(added as f64 / start.elapsed().as_secs_f64())
}

/// A relay to the broker `work`, asleep.
async fn relay(ground: &Ground, sink: &Served) -> anyhow::Result<Mounted> {
    let env = ground
        .env()
        .with("RELAY_BROKER", "work")
        .with("K_SINK", format!("http://{}/", sink.addr));
    let relay = relay::FUNCTION.mount(&env, &Resources::new()?)?;
    sqlx::query("update switchyard.relay_flags set armed = false")
        .execute(&mut ground.connection().await?)
        .await?;
    relay.start_background();
    let armed = async {
        let armed = "select count(*) from switchyard.relay_flags where broker = 'work' and armed";
        while ground.count(armed).await? == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(ARMED_TIMEOUT, armed)
        .await
        .context("the relay does not go to sleep")??;
    Ok(relay)
}

async fn add_to_graphile(ground: &Ground) -> anyhow::Result<f64> {
    let pool = PgPoolOptions::new()
        .max_connections(u32::try_from(CLIENTS)?)
        .test_before_acquire(false)
        .connect(ground.url())
        .await?;
    let start = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..CLIENTS {
        let utils = graphile::utils(&pool);
        running.spawn(async move {
            let mut added = 0_i64;
            while start.elapsed() < WINDOW {
                graphile::add(&utils, added).await?;
                added += 1;
            }
            anyhow::Ok(added)
        });
    }
    let mut added = 0;
    while let Some(ended) = running.join_next().await {
        added += ended??;
    }
    let rate = added as f64 / start.elapsed().as_secs_f64();
    pool.close().await;
    Ok(rate)
}
