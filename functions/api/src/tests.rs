use axum::body::Body;
use database::{Connect, SystemDb, TenantDb};
use host::Resources;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::{GitTrigger, Role, SourceKind, TenantId};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::inbox::{Accepted, NewDelivery, NewEvent, NewKey};
use store::people::{self, Token};
use store::{Keyring, Store, setup};
use tempfile::{NamedTempFile, TempDir};
use testkit::TestDb;
use tower::ServiceExt as _;

use super::*;

mod artifacts;
mod deliveries;
mod executors;
mod jobs;
mod roles;
mod ruling;
mod schedules;
mod states;
mod telling;
mod triggers;
mod workspaces;

/// A served function, and two tenants with one of everything each.
struct Served {
    router: axum::Router,
    rows: PgPool,
    acme: Tenant,
    umbra: Tenant,
    /// Where artifacts are.
    folder: TempDir,
    // They go away when the test is over.
    _key: NamedTempFile,
    _db: TestDb,
}

struct Tenant {
    token: String,
    delivery: String,
    event: String,
    job: i64,
    workload: String,
    trigger: String,
}

async fn served() -> Served {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let key = Keyring::generate();
    let keyring = Keyring::from_base64(&key).expect("a key");
    let acme = tenant(&db, &rows, &keyring, "acme").await;
    let umbra = tenant(&db, &rows, &keyring, "umbra").await;
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), key.expose_secret()).expect("a file");
    let folder = tempfile::tempdir().expect("a folder");
    let env = Env::default()
        .with("BLOBS_URL", folder.path().to_str().expect("a path"))
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let env = with_functions(env);
    let resources = Resources::new().expect("an HTTP client");
    Served {
        router: FUNCTION
            .mount(&env, &resources)
            .expect("good settings")
            .router,
        rows,
        acme,
        umbra,
        folder,
        _key: file,
        _db: db,
    }
}

fn connect(db: &TestDb, role: DatabaseRole) -> Connect {
    Connect {
        url: db.owner_url().into(),
        role,
        connections_max: 1,
        acquire_timeout: std::time::Duration::from_secs(20),
    }
}

async fn signed_in(rows: &PgPool, tenants: &TenantDb, tenant: &str) -> (TenantId, String) {
    let mut owner = rows.acquire().await.expect("a connection");
    let (tenant, person) = people::ensure_member(&mut owner, tenant, tenant, Role::Viewer)
        .await
        .expect("a member");
    let link = people::create_sign_in_link(&mut owner, person)
        .await
        .expect("a link");
    let session = people::open_session(tenants, &link)
        .await
        .expect("an answer");
    (tenant, session.expect("a session").expose().to_owned())
}

