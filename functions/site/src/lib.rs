//! Serves static workloads to the public: a host name leads to the revision that is live now, and its files are answered.
//!
//! Which revision is live is asked for each request, one look into an index: a deploy or a rollback is seen at once. A
//! host without a site is answered 404; while the database is away 503; what should be there and is not, 500.

mod cache;
mod host_name;
mod negotiate;
mod page;
mod resolve;
mod said;
mod serve;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use blobs::BlobPath;
use host::{Ctx, Function, Kind, SettingsError};
use http::request::Parts;
use http::{Method, StatusCode};
use model::DatabaseRole;
use serde::Deserialize;

pub use serve::{ServeError, Sites};

use crate::host_name::Domain;
use crate::said::Said;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: |env| {
        let settings: Settings = env.parse()?;
        let blobs = env
            .open_blobs(&settings.blobs_url)
            .map_err(|error| SettingsError::wrong("BLOBS_URL", error))?;
        let sites = Sites::new(blobs);
        let said = Said::new();
        let write = {
            let said = said.clone();
            host::background(move |ctx| said.clone().write(ctx))
        };
        let domain = settings
            .site_domain
            .map(Domain::try_from)
            .transpose()
            .map_err(|error| SettingsError::wrong("SITE_DOMAIN", error))?;
        let answer = move |State(ctx): State<Ctx>, request: Request| {
            let (sites, domain, said) = (sites.clone(), domain.clone(), said.clone());
            async move {
                // A body is no part of what is asked here.
                let (request, _) = request.into_parts();
                answer(&ctx, &sites, domain.as_ref(), &said, &request).await
            }
        };
        Ok(write.and(Router::new().fallback(answer)))
    },
};

#[derive(Debug, Deserialize)]
struct Settings {
    /// A folder or URL for files.
    blobs_url: String,
    /// The domain below which sites are served, besides `localhost`: `sites.example.com` for `docs.sites.example.com`.
    site_domain: Option<String>,
}

/// How long a client should wait while the database is away, in seconds.
const RETRY_AFTER_SECS: &str = "2";

async fn answer(
    ctx: &Ctx,
    sites: &Sites,
    domain: Option<&Domain>,
    said: &Said,
    request: &Parts,
) -> Response {
    let head_only = request.method == Method::HEAD;
    let Some(host) = host_name::site(request, domain) else {
        return page::UNKNOWN_HOST.response(StatusCode::NOT_FOUND, head_only);
    };
    let live = match ctx.store().live_site(&host).await {
        Ok(Some(live)) => live,
        Ok(None) => return page::UNKNOWN_HOST.response(StatusCode::NOT_FOUND, head_only),
        Err(error) if database::is_passing(&error) => {
            tracing::warn!(
                site.host = %host,
                error = &error as &dyn std::error::Error,
                "the database does not answer"
            );
            let away = page::AWAY.response(StatusCode::SERVICE_UNAVAILABLE, head_only);
            return ([("retry-after", RETRY_AFTER_SECS)], away).into_response();
        }
        Err(error) => return broken(&host, &error, head_only),
    };
    let of = (live.tenant, live.workload);
    let served = match BlobPath::new(live.prefix) {
        Ok(prefix) => sites.serve(&prefix, request).await,
        Err(error) => Err(error.into()),
    };
    let served = served.unwrap_or_else(|error| broken(&host, &error, head_only));
    said.answered(of, request, served.status());
    served
}

fn broken(
    host: &model::Host,
    error: &(dyn std::error::Error + 'static),
    head_only: bool,
) -> Response {
    tracing::error!(site.host = %host, error, "a site cannot be served");
    page::BROKEN.response(StatusCode::INTERNAL_SERVER_ERROR, head_only)
}

#[cfg(test)]
mod tests;
