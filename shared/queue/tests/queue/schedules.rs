//! Ticks are fired once, by the database's clock, whoever fires them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Connect, TenantDb};
use model::{DatabaseRole, ScheduleId, TenantId};
use queue::schedules::{self, Declared, Due, Missed, NewSchedule, Plan, Rule};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::world::World;

/// Schedulers that run at once.
const SCHEDULERS: usize = 8;

/// A schedule as SQL declares one, with nothing computed.
async fn declared(world: &World, name: &str, rule: Value) -> ScheduleId {
    let id = sqlx::query_scalar("select switchyard.declare_schedule($1, $2, 'task', $3)")
        .bind(world.tenant.uuid())
        .bind(name)
        .bind(rule)
        .fetch_one(&world.owner)
        .await
        .unwrap();
    ScheduleId(id)
}

async fn set(world: &World, id: ScheduleId, what: &str) {
    let changed = world
        .execute(format!(
            "update switchyard.schedules set {what} where id = {id}"
        ))
        .await;
    assert_eq!(changed, 1);
}

/// Lets its next tick have come so long ago.
async fn come(world: &World, id: ScheduleId, ago: &str) {
    let at =
        format!("next_at = date_trunc('second', now() - interval '{ago}'), plan_wanted = false");
    set(world, id, &at).await;
}

/// What a scheduler does in one pass: everything that it is told of. How many jobs came of it, and how many did not.
async fn pass(world: &World) -> (i32, i32) {
    let mut sum = (0, 0);
    for due in world.queue.due_schedules(1000).await.unwrap() {
        match due.what() {
            Due::Fire(firing) => {
                let fired = world.queue.fire_schedule(&due, &firing).await.unwrap();
                let fired = fired.unwrap_or_default();
                sum = (sum.0 + fired.fired, sum.1 + fired.refused);
            }
            Due::Plan(plan) => drop(world.queue.plan_schedule(&due, Ok(&plan)).await.unwrap()),
            Due::Refuse(wrong) => drop(world.queue.plan_schedule(&due, Err(&wrong)).await.unwrap()),
        }
    }
    sum
}

/// A column of its row.
async fn column(world: &World, id: ScheduleId, column: &str) -> Value {
    let row: Value =
        sqlx::query_scalar("select to_jsonb(s) from switchyard.schedules s where id = $1")
            .bind(id.0)
            .fetch_one(&world.owner)
            .await
            .unwrap();
    row[column].clone()
}

/// The database's clock.
async fn present(world: &World) -> DateTime<Utc> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&world.owner)
        .await
        .unwrap()
}

async fn next_at(world: &World, id: ScheduleId) -> Option<DateTime<Utc>> {
    serde_json::from_value(column(world, id, "next_at").await).unwrap()
}

/// What became of its ticks, oldest first.
async fn outcomes(world: &World, id: ScheduleId) -> Vec<(String, i32, Option<String>)> {
    sqlx::query_as(
        "select outcome::text, ticks, reason from switchyard.schedule_ticks where schedule_id = $1 order by tick",
    )
    .bind(id.0)
    .fetch_all(&world.owner)
    .await
    .unwrap()
}

async fn jobs(world: &World) -> i64 {
    world.number("select count(*) from switchyard.jobs").await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_is_fired_once_by_eight_schedulers() {
    let world = Arc::new(World::new().await);
    for n in 0..40 {
        let id = declared(&world, &format!("every second {n}"), json!("* * * * * *")).await;
        come(&world, id, "5 seconds").await;
    }
    let together = Arc::new(Barrier::new(SCHEDULERS));
    let mut schedulers = tokio::task::JoinSet::new();
    for _ in 0..SCHEDULERS {
        let (world, together) = (world.clone(), together.clone());
        schedulers.spawn(async move {
            let mut fired = 0;
            for _ in 0..5 {
                together.wait().await;
                fired += pass(&world).await.0;
            }
            fired
        });
    }
    let mut fired = 0;
    while let Some(done) = schedulers.join_next().await {
        fired += i64::from(done.unwrap());
    }
    assert!(fired >= 40 * 6, "each had six ticks at least: {fired}");
    assert_eq!(jobs(&world).await, fired);
    let ticks = "select count(*) from switchyard.schedule_ticks where outcome = 'fired'";
    assert_eq!(world.number(ticks).await, fired);
    let of_one_tick = "select count(*) from (
        select causation_id from switchyard.jobs group by causation_id having count(*) > 1
    ) twice";
    assert_eq!(world.number(of_one_tick).await, 0);
    let on_their_tick = "select count(*) from switchyard.schedule_ticks t
        join switchyard.jobs j on j.id = t.job_id and j.run_at = t.tick";
    assert_eq!(world.number(on_their_tick).await, fired);
    world.check().await;
}

