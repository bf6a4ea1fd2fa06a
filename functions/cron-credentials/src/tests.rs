//! The function on a database, with doubles that speak the documented formats and check what they are shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use host::Resources;
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::Keyring;
use store::credentials::{self, CredentialKind, NewCredential, Rotation};
use store::watch::Login;
use tempfile::NamedTempFile;
use testkit::{GitBehaviour, GitOrigin, GitServer, Https, Sshd, TestDb};
use uuid::Uuid;

use super::*;
use crate::check::sigv4::{Signing, sign};

const GOOD: &str = "s3cret-that-is-good";

/// What the double knows.
#[derive(Clone, Default)]
struct Double {
    /// Its own name, which is part of what is signed.
    authority: Arc<Mutex<String>>,
    /// The public key of the service account.
    public: Arc<Vec<u8>>,
    /// Nobody answers as they should.
    broken: Arc<Mutex<bool>>,
}

fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(decoded).ok()
}

impl Double {
    fn router(self) -> Router {
        Router::new()
            .route("/v2/", get(Self::registry))
            .route("/registry/token", get(Self::registry_token))
            .route("/version", get(Self::kube))
            .route("/healthz", get(Self::netlab))
            .route("/", post(Self::sts))
            .route("/labs", get(Self::bucket))
            .route("/acme/oauth2/v2.0/token", post(Self::azure))
            .route("/token", post(Self::gcp))
            .with_state(self)
    }

    fn authority(&self) -> String {
        self.authority.lock().expect("no test panics here").clone()
    }

