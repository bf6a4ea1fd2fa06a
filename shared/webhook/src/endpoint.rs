//! The HTTP endpoint that every vendor shares: `POST /{trigger}`, and `POST /{trigger}/{secret}` for senders that can prove
//! who they are by nothing else. Neither path is ever recorded.
//!
//! | answer | when |
//! | --- | --- |
//! | 202 | stored, with what came of it: events, a ping, or nothing |
//! | 200 | its id was here before with this body; nothing new starts |
//! | 400, 415 | signed, and not what its headers say; stored |
//! | 403 | signed, and an event that says that it is one of ours; stored |
//! | 401 | no such trigger, or the signature does not hold: one answer for both |
//! | 408, 413 | the body took too long, or is too large |
//! | 409 | its id was here before with another body |
//! | 503 | it could not be stored: it was not taken, send it again |

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use host::Traceparent;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use model::TriggerId;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tracing::{Instrument as _, Span, field};

use crate::answer::{Answer, Refusal};
use crate::inbox::{Inbox, InboxError, Incoming, Meaning, Recorded, Rejection};
use crate::{
    BadSignature, Delivery, Labels, ParseError, Parsed, Raw, Secrets, Vendor, Verified, delivery,
    sender, stored_headers,
};

/// How large a body may be, in bytes: GitHub sends no larger one.
pub const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

/// How long a body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies over this many bytes are hashed and read off the async threads: a large one takes tens of milliseconds.
pub(crate) const INLINE_BYTES_MAX: usize = 256 * 1024;

/// How many characters of an event's name are stored.
const EVENT_NAME_CHARS_MAX: usize = 100;

/// How long a sender's name for a delivery may be, in bytes; a longer one counts as none.
const DELIVERY_KEY_BYTES_MAX: usize = 200;

/// Takes a vendor's deliveries at `POST /{trigger}` and `POST /{trigger}/{secret}`.
pub fn endpoint<V: Vendor, S: Inbox>() -> Router<S> {
    Router::new()
        .route("/{trigger}", post(take::<V, S>))
        .route("/{trigger}/{secret}", post(take_by_path::<V, S>))
}

async fn take<V: Vendor, S: Inbox>(
    State(inbox): State<S>,
    trigger: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    // A path that is not UTF-8 names no trigger, like any other text that is no id.
    let trigger = trigger.map_or_else(|_| String::new(), |Path(trigger)| trigger);
    answered::<V, S>(&inbox, (trigger, None), headers, body).await
}

async fn take_by_path<V: Vendor, S: Inbox>(
    State(inbox): State<S>,
    path: Result<Path<(String, SecretString)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (trigger, secret) = path.map_or_else(
        |_| (String::new(), None),
        |Path((t, secret))| (t, Some(secret)),
    );
    answered::<V, S>(&inbox, (trigger, secret), headers, body).await
}

async fn answered<V: Vendor, S: Inbox>(
    inbox: &S,
    path: (String, Option<SecretString>),
    headers: HeaderMap,
    body: Body,
) -> Answer {
    // One span for each delivery. Paths are not recorded, for they may hold what is no id.
    let span = tracing::info_span!(
        "delivery",
        webhook.vendor = V::NAME,
        trigger.id = tracing::field::Empty,
        delivery.id = tracing::field::Empty,
        http.status = tracing::field::Empty,
    );
    let answer = taken::<V, S>(inbox, path, headers, body)
        .instrument(span.clone())
        .await;
    let _entered = span.enter();
    let answer = answer.unwrap_or_else(Refusal::answer);
    span.record("http.status", answer.status.as_u16());
    tracing::debug!("answered");
    answer
}

