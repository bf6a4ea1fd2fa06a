//! The faults that were seen in upstream's own SQL, each looked for on every path that has the operation.

use crate::client::{A, B, Client};

/// A worker of our own.
const OURS: &str = "00000000-0000-4000-8000-00000000000f";

async fn claim_as_ours(client: &Client, task: &str) -> (String, String) {
    let job = client
        .row(&format!(
            "select id, epoch from switchyard.claim_jobs('{OURS}', array['{task}'], 1, '30 seconds')"
        ))
        .await;
    (job.id(), job.text("epoch").to_owned())
}

#[tokio::test]
async fn fault_1_a_key_is_the_tenants_own() {
    let client = Client::new().await;
    let of_a = client
        .add(A, "task", r#", '{"of": "a"}'::json, 'k1'"#)
        .await;
    let of_b = client
        .add(B, "task", r#", '{"of": "b"}'::json, 'k1'"#)
        .await;
    assert_ne!(of_a.id(), of_b.id());
    let still = client.job(&of_a.id()).await.unwrap();
    assert_eq!(
        (still.text("database_id"), still.text("payload")),
        (A, r#"{"of": "a"}"#)
    );
    for (tenant, payload) in [(A, "a"), (B, "b")] {
        client
            .rows(&format!(
                "insert into app_jobs.jobs (database_id, task_identifier, payload, key)
                 values ('{tenant}', 'task', '\"{payload}\"', 'k2')"
            ))
            .await;
        client
            .rows(&format!(
                "select app_jobs.add_scheduled_job('{tenant}', 'task', '\"{payload}\"', '{{\"rule\": \"0 0 1 1 *\"}}', 'k3')"
            ))
            .await;
        client
            .rows(&format!(
                "select switchyard.add_job('{tenant}', 'task', '\"{payload}\"', p_key => 'k4')"
            ))
            .await;
    }
    for (table, key) in [("jobs", "k2"), ("scheduled_jobs", "k3"), ("jobs", "k4")] {
        let rows = client
            .rows(&format!(
                "select database_id, payload from app_jobs.{table} where key = '{key}' order by database_id"
            ))
            .await;
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.text("database_id"), row.text("payload")))
            .collect();
        assert_eq!(rows, [(A, "\"a\""), (B, "\"b\"")], "{key}");
    }
}

#[tokio::test]
async fn fault_2_a_key_still_counts_while_its_job_runs() {
    let client = Client::new().await;
    for add in [
        format!("select id from app_jobs.add_job('{A}', 'task', job_key => 'k')"),
        format!("select job_id as id from switchyard.add_job('{A}', 'task', '{{}}', p_key => 'k')"),
    ] {
        let running = client.row(&add).await.id();
        assert_eq!(client.get("worker-0").await.id(), running);
        let second = client.row(&add).await.id();
        let third = client.row(&add).await.id();
        let pending = client
            .rows("select id from app_jobs.jobs where key = 'k' and locked_by is null")
            .await;
        assert_eq!(
            pending.len(),
            1,
            "one waits behind the one that runs: {pending:?}"
        );
        assert_eq!(pending[0].id(), third);
        assert_eq!(client.state(&second).await, "superseded");
        assert!(client.get("worker-1").await.is_nothing(), "it waits");
        // What runs gives way instead of coming back beside the newer one.
        client.fail("worker-0", &running, Some("it broke")).await;
        assert_eq!(client.state(&running).await, "superseded");
        assert_eq!(client.get("worker-1").await.id(), third);
        client.complete("worker-1", &third).await;
        client.check().await;
    }
}

#[tokio::test]
async fn fault_3_only_who_holds_a_job_ends_it() {
    let client = Client::new().await;
    let job = client.add(A, "task", "").await.id();
    assert!(
        client.complete("worker-0", &job).await.is_nothing(),
        "nobody holds it"
    );
    client.get("worker-0").await;
    assert!(client.complete("worker-INTRUDER", &job).await.is_nothing());
    assert!(
        client
            .fail("worker-INTRUDER", &job, Some("no"))
            .await
            .is_nothing()
    );
    client.release("worker-INTRUDER").await;
    assert_eq!(
        client.job(&job).await.unwrap().text("locked_by"),
        "worker-0"
    );

    // Taken by ours, then lost: each is told when he is too late.
    client.release("worker-0").await;
    let (ours, epoch) = claim_as_ours(&client, "task").await;
    assert_eq!(ours, job);
    assert!(client.complete("worker-0", &job).await.is_nothing());
    assert!(
        client.complete(OURS, &job).await.is_nothing(),
        "nor by a name that is none"
    );
    client
        .rows(&format!(
            "select switchyard.release_jobs(array[{job}], array[{epoch}])"
        ))
        .await;
    client.get("worker-0").await;
    let late = client
        .row(&format!(
            "select applied from switchyard.finish_jobs(array[{job}], array[{epoch}], array['succeeded']::switchyard.job_state[],
                array[null], array[null]::jsonb[])"
        ))
        .await;
    assert_eq!(late.maybe("applied"), None);
    assert_eq!(client.complete("worker-0", &job).await.id(), job);
    client.check().await;
}

