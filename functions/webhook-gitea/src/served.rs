//! The function as it is served, on a database: the deliveries of its senders are taken, those of others are not.

use axum::Router;
use axum::body::Body;
use database::{Connect, TenantDb};
use host::{Env, Resources};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::{GitTrigger, Role, TriggerId};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::{Keyring, people, setup};
use tempfile::NamedTempFile;
use testkit::TestDb;
use tower::ServiceExt as _;
use webhook::conformance::{Dialect, SECRET, signed};

use super::*;
use crate::tests::{FORGEJO, GITEA, GOGS};

const PUSH: &str = include_str!("../testdata/gitea/push.branch.json");

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

    async fn deliveries(&self) -> Vec<(String, String, i64)> {
        sqlx::query_as(
            "select vendor, verdict::text, (select count(*) from switchyard.events e where e.delivery_id = d.id)
             from switchyard.deliveries d order by id",
        )
        .fetch_all(&self.rows)
        .await
        .expect("rows")
    }
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
    let it = served().await;
    for (dialect, id) in [(GOGS, "1"), (GITEA, "2"), (FORGEJO, "3")] {
        let (status, body) = it.post(from(dialect, id), PUSH).await;
        assert_eq!(
            (status, &body["events"]),
            (StatusCode::ACCEPTED, &json!(1)),
            "{body}"
        );
    }
    let one = |vendor: &str| (vendor.to_owned(), "accepted".to_owned(), 1);
    assert_eq!(
        it.deliveries().await,
        [one("gogs"), one("gitea"), one("forgejo")]
    );
}

#[tokio::test]
async fn deliveries_of_github_are_refused() {
    let it = served().await;
    let mut github: Value = serde_json::from_str(PUSH).expect("JSON");
    github["pusher"] = json!({"name": "ann", "email": "ann@example.test"});
    let github = github.to_string();
    let headers = signed(GITEA, "push", github.as_bytes());
    let (status, body) = it.post(headers, &github).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");

    // GitHub's own requests carry no signature that is looked at here.
    let mut headers = signed(GITEA, "push", github.as_bytes());
    headers.remove("x-gogs-signature");
    headers.remove("x-gitea-signature");
    assert!(headers.contains_key("x-hub-signature-256"));
    let (status, _) = it.post(headers, &github).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let verdicts: Vec<_> = it.deliveries().await.into_iter().map(|row| row.1).collect();
    assert_eq!(verdicts, ["malformed", "rejected"]);
}

#[tokio::test]
async fn a_flipped_byte_is_refused_and_counted() {
    let it = served().await;
    let (status, _) = it
        .post(from(GITEA, "1"), &PUSH.replacen("main", "mein", 1))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let counted: i64 = sqlx::query_scalar("select sum(count)::bigint from switchyard.rejections")
        .fetch_one(&it.rows)
        .await
        .expect("a count");
    assert_eq!(counted, 1);
}
