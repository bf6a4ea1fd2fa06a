//! A function that takes webhooks, served on a database of its own, with a tenant. For tests: whatever is not there panics.

mod push;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use database::{Connect, TenantDb};
use host::{Env, Function, Resources};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use model::{DatabaseRole, GitTrigger, Role, TenantId, TriggerId};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::PgPool;
use store::setup::{self, NewTrigger};
use store::{Keyring, people};
use tempfile::NamedTempFile;
use testkit::TestDb;
use webhook::conformance::SECRET;

pub use push::Push;

/// The function and what it is served on, which goes away with it.
pub struct Served {
    /// What the function serves.
    pub router: Router,
    /// As the owner of the database, who sees everything.
    pub rows: PgPool,
    /// What the function seals bodies and secrets with.
    pub keyring: Keyring,
    /// Whose triggers there are.
    pub tenant: TenantId,
    /// The settings that the function was mounted with.
    pub env: Env,
    tenants: TenantDb,
    _key: NamedTempFile,
    _db: TestDb,
}

/// What a sender is told.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, which is always JSON.
    pub body: Value,
}

impl Served {
    /// Serves a function.
    pub async fn new(function: &Function) -> Self {
        Self::with(function, &Resources::new().expect("an HTTP client")).await
    }

    /// The same with resources that the test keeps.
    pub async fn with(function: &Function, resources: &Resources) -> Self {
        Self::set(function, resources, &[]).await
    }

    /// The same with more settings.
    pub async fn set(function: &Function, resources: &Resources, more: &[(&str, String)]) -> Self {
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
            acquire_timeout: Duration::from_secs(20),
        })
        .expect("a URL");
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.expose_secret()).expect("a file");
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
            .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
        let env = more
            .iter()
            .fold(env, |env, (name, value)| env.with(name, value));
        let mounted = function.mount(&env, resources).expect("good settings");
        Self {
            router: mounted.router,
            rows,
            keyring,
            tenant,
            env,
            tenants,
            _key: file,
            _db: db,
        }
    }

    /// A trigger for everything that is pushed, with [`SECRET`].
    pub async fn git_trigger(&self) -> TriggerId {
        let (tenant, keyring) = (self.tenant, &self.keyring);
        let mut tx = self.tenants.begin(tenant).await.expect("a transaction");
        let filter = GitTrigger::default();
        let id =
            setup::create_git_trigger(&mut tx, tenant, keyring, "push", &filter, &SECRET.into())
                .await
                .expect("a trigger");
        tx.commit().await.expect("a commit");
        id
    }

    /// A trigger as it is given.
    pub async fn trigger(&self, new: NewTrigger<'_>) -> TriggerId {
        let mut tx = self
            .tenants
            .begin(self.tenant)
            .await
            .expect("a transaction");
        let id = setup::create_trigger(&mut tx, self.tenant, &self.keyring, new)
            .await
            .expect("a trigger");
        tx.commit().await.expect("a commit");
        id
    }

    /// Posts a request to a path.
    pub async fn post(&self, path: &str, headers: HeaderMap, body: impl Into<Body>) -> Answer {
        let response = respond(&self.router, path, headers, body).await;
        let status = response.status();
        let read = response.into_body().collect().await;
        let body = serde_json::from_slice(&read.expect("a body").to_bytes()).expect("JSON");
        Answer { status, body }
    }
}

/// Posts a request to a path of any router.
pub async fn respond(
    router: &Router,
    path: &str,
    headers: HeaderMap,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut request = Request::post(path).body(body.into()).expect("a request");
    *request.headers_mut() = headers;
    let answered = tower::ServiceExt::oneshot(router.clone(), request).await;
    answered.expect("a router always answers")
}
