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
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use host::Traceparent;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::BodyExt;
use model::TriggerId;
use model::scheme::SchemeHeader;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};

use crate::answer::{Answer, Refusal};
use crate::headers::MASK;
use crate::inbox::{Inbox, InboxError, Incoming, Key, Meaning, Recorded, Rejection};
use crate::{
    BadSignature, Cause, Delivery, Labels, ParseError, Parsed, Raw, Secrets, Taking, Vendor,
    Verified, Which, delivery, sender, stored_headers,
};

/// How large a body may be, in bytes: GitHub sends no larger one.
pub const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

/// How long a body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies over this many bytes are hashed and read off the async threads: a large one takes tens of milliseconds.
pub(crate) const INLINE_BYTES_MAX: usize = 256 * 1024;

/// How much memory a body gets before it is there, in bytes. Pages that are not written to cost nothing.
const CAPACITY_MAX: usize = BODY_BYTES_MAX;

/// How many characters of an event's name are stored.
const EVENT_NAME_CHARS_MAX: usize = 100;

/// How long a sender's name for a delivery may be, in bytes; a longer one counts as none.
const DELIVERY_KEY_BYTES_MAX: usize = 200;

/// By what a stored delivery proves itself that is read again: only we can have made it, for it alone.
pub const REDELIVERY: HeaderName = HeaderName::from_static(REDELIVERY_NAME);
const REDELIVERY_NAME: &str = "x-switchyard-redelivery";

/// Takes a vendor's deliveries at `POST /{trigger}` and `POST /{trigger}/{secret}`.
pub fn endpoint<V: Vendor, S: Inbox>(taking: Taking) -> Router<S> {
    let taking = Arc::new(taking);
    let by_path = Arc::clone(&taking);
    Router::new()
        .route(
            "/{trigger}",
            post(
                move |State(inbox): State<S>,
                      path: Result<Path<String>, PathRejection>,
                      headers: HeaderMap,
                      body: Body| async move {
                    answered::<V, S>(&inbox, &taking, by_id(path), headers, body).await
                },
            ),
        )
        .route(
            "/{trigger}/{secret}",
            post(
                move |State(inbox): State<S>,
                      path: Result<Path<(String, SecretString)>, PathRejection>,
                      headers: HeaderMap,
                      body: Body| async move {
                    answered::<V, S>(&inbox, &by_path, by_id_and_secret(path), headers, body).await
                },
            ),
        )
}

/// What a URL's path names: a trigger, and perhaps its secret.
pub(crate) type Named = (String, Option<SecretString>);

/// A path that is not UTF-8 names no trigger, like any other text that is no id.
pub(crate) fn by_id(path: Result<Path<String>, PathRejection>) -> Named {
    (
        path.map_or_else(|_| String::new(), |Path(trigger)| trigger),
        None,
    )
}

pub(crate) fn by_id_and_secret(path: Result<Path<(String, SecretString)>, PathRejection>) -> Named {
    path.map_or_else(
        |_| (String::new(), None),
        |Path((trigger, secret))| (trigger, Some(secret)),
    )
}

