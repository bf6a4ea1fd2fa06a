//! Pauses, drains, limits, caps and weights: what they do to claims, who may set and lift them.

use std::time::{Duration, Instant};

use database::{Connect, TenantDb, TenantTx};
use model::{DatabaseRole, JobId, TenantId};
use queue::lanes;
use queue::rules::{
    Limits, OwnScope, PauseKind, Rate, Scope, own_limits, own_pauses, pause_own, resume_own,
    set_own_cap, set_own_limit,
};
use queue::{By, Ended, Finish, Hold, NewJob, RuleError, Wait};

use crate::world::{HOUR, World, nothing};

pub(crate) const ANN: By<'static> = By {
    name: "ann",
    why: Some("the vendor is down"),
};

impl World {
    pub(crate) fn tenants(&self) -> TenantDb {
        TenantDb::new(&Connect {
            url: self.db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 4,
            acquire_timeout: Duration::from_secs(20),
        })
        .unwrap()
    }

    pub(crate) async fn of(&self, tenant: TenantId) -> TenantTx {
        self.tenants().begin(tenant).await.unwrap()
    }

    pub(crate) async fn finish_as(&self, hold: Hold, ended: Ended, reason: Option<&str>) {
        let end = Finish {
            hold,
            ended,
            reason: reason.map(str::to_owned),
            result: None,
        };
        self.queue.finish(&[end]).await.unwrap();
    }

    async fn in_queue(&self, tenant: TenantId, queue: &str) -> JobId {
        self.add(&NewJob {
            queue_name: Some(queue),
            ..NewJob::new(tenant, "task", nothing())
        })
        .await
    }
}

/// Pauses, tries, resumes, tries again.
async fn stands_still(world: &World, scope: Scope<'_>, task: &str) {
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    assert!(
        world.claim(task, 10).await.is_empty(),
        "{scope:?} is paused"
    );
    assert!(world.queue.claimable(10).await.unwrap().is_empty());
    let lifted = world.queue.resume(None, scope, ANN).await.unwrap();
    assert_eq!(lifted, 1, "{scope:?}");
    assert_eq!(world.claim(task, 10).await.len(), 1, "{scope:?} goes on");
    world.check().await;
}

#[tokio::test]
async fn what_is_paused_starts_nothing_until_it_is_resumed() {
    for named in [false, true] {
        let world = World::new().await;
        let tenant = world.tenant;
        let scopes = [
            Scope::Task("task"),
            Scope::Tenant(tenant),
            Scope::TenantTask(tenant, "task"),
            Scope::Queue(tenant, "queue"),
        ];
        for scope in scopes {
            if named {
                world.in_queue(tenant, "queue").await;
            } else if matches!(scope, Scope::Queue(..)) {
                continue;
            } else {
                world.add_many(tenant, "task", 1).await;
            }
            stands_still(&world, scope, "task").await;
            let held = world.queue.release(&[holding(&world).await]).await.unwrap();
            assert_eq!(held, 1);
            let hold = world.claim_one("task").await;
            world.finish_as(hold, Ended::Succeeded, None).await;
        }
    }
}

/// The only job that is held.
async fn holding(world: &World) -> Hold {
    let (job, epoch): (i64, i64) =
        sqlx::query_as("select id, epoch from switchyard.jobs where state = 'running'")
            .fetch_one(&world.owner)
            .await
            .unwrap();
    Hold {
        job: JobId(job),
        epoch,
    }
}

#[tokio::test]
async fn a_pause_concerns_nobody_else() {
    let world = World::new().await;
    let other = world.tenant().await;
    for tenant in [world.tenant, other] {
        world.add_many(tenant, "task", 1).await;
        world.add_many(tenant, "else", 1).await;
        world.in_queue(tenant, "queue").await;
    }
    let scope = Scope::TenantTask(world.tenant, "else");
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    let scope = Scope::Queue(other, "queue");
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    let claimed = world.claim("task", 10).await;
    let mut owners: Vec<_> = claimed.iter().map(|job| job.tenant == other).collect();
    owners.sort_unstable();
    // The other's queue is paused.
    assert_eq!(owners, [false, false, true]);
    let claimed = world.claim("else", 10).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].tenant, other);
    world.check().await;
}

