//! A cancel, from the request to the record: in every state, with every exit, tried again and told again.

use std::time::Duration;

use model::{CancelOutcome, FinishReport, JobId, JobState, Waiting};
use queue::{Ended, Finish, Hold, NewJob, Wait};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::world::{HOUR, World, nothing};

const TASK: &str = "task";
/// For how long a try is somebody's alone.
const AT_IT: Duration = Duration::from_secs(30);

/// Where a job was when it was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Running,
    WithHandle,
    CallbackWithHandle,
    CallbackWithout,
}

const ALL: [Was; 4] = [
    Was::Running,
    Was::WithHandle,
    Was::CallbackWithHandle,
    Was::CallbackWithout,
];

/// How it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    Stopped,
    Retry,
    Snooze,
    Release,
    TimeOver,
    WaitApproval,
    StoppedByHandle,
    CannotBeStopped,
    NotYetStopped,
    SettledByHand,
}

const EXITS: [Exit; 12] = [
    Exit::Done,
    Exit::Failed,
    Exit::Stopped,
    Exit::Retry,
    Exit::Snooze,
    Exit::Release,
    Exit::TimeOver,
    Exit::WaitApproval,
    Exit::StoppedByHandle,
    Exit::CannotBeStopped,
    Exit::NotYetStopped,
    Exit::SettledByHand,
];

/// What becomes of it; written from the table of states, not from what the queue does.
fn expected(was: Was, exit: Exit) -> JobState {
    let handle = matches!(was, Was::WithHandle | Was::CallbackWithHandle);
    match exit {
        Exit::Done => JobState::Succeeded,
        Exit::Failed => JobState::Dead,
        Exit::Stopped | Exit::Retry | Exit::Snooze | Exit::Release | Exit::WaitApproval => {
            JobState::Cancelled
        }
        // What has a handle is stopped by it, however late.
        Exit::TimeOver if handle => JobState::Cancelling,
        Exit::TimeOver => JobState::Cancelled,
        Exit::StoppedByHandle if handle => JobState::Cancelled,
        Exit::StoppedByHandle
        | Exit::CannotBeStopped
        | Exit::NotYetStopped
        // By hand one settles what is queued or waits.
        | Exit::SettledByHand => JobState::Cancelling,
    }
}

fn runner() -> serde_json::Value {
    json!({"pod": "one"})
}

fn wait(waiting: Waiting, handle: bool) -> Wait {
    Wait {
        waiting,
        deadline: HOUR,
        runner: handle.then(runner),
    }
}

/// A job that was asked to stop.
async fn asked(world: &World, was: Was) -> Hold {
    world.add(&NewJob::new(world.tenant, TASK, nothing())).await;
    let hold = world.claim_one(TASK).await;
    let begun = match was {
        Was::Running => None,
        Was::WithHandle => Some(wait(Waiting::Runner, true)),
        Was::CallbackWithHandle => Some(wait(Waiting::Callback, true)),
        Was::CallbackWithout => Some(wait(Waiting::Callback, false)),
    };
    if let Some(begun) = begun {
        world.queue.wait(hold, &begun).await.unwrap();
    }
    let outcome = cancel(world, hold.job).await;
    assert_eq!(outcome, Some(CancelOutcome::Requested), "{was:?}");
    hold
}

async fn cancel(world: &World, job: JobId) -> Option<CancelOutcome> {
    world
        .queue
        .cancel(world.tenant, job, "a person")
        .await
        .unwrap()
}

fn end(hold: Hold, ended: Ended) -> Finish {
    Finish {
        hold,
        ended,
        reason: None,
        result: None,
    }
}

