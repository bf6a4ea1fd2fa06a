//! Runs: a job that waits for a runner, what the runner says of it, and what becomes of one that is not heard of.

use std::time::Duration;

use model::run::{RunEnd, RunNews, RunOver, RunReport, StepNews, StepState, Then};
use model::{FinishReport, JobState, LogStream};
use queue::executors::Heard;
use queue::runs::{Begun, NewRun, NewsHeard, RunState, SpecFound};
use queue::{Hold, NewJob};
use serde_json::json;

use crate::world::World;

const TASK: &str = "task-outside";
const LEASE: Duration = Duration::from_secs(30);

fn run<'a>(steps: &'a [String], handle: &'a serde_json::Value) -> NewRun<'a> {
    NewRun {
        phase: "plan",
        launcher: "local",
        spec: b"sealed",
        handle,
        steps,
        start_within: Duration::from_secs(60),
        lease: LEASE,
        time: Duration::from_secs(3600),
        then: Then::Finish,
        retry: false,
    }
}

fn over(end: RunEnd) -> RunOver {
    RunOver {
        end,
        reason: (end != RunEnd::Succeeded).then(|| "step plan: exit code 1".to_owned()),
        report: RunReport::default(),
    }
}

fn lines(first: u64, texts: &[&str]) -> RunNews {
    RunNews {
        first,
        lines: texts
            .iter()
            .map(|text| (LogStream::Stdout, (*text).to_owned()))
            .collect(),
        ..RunNews::default()
    }
}

impl World {
    async fn claimed(&self) -> Hold {
        self.claim_one(TASK).await
    }

    async fn begun(&self, with: impl FnOnce(&mut NewRun<'_>)) -> Hold {
        let payload = json!({});
        self.add(&NewJob::new(self.tenant, TASK, &payload)).await;
        let hold = self.claimed().await;
        let (steps, handle) = (
            vec!["init".to_owned(), "plan".to_owned()],
            json!({"local": 1}),
        );
        let mut new = run(&steps, &handle);
        with(&mut new);
        assert_eq!(
            self.queue.begin_run(hold, &new).await.unwrap(),
            Begun::Waiting
        );
        hold
    }

    async fn news(&self, hold: Hold, news: &RunNews) -> NewsHeard {
        self.queue.run_news(self.tenant, hold, news).await.unwrap()
    }

    async fn taken(&self, hold: Hold, news: &RunNews) -> (u64, bool) {
        match self.news(hold, news).await {
            NewsHeard::Taken(taken) => (taken.lines, taken.cancel),
            other => panic!("{other:?}"),
        }
    }

    async fn ends(&self, hold: Hold, end: RunEnd) -> Heard {
        self.queue
            .end_run(self.tenant, hold, &over(end))
            .await
            .unwrap()
    }

    async fn log(&self, hold: Hold) -> Vec<(i64, String)> {
        sqlx::query_as(
            "select seq, line from switchyard.job_logs where job_id = $1 order by epoch, seq",
        )
        .bind(hold.job.0)
        .fetch_all(&self.owner)
        .await
        .unwrap()
    }

    async fn kinds(&self, hold: Hold) -> Vec<String> {
        sqlx::query_scalar("select kind from switchyard.job_events where job_id = $1 order by id")
            .bind(hold.job.0)
            .fetch_all(&self.owner)
            .await
            .unwrap()
    }

    async fn run_state(&self, hold: Hold) -> RunState {
        self.queue
            .last_run(self.tenant, hold.job)
            .await
            .unwrap()
            .unwrap()
            .state
    }

    /// Nobody looked at leases for this long.
    async fn away(&self, seconds: f64) {
        sqlx::query("update switchyard.reaper set ticked_at = clock_timestamp() - make_interval(secs => $1)")
            .bind(seconds)
            .execute(&self.owner)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn lines_are_numbered_once_whatever_is_sent_again() {
    let world = World::new().await;
    let payload = json!({});
    world.add(&NewJob::new(world.tenant, TASK, &payload)).await;
    let hold = world.claimed().await;
    // The task wrote before it let go.
    let said = model::LogLine {
        seq: 1,
        stream: LogStream::Task,
        text: "made a plan".to_owned(),
    };
    assert!(world.queue.append_log(hold, &[said]).await.unwrap());
    let (steps, handle) = (vec!["init".to_owned()], json!({}));
    world
        .queue
        .begin_run(hold, &run(&steps, &handle))
        .await
        .unwrap();

    assert_eq!(world.taken(hold, &lines(1, &["a", "b"])).await.0, 2);
    assert_eq!(
        world.taken(hold, &lines(1, &["a", "b"])).await.0,
        2,
        "again"
    );
    assert_eq!(
        world.taken(hold, &lines(2, &["b", "c"])).await.0,
        3,
        "overlapping"
    );
    assert_eq!(
        world.taken(hold, &lines(5, &["e"])).await.0,
        3,
        "after a gap"
    );
    assert_eq!(world.taken(hold, &RunNews::default()).await.0, 3, "none");
    assert_eq!(world.taken(hold, &lines(4, &["d", "e\0"])).await.0, 5);
    let log = world.log(hold).await;
    let texts: Vec<&str> = log.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(texts, ["made a plan", "a", "b", "c", "d", "e\u{fffd}"]);
    let seqs: Vec<i64> = log.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6], "without gaps");
}

#[tokio::test]
async fn batches_that_come_together_and_in_any_order_are_there_once() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    let all: Vec<String> = (1..=60).map(|n| format!("line {n}")).collect();
    loop {
        let batches = (0..6).map(|batch| {
            let texts: Vec<&str> = all[batch * 10..batch * 10 + 10]
                .iter()
                .map(String::as_str)
                .collect();
            let news = lines(batch as u64 * 10 + 1, &texts);
            let world = &world;
            async move { world.taken(hold, &news).await.0 }
        });
        let there = futures::future::join_all(batches).await;
        if there.into_iter().max() == Some(60) {
            break;
        }
    }
    let texts: Vec<String> = world
        .log(hold)
        .await
        .into_iter()
        .map(|(_, line)| line)
        .collect();
    assert_eq!(texts, all);
}