#[tokio::test]
async fn what_is_added_or_comes_due_during_a_pause_waits_also_in_a_lane_made_meanwhile() {
    let world = World::new().await;
    let scope = Scope::Tenant(world.tenant);
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    world.add_many(world.tenant, "task", 2).await;
    world.in_queue(world.tenant, "queue").await;
    let later = world
        .add(&NewJob {
            run_at: Some(chrono::DateTime::<chrono::Utc>::MAX_UTC - chrono::Days::new(400_000)),
            ..NewJob::new(world.tenant, "task", nothing())
        })
        .await;
    world.come_due(later).await;
    assert!(world.claim("task", 10).await.is_empty());
    world.queue.resume(None, scope, ANN).await.unwrap();
    assert_eq!(world.claim("task", 10).await.len(), 4);
    world.check().await;
}

#[tokio::test]
async fn what_runs_goes_on_through_a_pause_and_its_retry_waits() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 2).await;
    let holds: Vec<_> = world.claim("task", 2).await;
    let scope = Scope::Tenant(world.tenant);
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    world.finish_as(holds[0].hold, Ended::Succeeded, None).await;
    world
        .queue
        .retry(holds[1].hold, "broken", Some(Duration::ZERO))
        .await
        .unwrap();
    assert!(world.claim("task", 1).await.is_empty());
    world.queue.resume(None, scope, ANN).await.unwrap();
    assert_eq!(world.claim_one("task").await.job, holds[1].hold.job);
    world.check().await;
}

#[tokio::test]
async fn two_pauses_of_one_lane_are_lifted_one_by_one() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 1).await;
    let scopes = [
        Scope::Tenant(world.tenant),
        Scope::TenantTask(world.tenant, "task"),
        Scope::Task("task"),
    ];
    for scope in scopes {
        world
            .queue
            .pause(PauseKind::Pause, scope, ANN)
            .await
            .unwrap();
    }
    for scope in scopes {
        assert!(world.claim("task", 1).await.is_empty(), "before {scope:?}");
        assert_eq!(world.queue.resume(None, scope, ANN).await.unwrap(), 1);
    }
    world.claim_one("task").await;
}

#[tokio::test]
async fn ten_thousand_lanes_are_paused_and_resumed_at_once() {
    let world = World::new().await;
    world
        .execute(format!(
            "insert into switchyard.lanes (database_id, task, queue_name, cap, active, priorities, fronts)
             select '{}', 'task', 'queue ' || n, 1, true, '{{0}}', array[now()]
             from generate_series(1, 10000) n",
            world.tenant.uuid()
        ))
        .await;
    let scope = Scope::Tenant(world.tenant);
    let began = Instant::now();
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    let paused = "select count(*) from switchyard.lanes where paused";
    assert_eq!(world.number(paused).await, 10_000);
    world.queue.resume(None, scope, ANN).await.unwrap();
    let took = began.elapsed();
    assert_eq!(world.number(paused).await, 0);
    // Both take about 200 ms; a claim waits as long, so that much more would be felt.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_drained_queue_is_worked_off_and_takes_nothing() {
    let world = World::new().await;
    let tenant = world.tenant;
    world.in_queue(tenant, "queue").await;
    world.in_queue(tenant, "queue").await;
    let scope = Scope::Queue(tenant, "queue");
    world
        .queue
        .pause(PauseKind::Drain, scope, ANN)
        .await
        .unwrap();
    let job = NewJob {
        queue_name: Some("queue"),
        ..NewJob::new(tenant, "task", nothing())
    };
    let error = world.queue.add(&job).await.unwrap_err();
    let Some(told) = error.as_database_error() else {
        panic!("{error:?}");
    };
    assert_eq!(told.code().as_deref(), Some("55006"));
    let text = told.message();
    assert!(
        text.contains("queue") && text.contains("ann") && text.contains("the vendor is down"),
        "{text}"
    );
    for left in [2, 1] {
        assert_eq!(world.queue.left(scope, 100).await.unwrap(), left);
        let hold = world.claim_one("task").await;
        assert_eq!(world.queue.left(scope, 100).await.unwrap(), left);
        world.finish_as(hold, Ended::Succeeded, None).await;
    }
    assert_eq!(world.queue.left(scope, 100).await.unwrap(), 0);
    // Other places take jobs as before.
    world.add_many(tenant, "task", 1).await;
    world.queue.resume(None, scope, ANN).await.unwrap();
    world.queue.add(&job).await.unwrap();
    world.check().await;
}

