//! One push that comes two hundred times at once.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::task::JoinSet;

use crate::harness::{Machine, Sender, turn, until};

const POSTS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_parallel_posts_of_one_push_are_one_event_and_one_job_for_each_binding() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "parallel").await;
    let push = site.push("once", "the-only-one");
    let url = machine.webhook(site.trigger);

    let sender = Sender::new();
    let mut posts = JoinSet::new();
    for _ in 0..POSTS {
        let (sender, url, push) = (sender.clone(), url.clone(), push.clone());
        posts.spawn(async move { sender.post(&url, &push).await.expect("an answer") });
    }
    let mut answers: BTreeMap<(StatusCode, String), usize> = BTreeMap::new();
    while let Some(answer) = posts.join_next().await {
        let (status, body) = answer.expect("no post panicked");
        let id = body["delivery"].as_str().unwrap_or_default().to_owned();
        *answers.entry((status, id)).or_default() += 1;
    }
    let first = answers
        .keys()
        .next()
        .map(|(_, id)| id.clone())
        .unwrap_or_default();
    let expected = BTreeMap::from([
        ((StatusCode::OK, first.clone()), POSTS - 1),
        ((StatusCode::ACCEPTED, first.clone()), 1),
    ]);
    assert!(first.starts_with("dlv_"), "{answers:?}");
    assert_eq!(answers, expected, "one is taken, all others are told of it");

    until("the job has ended", Duration::from_secs(30), || async {
        let ended = database
            .count("select count(*) from switchyard.jobs_archive")
            .await;
        (ended == 1).then_some(())
    })
    .await;
    for (what, sql, expected) in [
        ("events", "select count(*) from switchyard.events", 1),
        (
            "matched",
            "select count(*) from switchyard.decisions where matched",
            1,
        ),
        (
            "unmatched",
            "select count(*) from switchyard.decisions where not matched",
            1,
        ),
        ("open jobs", "select count(*) from switchyard.jobs", 0),
        ("revisions", "select count(*) from switchyard.revisions", 1),
    ] {
        assert_eq!(database.count(sql).await, expected, "{what}");
    }
    let live = database.live(&site).await;
    assert_eq!(live, Some((push.after, 1)));
}