#[tokio::test]
async fn the_first_end_counts_and_the_same_again_is_no_news() {
    let world = World::new().await;
    for (first, other, becomes) in [
        (RunEnd::Succeeded, RunEnd::Failed, JobState::Succeeded),
        (RunEnd::Failed, RunEnd::Succeeded, JobState::Dead),
    ] {
        let hold = world.begun(|_| ()).await;
        assert_eq!(
            world.ends(hold, first).await,
            Heard::Applied {
                state: becomes,
                cancel: false
            }
        );
        assert_eq!(
            world.ends(hold, first).await,
            Heard::Duplicate(Some(becomes))
        );
        assert_eq!(world.ends(hold, other).await, Heard::Stale(Some(becomes)));
        assert_eq!(
            world.news(hold, &lines(1, &["late"])).await,
            NewsHeard::Stale
        );
        assert_eq!(world.log(hold).await, [], "a late line is not kept");
        assert_eq!(
            world.queue.run_spec(world.tenant, hold).await.unwrap(),
            SpecFound::Over
        );
    }
}

#[tokio::test]
async fn a_run_belongs_to_its_tenant_and_its_claim() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    let foreign = world.tenant().await;
    let other = Hold {
        epoch: hold.epoch + 1,
        ..hold
    };
    for (tenant, hold) in [(foreign, hold), (world.tenant, other)] {
        assert_eq!(
            world.queue.run_spec(tenant, hold).await.unwrap(),
            SpecFound::Unknown
        );
        assert_eq!(
            world
                .queue
                .run_news(tenant, hold, &lines(1, &["x"]))
                .await
                .unwrap(),
            NewsHeard::Unknown
        );
        assert_eq!(
            world
                .queue
                .end_run(tenant, hold, &over(RunEnd::Succeeded))
                .await
                .unwrap(),
            Heard::Unknown
        );
    }
    assert_eq!(
        world.queue.run_spec(world.tenant, hold).await.unwrap(),
        SpecFound::Held(b"sealed".to_vec())
    );
}

#[tokio::test]
async fn a_failed_run_is_tried_again_only_where_that_may_help() {
    let world = World::new().await;
    let hold = world.begun(|run| run.retry = true).await;
    assert_eq!(
        world.ends(hold, RunEnd::Failed).await,
        Heard::Applied {
            state: JobState::Queued,
            cancel: false
        }
    );
    assert_eq!(
        world.ends(hold, RunEnd::Failed).await,
        Heard::Duplicate(Some(JobState::Queued))
    );
    assert_eq!(world.run_state(hold).await, RunState::Failed);
}

