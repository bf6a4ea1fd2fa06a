//! The Brokers' HTTP ingress: `POST /{namespace}/{broker}`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use events::Limits;

use super::stored::{is_structured, passed_on};
use super::{Brokers, Refusal, refused};
use crate::local::hosts::{Addressed, addressed};

const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
/// The handshake of CloudEvents webhooks: everybody may send as much as they like.
const WEBHOOK_ALLOWED: [(HeaderName, HeaderValue); 2] = [
    (
        HeaderName::from_static("webhook-allowed-origin"),
        HeaderValue::from_static("*"),
    ),
    (
        HeaderName::from_static("webhook-allowed-rate"),
        HeaderValue::from_static("*"),
    ),
];

/// Answers as Knative's broker ingress does, for this machine alone.
pub(in crate::local) fn router(brokers: Arc<Brokers>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let brokers = Arc::clone(&brokers);
        async move {
            match addressed(&request) {
                Ok(Addressed::Machine) => answer(&brokers, request).await,
                Ok(Addressed::Site) => StatusCode::MISDIRECTED_REQUEST.into_response(),
                Err(error) => error.into_response(),
            }
        }
    })
}

async fn answer(brokers: &Brokers, request: Request<Body>) -> Response {
    if request.method() == Method::OPTIONS {
        return ([(ALLOW, METHODS)], WEBHOOK_ALLOWED).into_response();
    }
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, METHODS)]).into_response();
    }
    match accept(brokers, request).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => {
            tracing::debug!(
                http.status = refusal.status.as_u16(),
                "an event was not accepted: {refusal}"
            );
            (refusal.status, refusal.text).into_response()
        }
    }
}

async fn accept(brokers: &Brokers, request: Request<Body>) -> Result<(), Refusal> {
    let path = request.uri().path().to_owned();
    if path == "/" {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "events go to /{namespace}/{broker}",
        ));
    }
    let path = path.strip_suffix('/').unwrap_or(&path);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let [namespace, broker] = segments[..] else {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "events go to /{namespace}/{broker}",
        ));
    };
    let headers = request.headers().clone();
    let message = events::receive(request, &Limits::default())
        .await
        .map_err(|error| refused(&error))?;
    // What is no event is 400 before it is asked for whom it is.
    let broker = if namespace == brokers.namespace {
        broker
    } else {
        ""
    };
    brokers
        .accept(
            broker,
            message,
            is_structured(&headers),
            passed_on(&headers),
        )
        .await
}
