//! The endpoint of the URL that is for every sender: it verifies, finds out whose request it is, and hands it on as it came
//! to the function that reads it, whose answer is the answer.
//!
//! That function verifies again by itself and counts what it refuses, so that a request is counted here only when it is
//! refused here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::Vendor;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::{Instrument as _, Span, field};

use crate::answer::{Answer, Refusal};
use crate::endpoint::{
    Arrived, Claim, Look, Named, REDELIVERY, arrived, by_id, by_id_and_secret, proved,
};
use crate::inbox::Inbox;
use crate::json::Outline;
use crate::{BadSignature, Delivery, Raw, Secrets, Taking, sender, shape};

/// How rejections that nobody's function has seen are named.
const NAME: &str = "any";
/// The function that takes what nobody claims.
pub(crate) const UNCLAIMED: &str = "webhook-generic";
/// How the media types of CloudEvents begin, in structured mode and in batches.
const CLOUD_EVENTS: &str = "application/cloudevents";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that concern one connection alone (RFC 9110 §7.6.1), or say where a request came from and how long it is: the
/// last three are written anew.
const NOT_HANDED_ON: [&str; 12] = [
    "connection",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "host",
    "x-forwarded-for",
];

/// A verified request on its way to the function that reads it.
#[derive(Debug)]
pub struct HandedOn {
    /// That function's name.
    pub function: &'static str,
    /// The trigger's id, and the secret behind it where there is one, as they stood in the path.
    pub path: SecretString,
    /// The headers as they came; `X-Forwarded-For` is what our own proxies made of it.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

/// That function could not be reached, or did not answer in time: whether it has the request is not known.
#[derive(Debug, thiserror::Error)]
#[error("{function} did not answer")]
pub struct Unreached {
    /// Its name.
    pub function: &'static str,
    /// What failed; without the path, which may hold a secret.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Reaches the functions of vendors.
pub trait HandOn<S>: Clone + Send + Sync + 'static {
    /// Posts the request to its function, and returns what that answered.
    fn hand_on(
        &self,
        inbox: &S,
        request: HandedOn,
    ) -> impl Future<Output = Result<Response, Unreached>> + Send;
}

/// Takes everybody's requests at `POST /{trigger}` and `POST /{trigger}/{secret}`.
pub fn any<S: Inbox, N: HandOn<S>>(next: N, taking: Taking) -> Router<S> {
    let it = Arc::new((next, taking));
    let by_path = Arc::clone(&it);
    Router::new()
        .route(
            "/{trigger}",
            post(
                move |State(inbox): State<S>,
                      path: Result<Path<String>, PathRejection>,
                      headers: HeaderMap,
                      body: Body| async move {
                    answered(&inbox, &it, by_id(path), headers, body).await
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
                    answered(&inbox, &by_path, by_id_and_secret(path), headers, body).await
                },
            ),
        )
}

async fn answered<S: Inbox, N: HandOn<S>>(
    inbox: &S,
    it: &(N, Taking),
    path: Named,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let span = tracing::info_span!(
        "delivery",
        webhook.vendor = NAME,
        trigger.id = field::Empty,
        webhook.function = field::Empty,
        http.status = field::Empty,
    );
    let answer = handed_on(inbox, it, path, headers, body)
        .instrument(span.clone())
        .await;
    let _entered = span.enter();
    let answer = answer.unwrap_or_else(|refusal| refusal.answer().into_response());
    span.record("http.status", answer.status().as_u16());
    tracing::debug!("answered");
    answer
}

async fn handed_on<S: Inbox, N: HandOn<S>>(
    inbox: &S,
    (next, taking): &(N, Taking),
    path: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let whole = joined(&path);
    let Arrived { id, delivery, .. } = arrived(inbox, path, headers, body).await?;
    let mut claim = Claim::of(delivery.headers(), NAME, taking);
    let (headers, body, from) = (
        delivery.headers().clone(),
        delivery.body_bytes_as_sent(),
        delivery.from(),
    );
    let proved = proved(inbox, id, delivery, Look::Remembered, claimed).await?;
    claim.mask(proved.proof.as_ref());
    let function = match (proved.outcome, &proved.trigger) {
        (Ok(function), Some(_)) => function,
        (outcome, trigger) => {
            // It may be large, and refusing takes its time.
            drop(body);
            let refused = claim.refused(inbox, trigger.as_ref(), outcome.err());
            return Ok(refused.await?.into_response());
        }
    };
    Span::current().record("webhook.function", function);
    let request = HandedOn {
        function,
        path: whole,
        headers: handed(headers, from),
        body,
    };
    match next.hand_on(inbox, request).await {
        Ok(response) => Ok(response),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a verified request could not be handed on"
            );
            Err(Answer::unreached().into())
        }
    }
}

