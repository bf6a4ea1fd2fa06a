//! The portal as it is served, on a database: who sees what, who may change what, and streams that miss nothing.

mod declared;
mod hooks;
mod queue;
mod runs;
mod schedules;

use std::time::Duration;

use ::queue::{Hold, Queue};
use axum::Router;
use axum::body::Body;
use database::{Connect, SystemDb, TenantDb};
use host::{Ctx, Env, Resources};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use model::{
    Check, Clause, DatabaseRole, DeliveryId, EventId, GitTrigger, Host, JobId, LogLine, LogStream,
    Role, SourceKind, TenantId, WorkloadId,
};
use secrecy::ExposeSecret as _;
use serde_json::{Map, json};
use sqlx::PgPool;
use store::deploys::{DeployReport, NewRevision};
use store::inbox::{Accepted, NewDelivery, NewEvent, NewKey};
use store::{Keyring, Store, people, setup};
use tempfile::NamedTempFile;
use testkit::TestDb;
use tower::ServiceExt as _;
use triggers::{Decision, Start};
use uuid::Uuid;

use crate::FUNCTION;

/// How long a message of a stream may take; a stream looks every quarter of a second.
const MESSAGE_MAX: Duration = Duration::from_secs(20);

const DATA: &str = r#"{
    "vendor": "gitea",
    "repository": {"path": "acme/hello"},
    "ref_name": "refs/heads/main",
    "branch": "main",
    "before": null,
    "after": "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4",
    "changed_paths": {"are": "unknown", "reason": "a first push"}
}"#;

const COMMIT: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4";

/// What arrives at a tenant's only trigger, and what becomes of it.
struct House {
    tenant: TenantId,
    delivery: DeliveryId,
    event: EventId,
    workload: WorkloadId,
    job: JobId,
}

struct Served {
    router: Router,
    ctx: Ctx,
    rows: PgPool,
    queue: Queue,
    store: Store,
    acme: House,
    globex: House,
    // Both go away when the test is over.
    _key: NamedTempFile,
    _db: TestDb,
}

async fn served() -> Served {
    served_with("UNUSED", "").await
}

/// With a setting of its own.
async fn served_with(setting: &str, value: &str) -> Served {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let connect = |role| Connect {
        url: db.owner_url().into(),
        role,
        connections_max: 2,
        acquire_timeout: Duration::from_secs(20),
    };
    let system = SystemDb::new(&connect(DatabaseRole::System)).expect("a URL");
    let tenants = TenantDb::new(&connect(DatabaseRole::Tenant)).expect("a URL");
    let (queue, store) = (Queue::new(system.clone()), Store::new(system));
    let key = Keyring::generate();
    let keyring = Keyring::from_base64(&key).expect("a key");
    let mut houses = Vec::new();
    for name in ["acme", "globex"] {
        houses.push(house(name, &rows, &tenants, &store, &keyring).await);
    }
    let globex = houses.pop().expect("two were made");
    let acme = houses.pop().expect("two were made");

    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), key.expose_secret()).expect("a file");
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let env = with_functions(env).with(setting, value);
    let mounted = FUNCTION
        .mount(&env, &Resources::new().expect("an HTTP client"))
        .expect("good settings");
    Served {
        router: mounted.router,
        ctx: mounted.ctx,
        rows,
        queue,
        store,
        acme,
        globex,
        _key: file,
        _db: db,
    }
}

/// With an address for each function that reads deliveries again. Nobody listens there.
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