async fn answered<V: Vendor, S: Inbox>(
    inbox: &S,
    taking: &Taking,
    path: Named,
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
    let answer = taken::<V, S>(inbox, taking, path, headers, body)
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
    taking: &Taking,
    path: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Refusal> {
    let Arrived {
        id,
        delivery,
        body_sha256,
    } = arrived(inbox, path, headers, body).await?;
    let mut claim = Claim::of(delivery.headers(), V::NAME, taking);
    let again = match delivery.header(REDELIVERY_NAME) {
        Ok(None) => None,
        given => {
            let given = given.ok().flatten();
            let again = given.and_then(|proof| inbox.redelivered(id, proof, body_sha256));
            let Some(again) = again else {
                let trigger = inbox.trigger(id).await?.map(|(trigger, _)| trigger);
                let bad = BadSignature::Mismatch(REDELIVERY_NAME.into());
                return Ok(claim.refused(inbox, trigger.as_ref(), Some(bad)).await?);
            };
            Some(again)
        }
    };
    let judge = match again {
        Some(_) => reread::<V>,
        None => judge::<V>,
    };
    let mut look = Look::Remembered;
    loop {
        let proved = proved(inbox, id, delivery.copy(), look, judge).await?;
        claim.mask(proved.proof.as_ref());
        let (read, trigger) = match (proved.outcome, proved.trigger) {
            (Ok(read), Some(trigger)) => (read, trigger),
            (outcome, trigger) => {
                let bad = outcome.err();
                // It may be large, and refusing takes its time.
                drop(delivery);
                return Ok(claim.refused(inbox, trigger.as_ref(), bad).await?);
            }
        };
        let Read {
            verified,
            which,
            labels,
            parsed,
        } = read;
        let (meaning, answer) = told(parsed);
        let of_body = || {
            let window = taking.window(labels.vendor)?;
            Some(Key::OfBody(body_key(body_sha256), window))
        };
        let named = labels.key.filter(|key| is_key(key)).map(Key::Named);
        let incoming = Incoming {
            vendor: labels.vendor.map_or(V::NAME, |vendor| vendor.as_str()),
            vendor_event: labels.event.as_deref().map(shortened),
            proved_by: which,
            key: match again {
                Some(again) => Some(Key::Named(format!("redelivery {}", again.attempt))),
                None => named.or_else(of_body),
            },
            again: again.map(|again| again.of),
            meaning,
            headers: claim.headers.clone(),
            body: verified.body().clone(),
            body_sha256,
            traceparent: Traceparent::of(verified.headers()),
        };
        return Ok(match inbox.record(&trigger, incoming).await? {
            Recorded::New(id) => {
                Span::current().record("delivery.id", field::display(id));
                answer.about(id)
            }
            Recorded::Duplicate { first } => Answer::duplicate(first),
            Recorded::Conflict { first } => Answer::conflict(first),
            Recorded::Changed if look == Look::Remembered => {
                look = Look::Now;
                continue;
            }
            Recorded::Changed => Answer::changing(),
        });
    }
}

/// A request as it came. Nobody has checked who sent it.
pub(crate) struct Arrived {
    pub(crate) id: TriggerId,
    pub(crate) delivery: Delivery<Raw>,
    pub(crate) body_sha256: [u8; 32],
}

/// Reads the body.
pub(crate) async fn arrived<S: Inbox>(
    inbox: &S,
    (trigger, path_secret): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Arrived, Refusal> {
    inbox.received();
    let (body, body_sha256) = read(&headers, body).await?;
    // A text that is no id is looked up as one that nobody has, so that both take the same way.
    let id = trigger
        .parse()
        .unwrap_or(TriggerId::from(uuid::Uuid::nil()));
    let from = inbox.sender_address(&headers);
    let delivery = Delivery::new(headers, body, inbox.now())
        .coming_from(from)
        .at_path(path_secret);
    Ok(Arrived {
        id,
        delivery,
        body_sha256,
    })
}

/// Whether a trigger may be one that was looked up a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Remembered,
    Now,
}

/// The trigger that a request names, and what the request turned out to be.
pub(crate) struct Proved<Trigger, T> {
    pub(crate) trigger: Option<Trigger>,
    /// The header that the trigger's own scheme puts its proof into.
    pub(crate) proof: Option<SchemeHeader>,
    pub(crate) outcome: Result<T, BadSignature>,
}

/// Holds a request against its trigger. What does not verify against a trigger that is remembered is no more than that until
/// the trigger was looked up; a trigger that nobody has, and one whose secret did not sign, cost one look and one check.
pub(crate) async fn proved<S: Inbox, T: Send + 'static>(
    inbox: &S,
    id: TriggerId,
    delivery: Delivery<Raw>,
    look: Look,
    judge: fn(Delivery<Raw>, &Secrets) -> Result<T, BadSignature>,
) -> Result<Proved<S::Trigger, T>, InboxError> {
    let remembered = match look {
        Look::Remembered => inbox.remembered(id).await?,
        Look::Now => None,
    };
    let none = || (None, Secrets::none());
    let mut before = None;
    // That there was none is remembered too: then the body is hashed at the same point as for one that is there.
    if let Some(found) = remembered {
        let (trigger, secrets) = found.map_or_else(none, |(it, secrets)| (Some(it), secrets));
        let proof = secrets.proof_header();
        match judged(delivery.copy(), secrets, judge).await? {
            Ok(it) if trigger.is_some() => {
                Span::current().record("trigger.id", field::display(id));
                return Ok(Proved {
                    trigger,
                    proof,
                    outcome: Ok(it),
                });
            }
            Ok(_) => {}
            Err(bad) => before = Some((trigger, bad)),
        }
    }
    let found = inbox.trigger(id).await?;
    let (trigger, secrets) = found.map_or_else(none, |(it, secrets)| (Some(it), secrets));
    // Of a trigger that is not there something is noted as well, so that the time does not tell which are. What the path holds
    // is not: it may be no id.
    let noted = trigger
        .as_ref()
        .map_or(TriggerId::from(uuid::Uuid::nil()), |_| id);
    Span::current().record("trigger.id", field::display(noted));
    let proof = secrets.proof_header();
    let outcome = match before {
        Some((before, bad)) if trigger == before => Err(bad),
        Some(_) | None => judged(delivery.copy(), secrets, judge).await?,
    };
    Ok(Proved {
        trigger,
        proof,
        outcome,
    })
}

