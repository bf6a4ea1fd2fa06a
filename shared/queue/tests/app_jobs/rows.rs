//! The views as tables: what may be written into them, and what becomes of it.

use crate::client::{A, B, Client};

async fn insert(client: &Client, columns: &str, values: &str) -> String {
    client
        .row(&format!(
            "insert into app_jobs.jobs (database_id, task_identifier{columns}) values ('{A}', 'task'{values}) returning id"
        ))
        .await
        .id()
}

#[tokio::test]
async fn an_inserted_job_has_upstreams_defaults_and_is_taken() {
    let client = Client::new().await;
    let row = client
        .row(&format!(
            "insert into app_jobs.jobs (database_id, task_identifier) values ('{A}', 'task') returning *"
        ))
        .await;
    assert_eq!(row.text("payload"), "{}");
    assert_eq!(
        (
            row.text("priority"),
            row.text("attempts"),
            row.text("max_attempts")
        ),
        ("0", "0", "25")
    );
    assert_eq!(row.maybe("queue_name"), None);
    assert!(row.maybe("run_at").is_some() && row.maybe("created_at").is_some());
    assert_eq!(client.get("worker-0").await.id(), row.id());
    client.check().await;
}

#[tokio::test]
async fn what_upstreams_table_refuses_is_refused() {
    let client = Client::new().await;
    client.add(A, "task", ", job_key => 'k'").await;
    for (columns, values, code) in [
        (", payload", ", null", "23502"),
        (", priority", ", null", "23502"),
        (", max_attempts", ", 0", "23514"),
        (", key", ", 'k'", "23505"),
        (", locked_by", ", 'abc'", "23514"),
        (", queue_name", ", repeat('x', 127)", "23514"),
        (", key", ", repeat('x', 513)", "23514"),
    ] {
        let refused = client
            .refused(&format!(
                "insert into app_jobs.jobs (database_id, task_identifier{columns}) values ('{A}', 'task'{values})"
            ))
            .await;
        assert_eq!(refused.0, code, "{columns}: {}", refused.1);
    }
}

#[tokio::test]
async fn a_queued_job_takes_what_is_written_into_it() {
    let client = Client::new().await;
    let job = insert(&client, ", queue_name", ", 'letters'").await;
    let row = client
        .row(&format!(
            "update app_jobs.jobs
             set task_identifier = 'other', queue_name = 'parcels', payload = '[1]', priority = 7, max_attempts = 3,
                attempts = 1, key = 'k', last_error = 'once'
             where id = {job}
             returning *"
        ))
        .await;
    for (column, value) in [
        ("task_identifier", "other"),
        ("queue_name", "parcels"),
        ("payload", "[1]"),
        ("priority", "7"),
        ("max_attempts", "3"),
        ("attempts", "1"),
        ("key", "k"),
        ("last_error", "once"),
    ] {
        assert_eq!(row.text(column), value);
    }
    client
        .rows(&format!(
            "update app_jobs.jobs set run_at = now() + interval '1 hour' where id = {job}"
        ))
        .await;
    client.check().await;
    assert!(client.get("worker-0").await.is_nothing(), "it is for later");
    client
        .rows(&format!(
            "update app_jobs.jobs set run_at = now() - interval '1 day' where id = {job}"
        ))
        .await;
    client.check().await;
    assert_eq!(client.get_of("worker-0", "{other}").await.id(), job);
    for forbidden in [
        "id = 4711",
        &format!("database_id = '{B}'"),
        "task_identifier = 'third'",
    ] {
        let statement = format!("update app_jobs.jobs set {forbidden} where id = {job}");
        client.refused(&statement).await;
    }
    client
        .rows(&format!(
            "update app_jobs.jobs set payload = '[2]', priority = 1 where id = {job}"
        ))
        .await;
    let row = client.job(&job).await.unwrap();
    assert_eq!(
        (row.text("payload"), row.text("locked_by")),
        ("[2]", "worker-0")
    );
}

#[tokio::test]
async fn a_lock_can_be_taken_and_given_by_hand() {
    let client = Client::new().await;
    let job = insert(&client, ", queue_name", ", 'letters'").await;
    let behind = insert(&client, ", queue_name", ", 'letters'").await;
    client
        .rows(&format!("update app_jobs.jobs set locked_at = now(), locked_by = 'worker-9', attempts = 1 where id = {job}"))
        .await;
    client.check().await;
    assert!(
        client.get("worker-0").await.is_nothing(),
        "the queue is locked"
    );
    let refused = client
        .refused(&format!(
            "update app_jobs.jobs set locked_by = 'worker-8' where id = {behind}"
        ))
        .await;
    assert!(refused.1.contains("locked by another"), "{}", refused.1);
    assert_eq!(client.complete("worker-9", &job).await.id(), job);
    assert_eq!(client.get("worker-0").await.id(), behind);
    client
        .rows(&format!(
            "update app_jobs.jobs set locked_at = null, locked_by = null where id = {behind}"
        ))
        .await;
    client.check().await;
    let row = client.job(&behind).await.unwrap();
    assert_eq!((row.maybe("locked_by"), row.text("attempts")), (None, "1"));
    assert!(client.complete("worker-0", &behind).await.is_nothing());
    assert_eq!(client.get("worker-0").await.id(), behind);

    let locked = insert(
        &client,
        ", locked_by, locked_at, attempts",
        ", 'worker-7', now(), 2",
    )
    .await;
    assert_eq!(
        client.complete("worker-7", &locked).await.text("attempts"),
        "2"
    );
    client.check().await;
}

