//! What is measured is what is there, and measuring has a bound.

use std::time::Duration;

use queue::NewJob;
use queue::measure::{Counted, Presence, PriorityClass, Snapshot};
use serde_json::json;
use sqlx::{Acquire as _, Executor as _};
use uuid::Uuid;

use crate::world::{HOUR, World};

async fn measured(world: &World) -> Snapshot {
    assert!(world.queue.measure().await.unwrap());
    world.queue.measured().await.unwrap().unwrap().snapshot
}

fn count(snapshot: &Snapshot, task: Option<&str>, state: Counted) -> f64 {
    let counts = snapshot.counts.iter();
    counts
        .filter(|count| count.task.as_deref() == task && count.state == state)
        .map(|count| count.count)
        .sum()
}

#[tokio::test]
async fn a_measurement_tells_what_there_is() {
    let world = World::new().await;
    assert_eq!(world.queue.measured().await.unwrap(), None);
    world
        .execute("insert into switchyard.tasks (name, executor) values ('ours', 'builtin'), ('theirs', 'http')")
        .await;
    let payload = json!({});
    let new = NewJob::new(world.tenant, "ours", &payload);
    let urgent = NewJob {
        priority: -7,
        ..new.clone()
    };
    world.add(&urgent).await;
    let running = world.claim_one("ours").await;
    world.add(&new).await;
    world.add(&urgent).await;
    let later = NewJob {
        run_at: Some(now() + HOUR),
        ..new.clone()
    };
    world.add(&later).await;
    world
        .add(&NewJob::new(world.tenant, "unheard-of", &payload))
        .await;
    world
        .execute("update switchyard.jobs set run_at = now() - interval '10 minutes' where task = 'ours' and state = 'queued' and due and priority = 0")
        .await;
    world
        .execute("update switchyard.lanes set fronts = array_fill('-infinity'::timestamptz, array[cardinality(fronts)])")
        .await;
    let presence = Presence {
        worker: Uuid::new_v4(),
        function: "ours",
        slots: 4,
        used: 1,
    };
    world.queue.see_worker(presence).await.unwrap();

    let snapshot = measured(&world).await;
    assert!(!snapshot.sampled);
    assert_eq!(count(&snapshot, Some("ours"), Counted::Ready), 2.0);
    assert_eq!(count(&snapshot, Some("ours"), Counted::Later), 1.0);
    assert_eq!(count(&snapshot, Some("ours"), Counted::Running), 1.0);
    assert_eq!(count(&snapshot, None, Counted::Ready), 1.0);
    let urgent = snapshot
        .counts
        .iter()
        .find(|count| count.priority == PriorityClass::High && count.state == Counted::Ready);
    assert_eq!(urgent.map(|count| count.count), Some(1.0));
    let measured_at = world.queue.measured().await.unwrap().unwrap().taken_at;
    let head = |task: &str| {
        let head = snapshot
            .heads
            .iter()
            .find(|head| head.task.as_deref() == Some(task))
            .unwrap();
        (measured_at - head.oldest_ready_at).num_minutes()
    };
    assert_eq!(head("ours"), 10, "the oldest, whatever its priority");
    let unserved: Vec<_> = snapshot.unserved.iter().map(|it| &*it.task).collect();
    assert_eq!(unserved, ["unheard-of"]);
    assert_eq!(snapshot.held.len(), 1);
    assert_eq!((snapshot.held[0].running, snapshot.stuck), (1, 0));
    let workers = &snapshot.workers[0];
    assert_eq!((workers.alive, workers.slots, workers.used), (1, 4, 1));
    for (task, pool) in [("ours", "ours"), ("theirs", "task-http")] {
        let known = snapshot.tasks.iter().find(|known| known.name == task);
        assert_eq!(known.and_then(|known| known.pool.as_deref()), Some(pool));
    }
    assert!(snapshot.added >= 5);

    // A lease that nobody minds, a request to stop that nobody heeds, a worker that leaves.
    world
        .execute(format!(
            "update switchyard.jobs set lease_until = now() - interval '2 minutes' where id = {}",
            running.job
        ))
        .await;
    world
        .queue
        .cancel(world.tenant, running.job, "ada")
        .await
        .unwrap();
    world.queue.forget_worker(presence.worker).await.unwrap();
    let snapshot = measured(&world).await;
    assert_eq!(snapshot.stuck, 1);
    assert!(snapshot.oldest_cancel_at.is_some());
    assert_eq!(snapshot.workers, []);

    // The lock of a state that is held longest.
    assert_eq!(snapshot.oldest_state_lock_at, None);
    for (name, hours) in [("young", 1), ("old", 5)] {
        world
            .execute(format!(
                "insert into switchyard.terraform_states (id, database_id, name, lock_id, lock_holder, locked_at, locked_by)
                 select gen_random_uuid(), '{}', '{name}', 'a-lock', '{{}}', now() - interval '{hours} hours', 'Ann'",
                world.tenant.uuid()
            ))
            .await;
    }
    let held = measured(&world).await.oldest_state_lock_at;
    let hours = (chrono::Utc::now() - held.expect("one is held")).num_hours();
    assert_eq!(hours, 5);
}

#[tokio::test]
async fn what_is_paused_does_not_wait_for_anybody() {
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, executor) values ('ours', 'builtin')")
        .await;
    world
        .add(&NewJob::new(world.tenant, "ours", &json!({})))
        .await;
    assert_eq!(measured(&world).await.heads.len(), 1);
    world
        .execute("insert into switchyard.pauses (kind, task, by_whom) values ('pause', 'ours', 'operator')")
        .await;
    let snapshot = measured(&world).await;
    assert_eq!(snapshot.heads, []);
    assert_eq!(count(&snapshot, Some("ours"), Counted::Ready), 1.0);
}

#[tokio::test]
async fn the_age_of_the_oldest_snapshot_is_seen_though_others_sessions_are_not_ours_to_read() {
    let world = World::new().await;
    let mut holder = world.owner.acquire().await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    transaction
        .execute(
            "set transaction isolation level repeatable read; select 1 from switchyard.tenants",
        )
        .await
        .unwrap();
    // A tick that came when the snapshot was taken, ten minutes ago; and a transaction since.
    measured(&world).await;
    world
        .execute("update switchyard.xid_clock set at = at - interval '10 minutes'")
        .await;
    world.tenant().await;
    measured(&world).await;
    let age = measured(&world).await.oldest_snapshot_secs.unwrap();
    assert!(age > 590.0, "{age}");
    transaction.rollback().await.unwrap();
    let age = measured(&world).await.oldest_snapshot_secs;
    assert!(age.is_none_or(|age| age < 60.0), "{age:?}");
}

#[tokio::test]
async fn many_rows_are_estimated_from_a_part_of_them() {
    const ROWS: f64 = 400_000.0;
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, executor) values ('ours', 'builtin')")
        .await;
    world
        .add(&NewJob::new(world.tenant, "ours", &json!({})))
        .await;
    world
        .execute(format!(
            "insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
             select j.database_id, j.lane_id, j.task, n, true, now(), 5, jsonb_build_object('text', repeat('x', 100))
             from switchyard.jobs j, generate_series(1, {ROWS}) n"
        ))
        .await;
    let started = std::time::Instant::now();
    let snapshot = measured(&world).await;
    assert!(snapshot.sampled);
    let ready = count(&snapshot, Some("ours"), Counted::Ready);
    assert!((ready - ROWS).abs() < ROWS / 10.0, "{ready}");
    assert_eq!(snapshot.heads.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn now() -> chrono::DateTime<chrono::Utc> {
    std::time::SystemTime::now().into()
}
