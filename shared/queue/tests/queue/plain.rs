//! Jobs with nothing special about them go a shorter way, while it is open.

use queue::NewJob;

use crate::world::{World, nothing};

/// A world with a task that is known, whose lane is awake and whose relay is, too.
async fn world() -> World {
    let world = World::new().await;
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    world
        .execute("insert into switchyard.tasks (name, attempts_max) values ('task', 7)")
        .await;
    world.execute("select switchyard.relay_heard('work')").await;
    world
}

/// What becomes of a job on the short way alone.
async fn short_way(world: &World) -> Option<i64> {
    sqlx::query_scalar(
        "insert into switchyard.plain_jobs (database_id, task, payload) values ($1, 'task', '{}') returning id",
    )
    .bind(world.tenant.uuid())
    .fetch_optional(&world.owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_job_is_the_same_whichever_way_it_went() {
    let world = world().await;
    let short = short_way(&world).await.unwrap();
    let long = world
        .number(format!(
            "select job_id from switchyard.add_job('{}', 'task', '{{}}')",
            world.tenant.uuid()
        ))
        .await;
    let row = |id| {
        let world = &world;
        async move {
            sqlx::query_scalar::<_, serde_json::Value>(
                "select to_jsonb(j) - '{id,run_at,created_at}'::text[] from switchyard.jobs j where id = $1",
            )
            .bind(id)
            .fetch_one(&world.owner)
            .await
            .unwrap()
        }
    };
    let (short, long) = (row(short).await, row(long).await);
    assert_eq!(short, long);
    assert_eq!(short["attempts_max"], 7);
    world.check().await;
}

#[tokio::test]
async fn the_short_way_is_closed_to_who_must_tell_the_relay() {
    let world = world().await;
    assert!(short_way(&world).await.is_some());
    world.execute("select switchyard.arm_relay('work')").await;
    assert_eq!(short_way(&world).await, None);
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    assert_eq!(short_way(&world).await, None, "it was told, and sleeps yet");
    world.execute("select switchyard.relay_heard('work')").await;
    assert!(short_way(&world).await.is_some(), "it is awake");
}

#[tokio::test]
async fn the_short_way_stays_closed_whatever_becomes_of_who_tells_the_relay() {
    let world = world().await;
    for telling in [
        "select switchyard.wake_relay('work')",
        "savepoint s; select switchyard.wake_relay('work'); rollback to s",
    ] {
        for end in ["commit", "rollback"] {
            world.execute("select switchyard.arm_relay('work')").await;
            let mut stranger = world.owner.acquire().await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("begin; {telling}")))
                .execute(&mut *stranger)
                .await
                .unwrap();
            assert_eq!(short_way(&world).await, None, "{telling}");
            sqlx::raw_sql(end).execute(&mut *stranger).await.unwrap();
            assert_eq!(short_way(&world).await, None, "{telling}; {end}");
            world.execute("select switchyard.relay_heard('work')").await;
            assert!(short_way(&world).await.is_some());
        }
    }
}

#[tokio::test]
async fn jobs_of_a_transaction_keep_their_order_whichever_way_each_went() {
    let world = world().await;
    let mut tx = world.owner.begin().await.unwrap();
    let mut added = Vec::new();
    // A key makes it the long way; the second of this key is kept for the first.
    for key in [Some("key"), None, Some("key"), None] {
        let job = NewJob {
            key: key.map(|key| (key, model::KeyMode::Preserve)),
            ..NewJob::new(world.tenant, "task", nothing())
        };
        added.push(queue::enqueue(&mut tx, &job).await.unwrap().job());
    }
    tx.commit().await.unwrap();
    let in_order: Vec<i64> =
        sqlx::query_scalar("select id from switchyard.jobs where id >= $1 order by run_at, id")
            .bind(added[0].0)
            .fetch_all(&world.owner)
            .await
            .unwrap();
    assert_eq!(in_order.len(), 3);
    assert!(in_order.is_sorted(), "{in_order:?}");
}

#[tokio::test]
async fn the_short_way_is_closed_where_something_drains() {
    let world = world().await;
    for (tenant, task) in [("null", "'task'"), ("$T", "null"), ("$T", "'task'")] {
        let of =
            format!("{tenant}, {task}, null").replace("$T", &format!("'{}'", world.tenant.uuid()));
        world
            .execute(format!(
                "select switchyard.pause('drain', {of}, 'a person', null)"
            ))
            .await;
        assert_eq!(short_way(&world).await, None, "{of}");
        world
            .execute(format!(
                "select switchyard.resume('drain', {of}, 'a person', null)"
            ))
            .await;
        assert!(short_way(&world).await.is_some(), "{of}");
    }
    world
        .execute(format!(
            "select switchyard.pause('drain', '{}', 'other', null, 'a person', null)",
            world.tenant.uuid()
        ))
        .await;
    assert!(short_way(&world).await.is_some());
}

#[tokio::test]
async fn a_lane_made_where_something_drains_knows_it() {
    let world = world().await;
    world
        .execute("select switchyard.pause('drain', null, 'other', null, 'a person', null)")
        .await;
    let refused = queue::enqueue(
        &mut world.owner.acquire().await.unwrap(),
        &NewJob::new(world.tenant, "other", nothing()),
    )
    .await
    .unwrap_err();
    assert!(refused.to_string().contains("is draining"), "{refused}");
    world
        .execute(format!(
            "select switchyard.add_job('{}', 'other', '{{}}', p_event_id => gen_random_uuid())",
            world.tenant.uuid()
        ))
        .await;
    assert_eq!(
        world
            .number("select count(*) from switchyard.lanes where task = 'other' and drains and plain_from is null")
            .await,
        1
    );
}

#[tokio::test]
async fn the_short_way_is_as_often_tried_as_the_task_says_now() {
    let world = world().await;
    let attempts_max = "select max(attempts_max)::bigint from switchyard.jobs";
    world
        .execute("update switchyard.tasks set attempts_max = 9 where name = 'task'")
        .await;
    short_way(&world).await.unwrap();
    assert_eq!(world.number(attempts_max).await, 9);
    world
        .execute("delete from switchyard.tasks where name = 'task'")
        .await;
    assert_eq!(
        short_way(&world).await,
        None,
        "nobody knows how often it is tried"
    );
}

#[tokio::test]
async fn the_short_way_is_closed_into_a_lane_that_is_idle_and_opens_with_its_next_job() {
    let world = world().await;
    world.claim_one("task").await;
    let age = "update switchyard.lanes set turned_at = turned_at - interval '3 s'";
    world.execute(age).await;
    assert!(world.claim("task", 1).await.is_empty());
    assert_eq!(short_way(&world).await, None, "it is idle");
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    world.execute(age).await;
    world.claim_one("task").await;
    assert!(
        short_way(&world).await.is_some(),
        "it was turned by the claim"
    );
    world.claim_one("task").await;
    world.rest("task").await;
    assert_eq!(short_way(&world).await, None, "it rests");
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    assert!(short_way(&world).await.is_some());
    world.check().await;
}