#[tokio::test]
async fn fault_4_a_schedule_goes_on_after_its_job_has_failed_for_good() {
    let client = Client::new().await;
    let schedule = client
        .row(&format!(
            "select id from app_jobs.add_scheduled_job('{A}', 'task', '{{}}', '{{\"rule\": \"* * * * *\"}}', max_attempts => 1)"
        ))
        .await
        .id();
    let first = client.run_scheduled(&schedule).await.unwrap().id();
    assert_eq!(client.run_scheduled(&schedule).await, None, "it is queued");
    client.get("worker-0").await;
    assert_eq!(client.run_scheduled(&schedule).await, None, "it runs");
    client.fail("worker-0", &first, Some("it broke")).await;
    assert_eq!(client.state(&first).await, "dead");
    let second = client.run_scheduled(&schedule).await.unwrap().id();
    assert_ne!(first, second);
    // And the scheduler of our own does not ask at all.
    let tick = client
        .row(&format!(
            "select outcome from switchyard.fire_next_tick({schedule})"
        ))
        .await;
    assert_eq!(tick.text("outcome"), "fired");
}

#[tokio::test]
async fn fault_5_a_keyed_schedule_meets_a_job_with_its_key() {
    let client = Client::new().await;
    let pending = client.add(A, "other", ", job_key => 'k'").await.id();
    let schedule = client
        .row(&format!(
            "select id from app_jobs.add_scheduled_job('{A}', 'task', '{{}}', '{{\"rule\": \"* * * * *\"}}', 'k')"
        ))
        .await
        .id();
    let fired = client.run_scheduled(&schedule).await.unwrap();
    assert_eq!(
        fired.id(),
        pending,
        "one with the key is queued, and that is enough"
    );
    assert_eq!(
        client
            .number("select count(*) from app_jobs.jobs where key = 'k'")
            .await,
        1
    );
    client.get("worker-0").await;
    client
        .rows(&format!("select switchyard.fire_next_tick({schedule})"))
        .await;
    assert_eq!(
        client
            .number("select count(*) from app_jobs.jobs where key = 'k'")
            .await,
        2
    );
}

#[tokio::test]
async fn fault_6_a_queue_is_the_tenants_own() {
    let client = Client::new().await;
    for tenant in [A, B] {
        client.add(tenant, "task", ", queue_name => 'email'").await;
        client.add(tenant, "task", ", queue_name => 'email'").await;
    }
    let both = [client.get("worker-0").await, client.get("worker-1").await];
    assert_ne!(both[0].text("database_id"), both[1].text("database_id"));
    assert!(
        client.get("worker-2").await.is_nothing(),
        "each has one at a time"
    );
    assert_eq!(
        client.rows("select * from app_jobs.job_queues").await.len(),
        2
    );
    client.release("worker-0").await;
    client.release("worker-1").await;
    let ours = client
        .rows(&format!(
            "select id from switchyard.claim_jobs('{OURS}', array['task'], 10, '30 seconds')"
        ))
        .await;
    assert_eq!(ours.len(), 2);
    client.check().await;
}

