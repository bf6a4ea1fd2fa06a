//! The handshake that a sender of CloudEvents may begin with, so that nobody is made to flood somebody else: it asks whether
//! it may send, and gets a yes only at the URL of a trigger.
//! <https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#4-abuse-protection>

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::options;
use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::{Scheme, TriggerId};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::answer::{Answer, Refusal};
use crate::endpoint::{Named, by_id, by_id_and_secret};
use crate::inbox::{Inbox, Rejection};
use crate::{Cause, Delivery, Taking, stored_headers};

const ORIGIN: &str = "webhook-request-origin";
const RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// How many bytes the name of a sender's system may have.
const ORIGIN_BYTES_MAX: usize = 253;

/// Answers `OPTIONS /{trigger}` and `OPTIONS /{trigger}/{secret}`: 200 with permission for who asks, 401 as for a delivery
/// where there is no such trigger or its path has another secret, 400 for what is no such question.
pub fn handshake<S: Inbox>(taking: Taking) -> Router<S> {
    let taking = Arc::new(taking);
    let by_path = Arc::clone(&taking);
    Router::new()
        .route(
            "/{trigger}",
            options(
                move |State(inbox): State<S>,
                      path: Result<Path<String>, PathRejection>,
                      headers: HeaderMap| async move {
                    answered(&inbox, &taking, by_id(path), headers).await
                },
            ),
        )
        .route(
            "/{trigger}/{secret}",
            options(
                move |State(inbox): State<S>,
                      path: Result<Path<(String, SecretString)>, PathRejection>,
                      headers: HeaderMap| async move {
                    answered(&inbox, &by_path, by_id_and_secret(path), headers).await
                },
            ),
        )
}

async fn answered<S: Inbox>(
    inbox: &S,
    taking: &Taking,
    path: Named,
    headers: HeaderMap,
) -> Response {
    asked(inbox, taking, path, headers)
        .await
        .unwrap_or_else(|refusal| refusal.answer().into_response())
}