#[tokio::test]
async fn a_drain_of_a_task_or_tenant_refuses_what_belongs_to_it() {
    let world = World::new().await;
    let other = world.tenant().await;
    for (scope, refused_of_other) in [
        (Scope::Task("task"), true),
        (Scope::Tenant(world.tenant), false),
        (Scope::TenantTask(world.tenant, "task"), false),
    ] {
        world
            .queue
            .pause(PauseKind::Drain, scope, ANN)
            .await
            .unwrap();
        let own = NewJob::new(world.tenant, "task", nothing());
        assert!(world.queue.add(&own).await.is_err(), "{scope:?}");
        let others = NewJob::new(other, "task", nothing());
        assert_eq!(
            world.queue.add(&others).await.is_err(),
            refused_of_other,
            "{scope:?}"
        );
        world.queue.resume(None, scope, ANN).await.unwrap();
        world.queue.add(&own).await.unwrap();
    }
}

#[tokio::test]
async fn a_limit_that_is_set_while_jobs_run_counts_them() {
    let world = World::new().await;
    let other = world.tenant().await;
    world.add_many(world.tenant, "task", 8).await;
    world.add_many(world.tenant, "else", 2).await;
    world.add_many(other, "task", 3).await;
    let running = world.claim("task", 4).await;
    world.claim("else", 1).await;
    // One waits for a person: it counts for nothing but a named queue.
    let own: Vec<_> = running
        .iter()
        .filter(|job| job.tenant == world.tenant)
        .collect();
    let wait = Wait {
        waiting: model::Waiting::Approval,
        deadline: HOUR,
        runner: None,
    };
    world.queue.wait(own[0].hold, &wait).await.unwrap();
    let counted = |database_id: &str, task: &str| {
        format!(
            "select count(*) from switchyard.jobs
             where state <> 'queued' and waiting is distinct from 'approval' and {database_id} and {task}"
        )
    };
    let tenant = format!("database_id = '{}'", world.tenant.uuid());
    for (scope, truth) in [
        (Scope::Tenant(world.tenant), counted(&tenant, "true")),
        (Scope::Task("task"), counted("true", "task = 'task'")),
        (
            Scope::TenantTask(world.tenant, "task"),
            counted(&tenant, "task = 'task'"),
        ),
    ] {
        let limits = Limits {
            in_flight_max: Some(5),
            rate: None,
        };
        assert!(world.queue.set_limit(scope, limits, ANN).await.unwrap());
        let set = world.queue.limits(10).await.unwrap();
        assert_eq!(
            set[0].in_flight.map(i64::from),
            Some(world.number(truth).await),
            "{scope:?}"
        );
        // As much as is left, and not one more.
        let free = 5 - usize::try_from(set[0].in_flight.unwrap()).unwrap();
        let more = world.claim("task", 20).await;
        let concerned = more.iter().filter(|job| match scope {
            Scope::Task(_) => true,
            _ => job.tenant == world.tenant,
        });
        assert!(concerned.count() <= free, "{scope:?}");
        assert!(
            !world
                .queue
                .set_limit(scope, Limits::default(), ANN)
                .await
                .unwrap()
        );
        let holds: Vec<_> = more.iter().map(|job| job.hold).collect();
        world.queue.release(&holds).await.unwrap();
        world.check().await;
    }
    assert!(world.queue.limits(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_limit_holds_and_lets_go_as_jobs_end() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 10).await;
    let scope = Scope::TenantTask(world.tenant, "task");
    let limits = Limits {
        in_flight_max: Some(3),
        rate: None,
    };
    world.queue.set_limit(scope, limits, ANN).await.unwrap();
    let first = world.claim("task", 10).await;
    assert_eq!(first.len(), 3);
    assert!(world.claim("task", 10).await.is_empty());
    world.finish_as(first[0].hold, Ended::Succeeded, None).await;
    assert_eq!(world.claim("task", 10).await.len(), 1);
    world
        .queue
        .set_limit(scope, Limits::default(), ANN)
        .await
        .unwrap();
    assert_eq!(world.claim("task", 10).await.len(), 6);
    world.check().await;
}

#[tokio::test]
async fn a_rate_gives_its_burst_and_no_more() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 10).await;
    let scope = Scope::Tenant(world.tenant);
    let limits = Limits {
        in_flight_max: None,
        rate: Some(Rate {
            per_second: 0.001,
            burst: Some(2),
        }),
    };
    world.queue.set_limit(scope, limits, ANN).await.unwrap();
    assert_eq!(world.claim("task", 10).await.len(), 2);
    assert!(world.claim("task", 10).await.is_empty());
    // Said again it does not fill the bucket.
    world.queue.set_limit(scope, limits, ANN).await.unwrap();
    assert!(world.claim("task", 10).await.is_empty());
    world
        .execute("update switchyard.limits set refilled_at = refilled_at - interval '1000 s'")
        .await;
    assert_eq!(world.claim("task", 10).await.len(), 1);
}

