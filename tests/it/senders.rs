//! Fault 5 as senders of webhooks see it where everything is one process: all connections to the database are ended every two
//! seconds, and nobody outside is told.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Machine, Sender, turn, until};

const END_EVERY: Duration = Duration::from_secs(2);
/// How often that happens.
const ENDS: u32 = 4;
const POST_EVERY: Duration = Duration::from_millis(40);
/// Of a hundred posts ninety-nine are answered within this.
const ANSWER_P99: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn senders_do_not_notice_that_connections_end_again_and_again() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "sender").await;
    let url = machine.webhook(site.trigger);
    let commit = site.repository.commit("a page");

    let rows = database.rows.clone();
    #[expect(clippy::disallowed_methods, reason = "waited for below")]
    let ending = tokio::spawn(async move {
        for _ in 0..ENDS {
            tokio::time::sleep(END_EVERY).await;
            sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .execute(&rows)
            .await
            .ok();
        }
    });
    let sender = Sender::new();
    let mut posts = tokio::task::JoinSet::new();
    let mut beat = tokio::time::interval(POST_EVERY);
    let mut number = 0_i64;
    while !ending.is_finished() {
        beat.tick().await;
        number += 1;
        let push = site.told(&commit, &format!("delivery-{number}"));
        let (sender, url) = (sender.clone(), url.clone());
        posts.spawn(async move {
            let asked = Instant::now();
            let (status, body) = sender.post(&url, &push).await.expect("an answer");
            (status, body, asked.elapsed())
        });
    }
    ending.await.expect("nobody panicked");
    let mut took = Vec::new();
    for (status, body, time) in posts.join_all().await {
        assert!(status.is_success(), "{status}: {body}");
        took.push(time);
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    println!(
        "fault 5: {} posts, p99 {:.3} s",
        took.len(),
        p99.as_secs_f64()
    );
    assert!(p99 < ANSWER_P99, "{p99:?}");
    until(
        "each is an event that was dispatched",
        Duration::from_secs(60),
        || async {
            let events = database
                .try_count("select count(*) from switchyard.events where dispatched_at is not null")
                .await;
            (events.ok() == Some(number)).then_some(())
        },
    )
    .await;
    for (what, sql) in [
        (
            "deliveries",
            "select count(*) from switchyard.deliveries where verdict = 'accepted'",
        ),
        (
            "jobs",
            "select count(distinct job_id) from switchyard.decisions where matched",
        ),
    ] {
        assert_eq!(database.count(sql).await, number, "{what}");
    }
}
