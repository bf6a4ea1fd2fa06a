//! Every state, every operation: what comes of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{
    CancelOutcome, FinishReport, JobId, JobState, KeyMode, LogLine, LogStream, TenantId, Waiting,
};
use queue::{Added, Ended, Finish, Hold, NewJob, Wait};

use crate::world::{HOUR, LEASE, World, nothing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Ready,
    Later,
    InRetry,
    Running,
    WaitingRunner,
    WaitingCallback,
    WaitingApproval,
    Cancelling,
    CancellingRunner,
    Succeeded,
    Dead,
    Cancelled,
    Superseded,
}

const STARTS: [Start; 13] = [
    Start::Ready,
    Start::Later,
    Start::InRetry,
    Start::Running,
    Start::WaitingRunner,
    Start::WaitingCallback,
    Start::WaitingApproval,
    Start::Cancelling,
    Start::CancellingRunner,
    Start::Succeeded,
    Start::Dead,
    Start::Cancelled,
    Start::Superseded,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Claim,
    Heartbeat,
    FinishSucceeded,
    FinishDead,
    FinishCancelled,
    Retry,
    RetryLast,
    Snooze,
    Release,
    WaitRunner,
    WaitApproval,
    Approve,
    Reject,
    Cancel,
    SettleDead,
    SettleSucceeded,
    ReapEarly,
    ReapLate,
    Replay,
    Purge,
    AppendLog,
    Add(KeyMode),
}

pub(crate) const OPERATIONS: [Operation; 24] = [
    Operation::Claim,
    Operation::Heartbeat,
    Operation::FinishSucceeded,
    Operation::FinishDead,
    Operation::FinishCancelled,
    Operation::Retry,
    Operation::RetryLast,
    Operation::Snooze,
    Operation::Release,
    Operation::WaitRunner,
    Operation::WaitApproval,
    Operation::Approve,
    Operation::Reject,
    Operation::Cancel,
    Operation::SettleDead,
    Operation::SettleSucceeded,
    Operation::ReapEarly,
    Operation::ReapLate,
    Operation::Replay,
    Operation::Purge,
    Operation::AppendLog,
    Operation::Add(KeyMode::Replace),
    Operation::Add(KeyMode::Preserve),
    Operation::Add(KeyMode::Ignore),
];

/// What comes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// No row changes, and the caller is told so.
    Nothing,
    /// Something happens that leaves the job's state as it is.
    Stays,
    /// The job is in this state now.
    Becomes(JobState),
    /// The job is forgotten.
    Gone,
}

/// The design's table of states.
pub(crate) fn expected(start: Start, operation: Operation) -> Then {
    use Operation::{
        Add, AppendLog, Approve, Cancel, Claim, FinishCancelled, FinishDead, FinishSucceeded,
        Heartbeat, Purge, ReapLate, Reject, Release, Replay, Retry, RetryLast, SettleDead,
        SettleSucceeded, Snooze, WaitApproval, WaitRunner,
    };
    use Then::{Becomes, Gone, Nothing, Stays};
    match start {
        Start::Ready | Start::Later | Start::InRetry => match operation {
            Claim if start == Start::Ready => Becomes(JobState::Running),
            Cancel => Becomes(JobState::Cancelled),
            SettleDead => Becomes(JobState::Dead),
            SettleSucceeded => Becomes(JobState::Succeeded),
            Add(KeyMode::Replace) => Becomes(JobState::Superseded),
            Add(KeyMode::Preserve | KeyMode::Ignore) => Stays,
            _ => Nothing,
        },
        Start::Running => match operation {
            Heartbeat | AppendLog | Add(_) => Stays,
            FinishSucceeded => Becomes(JobState::Succeeded),
            FinishDead | RetryLast => Becomes(JobState::Dead),
            Retry | Snooze | Release | ReapLate => Becomes(JobState::Queued),
            WaitRunner | WaitApproval => Becomes(JobState::Waiting),
            Cancel => Becomes(JobState::Cancelling),
            _ => Nothing,
        },
        Start::WaitingRunner | Start::WaitingCallback => match operation {
            AppendLog | Add(_) | WaitRunner | WaitApproval => Stays,
            FinishSucceeded | SettleSucceeded => Becomes(JobState::Succeeded),
            FinishDead | RetryLast | SettleDead => Becomes(JobState::Dead),
            Retry | Snooze | ReapLate => Becomes(JobState::Queued),
            Cancel => Becomes(JobState::Cancelling),
            _ => Nothing,
        },
        Start::WaitingApproval => match operation {
            AppendLog => Stays,
            Approve => Becomes(JobState::Queued),
            Reject | ReapLate | SettleDead => Becomes(JobState::Dead),
            SettleSucceeded => Becomes(JobState::Succeeded),
            Cancel => Becomes(JobState::Cancelled),
            Add(_) => Becomes(JobState::Superseded),
            _ => Nothing,
        },
        Start::Cancelling | Start::CancellingRunner => match operation {
            Heartbeat | AppendLog | Add(_) | WaitRunner => Stays,
            FinishSucceeded => Becomes(JobState::Succeeded),
            FinishDead => Becomes(JobState::Dead),
            FinishCancelled | Retry | RetryLast | Snooze | Release | WaitApproval => {
                Becomes(JobState::Cancelled)
            }
            // Work outside is stopped by its handle, not by the clock.
            ReapLate if start == Start::Cancelling => Becomes(JobState::Cancelled),
            _ => Nothing,
        },
        Start::Succeeded | Start::Dead | Start::Cancelled | Start::Superseded => match operation {
            Add(_) => Stays,
            Replay if start == Start::Dead => Stays,
            Purge if start == Start::Dead => Gone,
            _ => Nothing,
        },
    }
}