#[tokio::test]
async fn a_cap_that_is_set_while_jobs_run_counts_them() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 9).await;
    world.in_queue(world.tenant, "queue").await;
    let running = world.claim("task", 5).await;
    let of_lane = world
        .number(
            "select count(*) from switchyard.jobs where state = 'running' and queue_name is null",
        )
        .await;
    world
        .queue
        .set_cap(world.tenant, "task", Some(6), ANN)
        .await
        .unwrap();
    assert_eq!(
        world
            .number("select in_flight::bigint from switchyard.lanes where queue_name is null")
            .await,
        of_lane
    );
    let more = world.claim("task", 10).await;
    let in_lane = world
        .number(
            "select count(*) from switchyard.jobs where state = 'running' and queue_name is null",
        )
        .await;
    assert_eq!(in_lane, 6);
    // A cap below what runs lets nothing start until enough has ended.
    world
        .queue
        .set_cap(world.tenant, "task", Some(2), ANN)
        .await
        .unwrap();
    for job in running.iter().chain(&more).take(2) {
        world.finish_as(job.hold, Ended::Succeeded, None).await;
        assert!(world.claim("task", 10).await.is_empty());
    }
    world
        .queue
        .set_cap(world.tenant, "task", None, ANN)
        .await
        .unwrap();
    assert!(!world.claim("task", 10).await.is_empty());
    assert_eq!(
        world
            .number("select in_flight::bigint from switchyard.lanes where queue_name is null")
            .await,
        0,
        "without a cap nothing is counted"
    );
}

#[tokio::test]
async fn a_named_queue_keeps_its_one_at_a_time() {
    let world = World::new().await;
    let limits = Limits {
        in_flight_max: Some(2),
        rate: None,
    };
    let scope = Scope::Queue(world.tenant, "queue");
    let error = world.queue.set_limit(scope, limits, ANN).await.unwrap_err();
    assert!(matches!(error, RuleError::Wrong(_)), "{error}");
}

