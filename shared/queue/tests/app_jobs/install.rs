//! Making the schema.

use crate::client::{A, Client};

#[tokio::test]
async fn installing_again_changes_nothing_and_keeps_what_was_granted() {
    let client = Client::new().await;
    client
        .rows("grant usage on schema app_jobs to switchyard_observer; grant select on app_jobs.jobs to switchyard_observer")
        .await;
    client.add(A, "task", "").await;
    // Without the rights: a role that another test makes on this server is granted them when it is there.
    let described = "select string_agg(pg_get_functiondef(p.oid), '' order by p.oid) as all
         from pg_proc p where p.pronamespace = 'app_jobs'::regnamespace";
    let before = client.row(described).await;
    client
        .rows("select switchyard.install_jobs_schema('app_jobs')")
        .await;
    assert_eq!(client.row(described).await, before);
    client
        .rows("begin; set local role switchyard_observer; select * from app_jobs.jobs; commit")
        .await;
}

#[tokio::test]
async fn a_second_schema_shows_the_same_jobs() {
    let client = Client::new().await;
    client
        .rows("select switchyard.install_jobs_schema('other_jobs')")
        .await;
    let job = client.add(A, "task", "").await.id();
    let taken = client
        .row("select * from other_jobs.get_job('worker-0')")
        .await;
    assert_eq!(taken.id(), job);
    assert_eq!(client.complete("worker-0", &job).await.id(), job);
}

#[tokio::test]
async fn a_name_that_is_not_plain_is_refused_with_what_is() {
    let client = Client::new().await;
    for name in [
        "",
        "App",
        "1x",
        "a-b",
        "a\"; drop schema switchyard; --",
        "pg_x",
        "public",
        "switchyard",
    ] {
        let literal = name.replace('\'', "''");
        let refused = client
            .refused(&format!(
                "select switchyard.install_jobs_schema('{literal}')"
            ))
            .await;
        assert_eq!(refused.0, "3F000", "{name}: {}", refused.1);
    }
    client
        .refused("select switchyard.install_jobs_schema(null)")
        .await;
}

#[tokio::test]
async fn a_schema_of_somebody_elses_is_left_alone() {
    let client = Client::new().await;
    client
        .rows("create schema theirs; create table theirs.jobs (id bigint)")
        .await;
    let refused = client
        .refused("select switchyard.install_jobs_schema('theirs')")
        .await;
    assert_eq!(refused.0, "42P06");
    assert!(refused.1.contains("is there already"), "{}", refused.1);
}

#[tokio::test]
async fn nobody_gets_in_who_was_not_let_in_and_administrator_is() {
    let client = Client::new().await;
    // Roles are the whole server's: another test may be making it.
    client
        .rows(
            "do $$ begin create role administrator nologin; exception when duplicate_object or unique_violation then null; end $$",
        )
        .await;
    for role in [
        "switchyard_observer",
        "switchyard_tenant",
        "switchyard_system",
    ] {
        for statement in [
            format!("select app_jobs.add_job('{A}', 'task')"),
            "select * from app_jobs.jobs".to_owned(),
            format!(
                "select switchyard.upstream_add_job('{A}', 'task', null, null, null, null, null, null)"
            ),
        ] {
            let refused = client
                .refused(&format!("begin; set local role {role}; {statement}"))
                .await;
            assert_eq!(refused.0, "42501", "{role}: {statement}");
        }
    }
    client
        .rows("select switchyard.install_jobs_schema('app_jobs')")
        .await;
    let pool = client.db.pool(Some("administrator")).await;
    let id: i64 = sqlx::query_scalar("select id from app_jobs.add_job($1::uuid, 'task')")
        .bind(A.parse::<uuid::Uuid>().unwrap())
        .fetch_one(&pool)
        .await
        .unwrap();
    for statement in [
        "select id from app_jobs.get_job('worker-0')",
        "update app_jobs.jobs set priority = 3 returning id",
        "delete from app_jobs.jobs returning id",
    ] {
        let same: i64 = sqlx::query_scalar(statement)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(same, id, "{statement}");
    }
}