    async fn registry(State(it): State<Self>, headers: HeaderMap) -> Response {
        if *it.broken.lock().expect("no test panics here") {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        if headers
            .get("authorization")
            .is_some_and(|value| value == "Bearer of-the-registry")
        {
            return StatusCode::OK.into_response();
        }
        let challenge = format!(
            "Bearer realm=\"https://{}/registry/token\",service=\"double\"",
            it.authority()
        );
        (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
    }

    async fn registry_token(
        headers: HeaderMap,
        Query(query): Query<HashMap<String, String>>,
    ) -> Response {
        if query
            .get("service")
            .is_none_or(|service| service != "double")
        {
            return StatusCode::BAD_REQUEST.into_response();
        }
        if basic(&headers).is_some_and(|pair| pair == format!("ann:{GOOD}")) {
            return axum::Json(json!({"token": "of-the-registry"})).into_response();
        }
        StatusCode::UNAUTHORIZED.into_response()
    }

    async fn kube(headers: HeaderMap) -> Response {
        let shown = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if shown.is_some_and(|token| {
            token.starts_with("Bearer ey") || token == format!("Bearer {GOOD}")
        }) {
            return axum::Json(json!({"gitVersion": "v1.34.0"})).into_response();
        }
        StatusCode::UNAUTHORIZED.into_response()
    }

    async fn netlab(headers: HeaderMap) -> Response {
        if basic(&headers).is_some_and(|pair| pair == format!("ann:{GOOD}")) {
            return axum::Json(json!({"status": "ok"})).into_response();
        }
        StatusCode::UNAUTHORIZED.into_response()
    }

    /// Whether a request is signed with the good key at the time that it says.
    fn signed(&self, headers: &HeaderMap, signing: Signing<'_>) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let time = text("x-amz-date").expect("a date");
        let time = chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").expect("a date");
        let login = Login {
            host: self.authority(),
            username: "AKIDEXAMPLE".to_owned(),
            secret: GOOD.into(),
        };
        let signing = Signing {
            now: time.and_utc(),
            ..signing
        };
        let wanted = sign(&login, &signing).expect("it can be signed");
        headers.get("authorization") == wanted.get("authorization")
    }

    async fn sts(State(it): State<Self>, headers: HeaderMap, body: String) -> Response {
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(body, "Action=GetCallerIdentity&Version=2011-06-15");
        let signing = Signing {
            method: "POST",
            path: "/",
            query: "",
            service: "sts",
            region: "eu-west-1",
            body: &body,
            with_body_digest: false,
            now: Default::default(),
        };
        if it.signed(&headers, signing) {
            return "<GetCallerIdentityResponse/>".into_response();
        }
        let error =
            "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>";
        (StatusCode::FORBIDDEN, error).into_response()
    }

    async fn bucket(
        State(it): State<Self>,
        headers: HeaderMap,
        request: Request<Body>,
    ) -> Response {
        let query = request.uri().query().expect("a query").to_owned();
        let signing = Signing {
            method: "GET",
            path: "/labs",
            query: &query,
            service: "s3",
            region: "us-east-1",
            body: "",
            with_body_digest: true,
            now: Default::default(),
        };
        if it.signed(&headers, signing) {
            return "<ListBucketResult/>".into_response();
        }
        (
            StatusCode::FORBIDDEN,
            "<Error><Code>AccessDenied</Code></Error>",
        )
            .into_response()
    }

    async fn azure(body: Bytes) -> Response {
        let form: HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(form["grant_type"], "client_credentials");
        assert_eq!(form["scope"], "https://management.azure.com/.default");
        if form["client_id"] == "client" && form["client_secret"] == GOOD {
            return axum::Json(json!({"access_token": "x", "token_type": "Bearer"}))
                .into_response();
        }
        let error = json!({
            "error": "invalid_client",
            "error_description": format!("AADSTS7000215: Invalid client secret {}.\r\nTrace ID: 1", form["client_secret"]),
        });
        (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response()
    }

    async fn gcp(State(it): State<Self>, body: Bytes) -> Response {
        let form: HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(
            form["grant_type"],
            "urn:ietf:params:oauth:grant-type:jwt-bearer"
        );
        let (signed, signature) = form["assertion"].rsplit_once('.').expect("a JWT");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let claims = signed.split('.').nth(1).expect("claims");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(claims["aud"], format!("https://{}/token", it.authority()));
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, it.public.as_slice());
        if key.verify(signed.as_bytes(), &signature).is_ok() && claims["iss"] == "lab@acme.test" {
            return axum::Json(json!({"access_token": "x"})).into_response();
        }
        let error =
            json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."});
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    }
}

struct Served {
    router: Router,
    rows: PgPool,
    tenants: database::TenantDb,
    tenant: Uuid,
    keyring: Keyring,
    double: Double,
    origin: GitOrigin,
    git: GitServer,
    /// Of the service account, in PEM.
    key: String,
    _https: Https,
    _files: (NamedTempFile, NamedTempFile),
    _db: TestDb,
}

impl Served {
    async fn new() -> Self {
        Self::allowing("").await
    }

    /// With another place that may be called.
    async fn allowing(more: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let double = Double {
            public: Arc::new(key.der_bytes().to_vec()),
            ..Double::default()
        };
        let https = Https::serve(double.clone().router()).await;
        *double.authority.lock().expect("nobody has it") = https.authority();
        let origin = GitOrigin::new().expect("a repository");
        let git = GitServer::start(&origin, GitBehaviour::GitWithToken(GOOD)).await;
        let git = git.expect("a server");
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let master = Keyring::generate();
        let master_file = NamedTempFile::new().expect("a file");
        std::fs::write(master_file.path(), master.expose_secret()).expect("a file");
        let roots = NamedTempFile::new().expect("a file");
        let both = [https.certificate(), git.certificate_file()]
            .map(|path| std::fs::read_to_string(path).expect("a certificate"));
        std::fs::write(roots.path(), both.join("\n")).expect("a file");
        let mut allowed = format!("{},localhost:{}", https.authority(), git.port());
        if !more.is_empty() {
            allowed.push(',');
            allowed.push_str(more);
        }
        let path = |file: &NamedTempFile| file.path().to_str().expect("a path").to_owned();
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
            .with("MASTER_KEY_FILE", path(&master_file))
            .with("EGRESS_ALLOW", allowed)
            .with("EGRESS_CA_FILE", path(&roots));
        let resources = Resources::new().expect("an HTTP client");
        let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
        let tenants = database::TenantDb::new(&database::Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 1,
            acquire_timeout: Duration::from_secs(60),
        });
        let tenant = Uuid::new_v4();
        sqlx::query("insert into switchyard.tenants values ($1, 'acme')")
            .bind(tenant)
            .execute(&rows)
            .await
            .expect("a tenant");
        Self {
            router: mounted.router,
            rows,
            tenants: tenants.expect("a URL"),
            tenant,
            keyring: Keyring::from_base64(&master).expect("a key"),
            key: key.serialize_pem(),
            double,
            origin,
            git,
            _https: https,
            _files: (master_file, roots),
            _db: db,
        }
    }

    async fn credential(
        &self,
        kind: CredentialKind,
        username: &str,
        config: Value,
        secret: &str,
    ) -> Uuid {
        let host = match kind {
            CredentialKind::Git => format!("localhost:{}", self.git.port()),
            _ => self.double.authority(),
        };
        self.credential_at(&host, kind, username, config, secret)
            .await
    }

    async fn credential_at(
        &self,
        host: &str,
        kind: CredentialKind,
        username: &str,
        config: Value,
        secret: &str,
    ) -> Uuid {
        let mut tx = self.tenants.begin(self.tenant.into()).await.expect("a tx");
        let new = NewCredential {
            name: kind.as_str(),
            kind,
            host,
            username,
            config,
            secret: &secret.to_owned().into(),
        };
        let made =
            credentials::create(&mut tx, self.tenant.into(), &self.keyring, "Ann", new).await;
        tx.commit().await.expect("a commit");
        made.expect("an answer").expect("a credential")
    }

    async fn rotate(&self, id: Uuid, username: &str, secret: &str) {
        let mut tx = self.tenants.begin(self.tenant.into()).await.expect("a tx");
        let secret = secret.to_owned().into();
        let new = Rotation {
            username,
            secret: &secret,
        };
        let done =
            credentials::rotate(&mut tx, self.tenant.into(), &self.keyring, id, "Ann", new).await;
        tx.commit().await.expect("a commit");
        assert!(done.expect("an answer"));
    }

    /// Has everything looked at now.
    async fn look(&self) {
        sqlx::query("update switchyard.credentials set next_at = now()")
            .execute(&self.rows)
            .await
            .expect("it is due");
        assert_eq!(testkit::tick(&self.router).await, StatusCode::ACCEPTED);
    }

    async fn state(&self, id: Uuid) -> (String, String) {
        sqlx::query_as(
            "select state::text, coalesce(problem, '') from switchyard.credentials where id = $1",
        )
        .bind(id)
        .fetch_one(&self.rows)
        .await
        .expect("a credential")
    }

    async fn told(&self) -> Vec<(String, String)> {
        sqlx::query_as("select severity, message from switchyard.event_log order by at, message")
            .fetch_all(&self.rows)
            .await
            .expect("a log")
    }

    /// A key file of the service account.
    fn key_file(&self, email: &str) -> String {
        let file = json!({"type": "service_account", "client_email": email, "private_key_id": "k1", "private_key": self.key});
        file.to_string()
    }
}

#[tokio::test]
async fn each_kind_is_good_with_its_secret_and_bad_with_another() {
    let it = Served::new().await;
    it.origin.commit(&[("a", "b")]).expect("a commit");
    let repository = json!({"repository": it.git.url("owner/site.git")});
    let good_key = it.key_file("lab@acme.test");
    let bad_key = it.key_file("other@acme.test");
    let kinds = [
        (
            CredentialKind::Git,
            "",
            repository,
            GOOD,
            "wrong-secret",
            "answered 401",
        ),
        (
            CredentialKind::Registry,
            "ann",
            json!({}),
            GOOD,
            "wrong-secret",
            "refuses the login (401)",
        ),
        (
            CredentialKind::S3,
            "AKIDEXAMPLE",
            json!({"bucket": "labs"}),
            GOOD,
            "wrong-secret",
            "AccessDenied",
        ),
        (
            CredentialKind::Kube,
            "",
            json!({}),
            GOOD,
            "wrong-secret",
            "does not know the token",
        ),
        (
            CredentialKind::Aws,
            "AKIDEXAMPLE",
            json!({"region": "eu-west-1"}),
            GOOD,
            "wrong-secret",
            "SignatureDoesNotMatch",
        ),
        (
            CredentialKind::Azure,
            "client",
            json!({"directory": "acme"}),
            GOOD,
            "wrong-secret",
            "invalid_client: AADSTS7000215",
        ),
        (
            CredentialKind::Gcp,
            "",
            json!({}),
            good_key.as_str(),
            bad_key.as_str(),
            "invalid_grant: Invalid JWT",
        ),
        (
            CredentialKind::NetlabApi,
            "ann",
            json!({"folder": "/srv/labs"}),
            GOOD,
            "wrong-secret",
            "does not know this user and password (401)",
        ),
    ];
    let mut made = Vec::new();
    for (kind, username, config, good, bad, part) in kinds {
        let id = it.credential(kind, username, config, good).await;
        made.push((kind, username, id, bad, part));
    }
    it.look().await;
    for (kind, _, id, _, _) in &made {
        assert_eq!(
            it.state(*id).await,
            ("good".to_owned(), String::new()),
            "{kind:?}"
        );
    }
    assert_eq!(it.told().await, []);

    for (_, username, id, bad, _) in &made {
        it.rotate(*id, username, bad).await;
    }
    it.look().await;
    for (kind, _, id, bad, part) in &made {
        let (state, problem) = it.state(*id).await;
        assert_eq!(state, "bad", "{kind:?}: {problem}");
        assert!(problem.contains(part), "{kind:?}: {problem}");
        assert!(!problem.contains(bad), "{kind:?}: {problem}");
    }
    let told = it.told().await;
    assert_eq!(told.len(), made.len(), "{told:?}");
    assert!(told.iter().all(|(severity, _)| severity == "error"));
    // It is told once, not with every look.
    it.look().await;
    assert_eq!(it.told().await.len(), made.len());
}

#[tokio::test]
async fn what_will_fail_is_named_and_what_is_good_again_is_told() {
    let it = Served::new().await;
    let id = it
        .credential(CredentialKind::Git, "", json!({}), "wrong-secret")
        .await;
    it.look().await;
    assert_eq!(it.state(id).await.0, "unchecked", "nothing is read with it");
    sqlx::query(
        "insert into switchyard.workspaces (id, database_id, name, repository, branch, credential_id, created_by)
         values ($1, $1, 'network', $2, 'main', $3, 'Ann')",
    )
    .bind(it.tenant)
    .bind(it.git.url("owner/site.git"))
    .bind(id)
    .execute(&it.rows)
    .await
    .expect("a workspace");
    it.look().await;
    assert_eq!(it.state(id).await.0, "bad");
    let told = it.told().await;
    assert!(
        told[0]
            .1
            .ends_with("without it will fail: workspace network"),
        "{told:?}"
    );
    let published: i64 = sqlx::query_scalar(
        "select count(*) from switchyard.outbox where ce_type = 'dev.switchyard.log.recorded.v1'",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a number");
    assert_eq!(published, 1, "who listens is told");
    it.rotate(id, "", GOOD).await;
    // The other side lets it in again.
    sqlx::query("update switchyard.credentials set state = 'bad'")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    it.look().await;
    assert_eq!(it.state(id).await.0, "good");
    let told = it.told().await;
    assert!(
        told.iter()
            .any(|(severity, message)| severity == "info" && message.ends_with("is good again")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_token_that_ends_is_told_before_and_after() {
    let it = Served::new().await;
    let token = |days: i64| {
        let end = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now())
            + chrono::TimeDelta::days(days);
        let claims = URL_SAFE_NO_PAD.encode(json!({"exp": end.timestamp()}).to_string());
        format!("eyJhbGciOiJub25lIn0.{claims}.x")
    };
    let id = it
        .credential(CredentialKind::Kube, "", json!({}), &token(30))
        .await;
    it.look().await;
    assert_eq!(it.state(id).await.0, "good");
    for (days, state) in [(3, "ending"), (-1, "bad")] {
        it.rotate(id, "", &token(days)).await;
        it.look().await;
        assert_eq!(it.state(id).await.0, state);
    }
    let severities: Vec<String> = it
        .told()
        .await
        .into_iter()
        .map(|(severity, _)| severity)
        .collect();
    assert_eq!(severities, ["warning", "error"]);
}

#[tokio::test]
async fn who_does_not_answer_is_asked_again_sooner_and_nobody_is_alarmed() {
    let it = Served::new().await;
    let id = it
        .credential(CredentialKind::Registry, "ann", json!({}), GOOD)
        .await;
    *it.double.broken.lock().expect("no test panics here") = true;
    it.look().await;
    let (state, problem) = it.state(id).await;
    assert_eq!(state, "unsure", "{problem}");
    let wait: f64 = sqlx::query_scalar(
        "select extract(epoch from next_at - now())::float8 from switchyard.credentials",
    )
    .fetch_one(&it.rows)
    .await
    .expect("a time");
    assert!((50.0..=66.0).contains(&wait), "{wait}");
    assert_eq!(it.told().await, []);
    *it.double.broken.lock().expect("no test panics here") = false;
    it.look().await;
    assert_eq!(it.state(id).await.0, "good");
}

#[tokio::test]
async fn a_host_of_labs_is_signed_in_to_with_its_key_compared() {
    use std::os::unix::fs::PermissionsExt as _;
    let tools = tempfile::tempdir().expect("a folder");
    let netlab = tools.path().join("netlab");
    std::fs::write(&netlab, "#!/bin/sh\n").expect("ours");
    std::fs::set_permissions(&netlab, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let Some(mut sshd) = Sshd::with_path(Some(tools.path())) else {
        return;
    };
    let Some(other) = Sshd::start() else { return };
    let address = sshd.address().to_string();
    let it = Served::allowing(&address).await;
    let config = json!({"host_keys": [sshd.host_key()]});
    let id = it
        .credential_at(
            &address,
            CredentialKind::Ssh,
            sshd.user(),
            config,
            sshd.key(),
        )
        .await;
    it.look().await;
    assert_eq!(it.state(id).await, ("good".to_owned(), String::new()));

    sqlx::query(
        "with made as (
            insert into switchyard.triggers (id, database_id, name, kind) values ($1, $1, 'nightly', 'manual') returning id
         )
         insert into switchyard.bindings (id, database_id, trigger_id, task, payload)
         select $1, $1, id, 'task-netlab', jsonb_build_object('action', 'status', 'lab', 'ring', 'host', $2::text) from made",
    )
    .bind(it.tenant)
    .bind(id.to_string())
    .execute(&it.rows)
    .await
    .expect("a trigger");
    it.rotate(id, sshd.user(), other.key()).await;
    it.look().await;
    let (state, problem) = it.state(id).await;
    assert_eq!(state, "bad", "{problem}");
    assert!(problem.contains("in with this key"), "{problem}");
    let told = it.told().await;
    assert!(
        told[0].1.ends_with("without it will fail: trigger nightly"),
        "{told:?}"
    );
    it.rotate(id, sshd.user(), sshd.key()).await;

    let pin = async |key: &str| {
        sqlx::query("update switchyard.credentials set config = $1")
            .bind(json!({"host_keys": [key]}))
            .execute(&it.rows)
            .await
            .expect("the owner may");
    };
    pin(other.host_key()).await;
    it.look().await;
    let (state, problem) = it.state(id).await;
    assert_eq!(state, "bad", "{problem}");
    assert!(problem.contains("host key"), "{problem}");
    pin(sshd.host_key()).await;
    it.look().await;
    assert_eq!(it.state(id).await.0, "good");

    // Where netlab is nowhere else it is missed.
    std::fs::remove_file(&netlab).expect("ours");
    it.look().await;
    let (state, problem) = it.state(id).await;
    // What is known to be wrong stays so while nobody answers.
    let unanswered = if state == "good" {
        "unsure"
    } else {
        assert_eq!(state, "bad", "{problem}");
        assert!(problem.contains("has no netlab"), "{problem}");
        "bad"
    };
    sshd.stop();
    it.look().await;
    let (state, problem) = it.state(id).await;
    assert_eq!(state, unanswered, "{problem}");
    assert!(problem.contains("failed"), "{problem}");
}

#[tokio::test]
async fn an_inner_address_is_not_called() {
    let it = Served::new().await;
    let id = it
        .credential(CredentialKind::Kube, "", json!({}), GOOD)
        .await;
    sqlx::query("update switchyard.credentials set host = '169.254.169.254'")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    it.look().await;
    let (state, problem) = it.state(id).await;
    assert_eq!(state, "bad");
    assert!(problem.contains("egress denied"), "{problem}");
}