#[tokio::test]
async fn a_plan_with_changes_waits_for_a_person_and_the_same_job_goes_on() {
    let world = World::new().await;
    let approve = Then::Approve { within_secs: 600 };
    let with_changes = RunOver {
        report: RunReport {
            changes: true,
            ..RunReport::default()
        },
        ..over(RunEnd::Succeeded)
    };
    let hold = world.begun(|run| run.then = approve).await;
    assert_eq!(
        world
            .queue
            .end_run(world.tenant, hold, &with_changes)
            .await
            .unwrap(),
        Heard::Applied {
            state: JobState::Waiting,
            cancel: false
        }
    );
    assert_eq!(
        world
            .queue
            .end_run(world.tenant, hold, &with_changes)
            .await
            .unwrap(),
        Heard::Duplicate(Some(JobState::Waiting))
    );
    assert!(
        world
            .queue
            .approve(world.tenant, hold.job, "a person")
            .await
            .unwrap()
    );
    let claimed = world.claim(TASK, 1).await;
    let again = claimed.first().unwrap();
    assert_eq!(
        (again.hold.job, again.attempts),
        (hold.job, 1),
        "it is no second try"
    );
    let last = world
        .queue
        .last_run(world.tenant, hold.job)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (last.phase.as_str(), last.state, last.epoch),
        ("plan", RunState::Succeeded, hold.epoch)
    );
    assert!(last.report.changes);

    // Without changes there is nothing to approve.
    let hold = world.begun(|run| run.then = approve).await;
    assert_eq!(
        world.ends(hold, RunEnd::Succeeded).await,
        Heard::Applied {
            state: JobState::Succeeded,
            cancel: false
        }
    );
}

#[tokio::test]
async fn a_cancel_reaches_the_runner_with_the_answer_to_its_news_and_only_its_end_applies_it() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    assert!(!world.taken(hold, &RunNews::default()).await.1);
    world
        .queue
        .cancel(world.tenant, hold.job, "a person")
        .await
        .unwrap();
    assert!(world.taken(hold, &lines(1, &["stopping"])).await.1);
    let kinds = world.kinds(hold).await;
    assert!(
        kinds.contains(&"cancel_acknowledged".to_owned()),
        "{kinds:?}"
    );
    assert!(
        !kinds.contains(&"cancelled".to_owned()),
        "not before it has stopped"
    );
    assert_eq!(
        world.ends(hold, RunEnd::Cancelled).await,
        Heard::Applied {
            state: JobState::Cancelled,
            cancel: false
        }
    );
    assert_eq!(
        world.ends(hold, RunEnd::Cancelled).await,
        Heard::Duplicate(Some(JobState::Cancelled))
    );
    assert!(world.kinds(hold).await.contains(&"cancelled".to_owned()));
}

#[tokio::test]
async fn a_cancel_that_races_the_end_leaves_one_outcome_and_both_on_record() {
    let world = World::new().await;
    for (end, becomes) in [
        (RunEnd::Succeeded, JobState::Succeeded),
        (RunEnd::Failed, JobState::Dead),
    ] {
        let hold = world.begun(|run| run.retry = true).await;
        world
            .queue
            .cancel(world.tenant, hold.job, "a person")
            .await
            .unwrap();
        assert_eq!(
            world.ends(hold, end).await,
            Heard::Applied {
                state: becomes,
                cancel: false
            }
        );
        let kinds = world.kinds(hold).await;
        assert!(kinds.contains(&"cancel_too_late".to_owned()), "{kinds:?}");
    }
    // What would be waited for next is not begun.
    let hold = world
        .begun(|run| run.then = Then::Approve { within_secs: 600 })
        .await;
    world
        .queue
        .cancel(world.tenant, hold.job, "a person")
        .await
        .unwrap();
    let changes = RunOver {
        report: RunReport {
            changes: true,
            ..RunReport::default()
        },
        ..over(RunEnd::Succeeded)
    };
    assert_eq!(
        world
            .queue
            .end_run(world.tenant, hold, &changes)
            .await
            .unwrap(),
        Heard::Applied {
            state: JobState::Cancelled,
            cancel: false
        }
    );
}