async fn tenant(db: &TestDb, rows: &PgPool, keyring: &Keyring, name: &str) -> Tenant {
    let tenants = TenantDb::new(&connect(db, DatabaseRole::Tenant)).expect("a URL");
    let (tenant, token) = signed_in(rows, &tenants, name).await;
    let mut tx = tenants.begin(tenant).await.expect("a transaction");
    let filter = GitTrigger::default();
    let secret = "secret".into();
    let trigger = setup::create_git_trigger(&mut tx, tenant, keyring, "push", &filter, &secret)
        .await
        .expect("a trigger");
    let host = name.parse().expect("a host");
    let none = serde_json::Map::new();
    let source = SourceKind::Static;
    let workload = setup::create_workload(&mut tx, tenant, "docs", source, &none, &host)
        .await
        .expect("a workload");
    let binding = setup::create_binding(&mut tx, tenant, trigger, workload, &none, 0)
        .await
        .expect("a binding");
    tx.commit().await.expect("a commit");

    let store = Store::new(SystemDb::new(&connect(db, DatabaseRole::System)).expect("a URL"));
    let id = |n: u128| uuid::Uuid::from_u128(tenant.uuid().as_u128().wrapping_add(n));
    let event = NewEvent {
        id: id(1).into(),
        ty: "dev.switchyard.git.pushed.v1",
        source: format!("/switchyard/triggers/{trigger}"),
        subject: Some("refs/heads/main".to_owned()),
        data: "{\"b\": 1.0,  \"a\":2}".to_owned(),
    };
    let read = store.inbox_trigger(keyring, trigger).await;
    let version = read.expect("an answer").expect("a trigger").version;
    let delivery = NewDelivery {
        id: id(2).into(),
        tenant,
        trigger,
        trigger_version: version,
        proved_by: None,
        function: "webhook-gitea",
        vendor: "gitea",
        vendor_event: Some("push"),
        key: Some(NewKey::Named("d-1")),
        accepted: Accepted::Events,
        reason: None,
        headers: json!({"x-gitea-signature": "***"}),
        body: b"sealed",
        body_sha256: [7; 32],
        traceparent: None,
        redelivery_of: None,
        events: std::slice::from_ref(&event),
    };
    store
        .accept_delivery(keyring, &delivery)
        .await
        .expect("a delivery");
    let decision = json!([{
        "binding": binding.uuid(), "held": [], "task": "task-static", "payload": {"x": 1},
        "workload": workload.uuid(),
    }]);
    let job: i64 = sqlx::query_scalar("select job_id from switchyard.record_decisions($1, $2)")
        .bind(event.id.uuid())
        .bind(decision)
        .fetch_one(rows)
        .await
        .expect("a job");
    sqlx::query(
        "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
         select $1, $2, 1, n, 'task', 'line ' || n from generate_series(1, 5) n",
    )
    .bind(tenant.uuid())
    .bind(job)
    .execute(rows)
    .await
    .expect("lines");
    Tenant {
        token,
        delivery: delivery.id.to_string(),
        event: event.id.to_string(),
        job,
        workload: workload.to_string(),
        trigger: trigger.to_string(),
    }
}

impl Tenant {
    /// Each thing that is this tenant's.
    fn paths(&self) -> Vec<String> {
        vec![
            format!("/deliveries/{}", self.delivery),
            format!("/events/{}", self.event),
            format!("/jobs/{}", self.job),
            format!("/jobs/{}/log", self.job),
            format!("/jobs?workload={}", self.workload),
            format!("/workloads/{}", self.workload),
        ]
    }
}

const LISTS: [&str; 3] = ["/deliveries", "/jobs", "/workloads"];

impl Served {
    async fn get(&self, token: &str, path: &str) -> (StatusCode, Value) {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header's value");
        self.ask(Request::get(path).header("authorization", bearer))
            .await
    }

    /// What the process tells at `/metrics`.
    async fn metrics(&self) -> String {
        let request = Request::get("/metrics")
            .body(Body::empty())
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let body = response.into_body().collect().await.expect("a body");
        String::from_utf8(body.to_bytes().into()).expect("text")
    }

