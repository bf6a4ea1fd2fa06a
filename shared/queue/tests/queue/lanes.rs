//! Named queues, and lanes that must not sleep over work.

use std::time::Duration;

use model::{JobState, KeyMode};
use queue::{Ended, Finish, Hold, NewJob};

use crate::world::{HOUR, World, nothing};

fn of_queue<'a>(world: &World, task: &'a str) -> NewJob<'a> {
    NewJob {
        queue_name: Some("queue"),
        ..NewJob::new(world.tenant, task, nothing())
    }
}

async fn finish(world: &World, hold: Hold) {
    let end = Finish {
        hold,
        ended: Ended::Succeeded,
        reason: None,
        result: None,
    };
    world.queue.finish(&[end]).await.unwrap();
}

#[tokio::test]
async fn a_named_queue_runs_one_at_a_time_in_order() {
    let world = World::new().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(world.add(&of_queue(&world, "task")).await);
    }
    let urgent = world
        .add(&NewJob {
            priority: -1,
            ..of_queue(&world, "task")
        })
        .await;
    jobs.insert(0, urgent);
    for job in jobs {
        let hold = world.claim_one("task").await;
        assert_eq!(hold.job, job);
        assert!(world.claim("task", 10).await.is_empty(), "one at a time");
        world.check().await;
        finish(&world, hold).await;
    }
}

#[tokio::test]
async fn a_job_that_waits_for_its_retry_holds_its_queue() {
    let world = World::new().await;
    let first = world.add(&of_queue(&world, "task")).await;
    world
        .add(&NewJob {
            priority: -5,
            ..of_queue(&world, "task")
        })
        .await;
    let hold = world.claim("task", 1).await[0].hold;
    // The more urgent one came second and was taken first; it holds the queue now.
    assert_ne!(hold.job, first);
    world.queue.retry(hold, "broken", Some(HOUR)).await.unwrap();
    world.check().await;
    assert!(world.claim("task", 10).await.is_empty());
    let more_urgent = world
        .add(&NewJob {
            priority: -9,
            ..of_queue(&world, "task")
        })
        .await;
    world.come_due(hold.job).await;
    let again = world.claim_one("task").await;
    assert_eq!(again.job, hold.job, "what was begun comes first");
    world.check().await;
    finish(&world, again).await;
    assert_eq!(world.claim_one("task").await.job, more_urgent);
}

#[tokio::test]
async fn a_retry_gives_way_to_a_newer_job_with_its_key() {
    let world = World::new().await;
    let keyed = NewJob {
        key: Some(("key", KeyMode::Replace)),
        ..of_queue(&world, "task")
    };
    world.add(&keyed).await;
    let hold = world.claim_one("task").await;
    let behind = world.add(&of_queue(&world, "task")).await;
    world.queue.retry(hold, "broken", Some(HOUR)).await.unwrap();
    let newer = world.add(&keyed).await;
    assert_eq!(world.state(hold.job).await, Some(JobState::Superseded));
    world.check().await;
    for job in [behind, newer] {
        let hold = world.claim_one("task").await;
        assert_eq!(hold.job, job);
        finish(&world, hold).await;
    }
}

#[tokio::test]
async fn a_queue_of_two_tasks_keeps_its_order_and_tells_whose_turn_it_is() {
    let world = World::new().await;
    let first = world.add(&of_queue(&world, "one")).await;
    let second = world.add(&of_queue(&world, "other")).await;
    let third = world.add(&of_queue(&world, "one")).await;
    for (job, task, stranger) in [
        (first, "one", "other"),
        (second, "other", "one"),
        (third, "one", "other"),
    ] {
        assert!(
            world.claim(stranger, 5).await.is_empty(),
            "it is not {stranger}'s turn"
        );
        let claimable = world.queue.claimable(5).await.unwrap();
        assert_eq!((claimable[0].task.as_str(), claimable[0].job), (task, job));
        let hold = world.claim_one(task).await;
        assert_eq!(hold.job, job);
        finish(&world, hold).await;
        world.check().await;
    }
}

#[tokio::test]
async fn a_queue_that_rested_wakes_with_the_task_of_its_new_job() {
    let world = World::new().await;
    world.add(&of_queue(&world, "gone")).await;
    let hold = world.claim_one("gone").await;
    finish(&world, hold).await;
    assert!(
        world.claim("gone", 1).await.is_empty(),
        "which puts the lane to rest"
    );
    let job = world.add(&of_queue(&world, "task")).await;
    assert_eq!(world.claim_one("task").await.job, job);
}

#[tokio::test]
async fn a_head_whose_key_is_worked_on_elsewhere_is_waited_for() {
    let world = World::new().await;
    let key = Some(("key", KeyMode::Replace));
    world
        .add(&NewJob {
            key,
            ..NewJob::new(world.tenant, "task", nothing())
        })
        .await;
    let elsewhere = world.claim_one("task").await;
    let head = world
        .add(&NewJob {
            key,
            ..of_queue(&world, "task")
        })
        .await;
    let behind = world.add(&of_queue(&world, "task")).await;
    assert!(
        world.claim("task", 5).await.is_empty(),
        "order is what a queue is for"
    );
    finish(&world, elsewhere).await;
    let hold = world.claim_one("task").await;
    assert_eq!(hold.job, head);
    finish(&world, hold).await;
    assert_eq!(world.claim_one("task").await.job, behind);
}

#[tokio::test]
async fn a_retry_in_a_capped_lane_of_a_task_does_not_hold_it() {
    let world = World::new().await;
    for _ in 0..4 {
        world
            .add(&NewJob::new(world.tenant, "task", nothing()))
            .await;
    }
    world.execute("update switchyard.lanes set cap = 2").await;
    let claimed = world.claim("task", 10).await;
    assert_eq!(claimed.len(), 2, "the cap");
    world
        .queue
        .retry(claimed[0].hold, "broken", Some(HOUR))
        .await
        .unwrap();
    world.check().await;
    assert_eq!(world.claim("task", 10).await.len(), 1, "its place is free");
    world.check().await;
}

#[tokio::test]
async fn a_lane_never_rests_while_a_job_is_about_to_be_seen() {
    let world = World::new().await;
    let job = NewJob::new(world.tenant, "task", nothing());
    for lane_rests in [false, true] {
        world.add(&job).await;
        let hold = world.claim_one("task").await;
        finish(&world, hold).await;
        if lane_rests {
            world.rest("task").await;
        }
        let mut conn = world.owner.acquire().await.unwrap();
        sqlx::raw_sql("begin").execute(&mut *conn).await.unwrap();
        let added = queue::enqueue(&mut conn, &job).await.unwrap().job();
        // Nothing to see yet; the claim must neither wait nor put the lane to rest.
        let claimed = tokio::time::timeout(Duration::from_secs(5), world.claim("task", 5)).await;
        assert!(claimed.expect("does not wait").is_empty());
        sqlx::raw_sql("commit").execute(&mut *conn).await.unwrap();
        world.check().await;
        let hold = world.claim_one("task").await;
        assert_eq!(hold.job, added);
        finish(&world, hold).await;
    }
}