#[tokio::test]
async fn a_job_that_was_asked_to_stop_begins_no_run() {
    let world = World::new().await;
    let payload = json!({});
    world.add(&NewJob::new(world.tenant, TASK, &payload)).await;
    let hold = world.claimed().await;
    world
        .queue
        .cancel(world.tenant, hold.job, "a person")
        .await
        .unwrap();
    let (steps, handle) = (vec!["init".to_owned()], json!({}));
    assert_eq!(
        world
            .queue
            .begin_run(hold, &run(&steps, &handle))
            .await
            .unwrap(),
        Begun::Cancelled
    );
    assert_eq!(
        world.queue.run_spec(world.tenant, hold).await.unwrap(),
        SpecFound::Unknown
    );
    assert!(world.kinds(hold).await.contains(&"cancelled".to_owned()));
    assert_eq!(
        world
            .queue
            .begin_run(hold, &run(&steps, &handle))
            .await
            .unwrap(),
        Begun::Stale
    );
}

#[tokio::test]
async fn a_run_that_is_begun_again_because_the_answer_was_lost_is_the_same_run() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    let (steps, handle) = (
        vec!["init".to_owned(), "plan".to_owned()],
        json!({"local": 1}),
    );
    let same = run(&steps, &handle);
    assert_eq!(
        world.queue.begin_run(hold, &same).await.unwrap(),
        Begun::Waiting
    );
    let other = NewRun {
        spec: b"other",
        ..same
    };
    assert!(world.queue.begin_run(hold, &other).await.is_err());
}

#[tokio::test]
async fn a_run_ends_with_its_job_whoever_ended_that() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    let by_hand = world
        .queue
        .settle(world.tenant, hold.job, queue::Ended::Dead, "a person");
    assert!(by_hand.await.unwrap());
    assert_eq!(world.run_state(hold).await, RunState::Lost);

    let hold = world.begun(|_| ()).await;
    let (tenant, job) = (world.tenant, hold.job);
    world.queue.cancel(tenant, job, "a person").await.unwrap();
    let report = world.queue.cancel_applied(hold).await.unwrap();
    assert_eq!(report, FinishReport::Applied(JobState::Cancelled));
    assert_eq!(world.run_state(hold).await, RunState::Cancelled);
}

#[tokio::test]
async fn steps_go_forward_only() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    let step = |step, state, exit_code| StepNews {
        step,
        state,
        exit_code,
        why: None,
    };
    let news = |steps| RunNews {
        steps,
        ..RunNews::default()
    };
    world
        .taken(
            hold,
            &news(vec![
                step(0, StepState::Running, None),
                step(0, StepState::Succeeded, Some(0)),
                step(1, StepState::Running, None),
            ]),
        )
        .await;
    // A repeat of what was said before.
    world
        .taken(hold, &news(vec![step(0, StepState::Running, None)]))
        .await;
    world.ends(hold, RunEnd::Failed).await;
    let steps: Vec<(String, String, Option<i32>, bool)> = sqlx::query_as(
        "select name, state, exit_code, started_at is not null from switchyard.run_steps where job_id = $1 order by step",
    )
    .bind(hold.job.0)
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert_eq!(
        steps,
        [
            ("init".to_owned(), "succeeded".to_owned(), Some(0), true),
            ("plan".to_owned(), "stopped".to_owned(), None, true),
        ]
    );
}

#[tokio::test]
async fn a_runner_that_is_not_heard_of_loses_its_job_when_its_lease_is_over() {
    let world = World::new().await;
    world.away(0.0).await;
    let hold = world.begun(|_| ()).await;
    assert_eq!(
        world.queue.reap(10).await.unwrap(),
        0,
        "it has time to start"
    );
    world.taken(hold, &lines(1, &["alive"])).await;
    let left: f64 = sqlx::query_scalar(
        "select extract(epoch from lease_until - clock_timestamp())::float8 from switchyard.jobs where id = $1",
    )
    .bind(hold.job.0)
    .fetch_one(&world.owner)
    .await
    .unwrap();
    assert!(
        left <= LEASE.as_secs_f64(),
        "from its first sign of life on its lease counts: {left} s"
    );
    world.end_lease(hold.job).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 1);
    assert_eq!(world.run_state(hold).await, RunState::Lost);
    assert_eq!(
        world.news(hold, &lines(2, &["late"])).await,
        NewsHeard::Stale
    );
    assert_eq!(
        world.ends(hold, RunEnd::Succeeded).await,
        Heard::Stale(Some(JobState::Queued)),
        "what it says now does not count"
    );
    assert_eq!(world.log(hold).await.len(), 1, "its log is kept");
}