async fn house(
    name: &str,
    rows: &PgPool,
    tenants: &TenantDb,
    store: &Store,
    keyring: &Keyring,
) -> House {
    let mut owner = rows.acquire().await.expect("a connection");
    let (tenant, _) = people::ensure_member(&mut owner, name, "Ann", Role::Operator)
        .await
        .expect("a tenant");
    let mut tx = tenants.begin(tenant).await.expect("a transaction");
    let filter = GitTrigger {
        branches: vec!["main".to_owned().try_into().expect("a pattern")],
        ..GitTrigger::default()
    };
    let trigger = setup::create_git_trigger(
        &mut tx,
        tenant,
        keyring,
        "pushes",
        &filter,
        &"s3cret".into(),
    )
    .await
    .expect("a trigger");
    let host: Host = format!("{name}-hello").parse().expect("a label");
    let workload = setup::create_workload(
        &mut tx,
        tenant,
        "hello",
        SourceKind::Static,
        &Map::new(),
        &host,
    )
    .await
    .expect("a workload");
    let all = Map::new();
    let other = Map::from_iter([("branches".to_owned(), json!(["release/*"]))]);
    let mut bindings = Vec::new();
    for (position, filter) in [&all, &other].into_iter().enumerate() {
        let position = i32::try_from(position).expect("small");
        let binding =
            setup::create_binding(&mut tx, tenant, trigger, workload, filter, position).await;
        bindings.push(binding.expect("a binding"));
    }
    tx.commit().await.expect("a commit");

    let delivery = DeliveryId::from(Uuid::now_v7());
    let event = EventId::from(Uuid::now_v7());
    let read = store.inbox_trigger(keyring, trigger).await;
    let version = read.expect("an answer").expect("a trigger").version;
    store
        .accept_delivery(
            keyring,
            &NewDelivery {
                id: delivery,
                tenant,
                trigger,
                trigger_version: version,
                proved_by: None,
                function: "webhook-gitea",
                vendor: "gitea",
                vendor_event: Some("push"),
                key: Some(NewKey::Named("1")),
                accepted: Accepted::Events,
                reason: None,
                headers: json!({"x-gitea-event": "push", "x-gitea-signature": "***"}),
                body: b"{\"note\": \"<script>alert(1)</script>\"}",
                body_sha256: [7; 32],
                traceparent: None,
                redelivery_of: None,
                events: &[NewEvent {
                    id: event,
                    ty: "dev.switchyard.git.pushed.v1",
                    source: "/switchyard/triggers/pushes".to_owned(),
                    subject: Some("refs/heads/main".to_owned()),
                    data: DATA.to_owned(),
                }],
            },
        )
        .await
        .expect("a delivery");
    let branch = |expected: &str| Check {
        clause: Clause::Branch,
        expected: expected.to_owned(),
        actual: "main".to_owned(),
    };
    let made = store
        .record_decisions(
            event,
            &[
                Decision::Matched {
                    binding: bindings[0],
                    held: vec![branch("main")],
                    start: Start {
                        task: "task-static".to_owned(),
                        payload: json!({"workload": workload}),
                        queue_name: Some(setup::workload_queue(workload)),
                        key: Some(setup::deploy_key(workload)),
                        priority: 0,
                        workload: Some(workload),
                    },
                },
                Decision::Unmatched {
                    binding: bindings[1],
                    held: Vec::new(),
                    failed: branch("release/*"),
                },
            ],
        )
        .await
        .expect("decisions");
    House {
        tenant,
        delivery,
        event,
        workload,
        job: made[0].job,
    }
}

/// Somebody with a session.
#[derive(Clone)]
struct Browser {
    cookie: String,
    csrf: String,
}