    async fn ask(&self, request: http::request::Builder) -> (StatusCode, Value) {
        let request = request.body(Body::empty()).expect("a request");
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

/// A problem's type and status, which must agree with the answer's.
fn problem((status, body): &(StatusCode, Value)) -> (u16, &str) {
    assert_eq!(body["status"], status.as_u16());
    let ty = body["type"].as_str().expect("a type");
    let slug = ty.strip_prefix("urn:switchyard:problem:");
    (status.as_u16(), slug.expect("one of our types"))
}

#[tokio::test]
async fn what_is_the_tenants_own_is_read() {
    let it = served().await;
    let acme = &it.acme;
    for path in acme.paths() {
        let (status, body) = it.get(&acme.token, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    for path in LISTS {
        let (status, body) = it.get(&acme.token, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let items = body["items"].as_array().expect("a list");
        assert_eq!((items.len(), &body["next"]), (1, &Value::Null), "{path}");
    }
    let (_, event) = it
        .get(&acme.token, &format!("/events/{}", acme.event))
        .await;
    assert_eq!(event["data"], json!({"a": 2, "b": 1.0}));
    assert_eq!(event["decisions"][0]["matched"], true);
    assert_eq!(event["decisions"][0]["job"], acme.job);
    assert_eq!(event["delivery"]["id"], acme.delivery);
    let (_, job) = it.get(&acme.token, &format!("/jobs/{}", acme.job)).await;
    assert_eq!(
        (&job["state"], &job["payload"]),
        (&json!("queued"), &json!({"x": 1}))
    );
    assert!(job["reasons"][0]["why"].is_string(), "{job}");
    let (_, jobs) = it.get(&acme.token, "/jobs").await;
    assert_eq!(jobs["items"][0]["reasons"], job["reasons"], "{jobs}");
    assert!(job["events"].is_array(), "{job}");
    let (_, delivery) = it
        .get(&acme.token, &format!("/deliveries/{}", acme.delivery))
        .await;
    assert_eq!(delivery["headers"]["x-gitea-signature"], "***");
    assert_eq!(delivery["events"][0]["jobs"][0]["id"], acme.job);
    let (_, workload) = it
        .get(&acme.token, &format!("/workloads/{}", acme.workload))
        .await;
    assert_eq!(workload["bindings"][0]["trigger"]["id"], acme.trigger);
    assert_eq!(workload["revisions"], json!([]));
}

#[tokio::test]
async fn what_is_another_tenants_is_not_found() {
    let it = served().await;
    for path in it.umbra.paths() {
        let answer = it.get(&it.acme.token, &path).await;
        assert_eq!(problem(&answer), (404, "not-found"), "{path}");
        let with = if path.contains('?') { '&' } else { '?' };
        let named = it
            .get(&it.acme.token, &format!("{path}{with}tenant=umbra"))
            .await;
        assert_eq!(problem(&named), (404, "not-found"), "{path}");
    }
    for path in LISTS {
        let (_, body) = it.get(&it.acme.token, path).await;
        let text = body.to_string();
        for foreign in [&it.umbra.delivery, &it.umbra.workload, &it.umbra.trigger] {
            assert!(!text.contains(foreign), "{path} shows {foreign}");
        }
    }
    let path = format!("/deliveries?trigger={}", it.umbra.trigger);
    let (status, body) = it.get(&it.acme.token, &path).await;
    assert_eq!((status, &body["items"]), (StatusCode::OK, &json!([])));
    let header = Request::get(format!("/jobs/{}", it.umbra.job))
        .header("authorization", format!("Bearer {}", it.acme.token))
        .header("x-database-id", "00000000-0000-0000-0000-000000000000");
    assert_eq!(problem(&it.ask(header).await), (404, "not-found"));
}

#[tokio::test]
async fn without_a_session_nothing_is_told() {
    let it = served().await;
    let ended = it.acme.token.clone();
    let all = it.acme.paths().into_iter().chain(LISTS.map(str::to_owned));
    for path in all {
        let nobody = it.ask(Request::get(&path)).await;
        assert_eq!(problem(&nobody), (401, "unauthorized"), "{path}");
        let wrong = it.get(Token::generate().expose(), &path).await;
        assert_eq!(problem(&wrong), (401, "unauthorized"), "{path}");
    }
    for header in ["Basic abc", "Bearer", "Bearer ", "bearer \u{e9}"] {
        let asked = Request::get("/jobs").header("authorization", header.as_bytes());
        assert_eq!(
            problem(&it.ask(asked).await),
            (401, "unauthorized"),
            "{header}"
        );
    }
    sqlx::query("update switchyard.sessions set expires_at = now()")
        .execute(&it.rows)
        .await
        .expect("the owner may");
    let over = it.get(&ended, "/jobs").await;
    assert_eq!(problem(&over), (401, "unauthorized"));
}

#[tokio::test]
async fn the_portals_cookie_is_a_session_too() {
    let it = served().await;
    for name in ["switchyard_session", "__Host-switchyard_session"] {
        let cookie = format!("theme=dark; {name}={}", it.acme.token);
        let (status, _) = it.ask(Request::get("/jobs").header("cookie", cookie)).await;
        assert_eq!(status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn a_member_of_two_tenants_says_which() {
    let it = served().await;
    let statement = "insert into switchyard.memberships (database_id, person_id, role)
        select t.database_id, p.id, 'viewer' from switchyard.tenants t, switchyard.people p
        where t.name = 'umbra' and p.name = 'acme'";
    sqlx::query(statement)
        .execute(&it.rows)
        .await
        .expect("the owner may");
    let answer = it.get(&it.acme.token, "/jobs").await;
    assert_eq!(problem(&answer), (422, "bad-query"));
    assert!(
        answer.1["detail"].to_string().contains("acme, umbra"),
        "{}",
        answer.1
    );
    for (tenant, job) in [("acme", it.acme.job), ("umbra", it.umbra.job)] {
        let (_, body) = it
            .get(&it.acme.token, &format!("/jobs?tenant={tenant}"))
            .await;
        assert_eq!(body["items"][0]["id"], job, "{tenant}");
    }
    let crossed = format!("/jobs/{}?tenant=umbra", it.acme.job);
    assert_eq!(
        problem(&it.get(&it.acme.token, &crossed).await),
        (404, "not-found")
    );
}

#[tokio::test]
async fn a_wrong_query_is_refused() {
    let it = served().await;
    for query in [
        "limit=-1",
        "limit=0",
        "limit=101",
        "limit=1e2",
        "limit=1&limit=2",
        "limit=99999999999999999999",
        "sort=pg_sleep(10)",
        "q=%27%20OR%201=1",
        "curser=a",
    ] {
        for path in LISTS {
            let answer = it.get(&it.acme.token, &format!("{path}?{query}")).await;
            assert_eq!(problem(&answer), (422, "bad-query"), "{path}?{query}");
        }
    }
    for path in [
        "/deliveries?verdict=nice",
        "/deliveries?trigger=%27%20OR%201=1",
        "/jobs?workload=evt_00000000000000000000000000000001",
        "/jobs/1?limit=1",
    ] {
        let answer = it.get(&it.acme.token, path).await;
        assert_eq!(problem(&answer), (422, "bad-query"), "{path}");
    }
    for path in [
        "/jobs/x",
        "/jobs/-1",
        "/jobs/99999999999999999999",
        "/events/%27",
        "/deliveries/%00",
        "/workloads/1",
        "/nothing",
    ] {
        let answer = it.get(&it.acme.token, path).await;
        assert_eq!(problem(&answer), (404, "not-found"), "{path}");
    }
    let post =
        Request::post("/deliveries").header("authorization", format!("Bearer {}", it.acme.token));
    assert_eq!(problem(&it.ask(post).await), (405, "method-not-allowed"));
}

#[tokio::test]
async fn a_list_is_read_piece_by_piece_and_a_changed_cursor_is_refused() {
    let it = served().await;
    let path = format!("/jobs/{}/log", it.acme.job);
    let mut lines = Vec::new();
    let mut next = String::new();
    for _ in 0..3 {
        let (_, body) = it
            .get(&it.acme.token, &format!("{path}?limit=2{next}"))
            .await;
        let items = body["items"].as_array().expect("a list");
        lines.extend(items.iter().map(|line| line["seq"].as_i64()));
        next = format!("&cursor={}", body["next"].as_str().expect("a cursor"));
    }
    assert_eq!(lines, [1, 2, 3, 4, 5].map(Some));
    let (_, rest) = it
        .get(&it.acme.token, &format!("{path}?limit=2{next}"))
        .await;
    assert_eq!(rest["items"], json!([]));

    let (_, first) = it.get(&it.acme.token, "/jobs?limit=1").await;
    let cursor = first["next"].as_str().expect("a full piece has a next");
    let (status, after) = it
        .get(&it.acme.token, &format!("/jobs?cursor={cursor}"))
        .await;
    assert_eq!((status, &after["items"]), (StatusCode::OK, &json!([])));

    let at = cursor.len() - 1;
    let last = if cursor.ends_with('0') { '1' } else { '0' };
    let changed = format!("{}{last}", &cursor[..at]);
    let moved = format!("31{cursor}");
    for bad in [
        &*changed,
        &moved,
        "",
        ".",
        "31.",
        "5%00",
        "31",
        &cursor[..at],
    ] {
        let answer = it.get(&it.acme.token, &format!("/jobs?cursor={bad}")).await;
        assert_eq!(problem(&answer), (400, "bad-cursor"), "{bad}");
    }
    let elsewhere = it
        .get(&it.acme.token, &format!("/deliveries?cursor={cursor}"))
        .await;
    assert_eq!(problem(&elsewhere), (400, "bad-cursor"));
    let stolen = it
        .get(&it.umbra.token, &format!("/jobs?cursor={cursor}"))
        .await;
    assert_eq!(problem(&stolen), (400, "bad-cursor"));
}

/// Nobody is there.
fn with_functions(env: Env) -> Env {
    let names = [
        "AZURE",
        "BITBUCKET",
        "CLOUDEVENTS",
        "GENERIC",
        "GITEA",
        "GITHUB",
        "GITLAB",
        "REGISTRY",
    ];
    names.iter().fold(env, |env, name| {
        env.with(&format!("WEBHOOK_{name}_URL"), "http://127.0.0.1:9/")
    })
}

#[tokio::test]
async fn the_description_names_what_there_is() {
    let it = served().await;
    let (status, document) = it.ask(Request::get("/openapi.json")).await;
    assert_eq!(
        (status, &document["openapi"]),
        (StatusCode::OK, &json!("3.1.0"))
    );
    let paths: Vec<_> = document["paths"]
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    for path in &paths {
        if document["paths"][path].get("get").is_none() {
            let (_, body) = it
                .get(
                    &it.acme.token,
                    &path.replace("{id}", "1").replace("{name}", "1"),
                )
                .await;
            assert_eq!(
                body["type"], "urn:switchyard:problem:method-not-allowed",
                "{path}"
            );
            continue;
        }
        let asked = path.replace("{id}", "1").replace("{name}", "1");
        let (status, body) = it.get(&it.acme.token, &asked).await;
        // A thing that is not there is found by its handler, a path that is not there by nobody.
        assert_ne!(body["type"], "urn:switchyard:problem:method-not-allowed");
        assert!(
            status == StatusCode::OK || path.contains('{'),
            "{path}: {body}"
        );
    }
    for problem in [
        Problem::Unauthorized,
        Problem::NotFound,
        Problem::Forbidden(String::new()),
        Problem::MethodNotAllowed,
        Problem::Conflict(String::new()),
        Problem::TooLarge,
        Problem::TooMuch(String::new()),
        Problem::NotJson,
        Problem::BadBody(String::new()),
        Problem::BadCursor,
        Problem::BadQuery(String::new()),
        Problem::Unavailable,
        Problem::Unreached,
        Problem::StoreAway,
        Problem::Internal,
    ] {
        let ty = json!(format!("urn:switchyard:problem:{}", problem.slug()));
        let known = &document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
        assert!(
            known.as_array().is_some_and(|known| known.contains(&ty)),
            "{ty}"
        );
    }
    // What the schemas require is in the answers.
    let acme = &it.acme;
    for (path, schema) in [
        (format!("/deliveries/{}", acme.delivery), "Delivery"),
        (format!("/events/{}", acme.event), "Event"),
        (format!("/jobs/{}", acme.job), "Job"),
        (format!("/workloads/{}", acme.workload), "Workload"),
    ] {
        let (_, body) = it.get(&acme.token, &path).await;
        let required = &document["components"]["schemas"][schema]["required"];
        for name in required.as_array().expect("a list") {
            let name = name.as_str().expect("a name");
            assert!(body.get(name).is_some(), "{path} has no {name}: {body}");
        }
    }
}

#[tokio::test]
async fn a_database_that_is_down_is_said_to_be() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), Keyring::generate().expose_secret()).expect("a file");
    let env = Env::default()
        .with(
            "DATABASE_URL",
            format!("postgres://nobody@127.0.0.1:{port}/none"),
        )
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "1")
        .with(
            "BLOBS_URL",
            std::env::temp_dir()
                .join("switchyard-api")
                .to_string_lossy(),
        )
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let env = with_functions(env);
    let resources = Resources::new().expect("an HTTP client");
    let router = FUNCTION
        .mount(&env, &resources)
        .expect("good settings")
        .router;
    let request = Request::get("/jobs")
        .header("authorization", "Bearer abc")
        .body(Body::empty())
        .expect("a request");
    let response = router.oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
}
