//! The function as it is served, on a database: its sender's deliveries are taken, a wrong proof is counted.

use axum::Router;
use axum::body::Body;
use database::{Connect, TenantDb};
use host::{Env, Resources};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::{GitTrigger, Role, TriggerId};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::{Keyring, people, setup};
use tempfile::NamedTempFile;
use testkit::TestDb;
use tower::ServiceExt as _;
use webhook::conformance::{SECRET, signed};

use super::*;
use crate::tests::BASIC;

const PUSH: &str = include_str!("../testdata/git.push.branch.json");

struct Served {
    router: Router,
    rows: PgPool,
    trigger: TriggerId,
    // Both go away when the test is over.
    _key: NamedTempFile,
    _db: TestDb,
}

async fn served() -> Served {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let mut owner = rows.acquire().await.expect("a connection");
    let (tenant, _) = people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
        .await
        .expect("a tenant");
    let key = Keyring::generate();
    let keyring = Keyring::from_base64(&key).expect("a key");
    let tenants = TenantDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::Tenant,
        connections_max: 1,
        acquire_timeout: std::time::Duration::from_secs(20),
    })
    .expect("a URL");
    let mut tx = tenants.begin(tenant).await.expect("a transaction");
    let filter = GitTrigger::default();
    let trigger =
        setup::create_git_trigger(&mut tx, tenant, &keyring, "push", &filter, &SECRET.into())
            .await
            .expect("a trigger");
    tx.commit().await.expect("a commit");

    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), key.expose_secret()).expect("a file");
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let resources = Resources::new().expect("an HTTP client");
    Served {
        router: FUNCTION
            .mount(&env, &resources)
            .expect("good settings")
            .router,
        rows,
        trigger,
        _key: file,
        _db: db,
    }
}

impl Served {
    async fn post(&self, headers: HeaderMap, body: &str) -> (StatusCode, Value) {
        let mut request = Request::post(format!("/{}", self.trigger))
            .body(Body::from(body.to_owned()))
            .expect("a request");
        *request.headers_mut() = headers;
        let answered = self.router.clone().oneshot(request).await;
        let response = answered.expect("a router always answers");
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }
}

#[tokio::test]
async fn a_push_is_taken_under_its_name_once() {
    let it = served().await;
    for (dialect, event, vendor) in [(BASIC, "", "azure_devops")] {
        let headers = || signed(dialect, event, PUSH.as_bytes());
        let (status, body) = it.post(headers(), PUSH).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        assert_eq!(body["events"], json!(1), "{body}");
        let (status, again) = it.post(headers(), PUSH).await;
        assert_eq!(
            (status, &again["verdict"]),
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
            "git.push".to_owned(),
            "11111111-1111-4111-8111-111111111111:3".to_owned(),
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
    let it = served().await;
    let mut headers = signed(BASIC, "", PUSH.as_bytes());
    headers.insert(
        "authorization",
        "Basic eDp5".parse().expect("a header's value"),
    );
    let (status, _) = it.post(headers, PUSH).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let counted: i64 = sqlx::query_scalar("select sum(count)::bigint from switchyard.rejections")
        .fetch_one(&it.rows)
        .await
        .expect("a count");
    assert_eq!(counted, 1);
    let kept: String = sqlx::query_scalar("select headers::text from switchyard.deliveries")
        .fetch_one(&it.rows)
        .await
        .expect("a sample");
    assert!(kept.contains(r#""authorization": "***""#), "{kept}");
}
