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

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use host::Traceparent;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use model::{DeliveryId, TriggerId};
use secrecy::SecretString;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tracing::{Instrument as _, Span, field};

use crate::inbox::{Inbox, InboxError, Incoming, Meaning, Recorded, Rejection};
use crate::{
    BadSignature, Delivery, Labels, ParseError, Parsed, Raw, Secrets, Vendor, Verified, delivery,
    sender, stored_headers,
};

/// How large a body may be, in bytes: GitHub sends no larger one.
pub const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies over this many bytes are hashed and read off the async threads: a large one takes tens of milliseconds.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// When to try again after a 503.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

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
    let answer = match answer {
        Ok(answer) => answer,
        Err(Refusal::Inbox(error)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a delivery could not be stored"
            );
            Answer::from(error)
        }
        Err(Refusal::Answer(answer)) => answer,
    };
    span.record("http.status", answer.status.as_u16());
    tracing::debug!("answered");
    answer
}

async fn taken<V: Vendor, S: Inbox>(
    inbox: &S,
    (trigger, path_secret): (String, Option<SecretString>),
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Refusal> {
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
    let vendor_event = sender(&headers)
        .and_then(|sender| delivery::one(&headers, sender.event).ok().flatten())
        .map(shortened);
    let kept = stored_headers(&headers);
    let from = inbox.sender_address(&headers);
    let delivery = Delivery::new(headers, body, inbox.now())
        .coming_from(from)
        .at_path(path_secret);
    let outcome = judged::<V>(delivery, secrets).await?;
    let (verified, labels, parsed, trigger) = match (outcome, trigger) {
        (Ok((verified, labels, parsed)), Some(trigger)) => (verified, labels, parsed, trigger),
        (outcome, trigger) => {
            let reason = match (&trigger, outcome.err()) {
                (Some(_), Some(bad)) => bad.to_string(),
                (Some(_) | None, _) => "there is no such trigger".to_owned(),
            };
            let rejection = Rejection {
                vendor: V::NAME,
                vendor_event,
                reason,
                headers: kept,
            };
            inbox.reject(trigger.as_ref(), rejection).await?;
            return Ok(Answer::unauthorized());
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
        headers: kept,
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
        Some(Vendor::Quay | Vendor::Generic | Vendor::Jfrog | Vendor::Nexus) => false,
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

pub(crate) enum Refusal {
    Answer(Answer),
    Inbox(InboxError),
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<InboxError> for Refusal {
    fn from(error: InboxError) -> Self {
        Self::Inbox(error)
    }
}

/// An answer to a sender: what a person reads in the sender's list of deliveries.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    retry: bool,
    body: AnswerBody,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum AnswerBody {
    Told {
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<DeliveryId>,
        verdict: &'static str,
        events: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// RFC 9457.
    Problem {
        title: &'static str,
        status: u16,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<DeliveryId>,
    },
}

impl Answer {
    fn taken(verdict: &'static str, events: usize, reason: Option<String>) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            retry: false,
            body: AnswerBody::Told {
                delivery: None,
                verdict,
                events,
                reason,
            },
        }
    }

    pub(crate) fn problem(
        status: StatusCode,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            retry: false,
            body: AnswerBody::Problem {
                title,
                status: status.as_u16(),
                detail: detail.into(),
                delivery: None,
            },
        }
    }

    fn about(mut self, id: DeliveryId) -> Self {
        match &mut self.body {
            AnswerBody::Told { delivery, .. } | AnswerBody::Problem { delivery, .. } => {
                *delivery = Some(id);
            }
        }
        self
    }

    fn duplicate(first: DeliveryId) -> Self {
        let reason = "it was delivered before, and nothing new starts".to_owned();
        let taken = Self::taken("duplicate", 0, Some(reason)).about(first);
        Self {
            status: StatusCode::OK,
            ..taken
        }
    }

    fn conflict(first: DeliveryId) -> Self {
        let detail = "another delivery with this id and another body was here before, and nothing new starts";
        Self::problem(StatusCode::CONFLICT, "the delivery's id is taken", detail).about(first)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "there is no such trigger, or the signature was not made with its secret over this body: compare the \
                      hook's URL and secret with the trigger's";
        Self::problem(
            StatusCode::UNAUTHORIZED,
            "the delivery is not verified",
            detail,
        )
    }

    fn too_large() -> Self {
        let detail = format!("a body may have {BODY_BYTES_MAX} bytes");
        Self::problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large",
            detail,
        )
    }

    fn too_slow() -> Self {
        let detail = format!("a body must arrive within {} s", BODY_TIMEOUT.as_secs());
        Self::problem(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
            detail,
        )
    }

    fn cut_off() -> Self {
        Self::problem(
            StatusCode::BAD_REQUEST,
            "the body ended early",
            "send it again",
        )
    }
}

impl From<InboxError> for Answer {
    /// What failed is for the log.
    fn from(error: InboxError) -> Self {
        let title = "the delivery was not stored";
        match error {
            InboxError::Unavailable(_) => Self {
                retry: true,
                ..Self::problem(
                    StatusCode::SERVICE_UNAVAILABLE,
                    title,
                    "send it again in a while",
                )
            },
            InboxError::Failed(_) => {
                Self::problem(StatusCode::INTERNAL_SERVER_ERROR, title, "the log says why")
            }
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let content_type = match self.body {
            AnswerBody::Told { .. } => "application/json",
            AnswerBody::Problem { .. } => "application/problem+json",
        };
        let json = serde_json::to_vec(&self.body).expect("texts and numbers are always JSON");
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.retry {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }
}

#[cfg(test)]
mod tests;