#[tokio::test]
async fn fault_7_row_data_is_never_part_of_a_statement() {
    let client = Client::new().await;
    client
        .rows("create table people (id integer, name text, \"Odd Name\" text)")
        .await;
    client
        .rows(
            "create trigger tell after insert on people for each row
             execute function app_jobs.trigger_job_with_fields('greet', 'id', 'name', '\"Odd Name\"')",
        )
        .await;
    for (name, odd) in [
        ("O''Brien", "x"),
        ("x'',(select version()),''y", "$$; drop table people; $$"),
        ("%s %I \\", "{}"),
    ] {
        client
            .rows(&format!(
                "begin; set local jwt.claims.database_id = '{A}'; insert into people values (1, '{name}', '{odd}'); commit"
            ))
            .await;
        let job = client.get("worker-0").await;
        let same = client
            .row(&format!(
                "select payload::jsonb = jsonb_build_object('id', '1', 'name', '{name}', '\"Odd Name\"', '{odd}') as same
                 from app_jobs.jobs where id = {}",
                job.id()
            ))
            .await;
        assert_eq!(same.text("same"), "t", "{}", job.text("payload"));
    }
    let built = client
        .row("select app_jobs.json_build_object_apply(array['name', 'O''Brien', 'x'',(select version()),''y', null]) as built")
        .await;
    assert_eq!(
        built.text("built"),
        r#"{"name" : "O'Brien", "x',(select version()),'y" : ""}"#
    );
    // Nor is what the trigger names anything but a field.
    client
        .rows(
            "create trigger sly after update on people for each row
             execute function app_jobs.trigger_job_with_fields('greet', 'id::text || version()')",
        )
        .await;
    let refused = client
        .refused(&format!(
            "begin; set local jwt.claims.database_id = '{A}'; update people set id = 2"
        ))
        .await;
    assert!(refused.1.contains("version()"), "{}", refused.1);
}

#[tokio::test]
async fn fault_8_a_failure_without_a_message_is_a_failure() {
    let client = Client::new().await;
    let job = client.add(A, "task", "").await.id();
    client.get("worker-0").await;
    let failed = client.fail("worker-0", &job, None).await;
    assert_eq!(failed.text("last_error"), "UNKNOWN_ERROR");
    assert_eq!(client.job(&job).await.unwrap().maybe("locked_by"), None);

    client.come_due(&job).await;
    let (_, epoch) = claim_as_ours(&client, "task").await;
    let state = client
        .row(&format!(
            "select switchyard.retry_job({job}, {epoch}, null) as state"
        ))
        .await;
    assert_eq!(state.text("state"), "queued");
    client.check().await;
}

#[tokio::test]
async fn fault_9_the_last_lock_that_expires_is_a_death_that_is_told() {
    let client = Client::new().await;
    for reclaim in [
        "select app_jobs.get_job('worker-1')",
        "select switchyard.reap_jobs(100, true)",
    ] {
        let job = client.add(A, "task", ", max_attempts => 1").await.id();
        client.get("worker-0").await;
        client.locked_for(&job, "5 hours").await;
        client.rows(reclaim).await;
        assert_eq!(client.state(&job).await, "dead", "{reclaim}");
        let row = client.job(&job).await.unwrap();
        assert!(
            row.text("last_error").contains("1 of 1 attempts used"),
            "{reclaim}"
        );
        let events = client
            .number(&format!(
                "select count(*) from switchyard.job_events where job_id = {job} and kind = 'lease_over'"
            ))
            .await;
        assert_eq!(events, 1, "{reclaim}");
        let news = client
            .number(&format!(
                "select count(*) from switchyard.outbox
                 where broker = 'observed' and to_jsonb(outbox)::text like '%{job}%finished%'"
            ))
            .await;
        assert!(news >= 1, "{reclaim}");
    }
    client.check().await;
}

#[tokio::test]
async fn fault_10_a_lock_that_expired_is_taken_again() {
    let client = Client::new().await;
    let job = client
        .add(A, "task", ", queue_name => 'letters'")
        .await
        .id();
    client.get("worker-0").await;
    client.locked_for(&job, "3 hours").await;
    assert!(
        client.get("worker-1").await.is_nothing(),
        "four hours are not over"
    );
    let sooner = client
        .row("select * from app_jobs.get_job('worker-1', null, '2 hours')")
        .await;
    assert_eq!(sooner.id(), job, "for this one they are two");
    assert_eq!(sooner.text("attempts"), "2");
    assert!(
        client.complete("worker-0", &job).await.is_nothing(),
        "it has lost it"
    );
    client.locked_for(&job, "5 hours").await;
    client.rows("select switchyard.reap_jobs(100, true)").await;
    assert_eq!(client.get("worker-2").await.text("attempts"), "3");
    client.check().await;
}