/// Checks a request, and reads it. A large one is hashed and read off the async threads.
async fn judged<T: Send + 'static>(
    delivery: Delivery<Raw>,
    secrets: Secrets,
    judge: fn(Delivery<Raw>, &Secrets) -> Result<T, BadSignature>,
) -> Result<Result<T, BadSignature>, InboxError> {
    if delivery.body_bytes() <= INLINE_BYTES_MAX {
        return Ok(judge(delivery, &secrets));
    }
    tokio::task::spawn_blocking(move || judge(delivery, &secrets))
        .await
        .map_err(|error| InboxError::Failed(Box::new(error)))
}

/// A verified delivery with what it says.
struct Read {
    verified: Delivery<Verified>,
    which: Option<Which>,
    labels: Labels,
    parsed: Result<Parsed, ParseError>,
}

fn judge<V: Vendor>(delivery: Delivery<Raw>, secrets: &Secrets) -> Result<Read, BadSignature> {
    let (verified, which) = delivery.verify::<V>(secrets)?;
    Ok(said::<V>(verified, Some(which)))
}

/// Reads what was verified when it first came.
fn reread<V: Vendor>(delivery: Delivery<Raw>, _: &Secrets) -> Result<Read, BadSignature> {
    Ok(said::<V>(delivery.known(), None))
}

fn said<V: Vendor>(verified: Delivery<Verified>, which: Option<Which>) -> Read {
    let parsed = verified.parse::<V>();
    Read {
        labels: V::labels(&verified),
        verified,
        which,
        parsed,
    }
}

/// What a request says of itself, kept also when it does not verify.
pub(crate) struct Claim {
    /// When all of it was there.
    came: Instant,
    vendor: &'static str,
    event: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    sampled: u32,
}

impl Claim {
    /// `vendor`: whom the URL is for.
    pub(crate) fn of(headers: &HeaderMap, vendor: &'static str, taking: &Taking) -> Self {
        let event = sender(headers)
            .and_then(|sender| delivery::one(headers, sender.event).ok().flatten())
            .map(shortened);
        Self {
            came: Instant::now(),
            vendor,
            event,
            headers: stored_headers(headers),
            sampled: taking.rejections_sampled,
        }
    }

    /// Forgets what stands in the header that the trigger has for proofs, whatever else that is known for.
    pub(crate) fn mask(&mut self, proof: Option<&SchemeHeader>) {
        if let Some(value) = proof.and_then(|name| self.headers.get_mut(name.as_str())) {
            MASK.clone_into(value);
        }
    }

    /// Counts the request as one that did not verify. The answer does not tell why.
    pub(crate) async fn refused<S: Inbox>(
        self,
        inbox: &S,
        trigger: Option<&S::Trigger>,
        bad: Option<BadSignature>,
    ) -> Result<Answer, InboxError> {
        let (reason, cause) = match (trigger, bad) {
            (Some(_), Some(bad)) => (bad.to_string(), bad.cause()),
            (Some(_) | None, _) => ("there is no such trigger".to_owned(), Cause::NoTrigger),
        };
        let rejection = Rejection {
            vendor: self.vendor,
            vendor_event: self.event,
            reason,
            cause,
            headers: self.headers,
            sampled: self.sampled,
        };
        inbox.reject(trigger, rejection).await?;
        Ok(Answer::unauthorized(self.came).await)
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
        // As large as it says it is, so that it is not moved while it grows; who lies has little of it.
        let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default().min(CAPACITY_MAX));
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

fn body_key(sha256: [u8; 32]) -> String {
    format!("sha256:{}", hex::encode(sha256))
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