#[tokio::test]
async fn a_schedule_that_sql_declared_is_planned_and_then_fired() {
    let world = World::new().await;
    let id = declared(
        &world,
        "daily",
        json!({"rule": "30 9 * * *", "tz": "Europe/Paris"}),
    )
    .await;
    assert_eq!(pass(&world).await, (0, 0));
    let next = next_at(&world, id).await.unwrap();
    let rule = Rule::parse(&json!("30 9 * * *"), Some("Europe/Paris")).unwrap();
    assert_eq!(next, rule.next_after(present(&world).await).unwrap());
    assert_eq!(
        column(&world, id, "later").await.as_array().unwrap().len(),
        15
    );
    // Planned once: the next look has nothing to do.
    assert!(world.queue.due_schedules(10).await.unwrap().is_empty());

    come(&world, id, "1 second").await;
    assert_eq!(pass(&world).await, (1, 0));
    assert_eq!(jobs(&world).await, 1);
    assert_eq!(next_at(&world, id).await, Some(next));
    let job = column(&world, id, "last_job_id").await;
    assert_eq!(
        world.number("select id from switchyard.jobs").await,
        job.as_i64().unwrap()
    );
    assert_eq!(pass(&world).await, (0, 0));
}

#[tokio::test]
async fn a_rule_that_is_wrong_shows_why_and_keeps_nobody_waiting() {
    let world = World::new().await;
    let wrong = declared(&world, "wrong", json!("61 * * * *")).await;
    let good = declared(&world, "good", json!("* * * * *")).await;
    assert_eq!(pass(&world).await, (0, 0));
    let problem = column(&world, wrong, "problem").await;
    assert!(problem.as_str().unwrap().contains("minute"), "{problem}");
    assert!(column(&world, good, "next_at").await.is_string());
    assert!(world.queue.due_schedules(10).await.unwrap().is_empty());
    // Put right, it goes on.
    set(&world, wrong, "schedule_info = '\"1 * * * *\"'").await;
    pass(&world).await;
    assert!(column(&world, wrong, "next_at").await.is_string());
    assert!(column(&world, wrong, "problem").await.is_null());
}

