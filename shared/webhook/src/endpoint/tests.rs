use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::Request;
use axum::response::Response;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use model::DeliveryId;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::{HmacSha256, Signed, Which};

const SECRET: &str = "the trigger's secret";

/// Its payload says what becomes of it.
struct Sample;

impl Vendor for Sample {
    const NAME: &'static str = "github";
    const SENDERS: &'static [model::Vendor] = &[model::Vendor::Github];

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        let scheme = HmacSha256 {
            header: "x-hub-signature-256",
            prefix: "sha256=",
            signed: Signed::Body,
        };
        delivery.check(&scheme, secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        match delivery.event()? {
            (_, "ping") => delivery.checked(Parsed::Ping),
            (_, "push") => delivery.checked(Parsed::Events(Vec::new())),
            (_, event) => delivery.unhandled(event),
        }
    }
}

/// Keeps deliveries in memory, and what it was asked.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    keys: HashMap<String, (DeliveryId, [u8; 32])>,
    recorded: Vec<Incoming>,
    rejected: Vec<(bool, Rejection)>,
    lookups: usize,
    /// How much longer it takes to find a trigger than to find none.
    found_later: Duration,
    down: bool,
}

fn trigger() -> TriggerId {
    TriggerId::from(Uuid::from_u128(7))
}

impl Memory {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics while it holds this")
    }

    fn reached(&self) -> Result<(), InboxError> {
        if self.kept().down {
            return Err(InboxError::Unavailable("connection refused".into()));
        }
        Ok(())
    }
}

impl Inbox for Memory {
    type Trigger = TriggerId;

    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn sender_address(&self, _: &HeaderMap) -> Option<std::net::IpAddr> {
        None
    }

    async fn trigger(&self, id: TriggerId) -> Result<Option<(TriggerId, Secrets)>, InboxError> {
        self.reached()?;
        self.kept().lookups += 1;
        if id == trigger() {
            let later = self.kept().found_later;
            tokio::time::sleep(later).await;
        }
        Ok((id == trigger()).then(|| (id, Secrets::new(SECRET.into(), None))))
    }

    async fn record(&self, _: &TriggerId, incoming: Incoming) -> Result<Recorded, InboxError> {
        self.reached()?;
        let mut kept = self.kept();
        let id = DeliveryId::from(Uuid::from_u128(kept.recorded.len() as u128 + 1));
        let hash = incoming.body_sha256;
        let refused = matches!(incoming.meaning, Meaning::Malformed { .. });
        let key = incoming.key.as_ref().map(|key| key.text().to_owned());
        kept.recorded.push(incoming);
        let Some(key) = key.filter(|_| !refused) else {
            return Ok(Recorded::New(id));
        };
        Ok(match kept.keys.insert(key.clone(), (id, hash)) {
            None => Recorded::New(id),
            Some((first, before)) => {
                kept.keys.insert(key, (first, before));
                if before == hash {
                    Recorded::Duplicate { first }
                } else {
                    Recorded::Conflict { first }
                }
            }
        })
    }

    async fn reject(&self, trigger: Option<&TriggerId>, why: Rejection) -> Result<(), InboxError> {
        self.reached()?;
        self.kept().rejected.push((trigger.is_some(), why));
        Ok(())
    }
}

fn request(event: &str, id: &str, body: &str) -> Request<Body> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    let digits = hex::encode(mac.finalize().into_bytes());
    Request::post(format!("/{}", trigger()))
        .header("content-type", "application/json")
        .header("x-github-event", event)
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", format!("sha256={digits}"))
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

