//! Partitions, due times and how the relay is woken.

use std::time::Duration;

use model::{JobState, Waiting};
use queue::{Ended, Finish, NewJob, Wait};
use sqlx::postgres::PgListener;

use crate::world::{HOUR, World, nothing};

async fn notify(world: &World) {
    world
        .execute("select pg_notify('switchyard_relay', 'end')")
        .await;
}

async fn heard(listener: &mut PgListener) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let one = tokio::time::timeout(Duration::from_secs(10), listener.recv())
            .await
            .unwrap()
            .unwrap();
        if one.payload() == "end" {
            return all;
        }
        let broker = one.payload().split(' ').next();
        all.push(broker.unwrap_or_default().to_owned());
    }
}

async fn listen(world: &World) -> PgListener {
    let mut listener = PgListener::connect(&world.db.owner_url()).await.unwrap();
    listener.listen("switchyard_relay").await.unwrap();
    listener
}

#[tokio::test]
async fn a_relay_is_notified_exactly_when_it_is_armed() {
    let world = World::new().await;
    let mut listener = listen(&world).await;
    let job = NewJob::new(world.tenant, "task", nothing());
    world.add(&job).await;
    notify(&world).await;
    assert_eq!(
        heard(&mut listener).await,
        Vec::<String>::new(),
        "it is not armed"
    );
    for _ in 0..2 {
        world.execute("select switchyard.arm_relay('work')").await;
        world.add(&job).await;
        world.add(&job).await;
        notify(&world).await;
        assert_eq!(
            heard(&mut listener).await,
            ["work"],
            "the first writer disarms it"
        );
    }
}

#[tokio::test]
async fn a_relay_is_told_which_job_where_nothing_can_keep_it_from_starting() {
    let world = World::new().await;
    world
        .execute("insert into switchyard.tasks (name, executor) values ('task', 'builtin')")
        .await;
    let mut listener = listen(&world).await;
    let plain = NewJob::new(world.tenant, "task", nothing());
    let mut told = async |job: &NewJob<'_>| {
        world.execute("select switchyard.arm_relay('work')").await;
        let job = world.add(job).await;
        let said = tokio::time::timeout(Duration::from_secs(10), listener.recv())
            .await
            .unwrap()
            .unwrap();
        (job, queue::Claimable::told(said.payload()))
    };
    let (job, said) = told(&plain).await;
    assert_eq!(
        said,
        Some(queue::Claimable {
            task: "task".to_owned(),
            executor: Some(queue::RunBy::Builtin),
            job,
            epoch: 0,
        })
    );
    for kept in [
        NewJob {
            queue_name: Some("one after the other"),
            ..plain.clone()
        },
        NewJob {
            key: Some(("key", model::KeyMode::Replace)),
            ..plain.clone()
        },
        NewJob {
            run_at: Some(chrono::Utc::now() + HOUR),
            ..plain.clone()
        },
    ] {
        assert_eq!(told(&kept).await.1, None, "{kept:?}");
    }
    for rule in [
        "select switchyard.pause('pause', null, 'task', null, 'a person', null)",
        "select switchyard.pause('pause', (select database_id from switchyard.tenants), 'task', null, 'a person', null)",
        "select switchyard.set_lane_cap(database_id, 'task', 1, 'a person') from switchyard.tenants",
        "select switchyard.set_limit(null, 'task', 1, null, null, 'a person')",
    ] {
        world.execute(rule).await;
        assert_eq!(told(&plain).await.1, None, "{rule}");
        world
            .execute("select switchyard.resume(null, database_id, task, null, 'a person', null) from switchyard.pauses")
            .await;
        world
            .execute("update switchyard.lanes set cap = null")
            .await;
    }
}

#[tokio::test]
async fn nobody_waits_for_a_strangers_transaction_that_has_the_flag() {
    let world = World::new().await;
    let mut listener = listen(&world).await;
    // Lanes are made and active, so that only the flag is met.
    for task in ["one", "other"] {
        world.add(&NewJob::new(world.tenant, task, nothing())).await;
    }
    world.execute("select switchyard.arm_relay('work')").await;
    let mut stranger = world.owner.acquire().await.unwrap();
    sqlx::raw_sql("begin")
        .execute(&mut *stranger)
        .await
        .unwrap();
    queue::enqueue(&mut stranger, &NewJob::new(world.tenant, "one", nothing()))
        .await
        .unwrap();
    let other = NewJob::new(world.tenant, "other", nothing());
    tokio::time::timeout(Duration::from_secs(5), world.add(&other))
        .await
        .expect("does not wait");
    notify(&world).await;
    assert_eq!(
        heard(&mut listener).await,
        ["work"],
        "for the stranger may yet roll back"
    );
    sqlx::raw_sql("rollback")
        .execute(&mut *stranger)
        .await
        .unwrap();
    world.add(&other).await;
    notify(&world).await;
    assert_eq!(
        heard(&mut listener).await,
        ["work"],
        "it was never disarmed"
    );
}