#[derive(Debug, Clone)]
struct Case {
    tenant: TenantId,
    task: String,
    queue_name: Option<&'static str>,
}

impl Case {
    fn job(&self, mode: KeyMode) -> NewJob<'_> {
        NewJob {
            queue_name: self.queue_name,
            key: Some(("key", mode)),
            ..NewJob::new(self.tenant, &self.task, nothing())
        }
    }
}

async fn begin(world: &World, case: &Case, start: Start) -> Hold {
    let job = case.job(KeyMode::Replace);
    if start == Start::Superseded {
        let id: i64 = sqlx::query_scalar(
            "with newest as (
                insert into switchyard.job_keys values ($1, 'key', nextval('switchyard.accepted')) returning high_water
            )
            select a.job_id from newest,
                lateral switchyard.add_job($1, $2, '{}', $3, 'key', p_seq => high_water - 1) a",
        )
        .bind(case.tenant.uuid())
        .bind(&case.task)
        .bind(case.queue_name)
        .fetch_one(&world.owner)
        .await
        .unwrap();
        return Hold {
            job: JobId(id),
            epoch: 0,
        };
    }
    if start == Start::Later {
        let far: DateTime<Utc> = sqlx::query_scalar("select now() + interval '1 hour'")
            .fetch_one(&world.owner)
            .await
            .unwrap();
        let job = world
            .add(&NewJob {
                run_at: Some(far),
                ..job
            })
            .await;
        return Hold { job, epoch: 0 };
    }
    let id = world.add(&job).await;
    if start == Start::Ready {
        return Hold { job: id, epoch: 0 };
    }
    let hold = world.claim_one(&case.task).await;
    match start {
        Start::Ready | Start::Later | Start::Superseded | Start::Running => {}
        Start::InRetry => {
            world
                .queue
                .retry(hold, "not yet", Some(HOUR))
                .await
                .unwrap();
        }
        Start::WaitingRunner | Start::CancellingRunner => wait(world, hold, Waiting::Runner).await,
        Start::WaitingCallback => wait(world, hold, Waiting::Callback).await,
        Start::WaitingApproval => wait(world, hold, Waiting::Approval).await,
        Start::Cancelling | Start::Cancelled => {}
        Start::Succeeded => finish(world, hold, Ended::Succeeded).await,
        Start::Dead => finish(world, hold, Ended::Dead).await,
    }
    if matches!(
        start,
        Start::Cancelling | Start::CancellingRunner | Start::Cancelled
    ) {
        let asked = world.queue.cancel(case.tenant, id, "a test").await.unwrap();
        assert_eq!(asked, Some(CancelOutcome::Requested));
    }
    if start == Start::Cancelled {
        finish(world, hold, Ended::Cancelled).await;
    }
    hold
}

async fn wait(world: &World, hold: Hold, waiting: Waiting) {
    let report = world.queue.wait(hold, &waiting_for(waiting)).await.unwrap();
    assert_eq!(report, FinishReport::Applied(JobState::Waiting));
}

fn waiting_for(waiting: Waiting) -> Wait {
    Wait {
        waiting,
        deadline: HOUR,
        runner: (waiting == Waiting::Runner).then(|| serde_json::json!({"pod": "one"})),
    }
}

