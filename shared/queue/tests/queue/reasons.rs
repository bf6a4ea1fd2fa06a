//! Each thing that can keep a job is told, and what is nearest first.

use std::time::Duration;

use chrono::Utc;
use model::{JobId, KeyMode, Waiting};
use queue::measure::Presence;
use queue::reasons::{Reason, Scope, own_reasons};
use queue::{NewJob, Wait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{HOUR, World};

async fn world() -> World {
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, executor) values ('ours', 'builtin'), ('theirs', null)")
        .await;
    world
}

/// What a job is told to wait for.
async fn why(world: &World, job: JobId) -> Vec<Reason> {
    let reasons = world.queue.reasons(world.tenant, &[job]).await.unwrap();
    reasons
        .into_iter()
        .next()
        .map(|(_, reasons)| reasons)
        .unwrap_or_default()
}

/// The same by name alone.
async fn names(world: &World, job: JobId) -> Vec<String> {
    why(world, job)
        .await
        .iter()
        .map(|reason| {
            let reason = serde_json::to_value(reason).unwrap();
            reason["why"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn what_could_start_says_so_and_when_somebody_was_there_to_take_it() {
    let world = world().await;
    let job = world
        .add(&NewJob::new(world.tenant, "ours", &json!({})))
        .await;
    let [
        Reason::Ready {
            worker_seen_at: None,
            ..
        },
    ] = why(&world, job).await[..]
    else {
        panic!("{:?}", why(&world, job).await);
    };
    let presence = Presence {
        worker: Uuid::new_v4(),
        function: "ours",
        slots: 4,
        used: 0,
    };
    world.queue.see_worker(presence).await.unwrap();
    let [
        Reason::Ready {
            worker_seen_at: Some(_),
            ..
        },
    ] = why(&world, job).await[..]
    else {
        panic!("{:?}", why(&world, job).await);
    };
}

#[tokio::test]
async fn a_task_that_nobody_works_on_is_named() {
    let world = world().await;
    for task in ["theirs", "unheard-of"] {
        let job = world
            .add(&NewJob::new(world.tenant, task, &json!({})))
            .await;
        let task = task.to_owned();
        assert_eq!(why(&world, job).await, [Reason::NoExecutor { task }]);
    }
}

#[tokio::test]
async fn what_is_asked_for_later_says_when_and_a_retry_what_went_wrong() {
    let world = world().await;
    let payload = json!({});
    let job = NewJob {
        run_at: Some(now() + HOUR),
        ..NewJob::new(world.tenant, "ours", &payload)
    };
    let job = world.add(&job).await;
    let [Reason::Due { at }] = why(&world, job).await[..] else {
        panic!("{:?}", why(&world, job).await);
    };
    assert!(at > now() + HOUR / 2);

    let failed = world
        .add(&NewJob::new(world.tenant, "ours", &json!({})))
        .await;
    let hold = world.claim_one("ours").await;
    world
        .queue
        .retry(hold, "connection refused", Some(HOUR))
        .await
        .unwrap();
    let [
        Reason::Retry {
            attempts: 1,
            attempts_max: 5,
            ref error,
            ..
        },
    ] = why(&world, failed).await[..]
    else {
        panic!("{:?}", why(&world, failed).await);
    };
    assert_eq!(error, "connection refused");
}

#[tokio::test]
async fn a_pause_says_what_is_paused_by_whom_and_why() {
    let world = world().await;
    let payload = json!({});
    let job = NewJob {
        queue_name: Some("q"),
        ..NewJob::new(world.tenant, "ours", &payload)
    };
    let job = world.add(&job).await;
    let elsewhere = world
        .add(&NewJob::new(world.tenant, "theirs", &json!({})))
        .await;
    world
        .execute(format!(
            "insert into switchyard.pauses (kind, database_id, task, queue_name, by_whom, why) values
                ('pause', '{tenant}', null, 'q', 'ada', 'the shelf is full'),
                ('pause', null, 'ours', null, 'operator', null),
                ('drain', '{tenant}', null, null, 'ada', null)",
            tenant = world.tenant.uuid()
        ))
        .await;
    let mut paused: Vec<_> = why(&world, job)
        .await
        .into_iter()
        .map(|reason| match reason {
            Reason::Paused {
                scope,
                queue,
                by,
                note,
                ..
            } => (scope == Scope::Queue, queue, by, note),
            other => panic!("{other:?}"),
        })
        .collect();
    paused.sort();
    assert_eq!(
        paused,
        [
            (false, None, "operator".to_owned(), None),
            (
                true,
                Some("q".to_owned()),
                "ada".to_owned(),
                Some("the shelf is full".to_owned())
            ),
        ]
    );
    assert_eq!(names(&world, elsewhere).await, ["no_executor"]);
}

#[tokio::test]
async fn a_limit_says_how_much_of_it_is_used_and_a_rate_when_there_is_more() {
    let world = world().await;
    let job = world
        .add(&NewJob::new(world.tenant, "ours", &json!({})))
        .await;
    world
        .execute(format!(
            "insert into switchyard.limits (database_id, task, in_flight_max, in_flight, rate, burst, tokens, refilled_at) values
                ('{tenant}', null, 8, 8, null, null, null, null),
                (null, 'ours', 100, 3, 0.1, 1, 0, now()),
                (null, 'theirs', 1, 1, null, null, null, null)",
            tenant = world.tenant.uuid()
        ))
        .await;
    let reasons = why(&world, job).await;
    let [
        Reason::Full {
            scope: Scope::Tenant,
            in_flight: 8,
            in_flight_max: 8,
        },
        Reason::Rate {
            scope: Scope::Task,
            next_at,
        },
    ] = reasons[..]
    else {
        panic!("{reasons:?}");
    };
    let wait = next_at - now();
    assert!(
        wait > chrono::Duration::seconds(1) && wait < chrono::Duration::seconds(11),
        "{wait}"
    );
}

#[tokio::test]
async fn who_waits_in_a_queue_or_behind_its_key_names_the_job_before_it() {
    let world = world().await;
    let payload = json!({});
    let queued = NewJob {
        queue_name: Some("q"),
        ..NewJob::new(world.tenant, "ours", &payload)
    };
    let first = world.add(&queued).await;
    let second = world.add(&queued).await;
    let behind = |job| Reason::Queue {
        queue: "q".to_owned(),
        job,
    };
    assert_eq!(names(&world, first).await, ["ready"]);
    assert_eq!(why(&world, second).await, [behind(first)]);
    let hold = world.claim_one("ours").await;
    assert_eq!(hold.job, first);
    assert_eq!(why(&world, second).await, [behind(first)]);
    // Between its attempts it keeps its place.
    world
        .queue
        .retry(hold, "not yet", Some(HOUR))
        .await
        .unwrap();
    assert_eq!(why(&world, second).await, [behind(first)]);

    let keyed = NewJob {
        key: Some(("k", KeyMode::Replace)),
        ..NewJob::new(world.tenant, "theirs", &payload)
    };
    let older = world.add(&keyed).await;
    world.claim_one("theirs").await;
    let newer = world.add(&keyed).await;
    assert_eq!(names(&world, newer).await, ["no_executor", "key"]);
    assert!(
        why(&world, newer)
            .await
            .contains(&Reason::Key { job: older })
    );
}

#[tokio::test]
async fn who_is_worked_on_says_by_whom_or_what_it_waits_for() {
    let world = world().await;
    let payload = json!({});
    let new = NewJob::new(world.tenant, "ours", &payload);
    let running = world.add(&new).await;
    let hold = world.claim_one("ours").await;
    let [Reason::Running { ref worker, .. }] = why(&world, running).await[..] else {
        panic!("{:?}", why(&world, running).await);
    };
    assert_eq!(*worker, world.worker.to_string());
    for (waiting, runner, expected) in [
        (Waiting::Callback, None, "callback"),
        (Waiting::Runner, Some(json!({"name": "pod-1"})), "runner"),
    ] {
        let wait = Wait {
            waiting,
            deadline: Duration::from_secs(60),
            runner,
        };
        world.queue.wait(hold, &wait).await.unwrap();
        assert_eq!(names(&world, running).await, [expected]);
    }
    world
        .queue
        .cancel(world.tenant, running, "ada")
        .await
        .unwrap();
    let [Reason::Stopping { ref asked_by, .. }] = why(&world, running).await[..] else {
        panic!("{:?}", why(&world, running).await);
    };
    assert_eq!(asked_by.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_page_is_answered_at_once_and_a_foreign_job_not_at_all() {
    let world = world().await;
    let payload = json!({});
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let new = NewJob::new(world.tenant, "ours", &payload);
        jobs.push(world.add(&new).await);
    }
    let foreign = world.tenant().await;
    assert_eq!(world.queue.reasons(foreign, &jobs).await.unwrap(), []);
    let found = world.queue.reasons(world.tenant, &jobs).await.unwrap();
    let asked: Vec<JobId> = found.into_iter().map(|(job, _)| job).collect();
    assert_eq!(asked, jobs);

    let tenants = world.db.pool(Some("switchyard_tenant")).await;
    let mut conn = tenants.acquire().await.unwrap();
    for (tenant, seen) in [(world.tenant, 3), (foreign, 0)] {
        sqlx::query("select set_config('switchyard.tenant', $1, false)")
            .bind(tenant.uuid().to_string())
            .execute(&mut *conn)
            .await
            .unwrap();
        assert_eq!(own_reasons(&mut conn, &jobs).await.unwrap().len(), seen);
    }
}

fn now() -> chrono::DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// What programs see of a reason.
#[test]
fn a_reason_is_an_object_that_says_which_one_it_is() {
    let reason = Reason::Full {
        scope: Scope::TenantTask,
        in_flight: 2,
        in_flight_max: 2,
    };
    let shown: Value = serde_json::to_value(reason).unwrap();
    let expected =
        json!({"why": "full", "scope": "tenant_task", "in_flight": 2, "in_flight_max": 2});
    assert_eq!(shown, expected);
}