#[tokio::test]
async fn nobody_waits_for_a_stranger_who_woke_another_lane_of_the_tenant() {
    let world = World::new().await;
    for task in ["one", "other"] {
        world.add(&NewJob::new(world.tenant, task, nothing())).await;
        let hold = world.claim_one(task).await;
        world
            .queue
            .cancel(world.tenant, hold.job, "a test")
            .await
            .unwrap();
        world.queue.release(&[hold]).await.unwrap();
        world.rest(task).await;
    }
    let mut stranger = world.owner.acquire().await.unwrap();
    sqlx::raw_sql("begin")
        .execute(&mut *stranger)
        .await
        .unwrap();
    queue::enqueue(&mut stranger, &NewJob::new(world.tenant, "one", nothing()))
        .await
        .unwrap();
    let other = NewJob::new(world.tenant, "other", nothing());
    tokio::time::timeout(Duration::from_secs(5), async {
        world.add(&other).await;
        world.claim_one("other").await;
    })
    .await
    .expect("does not wait");
    sqlx::raw_sql("commit")
        .execute(&mut *stranger)
        .await
        .unwrap();
    world.claim_one("one").await;
    world.check().await;
}

#[tokio::test]
async fn the_clock_is_not_told_of_what_only_a_handle_can_stop() {
    let world = World::new().await;
    let job = world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    assert_eq!(world.queue.next_due().await.unwrap(), None);
    let hold = world.claim_one("task").await;
    assert_eq!(
        world.queue.next_due().await.unwrap(),
        None,
        "a lease that ends late is not looked for yet"
    );
    world
        .execute("update switchyard.jobs set lease_until = clock_timestamp() + interval '29 s'")
        .await;
    let next = world.queue.next_due().await.unwrap().unwrap();
    assert!(
        next > Duration::from_secs(10) && next <= Duration::from_secs(30),
        "{next:?}"
    );
    let outside = Wait {
        waiting: Waiting::Runner,
        deadline: HOUR,
        runner: Some(serde_json::json!("pod")),
    };
    world.queue.wait(hold, &outside).await.unwrap();
    world
        .queue
        .cancel(world.tenant, job, "a test")
        .await
        .unwrap();
    world.end_lease(job).await;
    assert_eq!(
        world.queue.next_due().await.unwrap(),
        None,
        "nothing to do by the clock"
    );
    assert_eq!(world.state(job).await, Some(JobState::Cancelling));
}

#[tokio::test]
async fn a_lane_left_active_without_work_hides_nothing_from_the_relay() {
    let world = World::new().await;
    for n in 0..5 {
        let name = format!("left-{n}");
        let job = NewJob {
            queue_name: Some(&name),
            ..NewJob::new(world.tenant, "task", nothing())
        };
        let job = world.add(&job).await;
        world
            .queue
            .cancel(world.tenant, job, "a test")
            .await
            .unwrap();
    }
    let job = world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    let claimable = world.queue.claimable(1).await.unwrap();
    assert_eq!(
        claimable.iter().map(|ready| ready.job).collect::<Vec<_>>(),
        [job]
    );
    assert_eq!(
        world.claim_one("task").await.job,
        job,
        "nor from a claim for one"
    );
    assert!(world.queue.claimable(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn days_are_made_ahead_and_a_finish_without_one_goes_to_the_default() {
    let world = World::new().await;
    let histories = world
        .number("select count(*) from switchyard.histories")
        .await;
    // Made by the migration, but for those of days that have begun since.
    let late = i64::from(world.queue.make_partitions(7).await.unwrap());
    assert_eq!(late % histories, 0, "whole days were missing");
    assert_eq!(
        i64::from(world.queue.make_partitions(9).await.unwrap()),
        2 * histories,
        "two days of each history"
    );
    let drop: Vec<String> = sqlx::query_scalar(
        "select inhrelid::regclass::text from pg_inherits
         where inhparent = any ('{switchyard.jobs_archive,switchyard.job_events,switchyard.job_logs}'::regclass[])
           and inhrelid::regclass::text !~ 'default'",
    )
    .fetch_all(&world.owner)
    .await
    .unwrap();
    let days = i64::try_from(drop.len() / 3).unwrap();
    assert_eq!(days, 10 + late / histories);
    for table in drop {
        world.execute(format!("drop table {table}")).await;
    }
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    let hold = world.claim_one("task").await;
    let end = Finish {
        hold,
        ended: Ended::Succeeded,
        reason: None,
        result: None,
    };
    world.queue.finish(&[end]).await.unwrap();
    assert_eq!(
        world
            .number("select count(*) from switchyard.jobs_archive_default")
            .await,
        1
    );
    assert_eq!(
        world.queue.make_partitions(0).await.unwrap(),
        2,
        "the archive's today stays in the default partition"
    );
}

#[tokio::test]
async fn a_job_comes_due_by_the_databases_clock() {
    let world = World::new().await;
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    let hold = world.claim_one("task").await;
    world.queue.retry(hold, "broken", Some(HOUR)).await.unwrap();
    let next = world.queue.next_due().await.unwrap().unwrap();
    assert!(
        next > HOUR - Duration::from_secs(30) && next <= HOUR,
        "{next:?}"
    );
    assert!(world.claim("task", 1).await.is_empty());
    world.come_due(hold.job).await;
    assert_eq!(world.queue.next_due().await.unwrap(), Some(Duration::ZERO));
    assert_eq!(world.queue.make_due(10).await.unwrap(), 1);
    assert_eq!(world.queue.claimable(1).await.unwrap()[0].job, hold.job);
    world.check().await;
    assert_eq!(world.claim_one("task").await.epoch, 2);
}