#[tokio::test]
async fn twice_the_weight_starts_twice_as_many() {
    let world = World::new().await;
    let heavy = world.tenant().await;
    for tenant in [world.tenant, heavy] {
        world.add_many(tenant, "task", 300).await;
    }
    world.queue.set_weight(heavy, 2.0, ANN).await.unwrap();
    let mut of_heavy = 0;
    for _ in 0..50 {
        let claimed = world.claim("task", 6).await;
        assert_eq!(claimed.len(), 6);
        of_heavy += claimed.iter().filter(|job| job.tenant == heavy).count();
    }
    assert!((190..=210).contains(&of_heavy), "{of_heavy} of 300");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_says_what_would() {
    let world = World::new().await;
    let queue = &world.queue;
    let of = |in_flight_max, rate| Limits {
        in_flight_max,
        rate,
    };
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    for limits in [
        of(Some(0), None),
        of(Some(-1), None),
        of(Some(1_000_001), None),
        of(None, rate(0.0, None)),
        of(None, rate(f64::NAN, None)),
        of(None, rate(f64::INFINITY, None)),
        of(None, rate(-1.0, None)),
        of(None, rate(1.0, Some(0))),
    ] {
        let scope = Scope::Tenant(world.tenant);
        let error = queue.set_limit(scope, limits, ANN).await.unwrap_err();
        assert!(matches!(error, RuleError::Wrong(_)), "{limits:?}: {error}");
    }
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let error = queue.set_weight(world.tenant, weight, ANN).await;
        assert!(matches!(error, Err(RuleError::Wrong(_))), "{weight}");
    }
    let nobody = TenantId::from(uuid::Uuid::nil());
    let error = queue
        .pause(PauseKind::Pause, Scope::Tenant(nobody), ANN)
        .await;
    assert!(matches!(error, Err(RuleError::Missing(_))), "{error:?}");
    let long = "x".repeat(201);
    for name in ["", "  ", &long] {
        let by = By { name, why: None };
        let error = queue.pause(PauseKind::Pause, Scope::Task("task"), by).await;
        assert!(matches!(error, Err(RuleError::Wrong(_))), "{name:?}");
    }
    assert_eq!(
        world.number("select count(*) from switchyard.audit").await,
        0
    );
    assert!(queue.pauses(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tenant_rules_what_is_its_own_and_not_what_the_installation_wants() {
    let world = World::new().await;
    let (one, other) = (world.tenant, world.tenant().await);
    for tenant in [one, other] {
        world.add_many(tenant, "task", 2).await;
    }
    let installation = By {
        name: "root",
        why: None,
    };
    let scope = Scope::Tenant(one);
    world
        .queue
        .pause(PauseKind::Pause, scope, installation)
        .await
        .unwrap();
    let limits = Limits {
        in_flight_max: Some(1),
        rate: None,
    };
    world
        .queue
        .set_limit(Scope::TenantTask(one, "task"), limits, installation)
        .await
        .unwrap();

    let mut tx = world.of(one).await;
    let own = pause_own(&mut tx, PauseKind::Pause, OwnScope::All, ANN)
        .await
        .unwrap();
    let seen = own_pauses(&mut tx).await.unwrap();
    assert_eq!(seen.iter().filter(|pause| pause.own).count(), 1);
    assert_eq!(seen.len(), 2);
    let theirs = seen.iter().find(|pause| !pause.own).unwrap();
    assert!(resume_own(&mut tx, own, ANN).await.unwrap());
    assert!(!resume_own(&mut tx, own, ANN).await.unwrap(), "only once");
    tx.commit().await.unwrap();

    let mut tx = world.of(one).await;
    let error = resume_own(&mut tx, theirs.id, ANN).await.unwrap_err();
    assert!(matches!(error, RuleError::Refused(_)), "{error}");
    drop(tx);
    let mut tx = world.of(one).await;
    let error = set_own_limit(&mut tx, "task", Limits::default(), ANN)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RuleError::Refused(text) if text.contains("root")),
        "{error}"
    );
    drop(tx);
    assert!(
        world
            .claim("task", 10)
            .await
            .iter()
            .all(|job| job.tenant == other)
    );

    // The installation has the last word over what a tenant wants.
    let mut tx = world.of(one).await;
    pause_own(&mut tx, PauseKind::Pause, OwnScope::All, ANN)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let lifted = world.queue.resume(None, scope, installation).await.unwrap();
    assert_eq!(lifted, 2);
}

#[tokio::test]
async fn a_tenant_reaches_nothing_of_another() {
    let world = World::new().await;
    let (one, other) = (world.tenant, world.tenant().await);
    for tenant in [one, other] {
        world.add_many(tenant, "task", 2).await;
        world.in_queue(tenant, "queue").await;
    }
    let others = world.rows(other).await;
    let mut tx = world.of(other).await;
    let pause = pause_own(&mut tx, PauseKind::Drain, OwnScope::Queue("queue"), ANN)
        .await
        .unwrap();
    let limits = Limits {
        in_flight_max: Some(1),
        rate: None,
    };
    set_own_limit(&mut tx, "task", limits, ANN).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = world.of(one).await;
    assert!(own_pauses(&mut tx).await.unwrap().is_empty());
    assert!(own_limits(&mut tx).await.unwrap().is_empty());
    assert!(!resume_own(&mut tx, pause, ANN).await.unwrap());
    for scope in [
        OwnScope::All,
        OwnScope::Task("task"),
        OwnScope::Queue("queue"),
    ] {
        pause_own(&mut tx, PauseKind::Pause, scope, ANN)
            .await
            .unwrap();
    }
    set_own_cap(&mut tx, "task", Some(1), ANN).await.unwrap();
    set_own_limit(&mut tx, "task", limits, ANN).await.unwrap();
    let lanes = lanes::queues(&mut tx, None, 10).await.unwrap();
    assert_eq!(lanes.len(), 1);
    assert!(lanes[0].paused && !lanes[0].drained);
    tx.commit().await.unwrap();
    assert_eq!(world.rows(other).await, others, "nothing of the other's");
    let claimed = world.claim("task", 10).await;
    assert!(!claimed.is_empty() && claimed.iter().all(|job| job.tenant == other));

    // Without a tenant there is nothing to rule.
    let mut nobody = world.tenants().anonymous().await.unwrap();
    for sql in [
        "select switchyard.pause_own('pause', null, null, 'ann', null)",
        "select switchyard.set_own_limit('task', 1, null, null, 'ann', null)",
        "select switchyard.set_own_lane_cap('task', 1, 'ann', null)",
        "select switchyard.resume_own(1, 'ann', null)",
        "select switchyard.own_left_in(null, null, 1)",
        "select switchyard.replay_own_job(1, 'ann')",
        "select switchyard.purge_own_job(1, 'ann')",
        "select switchyard.ask_own_bulk('purge', '{}', 'ann')",
        "select switchyard.repair_own_jobs('reap', '{1}', null, null, 1, true, 'ann', null)",
        "select switchyard.repair_own_wakeups(null, 1, true, 'ann', null)",
        // What names a tenant, or none, is not for it.
        "select switchyard.pause('pause', null, 'task', null, 'ann', null)",
        "select switchyard.resume(null, null, 'task', null, 'ann', null)",
        "select switchyard.set_limit(null, 'task', 1, null, null, 'ann')",
        "select switchyard.set_lane_cap(gen_random_uuid(), 'task', 1, 'ann')",
        "select switchyard.set_weight(gen_random_uuid(), 1, 'ann')",
        "select switchyard.ask_bulk(gen_random_uuid(), 'purge', '{}', 'ann')",
        "select switchyard.bulk_step(1, 1, 'purge', '{}', 'ann', 1)",
        "select switchyard.set_progress(1, 1, '{}')",
        "select switchyard.repair_jobs('reap', null, '{1}', null, null, 1, true, 'ann', null)",
        "select switchyard.repair_wakeups(null, null, 1, true, 'ann', null)",
        "select switchyard.left_in(null, 'task', null, 1)",
        "select switchyard.lift('{1}', 'ann', null)",
        "select switchyard.replay(a, 'ann') from switchyard.jobs_archive a",
    ] {
        let error = sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut *nobody)
            .await;
        let code = error
            .as_ref()
            .err()
            .and_then(|error| error.as_database_error())
            .and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn every_deed_is_recorded_with_who_and_why() {
    let world = World::new().await;
    let scope = Scope::Queue(world.tenant, "queue");
    world
        .queue
        .pause(PauseKind::Pause, scope, ANN)
        .await
        .unwrap();
    world.queue.resume(None, scope, ANN).await.unwrap();
    world
        .queue
        .set_cap(world.tenant, "task", Some(3), ANN)
        .await
        .unwrap();
    world
        .queue
        .set_weight(world.tenant, 3.0, ANN)
        .await
        .unwrap();
    let deeds: Vec<String> = sqlx::query_scalar(
        "select deed || ' by ' || by_whom || ': ' || why || ' ' || coalesce(data ->> 'queue', '')
            || coalesce(data ->> 'task', '') || coalesce(data ->> 'weight', '')
         from switchyard.audit order by id",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    assert_eq!(
        deeds,
        [
            "pause by ann: the vendor is down queue",
            "resume by ann: the vendor is down queue",
            "cap by ann: the vendor is down task",
            "weight by ann: the vendor is down 3",
        ]
    );
}

#[tokio::test]
async fn who_rules_waits_briefly_for_one_who_adds_and_is_then_tried_again() {
    let world = World::new().await;
    // Somebody's open transaction made a lane and holds the right to.
    let mut open = world.owner.acquire().await.unwrap();
    sqlx::query("begin").execute(&mut *open).await.unwrap();
    sqlx::query("select switchyard.add_job($1, 'task', '{}')")
        .bind(world.tenant.uuid())
        .execute(&mut *open)
        .await
        .unwrap();
    let mut tx = world.of(world.tenant).await;
    let error = pause_own(&mut tx, PauseKind::Pause, OwnScope::All, ANN)
        .await
        .unwrap_err();
    let RuleError::Database(error) = error else {
        panic!("{error:?}");
    };
    assert!(database::is_passing(&error), "{error}");
    drop(tx);
    let scope = Scope::Tenant(world.tenant);
    let (paused, committed) = tokio::join!(
        world.queue.pause(PauseKind::Pause, scope, ANN),
        sqlx::query("commit").execute(&mut *open)
    );
    committed.unwrap();
    paused.unwrap();
    assert!(world.claim("task", 1).await.is_empty());
}

#[tokio::test]
async fn a_pause_during_claims_lets_nothing_through_that_begins_after_it() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 2000).await;
    let scope = Scope::Tenant(world.tenant);
    let claims = async {
        for _ in 0..40 {
            world.claim("task", 10).await;
        }
    };
    let pausing = async {
        world
            .queue
            .pause(PauseKind::Pause, scope, ANN)
            .await
            .unwrap();
        let held = world
            .number("select count(*) from switchyard.jobs where state = 'running'")
            .await;
        assert!(world.claim("task", 10).await.is_empty());
        held
    };
    let ((), held) = tokio::join!(claims, pausing);
    let after = world
        .number("select count(*) from switchyard.jobs where state = 'running'")
        .await;
    assert_eq!(after, held, "nothing began after the pause");
}