#[tokio::test]
async fn after_a_time_in_which_nobody_looked_a_runner_keeps_its_job_for_one_lease() {
    let world = World::new().await;
    let hold = world.begun(|_| ()).await;
    world.taken(hold, &RunNews::default()).await;
    world.end_lease(hold.job).await;
    world.away(3.0 * LEASE.as_secs_f64()).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 0);
    assert_eq!(
        world.queue.sweep(10).await.unwrap().reaped,
        0,
        "nor by who looks everywhere"
    );
    // It is believed, and its lease goes on.
    assert!(!world.taken(hold, &lines(1, &["still here"])).await.1);
    assert_eq!(
        world.ends(hold, RunEnd::Succeeded).await,
        Heard::Applied {
            state: JobState::Succeeded,
            cancel: false
        }
    );

    // One that is not heard of within that lease is lost as any other.
    let hold = world.begun(|_| ()).await;
    world.taken(hold, &RunNews::default()).await;
    world.end_lease(hold.job).await;
    world.away(3.0 * LEASE.as_secs_f64()).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 0);
    sqlx::query("update switchyard.reaper set resumed_at = resumed_at - make_interval(secs => $1)")
        .bind(LEASE.as_secs_f64())
        .execute(&world.owner)
        .await
        .unwrap();
    assert_eq!(world.queue.reap(10).await.unwrap(), 1);

    // A gap that is shorter than a lease is none.
    let hold = world.begun(|_| ()).await;
    world.taken(hold, &RunNews::default()).await;
    world.end_lease(hold.job).await;
    world.away(0.5 * LEASE.as_secs_f64()).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 1);
}

#[tokio::test]
async fn a_worker_of_ours_loses_its_job_also_after_such_a_time() {
    let world = World::new().await;
    let outside = world.begun(|_| ()).await;
    world.end_lease(outside.job).await;
    let payload = json!({});
    world
        .add(&NewJob::new(world.tenant, "inside", &payload))
        .await;
    let inside = world.claim_one("inside").await;
    world.end_lease(inside.job).await;
    world.away(90.0).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 1);
    assert_eq!(
        world.queue.run_spec(world.tenant, outside).await.unwrap(),
        SpecFound::Held(b"sealed".to_vec())
    );
    assert_eq!(
        world.queue.retry(inside, "late", None).await.unwrap(),
        FinishReport::Stale
    );
}

#[tokio::test]
async fn a_runner_that_is_gone_is_said_once_and_its_job_goes_on() {
    let world = World::new().await;
    let lose = async |hold: Hold| {
        world
            .queue
            .lose_runner(world.tenant, hold, "its runner went away: exit status: 78")
            .await
            .unwrap()
    };
    let hold = world.begun(|_| ()).await;
    let foreign = world.tenant().await;
    let of_another = world.queue.lose_runner(foreign, hold, "it died").await;
    assert_eq!(of_another.unwrap(), None);
    assert_eq!(lose(hold).await, Some(JobState::Queued));
    assert_eq!(lose(hold).await, None, "again");
    let last = world.queue.last_run(world.tenant, hold.job).await.unwrap();
    let last = last.unwrap();
    assert_eq!(last.state, RunState::Lost);
    assert_eq!(
        last.reason.as_deref(),
        Some("its runner went away: exit status: 78")
    );
    assert_eq!(
        world.ends(hold, RunEnd::Succeeded).await,
        Heard::Stale(Some(JobState::Queued)),
        "its word comes too late"
    );
    let kinds = world.kinds(hold).await;
    assert!(kinds.contains(&"lease_over".to_owned()), "{kinds:?}");

    // One that had said its last word has nothing to lose.
    let hold = world.begun(|_| ()).await;
    world.ends(hold, RunEnd::Succeeded).await;
    assert_eq!(lose(hold).await, None);

    // Of a job that was asked to stop nothing runs any more: that is what it waited for.
    let hold = world.begun(|_| ()).await;
    world
        .queue
        .cancel(world.tenant, hold.job, "Ann")
        .await
        .unwrap();
    assert_eq!(lose(hold).await, Some(JobState::Cancelled));
    assert_eq!(world.run_state(hold).await, RunState::Cancelled);
}
