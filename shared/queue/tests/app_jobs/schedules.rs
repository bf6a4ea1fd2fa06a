//! Schedules as upstream's scheduler uses them.

use crate::client::{A, B, Client, told};

const EACH_MINUTE: &str = r#"'{"rule": "*/1 * * * *"}'"#;

async fn schedule(client: &Client, tenant: &str, more: &str) -> String {
    client
        .row(&format!(
            "select id from app_jobs.add_scheduled_job('{tenant}', 'task', '{{\"n\": 1}}', {EACH_MINUTE}{more})"
        ))
        .await
        .id()
}

/// Gives a schedule ticks, as `cron-schedules` does for one that has none.
async fn plan(client: &Client, schedule: &str, ticks: &[&str]) {
    let ticks: Vec<String> = ticks
        .iter()
        .map(|offset| format!("date_trunc('second', now()) + interval '{offset}'"))
        .collect();
    client
        .rows(&format!(
            "select switchyard.plan_schedule(id, version, {}, array[{}]::timestamptz[], null)
             from switchyard.schedules where id = {schedule}",
            ticks[0],
            ticks[1..].join(", ")
        ))
        .await;
}

#[tokio::test]
async fn a_schedule_is_added_told_taken_by_one_and_released() {
    let client = Client::new().await;
    let mut listener = client.listen("scheduled_jobs:insert").await;
    let added = client
        .row(&format!(
            "select * from app_jobs.add_scheduled_job(
                '{A}', 'task', '{{\"n\": 1}}', '{{\"hour\": [8], \"minute\": [0, 30]}}', queue_name => 'letters', priority => 2)"
        ))
        .await;
    assert_eq!(told(&client, &mut listener).await, 1);
    for (column, value) in [
        ("database_id", A),
        ("queue_name", "letters"),
        ("task_identifier", "task"),
        ("payload", r#"{"n": 1}"#),
        ("priority", "2"),
        ("max_attempts", "25"),
    ] {
        assert_eq!(added.text(column), value);
    }
    for empty in [
        "key",
        "locked_at",
        "locked_by",
        "last_scheduled",
        "last_scheduled_id",
    ] {
        assert_eq!(added.maybe(empty), None, "{empty}");
    }
    let taken = client.get_scheduled("scheduler-0").await;
    assert_eq!(taken.id(), added.id());
    assert_eq!(taken.text("locked_by"), "scheduler-0");
    assert!(client.get_scheduled("scheduler-1").await.is_nothing());
    client
        .release_scheduled("scheduler-0", Some(&format!("{{{}}}", 4711)))
        .await;
    assert!(client.get_scheduled("scheduler-1").await.is_nothing());
    client.release_scheduled("scheduler-0", None).await;
    assert_eq!(client.get_scheduled("scheduler-1").await.id(), added.id());
    let refused = client
        .refused("select app_jobs.get_scheduled_job(null)")
        .await;
    assert_eq!(refused.1, "INVALID_WORKER_ID");
}

#[tokio::test]
async fn schedules_of_tasks_that_we_execute_are_left_to_us() {
    let client = Client::new().await;
    client
        .rows("insert into switchyard.tasks (name, executor) values ('task', 'builtin')")
        .await;
    let id = schedule(&client, A, "").await;
    assert!(client.get_scheduled("scheduler-0").await.is_nothing());
    let named = client
        .row("select * from app_jobs.get_scheduled_job('scheduler-0', '{task}')")
        .await;
    assert_eq!(named.id(), id);
}

