//! Rows that enqueue.

use crate::client::{A, B, Client, told};

async fn people(client: &Client, function: &str) {
    client
        .rows("create table people (id integer primary key, name text, born date)")
        .await;
    client
        .rows(&format!(
            "create trigger tell after insert or update or delete on people for each row
             execute function app_jobs.{function}"
        ))
        .await;
}

async fn as_tenant(client: &Client, tenant: &str, statement: &str) {
    client
        .rows(&format!(
            "begin; set local jwt.claims.database_id = '{tenant}'; {statement}; commit"
        ))
        .await;
}

#[tokio::test]
async fn a_row_is_added_as_it_is_for_its_tenant() {
    let client = Client::new().await;
    people(&client, "tg_add_job_with_row('tell')").await;
    let mut listener = client.listen("jobs:insert").await;
    as_tenant(
        &client,
        A,
        "insert into people values (1, 'Ann', '2000-02-29')",
    )
    .await;
    as_tenant(&client, B, "update people set name = 'Bea'").await;
    as_tenant(&client, A, "delete from people").await;
    assert_eq!(told(&client, &mut listener).await, 3);
    let jobs = client
        .rows("select database_id, task_identifier, payload::jsonb ->> 'name' as name from app_jobs.jobs order by id")
        .await;
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                job.text("database_id"),
                job.text("task_identifier"),
                job.text("name"),
            )
        })
        .collect();
    assert_eq!(
        jobs,
        [(A, "tell", "Ann"), (B, "tell", "Bea"), (A, "tell", "Bea")]
    );
}

#[tokio::test]
async fn a_row_is_added_by_its_id() {
    let client = Client::new().await;
    people(&client, "tg_add_job_with_row_id('tell')").await;
    as_tenant(
        &client,
        A,
        "insert into people values (7, 'Ann', null); delete from people",
    )
    .await;
    let jobs = client.rows("select payload from app_jobs.jobs").await;
    let payloads: Vec<_> = jobs.iter().map(|job| job.text("payload")).collect();
    assert_eq!(payloads, [r#"{"id": 7}"#, r#"{"id": 7}"#]);
}

#[tokio::test]
async fn a_row_is_added_by_its_fields_as_texts() {
    let client = Client::new().await;
    people(&client, "trigger_job_with_fields('tell', 'id', 'BORN')").await;
    as_tenant(
        &client,
        A,
        "insert into people values (7, 'Ann', '2000-02-29'), (8, 'Bea', null)",
    )
    .await;
    let jobs = client
        .rows("select payload from app_jobs.jobs order by id")
        .await;
    let payloads: Vec<_> = jobs.iter().map(|job| job.text("payload")).collect();
    assert_eq!(
        payloads,
        [
            r#"{"id": "7", "BORN": "2000-02-29"}"#,
            r#"{"id": "8", "BORN": ""}"#
        ]
    );
}

#[tokio::test]
async fn the_tenant_comes_from_upstreams_function_then_its_setting_then_ours() {
    let client = Client::new().await;
    people(&client, "tg_add_job_with_row_id('tell')").await;
    let refused = client.refused("insert into people values (1)").await;
    assert!(refused.1.contains("no tenant is known"), "{}", refused.1);
    client
        .rows(&format!(
            "begin; set local switchyard.tenant = '{A}'; insert into people values (1); commit"
        ))
        .await;
    as_tenant(&client, B, "insert into people values (2)").await;
    client
        .rows(&format!(
            "create schema jwt_private;
             create function jwt_private.current_database_id() returns uuid language sql return '{A}'::uuid;
             grant usage on schema jwt_private to switchyard_owner"
        ))
        .await;
    as_tenant(&client, B, "insert into people values (3)").await;
    let jobs = client
        .rows("select database_id from app_jobs.jobs order by id")
        .await;
    let tenants: Vec<_> = jobs.iter().map(|job| job.text("database_id")).collect();
    assert_eq!(tenants, [A, B, A]);
}

#[tokio::test]
async fn who_writes_the_row_needs_no_right_on_the_queue() {
    let client = Client::new().await;
    people(&client, "tg_add_job_with_row_id('tell')").await;
    client
        .rows("grant insert on people to switchyard_observer")
        .await;
    client
        .rows(&format!(
            "begin; set local role switchyard_observer; set local jwt.claims.database_id = '{A}';
             insert into people values (1); commit"
        ))
        .await;
    assert_eq!(client.number("select count(*) from app_jobs.jobs").await, 1);
}
