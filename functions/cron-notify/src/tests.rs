use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use database::{Connect, SystemDb, TenantDb};
use host::{Env, Resources};
use model::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sqlx::PgPool;
use store::notifications::{self as messages, NotificationRule, WantedEndpoint};
use store::{Keyring, Store};
use tempfile::NamedTempFile;
use testkit::{Https, TestDb};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

/// What came, and what is answered: the first of the answers, the last one for ever.
#[derive(Default)]
struct Receiver {
    came: Mutex<Vec<(HeaderMap, String)>>,
    answers: Mutex<VecDeque<(StatusCode, Option<&'static str>)>>,
}

impl Receiver {
    fn answer(&self) -> Response {
        let mut answers = self.answers.lock().expect("no test panics here");
        let answer = match answers.len() {
            0 => (StatusCode::OK, None),
            1 => answers[0],
            _ => answers.pop_front().expect("there are two"),
        };
        match answer {
            (status, Some(after)) => (status, [("retry-after", after)], "later").into_response(),
            (status, None) => (status, "thanks").into_response(),
        }
    }

    fn came(&self) -> Vec<(HeaderMap, String)> {
        self.came.lock().expect("no test panics here").clone()
    }
}

struct Served {
    hears: Router,
    sends: Router,
    rows: PgPool,
    store: Store,
    tenant: TenantId,
    tenants: TenantDb,
    endpoint: Uuid,
    secret: SecretString,
    receiver: Arc<Receiver>,
    _https: Https,
    _key: NamedTempFile,
    _db: TestDb,
}

fn router(function: Function, env: &Env) -> Router {
    let resources = Resources::new().expect("an HTTP client");
    function
        .mount(env, &resources)
        .expect("good settings")
        .router
}

impl Served {
    async fn new(format: &str, allowed: bool) -> Self {
        let receiver = Arc::new(Receiver::default());
        let hook = {
            let receiver = Arc::clone(&receiver);
            move |headers: HeaderMap, body: String| async move {
                receiver
                    .came
                    .lock()
                    .expect("no test panics here")
                    .push((headers, body));
                receiver.answer()
            }
        };
        let https = Https::serve(Router::new().route("/hook", post(hook))).await;
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let key = Keyring::generate();
        let keyring = Keyring::from_base64(&key).expect("a key");
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.expose_secret()).expect("a file");
        let mut env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
            .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"))
            .with(
                "EGRESS_CA_FILE",
                https.certificate().to_str().expect("a path"),
            );
        if allowed {
            env = env.with("EGRESS_ALLOW", https.authority());
        }
        let connect = |role| Connect {
            url: db.owner_url().into(),
            role,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(20),
        };
        let tenants = TenantDb::new(&connect(DatabaseRole::Tenant)).expect("a URL");
        let store = Store::new(SystemDb::new(&connect(DatabaseRole::System)).expect("a URL"));
        let tenant = TenantId::from(Uuid::new_v4());
        sqlx::query("insert into switchyard.tenants values ($1, 'acme')")
            .bind(tenant.uuid())
            .execute(&rows)
            .await
            .expect("a tenant");
        let secret = outgoing::Secret::generate();
        let url = format!("{}/hook", https.url());
        let wanted = WantedEndpoint {
            name: "chat",
            url: &url,
            format,
            enabled: true,
        };
        let mut tx = tenants.begin(tenant).await.expect("a transaction");
        let made = messages::create_endpoint(&mut tx, tenant, &keyring, &wanted, &secret).await;
        let messages::Written::Done(endpoint) = made.expect("an answer") else {
            panic!("no endpoint");
        };
        for (n, severity) in [(1, None), (2, Some("error"))] {
            let rule = NotificationRule {
                id: Uuid::from_u128(n),
                endpoint,
                name: n.to_string(),
                types: vec!["dev.switchyard.*".to_owned()],
                severity: severity.map(str::to_owned),
                source: None,
                contains: None,
                condition: Some(
                    json!({"language": "cel", "expression": "event.data.state == 'dead'"}),
                ),
                enabled: true,
            };
            let written = messages::write_rule(&mut tx, tenant, &rule, true).await;
            assert_eq!(
                written.expect("an answer"),
                messages::Written::Done(rule.id)
            );
        }
        tx.commit().await.expect("a commit");
        Self {
            hears: router(notify::FUNCTION, &env),
            sends: router(FUNCTION, &env),
            rows,
            store,
            tenant,
            tenants,
            endpoint,
            secret,
            receiver,
            _https: https,
            _key: file,
            _db: db,
        }
    }

