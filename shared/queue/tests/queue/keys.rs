//! At most one pending and one worked on; newest by acceptance.

use std::time::Duration;

use model::{FinishReport, JobId, JobState, KeyMode, Waiting};
use queue::{Added, Ended, Finish, NewJob, Wait};
use serde_json::json;

use crate::world::{HOUR, World, nothing};

fn keyed(world: &World, mode: KeyMode) -> NewJob<'static> {
    NewJob {
        key: Some(("key", mode)),
        ..NewJob::new(world.tenant, "task", nothing())
    }
}

/// Adds a job of an event that was accepted as number `seq`.
async fn add_event(world: &World, seq: i64) -> (JobId, String) {
    let (job, outcome): (i64, String) = sqlx::query_as(
        "select job_id, outcome from switchyard.add_job($1, 'task', '{}', p_key => 'key', p_seq => $2)",
    )
    .bind(world.tenant.uuid())
    .bind(seq)
    .fetch_one(&world.owner)
    .await
    .unwrap();
    (JobId(job), outcome)
}

#[tokio::test]
async fn a_late_event_is_superseded_at_once_also_when_the_newer_has_finished() {
    let world = World::new().await;
    let (newer, outcome) = add_event(&world, 1020).await;
    assert_eq!(outcome, "added");
    for finished in [false, true] {
        if finished {
            let hold = world.claim_one("task").await;
            assert_eq!(hold.job, newer);
            let end = Finish {
                hold,
                ended: Ended::Succeeded,
                reason: None,
                result: None,
            };
            world.queue.finish(&[end]).await.unwrap();
        }
        let (late, outcome) = add_event(&world, 1010).await;
        assert_eq!(outcome, "superseded");
        assert_eq!(world.state(late).await, Some(JobState::Superseded));
        world.check().await;
    }
    let key: String =
        sqlx::query_scalar("select key from switchyard.jobs_archive where seq = 1010 limit 1")
            .fetch_one(&world.owner)
            .await
            .unwrap();
    assert_eq!(key, "key", "the archive knows its key");
    let (_, outcome) = add_event(&world, 1030).await;
    assert_eq!(outcome, "added");
}

#[tokio::test]
async fn preserve_takes_the_newer_payload_with_all_that_led_to_it() {
    let world = World::new().await;
    let first = world.add(&keyed(&world, KeyMode::Replace)).await;
    let event = uuid::Uuid::new_v4();
    sqlx::query(
        "select switchyard.add_job($1, 'task', '{\"n\": 2}', p_key => 'key', p_key_mode => 'preserve',
            p_event_id => $2, p_correlation_id => 'dlv_2', p_causation_id => 'evt_2', p_depth => 3)",
    )
    .bind(world.tenant.uuid())
    .bind(event)
    .execute(&world.owner)
    .await
    .unwrap();
    let row: serde_json::Value = sqlx::query_scalar(
        "select jsonb_build_array(id, payload, event_id, correlation_id, causation_id, depth) from switchyard.jobs",
    )
    .fetch_one(&world.owner)
    .await
    .unwrap();
    assert_eq!(row, json!([first.0, {"n": 2}, event, "dlv_2", "evt_2", 3]));
    let other = json!({"n": 3});
    let job = NewJob {
        payload: &other,
        ..keyed(&world, KeyMode::Ignore)
    };
    assert_eq!(world.queue.add(&job).await.unwrap(), Added::Kept(first));
    let claimed = world.claim("task", 1).await;
    assert_eq!(claimed[0].payload, json!({"n": 2}));
}

/// In how many seconds the queued job is due, and since when, in seconds, it has been put off.
async fn due_in(world: &World) -> (i64, Option<i64>) {
    sqlx::query_as(
        "select round(extract(epoch from run_at - now()))::bigint,
            round(extract(epoch from now() - put_off_since))::bigint
         from switchyard.jobs where state = 'queued'",
    )
    .fetch_one(&world.owner)
    .await
    .unwrap()
}

/// As if what is known of the queued job had been so long ago.
async fn let_pass(world: &World, secs: u32) {
    let moved = world
        .execute(format!(
            "update switchyard.jobs set created_at = created_at - interval '{secs} s',
                put_off_since = put_off_since - interval '{secs} s', run_at = run_at - interval '{secs} s'
             where state = 'queued' and not due"
        ))
        .await;
    assert_eq!(moved, 1);
}