async fn finish(world: &World, hold: Hold, ended: Ended) {
    let reports = world.queue.finish(&[an_end(hold, ended)]).await.unwrap();
    assert!(
        matches!(reports[..], [(_, FinishReport::Applied(_))]),
        "{reports:?}"
    );
}

fn an_end(hold: Hold, ended: Ended) -> Finish {
    Finish {
        hold,
        ended,
        reason: None,
        result: None,
    }
}

/// Whether an operation says that it did something.
async fn operate(world: &World, case: &Case, hold: Hold, operation: Operation) -> bool {
    fn applied(report: Result<FinishReport, sqlx::Error>) -> bool {
        matches!(report.unwrap(), FinishReport::Applied(_))
    }
    let (queue, tenant, job) = (&world.queue, case.tenant, hold.job);
    match operation {
        Operation::Claim => !world.claim(&case.task, 5).await.is_empty(),
        Operation::Heartbeat => queue.heartbeat(&[hold], LEASE).await.unwrap()[0].held,
        Operation::FinishSucceeded => {
            let reports = queue
                .finish(&[an_end(hold, Ended::Succeeded)])
                .await
                .unwrap();
            reports[0].1 != FinishReport::Stale
        }
        Operation::FinishDead => {
            let reports = queue.finish(&[an_end(hold, Ended::Dead)]).await.unwrap();
            reports[0].1 != FinishReport::Stale
        }
        // An error where nobody asked.
        Operation::FinishCancelled => queue
            .finish(&[an_end(hold, Ended::Cancelled)])
            .await
            .is_ok_and(|reports| reports[0].1 != FinishReport::Stale),
        Operation::Retry | Operation::RetryLast => {
            applied(queue.retry(hold, "broken", Some(HOUR)).await)
        }
        Operation::Snooze => applied(queue.snooze(hold, HOUR, "busy").await),
        Operation::Release => queue.release(&[hold]).await.unwrap() > 0,
        Operation::WaitRunner => applied(queue.wait(hold, &waiting_for(Waiting::Runner)).await),
        Operation::WaitApproval => applied(queue.wait(hold, &waiting_for(Waiting::Approval)).await),
        Operation::Approve => queue.approve(tenant, job, "a test").await.unwrap(),
        Operation::Reject => queue.reject(tenant, job, "a test").await.unwrap(),
        Operation::Cancel => matches!(
            queue.cancel(tenant, job, "a test").await.unwrap(),
            Some(CancelOutcome::Cancelled | CancelOutcome::Requested)
        ),
        Operation::SettleDead => queue
            .settle(tenant, job, Ended::Dead, "a test")
            .await
            .unwrap(),
        Operation::SettleSucceeded => queue
            .settle(tenant, job, Ended::Succeeded, "a test")
            .await
            .unwrap(),
        Operation::ReapEarly => queue.reap(100).await.unwrap() > 0,
        Operation::ReapLate => {
            world.end_lease(job).await;
            queue.reap(100).await.unwrap() > 0
        }
        Operation::Replay => queue.replay(tenant, job, "a test").await.unwrap().is_some(),
        Operation::Purge => queue.purge(tenant, job).await.unwrap(),
        Operation::AppendLog => {
            let line = LogLine {
                seq: 1,
                stream: LogStream::Task,
                text: "hello".to_owned(),
            };
            queue.append_log(hold, &[line]).await.unwrap()
        }
        Operation::Add(mode) => {
            let added = queue.add(&case.job(mode)).await.unwrap();
            assert!(
                !matches!(added, Added::Superseded(_)),
                "it is the newest: {added:?}"
            );
            true
        }
    }
}