    async fn post(&self, router: &Router, ty: &str, id: &str, data: Value) -> StatusCode {
        let event = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "/switchyard/queue")
            .header("ce-type", ty)
            .header("ce-tenantid", self.tenant.uuid().to_string())
            .header("ce-severity", "error")
            .header("content-type", "application/json")
            .body(Body::from(data.to_string()))
            .expect("a request");
        let answer = router.clone().oneshot(event).await;
        answer.expect("a router always answers").status()
    }

    async fn observe(&self, id: &str, state: &str) {
        let ty = "dev.switchyard.job.finished.v1";
        let data = json!({"state": state, "message": "it <fell> over"});
        let status = self.post(&self.hears, ty, id, data).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    async fn tick(&self) {
        let ty = "dev.knative.sources.ping";
        let status = self.post(&self.sends, ty, "1", json!({})).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    /// The next attempts are due now.
    async fn later(&self) {
        sqlx::query("update switchyard.notifications set next_at = now() where state = 'pending'")
            .execute(&self.rows)
            .await
            .expect("an update");
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql)
            .fetch_all(&self.rows)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn states(&self) -> Vec<String> {
        self.texts("select state::text from switchyard.notifications order by created_at, id")
            .await
    }
}

#[tokio::test]
async fn an_event_is_told_once_signed_and_its_attempt_is_kept() {
    let it = Served::new("standard", true).await;
    // Both rules want it, and it comes twice; the other one's condition does not hold.
    it.observe("1", "dead").await;
    it.observe("1", "dead").await;
    it.observe("2", "succeeded").await;
    it.tick().await;
    it.tick().await;
    let came = it.receiver.came();
    assert_eq!(came.len(), 1);
    let (headers, body) = &came[0];
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let parsed: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(parsed["type"], "dev.switchyard.job.finished.v1");
    assert_eq!(parsed["data"]["data"]["state"], "dead");
    let secret = outgoing::Secret::read(&it.secret).expect("a secret");
    let timestamp: i64 = header("webhook-timestamp").parse().expect("seconds");
    let ours = outgoing::headers(&[secret], &header("webhook-id"), timestamp, body);
    assert_eq!(header("webhook-signature"), ours[2].1);
    let age = it
        .texts("select extract(epoch from now())::bigint::text")
        .await;
    let now: i64 = age[0].parse().expect("seconds");
    assert!((timestamp - now).abs() < 60);
    assert_eq!(it.states().await, ["delivered"]);
    let log = it
        .texts("select format('%s %s %s', number, status, excerpt) from switchyard.notification_attempts")
        .await;
    assert_eq!(log, ["1 200 thanks"]);
    assert_eq!(
        it.texts("select message from switchyard.event_log").await,
        [""; 0]
    );
}

#[tokio::test]
async fn what_fails_is_tried_again_when_its_receiver_says_so() {
    let it = Served::new("slack", true).await;
    *it.receiver.answers.lock().expect("no test panics here") = [
        (StatusCode::SERVICE_UNAVAILABLE, Some("3600")),
        (StatusCode::OK, None),
    ]
    .into();
    it.observe("1", "dead").await;
    it.tick().await;
    let wait = it
        .texts("select (next_at - now() between '59 minutes' and '61 minutes')::text from switchyard.notifications")
        .await;
    assert_eq!(wait, ["true"]);
    it.tick().await;
    assert_eq!(it.receiver.came().len(), 1, "it waits");
    it.later().await;
    it.tick().await;
    let came = it.receiver.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].0["webhook-id"], came[1].0["webhook-id"]);
    assert!(came[0].1.contains("it &lt;fell&gt; over"), "{}", came[0].1);
    assert_eq!(it.states().await, ["delivered"]);
    let log = it.texts("select status::text from switchyard.notification_attempts order by number");
    assert_eq!(log.await, ["503", "200"]);
}

