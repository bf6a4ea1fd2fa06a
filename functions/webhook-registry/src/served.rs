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

#[tokio::test]
async fn equal_bodies_are_repeats_within_their_window_and_only_where_they_tell_themselves_apart() {
    let it = Served::new(&FUNCTION).await;
    let trigger = async |name: &'static str| {
        let new = NewTrigger {
            name,
            kind: TriggerKind::Registry,
            config: Map::new(),
            scheme: None,
            secret: Some(&SECRET.into()),
            path_sha256: None,
        };
        format!("/{}", it.trigger(new).await)
    };
    let post = async |path: &str, body: &str| {
        let headers = http::HeaderMap::from_iter([
            (
                http::header::AUTHORIZATION,
                SECRET.parse().expect("a value"),
            ),
            (
                http::header::CONTENT_TYPE,
                "application/json".parse().expect("a value"),
            ),
        ]);
        let answer = it.post(path, headers, body.to_owned()).await;
        (answer.status.as_u16(), answer.body["events"].as_i64())
    };
    let hub = include_str!("../testdata/docker_hub.push.json");
    let other = hub.replace("latest", "stable");
    let path = trigger("hub").await;
    assert_ne!(hub, other);
    for (body, expected) in [(hub, 202), (hub, 200), (&other, 202), (hub, 200)] {
        assert_eq!(post(&path, body).await.0, expected);
    }
    // An hour later the tag comes back to what it was.
    sqlx::query("update switchyard.delivery_keys set expires_at = now() where key like 'sha256:%'")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    assert_eq!(post(&path, hub).await, (202, Some(1)));
    assert_eq!(post(&path, hub).await.0, 200);
    let linked: i64 = sqlx::query_scalar(
        "select count(*) from switchyard.deliveries d join switchyard.deliveries f on f.id = d.first_id
         where d.verdict = 'duplicate' and f.verdict = 'accepted' and d.body_sha256 = f.body_sha256",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a number");
    assert_eq!(linked, 3);

    let quay = include_str!("../testdata/quay.push.json");
    let path = trigger("quay").await;
    for _ in 0..2 {
        assert_eq!(post(&path, quay).await, (202, Some(2)));
    }
}
