//! The function as it is served, on a database: its sender's deliveries are taken, a wrong proof is counted.

use http::StatusCode;
use serde_json::json;
use webhook::conformance::signed;
use webhook_testkit::Served;

use super::*;
use crate::tests::CLOUD;

const PUSH: &str = include_str!("../testdata/cloud/repo__push.forced.json");

#[tokio::test]
async fn a_push_is_taken_under_its_name_once() {
    let it = Served::new(&FUNCTION).await;
    let path = format!("/{}", it.git_trigger().await);
    for (dialect, event, vendor) in [(CLOUD, "repo:push", "bitbucket")] {
        let headers = || signed(dialect, event, PUSH.as_bytes());
        let answer = it.post(&path, headers(), PUSH).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        assert_eq!(answer.body["events"], json!(1), "{}", answer.body);
        let again = it.post(&path, headers(), PUSH).await;
        assert_eq!(
            (again.status, &again.body["verdict"]),
            (StatusCode::OK, &json!("duplicate"))
        );
        let stored: (String, String, String) = sqlx::query_as(
            "select vendor, vendor_event, delivery_key from switchyard.deliveries order by id limit 1",
        )
        .fetch_one(&it.rows)
        .await
        .expect("a delivery");
        let expected = (
            vendor.to_owned(),
            event.to_owned(),
            "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned(),
        );
        assert_eq!(stored, expected);
    }
    let types: Vec<String> = sqlx::query_scalar("select type from switchyard.events order by type")
        .fetch_all(&it.rows)
        .await
        .expect("rows");
    assert_eq!(types, ["dev.switchyard.git.pushed.v1"]);
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_counted() {
    let it = Served::new(&FUNCTION).await;
    let path = format!("/{}", it.git_trigger().await);
    let mut headers = signed(CLOUD, "repo:push", PUSH.as_bytes());
    headers.insert(
        "x-hub-signature",
        "sha256=0000000000000000000000000000000000000000000000000000000000000000"
            .parse()
            .expect("a header's value"),
    );
    let answer = it.post(&path, headers, PUSH).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let counted: i64 = sqlx::query_scalar("select sum(count)::bigint from switchyard.rejections")
        .fetch_one(&it.rows)
        .await
        .expect("a count");
    assert_eq!(counted, 1);
    let kept: String = sqlx::query_scalar("select headers::text from switchyard.deliveries")
        .fetch_one(&it.rows)
        .await
        .expect("a sample");
    assert!(kept.contains(r#""x-hub-signature": "***""#), "{kept}");
}
