//! Caps while many claim at once: what is in flight, looked at again and again from outside.

use std::time::{Duration, Instant};

use queue::rules::{Limits, Scope};
use queue::{By, Ended, Queue};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ground::{Ground, Place};
use crate::jobs::{self, Backlog, LEASE, finish};
use crate::report::Figure;

const TIME: Duration = Duration::from_secs(10);
/// Workers, and the slots of each.
const WORKERS: usize = 12;
const SLOTS: i32 = 8;
/// How long a job takes.
const WORK: Duration = Duration::from_millis(3);
const TENANTS: usize = 4;
const JOBS: i64 = 80_000;
const QUEUES: i64 = 20;
/// Of the first tenant, of the first task over all tenants, of the second tenant's jobs of the second task.
const TENANT_CAP: i32 = 10;
const TASK_CAP: i32 = 20;
const LANE_CAP: i32 = 5;

/// What was in flight in one snapshot, by cap; of the named queues, the fullest.
type Flight = (i64, i64, i64, i64);

pub(super) async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let ground = place.ground().await?;
    let tenants = ground.tenants(TENANTS).await?;
    let tasks = jobs::tasks(&ground, "capped", 2).await?;
    let queue = ground.queue()?;
    let by = By {
        name: "bench",
        why: None,
    };
    let cap = |in_flight_max| Limits {
        in_flight_max: Some(in_flight_max),
        rate: None,
    };
    queue
        .set_limit(Scope::Tenant(tenants[0]), cap(TENANT_CAP), by)
        .await?;
    queue
        .set_limit(Scope::Task(&tasks[0]), cap(TASK_CAP), by)
        .await?;
    queue
        .set_cap(tenants[1], &tasks[1], Some(LANE_CAP), by)
        .await?;
    Backlog::new(JOBS, &tenants, &tasks).add(&ground).await?;
    let queued = Backlog {
        queues: Some(QUEUES),
        ..Backlog::new(JOBS / 4, &tenants[2..3], &tasks)
    };
    queued.add(&ground).await?;
    ground.settle().await?;

    let end = Instant::now() + TIME;
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(queue.clone(), tasks.clone(), end));
    }
    let (looks, flight) = watch(&ground, &tenants, &tasks, end).await?;
    let mut done = 0;
    while let Some(ended) = workers.join_next().await {
        done += ended??;
    }
    ground.leave().await?;
    let caps = [TENANT_CAP, TASK_CAP, LANE_CAP, 1];
    let most = most(&flight);
    let over = flight
        .iter()
        .filter(|&&(a, b, c, d)| {
            [a, b, c, d]
                .iter()
                .zip(caps)
                .any(|(&seen, cap)| seen > i64::from(cap))
        })
        .count();
    Ok(vec![
        Figure::at_most("fair", "looks at which a cap was exceeded", over as f64, 0.0)
            .showing(format!("{over} of {looks}"), "-")
            .noting(format!(
                "the most in flight: of a tenant {} of {TENANT_CAP}, of a task over {TENANTS} tenants {} of {TASK_CAP}, of a \
                 tenant's task {} of {LANE_CAP}, of any of {QUEUES} named queues {} of 1; {WORKERS} workers with {SLOTS} \
                 slots, jobs of {} ms, {done} done in {} s",
                most.0,
                most.1,
                most.2,
                most.3,
                WORK.as_millis(),
                TIME.as_secs()
            )),
    ])
}

fn most(flight: &[Flight]) -> Flight {
    flight.iter().fold((0, 0, 0, 0), |most, it| {
        (
            most.0.max(it.0),
            most.1.max(it.1),
            most.2.max(it.2),
            most.3.max(it.3),
        )
    })
}

async fn work(queue: Queue, tasks: Vec<String>, end: Instant) -> anyhow::Result<usize> {
    let worker = Uuid::new_v4();
    let mut done = 0;
    while Instant::now() < end {
        let claimed = queue.claim(worker, &tasks, SLOTS, LEASE).await?;
        tokio::time::sleep(WORK).await;
        finish(&queue, &claimed, Ended::Succeeded).await?;
        done += claimed.len();
    }
    Ok(done)
}

/// Every look is one snapshot.
async fn watch(
    ground: &Ground,
    tenants: &[model::TenantId],
    tasks: &[String],
    end: Instant,
) -> anyhow::Result<(usize, Vec<Flight>)> {
    let mut connection = ground.connection().await?;
    let mut flight = Vec::new();
    while Instant::now() < end {
        let seen: Flight = sqlx::query_as(
            "select count(*) filter (where database_id = $1),
                count(*) filter (where task = $2),
                count(*) filter (where database_id = $3 and task = $4 and queue_name is null),
                coalesce((
                    select max(n) from (
                        select count(*) as n from switchyard.jobs
                        where state <> 'queued' and queue_name is not null
                        group by database_id, queue_name
                    ) q
                ), 0)
            from switchyard.jobs
            where state <> 'queued'",
        )
        .bind(tenants[0].uuid())
        .bind(&tasks[0])
        .bind(tenants[1].uuid())
        .bind(&tasks[1])
        .fetch_one(&mut connection)
        .await?;
        flight.push(seen);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((flight.len(), flight))
}
