//! A registry's tags and digests over its HTTP API, which the OCI distribution specification describes.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! Every call, also that for a token, goes through the client for tenants' URLs: https, and no address that the operator does
//! not allow, at the moment of dialling. That is why no registry client of others' is used: they bring their own.

mod sign_in;

use std::time::Duration;

use bytes::Bytes;
use egress::{Integration, TenantEgress, read_capped};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::image::{Digest, Tag};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use store::watch::Login;
use tokio::sync::Mutex;
use url::Url;

use crate::challenge::{self, Challenge};

pub use sign_in::SignedIn;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// How much a list of tags, a token or a manifest may be.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many tags are asked for at once.
const PAGE: usize = 1000;
/// How many pages of tags are read.
const PAGES_MAX: usize = 20;
/// What kinds of manifests we understand: an answer in another form would have another digest.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why a registry was not read, for who watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, and what to do.
    pub problem: String,
    /// When the registry wants to be asked again.
    pub wait: Option<Duration>,
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self {
            problem,
            wait: None,
        }
    }
}

/// The tags of a repository.
#[derive(Debug, PartialEq, Eq)]
pub enum Tags {
    /// These, and what to ask with the next time whether they changed.
    These(Vec<String>, Option<String>),
    /// As the last time.
    Unchanged,
}

/// What a tag names.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// This.
    Digest(String),
    /// There is no such tag any more.
    Gone,
    /// The registry allows no more questions for now.
    NoMore,
}

/// One repository of a registry.
#[derive(Debug)]
pub struct Registry<'a> {
    egress: &'a TenantEgress,
    base: Url,
    repository: &'a str,
    login: Option<&'a Login>,
    /// What the registry wants with each call; found out by the first.
    authorization: Mutex<Option<HeaderValue>>,
}

