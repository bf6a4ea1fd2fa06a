//! What is past keeping goes, and nothing else, and nobody waits for it.

use std::time::{Duration, Instant};

use queue::{Ended, Finish, History, NewJob};
use sqlx::Connection as _;

use crate::world::{World, nothing};

const DAY: Duration = Duration::from_secs(24 * 3600);
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// A day's partition of finished jobs that ends so many days ago, with a row in it.
async fn archived_day(world: &World, days_ago: i32) -> String {
    let name: String = sqlx::query_scalar(
        "select 'jobs_archive_' || to_char((now() at time zone 'UTC')::date - $1 - 1, 'YYYYMMDD')",
    )
    .bind(days_ago)
    .fetch_one(&world.owner)
    .await
    .unwrap();
    let day = &name["jobs_archive_".len()..];
    let (from, to): (String, String) = sqlx::query_as(
        "select $1::date::text || ' 00:00:00+00', ($1::date + 1)::text || ' 00:00:00+00'",
    )
    .bind(day)
    .fetch_one(&world.owner)
    .await
    .unwrap();
    world
        .execute(format!(
            "create table switchyard.{name} partition of switchyard.jobs_archive for values from ('{from}') to ('{to}')"
        ))
        .await;
    archived(world, &format!("'{day} 12:00:00+00'")).await;
    name
}

async fn archived(world: &World, finished_at: &str) {
    world
        .execute(format!(
            "insert into switchyard.jobs_archive (id, database_id, task, seq, state, priority, run_at, attempts,
                attempts_max, epoch, payload, depth, created_at, finished_at)
             values (nextval(pg_get_serial_sequence('switchyard.jobs', 'id')), '{}', 'task', 1, 'succeeded', 0, now(),
                1, 1, 1, '{{}}', 0, now(), {finished_at})",
            world.tenant.uuid()
        ))
        .await;
}

