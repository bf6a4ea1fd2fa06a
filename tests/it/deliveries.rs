//! Deliveries from the wire to a second life: one URL for every vendor, bodies that are kept, deliveries that are taken again and
//! events that are made again, over the whole of the machine.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use model::Role;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Database, Machine, client, turn, until};

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    machine: Machine,
    database: Database,
    http: Client,
    token: String,
}

impl World {
    async fn new() -> Self {
        let mut machine = Machine::new();
        machine.start().await;
        let database = machine.database().await;
        let token = database.session("Ann", Role::Operator).await;
        Self {
            http: client(),
            machine,
            database,
            token,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.machine.url())
    }

    async fn sent(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    async fn ask(&self, path: &str) -> (StatusCode, Value) {
        let asked = self.http.get(self.url(&format!("/api{path}")));
        self.sent(asked.bearer_auth(&self.token)).await
    }

    async fn tell(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let told = self.http.post(self.url(&format!("/api{path}")));
        self.sent(told.bearer_auth(&self.token).json(&body)).await
    }

    /// Waits until a delivery's events were looked at, and returns it.
    async fn dispatched(&self, delivery: &str) -> Value {
        let path = format!("/deliveries/{delivery}");
        until(
            "the delivery's events were dispatched",
            PATIENCE,
            || async {
                let (_, body) = self.ask(&path).await;
                let events = body["events"].as_array()?;
                let all = events
                    .iter()
                    .all(|event| event["dispatched"] == json!(true));
                (all && !events.is_empty()).then_some(body)
            },
        )
        .await
    }
}

/// A push of Gitea's, signed.
fn push(http: &Client, url: &str, secret: &str, body: &str, id: &str) -> RequestBuilder {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key is good");
    mac.update(body.as_bytes());
    http.post(url)
        .header("content-type", "application/json")
        .header("x-gitea-event", "push")
        .header("x-gitea-event-type", "push")
        .header("x-gitea-delivery", id)
        .header(
            "x-gitea-signature",
            hex::encode(mac.finalize().into_bytes()),
        )
        .body(body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_goes_by_the_url_for_all_and_is_taken_replayed_and_compared() {
    let _turn = turn().await;
    let it = World::new().await;
    let site = it.database.site(&it.machine.repositories(), "all").await;
    let commit = site.repository.commit("a page");
    let told = site.told(&commit, "delivery-1");
    let any = it.url(&format!("/webhook-any/{}", site.trigger));
    let (body, secret) = (told.body(), told.secret());

    // By the URL that is for everybody, its function's answer is the answer.
    let (status, answer) = it
        .sent(push(&it.http, &any, secret, body, "delivery-1"))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let first = answer["delivery"].as_str().expect("an id").to_owned();
    let (status, answer) = it
        .sent(push(&it.http, &any, secret, body, "delivery-1"))
        .await;
    assert_eq!(
        (status, &answer["verdict"]),
        (StatusCode::OK, &json!("duplicate"))
    );
    let (status, _) = it
        .sent(push(&it.http, &any, "another", body, "delivery-2"))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let malformed = push(&it.http, &any, secret, "{", "delivery-3");
    assert_eq!(it.sent(malformed).await.0, StatusCode::BAD_REQUEST);

    let shown = it.dispatched(&first).await;
    assert_eq!(shown["vendor"], "gitea");
    assert_eq!(shown["function"], "webhook-gitea");
    assert_eq!(shown["headers"]["x-gitea-signature"], "***");
    assert_eq!(shown["later"].as_array().map(Vec::len), Some(1));

    // Its body, byte for byte.
    let asked = it
        .http
        .get(it.url(&format!("/api/deliveries/{first}/body")));
    let file = asked
        .bearer_auth(&it.token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(file.headers()["x-content-type-options"], "nosniff");
    assert_eq!(file.headers()["content-type"], "application/json");
    assert_eq!(file.text().await.expect("text"), body);

    // Taken again: a new delivery with a new event, linked to the first ones.
    let (status, again) = it
        .tell(&format!("/deliveries/{first}/redeliver"), json!({}))
        .await;
    assert_eq!(status, StatusCode::OK, "{again}");
    assert_eq!(
        (&again["status"], &again["told"]["verdict"]),
        (&json!(202), &json!("accepted"))
    );
    let second = again["delivery"].as_str().expect("an id").to_owned();
    let taken = it.dispatched(&second).await;
    assert_eq!(taken["redelivery_of"], json!(first));
    assert_ne!(taken["events"][0]["id"], shown["events"][0]["id"]);
    let links: i64 = it
        .database
        .try_count(
            "select count(*) from switchyard.events e join switchyard.events o on o.id = e.replays",
        )
        .await
        .expect("a number");
    assert_eq!(links, 1);

    // To one binding alone: the other one is not asked.
    let other = it.database.bindings(site.trigger).await;
    let path = format!("/deliveries/{first}/replays");
    let (status, replayed) = it.tell(&path, json!({"binding": other[1]})).await;
    assert_eq!(status, StatusCode::OK, "{replayed}");
    let event = replayed["events"][0].as_str().expect("an id").to_owned();
    let decided = until("the binding decided", PATIENCE, || async {
        let (_, body) = it.ask(&format!("/events/{event}")).await;
        body["decisions"]
            .as_array()
            .filter(|all| !all.is_empty())
            .cloned()
    })
    .await;
    assert_eq!(decided.len(), 1, "{decided:?}");
    let (status, _) = it
        .tell(
            &path,
            json!({"binding": "bnd_00000000000000000000000000000001"}),
        )
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    // All that match, as a job that tells how far it is.
    let (status, asked) = it
        .tell(
            "/deliveries/replays",
            json!({"filter": {"vendor": "gitea", "verdict": "accepted"}}),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    let job = asked["job"].as_i64().expect("a job");
    let progress = until("the job is done", PATIENCE, || async {
        let (_, body) = it.ask(&format!("/jobs/{job}")).await;
        (body["state"] == json!("succeeded")).then(|| body["result"].clone())
    })
    .await;
    assert_eq!(
        (&progress["matched"], &progress["did"]),
        (&json!(2), &json!(2)),
        "{progress}"
    );

    // Compared, and in good health but for one bad signature.
    let (status, diff) = it
        .ask(&format!("/deliveries/{first}/diff?with={second}"))
        .await;
    assert_eq!(
        (status, &diff["body"]["kind"]),
        (StatusCode::OK, &json!("same")),
        "{diff}"
    );
    let (_, health) = it.ask(&format!("/triggers/{}/health", site.trigger)).await;
    assert_eq!(health["rejected_today"], 1, "{health}");
    assert_eq!(health["rejections"][0]["cause"], "other_secret");
    assert_eq!(
        (&health["secret_used"], &health["silent_days"]),
        (&json!("current"), &json!(0))
    );

    // What is on record, and who may not.
    let deeds: Vec<String> = it.database.texts(
        "select deed from switchyard.audit where deed in ('read_body', 'redeliver', 'replay_delivery', 'replay_deliveries') order by id",
    ).await;
    assert_eq!(
        deeds,
        [
            "read_body",
            "redeliver",
            "replay_delivery",
            "replay_deliveries",
            "read_body",
            "read_body"
        ]
    );
    let viewer = it.database.session("Bob", Role::Viewer).await;
    for path in [
        format!("/api/deliveries/{first}/redeliver"),
        format!("/api{path}"),
    ] {
        let told = it.http.post(it.url(&path)).bearer_auth(&viewer);
        assert_eq!(it.sent(told).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    // A proof of somebody else's making opens nothing.
    let forged = it
        .http
        .post(it.url(&format!("/webhook-gitea/{}", site.trigger)))
        .header("x-switchyard-redelivery", "AAAA")
        .header("x-gitea-event", "push")
        .body(body.to_owned());
    assert_eq!(it.sent(forged).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proof_the_address_that_the_gateway_saw_decides() {
    let _turn = turn().await;
    let it = World::new().await;
    let inside = it
        .database
        .open_trigger("inside", &["127.0.0.0/8", "::1/128"])
        .await;
    let outside = it.database.open_trigger("outside", &["192.0.2.0/24"]).await;
    for function in ["webhook-generic", "webhook-any"] {
        for (trigger, expected) in [
            (inside, StatusCode::ACCEPTED),
            (outside, StatusCode::UNAUTHORIZED),
        ] {
            let url = it.url(&format!("/{function}/{trigger}"));
            // What a sender says of itself does not count.
            let told = it
                .http
                .post(url)
                .header("x-forwarded-for", "192.0.2.7")
                .header("x-switchyard-peer", "192.0.2.7")
                .body(r#"{"ref":"main"}"#);
            assert_eq!(it.sent(told).await.0, expected, "{function}");
        }
    }
}