impl Served {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        let answered = self.router.clone().oneshot(request).await;
        answered.expect("a router always answers")
    }

    /// A link for somebody of a tenant, as a start prints it.
    async fn link(&self, tenant: &str, name: &str, role: Role) -> String {
        let mut owner = self.rows.acquire().await.expect("a connection");
        let (_, person) = people::ensure_member(&mut owner, tenant, name, role)
            .await
            .expect("a member");
        let link = people::create_sign_in_link(&mut owner, person).await;
        link.expect("a link").expose().to_owned()
    }

    async fn open(&self, token: &str) -> Response<Body> {
        let request = Request::post("/sign-in")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(format!("token={token}")))
            .expect("a request");
        self.send(request).await
    }

    async fn sign_in(&self, tenant: &str, name: &str, role: Role) -> Browser {
        let token = self.link(tenant, name, role).await;
        let response = self.open(&token).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()["set-cookie"].to_str().expect("text");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let browser = Browser {
            cookie,
            csrf: String::new(),
        };
        let (_, page) = self.get(Some(&browser), "/workloads").await;
        let marked = page.split("name=\"csrf\" value=\"").nth(1).expect("a form");
        let csrf = marked.split('"').next().expect("a value").to_owned();
        Browser { csrf, ..browser }
    }

    async fn get(&self, browser: Option<&Browser>, path: &str) -> (StatusCode, String) {
        let response = self.send(get(browser, path)).await;
        let status = response.status();
        (status, text(response).await)
    }

    /// A form of a page of ours, sent by its button.
    async fn post(&self, browser: &Browser, path: &str) -> Response<Body> {
        let mut request = form(browser, path, &format!("csrf={}", browser.csrf));
        let headers = request.headers_mut();
        headers.insert(
            "sec-fetch-site",
            http::HeaderValue::from_static("same-origin"),
        );
        self.send(request).await
    }

    /// Takes the house's job as its task does.
    async fn claim(&self, house: &House) -> Hold {
        let worker = Uuid::new_v4();
        let tasks = ["task-static".to_owned()];
        for _ in 0..10 {
            let lease = Duration::from_secs(60);
            let claimed = self.queue.claim(worker, &tasks, 10, lease).await;
            for job in claimed.expect("a claim") {
                if job.hold.job == house.job {
                    return job.hold;
                }
            }
        }
        panic!("the job of {} was not claimed", house.tenant);
    }

    async fn print(&self, hold: Hold, numbers: std::ops::RangeInclusive<i64>) {
        let lines: Vec<_> = numbers
            .map(|seq| LogLine {
                seq,
                stream: LogStream::Task,
                text: format!("line {seq}!"),
            })
            .collect();
        assert!(self.queue.append_log(hold, &lines).await.expect("a log"));
    }

    async fn deploy(&self, house: &House, hold: Hold) {
        let revision = NewRevision {
            workload: house.workload,
            asked_commit: None,
            commit: COMMIT,
            prefix: "sites/1",
            content_hash: &hold.job.to_string(),
            files: 1,
            bytes: 10,
            warnings: &[],
        };
        let done = self.store.finish_deploy(hold, &revision).await;
        assert!(matches!(done.expect("an end"), DeployReport::Live { .. }));
    }
}

fn get(browser: Option<&Browser>, path: &str) -> Request<Body> {
    let mut request = Request::get(path);
    if let Some(browser) = browser {
        request = request.header("cookie", &browser.cookie);
    }
    request.body(Body::empty()).expect("a request")
}

