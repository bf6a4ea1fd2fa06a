//! Git's smart HTTP over the guarded client.
//!
//! gix drives the protocol and asks for two kinds of exchange; each runs on [`TenantEgress`], so the address that is
//! dialled is the address that was checked, no redirect is followed, no credential helper or proxy is asked, and a
//! cancel or the deadline ends a read that would wait for the network.

use std::{
    any::Any,
    io::{self, BufRead, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf, Bytes};
use egress::{Integration, TenantEgress};
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::Method;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::error::FetchError;

/// How many bytes we ever ask with: a few lines per wanted commit.
const ASK_BYTES_MAX: usize = 64 * 1024;

/// How much of a redirect's target an error repeats, in characters.
const LOCATION_CHARS_MAX: usize = 200;

/// The connection that all exchanges of one fetch share. Blocking: its readers live on a thread of their own.
pub(crate) struct Wire {
    pub(crate) egress: TenantEgress,
    pub(crate) runtime: Handle,
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Instant,
    pub(crate) limit: Duration,
    /// How many bytes all answers may have.
    pub(crate) bytes_max: u64,
    pub(crate) progress: Mutex<Progress>,
}

#[derive(Default)]
pub(crate) struct Progress {
    bytes: u64,
    /// The first failure: what gix makes of it on its way up is less clear.
    failure: Option<FetchError>,
}

impl Wire {
    pub(crate) fn take_failure(&self) -> Option<FetchError> {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failure
            .take()
    }

    /// Waits for the network, but not past a cancel or the deadline.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, FetchError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(FetchError::Cancelled),
                () = tokio::time::sleep_until(self.deadline) => Err(FetchError::TimedOut { limit: self.limit }),
                output = future => Ok(output),
            }
        })
    }

    fn send(&self, ask: Ask) -> Result<reqwest::Response, FetchError> {
        let mut request = self
            .egress
            .request(Integration::GitFetch, ask.method, &ask.url)?
            .headers(ask.headers);
        if let Some(body) = ask.body {
            request = request.body(body);
        }
        let response =
            self.wait(request.send())?
                .map_err(|error| match egress::denied(&error) {
                    Some(denied) => FetchError::Denied(denied.clone()),
                    None => FetchError::Unreachable {
                        url: ask.url.to_string(),
                        source: error.without_url(),
                    },
                })?;
        match refusal(&ask.url, &response) {
            Some(error) => Err(error),
            None => Ok(response),
        }
    }

    fn chunk(&self, response: &mut reqwest::Response) -> Result<Option<Bytes>, FetchError> {
        let chunk = self
            .wait(response.chunk())?
            .map_err(|error| FetchError::Unreachable {
                url: response.url().to_string(),
                source: error.without_url(),
            })?;
        let received = chunk.as_ref().map_or(0, Bytes::len) as u64;
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.bytes += received;
        if progress.bytes > self.bytes_max {
            return Err(FetchError::TooLarge {
                what: "the repository's latest commit".to_owned(),
                bytes_max: self.bytes_max,
            });
        }
        Ok(chunk)
    }

    /// Keeps the failure for the caller of gix, and gives gix something to stop on.
    fn keep(&self, failure: FetchError) -> io::Error {
        let told = io::Error::other(failure.to_string());
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failure
            .get_or_insert(failure);
        told
    }
}

/// What a status other than success means for us.
fn refusal(url: &Url, response: &reqwest::Response) -> Option<FetchError> {
    let (url, status) = (url.to_string(), response.status());
    let code = status.as_u16();
    match status {
        status if status.is_success() => None,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Some(FetchError::Credentials { url, status: code })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Some(FetchError::NoRepository { url, status: code })
        }
        status if status.is_redirection() => {
            let to = response.headers().get(header::LOCATION);
            let to = to.and_then(|value| value.to_str().ok()).map(|location| {
                format!(
                    ": {}",
                    location
                        .chars()
                        .take(LOCATION_CHARS_MAX)
                        .collect::<String>()
                )
            });
            Some(FetchError::Moved {
                url,
                status: code,
                to: to.unwrap_or_default(),
            })
        }
        status
            if status.is_server_error()
                || status == StatusCode::TOO_MANY_REQUESTS
                || status == StatusCode::REQUEST_TIMEOUT =>
        {
            Some(FetchError::Provider { url, status: code })
        }
        _ => Some(FetchError::NotGit { url, source: None }),
    }
}

struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// What gix speaks HTTP through.
pub(crate) struct GuardedHttp(pub(crate) Arc<Wire>);

