//! Where processes of this machine reach the functions that have no address outside a cluster: those that a manifest names
//! by their URL in it, as `http://callback.<namespace>.svc.cluster.local/callback`.
//!
//! A function that somebody develops here runs beside us, and what it is told to call must be an address that it can call.
//! It is another one after each start, and not the gateway's, which people may have made public.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use url::Url;

use super::endpoint::Endpoint;
use super::gateway::without_prefix;
use super::hosts::{Addressed, addressed};
use super::manifests::{EnvValue, Manifests};

/// The Services that settings of the manifests name by their URL in the cluster.
pub(super) fn named(manifests: &Manifests) -> BTreeSet<String> {
    let containers = manifests
        .services
        .iter()
        .map(|service| &service.container)
        .chain(
            manifests
                .container_sources
                .iter()
                .map(|source| &source.container),
        );
    containers
        .flat_map(|container| &container.env)
        .filter_map(|variable| match &variable.value {
            EnvValue::Literal(text) => service(text, manifests).map(|(name, _)| name),
            EnvValue::Secret(_) | EnvValue::ConfigMap(_) => None,
        })
        .collect()
}

/// A setting as it is on this machine: a Service's URL in the cluster becomes its address here.
pub(super) fn here(text: &str, manifests: &Manifests, inner: SocketAddr) -> Option<String> {
    let (name, url) = service(text, manifests)?;
    let query = url
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    Some(format!("http://{inner}/{name}{}{query}", url.path()))
}

/// The Service of the manifests that a text is the URL of.
fn service(text: &str, manifests: &Manifests) -> Option<(String, Url)> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http")?;
    let host = url.host_str()?;
    let name = host
        .strip_suffix(".svc.cluster.local")?
        .strip_suffix(&manifests.namespace)?
        .strip_suffix('.')?
        .to_owned();
    let is_there = manifests.services.iter().any(|it| it.name == name);
    is_there.then_some((name, url))
}

/// Serves these Services, each under its name.
pub(super) fn router(endpoints: BTreeMap<String, Endpoint>) -> Router {
    let endpoints = Arc::new(endpoints);
    Router::new().fallback(move |request: Request<Body>| {
        let endpoints = Arc::clone(&endpoints);
        async move { route(&endpoints, request).await }
    })
}

async fn route(endpoints: &BTreeMap<String, Endpoint>, mut request: Request<Body>) -> Response {
    match addressed(&request) {
        Ok(Addressed::Machine) => {}
        Ok(Addressed::Site) => return StatusCode::MISDIRECTED_REQUEST.into_response(),
        Err(error) => return error.into_response(),
    }
    let first = request.uri().path().split('/').nth(1).unwrap_or_default();
    match endpoints.get(first) {
        Some(endpoint) => {
            *request.uri_mut() = without_prefix(request.uri(), endpoint.name());
            endpoint.call(request).await
        }
        None => (StatusCode::NOT_FOUND, "no such function is here\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_url_in_the_cluster_becomes_its_address_here() -> anyhow::Result<()> {
        let manifests = Manifests::embedded()?;
        let inner: SocketAddr = "127.0.0.1:4321".parse()?;
        let of = |text: &str| here(text, &manifests, inner);
        assert_eq!(
            of("http://callback.switchyard.svc.cluster.local/callback?a=b").as_deref(),
            Some("http://127.0.0.1:4321/callback/callback?a=b")
        );
        for other in [
            "http://nobody.switchyard.svc.cluster.local/",
            "http://callback.elsewhere.svc.cluster.local/",
            "http://callback.switchyard.svc.cluster.local.example/",
            "https://example.test/",
            "callback",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let vendors = manifests.services.iter().map(|service| &service.name);
        let vendors = vendors.filter(|name| name.starts_with("webhook-") && *name != "webhook-any");
        let others = ["callback", "cron-workspaces", "terraform-state"].map(str::to_owned);
        let inside: BTreeSet<String> = vendors.cloned().chain(others).collect();
        assert_eq!(named(&manifests), inside);
        Ok(())
    }
}
