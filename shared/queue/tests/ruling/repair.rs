//! Repair by hand: what is considered, what is done, and that looking changes nothing.

use model::{FinishReport, JobId, JobState, TenantId, Waiting};
use queue::repair::{
    Chosen, JobRepair, RepairedJob, Report, Run, repair_own_jobs, repair_own_wakeups,
};
use queue::{By, Ended, NewJob, RuleError, Wait};

use crate::world::{HOUR, LEASE, World, nothing};

const BOB: By<'static> = By {
    name: "bob",
    why: None,
};

impl World {
    async fn repair(
        &self,
        repair: JobRepair,
        chosen: &Chosen<'_>,
        run: Run,
    ) -> Report<RepairedJob> {
        self.queue
            .repair_jobs(repair, None, chosen, 100, run, BOB)
            .await
            .unwrap()
    }
}

fn of(jobs: &[JobId]) -> Chosen<'_> {
    Chosen {
        jobs: Some(jobs),
        ..Chosen::default()
    }
}

fn did(report: &Report<RepairedJob>) -> Vec<(JobId, &str)> {
    report
        .items
        .iter()
        .map(|item| (item.job, item.did.as_str()))
        .collect()
}

#[tokio::test]
async fn what_somebody_has_is_taken_back_and_he_can_write_no_more() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 1).await;
    let hold = world.claim_one("task").await;
    let before = world.rows(world.tenant).await;
    let report = world
        .repair(JobRepair::Reap, &of(&[hold.job]), Run::Dry)
        .await;
    assert_eq!(did(&report), [(hold.job, "requeued")]);
    assert_eq!(world.rows(world.tenant).await, before, "it was a look");
    assert_eq!(
        world.number("select count(*) from switchyard.audit").await,
        0
    );

    let report = world
        .repair(JobRepair::Reap, &of(&[hold.job]), Run::Real)
        .await;
    assert_eq!((report.considered, report.done, report.more), (1, 1, false));
    assert_eq!(report.items[0].state, Some(JobState::Running));
    let beat = world.queue.heartbeat(&[hold], LEASE).await.unwrap();
    assert!(!beat[0].held);
    let late = world.queue.retry(hold, "late", None).await.unwrap();
    assert_eq!(late, FinishReport::Stale);
    let again = world.claim("task", 1).await;
    assert_eq!((again[0].hold.job, again[0].attempts), (hold.job, 2));
    world.check().await;
}

#[tokio::test]
async fn the_last_attempt_that_is_taken_back_is_the_end() {
    let world = World::new().await;
    world
        .add(&NewJob {
            attempts_max: Some(1),
            ..NewJob::new(world.tenant, "task", nothing())
        })
        .await;
    let hold = world.claim_one("task").await;
    let chosen = Chosen {
        worker: Some(&world.worker.to_string()),
        ..Chosen::default()
    };
    let report = world.repair(JobRepair::Reap, &chosen, Run::Real).await;
    assert_eq!(did(&report), [(hold.job, "dead")]);
    let reason: String = sqlx::query_scalar("select reason from switchyard.jobs_archive")
        .fetch_one(&world.owner)
        .await
        .unwrap();
    assert_eq!(reason, "taken back by bob, 1 of 1 attempts used");
    // A dead one that is named is started again.
    let report = world
        .repair(JobRepair::Requeue, &of(&[hold.job]), Run::Real)
        .await;
    assert_eq!(did(&report), [(hold.job, "replayed")]);
    let report = world
        .repair(JobRepair::Requeue, &of(&[hold.job]), Run::Real)
        .await;
    assert_eq!(did(&report), [(hold.job, "skipped")]);
    world.check().await;
}

#[tokio::test]
async fn each_state_is_dealt_with_or_says_why_not() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 5).await;
    let held: Vec<_> = world
        .claim("task", 5)
        .await
        .iter()
        .map(|job| job.hold)
        .collect();
    let wait = |waiting, runner| Wait {
        waiting,
        deadline: HOUR,
        runner,
    };
    let queue = &world.queue;
    queue
        .wait(held[0], &wait(Waiting::Approval, None))
        .await
        .unwrap();
    queue
        .wait(held[1], &wait(Waiting::Callback, None))
        .await
        .unwrap();
    let handle = serde_json::json!({"kind": "process"});
    queue
        .wait(held[2], &wait(Waiting::Runner, Some(handle)))
        .await
        .unwrap();
    for hold in [held[2], held[3]] {
        queue.cancel(world.tenant, hold.job, "ann").await.unwrap();
    }
    queue.retry(held[4], "broken", Some(HOUR)).await.unwrap();
    world.add_many(world.tenant, "task", 1).await;
    let ready = JobId(world.number("select max(id) from switchyard.jobs").await);
    let jobs: Vec<_> = held.iter().map(|hold| hold.job).chain([ready]).collect();
    let expected = [
        (jobs[0], "skipped"),
        (jobs[1], "requeued"),
        (jobs[2], "skipped"),
        (jobs[3], "cancelled"),
        (jobs[4], "made_ready"),
        (jobs[5], "skipped"),
    ];
    let look = world.repair(JobRepair::Requeue, &of(&jobs), Run::Dry).await;
    assert_eq!(did(&look), expected);
    let report = world
        .repair(JobRepair::Requeue, &of(&jobs), Run::Real)
        .await;
    assert_eq!(did(&report), expected);
    assert_eq!((report.considered, report.done), (6, 3));
    assert!(
        report
            .items
            .iter()
            .all(|item| (item.did == "skipped") == item.note.is_some()),
        "{report:?}"
    );
    world.check().await;
    // Both that were put back, the one that was ready, and none of the others.
    let mut claimed: Vec<_> = world
        .claim("task", 10)
        .await
        .iter()
        .map(|job| job.hold.job)
        .collect();
    claimed.sort_unstable();
    assert_eq!(claimed, [jobs[1], jobs[4], jobs[5]]);
    world.check().await;
}

