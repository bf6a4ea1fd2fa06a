//! The function as it is served, on a database: a push of Pub/Sub, whose proof needs the keys of its maker.

use host::{Clock, Resources};
use http::StatusCode;
use model::scheme::Issuer;
use model::{Scheme, TriggerKind};
use serde_json::{Map, json};
use store::setup::NewTrigger;
use webhook::conformance::{RECEIVED_AT, SECRET};
use webhook::{keys_url, mutation};
use webhook_testkit::Served;

use super::FUNCTION;

#[tokio::test]
async fn a_push_of_pubsub_is_proved_by_a_key_that_its_maker_publishes() {
    let scheme: Scheme = serde_json::from_value(json!({
        "kind": "oidc", "audience": "https://hooks.example.test/a", "email": "push@example.test",
    }))
    .expect("a scheme");
    let new = NewTrigger {
        name: "images",
        kind: TriggerKind::Registry,
        config: Map::new(),
        scheme: Some(&scheme),
        secret: None,
        path_sha256: None,
    };
    let resources = Resources::new()
        .expect("an HTTP client")
        .with_clock(Clock::Fixed(RECEIVED_AT));
    let published = resources.documents();
    published
        .keep(keys_url(Issuer::Google), mutation::key_set().into())
        .await;
    let it = Served::with(&FUNCTION, &resources).await;
    let path = format!("/{}", it.trigger(new).await);

    let body = include_str!("../testdata/artifact_registry.insert.json");
    let request = mutation::Request::new(&[("content-type", "application/json")], body);
    let post = async |secret: &str| {
        let proved = mutation::proved(&scheme, &request, secret);
        let headers = proved.headers().clone();
        it.post(&path, headers, body).await.status
    };
    assert_eq!(post(SECRET).await, StatusCode::ACCEPTED);
    assert_eq!(post("another").await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        post(SECRET).await,
        StatusCode::OK,
        "its message id was here before"
    );
    let events: Vec<(String, String)> =
        sqlx::query_as("select type, subject from switchyard.events")
            .fetch_all(&it.rows)
            .await
            .expect("rows");
    let [(ty, subject)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(ty, "dev.switchyard.image.pushed.v1");
    assert!(
        subject.starts_with("us-east1-docker.pkg.dev/my-project/my-repo/hello-world:1.1@sha256:")
    );
    let (vendor, id): (String, String) = sqlx::query_as(
        "select vendor, delivery_key from switchyard.deliveries where verdict = 'accepted'",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a row");
    assert_eq!(
        (vendor.as_str(), id.as_str()),
        ("artifact_registry", "136969346945")
    );
}
