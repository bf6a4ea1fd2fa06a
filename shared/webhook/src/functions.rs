//! Where the functions of vendors are, for who hands requests on to them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use egress::{BodyError, ClusterEgress, read_capped};
use host::{Ctx, Env, SettingsError};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::{DeliveryId, TriggerId};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use store::{Keyring, RedeliveryToken};
use url::Url;
use uuid::Uuid;

use crate::any::{HandOn, HandedOn, UNCLAIMED, Unreached};
use crate::headers::MASK;
use crate::{REDELIVERY, SENDERS, SHAPES};

/// How long a function may take for a request that is there as a whole: its transaction is given 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a function's answer may be, in bytes: it is a few lines of JSON.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long our proof of a stored delivery is good.
const PROOF_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

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

    /// Hands a stored delivery in again: to the function that took it, as it was sent, with a proof of ours in place of the
    /// sender's. Its new row names the first one. The same attempt twice is one.
    ///
    /// # Errors
    /// When that function is not known or does not answer; then it may have taken it all the same.
    pub async fn redeliver(
        &self,
        http: &ClusterEgress,
        keyring: &Keyring,
        now: DateTime<Utc>,
        stored: StoredDelivery<'_>,
    ) -> Result<Redelivered, NotRedelivered> {
        let known = self.0.keys().find(|known| **known == stored.function);
        let Some(function) = known.copied() else {
            return Err(NotRedelivered::NoFunction(stored.function.to_owned()));
        };
        let token = RedeliveryToken {
            trigger: stored.trigger,
            delivery: stored.delivery,
            attempt: stored.attempt,
            body_sha256: Sha256::digest(&stored.body).into(),
            until: now + PROOF_TIMEOUT,
        };
        let mut headers = as_sent(stored.headers);
        let token = HeaderValue::try_from(token.sign(keyring)).expect("base64 is visible ASCII");
        headers.insert(REDELIVERY, token);
        let path = stored.trigger.to_string().into();
        let answer = self
            .post(http, function, &path, headers, stored.body)
            .await?;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
        let told = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        Ok(Redelivered {
            status,
            told: told.unwrap_or_default(),
        })
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

/// A delivery as it is stored.
#[derive(Debug)]
pub struct StoredDelivery<'a> {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The trigger it came through.
    pub trigger: TriggerId,
    /// The function that took it.
    pub function: &'a str,
    /// Its headers, as they are stored.
    pub headers: &'a Value,
    /// Its body, as it came.
    pub body: Bytes,
    /// Tells this attempt from others.
    pub attempt: Uuid,
}

/// What became of a stored delivery that was handed in again.
#[derive(Debug)]
pub struct Redelivered {
    /// What a sender would have been answered.
    pub status: StatusCode,
    /// The same as JSON: the new delivery's id, its verdict, how many events came of it.
    pub told: Value,
}

/// Why a stored delivery was not handed in again.
#[derive(Debug, thiserror::Error)]
pub enum NotRedelivered {
    /// Nobody knows where that function is.
    #[error("there is no function {0:?} that could read it again")]
    NoFunction(String),
    /// That function does not answer.
    #[error(transparent)]
    Unreached(#[from] Unreached),
}

/// Headers as they were sent, but for what proved something and was masked, and for the length, which the body has itself.
fn as_sent(stored: &Value) -> HeaderMap {
    let stored = stored.as_object().into_iter().flatten();
    let headers = stored.filter_map(|(name, value)| {
        let value = value.as_str().filter(|value| *value != MASK)?;
        let name: HeaderName = name.parse().ok().filter(|name| *name != CONTENT_LENGTH)?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    headers.collect()
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
