//! What a runner says and asks, and to whom: the callback endpoint, with its token, again and again until it is answered.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use egress::{ClusterEgress, read_capped};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use url::Url;

/// The header in which a runner says who it is.
const TOKEN: HeaderName = HeaderName::from_static("x-worker-id");
/// How long one exchange may take, unless it carries a file.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);
/// How long one may take that carries a file, or after which a file is put together.
pub(crate) const FILE_EXCHANGE_MAX: Duration = Duration::from_secs(15 * 60);
/// The first wait before something is said again, and the longest.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest wait that the other side may ask for.
const ASKED_WAIT_MAX: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes: a spec.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// For how long a token that is not known counts as not known yet: keys of an installation change one after the other.
const UNKNOWN_TOKEN_MAX: Duration = Duration::from_secs(60);
/// What stays as it is in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An answer that saying it again will not change.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The run is over, or somebody else's, or never was: whoever hears this stops.
    pub(crate) fn is_over(&self) -> bool {
        matches!(
            self.status,
            StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED
        )
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            anyhow::anyhow!("the callback endpoint answered what is not understood: {error}")
        })
    }

    /// What it says, for people.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let said = serde_json::from_slice::<Value>(&self.body);
        let said = said.as_ref().ok().and_then(|said| said["error"].as_str());
        format!(
            "{} {}",
            self.status.as_u16(),
            said.unwrap_or_else(|| text.trim())
        )
    }
}

/// Why there was no answer.
#[derive(Debug)]
struct Away {
    why: String,
    /// When to come again, where the other side said so.
    after: Option<Duration>,
    unknown_token: bool,
}

/// The callback endpoint, as the runner of one run sees it.
#[derive(Debug)]
pub(crate) struct Callback {
    http: ClusterEgress,
    token: SecretString,
    url: Mutex<Url>,
    /// Where the endpoint's present address stands, on a machine where it is another after each start.
    url_file: Option<PathBuf>,
    /// Why the last thing that was said had to be said again.
    last_away: Mutex<Option<String>>,
}

