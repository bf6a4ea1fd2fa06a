//! What people and other systems reach: functions, portal and sites behind one port, told apart by host name.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::header::{FORWARDED, HeaderName, HeaderValue};
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use host::Peer;

use super::endpoint::Endpoint;
use super::hosts::{Addressed, addressed, authority};

/// The function that answers what no path names.
const PORTAL: &str = "portal";
/// The function that tells how the machine is, and the paths at which it does. On a cluster only who is inside reaches it;
/// here that is everybody who reaches the machine's own loopback.
const MEASURES: &str = "cron-metrics";
const MEASURED: [&str; 2] = ["/metrics", "/diag"];
/// The function that serves sites by host name.
const SITE: &str = "site";

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// What a client may not say of itself: on a cluster the ingress sets these.
const NOT_FROM_OUTSIDE: [HeaderName; 5] = [
    FORWARDED,
    FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// How the header begins in which functions are told where a request came from. What follows is another text after each start,
/// so that nobody outside and nothing else on this machine can say it.
const PEER: &str = "x-switchyard-peer-";

/// A name for that header.
pub(super) fn new_peer_header() -> HeaderName {
    let name = format!("{PEER}{}", uuid::Uuid::new_v4().simple());
    name.parse().expect("letters, digits and dashes are a name")
}

/// The gateway to these Services, by name, which tells them under `peer_header` where requests come from.
pub(super) fn router(endpoints: BTreeMap<String, Endpoint>, peer_header: HeaderName) -> Router {
    let it = std::sync::Arc::new((endpoints, peer_header));
    Router::new().fallback(move |request: Request<Body>| {
        let it = std::sync::Arc::clone(&it);
        async move { route(&it.0, &it.1, request).await }
    })
}

async fn route(
    endpoints: &BTreeMap<String, Endpoint>,
    peer_header: &HeaderName,
    mut request: Request<Body>,
) -> Response {
    let addressed = match addressed(&request) {
        Ok(addressed) => addressed,
        Err(error) => return error.into_response(),
    };
    let host = authority(&request).and_then(|host| HeaderValue::from_str(host).ok());
    for name in &NOT_FROM_OUTSIDE {
        request.headers_mut().remove(name);
    }
    if let Some(host) = host {
        request.headers_mut().insert(FORWARDED_HOST, host);
    }
    request.headers_mut().remove(peer_header);
    let peer = request.extensions().get::<Peer>().copied();
    if let Some(peer) = peer.and_then(|Peer(peer)| HeaderValue::from_str(&peer.to_string()).ok()) {
        request.headers_mut().insert(peer_header, peer);
    }
    match addressed {
        Addressed::Site => match endpoints.get(SITE) {
            Some(site) => site.call(request).await,
            None => missing("no function serves sites here"),
        },
        Addressed::Machine => {
            let first = request.uri().path().split('/').nth(1).unwrap_or_default();
            match endpoints.get(first) {
                // As on a cluster, where it has no address outside.
                Some(endpoint) if endpoint.cluster_local() => missing(&format!(
                    "{} is cluster-local: only other functions reach it",
                    endpoint.name()
                )),
                Some(endpoint) => {
                    *request.uri_mut() = without_prefix(request.uri(), endpoint.name());
                    endpoint.call(request).await
                }
                None if MEASURED.contains(&request.uri().path()) => match endpoints.get(MEASURES) {
                    Some(measures) => measures.call(request).await,
                    None => missing("nobody measures here"),
                },
                None => match endpoints.get(PORTAL) {
                    Some(portal) => portal.call(request).await,
                    None => missing("there is no portal here"),
                },
            }
        }
    }
}

fn missing(why: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("{why}\n")).into_response()
}

/// The path under `/<name>`, with the query.
pub(super) fn without_prefix(uri: &Uri, name: &str) -> Uri {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = whole.get(name.len() + 1..).unwrap_or_default();
    let path = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    // What is left of a valid path from a slash on is one.
    path.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_name_is_taken_off_the_path() {
        for (whole, rest) in [
            ("/webhook-github/abc?x=%2F", "/abc?x=%2F"),
            ("/webhook-github", "/"),
            ("/webhook-github/", "/"),
            ("/webhook-github?a=b", "/?a=b"),
            ("/webhook-github//evil.example/", "//evil.example/"),
        ] {
            let uri = without_prefix(&whole.parse().expect("a path"), "webhook-github");
            assert_eq!(uri.to_string(), rest, "{whole}");
        }
    }
}