#[tokio::test]
async fn days_past_keeping_go_with_their_partition_the_oldest_first() {
    let world = World::new().await;
    let old = archived_day(&world, 40).await;
    let older = archived_day(&world, 41).await;
    let just_kept = archived_day(&world, 29).await;
    let drop = || world.queue.drop_expired_day(History::Jobs, KEEP);
    assert_eq!(drop().await.unwrap(), Some(older));
    assert_eq!(drop().await.unwrap(), Some(old));
    assert_eq!(drop().await.unwrap(), None);
    assert_eq!(
        world
            .number("select count(*) from switchyard.jobs_archive")
            .await,
        1
    );
    let kept = format!("select count(*) from switchyard.{just_kept}");
    assert_eq!(world.number(kept).await, 1);
    for history in [History::Events, History::Logs, History::Ticks] {
        assert_eq!(
            world.queue.drop_expired_day(history, KEEP).await.unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn history_is_kept_for_a_day_at_least() {
    let world = World::new().await;
    for refused in [
        world
            .queue
            .drop_expired_day(History::Jobs, Duration::ZERO)
            .await
            .map(drop),
        world
            .queue
            .delete_expired_rows(History::Jobs, DAY / 2, 1)
            .await
            .map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().as_deref(),
            Some("22023")
        );
    }
}

#[tokio::test]
async fn rows_that_missed_their_day_are_deleted_in_batches() {
    let world = World::new().await;
    for days in [31, 32, 33, 29] {
        archived(&world, &format!("now() - interval '{days} days'")).await;
    }
    let delete = || world.queue.delete_expired_rows(History::Jobs, KEEP, 2);
    assert_eq!(delete().await.unwrap(), 2);
    assert_eq!(delete().await.unwrap(), 1);
    assert_eq!(delete().await.unwrap(), 0);
    assert_eq!(
        world
            .number("select count(*) from switchyard.jobs_archive")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_somebody_reads_is_left_and_a_finish_waits_a_second_at_most() {
    let world = World::new().await;
    let old = archived_day(&world, 40).await;
    world
        .add(&NewJob::new(world.tenant, "task", nothing()))
        .await;
    let hold = world.claim_one("task").await;
    let mut reader = world.owner.acquire().await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("select count(*) from switchyard.jobs_archive")
        .execute(&mut *reading)
        .await
        .unwrap();
    let begun = Instant::now();
    let finish = async {
        // While the drop stands in line for its lock.
        while world
            .number(
                "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and not granted",
            )
            .await
            == 0
        {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nobody waits for a lock"
            );
        }
        let asked = Instant::now();
        let finish = Finish {
            hold,
            ended: Ended::Succeeded,
            reason: None,
            result: None,
        };
        world.queue.finish(&[finish]).await.unwrap();
        asked.elapsed()
    };
    let (dropped, waited) = tokio::join!(world.queue.drop_expired_day(History::Jobs, KEEP), finish);
    let refused = dropped.unwrap_err();
    assert_eq!(
        refused.as_database_error().unwrap().code().as_deref(),
        Some("55P03")
    );
    assert!(
        waited < Duration::from_secs(1),
        "the finish waited {waited:?}"
    );
    reading.commit().await.unwrap();
    let dropped = world
        .queue
        .drop_expired_day(History::Jobs, KEEP)
        .await
        .unwrap();
    assert_eq!(dropped, Some(old));
}

#[tokio::test]
async fn a_key_is_forgotten_only_when_no_late_event_can_need_it() {
    let world = World::new().await;
    let unused = DAY * 2;
    let forget = || world.queue.forget_keys(unused, 100);
    let tenant = world.tenant.uuid();
    let key = |name: &str, high_water: &str| {
        format!("insert into switchyard.job_keys values ('{tenant}', '{name}', {high_water})")
    };
    let keys = "select count(*) from switchyard.job_keys";
    world
        .execute("select setval('switchyard.accepted', 1000)")
        .await;
    world.execute(key("old", "500")).await;
    world.execute(key("alive", "500")).await;
    world
        .execute(format!(
            "insert into switchyard.jobs (database_id, lane_id, task, key, seq, due, run_at, attempts_max, payload)
             values ('{tenant}', 1, 'task', 'alive', 500, false, now() + interval '1 day', 1, '{{}}')"
        ))
        .await;
    // Nobody knows yet how old a number is.
    assert_eq!(forget().await.unwrap(), 0);
    world
        .execute("update switchyard.accepted_marks set at = now() - interval '3 days'")
        .await;
    world.execute(key("newer", "1001")).await;

    // An event that was accepted before the mark, and that is to be dispatched yet, may bring a late job for the key.
    world
        .execute(format!(
            "insert into switchyard.events (id, database_id, seq, type, source, data, correlation_id)
             values (gen_random_uuid(), '{tenant}', 400, 't', 's', '{{}}', 'c')"
        ))
        .await;
    assert_eq!(forget().await.unwrap(), 0);
    world
        .execute("update switchyard.events set dispatched_at = now()")
        .await;
    assert_eq!(forget().await.unwrap(), 1);
    assert_eq!(
        world.number(keys).await,
        2,
        "the one that is alive and the newer one stay"
    );
    world.execute("delete from switchyard.jobs").await;
    assert_eq!(forget().await.unwrap(), 1);
    let left: String = sqlx::query_scalar("select key from switchyard.job_keys")
        .fetch_one(&world.owner)
        .await
        .unwrap();
    assert_eq!(left, "newer");
}

#[tokio::test]
async fn a_table_is_analysed_as_a_whole_and_not_too_often() {
    let world = World::new().await;
    for _ in 0..50 {
        archived(&world, "now()").await;
    }
    let analyse = || world.queue.analyse_history(History::Jobs, DAY);
    assert!(analyse().await.unwrap());
    let of_the_whole =
        "select reltuples::bigint from pg_class where oid = 'switchyard.jobs_archive'::regclass";
    assert_eq!(world.number(of_the_whole).await, 50);
    // Statistics of when are written a moment later.
    let when = "select count(*) from pg_stat_all_tables where relid = 'switchyard.jobs_archive'::regclass and last_analyze is not null";
    let begun = Instant::now();
    while world.number(when).await == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it is not told when"
        );
    }
    assert!(!analyse().await.unwrap());
}

#[tokio::test]
async fn every_history_has_its_days_made_ahead() {
    let world = World::new().await;
    for history in History::ALL {
        let days = world
            .number(format!(
                "select count(*) from pg_inherits where inhparent = 'switchyard.{}'::regclass",
                history.table()
            ))
            .await;
        assert!(days >= 8, "{} has {days}", history.table());
    }
    let unknown = "select count(*) from switchyard.histories";
    assert!(world.number(unknown).await >= 4);
}
