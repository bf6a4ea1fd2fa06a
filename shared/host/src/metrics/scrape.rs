//! How a process is asked for its metrics.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, FORWARDED, HeaderName};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text;

use crate::function::Telling;
use crate::{Ctx, Kind};

/// What a scrape is answered with.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `GET /metrics`, before any route does.
///
/// What people outside reach (portal, api, webhooks, sites) answers it only to who asks the process itself, as a scraper in
/// the cluster does: a request that came through an ingress says so in its headers and goes on to the function, which has
/// no such page, or one of its own.
pub(crate) async fn answer(
    State((ctx, kind, telling)): State<(Ctx, Kind, Option<Telling>)>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request.method() == Method::GET && request.uri().path() == "/metrics";
    if !asked || (kind == Kind::Service && came_through(request.headers())) {
        return next.run(request).await;
    }
    match text_of(&ctx, telling).await {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => {
            tracing::warn!("the metrics could not be told: {error:#}");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the metrics cannot be told; the log says why",
            )
                .into_response()
        }
    }
}

async fn text_of(ctx: &Ctx, telling: Option<Telling>) -> anyhow::Result<String> {
    let mut text = String::new();
    ctx.metrics().encode(&mut text)?;
    if let Some(telling) = telling {
        text.push_str(&telling(ctx.clone()).await?);
    }
    text::encode_eof(&mut text)?;
    Ok(text)
}

/// Whether somebody passed the request on from outside.
fn came_through(headers: &HeaderMap) -> bool {
    [
        FORWARDED,
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-forwarded-host"),
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}