async fn taken<V: Vendor, S: Inbox>(
    inbox: &S,
    path: (String, Option<SecretString>),
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Refusal> {
    let Arrived {
        trigger,
        secrets,
        delivery,
        body_sha256,
    } = arrived(inbox, path, headers, body).await?;
    let claim = Claim::of(delivery.headers(), V::NAME);
    let outcome = judged::<V>(delivery, secrets).await?;
    let (verified, labels, parsed, trigger) = match (outcome, trigger) {
        (Ok((verified, labels, parsed)), Some(trigger)) => (verified, labels, parsed, trigger),
        (outcome, trigger) => {
            return claim
                .refused(inbox, trigger.as_ref(), outcome.err())
                .await
                .map_err(Refusal::Inbox);
        }
    };
    let (meaning, answer) = told(parsed);
    let incoming = Incoming {
        vendor: labels.vendor.map_or(V::NAME, |vendor| vendor.as_str()),
        vendor_event: labels.event.as_deref().map(shortened),
        key: labels
            .key
            .filter(|key| is_key(key))
            .or_else(|| named_by_body(labels.vendor).then(|| body_key(body_sha256))),
        meaning,
        headers: claim.headers,
        body: verified.body().clone(),
        body_sha256,
        traceparent: Traceparent::of(verified.headers()),
    };
    Ok(match inbox.record(&trigger, incoming).await? {
        Recorded::New(id) => {
            Span::current().record("delivery.id", field::display(id));
            answer.about(id)
        }
        Recorded::Duplicate { first } => Answer::duplicate(first),
        Recorded::Conflict { first } => Answer::conflict(first),
    })
}

/// A request with what its URL names. Nobody has checked who sent it.
pub(crate) struct Arrived<Trigger> {
    pub(crate) trigger: Option<Trigger>,
    pub(crate) secrets: Secrets,
    pub(crate) delivery: Delivery<Raw>,
    pub(crate) body_sha256: [u8; 32],
}

/// Reads the body, then looks the trigger up.
pub(crate) async fn arrived<S: Inbox>(
    inbox: &S,
    (trigger, path_secret): (String, Option<SecretString>),
    headers: HeaderMap,
    body: Body,
) -> Result<Arrived<S::Trigger>, Refusal> {
    let (body, body_sha256) = read(&headers, body).await?;
    // A text that is no id is looked up as one that nobody has, so that both take the same way.
    let id = trigger
        .parse()
        .unwrap_or(TriggerId::from(uuid::Uuid::nil()));
    let (trigger, secrets) = match inbox.trigger(id).await? {
        Some((trigger, secrets)) => {
            Span::current().record("trigger.id", field::display(id));
            (Some(trigger), secrets)
        }
        None => (None, Secrets::none()),
    };
    let from = inbox.sender_address(&headers);
    let delivery = Delivery::new(headers, body, inbox.now())
        .coming_from(from)
        .at_path(path_secret);
    Ok(Arrived {
        trigger,
        secrets,
        delivery,
        body_sha256,
    })
}

/// What a request says of itself, kept also when it does not verify.
pub(crate) struct Claim {
    vendor: &'static str,
    event: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Claim {
    /// `vendor`: whom the URL is for.
    pub(crate) fn of(headers: &HeaderMap, vendor: &'static str) -> Self {
        let event = sender(headers)
            .and_then(|sender| delivery::one(headers, sender.event).ok().flatten())
            .map(shortened);
        Self {
            vendor,
            event,
            headers: stored_headers(headers),
        }
    }

    /// Counts the request as one that did not verify. The answer does not tell why.
    pub(crate) async fn refused<S: Inbox>(
        self,
        inbox: &S,
        trigger: Option<&S::Trigger>,
        bad: Option<BadSignature>,
    ) -> Result<Answer, InboxError> {
        let reason = match (trigger, bad) {
            (Some(_), Some(bad)) => bad.to_string(),
            (Some(_) | None, _) => "there is no such trigger".to_owned(),
        };
        let rejection = Rejection {
            vendor: self.vendor,
            vendor_event: self.event,
            reason,
            headers: self.headers,
        };
        inbox.reject(trigger, rejection).await?;
        Ok(Answer::unauthorized())
    }
}

/// The body and its SHA-256, which is made while it arrives.
async fn read(headers: &HeaderMap, mut body: Body) -> Result<(Bytes, [u8; 32]), Answer> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(Answer::too_large());
    }
    let reading = async {
        let mut bytes = BytesMut::new();
        let mut hash = Sha256::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Answer::cut_off())?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > BODY_BYTES_MAX {
                    return Err(Answer::too_large());
                }
                hash.update(&data);
                bytes.extend_from_slice(&data);
            }
        }
        Ok((bytes.freeze(), hash.finalize().into()))
    };
    tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| Err(Answer::too_slow()))
}

