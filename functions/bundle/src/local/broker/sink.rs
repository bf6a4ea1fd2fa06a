//! Where events are sent, and one request to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{HOST, HeaderValue};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::{Bytes, BytesMut};
use egress::{BodyError, ClusterEgress, read_capped};
use events::EVENT_BYTES_MAX;
use host::Metrics;
use http_body_util::BodyExt as _;
use url::Url;

use super::Brokers;
use crate::local::endpoint::Endpoint;
use crate::local::manifests::Target;

/// What receives events.
#[derive(Clone)]
pub(in crate::local) enum Sink {
    /// A Service of ours, at a path.
    Service(Endpoint, String),
    /// A Broker of ours.
    Broker(String),
    /// Anything that has an address.
    Url(Url),
}

impl Sink {
    /// What its deliveries are counted under: a word of the manifests, never an address.
    fn label(&self) -> &str {
        match self {
            Self::Service(endpoint, _) => endpoint.name(),
            Self::Broker(name) => name,
            Self::Url(_) => "url",
        }
    }
}

/// What targets are resolved with.
pub(in crate::local) struct Sinks {
    pub(in crate::local) brokers: Arc<Brokers>,
    pub(in crate::local) endpoints: BTreeMap<String, Endpoint>,
    pub(in crate::local) http: ClusterEgress,
    pub(in crate::local) metrics: Metrics,
}

/// An answer, with as much of its body as anybody looks at.
#[derive(Debug)]
pub(in crate::local) struct Answer {
    pub(in crate::local) status: StatusCode,
    pub(in crate::local) headers: HeaderMap,
    pub(in crate::local) body: Bytes,
    /// The body goes on.
    pub(in crate::local) cut: bool,
}

impl Sinks {
    /// The sink of a target. The manifests were checked: a Service that is named is there.
    pub(in crate::local) fn resolve(&self, target: &Target) -> Sink {
        let sink = match target {
            Target::Service { name, path } => match self.endpoints.get(name) {
                Some(endpoint) => Sink::Service(endpoint.clone(), path.clone()),
                None => {
                    unreachable!("the manifests name the Service {name:?} and do not declare it")
                }
            },
            Target::Broker { name } => Sink::Broker(name.clone()),
            Target::Url(url) => Sink::Url(url.clone()),
        };
        self.metrics.know_sink(sink.label());
        sink
    }

    /// The address that it has on a cluster.
    pub(in crate::local) fn url(&self, sink: &Sink) -> String {
        match sink {
            Sink::Service(endpoint, path) => format!("http://{}{path}", endpoint.host()),
            Sink::Broker(name) => self.brokers.cluster_url(name),
            Sink::Url(url) => url.to_string(),
        }
    }

    /// Posts an event; the error says why there was no answer within `timeout`.
    pub(in crate::local) async fn post(
        &self,
        sink: &Sink,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, String> {
        let exchange = async {
            match sink {
                Sink::Service(endpoint, path) => call(endpoint, path, headers, body).await,
                // Boxed, because accepting may be part of what a lane of this Broker waits for.
                Sink::Broker(name) => {
                    Ok(Box::pin(accept(&self.brokers, name, headers, body)).await)
                }
                Sink::Url(url) => self.send(url, headers, body, timeout).await,
            }
        };
        let answer = match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
        };
        let status = answer.as_ref().ok().map(|answer| answer.status);
        self.metrics.delivered(sink.label(), status);
        answer
    }

    async fn send(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, String> {
        let response = self
            .http
            .post(url, headers, body, timeout)
            .await
            .map_err(|error| with_causes(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, cut) = match read_capped(response, EVENT_BYTES_MAX).await {
            Ok(body) => (body, false),
            Err(BodyError::TooLarge { .. }) => (Bytes::new(), true),
            Err(BodyError::Broken(error)) => return Err(with_causes(&error)),
        };
        Ok(Answer {
            status,
            headers,
            body,
            cut,
        })
    }
}

async fn call(
    endpoint: &Endpoint,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, String> {
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path
        .parse()
        .map_err(|error| format!("the path {path:?} is none: {error}"))?;
    *request.headers_mut() = headers;
    let host = HeaderValue::from_str(endpoint.host()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    let (parts, mut rest) = endpoint.call(request).await.into_parts();
    let mut body = BytesMut::new();
    let mut cut = false;
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| with_causes(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = EVENT_BYTES_MAX - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.freeze(),
        cut,
    })
}

async fn accept(brokers: &Brokers, name: &str, headers: HeaderMap, body: Bytes) -> Answer {
    let (status, text) = match brokers.accept_http(name, &headers, body).await {
        Ok(()) => (StatusCode::ACCEPTED, String::new()),
        Err(refusal) => (refusal.status, refusal.text),
    };
    Answer {
        status,
        headers: HeaderMap::new(),
        body: text.into(),
        cut: false,
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
