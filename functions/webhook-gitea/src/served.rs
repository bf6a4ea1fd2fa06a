//! The function as it is served, on a database: the deliveries of its senders are taken, those of others are not.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use webhook::conformance::{Dialect, signed};
use webhook_testkit::Served;

use super::*;
use crate::tests::{FORGEJO, GITEA, GOGS};

const PUSH: &str = include_str!("../testdata/gitea/push.branch.json");

async fn deliveries(it: &Served) -> Vec<(String, String, i64)> {
    sqlx::query_as(
        "select vendor, verdict::text, (select count(*) from switchyard.events e where e.delivery_id = d.id)
         from switchyard.deliveries d order by id",
    )
    .fetch_all(&it.rows)
    .await
    .expect("rows")
}

fn from(dialect: Dialect, id: &str) -> HeaderMap {
    let mut headers = signed(dialect, "push", PUSH.as_bytes());
    let id = HeaderValue::from_str(id).expect("a header's value");
    for name in ["x-gogs-delivery", "x-gitea-delivery", "x-forgejo-delivery"] {
        if headers.contains_key(name) {
            headers.insert(name, id.clone());
        }
    }
    headers
}

#[tokio::test]
async fn pushes_of_each_sender_are_taken_under_its_name() {
    let it = Served::new(&FUNCTION).await;
    let path = format!("/{}", it.git_trigger().await);
    for (dialect, id) in [(GOGS, "1"), (GITEA, "2"), (FORGEJO, "3")] {
        let answer = it.post(&path, from(dialect, id), PUSH).await;
        assert_eq!(
            (answer.status, &answer.body["events"]),
            (StatusCode::ACCEPTED, &json!(1)),
            "{}",
            answer.body
        );
    }
    let one = |vendor: &str| (vendor.to_owned(), "accepted".to_owned(), 1);
    assert_eq!(
        deliveries(&it).await,
        [one("gogs"), one("gitea"), one("forgejo")]
    );
}

#[tokio::test]
async fn deliveries_of_github_are_refused() {
    let it = Served::new(&FUNCTION).await;
    let path = format!("/{}", it.git_trigger().await);
    let mut github: Value = serde_json::from_str(PUSH).expect("JSON");
    github["pusher"] = json!({"name": "ann", "email": "ann@example.test"});
    let github = github.to_string();
    let headers = signed(GITEA, "push", github.as_bytes());
    let answer = it.post(&path, headers, github.clone()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);

    // GitHub's own requests carry no signature that is looked at here.
    let mut headers = signed(GITEA, "push", github.as_bytes());
    headers.remove("x-gogs-signature");
    headers.remove("x-gitea-signature");
    assert!(headers.contains_key("x-hub-signature-256"));
    let answer = it.post(&path, headers, github).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let verdicts: Vec<_> = deliveries(&it).await.into_iter().map(|row| row.1).collect();
    assert_eq!(verdicts, ["malformed", "rejected"]);
}

#[tokio::test]
async fn a_flipped_byte_is_refused_and_counted() {
    let it = Served::new(&FUNCTION).await;
    let path = format!("/{}", it.git_trigger().await);
    let flipped = PUSH.replacen("main", "mein", 1);
    let answer = it.post(&path, from(GITEA, "1"), flipped).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let counted: i64 = sqlx::query_scalar("select sum(count)::bigint from switchyard.rejections")
        .fetch_one(&it.rows)
        .await
        .expect("a count");
    assert_eq!(counted, 1);
}