async fn leave(world: &World, hold: Hold, exit: Exit) {
    let queue = &world.queue;
    match exit {
        Exit::Done => {
            queue.finish(&[end(hold, Ended::Succeeded)]).await.unwrap();
        }
        Exit::Failed => {
            queue.finish(&[end(hold, Ended::Dead)]).await.unwrap();
        }
        Exit::Stopped => {
            queue.finish(&[end(hold, Ended::Cancelled)]).await.unwrap();
        }
        Exit::Retry => {
            queue.retry(hold, "broken", None).await.unwrap();
        }
        Exit::Snooze => {
            queue.snooze(hold, HOUR, "busy").await.unwrap();
        }
        Exit::Release => {
            queue.release(&[hold]).await.unwrap();
        }
        Exit::TimeOver => {
            world.end_lease(hold.job).await;
            queue.reap(100).await.unwrap();
        }
        Exit::WaitApproval => {
            let approval = wait(Waiting::Approval, false);
            queue.wait(hold, &approval).await.unwrap();
        }
        Exit::StoppedByHandle | Exit::CannotBeStopped | Exit::NotYetStopped => {
            // Without a handle there is nothing to take up.
            if queue.take_cancel(hold, AT_IT).await.unwrap().is_some() {
                let report = match exit {
                    Exit::StoppedByHandle => queue.cancel_applied(hold).await,
                    Exit::CannotBeStopped => queue.cancel_cannot(hold, "it has no end").await,
                    _ => queue.cancel_again(hold, "nobody answers").await,
                };
                assert_ne!(report.unwrap(), FinishReport::Stale);
            }
        }
        Exit::SettledByHand => {
            let settled = queue
                .settle(world.tenant, hold.job, Ended::Dead, "a person")
                .await
                .unwrap();
            assert!(!settled);
        }
    }
}

async fn events(world: &World, job: JobId) -> Vec<String> {
    sqlx::query_scalar("select kind from switchyard.job_events where job_id = $1 order by id")
        .bind(job.0)
        .fetch_all(&world.owner)
        .await
        .unwrap()
}

async fn count(world: &World, job: JobId, kind: &str) -> usize {
    let all = events(world, job).await;
    all.iter().filter(|event| *event == kind).count()
}

async fn text(world: &World, sql: String) -> String {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&world.owner)
        .await
        .unwrap()
}

/// What the relay has to publish of cancels.
async fn told(world: &World) -> i64 {
    world
        .number("select count(*) from switchyard.outbox where ce_type like '%cancel.requested%'")
        .await
}

/// The relay has published what there was.
async fn publish(world: &World) {
    world
        .execute("delete from switchyard.outbox where broker = 'work'")
        .await;
}

/// Lets so much time pass for those who wait to tell or to try again.
async fn pass(world: &World, interval: &str) {
    world
        .execute(format!(
            "update switchyard.jobs set cancel_requested_at = cancel_requested_at - interval '{interval}',
                cancel_told_at = cancel_told_at - interval '{interval}',
                cancel_try_at = cancel_try_at - interval '{interval}'"
        ))
        .await;
}