async fn try_all(world: &World, queue_name: Option<&'static str>) {
    for (row, start) in STARTS.into_iter().enumerate() {
        for (column, operation) in OPERATIONS.into_iter().enumerate() {
            let cell = format!("{start:?} × {operation:?} in {queue_name:?}");
            let case = Case {
                tenant: world.tenant().await,
                task: format!("task-{row}-{column}"),
                queue_name,
            };
            let hold = begin(world, &case, start).await;
            let from = world.state(hold.job).await.unwrap();
            if operation == Operation::RetryLast {
                world
                    .execute(format!(
                        "update switchyard.jobs set attempts_max = greatest(attempts, 1) where id = {}",
                        hold.job
                    ))
                    .await;
            }
            if operation == Operation::ReapLate {
                world.end_lease(hold.job).await;
            }
            let before = world.rows(case.tenant).await;
            let did = operate(world, &case, hold, operation).await;
            let then = expected(start, operation);
            let to = world.state(hold.job).await;
            match then {
                Then::Nothing => {
                    assert!(!did, "{cell}: says that it did something");
                    let mut after = world.rows(case.tenant).await;
                    if operation == Operation::ReapLate {
                        // The test itself moved the lease once more.
                        after["jobs"] = before["jobs"].clone();
                    }
                    // A claim that finds nothing may put its lane to rest, which is no change of any job.
                    let mut before = before;
                    if operation == Operation::Claim {
                        for rows in [&mut before, &mut after] {
                            rows["lanes"] = serde_json::Value::Null;
                            rows["shares"] = serde_json::Value::Null;
                        }
                    }
                    assert_eq!(before, after, "{cell}: nothing may change");
                    assert_eq!(to, Some(from), "{cell}");
                }
                Then::Stays => {
                    assert!(did, "{cell}: says that it did nothing");
                    assert_eq!(to, Some(from), "{cell}");
                }
                Then::Becomes(state) => {
                    assert!(did, "{cell}: says that it did nothing");
                    assert_eq!(to, Some(state), "{cell}");
                    assert!(
                        from.can_become(state),
                        "{cell}: the model knows no {from} → {state}"
                    );
                }
                Then::Gone => assert!(did && to.is_none(), "{cell}: {to:?}"),
            }
            world.check().await;
        }
    }
}

#[tokio::test]
async fn every_operation_does_to_every_state_what_the_design_says() {
    let world = World::new().await;
    try_all(&world, None).await;
}

#[tokio::test]
async fn every_operation_does_the_same_in_a_named_queue() {
    let world = World::new().await;
    try_all(&world, Some("queue")).await;
}

#[tokio::test]
async fn a_stale_epoch_changes_nothing_and_is_told() {
    let world = World::new().await;
    let case = Case {
        tenant: world.tenant,
        task: "task".to_owned(),
        queue_name: None,
    };
    let old = begin(&world, &case, Start::Running).await;
    world.end_lease(old.job).await;
    assert_eq!(world.queue.reap(10).await.unwrap(), 1);
    let new = world.claim_one("task").await;
    assert_eq!((new.job, new.epoch), (old.job, old.epoch + 1));
    let before = world.rows(world.tenant).await;
    for operation in [
        Operation::Heartbeat,
        Operation::FinishSucceeded,
        Operation::FinishDead,
        Operation::FinishCancelled,
        Operation::Retry,
        Operation::Snooze,
        Operation::Release,
        Operation::WaitRunner,
        Operation::WaitApproval,
        Operation::AppendLog,
    ] {
        assert!(
            !operate(&world, &case, old, operation).await,
            "{operation:?}"
        );
        assert_eq!(before, world.rows(world.tenant).await, "{operation:?}");
    }
    let noted = world
        .number(
            "select count(*) from switchyard.job_events where kind = 'stale_write' and epoch = 1",
        )
        .await;
    assert_eq!(noted, 1, "recorded once");
    finish(&world, new, Ended::Succeeded).await;
    assert!(!operate(&world, &case, old, Operation::FinishDead).await);
    assert_eq!(world.state(old.job).await, Some(JobState::Succeeded));
}

#[tokio::test]
async fn a_job_of_another_tenant_does_not_exist_for_people() {
    let world = World::new().await;
    for start in STARTS {
        let case = Case {
            tenant: world.tenant().await,
            task: format!("task-{start:?}"),
            queue_name: None,
        };
        let hold = begin(&world, &case, start).await;
        let stranger = Case {
            tenant: world.tenant().await,
            ..case.clone()
        };
        let before = world.rows(case.tenant).await;
        for operation in [
            Operation::Approve,
            Operation::Reject,
            Operation::Cancel,
            Operation::SettleDead,
            Operation::Replay,
            Operation::Purge,
        ] {
            assert!(
                !operate(&world, &stranger, hold, operation).await,
                "{start:?} × {operation:?}"
            );
        }
        assert_eq!(before, world.rows(case.tenant).await, "{start:?}");
    }
}

#[tokio::test]
async fn a_nul_in_what_a_job_says_does_not_keep_its_end_from_being_recorded() {
    let world = World::new().await;
    for _ in 0..3 {
        world
            .add(&NewJob::new(world.tenant, "task", nothing()))
            .await;
    }
    let holds: Vec<Hold> = world
        .claim("task", 3)
        .await
        .iter()
        .map(|job| job.hold)
        .collect();
    let end = Finish {
        hold: holds[0],
        ended: Ended::Dead,
        reason: Some("broken\0".to_owned()),
        result: Some(serde_json::json!({"out\0put": ["a\0b", {"c": "\0"}]})),
    };
    let reports = world.queue.finish(&[end]).await.unwrap();
    assert_eq!(reports[0].1, FinishReport::Applied(JobState::Dead));
    let report = world.queue.retry(holds[1], "broken\0", None).await.unwrap();
    assert_eq!(report, FinishReport::Applied(JobState::Queued));
    let report = world.queue.snooze(holds[2], HOUR, "busy\0").await.unwrap();
    assert_eq!(report, FinishReport::Applied(JobState::Queued));
}

