//! Faults 14 and 29: what is told again and in another order makes nothing twice, and of many pushes to one workload the newest wins.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::harness::{Machine, Sender, client, turn, until};

const WITHIN: Duration = Duration::from_secs(60);
/// How often a broker tells each event again.
const TELLS: usize = 5;
const EVENTS: usize = 10;
/// Pushes to one workload while it is busy.
const PUSHES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_five_times_in_any_order_make_each_job_once() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "again").await;
    let url = machine.webhook(site.trigger);
    let sender = Sender::new();
    for n in 0..EVENTS {
        let push = site.push(&format!("page {n}"), &format!("delivery-{n}"));
        sender.deliver(&url, &push, WITHIN).await;
    }
    let dispatched = "select count(*) from switchyard.events where dispatched_at is not null";
    let all = i64::try_from(EVENTS).expect("few");
    until("every event was dispatched", WITHIN, || async {
        (database.try_count(dispatched).await.ok() == Some(all)).then_some(())
    })
    .await;
    let ingress = machine.ingress("inbound").await;
    let events: Vec<(String, String, String, String)> = sqlx::query_as(
        "select 'evt_' || replace(id::text, '-', ''), type, source, data::text from switchyard.events",
    )
    .fetch_all(&database.rows)
    .await
    .expect("the database answers");
    let mut told: Vec<_> = events.iter().cycle().take(EVENTS * TELLS).collect();
    told.shuffle(&mut StdRng::seed_from_u64(14));
    let http = client();
    for (id, ty, source, data) in told {
        let post = http.post(&ingress).header("ce-specversion", "1.0");
        let post = post.header("ce-id", id).header("ce-type", ty);
        let post = post
            .header("ce-source", source)
            .header("content-type", "application/json");
        let answer = post.body(data.clone()).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    until("nothing is on its way any more", WITHIN, || async {
        let waiting =
            "select (select count(*) from switchyard_local.deliveries where state = 'pending')
            + (select count(*) from switchyard.jobs) + (select count(*) from switchyard.outbox)";
        (database.try_count(waiting).await.ok() == Some(0)).then_some(())
    })
    .await;
    let decisions = database
        .count("select count(*) from switchyard.decisions")
        .await;
    let jobs = "select count(*) from switchyard.jobs_archive where task = 'task-static'";
    // Two bindings look at each event, and one of them matches.
    assert_eq!((decisions, database.count(jobs).await), (2 * all, all));
    let twice = "select count(*) from (
        select from switchyard.jobs_archive group by event_id, binding_id having count(*) > 1
    ) twice";
    assert_eq!(database.count(twice).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_pushes_to_a_busy_workload_the_newest_wins_by_one_deploy() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "burst").await;
    let url = machine.webhook(site.trigger);
    let sender = Sender::new();
    let first = site.push("first", "first");
    sender.deliver(&url, &first, WITHIN).await;
    let live = async |commit: &str| {
        until("it is live", WITHIN, || async {
            let (live, _) = database.live(&site).await?;
            (live == commit).then_some(())
        })
        .await;
    };
    live(&first.after).await;

    // Nothing is claimed meanwhile, as if the deploy before took its time.
    let tenant = database.tenant.uuid();
    sqlx::query("select switchyard.pause('pause', $1, 'task-static', null, 'a test', null)")
        .bind(tenant)
        .execute(&database.rows)
        .await
        .expect("the owner may");
    let mut last = first.after.clone();
    for n in 0..PUSHES {
        let push = site.push(&format!("page {n}"), &format!("delivery-{n}"));
        sender.deliver(&url, &push, WITHIN).await;
        last = push.after;
    }
    let all = i64::try_from(PUSHES).expect("few");
    let superseded = "select count(*) from switchyard.jobs_archive where state = 'superseded'";
    until("all but the newest are superseded", WITHIN, || async {
        (database.try_count(superseded).await.ok() == Some(all - 1)).then_some(())
    })
    .await;
    sqlx::query("select switchyard.resume('pause', $1, 'task-static', null, 'a test', null)")
        .bind(tenant)
        .execute(&database.rows)
        .await
        .expect("the owner may");
    live(&last).await;
    until("every job has ended", WITHIN, || async {
        let left = database
            .try_count("select count(*) from switchyard.jobs")
            .await;
        (left.ok() == Some(0)).then_some(())
    })
    .await;
    let done = "select count(*) from switchyard.jobs_archive where state = 'succeeded' and task = 'task-static'";
    assert_eq!(database.count(done).await, 2);
    assert_eq!(
        database
            .count("select count(*) from switchyard.jobs_archive where state = 'dead'")
            .await,
        0
    );
}
