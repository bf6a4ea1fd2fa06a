//! Many workers, some of which are killed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{FinishReport, JobState, KeyMode, Waiting};
use queue::executors::{Heard, Said, ToldLines};
use queue::{Ended, Finish, Hold, NewJob, Wait};
use sqlx::Connection as _;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::world::{LEASE, Random, World, nothing};

const JOBS: i32 = 5000;
const WORKERS: u64 = 8;
/// How long the whole may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_though_workers_are_killed() {
    let world = Arc::new(World::new().await);
    for tenant in [world.tenant, world.tenant().await, world.tenant().await] {
        world.add_many(tenant, "task", JOBS / 3 + 1).await;
    }
    let jobs = world.number("select count(*) from switchyard.jobs").await;
    world
        .execute("update switchyard.jobs set attempts_max = 1000")
        .await;
    let begun = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for seed in 1..=WORKERS {
        let world = world.clone();
        workers.spawn(async move {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let tasks = ["task".to_owned()];
            loop {
                if begun.elapsed() > PATIENCE {
                    let left: Vec<serde_json::Value> = sqlx::query_scalar(
                        "select jsonb_build_object('lane', to_jsonb(l), 'state', j.state, 'due', j.due, 'jobs', count(*),
                            'lease_over', count(*) filter (where lease_until < clock_timestamp()), 'epoch', max(j.epoch))
                         from switchyard.jobs j join switchyard.lanes l on l.id = j.lane_id group by l.id, j.state, j.due",
                    )
                    .fetch_all(&world.owner)
                    .await
                    .unwrap();
                    panic!("jobs are left after {PATIENCE:?}: {left:#?}");
                }
                // Each life has a name of its own; a kill is a future dropped at a moment that nobody chose.
                // On a machine that has much else to do lives get longer, or nobody would live to end a batch.
                let slow = 1 + u32::try_from(begun.elapsed().as_secs() / 15).unwrap();
                let life = Duration::from_millis(20 + random.below(600) as u64) * slow;
                let worker = Uuid::new_v4();
                let work = async {
                    loop {
                        let limit = 1 + i32::try_from(random.below(40)).unwrap();
                        let lease = Duration::from_millis(1500);
                        let claimed = world
                            .queue
                            .claim(worker, &tasks, limit, lease)
                            .await
                            .unwrap();
                        let holds: Vec<Hold> = claimed.iter().map(|job| job.hold).collect();
                        world.queue.heartbeat(&holds, lease).await.unwrap();
                        let mut ends = Vec::new();
                        for hold in holds {
                            match random.below(12) {
                                0 => {
                                    world
                                        .queue
                                        .retry(hold, "broken", Some(Duration::ZERO))
                                        .await
                                        .unwrap();
                                }
                                1 => drop(world.queue.release(&[hold]).await.unwrap()),
                                _ => ends.push(Finish {
                                    hold,
                                    ended: Ended::Succeeded,
                                    reason: None,
                                    result: None,
                                }),
                            }
                        }
                        // In no order, as a finisher gets them.
                        ends.reverse();
                        world.queue.finish(&ends).await.unwrap();
                        if claimed.is_empty() {
                            world.queue.reap(100).await.unwrap();
                            let left = world.number("select count(*) from switchyard.jobs").await;
                            if left == 0 {
                                return;
                            }
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                };
                if tokio::time::timeout(life, work).await.is_ok() {
                    return;
                }
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    assert_eq!(
        world
            .number("select count(*) from switchyard.jobs_archive")
            .await,
        jobs
    );
    assert_eq!(
        world
            .number(
                "select count(distinct id) from switchyard.jobs_archive where state = 'succeeded'"
            )
            .await,
        jobs
    );
    world.check().await;
    assert_eq!(deadlocks(&world).await, 0);
}

async fn deadlocks(world: &World) -> i64 {
    world
        .number(
            "select deadlocks from pg_stat_database where datname = current_database()
                and pg_stat_clear_snapshot() is not null",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_over_many_lanes_do_not_wait_for_each_other_in_a_ring() {
    let world = Arc::new(World::new().await);
    let mut tenants = vec![world.tenant];
    for _ in 0..7 {
        tenants.push(world.tenant().await);
    }
    // Interleaved, so that the order of jobs is not that of lanes.
    for round in 0..50 {
        for n in 0..tenants.len() {
            let tenant = tenants[if round % 2 == 0 {
                n
            } else {
                tenants.len() - 1 - n
            }];
            world.add(&NewJob::new(tenant, "task", nothing())).await;
        }
    }
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let claimed = world.claim("task", 50).await;
        let world = world.clone();
        workers.spawn(async move {
            let holds: Vec<Hold> = claimed.iter().map(|job| job.hold).collect();
            for (n, part) in holds.chunks(8).enumerate() {
                world.queue.heartbeat(&holds, LEASE).await.unwrap();
                if n % 3 == 0 {
                    world.queue.release(part).await.unwrap();
                    continue;
                }
                let ends: Vec<Finish> = part
                    .iter()
                    .rev()
                    .map(|hold| Finish {
                        hold: *hold,
                        ended: Ended::Succeeded,
                        reason: None,
                        result: None,
                    })
                    .collect();
                world.queue.finish(&ends).await.unwrap();
                world.queue.reap(100).await.unwrap();
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    world.check().await;
}

/// How many of the world's sessions wait for a lock of another.
async fn waiting(world: &World) -> i64 {
    world
        .number(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .await
}

/// Waits until so many do.
async fn until_waiting(world: &World, count: i64) {
    let end = Instant::now() + PATIENCE;
    while waiting(world).await < count {
        assert!(Instant::now() < end, "nobody waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_back_waits_for_its_key_with_nothing_in_hand() {
    let world = Arc::new(World::new().await);
    let keyed = |key| NewJob {
        key: Some((key, KeyMode::Replace)),
        ..NewJob::new(world.tenant, "task", nothing())
    };
    for (key, how) in [
        ("a", "retry"),
        ("b", "snooze"),
        ("c", "release"),
        ("d", "approval"),
        ("e", "callback"),
    ] {
        let job = world.add(&keyed(key)).await;
        let hold = world.claim_one("task").await;
        assert_eq!(hold.job, job);
        // Somebody adds a job with its key, in a transaction that takes its time.
        let mut conn = world.owner.acquire().await.unwrap();
        let mut adding = conn.begin().await.unwrap();
        sqlx::query("update switchyard.job_keys set high_water = high_water where key = $1")
            .bind(key)
            .execute(&mut *adding)
            .await
            .unwrap();
        let other = Arc::clone(&world);
        let mut back = JoinSet::new();
        back.spawn(async move {
            let report = match how {
                "retry" => {
                    other
                        .queue
                        .retry(hold, "broken", Some(Duration::ZERO))
                        .await
                }
                "snooze" => other.queue.snooze(hold, Duration::ZERO, "busy").await,
                "release" => {
                    assert_eq!(other.queue.release(&[hold]).await.unwrap(), 1);
                    return;
                }
                "callback" => {
                    let said = Said::Error {
                        error: "broken".to_owned(),
                        retry: true,
                    };
                    let log = ToldLines::default();
                    let heard = other.queue.callback(other.tenant, hold, &said, &log).await;
                    assert!(matches!(heard, Ok(Heard::Applied { .. })), "{heard:?}");
                    return;
                }
                _ => {
                    let wait = Wait {
                        waiting: Waiting::Approval,
                        deadline: LEASE,
                        runner: None,
                    };
                    other.queue.wait(hold, &wait).await
                }
            };
            assert!(matches!(report, Ok(FinishReport::Applied(_))), "{report:?}");
        });
        until_waiting(&world, 1).await;
        // Who has the key may still wait for the job.
        sqlx::query("select from switchyard.jobs where id = $1 for update nowait")
            .bind(job.0)
            .execute(&mut *adding)
            .await
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        adding.commit().await.unwrap();
        back.join_all().await;
        world.check().await;
        // Out of the way of the next.
        world.queue.cancel(world.tenant, job, "Ann").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reaper_leaves_a_job_whose_key_is_being_added_to_for_the_next_time() {
    let world = Arc::new(World::new().await);
    let keyed = NewJob {
        key: Some(("key", KeyMode::Replace)),
        ..NewJob::new(world.tenant, "task", nothing())
    };
    let job = world.add(&keyed).await;
    let hold = world.claim_one("task").await;
    let wait = Wait {
        waiting: Waiting::Approval,
        deadline: LEASE,
        runner: None,
    };
    world.queue.wait(hold, &wait).await.unwrap();
    world.end_lease(job).await;
    let mut conn = world.owner.acquire().await.unwrap();
    let mut holding = conn.begin().await.unwrap();
    sqlx::query("update switchyard.job_keys set high_water = high_water")
        .execute(&mut *holding)
        .await
        .unwrap();
    // Who adds waits for the key, and will want the job; the reaper must not have it by then.
    let other = Arc::clone(&world);
    let mut adding = JoinSet::new();
    adding.spawn(async move {
        let keyed = NewJob {
            key: Some(("key", KeyMode::Replace)),
            ..NewJob::new(other.tenant, "task", nothing())
        };
        other.add(&keyed).await
    });
    until_waiting(&world, 1).await;
    let reaped = world.queue.reap(10).await.unwrap();
    assert_eq!(reaped, 0, "it is somebody's who adds");
    holding.commit().await.unwrap();
    adding.join_all().await;
    assert_eq!(world.state(job).await, Some(JobState::Superseded));
    world.check().await;
}