#[tokio::test]
async fn an_attempt_is_not_renewed_beyond_its_tasks_time() {
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, attempt_time_max) values ('long', '1 hour')")
        .await;
    let job = world
        .add(&NewJob::new(world.tenant, "long", nothing()))
        .await;
    let hold = world.claim_one("long").await;
    world.queue.heartbeat(&[hold], 48 * HOUR).await.unwrap();
    let over = world
        .number(format!(
            "select count(*) from switchyard.jobs where id = {job} and lease_until = attempt_until
                and attempt_until between started_at + interval '59 min' and started_at + interval '61 min'"
        ))
        .await;
    assert_eq!(over, 1, "the lease ends with the attempt");
    world
        .execute(format!(
            "update switchyard.jobs set attempt_until = now(), lease_until = now() where id = {job}"
        ))
        .await;
    let beats = world.queue.heartbeat(&[hold], LEASE).await.unwrap();
    assert!(!beats[0].held, "its time is over");
    assert_eq!(world.queue.reap(10).await.unwrap(), 1);
    assert_eq!(world.state(job).await, Some(JobState::Queued));
    let why: String = sqlx::query_scalar("select last_error from switchyard.jobs where id = $1")
        .bind(job.0)
        .fetch_one(&world.owner)
        .await
        .unwrap();
    assert_eq!(why, "the attempt took longer than its task allows");
}

#[tokio::test]
async fn attempts_count_tries_and_not_releases_or_snoozes() {
    let world = World::new().await;
    let job = NewJob {
        attempts_max: Some(2),
        ..NewJob::new(world.tenant, "task", nothing())
    };
    let id = world.add(&job).await;
    for epoch in 1..=5 {
        let claimed = world.claim("task", 1).await;
        assert_eq!((claimed[0].attempts, claimed[0].hold.epoch), (1, epoch));
        if epoch % 2 == 0 {
            world.queue.release(&[claimed[0].hold]).await.unwrap();
        } else {
            world
                .queue
                .snooze(claimed[0].hold, Duration::ZERO, "busy")
                .await
                .unwrap();
        }
    }
    let hold = world.claim_one("task").await;
    world
        .queue
        .retry(hold, "broken", Some(Duration::ZERO))
        .await
        .unwrap();
    let claimed = world.claim("task", 1).await;
    assert_eq!((claimed[0].attempts, claimed[0].hold.epoch), (2, 7));
    let report = world
        .queue
        .retry(claimed[0].hold, "broken", None)
        .await
        .unwrap();
    assert_eq!(report, FinishReport::Applied(JobState::Dead));
    let replayed = world
        .queue
        .replay(world.tenant, id, "a test")
        .await
        .unwrap()
        .unwrap();
    let claimed = world.claim("task", 1).await;
    assert_eq!((claimed[0].hold.job, claimed[0].attempts), (replayed, 1));
    world.check().await;
}

#[tokio::test]
async fn a_retry_waits_longer_each_time_and_never_beyond_its_tasks_maximum() {
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, backoff_max) values ('task', '20 s')")
        .await;
    let wrong = world
        .number(
            "select count(*) from (
                select least(power(2, attempt - 1), 20) as most, min(wait) as least_seen, max(wait) as most_seen
                from generate_series(1, 40) attempt, generate_series(1, 200) n,
                    lateral (select extract(epoch from switchyard.backoff('task', attempt)) + 0 * n as wait) b
                group by attempt
             ) w
             where not (least_seen >= 0 and least_seen < 0.2 * most and most_seen > 0.8 * most and most_seen <= most)",
        )
        .await;
    assert_eq!(wrong, 0, "anything up to the most is as likely");
    world
        .execute("update switchyard.tasks set backoff = 'upstream' where name = 'task'")
        .await;
    for (attempts, seconds) in [(1, 3), (2, 7), (10, 22026), (11, 22026)] {
        let wait = format!(
            "select round(extract(epoch from switchyard.backoff('task', {attempts})))::bigint"
        );
        assert_eq!(world.number(&wait).await, seconds);
    }
}