impl Callback {
    pub(crate) fn new(
        url: Url,
        url_file: Option<PathBuf>,
        token: SecretString,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            http: ClusterEgress::new()?,
            token,
            url: Mutex::new(url),
            url_file,
            last_away: Mutex::default(),
        })
    }

    /// Asks until there is an answer.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, None, EXCHANGE_MAX).await
    }

    /// Says something as JSON until there is an answer.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        time: Duration,
    ) -> anyhow::Result<Answer> {
        let body = serde_json::to_vec(body)?;
        self.ask(
            Method::POST,
            path,
            Some((Bytes::from(body), "application/json")),
            time,
        )
        .await
    }

    /// Sends bytes until there is an answer.
    pub(crate) async fn put(&self, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        let body = Some((body, "application/octet-stream"));
        self.ask(Method::PUT, path, body, FILE_EXCHANGE_MAX).await
    }

    /// Why the last thing that was said had to be said again; asked once.
    pub(crate) fn last_away(&self) -> Option<String> {
        self.last_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(Bytes, &'static str)>,
        time: Duration,
    ) -> anyhow::Result<Answer> {
        let mut wait = WAIT_MIN;
        let mut unknown_since: Option<Instant> = None;
        loop {
            let away = match self.once(&method, path, body.clone(), time).await? {
                Ok(answer) => return Ok(answer),
                Err(away) => away,
            };
            if away.unknown_token {
                let since = *unknown_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= UNKNOWN_TOKEN_MAX {
                    return Ok(Answer {
                        status: StatusCode::UNAUTHORIZED,
                        body: Bytes::from(away.why),
                    });
                }
            }
            tracing::warn!("{method} {path}: {}; said again", away.why);
            *self
                .last_away
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(away.why);
            self.look_for_address();
            // Those that were away together do not come back together.
            let spread = rand::rng().random_range(0.5..1.0);
            let asked = away.after.unwrap_or_default().min(ASKED_WAIT_MAX);
            tokio::time::sleep(wait.mul_f64(spread).max(asked)).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        body: Option<(Bytes, &'static str)>,
        time: Duration,
    ) -> anyhow::Result<Result<Answer, Away>> {
        let mut headers = self.headers()?;
        let body = body.map_or_else(Bytes::new, |(body, kind)| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            body
        });
        let url = self.url(path)?;
        let response = match self
            .http
            .send(method.clone(), &url, headers, body, time)
            .await
        {
            Ok(response) => response,
            Err(error) => return Ok(Err(away(&error))),
        };
        let (status, after) = (
            response.status(),
            egress::retry_after(response.headers(), None),
        );
        let body = match read_capped(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(egress::BodyError::Broken(error)) => return Ok(Err(away(&error))),
            Err(error @ egress::BodyError::TooLarge { .. }) => return Err(error.into()),
        };
        let answer = Answer { status, body };
        if is_passing(status) {
            return Ok(Err(Away {
                why: answer.text(),
                after,
                unknown_token: status == StatusCode::UNAUTHORIZED,
            }));
        }
        Ok(Ok(answer))
    }

    /// Fetches a file, from its beginning again when it broke off, and returns the SHA-256 of what was written.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        to: &Path,
    ) -> anyhow::Result<Result<String, Answer>> {
        let mut wait = WAIT_MIN;
        loop {
            let away = match self.fetch_once(path, to).await? {
                Ok(fetched) => return Ok(fetched),
                Err(away) => away,
            };
            tracing::warn!("GET {path}: {}; asked again", away.why);
            self.look_for_address();
            let asked = away.after.unwrap_or_default().min(ASKED_WAIT_MAX);
            tokio::time::sleep(wait.max(asked)).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    async fn fetch_once(
        &self,
        path: &str,
        to: &Path,
    ) -> anyhow::Result<Result<Result<String, Answer>, Away>> {
        let url = self.url(path)?;
        let sent = self.http.send(
            Method::GET,
            &url,
            self.headers()?,
            Bytes::new(),
            FILE_EXCHANGE_MAX,
        );
        let mut response = match sent.await {
            Ok(response) => response,
            Err(error) => return Ok(Err(away(&error))),
        };
        let (status, after) = (
            response.status(),
            egress::retry_after(response.headers(), None),
        );
        if status != StatusCode::OK {
            let body = read_capped(response, ANSWER_BYTES_MAX)
                .await
                .unwrap_or_default();
            let answer = Answer { status, body };
            return Ok(
                if is_passing(status) && status != StatusCode::UNAUTHORIZED {
                    Err(Away {
                        why: answer.text(),
                        after,
                        unknown_token: false,
                    })
                } else {
                    Ok(Err(answer))
                },
            );
        }
        let mut file = tokio::fs::File::create(to).await?;
        let mut hash = Sha256::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    hash.update(&chunk);
                    file.write_all(&chunk).await?;
                }
                Ok(None) => break,
                Err(error) => return Ok(Err(away(&error))),
            }
        }
        file.flush().await?;
        Ok(Ok(Ok(hex::encode(hash.finalize()))))
    }

    /// Puts a file to a place that may be written without our token, as its URL says. Tried again as everything else.
    pub(crate) async fn put_file(
        &self,
        url: &Url,
        file: &Path,
        bytes: u64,
    ) -> anyhow::Result<Answer> {
        let mut wait = WAIT_MIN;
        let end = Instant::now() + FILE_EXCHANGE_MAX;
        loop {
            let body = ReaderStream::new(tokio::fs::File::open(file).await?);
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            let sent = self.http.send_stream(
                Method::PUT,
                url,
                headers,
                reqwest::Body::wrap_stream(body),
                FILE_EXCHANGE_MAX,
            );
            let why = match sent.await {
                Ok(response) => {
                    let status = response.status();
                    let body = read_capped(response, ANSWER_BYTES_MAX)
                        .await
                        .unwrap_or_default();
                    let answer = Answer { status, body };
                    // A signature that is not known will not be known later.
                    if !is_passing(status) || status == StatusCode::UNAUTHORIZED {
                        return Ok(answer);
                    }
                    if Instant::now() >= end {
                        return Ok(answer);
                    }
                    answer.text()
                }
                Err(error) if Instant::now() >= end => return Err(error.without_url().into()),
                Err(error) => away(&error).why,
            };
            tracing::warn!("a file could not be put where it is kept: {why}; tried again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut token = HeaderValue::from_str(self.token.expose_secret())?;
        token.set_sensitive(true);
        Ok(HeaderMap::from_iter([(TOKEN, token)]))
    }

    /// Everything of runs is beside `…/callback`.
    fn url(&self, path: &str) -> anyhow::Result<Url> {
        let url = self.url.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(url.join(path)?)
    }

    fn look_for_address(&self) {
        let Some(file) = &self.url_file else {
            return;
        };
        let found = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().parse::<Url>().ok());
        if let Some(found) = found {
            let mut url = self.url.lock().unwrap_or_else(PoisonError::into_inner);
            if *url != found {
                tracing::info!("the callback endpoint is at {found} now");
                *url = found;
            }
        }
    }
}

/// One segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn away(error: &reqwest::Error) -> Away {
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        why = error.to_string();
        cause = error.source();
    }
    if why.is_empty() {
        why = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            "no answer".to_owned()
        };
    }
    Away {
        why,
        after: None,
        unknown_token: false,
    }
}

/// Whether the same may be answered otherwise later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_EARLY
                | StatusCode::UNAUTHORIZED
        )
}