/// The path as its function has it. What is percent-encoded here was decoded before.
fn joined((trigger, secret): &Named) -> SecretString {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    // An id of ours has an underscore, which need not be encoded and reads better as it is.
    let trigger = encoded(trigger).to_string().replace("%5F", "_");
    match secret {
        Some(secret) => format!("{trigger}/{}", encoded(secret.expose_secret())).into(),
        None => trigger.into(),
    }
}

fn handed(mut headers: HeaderMap, from: Option<IpAddr>) -> HeaderMap {
    for name in NOT_HANDED_ON {
        headers.remove(name);
    }
    headers.remove(REDELIVERY);
    if let Some(from) = from.and_then(|from| HeaderValue::from_str(&from.to_string()).ok()) {
        headers.insert(FORWARDED_FOR, from);
    }
    headers
}

/// Verifies, then finds out whose it is.
fn claimed(delivery: Delivery<Raw>, secrets: &Secrets) -> Result<&'static str, BadSignature> {
    let (verified, _) = delivery.verified_by(|raw| raw.check_usual(secrets))?;
    Ok(claimant(verified.headers(), verified.body()))
}

/// The function of who claims a request: by its headers, by its media type, or by what its body is like. Whoever claims it
/// has the last word on it.
fn claimant(headers: &HeaderMap, body: &[u8]) -> &'static str {
    if let Some(sender) = sender(headers) {
        return sender.function;
    }
    let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let begin = media.and_then(|media| media.get(..CLOUD_EVENTS.len()));
    if begin.is_some_and(|begin| begin.eq_ignore_ascii_case(CLOUD_EVENTS.as_bytes())) {
        return "webhook-cloudevents";
    }
    let outline = crate::read_json::<Outline>(body).ok();
    let shape = outline.and_then(|Outline(body)| shape(&body));
    shape.map_or(UNCLAIMED, |shape| shape.function)
}

impl Delivery<Raw> {
    /// Checks what the trigger's scheme asks for; without one, what the sender that the headers name usually does. The headers
    /// choose only among ways to prove the same secret.
    ///
    /// # Errors
    /// When it does not hold.
    fn check_usual(&self, secrets: &Secrets) -> Result<crate::Which, BadSignature> {
        if secrets.scheme().is_some() {
            return self.check_configured(secrets);
        }
        match self.sender().map(|sender| sender.vendor) {
            Some(Vendor::Github) => self.check_github(secrets),
            Some(Vendor::Gitea | Vendor::Forgejo | Vendor::Gogs) => self.check_gitea(secrets),
            Some(Vendor::Gitlab) => self.check_gitlab(secrets),
            Some(Vendor::Bitbucket | Vendor::BitbucketDataCenter) => self.check_bitbucket(secrets),
            Some(
                Vendor::AzureDevops
                | Vendor::DockerHub
                | Vendor::Quay
                | Vendor::Harbor
                | Vendor::Acr
                | Vendor::Ecr
                | Vendor::ArtifactRegistry
                | Vendor::Distribution
                | Vendor::Jfrog
                | Vendor::Nexus
                | Vendor::CloudEvents
                | Vendor::CdEvents
                | Vendor::Generic
                | Vendor::Poll,
            )
            | None => self.check_authorization(secrets),
        }
    }
}

#[cfg(test)]
mod tests;