#[tokio::test]
async fn an_endpoint_that_wants_no_more_is_switched_off_and_told_of() {
    let it = Served::new("standard", true).await;
    *it.receiver.answers.lock().expect("no test panics here") =
        [(StatusCode::GONE, None), (StatusCode::OK, None)].into();
    it.observe("1", "dead").await;
    it.tick().await;
    assert_eq!(it.states().await, ["failed"]);
    let told = "select ce_type from switchyard.outbox where broker = 'observed' order by id";
    assert_eq!(
        it.texts(told).await,
        ["dev.switchyard.notification.endpoint.disabled.v1"]
    );
    let why =
        it.texts("select disabled_why from switchyard.notification_endpoints where not enabled");
    assert_eq!(
        why.await,
        ["it answered 410: nobody wants its messages any more"]
    );
    // Switched on again by a person, who has the message sent once more.
    let first = it
        .texts("select id::text from switchyard.notifications")
        .await;
    let mut tx = it.tenants.begin(it.tenant).await.expect("a transaction");
    let all = messages::endpoints(&mut tx, Some(it.endpoint)).await;
    let endpoint = all.expect("an answer").pop().expect("an endpoint");
    let wanted = WantedEndpoint {
        name: &endpoint.name,
        url: &endpoint.url,
        format: &endpoint.format,
        enabled: true,
    };
    let changed = messages::change_endpoint(&mut tx, it.endpoint, &wanted).await;
    assert_eq!(
        changed.expect("an answer"),
        messages::Written::Done(it.endpoint)
    );
    let id = first[0].parse().expect("an id");
    let again = messages::redeliver(&mut tx, id).await.expect("an answer");
    assert!(again.is_some());
    tx.commit().await.expect("a commit");
    sqlx::query(
        "update switchyard.notification_endpoints set failing_since = now() - interval '1 day'",
    )
    .execute(&it.rows)
    .await
    .expect("an update");
    it.tick().await;
    assert_eq!(it.states().await, ["failed", "delivered"]);
    assert_eq!(
        it.texts(told).await[1],
        "dev.switchyard.notification.endpoint.recovered.v1"
    );
    let came = it.receiver.came();
    assert_eq!(came[0].0["webhook-id"], came[1].0["webhook-id"]);
}

#[tokio::test]
async fn an_endpoint_that_fails_for_days_is_switched_off() {
    let it = Served::new("standard", true).await;
    *it.receiver.answers.lock().expect("no test panics here") =
        [(StatusCode::INTERNAL_SERVER_ERROR, None)].into();
    it.observe("1", "dead").await;
    it.tick().await;
    sqlx::query(
        "update switchyard.notification_endpoints set failing_since = now() - interval '6 days'",
    )
    .execute(&it.rows)
    .await
    .expect("an update");
    it.later().await;
    it.tick().await;
    let off = it.texts("select name from switchyard.notification_endpoints where not enabled");
    assert_eq!(off.await, ["chat"]);
    it.later().await;
    it.tick().await;
    assert_eq!(it.receiver.came().len(), 2, "what waits is not sent");
    assert_eq!(it.states().await, ["pending"]);
}

#[tokio::test]
async fn an_address_inside_is_not_called_unless_the_operator_allows_it() {
    let it = Served::new("standard", false).await;
    it.observe("1", "dead").await;
    it.tick().await;
    assert!(it.receiver.came().is_empty());
    let problem = it
        .texts("select problem from switchyard.notification_attempts")
        .await;
    assert!(
        problem[0].starts_with("egress denied: localhost leads to a loopback address"),
        "{problem:?}"
    );
    assert_eq!(it.states().await, ["pending"]);
}

#[tokio::test]
async fn a_name_that_turns_inward_after_it_was_saved_is_refused_when_it_is_dialled() {
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::Pin;

    /// Every name is this machine, by now.
    struct Inward;
    impl egress::Lookup for Inward {
        fn lookup(
            &self,
            _: String,
        ) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>> {
            let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
            Box::pin(std::future::ready(Ok(vec![here])))
        }
    }

    let it = Served::new("standard", false).await;
    let egress = TenantEgress::with_lookup(egress::Guard::default(), Vec::new(), Inward);
    let egress = egress.expect("a client");
    let url: url::Url = "https://hooks.example.com/in".parse().expect("a URL");
    assert_eq!(egress.guard().check_url(&url), Ok(()), "it may be saved");
    let due = DueNotification {
        id: Uuid::from_u128(1),
        endpoint: it.endpoint,
        message_id: "msg_1".to_owned(),
        body: "{}".to_owned(),
        attempt: 1,
        url: url.into(),
        secrets: vec![it.secret.clone()],
    };
    let attempt = send(&egress, &due, chrono::DateTime::UNIX_EPOCH).await;
    let problem = attempt.problem.expect("it is refused");
    assert!(problem.contains("loopback"), "{problem}");
    assert!(matches!(attempt.ended, Ended::Again(_)));
    drop(it.store);
}