fn form(browser: &Browser, path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header("cookie", &browser.cookie)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.expect("a body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

/// A stream as a browser reads it.
struct Stream {
    body: Body,
    read: String,
}

impl Stream {
    async fn open(served: &Served, browser: &Browser, path: &str, last: Option<&str>) -> Self {
        let mut request = get(Some(browser), path);
        if let Some(last) = last {
            let last = last.parse().expect("a header's value");
            request.headers_mut().insert("last-event-id", last);
        }
        let response = served.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            read: String::new(),
        }
    }

    /// Reads on until the stream has said `what`, or ended: then what it said is returned whole.
    async fn until(&mut self, what: &str) -> &str {
        let read = async {
            while !self.read.contains(what) {
                let Some(frame) = self.body.frame().await else {
                    break;
                };
                let data = frame.expect("a piece").into_data().expect("data");
                self.read.push_str(&String::from_utf8_lossy(&data));
            }
        };
        let timely = tokio::time::timeout(MESSAGE_MAX, read).await;
        assert!(timely.is_ok(), "no {what:?} in:\n{}", self.read);
        &self.read
    }

    fn last_id(&self) -> &str {
        let last = self.read.rsplit("\nid: ").next().expect("an id");
        last.lines().next().expect("an id")
    }

    /// The numbers of the log's lines, in the order in which they came.
    fn lines(&self) -> Vec<i64> {
        let found = self.read.split("id=\"L").skip(1);
        found
            .map(|rest| {
                rest.split('"')
                    .next()
                    .expect("a number")
                    .parse()
                    .expect("a number")
            })
            .collect()
    }
}

fn pages_of(house: &House) -> Vec<String> {
    let (job, workload) = (house.job, house.workload.uuid());
    vec![
        format!("/deliveries/{}", house.delivery.uuid()),
        format!("/deliveries/{}", house.delivery),
        format!("/deliveries/{}/body", house.delivery.uuid()),
        format!("/events/{}", house.event.uuid()),
        format!("/jobs/{job}"),
        format!("/jobs/{job}/log"),
        format!("/workloads/{workload}"),
        format!("/live/events/{}", house.event.uuid()),
        format!("/live/jobs/{job}"),
        format!("/live/workloads/{workload}"),
    ]
}

const COMMON: [&str; 19] = [
    "/",
    "/dead",
    "/dead/chosen?deed=purge&job=1",
    "/deliveries",
    "/log-rules",
    "/notifications",
    "/queues",
    "/runs",
    "/schedules",
    "/schedules/new",
    "/states",
    "/tasks",
    "/workloads",
    "/live/dead",
    "/live/deliveries",
    "/live/overview",
    "/live/runs",
    "/live/schedules",
    "/live/tasks",
];

#[tokio::test]
async fn a_sign_in_link_works_once_and_not_by_looking_at_it() {
    let served = served().await;
    let token = served.link("acme", "Ann", Role::Operator).await;
    for _ in 0..2 {
        let (status, page) = served.get(None, &format!("/sign-in?token={token}")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("Sign in here"), "{page}");
    }
    let first = served.open(&token).await;
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    let cookie = first.headers()["set-cookie"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(cookie.starts_with("switchyard_session="), "{cookie}");
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let second = served.open(&token).await;
    assert_eq!(second.status(), StatusCode::FORBIDDEN);
    assert!(second.headers().get("set-cookie").is_none());
    assert!(text(second).await.contains("does not work any more"));
}

#[tokio::test]
async fn over_https_the_cookie_is_for_this_host_and_https_alone() {
    let served = served().await;
    let token = served.link("acme", "Ann", Role::Operator).await;
    let request = Request::post("/sign-in")
        .header("x-forwarded-proto", "https")
        .header("host", "portal.example.org")
        .header("origin", "https://portal.example.org")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("token={token}")))
        .expect("a request");
    let response = served.send(request).await;
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("__Host-switchyard_session="), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn nobody_sees_anything_without_a_session() {
    let served = served().await;
    let stranger = Browser {
        cookie: "switchyard_session=bm90IGEgc2Vzc2lvbg".to_owned(),
        csrf: String::new(),
    };
    let mut paths = pages_of(&served.acme);
    paths.extend(COMMON.map(str::to_owned));
    for path in paths {
        for browser in [None, Some(&stranger)] {
            let (status, page) = served.get(browser, &path).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(
                page.contains("Please sign in") && !page.contains("hello"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_another_tenants_does_not_exist() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    for path in pages_of(&served.acme) {
        let response = served.send(get(Some(&ann), &path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    for path in pages_of(&served.globex) {
        let (status, page) = served.get(Some(&ann), &path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.contains("There is no such page"), "{path}");
    }
    let globex = &served.globex;
    for path in [
        format!("/jobs/{}/cancel", globex.job),
        format!("/workloads/{}/deploy", globex.workload.uuid()),
        format!("/workloads/{}/rollback?to=1", globex.workload.uuid()),
    ] {
        let status = served.post(&ann, &path).await.status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for name in ["globex", "' OR 1=1 --"] {
        let query = super::rows::with_query("/", &[("tenant", Some(name))]);
        let (status, _) = served.get(Some(&ann), &query).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{name}");
    }
    let state = "select state::text from switchyard.jobs where id = $1";
    let state: String = sqlx::query_scalar(state)
        .bind(globex.job.0)
        .fetch_one(&served.rows)
        .await
        .expect("it is there");
    assert_eq!(state, "queued");
}

#[tokio::test]
async fn a_stream_resumed_with_another_tenants_place_gives_nothing_of_it() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let mut request = get(Some(&ann), &format!("/live/jobs/{}", served.globex.job));
    let place = "0000000000000000.1.1".parse().expect("a header's value");
    request.headers_mut().insert("last-event-id", place);
    assert_eq!(served.send(request).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn words_of_sql_in_an_address_are_words() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    for hostile in [
        "' OR 1=1",
        "%",
        "_",
        "pg_sleep(10)",
        "-1",
        "$.*",
        "\u{202e}",
    ] {
        for path in ["/deliveries", "/live/deliveries"] {
            for name in ["verdict", "trigger", "before"] {
                let query = super::rows::with_query(path, &[(name, Some(hostile))]);
                let (status, _) = served.get(Some(&ann), &query).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{query}");
            }
        }
    }
    for path in [
        "/jobs/-1",
        "/jobs/9223372036854775808",
        "/jobs/1%20or%201=1",
        "/events/x",
        "/nothing",
    ] {
        let (status, _) = served.get(Some(&ann), path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_event_says_why_one_binding_matched_and_the_other_did_not() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let path = format!("/events/{}", served.acme.event);
    let (_, page) = served.get(Some(&ann), &path).await;
    let seen: String = strip(&page);
    assert!(seen.contains("branch is main, as wanted: main"), "{seen}");
    assert!(
        seen.contains("branch is main, but it wants release/*"),
        "{seen}"
    );
    let (_, page) = served.get(Some(&ann), &format!("{path}?lang=ru")).await;
    assert!(
        page.contains("lang=\"ru\"") && strip(&page).contains("ветка"),
        "{page}"
    );
}

/// The words of a page without its tags.
fn strip(page: &str) -> String {
    let words: String = page
        .split('<')
        .map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text))
        .collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_a_stranger_sent_is_shown_as_text_and_downloaded_as_bytes() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let path = format!("/deliveries/{}", served.acme.delivery);
    let (_, page) = served.get(Some(&ann), &path).await;
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
    let response = served.send(get(Some(&ann), &format!("{path}/body"))).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    let named = response.headers()["content-disposition"]
        .to_str()
        .expect("text");
    assert!(named.starts_with("attachment"), "{named}");
    assert!(text(response).await.contains("<script>"));
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    for (browser, path) in [
        (None, "/"),
        (None, "/sign-in"),
        (Some(&ann), "/"),
        (Some(&ann), "/nothing"),
        (Some(&ann), "/live/overview"),
    ] {
        let response = served.send(get(browser, path)).await;
        let policy = response.headers()["content-security-policy"].to_str();
        assert!(
            policy.expect("text").starts_with("default-src 'none'"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_viewer_reads_and_changes_nothing() {
    let served = served().await;
    let hold = served.claim(&served.acme).await;
    served.deploy(&served.acme, hold).await;
    let vic = served.sign_in("acme", "Vic", Role::Viewer).await;
    let workload = format!("/workloads/{}", served.acme.workload.uuid());
    let (status, page) = served.get(Some(&vic), &workload).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!page.contains("/deploy\""), "{page}");
    for path in [
        format!("{workload}/rollback?to=1"),
        format!("{workload}/deploy"),
        format!("/jobs/{}/cancel", served.acme.job),
    ] {
        let response = served.post(&vic, &path).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let (status, _) = served
        .get(Some(&vic), &format!("{workload}/rollback?to=1"))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let live: i64 =
        sqlx::query_scalar("select count(*) from switchyard.jobs where database_id = $1")
            .bind(served.acme.tenant.uuid())
            .fetch_one(&served.rows)
            .await
            .expect("a count");
    assert_eq!(live, 0, "no job was started");
}

#[tokio::test]
async fn an_operator_deploys_stops_and_rolls_back() {
    let served = served().await;
    let hold = served.claim(&served.acme).await;
    served.deploy(&served.acme, hold).await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let workload = format!("/workloads/{}", served.acme.workload.uuid());

    let deployed = served.post(&ann, &format!("{workload}/deploy")).await;
    assert_eq!(deployed.status(), StatusCode::SEE_OTHER);
    let job = deployed.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        served.post(&ann, &format!("{job}/cancel")).await.status(),
        StatusCode::SEE_OTHER
    );
    let (_, page) = served.get(Some(&ann), &job).await;
    assert!(
        page.contains("Stopped") && page.contains("by Ann"),
        "{page}"
    );

    let question = format!("{workload}/rollback?to=1");
    let (status, page) = served.get(Some(&ann), &question).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Roll back to r1?"), "{page}");
    let answered = served.post(&ann, &question).await;
    assert_eq!(answered.status(), StatusCode::SEE_OTHER);
    let payload: serde_json::Value =
        sqlx::query_scalar("select payload from switchyard.jobs where database_id = $1")
            .bind(served.acme.tenant.uuid())
            .fetch_one(&served.rows)
            .await
            .expect("one job");
    assert_eq!(payload["action"]["action"], "rollback");
    let missing = served
        .post(&ann, &format!("{workload}/rollback?to=7"))
        .await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_that_no_page_of_ours_sent_is_refused() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let path = format!("/workloads/{}/deploy", served.acme.workload.uuid());
    let good = format!("csrf={}", ann.csrf);
    let refused = |headers: &'static [(&'static str, &'static str)], body: &str| {
        let mut request = form(&ann, &path, body);
        for (name, value) in headers {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(*name, value);
        }
        served.send(request)
    };
    let own = &[("sec-fetch-site", "same-origin")][..];
    for (headers, body) in [
        (&[][..], good.as_str()),
        (&[("sec-fetch-site", "cross-site")][..], &good),
        (&[("sec-fetch-site", "same-site")][..], &good),
        (
            &[
                ("host", "localhost:8080"),
                ("origin", "http://evil.example"),
            ][..],
            &good,
        ),
        (
            &[
                ("host", "localhost:8080"),
                ("origin", "http://localhost:8081"),
            ][..],
            &good,
        ),
        (&[("host", "localhost:8080"), ("origin", "null")][..], &good),
        (own, ""),
        (own, "csrf=0000"),
    ] {
        let status = refused(headers, body).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?} {body}");
    }
    let plain = &[
        ("sec-fetch-site", "same-origin"),
        ("content-type", "text/plain"),
    ][..];
    let status = refused(plain, &good).await.status();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    // The token of another session is none.
    let other = served.sign_in("acme", "Ann", Role::Operator).await;
    let status = refused(own, &format!("csrf={}", other.csrf)).await.status();
    assert_eq!(status, StatusCode::FORBIDDEN);
    let by_origin = &[
        ("host", "localhost:8080"),
        ("origin", "http://localhost:8080"),
    ][..];
    assert_eq!(
        refused(by_origin, &good).await.status(),
        StatusCode::SEE_OTHER
    );
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::PUT, "/sign-in".to_owned()),
    ] {
        let mut request = get(Some(&ann), &path);
        *request.method_mut() = method;
        assert_eq!(
            served.send(request).await.status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let out = served.post(&ann, "/sign-out").await;
    assert_eq!(out.headers()["location"], "/sign-in?left=1");
    assert_eq!(
        served.get(Some(&ann), "/").await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn who_is_in_two_tenants_chooses_by_the_address_and_it_is_remembered() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    sqlx::query(
        "insert into switchyard.memberships (database_id, person_id, role)
         select $1, m.person_id, 'viewer' from switchyard.memberships m where m.database_id = $2",
    )
    .bind(served.globex.tenant.uuid())
    .bind(served.acme.tenant.uuid())
    .execute(&served.rows)
    .await
    .expect("a membership");
    let job = format!("/jobs/{}", served.globex.job);
    assert_eq!(served.get(Some(&ann), &job).await.0, StatusCode::NOT_FOUND);
    let chosen = served
        .send(get(Some(&ann), &format!("{job}?tenant=globex")))
        .await;
    assert_eq!(chosen.status(), StatusCode::OK);
    let cookie = chosen.headers()["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("switchyard_tenant=globex;"), "{cookie}");
    let both = Browser {
        cookie: format!("{}; switchyard_tenant=globex", ann.cookie),
        ..ann
    };
    assert_eq!(served.get(Some(&both), &job).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_log_is_followed_and_resumed_without_a_line_missed_or_repeated() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let hold = served.claim(&served.acme).await;
    let job = format!("/jobs/{}", served.acme.job);
    served.print(hold, 1..=3).await;

    // The page has three lines and says where the stream goes on.
    let (_, page) = served.get(Some(&ann), &job).await;
    assert!(page.contains("line 3!"), "{page}");
    let href = page.split("hx-sse:connect=\"").nth(1).expect("a live page");
    let href = href.split('"').next().expect("an address").to_owned();
    let mut first = Stream::open(&served, &ann, &href, None).await;
    served.print(hold, 4..=5).await;
    first.until("line 5!").await;
    assert_eq!(first.lines(), [4, 5]);
    let place = first.last_id().to_owned();
    drop(first);

    // Nobody listens while these are printed, and the last of them are cut off by the end of the job.
    served.print(hold, 6..=8).await;
    let mut second = Stream::open(&served, &ann, &href, Some(&place)).await;
    second.until("line 8!").await;
    served.print(hold, 9..=10).await;
    served.deploy(&served.acme, hold).await;
    second.until("event: finished").await;
    assert_eq!(second.lines(), [6, 7, 8, 9, 10]);
    assert!(second.read.contains("Succeeded"), "{}", second.read);

    let raw = text(served.send(get(Some(&ann), &format!("{job}/log"))).await).await;
    assert_eq!(raw.lines().count(), 10);
    // Over: nothing is live any more, and the page says what came of it.
    let (_, page) = served.get(Some(&ann), &job).await;
    assert!(!page.contains("hx-sse:connect"), "{page}");
    assert!(page.contains("Revision r1 is live"), "{page}");
}

#[tokio::test]
async fn a_line_that_commits_late_is_not_skipped() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let hold = served.claim(&served.acme).await;
    let insert = |seq: i64| {
        sqlx::query(
            "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
             values ($1, $2, $3, $4, 'task', 'late ' || $4)",
        )
        .bind(served.acme.tenant.uuid())
        .bind(hold.job.0)
        .bind(hold.epoch)
        .bind(seq)
    };
    insert(2).execute(&served.rows).await.expect("a line");
    let path = format!("/live/jobs/{}", served.acme.job);
    let mut stream = Stream::open(&served, &ann, &path, None).await;
    stream.until("job-status").await;
    assert_eq!(stream.lines(), [0; 0]);
    insert(1).execute(&served.rows).await.expect("a line");
    stream.until("late 2").await;
    assert_eq!(stream.lines(), [1, 2]);
}

#[tokio::test]
async fn a_page_that_does_not_change_is_not_sent_again() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let mut first = Stream::open(&served, &ann, "/live/deliveries", None).await;
    first.until("delivery-rows").await;
    first.until("\n\nid: ").await;
    let place = first.last_id().to_owned();
    let mut second = Stream::open(&served, &ann, "/live/deliveries", Some(&place)).await;
    // The stream says nothing but how soon to come back, and ends when the portal does.
    let stop = async {
        second.until("retry: ").await;
        served.ctx.stopping().cancel();
    };
    stop.await;
    let said = second.until("never said").await;
    assert_eq!(said, "retry: 1000\n\n");
}

#[tokio::test]
async fn an_overview_changes_when_something_arrives() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let mut stream = Stream::open(&served, &ann, "/live/overview", None).await;
    stream.until("</hx-partial>").await;
    let hold = served.claim(&served.acme).await;
    served.deploy(&served.acme, hold).await;
    stream.until("Succeeded").await;
}

#[tokio::test]
async fn without_the_database_a_page_says_so_and_when_to_come_back() {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), Keyring::generate().expose_secret()).expect("a file");
    let env = Env::default()
        // Nothing listens on this port.
        .with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "1")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let env = with_functions(env);
    let mounted = FUNCTION
        .mount(&env, &Resources::new().expect("an HTTP client"))
        .expect("good settings");
    let request = Request::get("/")
        .header("cookie", "switchyard_session=x")
        .body(Body::empty())
        .expect("a request");
    let response = mounted.router.oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(
        text(response)
            .await
            .contains("The database does not answer")
    );
}

#[tokio::test]
async fn without_a_master_key_the_portal_does_not_start() {
    let env = Env::default().with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    let error = FUNCTION
        .mount(&env, &Resources::new().expect("an HTTP client"))
        .expect_err("it is missing");
    assert!(error.to_string().contains("MASTER_KEY_FILE"), "{error}");
}