#[tokio::test]
async fn a_debounced_job_waits_for_silence_but_ten_times_as_long_at_most() {
    for mode in [KeyMode::Replace, KeyMode::Preserve] {
        let world = World::new().await;
        let add = async |n: i64, mode: KeyMode| {
            let payload = json!({ "n": n });
            let job = NewJob {
                payload: &payload,
                debounce: Some(Duration::from_secs(10)),
                ..keyed(&world, mode)
            };
            world.queue.add(&job).await.unwrap()
        };
        let near = |(due, since): (i64, Option<i64>), secs: i64, put_off: Option<i64>| {
            let off = |a: i64, b: i64| (a - b).abs() <= 1;
            let same = match (since, put_off) {
                (Some(since), Some(put_off)) => off(since, put_off),
                (since, put_off) => since == put_off,
            };
            assert!(off(due, secs) && same, "{mode:?}: {due} {since:?}");
        };
        let first = add(1, mode).await;
        near(due_in(&world).await, 10, None);
        assert!(world.claim("task", 5).await.is_empty());
        let_pass(&world, 9).await;
        let second = add(2, mode).await;
        assert_eq!(first.job() == second.job(), mode == KeyMode::Preserve);
        near(due_in(&world).await, 10, Some(9));
        // One that leaves it as it is does not put it off either.
        let_pass(&world, 4).await;
        assert_eq!(add(0, KeyMode::Ignore).await, Added::Kept(second.job()));
        near(due_in(&world).await, 6, Some(13));
        // The wait has an end however often another comes.
        let_pass(&world, 5).await;
        world
            .execute("update switchyard.jobs set put_off_since = now() - interval '96 s'")
            .await;
        add(3, mode).await;
        near(due_in(&world).await, 4, Some(96));
        let_pass(&world, 3).await;
        world
            .execute("update switchyard.jobs set put_off_since = now() - interval '101 s'")
            .await;
        let last = add(4, mode).await;
        let claimed = world.claim("task", 5).await;
        let taken: Vec<_> = claimed
            .iter()
            .map(|job| (job.hold.job, &job.payload))
            .collect();
        assert_eq!(taken, [(last.job(), &json!({"n": 4}))], "{mode:?}");
        world.check().await;
        // What comes while it is worked on waits for silence anew.
        add(5, mode).await;
        near(due_in(&world).await, 10, None);
    }
}

#[tokio::test]
async fn a_head_that_is_put_off_lets_its_queue_go_on() {
    let world = World::new().await;
    let head = NewJob {
        queue_name: Some("queue"),
        ..keyed(&world, KeyMode::Preserve)
    };
    let first = world.add(&head).await;
    let other = NewJob {
        queue_name: Some("queue"),
        ..NewJob::new(world.tenant, "other", nothing())
    };
    let second = world.add(&other).await;
    let put_off = NewJob {
        debounce: Some(HOUR),
        ..head
    };
    assert_eq!(world.queue.add(&put_off).await.unwrap(), Added::Kept(first));
    world.check().await;
    // Who is told comes, and finds that it is another's turn.
    assert!(world.claim("task", 1).await.is_empty());
    assert_eq!(world.claim_one("other").await.job, second);
    world.check().await;
}

#[tokio::test]
async fn the_second_of_a_key_waits_behind_the_first_and_a_third_replaces_it() {
    let world = World::new().await;
    let first = world.add(&keyed(&world, KeyMode::Replace)).await;
    let hold = world.claim_one("task").await;
    let second = world.add(&keyed(&world, KeyMode::Replace)).await;
    assert!(
        world.claim("task", 5).await.is_empty(),
        "its key is being worked on"
    );
    assert!(
        world.queue.claimable(5).await.unwrap().is_empty(),
        "so nobody is told of it"
    );
    let third = world.add(&keyed(&world, KeyMode::Replace)).await;
    assert_eq!(world.state(second).await, Some(JobState::Superseded));
    assert_eq!(world.state(first).await, Some(JobState::Running));
    let report = world.queue.retry(hold, "broken", None).await.unwrap();
    assert_eq!(
        report,
        FinishReport::Applied(JobState::Superseded),
        "a newer one is pending"
    );
    assert_eq!(world.claim_one("task").await.job, third);
    world.check().await;
}

