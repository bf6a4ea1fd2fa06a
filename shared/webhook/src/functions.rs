//! Where the functions of vendors are, for who hands requests on to them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use egress::{BodyError, ClusterEgress, read_capped};
use host::{Ctx, Env, SettingsError};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::any::{HandOn, HandedOn, UNCLAIMED, Unreached};
use crate::{SENDERS, SHAPES};

/// How long a function may take for a request that is there as a whole: its transaction is given 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a function's answer may be, in bytes: it is a few lines of JSON.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The URLs of the vendors' functions inside the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Functions(std::sync::Arc<BTreeMap<&'static str, Url>>);

impl Functions {
    /// Reads them from a setting for each: `WEBHOOK_GITHUB_URL` for `webhook-github`.
    ///
    /// # Errors
    /// When one is missing, or is no `http:` URL.
    pub fn of(env: &Env) -> Result<Self, SettingsError> {
        let names = SENDERS.iter().map(|sender| sender.function);
        let names = names.chain(SHAPES.iter().map(|shape| shape.function));
        let urls = names.chain([UNCLAIMED]).map(|function| {
            let setting = format!("{}_URL", function.to_ascii_uppercase().replace('-', "_"));
            let url = Url::parse(env.require(&setting)?)
                .map_err(|error| SettingsError::wrong(&setting, error))?;
            if url.scheme() != "http" || !url.path().ends_with('/') {
                let problem = "an http: URL that ends in a slash is expected, such as http://webhook-github.switchyard.svc.cluster.local/";
                return Err(SettingsError::wrong(&setting, problem));
            }
            Ok((function, url))
        });
        Ok(Self(std::sync::Arc::new(urls.collect::<Result<_, _>>()?)))
    }

    /// Posts a request to a function and returns its answer. `path` is what stands behind the function's URL: a trigger's id,
    /// and perhaps its secret, so that it is in no error.
    ///
    /// # Errors
    /// When the function does not answer in time.
    pub async fn post(
        &self,
        http: &ClusterEgress,
        function: &'static str,
        path: &SecretString,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, Unreached> {
        let unreached = |source| Unreached { function, source };
        let url = self
            .0
            .get(function)
            .map(|url| url.join(path.expose_secret()));
        let Some(Ok(url)) = url else {
            return Err(unreached("its URL is not known".into()));
        };
        let answered = http.post(&url, headers, body, ANSWER_TIMEOUT).await;
        let answer = answered.map_err(|error| unreached(error.without_url().into()))?;
        let status = answer.status();
        // What stands before a function says so when there is nobody behind it.
        if matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
        ) {
            return Err(unreached(format!("it was answered {status}").into()));
        }
        let mut kept = HeaderMap::new();
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            if let Some(value) = answer.headers().get(&name) {
                kept.insert(name, value.clone());
            }
        }
        let body = read_capped(answer, ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| match error {
            BodyError::Broken(error) => unreached(error.without_url().into()),
            error @ BodyError::TooLarge { .. } => unreached(error.into()),
        })?;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = kept;
        Ok(response)
    }
}

impl HandOn<Ctx> for Functions {
    async fn hand_on(&self, ctx: &Ctx, request: HandedOn) -> Result<Response, Unreached> {
        let HandedOn {
            function,
            path,
            headers,
            body,
        } = request;
        self.post(ctx.http(), function, &path, headers, body).await
    }
}
