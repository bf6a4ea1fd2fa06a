//! Hooks that overtake each other: what is told last is not what is newest.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, Machine, Sender, turn, until};

const WITHIN: Duration = Duration::from_secs(30);

/// State and result of each ended job, in the order in which they were asked for.
async fn ended(database: &Database, jobs: usize) -> Vec<(String, Option<Value>)> {
    until("all jobs have ended", WITHIN, || async {
        let rows: Vec<(String, Option<Value>)> =
            sqlx::query_as("select state::text, result from switchyard.jobs_archive order by seq")
                .fetch_all(&database.rows)
                .await
                .expect("the database answers");
        (rows.len() == jobs).then_some(rows)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_whose_hooks_come_in_reverse_end_at_the_newer_commit() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "reversed").await;
    let url = machine.webhook(site.trigger);
    let sender = Sender::new();

    // The newer commit's hook comes first and is done before the older one's arrives.
    let older = site.push("the first page", "1");
    let newer = site.push("the second page", "2");
    sender.deliver(&url, &newer, WITHIN).await;
    ended(&database, 1).await;
    sender.deliver(&url, &older, WITHIN).await;
    let jobs = ended(&database, 2).await;
    let (state, result) = &jobs[1];
    let result = result.as_ref().expect("a deploy says what it did");
    assert_eq!(state, "succeeded");
    assert_eq!(result["asked"], older.after.as_str(), "{result}");
    assert_eq!(result["deployed"], newer.after.as_str(), "{result}");
    assert_eq!(result["already_live"], true, "{result}");
    assert_eq!(database.live(&site).await, Some((newer.after.clone(), 1)));

    // Both come at once, the newer first.
    let older = site.push("the third page", "3");
    let newer = site.push("the fourth page", "4");
    sender.deliver(&url, &newer, WITHIN).await;
    sender.deliver(&url, &older, WITHIN).await;
    for (state, result) in &ended(&database, 4).await[2..] {
        let deployed = result.as_ref().map(|result| result["deployed"].clone());
        assert!(
            state == "superseded" || deployed == Some(newer.after.as_str().into()),
            "a job is {state} with {result:?}"
        );
    }
    let live = database.live(&site).await.map(|(commit, _)| commit);
    assert_eq!(live, Some(newer.after));
    let (_, page) = sender
        .page(machine.port(), &site.host)
        .await
        .expect("the site answers");
    assert!(page.contains("the fourth page"), "{page}");
}
