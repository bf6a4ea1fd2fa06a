//! Dead jobs: found, replayed and purged, one, many or all that match, whoever dies in the middle.

use model::{JobId, JobState, TenantId};
use queue::dead::{
    BulkJob, BulkProgress, BulkStep, DeadDeed, DeadFilter, ask_own, dead, purge_own, replay_own,
};
use queue::rules::{PauseKind, Scope};
use queue::{Added, Ended, Hold, NewJob, Progress, RuleError};
use serde_json::{Value, json};

use crate::rules::ANN;
use crate::world::{World, nothing};

impl World {
    /// Adds jobs of a task and lets them die, in their order.
    async fn die(&self, tenant: TenantId, task: &str, count: i32, reason: &str) -> Vec<JobId> {
        self.add_many(tenant, task, count).await;
        let mut jobs = Vec::new();
        // A claim may bring fewer than it could.
        while jobs.len() < usize::try_from(count).unwrap() {
            for job in self.claim(task, count).await {
                self.finish_as(job.hold, Ended::Dead, Some(reason)).await;
                jobs.push(job.hold.job);
            }
        }
        jobs
    }

    async fn ask(&self, deed: DeadDeed, filter: &DeadFilter) -> JobId {
        let mut tx = self.of(self.tenant).await;
        let job = ask_own(&mut tx, deed, filter, "ann").await.unwrap();
        tx.commit().await.unwrap();
        job
    }

    async fn bulk(&self) -> (Hold, BulkJob) {
        let claimed = self.claim("task-bulk", 1).await;
        assert_eq!(claimed.len(), 1);
        let bulk = serde_json::from_value(claimed[0].payload.clone()).unwrap();
        (claimed[0].hold, bulk)
    }

    async fn step(&self, (hold, bulk): &(Hold, BulkJob), limit: i32) -> BulkStep {
        self.queue.bulk_step(*hold, bulk, limit).await.unwrap()
    }

