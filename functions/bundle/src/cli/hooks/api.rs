//! Speaks with the HTTP API of a Git host.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use egress::{ClusterEgress, read_capped};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::cli::failure::WrongSetting;

/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How large an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many pages of hooks are read.
const PAGES_MAX: u32 = 20;
/// How much of what a host says is repeated, in characters.
const SAID_CHARS_MAX: usize = 300;

/// How a host wants to be spoken to.
pub(super) struct Speech {
    /// Which header carries the token.
    pub(super) token: HeaderName,
    /// What stands before it there.
    pub(super) prefix: &'static str,
    /// Its name for the form of its answers.
    pub(super) accept: &'static str,
    /// The version of its API that is asked for, by which header.
    pub(super) version: Option<(&'static str, &'static str)>,
    /// What a token must be allowed to do, in the host's words.
    pub(super) permission: &'static str,
}

/// A host's API with a token for it.
pub(super) struct Api {
    egress: ClusterEgress,
    base: Url,
    headers: HeaderMap,
    permission: &'static str,
    repository: String,
    secret: SecretString,
}

impl Api {
    /// The API at an address. `secret` is never repeated, whatever the host says.
    pub(super) fn new(
        base: &Url,
        speech: &Speech,
        token: &SecretString,
        repository: &str,
        secret: SecretString,
    ) -> anyhow::Result<Self> {
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut headers = HeaderMap::new();
        let value = format!("{}{}", speech.prefix, token.expose_secret());
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            WrongSetting("the token is not one line of visible ASCII: look at its file".to_owned())
        })?;
        value.set_sensitive(true);
        headers.insert(speech.token.clone(), value);
        headers.insert(ACCEPT, HeaderValue::from_static(speech.accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = speech.version {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(Self {
            egress: ClusterEgress::new()?,
            base,
            headers,
            permission: speech.permission,
            repository: repository.to_owned(),
            secret,
        })
    }

    /// Everything that a list has, page by page until one is empty: hosts cap pages at what they like.
    pub(super) async fn list(&self, path: &str, size: &str) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let path = format!("{path}?{size}&page={page}");
            let Value::Array(list) = self.send(Method::GET, &path, None).await? else {
                bail!(
                    "{} answered with no list of hooks: is this the address of its API?",
                    self.base
                );
            };
            if list.is_empty() {
                return Ok(all);
            }
            all.extend(list);
        }
        bail!(
            "{} has more than {} hooks; remove those that nobody needs",
            self.repository,
            all.len()
        )
    }

    /// Asks for something, or changes it. An empty answer is null.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let url = self
            .base
            .join(path)
            .with_context(|| format!("{path} does not go with {}", self.base))?;
        let body = body.map(|body| Bytes::from(body.to_string()));
        let response = self
            .egress
            .send(
                method,
                &url,
                self.headers.clone(),
                body.unwrap_or_default(),
                TIMEOUT,
            )
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("{} does not answer", self.base))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = read_capped(response, ANSWER_BYTES_MAX)
            .await
            .with_context(|| format!("{} answered {status}", self.base))?;
        if !status.is_success() {
            let said = self.said(&bytes);
            return Err(self.refused(status, &headers, &said));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            anyhow!(
                "{} answered {status} and no JSON: is this the address of its API?",
                self.base
            )
        })
    }

    /// Why the host did not do it, and what to do about it.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, said: &str) -> anyhow::Error {
        let Self {
            base,
            repository,
            permission,
            ..
        } = self;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let spent = text("x-ratelimit-remaining") == Some("0");
        let later = text(RETRY_AFTER.as_str());
        match status {
            StatusCode::UNAUTHORIZED => {
                anyhow!("{base} does not accept the token: it is wrong, expired or revoked{said}")
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN
                if status == StatusCode::TOO_MANY_REQUESTS || spent || later.is_some() =>
            {
                let when = later.map_or_else(|| "later".to_owned(), |secs| format!("in {secs} s"));
                anyhow!("{base} has had too many requests with this token: try again {when}{said}")
            }
            StatusCode::FORBIDDEN => anyhow!(
                "the token may not manage the hooks of {repository}: it needs {permission}{said}"
            ),
            // Hosts answer so as well when it may not be known that the repository is there.
            StatusCode::NOT_FOUND => anyhow!(
                "{base} shows no hooks of {repository}: the name is wrong, or the token does not have {permission}{said}"
            ),
            _ if status.is_redirection() => anyhow!(
                "{base} sends us elsewhere ({status}): the repository was renamed or moved, name it as it is called now; \
                 or --api-url needs https{said}"
            ),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                anyhow!("{base} does not take the hook{said}")
            }
            _ => anyhow!("{base} answered {status}{said}"),
        }
    }

    /// The host's own words, behind a colon: short, visible, and without the secret.
    fn said(&self, body: &[u8]) -> String {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return String::new();
        };
        let mut parts = Vec::new();
        for name in ["message", "error", "error_description"] {
            match value.get(name) {
                Some(Value::String(text)) => parts.push(text.clone()),
                Some(Value::Null) | None => {}
                Some(other) => parts.push(other.to_string()),
            }
        }
        let errors = value.get("errors").and_then(Value::as_array);
        parts.extend(errors.into_iter().flatten().map(|error| {
            let text = error.get("message").unwrap_or(error);
            text.as_str()
                .map_or_else(|| text.to_string(), str::to_owned)
        }));
        if parts.is_empty() {
            return String::new();
        }
        let mut text = parts.join("; ");
        let secret = self.secret.expose_secret();
        if !secret.is_empty() {
            text = text.replace(secret, "***");
        }
        let shown: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(SAID_CHARS_MAX)
            .collect();
        format!(": {shown}")
    }
}