#[derive(Debug, Deserialize)]
struct TagList {
    /// Distribution says null where there are none.
    tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Token {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl<'a> Registry<'a> {
    /// A repository of the registry at this URL.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(
        egress: &'a TenantEgress,
        url: &str,
        repository: &'a str,
        login: Option<&'a Login>,
    ) -> Result<Self, Failure> {
        let mut base = Url::parse(url).map_err(|error| format!("{url} is no URL: {error}"))?;
        base.set_path("/");
        Ok(Self {
            egress,
            base,
            repository,
            login,
            authorization: Mutex::new(None),
        })
    }

    /// Host and port, as images are named by.
    pub fn host(&self) -> &str {
        self.base.authority()
    }

    /// All tags. `etag` is what the registry gave the last time.
    ///
    /// # Errors
    /// When it does not answer as a registry does.
    pub async fn tags(&self, etag: Option<&str>) -> Result<Tags, Failure> {
        let mut url = self.url(&format!("tags/list?n={PAGE}"))?;
        let mut tags = Vec::new();
        let mut first_etag = None;
        for page in 0..PAGES_MAX {
            let mut headers = HeaderMap::new();
            if let Some(etag) = etag
                .filter(|_| page == 0)
                .and_then(|etag| etag.parse().ok())
            {
                headers.insert(header::IF_NONE_MATCH, etag);
            }
            let answer = self.call(Method::GET, &url, headers).await?;
            if answer.status == StatusCode::NOT_MODIFIED && page == 0 {
                return Ok(Tags::Unchanged);
            }
            if answer.status == StatusCode::NOT_FOUND && page == 0 {
                return Err(format!(
                    "{} has no repository {}, or it needs a credential",
                    self.host(),
                    self.repository
                )
                .into());
            }
            self.expect_success(&answer, "its tags")?;
            let list: TagList = serde_json::from_slice(&answer.body)
                .map_err(|_| format!("{} answers, but not as a registry does", self.host()))?;
            // What is no tag cannot be asked for.
            let good = |tag: &String| tag.parse::<Tag>().is_ok();
            tags.extend(list.tags.unwrap_or_default().into_iter().filter(good));
            if page == 0 {
                first_etag = text(&answer.headers, header::ETAG);
            }
            match self.next(&answer.headers, &url)? {
                Some(next) => {
                    // Of many pages the first says nothing of the others.
                    first_etag = None;
                    url = next;
                }
                None => return Ok(Tags::These(tags, first_etag)),
            }
        }
        Err(format!(
            "{} has more than {} tags: too many to look at",
            self.repository,
            PAGES_MAX * PAGE
        )
        .into())
    }

    /// What a tag, or a digest, names. `known` is what it named the last time.
    ///
    /// # Errors
    /// When it does not answer as a registry does.
    pub async fn digest(&self, tag: &str, known: Option<&str>) -> Result<Named, Failure> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(MANIFESTS));
        if let Some(etag) = known.and_then(|known| format!("\"{known}\"").parse().ok()) {
            headers.insert(header::IF_NONE_MATCH, etag);
        }
        let answer = self.call(Method::HEAD, &url, headers.clone()).await?;
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (answer.status, known) {
            return Ok(Named::Digest(known.to_owned()));
        }
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Named::Gone);
        }
        self.expect_success(&answer, tag)?;
        if used_up(&answer.headers) {
            return Ok(Named::NoMore);
        }
        let told = text(
            &answer.headers,
            "docker-content-digest".parse().expect("a name"),
        );
        if let Some(digest) = told.and_then(|told| told.parse::<Digest>().ok()) {
            return Ok(Named::Digest(digest.to_string()));
        }
        // It need not say the digest; then it is that of what it serves.
        headers.remove(header::IF_NONE_MATCH);
        let answer = self.call(Method::GET, &url, headers).await?;
        self.expect_success(&answer, tag)?;
        Ok(Named::Digest(format!(
            "sha256:{}",
            hex::encode(Sha256::digest(&answer.body))
        )))
    }

    fn url(&self, rest: &str) -> Result<Url, Failure> {
        let path = format!("/v2/{}/{rest}", self.repository);
        let url = self
            .base
            .join(&path)
            .map_err(|error| Failure::from(error.to_string()))?;
        // A repository's name leads nowhere else.
        Ok(url)
    }

    /// The page after this one. It must be the registry's own: what is asked with the call is for nobody else.
    fn next(&self, headers: &HeaderMap, here: &Url) -> Result<Option<Url>, Failure> {
        let Some(link) = text(headers, header::LINK) else {
            return Ok(None);
        };
        let Some((target, parameters)) = link
            .trim()
            .strip_prefix('<')
            .and_then(|link| link.split_once('>'))
        else {
            return Ok(None);
        };
        if !parameters.replace('"', "").contains("rel=next") {
            return Ok(None);
        }
        let next = here
            .join(target)
            .ok()
            .filter(|next| next.origin() == here.origin());
        let next = next.ok_or_else(|| {
            Failure::from(format!(
                "{} leads elsewhere for more tags: {target}",
                self.host()
            ))
        })?;
        Ok(Some(next))
    }

    fn expect_success(&self, answer: &Answer, what: &str) -> Result<(), Failure> {
        let status = answer.status;
        if status.is_success() {
            return Ok(());
        }
        let wait = egress::retry_after(&answer.headers, None);
        let host = self.host();
        let code = status.as_u16();
        let problem = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!(
                "{host} answered {code} when asked for {what}: give the watch a credential that may pull {}",
                self.repository
            ),
            StatusCode::TOO_MANY_REQUESTS => {
                format!("{host} allows no more questions for now ({code})")
            }
            status if status.is_redirection() => {
                format!("{host} answered {code}: it has moved, and redirects are not followed")
            }
            _ => format!("{host} answered {code} when asked for {what}"),
        };
        Err(Failure { problem, wait })
    }

    /// One call, and once more with what the registry wants to be shown.
    async fn call(&self, method: Method, url: &Url, headers: HeaderMap) -> Result<Answer, Failure> {
        let authorization = self.authorization.lock().await.clone();
        let had_one = authorization.is_some();
        let answer = self
            .send(method.clone(), url, headers.clone(), authorization)
            .await?;
        if answer.status != StatusCode::UNAUTHORIZED || had_one {
            return Ok(answer);
        }
        let Some(authorization) = self.answer_challenge(&answer.headers).await? else {
            return Ok(answer);
        };
        *self.authorization.lock().await = Some(authorization.clone());
        self.send(method, url, headers, Some(authorization)).await
    }

    async fn answer_challenge(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
        let scope = format!("repository:{}:pull", self.repository);
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| value.to_str().ok())
            .find_map(|value| challenge::read(value, &scope));
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.basic()),
            Some(Challenge::Bearer { token_url }) => {
                let answer = self
                    .send(Method::GET, &token_url, HeaderMap::new(), self.basic())
                    .await?;
                if !answer.status.is_success() {
                    return Err(format!(
                        "{} answered {} when asked for a token: is the credential right?",
                        token_url.authority(),
                        answer.status.as_u16()
                    )
                    .into());
                }
                let token: Token = serde_json::from_slice(&answer.body).map_err(|_| {
                    format!("{} gave something that is no token", token_url.authority())
                })?;
                let token = token.token.or(token.access_token).unwrap_or_default();
                Ok(sensitive(&format!("Bearer {}", token.expose_secret())))
            }
        }
    }

    fn basic(&self) -> Option<HeaderValue> {
        use base64::Engine as _;
        let login = self.login.filter(|login| login.host == self.host())?;
        let pair = format!("{}:{}", login.username, login.secret.expose_secret());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        sensitive(&format!("Basic {pair}"))
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, Failure> {
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let has_body = method != Method::HEAD;
        let request = self
            .egress
            .request(Integration::Registry, method, url)
            .map_err(|denied| denied.to_string())?;
        let response = request
            .headers(headers)
            .timeout(CALL_MAX)
            .send()
            .await
            .map_err(|error| {
                egress::denied(&error).map_or_else(
                    || {
                        format!(
                            "nobody answers at {}: {}",
                            url.authority(),
                            egress::cause(&error)
                        )
                    },
                    ToString::to_string,
                )
            })?;
        let (status, headers) = (response.status(), response.headers().clone());
        // What answers to HEAD announces a length that does not come.
        let body = if has_body {
            let read = read_capped(response, ANSWER_BYTES_MAX).await;
            read.map_err(|error| format!("{}: {error}", url.authority()))?
        } else {
            Bytes::new()
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Whether Docker Hub's count says that this was the last question: `ratelimit-remaining: 0;w=21600`.
fn used_up(headers: &HeaderMap) -> bool {
    let left = headers.get("ratelimit-remaining");
    let left = left.and_then(|value| value.to_str().ok()?.split(';').next()?.trim().parse().ok());
    left == Some(0_u64)
}