#[tokio::test]
async fn every_exit_of_a_job_that_was_asked_to_stop_is_one_outcome_on_record() {
    let world = World::new().await;
    for was in ALL {
        for exit in EXITS {
            let hold = asked(&world, was).await;
            leave(&world, hold, exit).await;
            let what = format!("{was:?}, then {exit:?}");
            let state = expected(was, exit);
            assert_eq!(world.state(hold.job).await, Some(state), "{what}");
            world.check().await;

            let too_late = count(&world, hold.job, "cancel_too_late").await;
            let own_end = matches!(state, JobState::Succeeded | JobState::Dead);
            assert_eq!(too_late, usize::from(own_end), "{what}");
            let cancelled = count(&world, hold.job, "cancelled").await;
            assert_eq!(
                cancelled,
                usize::from(state == JobState::Cancelled),
                "{what}"
            );
            if state == JobState::Cancelling {
                continue;
            }
            // Whatever comes later finds its hold over.
            for late in [Exit::Done, Exit::Stopped, Exit::Retry, Exit::TimeOver] {
                leave(&world, hold, late).await;
            }
            assert_eq!(
                world.queue.cancel_applied(hold).await.unwrap(),
                FinishReport::Stale
            );
            assert_eq!(world.state(hold.job).await, Some(state), "{what}");
            assert_eq!(
                cancel(&world, hold.job).await,
                Some(CancelOutcome::TooLate),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn before_any_worker_exists_a_cancel_is_applied_at_once() {
    let world = World::new().await;
    let ready = world.add(&NewJob::new(world.tenant, TASK, nothing())).await;
    let run_at = sqlx::query_scalar("select now() + interval '1 hour'")
        .fetch_one(&world.owner)
        .await
        .unwrap();
    let later = world
        .add(&NewJob {
            run_at: Some(run_at),
            ..NewJob::new(world.tenant, TASK, nothing())
        })
        .await;
    for job in [ready, later] {
        assert_eq!(cancel(&world, job).await, Some(CancelOutcome::Cancelled));
        assert_eq!(world.state(job).await, Some(JobState::Cancelled));
        assert_eq!(events(&world, job).await, ["cancel_requested", "cancelled"]);
    }
    assert_eq!(told(&world).await, 0, "there is nobody to tell");
    assert_eq!(world.claim(TASK, 10).await.len(), 0);
}

#[tokio::test]
async fn with_nobody_to_stop_it_work_outside_stays_visible_and_is_stopped_by_who_comes_first() {
    let world = World::new().await;
    let hold = asked(&world, Was::WithHandle).await;
    assert_eq!(told(&world).await, 1);
    // Its Service is scaled to nothing, or gone: the event finds nobody.
    publish(&world).await;
    assert_eq!(
        world.queue.republish_cancels(10).await.unwrap(),
        0,
        "too soon"
    );
    pass(&world, "20 seconds").await;
    assert_eq!(world.queue.republish_cancels(10).await.unwrap(), 1);
    assert_eq!(told(&world).await, 1);
    pass(&world, "1 hour").await;
    world.queue.republish_cancels(10).await.unwrap();
    assert_eq!(told(&world).await, 1, "it is still on its way");
    world.end_lease(hold.job).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 0);
    assert_eq!(world.state(hold.job).await, Some(JobState::Cancelling));

    let taken = world.queue.take_cancel(hold, AT_IT).await.unwrap().unwrap();
    assert_eq!((taken.runner, taken.tries), (runner(), 1));
    world.queue.cancel_applied(hold).await.unwrap();
    assert_eq!(
        events(&world, hold.job).await,
        [
            "waits",
            "cancel_requested",
            "cancel_acknowledged",
            "cancelled"
        ]
    );
    let confirmed = text(
        &world,
        format!(
            "select data ->> 'confirmed' from switchyard.job_events where job_id = {} and kind = 'cancelled'",
            hold.job
        ),
    )
    .await;
    assert_eq!(confirmed, "true");
}

#[tokio::test]
async fn who_is_not_heeded_tells_less_and_less_often() {
    let world = World::new().await;
    asked(&world, Was::WithHandle).await;
    let mut times = 0;
    // An hour, in steps of a reconciler's tick.
    for _ in 0..240 {
        publish(&world).await;
        pass(&world, "15 seconds").await;
        times += world.queue.republish_cancels(10).await.unwrap();
    }
    assert!((8..30).contains(&times), "{times} times in an hour");
}

#[tokio::test]
async fn that_a_worker_heard_is_on_record_once() {
    let world = World::new().await;
    let hold = asked(&world, Was::Running).await;
    let beat = world.queue.heartbeat(&[hold], AT_IT).await.unwrap();
    assert!(beat[0].held && beat[0].cancel);
    assert_eq!(world.queue.hear_cancels(&[hold]).await.unwrap(), 1);
    assert_eq!(world.queue.hear_cancels(&[hold]).await.unwrap(), 0);
    let stranger = Hold {
        epoch: hold.epoch + 1,
        ..hold
    };
    assert_eq!(world.queue.hear_cancels(&[stranger]).await.unwrap(), 0);
    leave(&world, hold, Exit::Stopped).await;
    assert_eq!(
        events(&world, hold.job).await,
        ["cancel_requested", "cancel_acknowledged", "cancelled"]
    );
}

#[tokio::test]
async fn one_replica_at_a_time_stops_work_outside() {
    let world = World::new().await;
    let hold = asked(&world, Was::WithHandle).await;
    let tries = taken_by(&world, hold, 8).await;
    assert_eq!(tries, 1, "of eight that hear of it at once");
    // It died with the try: after its time another may.
    assert!(
        world
            .queue
            .take_cancel(hold, AT_IT)
            .await
            .unwrap()
            .is_none()
    );
    pass(&world, "31 seconds").await;
    let taken = world.queue.take_cancel(hold, AT_IT).await.unwrap().unwrap();
    assert_eq!(taken.tries, 2);
    assert_eq!(count(&world, hold.job, "cancel_acknowledged").await, 1);
}

/// How many of so many that try at once get the try.
async fn taken_by(world: &World, hold: Hold, replicas: usize) -> usize {
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..replicas {
        let queue = world.queue.clone();
        tries.spawn(async move { queue.take_cancel(hold, AT_IT).await.unwrap().is_some() });
    }
    let got = tries.join_all().await;
    got.into_iter().filter(|got| *got).count()
}

#[tokio::test]
async fn a_stop_that_fails_is_tried_again_later_each_time_and_never_given_up() {
    let world = World::new().await;
    let hold = asked(&world, Was::WithHandle).await;
    let mut waits = Vec::new();
    for _ in 0..10 {
        assert!(
            world
                .queue
                .take_cancel(hold, AT_IT)
                .await
                .unwrap()
                .is_some()
        );
        world
            .queue
            .cancel_again(hold, "nobody answers")
            .await
            .unwrap();
        let wait: f64 = sqlx::query_scalar(
            "select extract(epoch from cancel_try_at - clock_timestamp())::float8 from switchyard.jobs",
        )
        .fetch_one(&world.owner)
        .await
        .unwrap();
        assert!(
            world
                .queue
                .take_cancel(hold, AT_IT)
                .await
                .unwrap()
                .is_none(),
            "too soon"
        );
        publish(&world).await;
        assert_eq!(
            world.queue.republish_cancels(10).await.unwrap(),
            0,
            "too soon"
        );
        waits.push(wait);
        pass(&world, "10 minutes").await;
        assert_eq!(world.queue.republish_cancels(10).await.unwrap(), 1);
    }
    assert!(waits[0] <= 5.0 && waits[0] > 2.0, "{waits:?}");
    assert!(waits[9] <= 600.0 && waits[9] > 299.0, "{waits:?}");
    assert_eq!(
        count(&world, hold.job, "cancel_retry_planned").await,
        1,
        "the same answer is no news"
    );
    let why = text(
        &world,
        "select cancel_error from switchyard.jobs".to_owned(),
    )
    .await;
    assert_eq!(why, "nobody answers");
    world.queue.take_cancel(hold, AT_IT).await.unwrap().unwrap();
    world
        .queue
        .cancel_cannot(hold, "it has no end")
        .await
        .unwrap();
    assert_eq!(count(&world, hold.job, "cancel_cannot").await, 1);
    assert_eq!(world.state(hold.job).await, Some(JobState::Cancelling));
}

#[tokio::test]
async fn a_person_who_asks_again_has_it_tried_again_now() {
    let world = World::new().await;
    let hold = asked(&world, Was::WithHandle).await;
    publish(&world).await;
    world.queue.take_cancel(hold, AT_IT).await.unwrap().unwrap();
    world
        .queue
        .cancel_cannot(hold, "no permission")
        .await
        .unwrap();
    assert!(
        world
            .queue
            .take_cancel(hold, AT_IT)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        cancel(&world, hold.job).await,
        Some(CancelOutcome::AlreadyRequested)
    );
    assert_eq!(told(&world).await, 1);
    assert!(
        world
            .queue
            .take_cancel(hold, AT_IT)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(count(&world, hold.job, "cancel_requested").await, 1);
}

#[tokio::test]
async fn a_handle_that_comes_after_the_request_is_used_at_once() {
    let world = World::new().await;
    let hold = asked(&world, Was::Running).await;
    assert!(
        world
            .queue
            .take_cancel(hold, AT_IT)
            .await
            .unwrap()
            .is_none()
    );
    let report = world
        .queue
        .wait(hold, &wait(Waiting::Runner, true))
        .await
        .unwrap();
    assert_eq!(report, FinishReport::Applied(JobState::Cancelling));
    assert!(
        world
            .queue
            .take_cancel(hold, AT_IT)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn work_outside_without_a_handle_says_that_it_cannot_be_stopped_and_ends_at_its_deadline() {
    let world = World::new().await;
    let hold = asked(&world, Was::CallbackWithout).await;
    assert_eq!(told(&world).await, 0, "nobody could do anything");
    assert_eq!(count(&world, hold.job, "cancel_cannot").await, 1);
    leave(&world, hold, Exit::TimeOver).await;
    let (state, reason): (String, String) =
        sqlx::query_as("select state::text, reason from switchyard.jobs_archive")
            .fetch_one(&world.owner)
            .await
            .unwrap();
    assert_eq!(state, "cancelled");
    assert!(reason.contains("not confirmed"), "{reason}");
}

#[tokio::test]
async fn a_cancel_that_races_the_end_leaves_one_outcome_and_says_which_came_first() {
    let world = World::new().await;
    for _ in 0..40 {
        world.add(&NewJob::new(world.tenant, TASK, nothing())).await;
        let hold = world.claim_one(TASK).await;
        let ends = [end(hold, Ended::Succeeded)];
        let (asked, ended) = tokio::join!(cancel(&world, hold.job), world.queue.finish(&ends));
        assert_eq!(
            ended.unwrap(),
            [(hold.job, FinishReport::Applied(JobState::Succeeded))]
        );
        assert_eq!(world.state(hold.job).await, Some(JobState::Succeeded));
        assert_eq!(count(&world, hold.job, "cancel_too_late").await, 1);
        match asked {
            Some(CancelOutcome::Requested) => {
                assert_eq!(count(&world, hold.job, "cancel_requested").await, 1);
            }
            Some(CancelOutcome::TooLate) => {
                assert_eq!(count(&world, hold.job, "cancel_requested").await, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    world.check().await;
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_is_on_record_once() {
    let world = World::new().await;
    let job = world.add(&NewJob::new(world.tenant, TASK, nothing())).await;
    let hold = world.claim_one(TASK).await;
    leave(&world, hold, Exit::Done).await;
    for _ in 0..3 {
        assert_eq!(cancel(&world, job).await, Some(CancelOutcome::TooLate));
    }
    assert_eq!(events(&world, job).await, ["cancel_too_late"]);
    let stranger = world.tenant().await;
    let asked = world
        .queue
        .cancel(stranger, job, "a stranger")
        .await
        .unwrap();
    assert_eq!(asked, None, "of another tenant's job nothing is known");
    assert_eq!(events(&world, job).await, ["cancel_too_late"]);
}

#[tokio::test]
async fn a_job_that_two_workers_in_a_row_left_behind_is_known() {
    let world = World::new().await;
    let mut holds = Vec::new();
    for _ in 0..2 {
        world.add(&NewJob::new(world.tenant, TASK, nothing())).await;
    }
    for round in 0..3 {
        holds = world
            .claim(TASK, 2)
            .await
            .iter()
            .map(|job| job.hold)
            .collect();
        holds.sort_by_key(|hold| hold.job.0);
        assert_eq!(holds.len(), 2);
        let known = world.queue.left_behind_twice(&holds).await.unwrap();
        if round < 2 {
            assert_eq!(known, [], "round {round}");
            world.end_lease(holds[0].job).await;
            if round == 0 {
                world.end_lease(holds[1].job).await;
            }
            world.queue.reap(10).await.unwrap();
            world.queue.release(&[holds[1]]).await.unwrap();
        } else {
            assert_eq!(known, [holds[0].job]);
        }
    }
    assert_eq!(holds.len(), 2);
}