async fn asked<S: Inbox>(
    inbox: &S,
    taking: &Taking,
    (trigger, secret): Named,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let came = Instant::now();
    let origin = origin(&headers)?;
    let wants_rate = headers.contains_key(RATE);
    let id = trigger
        .parse()
        .unwrap_or(TriggerId::from(uuid::Uuid::nil()));
    let found = inbox.trigger(id).await?;
    let kept = stored_headers(&headers);
    // A secret in the path is the only proof that a question has room for.
    let refused = match &found {
        Some((_, secrets)) if matches!(secrets.scheme(), Some(Scheme::Path {})) => {
            Delivery::new(headers, Bytes::new(), inbox.now())
                .at_path(secret)
                .check_path(secrets.path())
                .err()
                .map(|bad| (bad.to_string(), bad.cause()))
        }
        Some(_) => None,
        None => Some(("there is no such trigger".to_owned(), Cause::NoTrigger)),
    };
    if let Some((reason, cause)) = refused {
        let rejection = Rejection {
            vendor: model::Vendor::CloudEvents.as_str(),
            vendor_event: Some("handshake".to_owned()),
            reason,
            cause,
            headers: kept,
            sampled: taking.rejections_sampled,
        };
        let trigger = found.map(|(trigger, _)| trigger);
        inbox.reject(trigger.as_ref(), rejection).await?;
        return Err(Answer::unauthorized(came).await.into());
    }
    let mut response = StatusCode::OK.into_response();
    let answer = response.headers_mut();
    answer.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    answer.insert(ALLOWED_ORIGIN, origin);
    if wants_rate {
        answer.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    Ok(response)
}

/// Who asks: a name as of the DNS.
fn origin(headers: &HeaderMap) -> Result<HeaderValue, Answer> {
    let mut values = headers.get_all(ORIGIN).iter();
    let is_name = |value: &HeaderValue| {
        let of_a_name = |b: &u8| b.is_ascii_alphanumeric() || b".-_:".contains(b);
        (1..=ORIGIN_BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(of_a_name)
    };
    match (values.next(), values.next()) {
        (Some(value), None) if is_name(value) => Ok(value.clone()),
        _ => Err(Answer::problem(
            StatusCode::BAD_REQUEST,
            "this is no handshake",
            "one WebHook-Request-Origin header with the name of the sender's system is expected",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use chrono::{DateTime, Utc};
    use http::Request;
    use tower::ServiceExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::inbox::{InboxError, Incoming, Recorded};
    use crate::{PathHash, PathSecrets, Secrets};

    const SECRET: &str = "a secret in a path";

    /// Two triggers, one of them with a secret in its path, and why questions were refused.
    #[derive(Clone, Default)]
    struct Two(Arc<Mutex<Vec<(bool, String)>>>);

    fn trigger(n: u128) -> TriggerId {
        TriggerId::from(Uuid::from_u128(n))
    }

    impl Inbox for Two {
        type Trigger = TriggerId;

        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }

        fn sender_address(&self, _: &HeaderMap) -> Option<IpAddr> {
            None
        }

        async fn trigger(&self, id: TriggerId) -> Result<Option<(TriggerId, Secrets)>, InboxError> {
            let by_path = Secrets::none()
                .with_scheme(Some(Scheme::Path {}))
                .with_path(PathSecrets {
                    current: Some(PathHash::of(&SECRET.into())),
                    previous: None,
                });
            Ok(if id == trigger(1) {
                Some((id, Secrets::none()))
            } else if id == trigger(2) {
                Some((id, by_path))
            } else {
                None
            })
        }

        async fn record(&self, _: &TriggerId, _: Incoming) -> Result<Recorded, InboxError> {
            Err(InboxError::Failed("a question is not recorded".into()))
        }

        async fn reject(&self, it: Option<&TriggerId>, why: Rejection) -> Result<(), InboxError> {
            let mut refused = self.0.lock().expect("no test panics while it holds this");
            refused.push((it.is_some(), why.reason));
            Ok(())
        }
    }

    async fn ask(inbox: &Two, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::options(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let router = handshake::<Two>(Taking::default()).with_state(inbox.clone());
        router
            .oneshot(request)
            .await
            .expect("a router always answers")
    }

    const GRID: (&str, &str) = ("webhook-request-origin", "eventgrid.azure.net");

    #[tokio::test]
    async fn who_asks_at_a_trigger_may_send() {
        let inbox = Two::default();
        let path = format!("/{}", trigger(1));
        let response = ask(&inbox, &path, &[GRID, ("webhook-request-rate", "120")]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[ALLOWED_ORIGIN], "eventgrid.azure.net");
        assert_eq!(response.headers()[ALLOWED_RATE], "*");
        assert_eq!(response.headers()[ALLOW], "POST, OPTIONS");
        let response = ask(
            &inbox,
            &format!("/{}/{}", trigger(2), "a%20secret%20in%20a%20path"),
            &[GRID],
        )
        .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key(ALLOWED_RATE));
    }

    #[tokio::test]
    async fn elsewhere_it_may_not() {
        let inbox = Two::default();
        for path in [
            format!("/{}", trigger(3)),
            "/x".to_owned(),
            "/%ff/a".to_owned(),
            format!("/{}", trigger(2)),
            format!("/{}/another", trigger(2)),
        ] {
            let response = ask(&inbox, &path, &[GRID]).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
            assert!(!response.headers().contains_key(ALLOWED_ORIGIN), "{path}");
        }
        let refused = inbox.0.lock().expect("no test panics").clone();
        let known: Vec<_> = refused.iter().map(|it| it.0).collect();
        assert_eq!(known, [false, false, false, true, true]);
        assert!(
            refused.iter().all(|it| !it.1.contains("another")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused() {
        let inbox = Two::default();
        let path = format!("/{}", trigger(1));
        let long = "a".repeat(ORIGIN_BYTES_MAX + 1);
        for headers in [
            &[][..],
            &[GRID, GRID],
            &[("webhook-request-origin", "")],
            &[("webhook-request-origin", "*")],
            &[("webhook-request-origin", "a b")],
            &[("webhook-request-origin", &long)],
        ] {
            let response = ask(&inbox, &path, headers).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{headers:?}");
        }
    }
}