#[tokio::test]
async fn lanes_tell_what_is_in_them() {
    let world = World::new().await;
    world.add_many(world.tenant, "task", 3).await;
    world.in_queue(world.tenant, "b").await;
    world.in_queue(world.tenant, "a").await;
    world.add_many(world.tenant, "else", 1).await;
    let hold = world.claim_one("else").await;
    let mut tx = world.of(world.tenant).await;
    let tasks = lanes::tasks(&mut tx, None, 10).await.unwrap();
    let told: Vec<_> = tasks
        .iter()
        .map(|lane| (lane.task.as_str(), lane.ready, lane.in_flight))
        .collect();
    assert_eq!(told, [("else", 0, 1), ("task", 3, 0)]);
    let queues = lanes::queues(&mut tx, None, 1).await.unwrap();
    assert_eq!(queues[0].queue.as_deref(), Some("a"));
    let queues = lanes::queues(&mut tx, Some("a"), 10).await.unwrap();
    assert_eq!(queues.len(), 1);
    assert_eq!(
        (queues[0].queue.as_deref(), queues[0].cap),
        (Some("b"), Some(1))
    );
    assert!(lanes::queue(&mut tx, "c").await.unwrap().is_none());
    tx.commit().await.unwrap();
    world.finish_as(hold, Ended::Succeeded, None).await;
}