#[tokio::test]
async fn the_signatures_are_upstreams() {
    let client = Client::new().await;
    let functions = client
        .rows(
            "select p.proname as name, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result
             from pg_proc p where p.pronamespace = 'app_jobs'::regnamespace order by 1",
        )
        .await;
    let signatures: Vec<String> = functions
        .iter()
        .map(|function| {
            format!(
                "{}({}) → {}",
                function.text("name"),
                function.maybe("arguments").unwrap_or_default(),
                function.text("result")
            )
        })
        .collect();
    assert_eq!(
        signatures,
        [
            "add_job(db_id uuid, identifier text, payload json DEFAULT '{}'::json, job_key text DEFAULT NULL::text, \
             queue_name text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT now(), \
             max_attempts integer DEFAULT 25, priority integer DEFAULT 0) → app_jobs.jobs",
            "add_scheduled_job(db_id uuid, identifier text, payload json DEFAULT '{}'::json, \
             schedule_info json DEFAULT '{}'::json, job_key text DEFAULT NULL::text, queue_name text DEFAULT NULL::text, \
             max_attempts integer DEFAULT 25, priority integer DEFAULT 0) → app_jobs.scheduled_jobs",
            "complete_job(worker_id text, job_id bigint) → app_jobs.jobs",
            "complete_jobs(job_ids bigint[]) → SETOF app_jobs.jobs",
            "fail_job(worker_id text, job_id bigint, error_message text) → app_jobs.jobs",
            "get_job(worker_id text, task_identifiers text[] DEFAULT NULL::text[], \
             job_expiry interval DEFAULT '04:00:00'::interval) → app_jobs.jobs",
            "get_scheduled_job(worker_id text, task_identifiers text[] DEFAULT NULL::text[]) → app_jobs.scheduled_jobs",
            "json_build_object_apply(arguments text[]) → json",
            "permanently_fail_jobs(job_ids bigint[], error_message text DEFAULT NULL::text) → SETOF app_jobs.jobs",
            "release_jobs(worker_id text) → void",
            "release_scheduled_jobs(worker_id text, ids bigint[] DEFAULT NULL::bigint[]) → void",
            "reschedule_jobs(job_ids bigint[], run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
             priority integer DEFAULT NULL::integer, attempts integer DEFAULT NULL::integer, \
             max_attempts integer DEFAULT NULL::integer) → SETOF app_jobs.jobs",
            "run_scheduled_job(id bigint, job_expiry interval DEFAULT '01:00:00'::interval) → app_jobs.jobs",
            "tg_add_job_with_row() → trigger",
            "tg_add_job_with_row_id() → trigger",
            "trigger_job_with_fields() → trigger",
        ]
    );
    let columns = client
        .row(
            "select string_agg(a.attname || ' ' || format_type(a.atttypid, null), ', ' order by a.attnum) as columns
             from pg_attribute a where a.attrelid = 'app_jobs.jobs'::regclass and a.attnum > 0",
        )
        .await;
    assert_eq!(
        columns.text("columns"),
        "id bigint, database_id uuid, queue_name text, task_identifier text, payload json, priority integer, \
         run_at timestamp with time zone, attempts integer, max_attempts integer, key text, last_error text, \
         locked_at timestamp with time zone, locked_by text, created_at timestamp with time zone, \
         updated_at timestamp with time zone"
    );
    let columns = client
        .row(
            "select string_agg(a.attname || ' ' || format_type(a.atttypid, null), ', ' order by a.attnum) as columns
             from pg_attribute a where a.attrelid = 'app_jobs.scheduled_jobs'::regclass and a.attnum > 0",
        )
        .await;
    assert_eq!(
        columns.text("columns"),
        "id bigint, database_id uuid, queue_name text, task_identifier text, payload json, priority integer, \
         max_attempts integer, key text, locked_at timestamp with time zone, locked_by text, schedule_info json, \
         last_scheduled timestamp with time zone, last_scheduled_id bigint"
    );
}
