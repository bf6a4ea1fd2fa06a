//! Each function as upstream's packages call it.

use crate::client::{A, B, Client, told};

#[tokio::test]
async fn a_job_is_added_taken_and_completed_with_upstreams_rows() {
    let client = Client::new().await;
    let added = client
        .add(A, "hello", r#", '{"name": "O''Brien"}'::json"#)
        .await;
    assert_eq!(added.text("database_id"), A);
    assert_eq!(added.text("task_identifier"), "hello");
    assert_eq!(added.text("payload"), r#"{"name": "O'Brien"}"#);
    assert_eq!(added.text("priority"), "0");
    assert_eq!(added.text("attempts"), "0");
    assert_eq!(added.text("max_attempts"), "25");
    for empty in ["queue_name", "key", "last_error", "locked_at", "locked_by"] {
        assert_eq!(added.maybe(empty), None, "{empty}");
    }
    assert_eq!(added.text("created_at"), added.text("updated_at"));

    let taken = client.get("worker-0").await;
    assert_eq!(taken.id(), added.id());
    assert_eq!(taken.text("attempts"), "1");
    assert_eq!(taken.text("locked_by"), "worker-0");
    assert!(taken.maybe("locked_at").is_some());
    assert!(client.get("worker-1").await.is_nothing(), "it is taken");

    let done = client.complete("worker-0", &added.id()).await;
    assert_eq!(done, taken, "the row as it was");
    assert_eq!(client.job(&added.id()).await, None);
    assert_eq!(client.state(&added.id()).await, "succeeded");
    client.check().await;
}

#[tokio::test]
async fn get_job_keeps_upstreams_order_over_tasks_and_queues() {
    let client = Client::new().await;
    let last = client.add(A, "one", ", priority => 5").await;
    let third = client.add(A, "two", "").await;
    let second = client
        .add(A, "one", ", run_at => now() - interval '1 hour'")
        .await;
    let first = client
        .add(A, "two", ", priority => -1, queue_name => 'letters'")
        .await;
    client
        .add(A, "one", ", run_at => now() + interval '1 hour'")
        .await;
    for expected in [first, second, third, last] {
        assert_eq!(client.get("worker-0").await.id(), expected.id());
    }
    assert!(
        client.get("worker-0").await.is_nothing(),
        "the rest is not due"
    );
    client.check().await;
}

#[tokio::test]
async fn get_job_takes_what_it_is_asked_for() {
    let client = Client::new().await;
    client.add(A, "one", "").await;
    let two = client.add(A, "two", "").await;
    assert!(client.get_of("worker-0", "{}").await.is_nothing());
    assert!(client.get_of("worker-0", "{three}").await.is_nothing());
    assert_eq!(
        client.get_of("worker-0", "{two,three}").await.id(),
        two.id()
    );
    let refused = client.refused("select * from app_jobs.get_job(null)").await;
    assert_eq!(refused.1, "INVALID_WORKER_ID");
    let refused = client
        .refused("select * from app_jobs.get_job('w-0')")
        .await;
    assert_eq!(
        refused.0, "23514",
        "upstream's names are longer: {}",
        refused.1
    );
}

#[tokio::test]
async fn without_names_no_task_that_we_execute_is_taken() {
    let client = Client::new().await;
    client
        .rows(
            "insert into switchyard.tasks (name, executor) values ('ours', 'builtin'), ('called', 'http'), ('theirs', null)",
        )
        .await;
    let ours = client.add(A, "ours", "").await;
    client.add(A, "called", "").await;
    let theirs = client.add(A, "theirs", "").await;
    let unknown = client.add(A, "unknown", "").await;
    assert_eq!(client.get("worker-0").await.id(), theirs.id());
    assert_eq!(client.get("worker-0").await.id(), unknown.id());
    assert!(client.get("worker-0").await.is_nothing());
    assert_eq!(
        client.get_of("worker-0", "{ours}").await.id(),
        ours.id(),
        "who names it gets it"
    );
}

#[tokio::test]
async fn a_flood_of_one_tenant_delays_another_by_one_job() {
    let client = Client::new().await;
    client
        .rows(&format!(
            "select app_jobs.add_job('{A}', 'task', queue_name => case when n % 2 = 0 then 'q' || n end)
             from generate_series(1, 40) n"
        ))
        .await;
    client.get("worker-0").await;
    let other = client.add(B, "task", "").await;
    let next = [client.get("worker-0").await, client.get("worker-0").await];
    assert!(next.iter().any(|job| job.id() == other.id()), "{next:?}");
    client.check().await;
}

#[tokio::test]
async fn turns_go_by_weight() {
    let client = Client::new().await;
    for tenant in [A, B] {
        client
            .rows(&format!(
                "select app_jobs.add_job('{tenant}', 'task') from generate_series(1, 40)"
            ))
            .await;
    }
    client
        .rows(&format!("select switchyard.set_weight('{A}', 3, 'a test')"))
        .await;
    let mut of_a = 0;
    for _ in 0..20 {
        of_a += usize::from(client.get("worker-0").await.text("database_id") == A);
    }
    assert_eq!(of_a, 15);
}

#[tokio::test]
async fn caps_and_pauses_hold_here_too() {
    let client = Client::new().await;
    for _ in 0..3 {
        client.add(A, "capped", "").await;
    }
    client
        .rows("select switchyard.set_limit(null, 'capped', 2, null, null, 'a test')")
        .await;
    client.get("worker-0").await;
    let second = client.get("worker-1").await;
    assert!(
        client.get("worker-2").await.is_nothing(),
        "two are in flight"
    );
    client.complete("worker-1", &second.id()).await;
    client
        .rows("select switchyard.pause('pause', null, 'capped', null, 'a test', null)")
        .await;
    assert!(client.get("worker-1").await.is_nothing(), "it is paused");
    client.check().await;
}

#[tokio::test]
async fn where_there_are_limits_an_expired_lock_is_taken_by_the_call_after() {
    let client = Client::new().await;
    client
        .rows("select switchyard.set_limit(null, 'capped', 1, null, null, 'a test')")
        .await;
    let job = client.add(A, "capped", "").await.id();
    client.get("worker-0").await;
    client.locked_for(&job, "5 hours").await;
    let mut jobs = client.listen("jobs:insert").await;
    assert!(client.get("worker-1").await.is_nothing());
    assert_eq!(told(&client, &mut jobs).await, 1, "it is told to ask again");
    assert_eq!(client.get("worker-1").await.id(), job);
    client.check().await;
}

#[tokio::test]
async fn a_failed_job_comes_back_by_upstreams_formula() {
    let client = Client::new().await;
    let job = client.add(A, "task", "").await.id();
    for attempt in 1..=3 {
        client.get("worker-0").await;
        let failed = client.fail("worker-0", &job, Some("it broke")).await;
        assert_eq!(failed.text("last_error"), "it broke");
        assert_eq!(failed.maybe("locked_by"), None);
        let wait = client
            .row(&format!(
                "select round(extract(epoch from run_at - now())) = round(exp({attempt})) as right
                 from app_jobs.jobs where id = {job} and attempts = {attempt}"
            ))
            .await;
        assert_eq!(wait.text("right"), "t", "attempt {attempt}");
        assert!(client.get("worker-0").await.is_nothing(), "it rests");
        client.come_due(&job).await;
    }
    client.check().await;
}

#[tokio::test]
async fn the_formula_is_the_tasks_choice() {
    let client = Client::new().await;
    client
        .rows(
            "insert into switchyard.tasks (name, backoff, backoff_max) values
                ('as-ours', 'exponential', '0'), ('as-theirs', 'upstream', '0')",
        )
        .await;
    for (task, seconds) in [("as-ours", "0"), ("as-theirs", "3")] {
        let job = client.add(A, task, "").await.id();
        client.get_of("worker-0", &format!("{{{task}}}")).await;
        client.fail("worker-0", &job, Some("it broke")).await;
        let wait = client
            .row(&format!(
                "select greatest(round(extract(epoch from run_at - now())), 0) as seconds
                 from app_jobs.jobs where id = {job}"
            ))
            .await;
        assert_eq!(wait.text("seconds"), seconds, "{task}");
    }
}

#[tokio::test]
async fn the_last_failure_is_a_dead_job_that_shows() {
    let client = Client::new().await;
    let job = client.add(A, "task", ", max_attempts => 1").await.id();
    client.get("worker-0").await;
    let failed = client.fail("worker-0", &job, Some("it broke")).await;
    assert_eq!(failed.text("attempts"), "1");
    assert_eq!(client.state(&job).await, "dead");
    let shown = client.job(&job).await.unwrap();
    assert_eq!(shown.text("last_error"), "it broke");
    assert_eq!(shown.text("attempts"), shown.text("max_attempts"));
    assert_eq!(shown.maybe("locked_by"), None);
    assert!(client.get("worker-0").await.is_nothing());
}

#[tokio::test]
async fn a_queue_runs_one_after_the_other_and_goes_on_while_one_rests() {
    let client = Client::new().await;
    let first = client
        .add(A, "task", ", queue_name => 'letters'")
        .await
        .id();
    let second = client
        .add(A, "task", ", queue_name => 'letters'")
        .await
        .id();
    client.get("worker-0").await;
    assert!(
        client.get("worker-1").await.is_nothing(),
        "the queue is locked"
    );
    let queue = client.row("select * from app_jobs.job_queues").await;
    assert_eq!(queue.text("queue_name"), "letters");
    assert_eq!(queue.text("job_count"), "2");
    assert_eq!(queue.text("locked_by"), "worker-0");
    client.fail("worker-0", &first, Some("it broke")).await;
    assert_eq!(client.get("worker-1").await.id(), second);
    client.complete("worker-1", &second).await;
    client.come_due(&first).await;
    assert_eq!(client.get("worker-1").await.id(), first);
    client.complete("worker-1", &first).await;
    assert!(
        client
            .rows("select * from app_jobs.job_queues")
            .await
            .is_empty()
    );
    client.check().await;
}

#[tokio::test]
async fn a_worker_that_starts_again_gets_its_jobs_back() {
    let client = Client::new().await;
    let held = client
        .add(A, "task", ", queue_name => 'letters'")
        .await
        .id();
    let other = client.add(A, "task", "").await.id();
    client.get("worker-0").await;
    client.get("worker-1").await;
    let (mine, his) = if client.job(&held).await.unwrap().text("locked_by") == "worker-0" {
        (held, other)
    } else {
        (other, held)
    };
    client.release("worker-0").await;
    let row = client.job(&mine).await.unwrap();
    assert_eq!(row.text("attempts"), "0", "the attempt is given back");
    assert_eq!(row.maybe("locked_by"), None);
    assert_eq!(
        client.job(&his).await.unwrap().text("locked_by"),
        "worker-1"
    );
    assert_eq!(client.get("worker-0").await.id(), mine);
    client.check().await;
}

#[tokio::test]
async fn by_hand_only_what_nobody_holds_is_touched() {
    let client = Client::new().await;
    let held = client.add(A, "task", "").await.id();
    client.get("worker-0").await;
    let queued = client.add(A, "task", "").await.id();
    let stale = client.add(A, "task", ", priority => -1").await.id();
    client.get("worker-1").await;
    client.locked_for(&stale, "5 hours").await;
    let dead = client.add(A, "task", ", priority => -2").await.id();
    client
        .rows(&format!(
            "select app_jobs.permanently_fail_jobs(array[{dead}])"
        ))
        .await;
    assert_eq!(
        client.job(&dead).await.unwrap().text("last_error"),
        "Manually marked as failed"
    );
    let all = format!("array[{held}, {queued}, {stale}, {dead}, 4711]");

    let changed = client
        .rows(&format!(
            "select * from app_jobs.permanently_fail_jobs({all}, 'no use') order by id"
        ))
        .await;
    let ids: Vec<_> = changed.iter().map(|row| row.text("id")).collect();
    assert_eq!(ids, [&queued, &stale, &dead]);
    for row in &changed {
        assert_eq!(row.text("last_error"), "no use");
        assert_eq!(row.text("attempts"), row.text("max_attempts"));
        assert_eq!(client.state(row.text("id")).await, "dead");
    }

    let gone = client
        .rows(&format!(
            "select * from app_jobs.complete_jobs({all}) order by id"
        ))
        .await;
    assert_eq!(gone.len(), 3, "the dead are forgotten: {gone:?}");
    assert_eq!(
        client.job(&held).await.unwrap().text("locked_by"),
        "worker-0"
    );
    let waiting = client.add(A, "task", "").await.id();
    let done = client
        .rows(&format!(
            "select * from app_jobs.complete_jobs(array[{waiting}])"
        ))
        .await;
    assert_eq!(done[0].id(), waiting);
    assert_eq!(client.state(&waiting).await, "succeeded");
    client.check().await;
}

#[tokio::test]
async fn reschedule_jobs_changes_what_is_given_and_replays_the_dead_once() {
    let client = Client::new().await;
    let queued = client.add(A, "task", ", priority => 3").await.id();
    let changed = client
        .row(&format!(
            "select *, run_at > now() + interval '59 minutes' as later
             from app_jobs.reschedule_jobs(array[{queued}], run_at => now() + interval '1 hour', attempts => 4)"
        ))
        .await;
    assert_eq!(changed.text("later"), "t");
    assert_eq!(
        (changed.text("priority"), changed.text("attempts")),
        ("3", "4")
    );

    let dead = client
        .add(A, "task", ", max_attempts => 1, priority => 9")
        .await
        .id();
    client.get("worker-0").await;
    client.fail("worker-0", &dead, Some("it broke")).await;
    let replayed = client
        .row(&format!("select * from app_jobs.reschedule_jobs(array[{dead}], attempts => 0, max_attempts => 2)"))
        .await;
    assert_ne!(replayed.id(), dead);
    assert_eq!(
        (replayed.text("priority"), replayed.text("max_attempts")),
        ("9", "2")
    );
    assert_eq!(client.job(&dead).await, None, "it has been replayed");
    let again = client
        .rows(&format!(
            "select * from app_jobs.reschedule_jobs(array[{dead}])"
        ))
        .await;
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(client.get("worker-0").await.id(), replayed.id());
    client.check().await;
}

#[tokio::test]
async fn each_job_added_here_is_told_and_no_other() {
    let client = Client::new().await;
    let mut jobs = client.listen("jobs:insert").await;
    client.add(A, "task", "").await;
    client
        .add(A, "task", ", run_at => now() + interval '1 day'")
        .await;
    client
        .rows(&format!(
            "insert into app_jobs.jobs (database_id, task_identifier) values ('{A}', 'task')"
        ))
        .await;
    assert_eq!(told(&client, &mut jobs).await, 3);
    client
        .rows(&format!("select switchyard.add_job('{A}', 'task', '{{}}')"))
        .await;
    let job = client.get("worker-0").await.id();
    client.fail("worker-0", &job, Some("it broke")).await;
    client.release("worker-0").await;
    assert_eq!(told(&client, &mut jobs).await, 0);
}

#[tokio::test]
async fn the_start_of_upstreams_service_finds_its_table() {
    let client = Client::new().await;
    let rows = client
        .sent(r#"SELECT * FROM "app_jobs".jobs LIMIT 1;"#, &[])
        .await
        .unwrap();
    assert!(rows.is_empty());
}

#[tokio::test]
async fn a_missing_value_is_upstreams_default_and_a_missing_tenant_an_error() {
    let client = Client::new().await;
    let added = client
        .add(A, "task", ", null, null, null, null, null, null")
        .await;
    assert_eq!(added.text("payload"), "{}");
    assert_eq!(added.text("max_attempts"), "25");
    for call in [
        "app_jobs.add_job(null, 'task')".to_owned(),
        format!("app_jobs.add_job('{A}', null)"),
    ] {
        let refused = client.refused(&format!("select {call}")).await;
        assert_eq!(refused.0, "23502", "{}", refused.1);
    }
}

#[tokio::test]
async fn many_workers_take_each_job_once() {
    let client = Client::new().await;
    client
        .rows(&format!(
            "select app_jobs.add_job(case when n % 2 = 0 then '{A}' else '{B}' end::uuid, 't' || n % 3,
                queue_name => case when n % 5 = 0 then 'q' || n % 3 end)
             from generate_series(1, 60) n"
        ))
        .await;
    let work = async |name: &str| {
        let mut taken = Vec::new();
        loop {
            let job = client.get(name).await;
            if job.is_nothing() {
                return taken;
            }
            client.complete(name, &job.id()).await;
            taken.push(job.id());
        }
    };
    let (a, b, c, d) = tokio::join!(
        work("worker-a"),
        work("worker-b"),
        work("worker-c"),
        work("worker-d")
    );
    let mut all = [a, b, c, d].concat();
    // Who finds nothing may have met others at their queues: what is left is taken now.
    all.extend(work("worker-e").await);
    assert_eq!(all.len(), 60);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 60, "none was taken twice");
    client.check().await;
}