fn shortened(event: &str) -> String {
    event.chars().take(EVENT_NAME_CHARS_MAX).collect()
}

/// Whether a sender's name for a delivery can be one: short and visible.
fn is_key(key: &str) -> bool {
    (1..=DELIVERY_KEY_BYTES_MAX).contains(&key.len()) && !key.chars().any(char::is_control)
}

/// Whether two equal bodies of a sender are one delivery that came twice: they carry an id, a time or a digest. Those of
/// Quay and of a plain job are equal whenever the same tag or branch is pushed, and JFrog's when a tag comes back to an
/// image that it named before.
fn named_by_body(vendor: Option<model::Vendor>) -> bool {
    use model::Vendor;
    match vendor {
        Some(Vendor::Quay | Vendor::Generic | Vendor::Jfrog | Vendor::Nexus | Vendor::Poll) => {
            false
        }
        Some(
            Vendor::Github
            | Vendor::Gitea
            | Vendor::Forgejo
            | Vendor::Gogs
            | Vendor::Gitlab
            | Vendor::Bitbucket
            | Vendor::BitbucketDataCenter
            | Vendor::AzureDevops
            | Vendor::DockerHub
            | Vendor::Harbor
            | Vendor::Acr
            | Vendor::Ecr
            | Vendor::ArtifactRegistry
            | Vendor::Distribution
            | Vendor::CloudEvents
            | Vendor::CdEvents,
        )
        | None => true,
    }
}

fn body_key(sha256: [u8; 32]) -> String {
    format!("sha256:{}", hex::encode(sha256))
}

type Judged = Result<(Delivery<Verified>, Labels, Result<Parsed, ParseError>), BadSignature>;

/// Verifies, then reads.
async fn judged<V: Vendor>(
    delivery: Delivery<Raw>,
    secrets: Secrets,
) -> Result<Judged, InboxError> {
    let large = delivery.body_bytes() > INLINE_BYTES_MAX;
    let judge = move || {
        let (verified, _) = delivery.verify::<V>(&secrets)?;
        let parsed = verified.parse::<V>();
        let labels = V::labels(&verified);
        Ok((verified, labels, parsed))
    };
    if !large {
        return Ok(judge());
    }
    tokio::task::spawn_blocking(judge)
        .await
        .map_err(|error| InboxError::Failed(Box::new(error)))
}

/// What is stored, and what is answered if it is the first of its kind.
fn told(parsed: Result<Parsed, ParseError>) -> (Meaning, Answer) {
    match parsed {
        Ok(Parsed::Events(events)) => {
            let answer = Answer::taken("accepted", events.len(), None);
            (Meaning::Accepted(events), answer)
        }
        Ok(Parsed::Ping) => (Meaning::Ping, Answer::taken("ping", 0, None)),
        Ok(Parsed::Ignored { reason }) => {
            let answer = Answer::taken("ignored", 0, Some(reason.clone()));
            (Meaning::Ignored { reason }, answer)
        }
        Err(error) => {
            let reason = error.to_string();
            let status = match error {
                ParseError::UnsupportedMedia { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ParseError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                ParseError::Reserved { .. } => StatusCode::FORBIDDEN,
                ParseError::OtherVendor { .. }
                | ParseError::NoSender
                | ParseError::Header { .. }
                | ParseError::Malformed { .. } => StatusCode::BAD_REQUEST,
            };
            let answer = Answer::problem(status, "the delivery cannot be read", reason.clone());
            (Meaning::Malformed { reason }, answer)
        }
    }
}

#[cfg(test)]
mod tests;