    async fn work_off(&self, bulk: &(Hold, BulkJob), limit: i32) -> BulkProgress {
        loop {
            match self.step(bulk, limit).await {
                BulkStep::More(_) => {}
                BulkStep::Over(progress) => return progress,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn queued(&self, task: &str) -> i64 {
        self.number(format!(
            "select count(*) from switchyard.jobs where task = '{task}' and state = 'queued'"
        ))
        .await
    }
}

fn of_task(task: &str) -> DeadFilter {
    DeadFilter {
        task: Some(task.to_owned()),
        ..DeadFilter::default()
    }
}

#[tokio::test]
async fn dead_jobs_are_found_by_what_they_are() {
    let world = World::new().await;
    let other = world.tenant().await;
    world.die(other, "a", 1, "Connection refused").await;
    let a = world.die(world.tenant, "a", 2, "Connection refused").await;
    let b = world.die(world.tenant, "b", 1, "no such file").await;
    let keyed = NewJob {
        queue_name: Some("queue"),
        key: Some(("key", model::KeyMode::Replace)),
        ..NewJob::new(world.tenant, "c", nothing())
    };
    world.add(&keyed).await;
    let hold = world.claim_one("c").await;
    world.finish_as(hold, Ended::Dead, None).await;
    let c = hold.job;
    let middle: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("select finished_at from switchyard.jobs_archive where id = $1")
            .bind(b[0].0)
            .fetch_one(&world.owner)
            .await
            .unwrap();
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (DeadFilter::default(), vec![c, b[0], a[1], a[0]]),
        (of_task("a"), vec![a[1], a[0]]),
        (
            DeadFilter {
                reason: text("CONNECTION ref"),
                ..DeadFilter::default()
            },
            vec![a[1], a[0]],
        ),
        (
            DeadFilter {
                reason: text("%"),
                ..DeadFilter::default()
            },
            vec![],
        ),
        (
            DeadFilter {
                queue: text("queue"),
                key: text("key"),
                ..DeadFilter::default()
            },
            vec![c],
        ),
        (
            DeadFilter {
                since: Some(middle),
                ..DeadFilter::default()
            },
            vec![c, b[0]],
        ),
        (
            DeadFilter {
                until: Some(middle),
                ..DeadFilter::default()
            },
            vec![a[1], a[0]],
        ),
    ] {
        let mut tx = world.of(world.tenant).await;
        let piece = dead(&mut tx, &filter, None, 50).await.unwrap();
        let found: Vec<_> = piece.jobs.iter().map(|job| job.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(piece.next, None);
        // The same, one by one.
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let piece = dead(&mut tx, &filter, after, 1).await.unwrap();
            found.extend(piece.jobs.iter().map(|job| job.id));
            after = piece.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_what_does_not_match() {
    let world = World::new().await;
    world
        .execute(format!(
            "insert into switchyard.jobs_archive (id, database_id, task, seq, state, priority, run_at, attempts,
                attempts_max, epoch, payload, depth, created_at, finished_at)
             select n, '{}', case when n % 5500 = 1 then 'rare' else 'task' end, n, 'dead', 0, now(), 1, 1, 1, '{{}}', 0,
                now(), now() + n * interval '1 ms'
             from generate_series(1, 12000) n",
            world.tenant.uuid()
        ))
        .await;
    let mut tx = world.of(world.tenant).await;
    let (mut after, mut found, mut reads) = (None, Vec::new(), 0);
    loop {
        let piece = dead(&mut tx, &of_task("rare"), after, 10).await.unwrap();
        found.extend(piece.jobs.iter().map(|job| job.id.0));
        reads += 1;
        after = piece.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, reads), (vec![11_001, 5501, 1], 3));
}

#[tokio::test]
async fn a_dead_job_is_replayed_once_and_then_names_who_took_over() {
    let world = World::new().await;
    let dead_job = world.die(world.tenant, "task", 1, "broken").await[0];
    let mut tx = world.of(world.tenant).await;
    let first = replay_own(&mut tx, &[dead_job, JobId(999_999)], "ann")
        .await
        .unwrap();
    let again = replay_own(&mut tx, &[dead_job], "ann").await.unwrap();
    assert_eq!(first[0].1, again[0].1);
    assert_eq!(first[1], (JobId(999_999), None));
    let left = dead(&mut tx, &DeadFilter::default(), None, 10)
        .await
        .unwrap();
    assert!(left.jobs.is_empty());
    tx.commit().await.unwrap();
    assert_eq!(world.queued("task").await, 1);
    let new = first[0].1.unwrap();
    let of = world
        .number(format!(
            "select replay_of from switchyard.jobs where id = {new}"
        ))
        .await;
    assert_eq!(JobId(of), dead_job);
    // It is another job: dead again, it can be replayed again.
    let hold = world.claim_one("task").await;
    world.finish_as(hold, Ended::Dead, None).await;
    let by = world.queue.replay(world.tenant, new, "ann").await.unwrap();
    assert!(by.is_some_and(|job| job != new));
}

#[tokio::test]
async fn another_tenants_dead_jobs_are_out_of_reach() {
    let world = World::new().await;
    let other = world.tenant().await;
    let foreign = world.die(other, "task", 2, "broken").await;
    let before = world.rows(other).await;
    let mut tx = world.of(world.tenant).await;
    let replayed = replay_own(&mut tx, &foreign, "ann").await.unwrap();
    assert!(replayed.iter().all(|(_, new)| new.is_none()));
    let purged = purge_own(&mut tx, &foreign, "ann").await.unwrap();
    assert!(purged.iter().all(|(_, purged)| !purged));
    ask_own(&mut tx, DeadDeed::Purge, &DeadFilter::default(), "ann")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let progress = world.work_off(&world.bulk().await, 100).await;
    assert_eq!(progress.of, 0);
    assert_eq!(world.rows(other).await, before);
}

#[tokio::test]
async fn all_that_match_are_replayed_by_a_job_in_the_order_of_their_death() {
    let world = World::new().await;
    let dead_jobs = world.die(world.tenant, "a", 7, "broken").await;
    world.die(world.tenant, "b", 3, "broken").await;
    let job = world.ask(DeadDeed::Replay, &of_task("a")).await;
    assert_eq!(
        world.ask(DeadDeed::Replay, &of_task("a")).await,
        job,
        "asked again while it is queued it is the same"
    );
    // What dies after it was asked for is not meant.
    world.die(world.tenant, "a", 1, "broken").await;
    let bulk = world.bulk().await;
    let progress = world.work_off(&bulk, 3).await;
    assert_eq!(
        (progress.done, progress.of, progress.did, progress.refused),
        (7, 7, 7, 0)
    );
    assert_eq!(progress.message, "7 replayed");
    assert_eq!(world.queued("a").await, 7);
    assert_eq!(world.queued("b").await, 0);
    let order: Vec<i64> = sqlx::query_scalar(
        "select replay_of from switchyard.jobs where task = 'a' and state = 'queued' order by id",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    let died: Vec<i64> = dead_jobs.iter().map(|job| job.0).collect();
    assert_eq!(order, died);
    // Asked for again, there is one left: the one that died later.
    world.finish_as(bulk.0, Ended::Succeeded, None).await;
    world.ask(DeadDeed::Replay, &of_task("a")).await;
    let progress = world.work_off(&world.bulk().await, 100).await;
    assert_eq!((progress.of, progress.did), (1, 1));
    world.check().await;
}

#[tokio::test]
async fn a_worker_that_dies_in_the_middle_repeats_nothing_and_loses_no_count() {
    let world = World::new().await;
    world.die(world.tenant, "a", 10, "broken").await;
    world.ask(DeadDeed::Replay, &of_task("a")).await;
    let first = world.bulk().await;
    for _ in 0..2 {
        assert!(matches!(world.step(&first, 3).await, BulkStep::More(_)));
    }
    world.end_lease(first.0.job).await;
    world.queue.reap(10).await.unwrap();
    let second = world.bulk().await;
    assert_eq!(second.0.job, first.0.job);
    // The one that was only slow comes back: it may not go on.
    assert_eq!(world.step(&first, 3).await, BulkStep::Stale);
    let progress = world.work_off(&second, 3).await;
    assert_eq!(
        (progress.done, progress.of, progress.did, progress.skipped),
        (10, 10, 10, 0)
    );
    assert_eq!(world.queued("a").await, 10);
    let twice = world
        .number("select count(*) - count(distinct replay_of) from switchyard.jobs where task = 'a'")
        .await;
    assert_eq!(twice, 0);
}

#[tokio::test]
async fn a_cancel_is_heard_before_the_next_part() {
    let world = World::new().await;
    world.die(world.tenant, "a", 10, "broken").await;
    let job = world.ask(DeadDeed::Purge, &of_task("a")).await;
    let bulk = world.bulk().await;
    world.step(&bulk, 4).await;
    world.queue.cancel(world.tenant, job, "ann").await.unwrap();
    assert_eq!(world.step(&bulk, 4).await, BulkStep::Stop);
    world.queue.release(&[bulk.0]).await.unwrap();
    assert_eq!(world.state(job).await, Some(JobState::Cancelled));
    let left = world
        .number("select count(*) from switchyard.jobs_archive where task = 'a'")
        .await;
    assert_eq!(left, 6);
}

#[tokio::test]
async fn what_may_not_be_added_stays_dead_and_is_told() {
    let world = World::new().await;
    world.die(world.tenant, "a", 2, "broken").await;
    world.die(world.tenant, "b", 3, "broken").await;
    let scope = Scope::TenantTask(world.tenant, "b");
    world
        .queue
        .pause(PauseKind::Drain, scope, ANN)
        .await
        .unwrap();
    world.ask(DeadDeed::Replay, &DeadFilter::default()).await;
    let progress = world.work_off(&world.bulk().await, 2).await;
    assert_eq!((progress.did, progress.refused), (2, 3));
    assert_eq!(progress.message, "2 replayed, 3 refused: drained");
    let mut tx = world.of(world.tenant).await;
    let left = dead(&mut tx, &DeadFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(left.jobs.len(), 3);
    let error = replay_own(&mut tx, &[left.jobs[0].id], "ann")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RuleError::Refused(text) if text.contains("the vendor is down")),
        "{error}"
    );
}

#[tokio::test]
async fn of_dead_jobs_with_one_key_the_latest_is_what_is_queued() {
    let world = World::new().await;
    for n in 0..3 {
        let payload = json!({ "n": n });
        let keyed = NewJob {
            key: Some(("key", model::KeyMode::Replace)),
            ..NewJob::new(world.tenant, "a", &payload)
        };
        world.add(&keyed).await;
        let hold = world.claim_one("a").await;
        world.finish_as(hold, Ended::Dead, None).await;
    }
    world.ask(DeadDeed::Replay, &DeadFilter::default()).await;
    let progress = world.work_off(&world.bulk().await, 2).await;
    assert_eq!(progress.did, 3);
    let payload: Value = sqlx::query_scalar(
        "select payload from switchyard.jobs where state = 'queued' and task = 'a'",
    )
    .fetch_one(&world.owner)
    .await
    .unwrap();
    assert_eq!(payload, json!({"n": 2}));
    world.check().await;
}

#[tokio::test]
async fn two_bulk_jobs_and_people_share_the_work_without_repeating_it() {
    let world = World::new().await;
    let jobs = world.die(world.tenant, "a", 40, "broken").await;
    let other = world.die(world.tenant, "b", 1, "broken").await;
    world.ask(DeadDeed::Replay, &of_task("a")).await;
    let bulk = world.bulk().await;
    let ids = jobs.clone();
    let by_hand = async {
        for job in ids.iter().rev().step_by(2) {
            world.queue.replay(world.tenant, *job, "ann").await.unwrap();
        }
    };
    let (progress, ()) = tokio::join!(world.work_off(&bulk, 4), by_hand);
    assert!(progress.did + progress.skipped <= 40);
    assert_eq!(world.queued("a").await, 40);
    let twice = world
        .number("select count(*) - count(distinct replay_of) from switchyard.jobs where task = 'a'")
        .await;
    assert_eq!(twice, 0);
    assert_eq!(world.state(other[0]).await, Some(JobState::Dead));
    // For one tenant they run one after the other.
    world.ask(DeadDeed::Purge, &of_task("b")).await;
    assert!(world.claim("task-bulk", 5).await.is_empty());
}

#[tokio::test]
async fn progress_is_told_by_the_holder_alone() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 1).await;
    let hold = world.claim_one("task").await;
    let progress = Progress {
        done: Some(3),
        of: Some(10),
        message: Some(format!("\0{}", "x".repeat(5000))),
    };
    let stale = Hold {
        epoch: hold.epoch - 1,
        ..hold
    };
    assert!(
        !world
            .queue
            .set_progress(stale, progress.clone())
            .await
            .unwrap()
    );
    assert!(world.queue.set_progress(hold, progress).await.unwrap());
    let told: Value = sqlx::query_scalar("select progress from switchyard.jobs")
        .fetch_one(&world.owner)
        .await
        .unwrap();
    assert_eq!((&told["done"], &told["of"]), (&json!(3), &json!(10)));
    assert!(told["message"].as_str().unwrap().len() <= 1000);
    world.finish_as(hold, Ended::Succeeded, None).await;
    assert!(
        !world
            .queue
            .set_progress(hold, Progress::default())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_replay_while_one_with_its_key_is_queued_takes_its_place() {
    let world = World::new().await;
    let keyed = NewJob {
        key: Some(("key", model::KeyMode::Replace)),
        ..NewJob::new(world.tenant, "a", nothing())
    };
    world.add(&keyed).await;
    let hold = world.claim_one("a").await;
    world.finish_as(hold, Ended::Dead, None).await;
    let Added::Added(queued) = world.queue.add(&keyed).await.unwrap() else {
        panic!("nothing is queued");
    };
    let new = world
        .queue
        .replay(world.tenant, hold.job, "ann")
        .await
        .unwrap();
    assert_eq!(world.state(queued).await, Some(JobState::Superseded));
    assert_eq!(world.state(new.unwrap()).await, Some(JobState::Queued));
}