#[tokio::test]
async fn what_cannot_be_taken_for_its_key_stands_in_nobodys_way() {
    let world = World::new().await;
    world.add(&keyed(&world, KeyMode::Replace)).await;
    world.claim_one("task").await;
    world.add(&keyed(&world, KeyMode::Replace)).await;
    // Another lane of the tenant, and another tenant.
    let queue = NewJob {
        queue_name: Some("queue"),
        ..NewJob::new(world.tenant, "task", nothing())
    };
    let in_queue = world.add(&queue).await;
    let stranger = world.tenant().await;
    let of_stranger = world.add(&NewJob::new(stranger, "task", nothing())).await;
    let mut got = [
        world.claim_one("task").await.job,
        world.claim_one("task").await.job,
    ];
    got.sort();
    assert_eq!(got, [in_queue, of_stranger]);
    world.check().await;
}

#[tokio::test]
async fn a_retry_and_a_newer_job_that_meet_do_not_fail() {
    let world = World::new().await;
    for newer_first in [true, false] {
        world.add(&keyed(&world, KeyMode::Replace)).await;
        let hold = world.claim_one("task").await;
        let mut conn = world.owner.acquire().await.unwrap();
        sqlx::raw_sql("begin").execute(&mut *conn).await.unwrap();
        let job = keyed(&world, KeyMode::Replace);
        let retry = world.queue.retry(hold, "broken", Some(HOUR));
        let (retried, newer) = if newer_first {
            let newer = queue::enqueue(&mut conn, &job).await.unwrap();
            let commit = sqlx::raw_sql("commit").execute(&mut *conn);
            let (retried, committed) = tokio::join!(retry, commit);
            committed.unwrap();
            (retried.unwrap(), newer)
        } else {
            sqlx::query("select switchyard.retry_job($1, $2, 'broken', '1 hour')")
                .bind(hold.job.0)
                .bind(hold.epoch)
                .execute(&mut *conn)
                .await
                .unwrap();
            let add = world.queue.add(&job);
            let commit = sqlx::raw_sql("commit").execute(&mut *conn);
            let (added, committed) = tokio::join!(add, commit);
            committed.unwrap();
            (FinishReport::Applied(JobState::Superseded), added.unwrap())
        };
        assert_eq!(retried, FinishReport::Applied(JobState::Superseded));
        assert_eq!(world.state(hold.job).await, Some(JobState::Superseded));
        assert_eq!(world.state(newer.job()).await, Some(JobState::Queued));
        world.check().await;
        world
            .queue
            .cancel(world.tenant, newer.job(), "a test")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_approval_and_a_newer_job_that_meet_do_not_fail() {
    let world = World::new().await;
    for round in 0..20 {
        world.add(&keyed(&world, KeyMode::Replace)).await;
        let hold = world.claim_one("task").await;
        let wait = Wait {
            waiting: Waiting::Approval,
            deadline: HOUR,
            runner: None,
        };
        world.queue.wait(hold, &wait).await.unwrap();
        let job = keyed(&world, KeyMode::Replace);
        let (approved, added) = tokio::join!(
            world.queue.approve(world.tenant, hold.job, "a test"),
            world.queue.add(&job)
        );
        approved.unwrap();
        let added = added.unwrap().job();
        assert_eq!(
            world.state(hold.job).await,
            Some(JobState::Superseded),
            "round {round}"
        );
        assert_eq!(world.state(added).await, Some(JobState::Queued));
        world.check().await;
        world
            .queue
            .cancel(world.tenant, added, "a test")
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_and_one_is_pending_whatever_is_added_and_worked_at_once() {
    let world = std::sync::Arc::new(World::new().await);
    let mut all = tokio::task::JoinSet::new();
    for adder in 0..8 {
        let adding = world.clone();
        all.spawn(async move {
            for _ in 0..40 {
                let mode = [KeyMode::Replace, KeyMode::Preserve, KeyMode::Ignore][adder % 3];
                adding.queue.add(&keyed(&adding, mode)).await.unwrap();
            }
        });
        let world = world.clone();
        all.spawn(async move {
            for round in 0..40 {
                for job in world.claim("task", 5).await {
                    if round % 3 == 0 {
                        world.queue.retry(job.hold, "broken", Some(Duration::ZERO)).await.unwrap();
                    } else {
                        let end = Finish { hold: job.hold, ended: Ended::Succeeded, reason: None, result: None };
                        world.queue.finish(&[end]).await.unwrap();
                    }
                }
                let most: Option<i64> = sqlx::query_scalar(
                    "select max(count) from (select count(*) from switchyard.jobs group by state = 'queued') c",
                )
                .fetch_one(&world.owner)
                .await
                .unwrap();
                assert!(most.unwrap_or(0) <= 1, "at most one of each");
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    world.check().await;
}