impl GuardedHttp {
    fn ask(
        &self,
        method: Method,
        url: &str,
        lines: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Ask, FetchError> {
        let not_git = || FetchError::NotGit {
            url: url.to_owned(),
            source: None,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.as_ref().split_once(':').ok_or_else(not_git)?;
            let name = HeaderName::try_from(name).map_err(|_| not_git())?;
            let mut value = HeaderValue::try_from(value.trim()).map_err(|_| not_git())?;
            value.set_sensitive(name == header::AUTHORIZATION);
            headers.append(name, value);
        }
        Ok(Ask {
            method,
            url: Url::parse(url).map_err(|_| not_git())?,
            headers,
            body: None,
        })
    }
}

impl Http for GuardedHttp {
    type Headers = HeadReader;
    type ResponseBody = BodyReader;
    type PostBody = AskWriter;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<HeadReader, BodyReader>> {
        let ask = self
            .ask(Method::GET, url, headers)
            .map_err(|error| gix::Error::from_error(self.0.keep(error)))?;
        let exchange = Exchange::new(Arc::clone(&self.0), ask);
        Ok(GetResponse {
            headers: HeadReader::new(&exchange),
            body: BodyReader::new(&exchange),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _kind: PostBodyDataKind,
    ) -> gix::Result<PostResponse<HeadReader, BodyReader, AskWriter>> {
        let mut ask = self
            .ask(Method::POST, url, headers)
            .map_err(|error| gix::Error::from_error(self.0.keep(error)))?;
        ask.body = Some(Vec::new());
        let exchange = Exchange::new(Arc::clone(&self.0), ask);
        Ok(PostResponse {
            post_body: AskWriter(Arc::clone(&exchange)),
            headers: HeadReader::new(&exchange),
            body: BodyReader::new(&exchange),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        // Proxies, extra headers, "do not verify": none of what Git's configuration could say applies here.
        Ok(())
    }
}

/// One request, sent when its answer is first read: until then gix writes its body.
struct Exchange {
    wire: Arc<Wire>,
    ask: Option<Ask>,
    response: Option<reqwest::Response>,
}

type Shared = Arc<Mutex<Exchange>>;

impl Exchange {
    fn new(wire: Arc<Wire>, ask: Ask) -> Shared {
        Arc::new(Mutex::new(Self {
            wire,
            ask: Some(ask),
            response: None,
        }))
    }

    /// Sends the request unless that was done.
    fn answered(&mut self) -> io::Result<Option<&mut reqwest::Response>> {
        if let Some(ask) = self.ask.take() {
            let response = self.wire.send(ask).map_err(|error| self.wire.keep(error))?;
            self.response = Some(response);
        }
        Ok(self.response.as_mut())
    }

    fn head(&mut self) -> io::Result<Bytes> {
        let mut lines = Vec::new();
        if let Some(response) = self.answered()? {
            for (name, value) in response.headers() {
                lines.extend_from_slice(name.as_str().as_bytes());
                lines.push(b':');
                lines.extend_from_slice(value.as_bytes());
                lines.push(b'\n');
            }
        }
        Ok(lines.into())
    }

    fn chunk(&mut self) -> io::Result<Bytes> {
        let wire = Arc::clone(&self.wire);
        let Some(response) = self.answered()? else {
            return Ok(Bytes::new());
        };
        match wire.chunk(response).map_err(|error| wire.keep(error))? {
            Some(chunk) => Ok(chunk),
            None => {
                self.response = None;
                Ok(Bytes::new())
            }
        }
    }
}

fn open(exchange: &Shared) -> std::sync::MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the request's body.
pub(crate) struct AskWriter(Shared);

impl Write for AskWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut exchange = open(&self.0);
        let body = exchange.ask.as_mut().and_then(|ask| ask.body.as_mut());
        let body = body
            .ok_or_else(|| io::Error::other("the request was sent before its body was written"))?;
        if body.len() + bytes.len() > ASK_BYTES_MAX {
            return Err(io::Error::other(
                "the request is larger than a fetch ever needs",
            ));
        }
        body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the answer's head, a line each.
pub(crate) struct HeadReader {
    exchange: Shared,
    lines: Option<Bytes>,
}

impl HeadReader {
    fn new(exchange: &Shared) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            lines: None,
        }
    }
}

impl BufRead for HeadReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.lines.is_none() {
            self.lines = Some(open(&self.exchange).head()?);
        }
        Ok(self.lines.as_deref().unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        if let Some(lines) = &mut self.lines {
            lines.advance(count);
        }
    }
}

/// Gives the answer's body as it arrives.
pub(crate) struct BodyReader {
    exchange: Shared,
    chunk: Bytes,
}

impl BodyReader {
    fn new(exchange: &Shared) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            chunk: Bytes::new(),
        }
    }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk = open(&self.exchange).chunk()?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

/// `Read` in terms of `BufRead`.
macro_rules! read_by_buffer {
    ($($reader:ty),*) => {$(
        impl Read for $reader {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                let count = self.fill_buf()?.read(to)?;
                self.consume(count);
                Ok(count)
            }
        }
    )*};
}
read_by_buffer!(HeadReader, BodyReader);