#[tokio::test]
async fn attempts_say_whether_a_job_is_dead() {
    let client = Client::new().await;
    let job = insert(&client, "", "").await;
    client
        .rows(&format!(
            "update app_jobs.jobs set attempts = max_attempts where id = {job}"
        ))
        .await;
    assert_eq!(client.state(&job).await, "dead");
    assert!(client.get("worker-0").await.is_nothing());
    client
        .rows(&format!(
            "update app_jobs.jobs set last_error = 'because' where id = {job}"
        ))
        .await;
    assert_eq!(
        client.job(&job).await.unwrap().text("last_error"),
        "because"
    );
    let again = client
        .row(&format!(
            "update app_jobs.jobs set attempts = 0, payload = '[1]' where id = {job} returning *"
        ))
        .await;
    assert_ne!(again.id(), job, "it is a new job");
    assert_eq!(
        (again.text("payload"), again.text("attempts")),
        ("[1]", "0")
    );
    assert_eq!(client.job(&job).await, None);
    assert_eq!(client.get("worker-0").await.id(), again.id());
}

#[tokio::test]
async fn a_deleted_row_is_a_job_that_is_over() {
    let client = Client::new().await;
    let held = insert(&client, ", queue_name", ", 'letters'").await;
    client.get("worker-0").await;
    let queued = insert(&client, "", "").await;
    let dead = insert(&client, "", "").await;
    client
        .rows(&format!(
            "select app_jobs.permanently_fail_jobs(array[{dead}])"
        ))
        .await;
    let gone = client.rows("delete from app_jobs.jobs returning id").await;
    assert_eq!(gone.len(), 3);
    assert!(client.rows("select * from app_jobs.jobs").await.is_empty());
    for job in [&held, &queued] {
        assert_eq!(client.state(job).await, "cancelled");
    }
    assert_eq!(
        client
            .number(&format!(
                "select count(*) from switchyard.jobs_archive where id = {dead}"
            ))
            .await,
        0
    );
    assert!(client.complete("worker-0", &held).await.is_nothing());
    client.check().await;
}

#[tokio::test]
async fn a_job_of_ours_is_asked_to_stop_when_its_row_is_deleted() {
    let client = Client::new().await;
    let job = insert(&client, "", "").await;
    client
        .rows("select switchyard.claim_jobs(gen_random_uuid(), array['task'], 1, '30 seconds')")
        .await;
    client
        .rows(&format!("delete from app_jobs.jobs where id = {job}"))
        .await;
    assert_eq!(client.state(&job).await, "cancelling");
    assert!(client.job(&job).await.is_some(), "until it has stopped");
}

#[tokio::test]
async fn an_unlocked_queue_gives_its_job_back() {
    let client = Client::new().await;
    for tenant in [A, B] {
        client
            .add(tenant, "task", ", queue_name => 'letters'")
            .await;
        client.get("worker-0").await;
    }
    client
        .rows(&format!(
            "update app_jobs.job_queues set locked_at = null, locked_by = null
             where queue_name = 'letters' and database_id = '{A}'"
        ))
        .await;
    let back = client.get("worker-1").await;
    assert_eq!(
        back.text("database_id"),
        A,
        "the other tenant's stays locked"
    );
    let held = client
        .row(&format!(
            "select * from app_jobs.job_queues where database_id = '{B}'"
        ))
        .await;
    assert_eq!(held.text("locked_by"), "worker-0");
    client
        .rows("delete from app_jobs.job_queues where queue_name = 'letters'")
        .await;
    assert_eq!(
        client
            .rows("select * from app_jobs.job_queues where locked_by is null")
            .await
            .len(),
        2
    );
    client
        .refused("insert into app_jobs.job_queues (queue_name) values ('x')")
        .await;
    client.check().await;
}

#[tokio::test]
async fn what_ours_hold_shows_as_locked() {
    let client = Client::new().await;
    let job = insert(&client, "", "").await;
    client
        .rows("select switchyard.claim_jobs(gen_random_uuid(), array['task'], 1, '30 seconds')")
        .await;
    let row = client.job(&job).await.unwrap();
    assert!(row.maybe("locked_at").is_some());
    assert!(row.text("locked_by").len() > 3);
    let touched = client
        .rows(&format!("select app_jobs.complete_jobs(array[{job}])"))
        .await;
    assert!(touched.is_empty());
}
