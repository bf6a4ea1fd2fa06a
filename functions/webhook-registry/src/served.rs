//! The function as it is served, on a database: a push of Pub/Sub, whose proof needs the keys of its maker.

use axum::Router;
use axum::body::Body;
use database::{Connect, TenantDb};
use host::{Clock, Env, Resources};
use http::{Request, StatusCode};
use model::scheme::Issuer;
use model::{DatabaseRole, Role, Scheme, TriggerKind};
use secrecy::ExposeSecret as _;
use serde_json::{Map, json};
use store::setup::{self, NewTrigger};
use store::{Keyring, people};
use tempfile::NamedTempFile;
use tower::ServiceExt as _;
use webhook::conformance::{RECEIVED_AT, SECRET};
use webhook::{keys_url, mutation};

use super::FUNCTION;

#[tokio::test]
async fn a_push_of_pubsub_is_proved_by_a_key_that_its_maker_publishes() {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let mut owner = rows.acquire().await.expect("a connection");
    let (tenant, _) = people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
        .await
        .expect("a tenant");
    drop(owner);
    let key = Keyring::generate();
    let keyring = Keyring::from_base64(&key).expect("a key");
    let tenants = TenantDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::Tenant,
        connections_max: 1,
        acquire_timeout: std::time::Duration::from_secs(20),
    })
    .expect("a URL");
    let scheme: Scheme = serde_json::from_value(json!({
        "kind": "oidc", "audience": "https://hooks.example.test/a", "email": "push@example.test",
    }))
    .expect("a scheme");
    let mut tx = tenants.begin(tenant).await.expect("a transaction");
    let new = NewTrigger {
        name: "images",
        kind: TriggerKind::Registry,
        config: Map::new(),
        scheme: Some(&scheme),
        secret: None,
        path_sha256: None,
    };
    let trigger = setup::create_trigger(&mut tx, tenant, &keyring, new)
        .await
        .expect("a trigger");
    tx.commit().await.expect("a commit");

    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), key.expose_secret()).expect("a file");
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let resources = Resources::new()
        .expect("an HTTP client")
        .with_clock(Clock::Fixed(RECEIVED_AT));
    let published = resources.documents();
    published
        .keep(keys_url(Issuer::Google), mutation::key_set().into())
        .await;
    let router = FUNCTION
        .mount(&env, &resources)
        .expect("good settings")
        .router;

    let body = include_str!("../testdata/artifact_registry.insert.json");
    let request = mutation::Request::new(&[("content-type", "application/json")], body);
    let post = async |secret: &str| {
        let proved = mutation::proved(&scheme, &request, secret);
        posted(
            &router,
            &format!("/{trigger}"),
            proved.headers().clone(),
            body,
        )
        .await
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
            .fetch_all(&rows)
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
    .fetch_one(&rows)
    .await
    .expect("a row");
    assert_eq!(
        (vendor.as_str(), id.as_str()),
        ("artifact_registry", "136969346945")
    );
}

async fn posted(
    router: &Router,
    path: &str,
    headers: http::HeaderMap,
    body: &'static str,
) -> StatusCode {
    let mut request = Request::post(path)
        .body(Body::from(body))
        .expect("a request");
    *request.headers_mut() = headers;
    let answered = router.clone().oneshot(request).await;
    answered.expect("a router always answers").status()
}