#[tokio::test]
async fn all_retries_of_a_task_are_brought_forward() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 3).await;
    for job in world.claim("task", 3).await {
        world
            .queue
            .retry(job.hold, "the vendor is down", Some(HOUR))
            .await
            .unwrap();
    }
    let queued = world
        .add(&NewJob {
            queue_name: Some("queue"),
            ..NewJob::new(world.tenant, "task", nothing())
        })
        .await;
    let hold = world.claim_one("task").await;
    world.queue.retry(hold, "too", Some(HOUR)).await.unwrap();
    let chosen = Chosen {
        task: Some("task"),
        ..Chosen::default()
    };
    let report = world.repair(JobRepair::Requeue, &chosen, Run::Real).await;
    assert_eq!((report.considered, report.done), (4, 4));
    let claimed = world.claim("task", 10).await;
    assert_eq!(claimed.len(), 4);
    assert!(claimed.iter().any(|job| job.hold.job == queued));
    world.check().await;
}

#[tokio::test]
async fn a_limit_bounds_a_repair_and_says_that_there_is_more() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 5).await;
    world.claim("task", 5).await;
    let chosen = Chosen {
        task: Some("task"),
        ..Chosen::default()
    };
    let report = world
        .queue
        .repair_jobs(JobRepair::Reap, None, &chosen, 2, Run::Real, BOB)
        .await
        .unwrap();
    assert_eq!((report.considered, report.more), (2, true));
    let running = "select count(*) from switchyard.jobs where state = 'running'";
    assert_eq!(world.number(running).await, 3);
    for (chosen, limit) in [(Chosen::default(), 10), (chosen.clone(), 0), (chosen, 1001)] {
        let error = world
            .queue
            .repair_jobs(JobRepair::Reap, None, &chosen, limit, Run::Real, BOB)
            .await;
        assert!(matches!(error, Err(RuleError::Wrong(_))), "{chosen:?}");
    }
}

#[tokio::test]
async fn a_tenant_repairs_its_own_alone() {
    let world = World::new().await;
    let other: TenantId = world.tenant().await;
    for tenant in [world.tenant, other] {
        world.add_many(tenant, "task", 1).await;
    }
    let holds = world.claim("task", 2).await;
    let jobs: Vec<_> = holds.iter().map(|job| job.hold.job).collect();
    let before = world.rows(other).await;
    let mut tx = world.of(world.tenant).await;
    let report = repair_own_jobs(&mut tx, JobRepair::Reap, &of(&jobs), 10, Run::Real, BOB)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for item in &report.items {
        let own = holds
            .iter()
            .any(|job| job.hold.job == item.job && job.tenant == world.tenant);
        assert_eq!(item.did == "requeued", own, "{item:?}");
        assert!(own || item.note.as_deref() == Some("there is no such job"));
    }
    let chosen = Chosen {
        task: Some("task"),
        ..Chosen::default()
    };
    let mut tx = world.of(world.tenant).await;
    let report = repair_own_jobs(&mut tx, JobRepair::Requeue, &chosen, 10, Run::Real, BOB)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(report.items.is_empty(), "{report:?}");
    assert_eq!(world.rows(other).await, before);
    // A dead one of another is not started either.
    let foreign = holds.iter().find(|job| job.tenant == other).unwrap();
    world.finish_as(foreign.hold, Ended::Dead, None).await;
    let mut tx = world.of(world.tenant).await;
    let report = repair_own_jobs(
        &mut tx,
        JobRepair::Requeue,
        &of(&[foreign.hold.job]),
        10,
        Run::Real,
        BOB,
    )
    .await
    .unwrap();
    assert_eq!(report.items[0].did, "skipped");
}

#[tokio::test]
async fn those_who_work_on_tasks_are_told_again() {
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, executor) values ('task', 'builtin'), ('far', 'http')")
        .await;
    for task in ["task", "far", "nobodys"] {
        world.add_many(world.tenant, task, 3).await;
    }
    // Nothing to be told: it is empty, or paused.
    world.add_many(world.tenant, "idle", 1).await;
    world.claim_one("idle").await;
    let look = world
        .queue
        .repair_wakeups(None, None, 100, Run::Dry, BOB)
        .await
        .unwrap();
    assert_eq!(
        world
            .number("select count(*) from switchyard.outbox where broker = 'work'")
            .await,
        0
    );
    let report = world
        .queue
        .repair_wakeups(None, None, 100, Run::Real, BOB)
        .await
        .unwrap();
    assert_eq!(look, report);
    let told: Vec<_> = report
        .items
        .iter()
        .map(|item| (item.task.as_str(), item.jobs, item.did.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("far", 3, "told"),
            ("nobodys", 3, "skipped"),
            ("task", 3, "told")
        ]
    );
    let sent: Vec<String> = sqlx::query_scalar(
        "select ce_subject || ' ' || (extensions ->> 'executor') from switchyard.outbox where broker = 'work' order by 1",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert_eq!(sent, ["far external", "task builtin"]);
    let mut tx = world.of(world.tenant).await;
    let again = repair_own_wakeups(&mut tx, Some("task"), 10, Run::Real, BOB)
        .await
        .unwrap();
    assert_eq!((again.considered, again.done), (1, 0), "one is on its way");
    drop(tx);
    let mut other = world.of(world.tenant().await).await;
    let none = repair_own_wakeups(&mut other, None, 10, Run::Real, BOB)
        .await
        .unwrap();
    assert_eq!(none.considered, 0);
}