#[tokio::test]
async fn a_schedule_that_is_over_is_not_looked_at_again() {
    let world = World::new().await;
    let id = declared(&world, "once", json!("2026-01-01T00:00:00Z")).await;
    assert_eq!(pass(&world).await, (0, 0));
    assert!(column(&world, id, "next_at").await.is_null());
    assert!(world.queue.due_schedules(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_paused_schedule_fires_nothing_and_goes_on_from_when_it_is_resumed() {
    let world = World::new().await;
    let id = declared(&world, "hourly", json!("0 * * * *")).await;
    pass(&world).await;
    let tenants = tenants(&world);
    let mut tx = tenants.begin(world.tenant).await.unwrap();
    assert!(
        schedules::pause(&mut tx, id, "someone", Some("moving"))
            .await
            .unwrap()
    );
    // Who paused it first stays.
    assert!(
        schedules::pause(&mut tx, id, "another", None)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    come(&world, id, "3 hours").await;
    assert_eq!(pass(&world).await, (0, 0));
    let mut tx = tenants.begin(world.tenant).await.unwrap();
    let found = schedules::find(&mut tx, id).await.unwrap().unwrap();
    assert_eq!(found.paused_by.as_deref(), Some("someone"));
    assert_eq!(found.paused_why.as_deref(), Some("moving"));
    let rule = Rule::parse(&found.schedule_info, None).unwrap();
    let plan = Plan::after(&rule, schedules::now(&mut tx).await.unwrap());
    assert!(schedules::resume(&mut tx, id, &plan).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(pass(&world).await, (0, 0));
    assert_eq!(outcomes(&world, id).await, []);
    assert_eq!(next_at(&world, id).await, plan.next);
}

#[tokio::test]
async fn a_drained_task_refuses_the_tick_and_says_why_and_a_paused_one_takes_it() {
    let world = World::new().await;
    let id = declared(&world, "each second", json!("* * * * * *")).await;
    come(&world, id, "1 minute 1 second").await;
    let rule = |kind: &str| {
        format!(
            "insert into switchyard.pauses (kind, task, by_whom, why) values ('{kind}', 'task', 'someone', 'moving')"
        )
    };
    world.execute(rule("drain")).await;
    let (fired, refused) = pass(&world).await;
    assert!(fired == 0 && refused >= 60, "{fired}, {refused}");
    assert_eq!(jobs(&world).await, 0);
    let outcomes = outcomes(&world, id).await;
    let (outcome, _, reason) = outcomes.last().unwrap();
    assert_eq!(outcome, "refused");
    assert!(reason.as_ref().unwrap().contains("someone"), "{reason:?}");

    world.execute("delete from switchyard.pauses").await;
    world.execute("delete from switchyard.schedule_ticks").await;
    world.execute(rule("pause")).await;
    set(&world, id, "schedule_info = '\"0 0 1 1 *\"'").await;
    come(&world, id, "10 seconds").await;
    assert_eq!(pass(&world).await, (1, 0));
    assert_eq!(jobs(&world).await, 1);
}

#[tokio::test]
async fn a_tick_that_has_not_come_is_refused_whatever_the_clock_of_a_scheduler_says() {
    let world = World::new().await;
    let id = declared(&world, "each second", json!("* * * * * *")).await;
    come(&world, id, "1 second").await;
    let early = sqlx::query(
        "select * from switchyard.fire_schedule(
            $1, (select version from switchyard.schedules where id = $1),
            array[now() + interval '10 minutes'], 0, now() + interval '11 minutes', '{}')",
    )
    .bind(id.0)
    .execute(&world.owner)
    .await
    .unwrap_err();
    assert_eq!(
        early.as_database_error().unwrap().code().as_deref(),
        Some("22023")
    );
    assert_eq!(jobs(&world).await, 0);
    // One whose tick has not come is not fired either.
    set(&world, id, "next_at = now() + interval '1 hour'").await;
    let due = world.queue.due_schedules(10).await.unwrap();
    assert!(due.is_empty(), "{due:?}");
}

#[tokio::test]
async fn what_was_computed_from_an_older_row_is_not_written() {
    let world = World::new().await;
    let id = declared(&world, "hourly", json!("0 * * * *")).await;
    come(&world, id, "1 second").await;
    let due = world.queue.due_schedules(10).await.unwrap().remove(0);
    let Due::Fire(firing) = due.what() else {
        panic!("{due:?} is due");
    };
    set(&world, id, "schedule_info = '\"30 * * * *\"'").await;
    assert_eq!(
        world.queue.fire_schedule(&due, &firing).await.unwrap(),
        None
    );
    assert!(
        !world
            .queue
            .plan_schedule(&due, Ok(&firing.plan))
            .await
            .unwrap()
    );
    assert_eq!(jobs(&world).await, 0);
    // The ticks of the rule that is gone went with it.
    assert!(column(&world, id, "next_at").await.is_null());
    assert_eq!(column(&world, id, "plan_wanted").await, json!(true));
}

#[tokio::test]
async fn ticks_that_were_missed_are_recorded_and_made_up_for_as_it_was_asked() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for policy in ["skip", "last", "all"] {
        let id = declared(&world, policy, json!("0 * * * *")).await;
        set(&world, id, &format!("missed = '{policy}'")).await;
        set(
            &world,
            id,
            "next_at = date_trunc('hour', now() - interval '5 minutes') - interval '3 hours', plan_wanted = false",
        )
        .await;
        ids.push(id);
    }
    pass(&world).await;
    // Whether the hour's own tick is fresh depends on when this runs.
    let missed = column(&world, ids[0], "missed_count")
        .await
        .as_i64()
        .unwrap();
    assert!(missed >= 3, "{missed}");
    let skipped = outcomes(&world, ids[0]).await;
    assert_eq!(
        skipped[0],
        ("missed".to_owned(), i32::try_from(missed).unwrap(), None)
    );
    let last = outcomes(&world, ids[1]).await;
    assert_eq!(last.last().unwrap().0, "fired");
    assert_eq!(last.iter().filter(|tick| tick.0 == "fired").count(), 1);
    let all = outcomes(&world, ids[2]).await;
    assert!(
        all.len() >= 4 && all.iter().all(|tick| tick.0 == "fired"),
        "{all:?}"
    );
}

#[tokio::test]
async fn a_schedule_that_another_scheduler_holds_is_left_to_it_until_it_has_been_silent_for_long() {
    let world = World::new().await;
    let id = declared(&world, "theirs", json!("* * * * *")).await;
    pass(&world).await;
    set(
        &world,
        id,
        "locked_by = 'scheduler-0', locked_at = now() - interval '5 hours'",
    )
    .await;
    come(&world, id, "119 minutes").await;
    assert_eq!(pass(&world).await, (0, 0));
    assert_eq!(outcomes(&world, id).await, []);
    assert_eq!(column(&world, id, "locked_by").await, json!("scheduler-0"));

    come(&world, id, "121 minutes").await;
    let (fired, _) = pass(&world).await;
    assert!(fired >= 1);
    assert!(column(&world, id, "locked_by").await.is_null());
}

#[tokio::test]
async fn sql_alone_fires_the_next_tick_before_it_is_due_and_moves_on() {
    let world = World::new().await;
    let id = declared(&world, "daily", json!("0 9 * * *")).await;
    let fire = "select (switchyard.fire_next_tick(id)).tick from switchyard.schedules where name = 'daily'";
    let now: DateTime<Utc> = sqlx::query_scalar(fire)
        .fetch_one(&world.owner)
        .await
        .unwrap();
    assert!(
        now <= present(&world).await,
        "where nothing is computed the present is the tick"
    );
    pass(&world).await;
    let later: Vec<DateTime<Utc>> =
        serde_json::from_value(column(&world, id, "later").await).unwrap();
    let next = next_at(&world, id).await.unwrap();
    for expected in std::iter::once(next).chain(later) {
        let tick: DateTime<Utc> = sqlx::query_scalar(fire)
            .fetch_one(&world.owner)
            .await
            .unwrap();
        assert_eq!(tick, expected);
    }
    assert_eq!(jobs(&world).await, 17);
    // All are used up, and somebody is asked for more.
    assert!(column(&world, id, "next_at").await.is_null());
    assert_eq!(column(&world, id, "plan_wanted").await, json!(true));
    // Too early by days: the tick is spent all the same.
    pass(&world).await;
    set(&world, id, "paused_by = 'someone', paused_at = now()").await;
    sqlx::query(fire).execute(&world.owner).await.unwrap();
    assert_eq!(jobs(&world).await, 17);
    let outcomes = outcomes(&world, id).await;
    assert!(
        outcomes.iter().any(|tick| tick.0 == "refused"),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_key_lets_one_job_wait_in_its_place() {
    let world = World::new().await;
    let id = declared(&world, "each second", json!("* * * * * *")).await;
    set(&world, id, "key = 'k', payload = '{\"n\": 1}'").await;
    come(&world, id, "3 seconds").await;
    pass(&world).await;
    assert_eq!(jobs(&world).await, 1);
    let first = world.number("select id from switchyard.jobs").await;
    set(&world, id, "payload = '{\"n\": 2}'").await;
    come(&world, id, "1 second").await;
    let first_tick = outcomes(&world, id).await;
    assert_eq!(first_tick[0].2, None);
    assert!(
        first_tick[1].2.as_ref().unwrap().contains("queued already"),
        "{first_tick:?}"
    );
    // It kept its place and took what is new.
    set(
        &world,
        id,
        "next_at = next_at - interval '10 minutes', missed = 'all'",
    )
    .await;
    pass(&world).await;
    assert_eq!(world.number("select id from switchyard.jobs").await, first);
    assert_eq!(
        world
            .number("select (payload ->> 'n')::bigint from switchyard.jobs")
            .await,
        2
    );
}

#[tokio::test]
async fn the_same_tick_is_put_off_by_the_same_time() {
    let world = World::new().await;
    let id = declared(&world, "hourly", json!("0 * * * *")).await;
    let mut offsets = Vec::new();
    for _ in 0..2 {
        set(&world, id, "jitter = '10 minutes', next_at = '2026-06-01T12:00:00Z', plan_wanted = false, missed = 'all'").await;
        let fire = "select switchyard.fire_next_tick(id) from switchyard.schedules";
        sqlx::query(fire).execute(&world.owner).await.unwrap();
        let offset = world
            .number("select extract(epoch from run_at - '2026-06-01T12:00:00Z')::bigint from switchyard.jobs")
            .await;
        assert!((0..600).contains(&offset), "{offset}");
        offsets.push(offset);
        world.execute("delete from switchyard.jobs").await;
        world.execute("delete from switchyard.schedule_ticks").await;
    }
    assert_eq!(offsets[0], offsets[1]);
    let spread = "select count(distinct run_at - tick) from switchyard.schedule_ticks t join switchyard.jobs j on j.id = t.job_id";
    for hour in 0..24 {
        set(
            &world,
            id,
            &format!("next_at = '2026-06-02T{hour:02}:00:00Z', later = '{{}}'"),
        )
        .await;
        let fire = "select switchyard.fire_next_tick(id) from switchyard.schedules";
        sqlx::query(fire).execute(&world.owner).await.unwrap();
    }
    assert!(world.number(spread).await >= 20, "ticks are spread");
}

fn tenants(world: &World) -> TenantDb {
    TenantDb::new(&Connect {
        url: world.db.owner_url().into(),
        role: DatabaseRole::Tenant,
        connections_max: 2,
        acquire_timeout: Duration::from_secs(20),
    })
    .unwrap()
}

/// Declares one as a person of the tenant.
async fn own(tenants: &TenantDb, tenant: TenantId, name: &str) -> Declared {
    let info = json!({"rule": "0 9 * * *"});
    let payload = json!({});
    let mut tx = tenants.begin(tenant).await.unwrap();
    let rule = Rule::parse(&info, None).unwrap();
    let plan = Plan::after(&rule, schedules::now(&mut tx).await.unwrap());
    let schedule = NewSchedule {
        name,
        task: "task",
        schedule_info: &info,
        time_zone: None,
        payload: &payload,
        queue_name: None,
        priority: 0,
        attempts_max: None,
        key: None,
        missed: Missed::Last,
        jitter: Duration::ZERO,
        plan: &plan,
    };
    let declared = schedules::declare(&mut tx, &schedule, "someone")
        .await
        .unwrap();
    if let Declared::Done(id) = declared {
        // As it is, so that no tick is lost by a change of something else.
        let again = schedules::change(&mut tx, id, &schedule).await.unwrap();
        assert_eq!(again, Some(Declared::Done(id)));
        let found = schedules::find(&mut tx, id).await.unwrap().unwrap();
        assert_eq!((found.next_at, found.later), (plan.next, plan.later));
        tx.commit().await.unwrap();
    }
    declared
}

#[tokio::test]
async fn of_another_tenants_schedule_nothing_is_seen_and_nothing_is_changed() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant, world.tenant().await);
    let tenants = tenants(&world);
    let Declared::Done(id) = own(&tenants, theirs, "nightly").await else {
        panic!("the name is free");
    };
    // Names are each tenant's own.
    assert!(matches!(
        own(&tenants, mine, "nightly").await,
        Declared::Done(_)
    ));
    assert_eq!(own(&tenants, mine, "nightly").await, Declared::Taken);

    let row = column(&world, id, "version").await;
    let mut tx = tenants.begin(mine).await.unwrap();
    assert!(schedules::find(&mut tx, id).await.unwrap().is_none());
    assert_eq!(schedules::list(&mut tx, None, 10).await.unwrap().len(), 1);
    assert!(
        schedules::ticks(&mut tx, id, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !schedules::pause(&mut tx, id, "someone", None)
            .await
            .unwrap()
    );
    let plan = Plan {
        next: None,
        later: vec![],
    };
    assert!(!schedules::resume(&mut tx, id, &plan).await.unwrap());
    assert!(!schedules::remove(&mut tx, id).await.unwrap());
    assert_eq!(schedules::run(&mut tx, id, "someone").await.unwrap(), None);
    let (info, payload) = (json!("* * * * *"), json!({}));
    let stolen = NewSchedule {
        name: "stolen",
        task: "task",
        schedule_info: &info,
        time_zone: None,
        payload: &payload,
        queue_name: None,
        priority: 0,
        attempts_max: None,
        key: None,
        missed: Missed::Last,
        jitter: Duration::ZERO,
        plan: &plan,
    };
    assert_eq!(schedules::change(&mut tx, id, &stolen).await.unwrap(), None);
    tx.commit().await.unwrap();
    assert_eq!(column(&world, id, "version").await, row);
    assert_eq!(jobs(&world).await, 0);

    // And without a tenant there is none at all, nor the system's functions.
    let mut nobody = tenants.anonymous().await.unwrap();
    for (statement, code) in [
        ("select switchyard.run_own_schedule(1, 'x')", "42501"),
        ("select switchyard.remove_own_schedule(1)", "42501"),
        (
            "select switchyard.run_schedule(gen_random_uuid(), 1, 'x')",
            "42501",
        ),
        ("select switchyard.due_schedules(1)", "42501"),
        ("select switchyard.fire_next_tick(1)", "42501"),
        ("update switchyard.schedules set priority = 1", "42501"),
    ] {
        let refused = sqlx::query(statement)
            .execute(&mut *nobody)
            .await
            .unwrap_err();
        let told = refused.as_database_error().unwrap();
        assert_eq!(told.code().as_deref(), Some(code), "{statement}: {told}");
    }
}

#[tokio::test]
async fn by_hand_a_schedule_runs_also_when_it_is_paused_and_its_ticks_stay() {
    let world = World::new().await;
    let tenants = tenants(&world);
    let Declared::Done(id) = own(&tenants, world.tenant, "nightly").await else {
        panic!("the name is free");
    };
    let mut tx = tenants.begin(world.tenant).await.unwrap();
    schedules::pause(&mut tx, id, "someone", None)
        .await
        .unwrap();
    let job = schedules::run(&mut tx, id, "someone").await.unwrap();
    assert!(job.is_some());
    tx.commit().await.unwrap();
    assert_eq!(jobs(&world).await, 1);
    assert_eq!(outcomes(&world, id).await, []);
    assert!(column(&world, id, "next_at").await.is_string());
    let mut tx = tenants.begin(world.tenant).await.unwrap();
    assert!(schedules::remove(&mut tx, id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(jobs(&world).await, 1, "its job stays");
}

#[tokio::test]
async fn an_idle_second_reads_a_handful_of_pages() {
    let world = World::new().await;
    world
        .execute(format!(
            "insert into switchyard.schedules (database_id, name, task, schedule_info, next_at)
             select '{}', 'n' || n, 'task', '\"0 0 * * *\"', now() + n * interval '1 minute' from generate_series(1, 9999) n",
            world.tenant.uuid()
        ))
        .await;
    world
        .execute("update switchyard.schedules set plan_wanted = false")
        .await;
    world.execute("vacuum analyze switchyard.schedules").await;
    let mut session = world.owner.acquire().await.unwrap();
    let mut plan = Value::Null;
    // The first look of a session reads the catalog as well.
    for _ in 0..2 {
        plan = sqlx::query_scalar(
            "explain (analyze, buffers, format json) select * from switchyard.due_schedules(200)",
        )
        .fetch_one(&mut *session)
        .await
        .unwrap();
    }
    let plan = &plan[0]["Plan"];
    let pages =
        plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap();
    assert!(pages <= 10, "{pages} pages: {plan:#}");
    // One more than there may be is refused.
    let many = format!(
        "insert into switchyard.schedules (database_id, name, task, schedule_info) values ('{0}', 'a', 'task', '1'), ('{0}', 'b', 'task', '1')",
        world.tenant.uuid()
    );
    let refused = sqlx::query(sqlx::AssertSqlSafe(many))
        .execute(&world.owner)
        .await
        .unwrap_err();
    assert_eq!(
        refused.as_database_error().unwrap().code().as_deref(),
        Some("53400")
    );
}