async fn send(inbox: &Memory, request: Request<Body>) -> (StatusCode, Value) {
    let response = answer(inbox, request).await;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn answer(inbox: &Memory, request: Request<Body>) -> Response {
    let router = endpoint::<Sample, Memory>(Taking::default()).with_state(inbox.clone());
    router
        .oneshot(request)
        .await
        .expect("a router always answers")
}

#[tokio::test]
async fn a_push_is_taken_with_its_id() {
    let inbox = Memory::default();
    let (status, body) = send(&inbox, request("push", "a", "{}")).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    insta::assert_json_snapshot!(body, @r#"
    {
      "delivery": "dlv_00000000000000000000000000000001",
      "events": 0,
      "verdict": "accepted"
    }
    "#);
    let kept = inbox.kept();
    assert_eq!(kept.recorded[0].key, Some(Key::Named("a".to_owned())));
    assert_eq!(kept.recorded[0].proved_by, Some(Which::Current));
    assert_eq!(kept.recorded[0].vendor_event.as_deref(), Some("push"));
    assert_eq!(kept.recorded[0].headers["x-hub-signature-256"], "***");
    assert_eq!(kept.recorded[0].body_sha256, *Sha256::digest("{}"));
}

#[tokio::test]
async fn a_ping_and_an_unknown_event_are_taken_and_said_to_be_such() {
    let inbox = Memory::default();
    let (status, body) = send(&inbox, request("ping", "a", "{}")).await;
    assert_eq!(
        (status, &body["verdict"]),
        (StatusCode::ACCEPTED, &"ping".into())
    );
    let (status, body) = send(&inbox, request("star", "b", "{}")).await;
    assert_eq!(
        (status, &body["verdict"]),
        (StatusCode::ACCEPTED, &"ignored".into())
    );
    assert_eq!(body["reason"], "unhandled event \"star\"");
}

#[tokio::test]
async fn a_repeat_is_told_the_first_ones_id() {
    let inbox = Memory::default();
    let (_, first) = send(&inbox, request("push", "a", "{}")).await;
    let (status, again) = send(&inbox, request("push", "a", "{}")).await;
    assert_eq!(
        (status, &again["verdict"]),
        (StatusCode::OK, &"duplicate".into())
    );
    assert_eq!(again["delivery"], first["delivery"]);
}

#[tokio::test]
async fn the_same_id_with_another_body_is_a_conflict() {
    let inbox = Memory::default();
    send(&inbox, request("push", "a", "{}")).await;
    let (status, body) = send(&inbox, request("push", "a", "{ }")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["delivery"], "dlv_00000000000000000000000000000001");
}

#[tokio::test]
async fn without_an_id_the_body_names_the_delivery() {
    let inbox = Memory::default();
    let mut anonymous = request("push", "a", "{}");
    anonymous.headers_mut().remove("x-github-delivery");
    send(&inbox, anonymous).await;
    let key = format!("sha256:{}", hex::encode(Sha256::digest("{}")));
    let hour = std::time::Duration::from_secs(3600);
    assert_eq!(inbox.kept().recorded[0].key, Some(Key::OfBody(key, hour)));
}

#[tokio::test]
async fn an_unknown_trigger_and_a_bad_signature_get_one_answer_by_one_way() {
    let inbox = Memory::default();
    let mut unsigned = request("push", "a", "{}");
    unsigned
        .headers_mut()
        .insert("x-hub-signature-256", "sha256=".parse().expect("a value"));
    let mut unknown = request("push", "a", "{}");
    *unknown.uri_mut() = format!("/{}", TriggerId::from(Uuid::from_u128(8)))
        .parse()
        .expect("a path");
    let mut no_id = request("push", "a", "{}");
    *no_id.uri_mut() = "/no-id".parse().expect("a path");
    let mut no_text = request("push", "a", "{}");
    *no_text.uri_mut() = "/%ff".parse().expect("a path");

    let answers = [
        send(&inbox, unsigned).await,
        send(&inbox, unknown).await,
        send(&inbox, no_id).await,
        send(&inbox, no_text).await,
    ];
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let kept = inbox.kept();
    assert_eq!((kept.lookups, kept.recorded.len()), (4, 0));
    let counted: Vec<_> = kept
        .rejected
        .iter()
        .map(|(known, why)| (*known, why.reason.as_str()))
        .collect();
    insta::assert_debug_snapshot!(counted, @r#"
    [
        (
            true,
            "there is no x-hub-signature-256 header, or it is empty: give the hook the trigger's secret",
        ),
        (
            false,
            "there is no such trigger",
        ),
        (
            false,
            "there is no such trigger",
        ),
        (
            false,
            "there is no such trigger",
        ),
    ]
    "#);
}

#[tokio::test(start_paused = true)]
async fn when_a_refusal_is_told_does_not_tell_which_triggers_there_are() {
    let inbox = Memory::default();
    inbox.kept().found_later = Duration::from_millis(3);
    let unsigned = || {
        let mut request = request("push", "a", "{}");
        request.headers_mut().remove("x-hub-signature-256");
        request
    };
    let mut unknown = unsigned();
    *unknown.uri_mut() = "/no-id".parse().expect("a path");
    let mut took = Vec::new();
    for request in [unsigned(), unknown] {
        let asked = Instant::now();
        assert_eq!(send(&inbox, request).await.0, StatusCode::UNAUTHORIZED);
        took.push(asked.elapsed());
    }
    assert_eq!(took[0], took[1]);
    // Who is let in does not wait for that.
    let asked = Instant::now();
    let (status, _) = send(&inbox, request("push", "a", "{}")).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(asked.elapsed(), Duration::from_millis(3));
}

#[tokio::test]
async fn what_cannot_be_read_is_stored_and_refused() {
    let inbox = Memory::default();
    let (status, body) = send(&inbox, request("push", "a", "{")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["delivery"], "dlv_00000000000000000000000000000001");

    let mut other = request("push", "b", "{}");
    other
        .headers_mut()
        .insert("x-gitea-event", "push".parse().expect("a value"));
    let (status, body) = send(&inbox, other).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("use the URL for gitea"))
    );

    let mut text = request("push", "c", "{}");
    text.headers_mut()
        .insert("content-type", "text/plain".parse().expect("a value"));
    assert_eq!(
        send(&inbox, text).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );

    let mut zipped = request("push", "d", "{}");
    zipped
        .headers_mut()
        .insert("content-encoding", "gzip".parse().expect("a value"));
    assert_eq!(
        send(&inbox, zipped).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );

    let kept = inbox.kept();
    assert!(
        kept.recorded
            .iter()
            .all(|it| matches!(it.meaning, Meaning::Malformed { .. }))
    );
    assert_eq!(kept.recorded.len(), 4);
}

#[tokio::test]
async fn a_refused_delivery_does_not_make_a_later_one_a_repeat() {
    let inbox = Memory::default();
    send(&inbox, request("push", "a", "{")).await;
    assert_eq!(
        send(&inbox, request("push", "a", "{}")).await.0,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_announced_or_not() {
    let inbox = Memory::default();
    let mut announced = request("push", "a", "{}");
    announced
        .headers_mut()
        .insert("content-length", (BODY_BYTES_MAX + 1).into());
    assert_eq!(
        send(&inbox, announced).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );

    let mut streamed = request("push", "a", "{}");
    *streamed.body_mut() = Body::from(vec![b' '; BODY_BYTES_MAX + 1]);
    assert_eq!(
        send(&inbox, streamed).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(inbox.kept().lookups, 0);
}

#[tokio::test]
async fn a_large_body_is_taken_as_a_small_one() {
    let inbox = Memory::default();
    let body = format!("{{\"x\":\"{}\"}}", "y".repeat(INLINE_BYTES_MAX));
    assert_eq!(
        send(&inbox, request("push", "a", &body)).await.0,
        StatusCode::ACCEPTED
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_is_given_up() {
    let inbox = Memory::default();
    let mut endless = request("push", "a", "{}");
    let frames = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    *endless.body_mut() = Body::from_stream(frames);
    assert_eq!(send(&inbox, endless).await.0, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn nothing_is_taken_while_the_inbox_is_down() {
    let inbox = Memory::default();
    inbox.kept().down = true;
    let response = answer(&inbox, request("push", "a", "{}")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
}