#[tokio::test]
async fn a_tick_before_its_time_fires_the_stored_tick_now_and_moves_on() {
    let client = Client::new().await;
    let mut listener = client.listen("jobs:insert").await;
    let id = schedule(&client, A, "").await;
    plan(&client, &id, &["1 hour", "2 hours", "3 hours"]).await;
    let fired = client.run_scheduled(&id).await.unwrap();
    assert_eq!(told(&client, &mut listener).await, 1);
    assert_eq!(
        (fired.text("task_identifier"), fired.text("payload")),
        ("task", r#"{"n": 1}"#)
    );
    assert_eq!(
        client.get("worker-0").await.id(),
        fired.id(),
        "it is due at once"
    );
    let row = client
        .row(&format!(
            "select s.last_scheduled_id, s.last_scheduled is not null as scheduled,
                t.tick = date_trunc('second', t.tick) and t.tick > now() + interval '59 minutes' as stored,
                o.next_at - t.tick as later
             from app_jobs.scheduled_jobs s
             join switchyard.schedules o on o.id = s.id
             join switchyard.schedule_ticks t on t.schedule_id = s.id
             where s.id = {id}"
        ))
        .await;
    assert_eq!(row.text("last_scheduled_id"), fired.id());
    assert_eq!((row.text("scheduled"), row.text("stored")), ("t", "t"));
    assert_eq!(row.text("later"), "01:00:00");
    client.check().await;
}

#[tokio::test]
async fn what_upstreams_scheduler_missed_is_left_out() {
    let client = Client::new().await;
    let id = schedule(&client, A, "").await;
    plan(&client, &id, &["-3 hours", "-2 hours", "-1 hour", "1 hour"]).await;
    client.run_scheduled(&id).await.unwrap();
    let row = client
        .row(&format!(
            "select next_at > now() as ahead, missed_count, cardinality(later) as later
             from switchyard.schedules where id = {id}"
        ))
        .await;
    assert_eq!(
        (
            row.text("ahead"),
            row.text("missed_count"),
            row.text("later")
        ),
        ("t", "2", "0")
    );
}

#[tokio::test]
async fn already_scheduled_lasts_while_the_last_job_is_queued_or_runs_within_its_time() {
    let client = Client::new().await;
    let id = schedule(&client, A, "").await;
    let first = client.run_scheduled(&id).await.unwrap().id();
    assert_eq!(client.run_scheduled(&id).await, None, "queued");
    client.get("worker-0").await;
    assert_eq!(client.run_scheduled(&id).await, None, "running");
    client.locked_for(&first, "59 minutes").await;
    assert_eq!(
        client.run_scheduled(&id).await,
        None,
        "running for less than an hour"
    );
    client.locked_for(&first, "61 minutes").await;
    let second = client.run_scheduled(&id).await.unwrap().id();
    assert_ne!(first, second);
    let sooner = client
        .sent(
            r#"SELECT * FROM "app_jobs".run_scheduled_job($1, $2);"#,
            &[Some(&id), Some("1 minute")],
        )
        .await;
    assert!(sooner.is_err(), "the second is queued");
    client.get("worker-1").await;
    client.complete("worker-1", &second).await;
    assert!(client.run_scheduled(&id).await.is_some(), "it is done");
}

#[tokio::test]
async fn two_schedulers_fire_a_tick_once() {
    let client = Client::new().await;
    let id = schedule(&client, A, "").await;
    let fired = tokio::join!(
        client.run_scheduled(&id),
        client.run_scheduled(&id),
        client.run_scheduled(&id)
    );
    let fired = [fired.0, fired.1, fired.2];
    assert_eq!(fired.iter().flatten().count(), 1);
    assert_eq!(client.number("select count(*) from app_jobs.jobs").await, 1);
}

#[tokio::test]
async fn a_schedule_that_is_gone_or_paused_is_dropped_by_its_scheduler() {
    let client = Client::new().await;
    assert!(client.run_scheduled("4711").await.unwrap().is_nothing());
    let id = schedule(&client, A, "").await;
    client.get_scheduled("scheduler-0").await;
    client
        .rows(&format!(
            "select switchyard.pause_schedule('{A}', {id}, 'somebody', null)"
        ))
        .await;
    assert!(client.run_scheduled(&id).await.unwrap().is_nothing());
    assert!(
        client.get_scheduled("scheduler-0").await.is_nothing(),
        "it is paused"
    );
    client
        .rows(&format!("select switchyard.resume_schedule('{A}', {id})"))
        .await;
    assert_eq!(
        client.get_scheduled("scheduler-0").await.id(),
        id,
        "and comes again"
    );
}

#[tokio::test]
async fn a_task_that_drains_does_not_kill_the_scheduler() {
    let client = Client::new().await;
    let id = schedule(&client, A, "").await;
    client
        .rows(&format!(
            "select switchyard.pause('drain', '{A}', 'task', null, 'somebody', null)"
        ))
        .await;
    assert!(client.run_scheduled(&id).await.unwrap().is_nothing());
    assert_eq!(client.number("select count(*) from app_jobs.jobs").await, 0);
}

#[tokio::test]
async fn a_keyed_schedule_is_one_and_a_held_one_is_replaced_with_its_key() {
    let client = Client::new().await;
    let first = schedule(&client, A, ", 'k'").await;
    let same = client
        .row(&format!(
            "select * from app_jobs.add_scheduled_job('{A}', 'other', '{{}}', '{{\"rule\": \"0 0 * * *\"}}', 'k')"
        ))
        .await;
    assert_eq!(same.id(), first);
    assert_eq!(same.text("task_identifier"), "other");
    client.get_scheduled("scheduler-0").await;
    let mut listener = client.listen("scheduled_jobs:insert").await;
    let new = schedule(&client, A, ", 'k'").await;
    assert_ne!(new, first, "by which its scheduler learns of it");
    assert_eq!(told(&client, &mut listener).await, 1);
    assert!(client.run_scheduled(&first).await.unwrap().is_nothing());
    assert_eq!(client.get_scheduled("scheduler-0").await.text("key"), "k");
    schedule(&client, B, ", 'k'").await;
    assert_eq!(
        client
            .number("select count(*) from app_jobs.scheduled_jobs")
            .await,
        2
    );
}

#[tokio::test]
async fn the_view_of_schedules_is_written_as_a_table() {
    let client = Client::new().await;
    let row = client
        .row(&format!(
            "insert into app_jobs.scheduled_jobs (database_id, task_identifier, schedule_info)
             values ('{A}', 'task', '{{\"second\": 0}}') returning *"
        ))
        .await;
    assert_eq!(
        (row.text("payload"), row.text("max_attempts")),
        ("{}", "25")
    );
    assert_eq!(row.text("queue_name").len(), 36, "a queue of its own");
    let id = row.id();
    plan(&client, &id, &["1 hour"]).await;
    let row = client
        .row(&format!(
            "update app_jobs.scheduled_jobs set schedule_info = '{{\"second\": 30}}', payload = '[1]', key = 'k'
             where id = {id} returning *"
        ))
        .await;
    assert_eq!((row.text("payload"), row.text("key")), ("[1]", "k"));
    let planned = client
        .row(&format!(
            "select plan_wanted, next_at from switchyard.schedules where id = {id}"
        ))
        .await;
    assert_eq!(
        (planned.text("plan_wanted"), planned.maybe("next_at")),
        ("t", None),
        "by the new rule"
    );
    client.get_scheduled("scheduler-0").await;
    client
        .rows("update app_jobs.scheduled_jobs set locked_at = null, locked_by = null")
        .await;
    assert_eq!(client.get_scheduled("scheduler-1").await.id(), id);
    let refused = client
        .refused(&format!(
            "insert into app_jobs.scheduled_jobs (database_id, task_identifier) values ('{A}', 'task')"
        ))
        .await;
    assert_eq!(refused.0, "23502", "{}", refused.1);
    client.rows("delete from app_jobs.scheduled_jobs").await;
    assert_eq!(
        client
            .number("select count(*) from switchyard.schedules")
            .await,
        0
    );
}

#[tokio::test]
async fn a_time_zone_of_ours_is_told_to_upstreams_scheduler() {
    let client = Client::new().await;
    for (info, shown) in [
        ("{\"hour\": 8}", r#"{"tz": "Europe/Berlin", "hour": 8}"#),
        (
            "\"0 8 * * *\"",
            r#"{"tz": "Europe/Berlin", "rule": "0 8 * * *"}"#,
        ),
    ] {
        let id = client
            .row(&format!(
                "select switchyard.declare_schedule(database_id, null, 'task', '{info}', 'Europe/Berlin') as id
                 from switchyard.tenants where database_id = '{A}'
                 union all
                 select switchyard.declare_schedule(t.database_id, null, 'task', '{info}', 'Europe/Berlin')
                 from (select (app_jobs.add_job('{A}', 'x')).database_id) t
                 where not exists (select from switchyard.tenants where database_id = '{A}')"
            ))
            .await
            .id();
        let row = client
            .row(&format!(
                "select schedule_info from app_jobs.scheduled_jobs where id = {id}"
            ))
            .await;
        assert_eq!(row.text("schedule_info"), shown);
    }
}
