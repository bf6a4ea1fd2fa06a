//! The HTTP server of a function: our own accept loop, because `axum::serve` waits for ever for a header that does not come
//! and for a stream that does not end.

use std::any::Any;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONNECTION, HOST, RETRY_AFTER};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Ctx;
use crate::bodies::{Budget, Cut, Fate, Watched};

/// From the request to stop until the process has left, at most; Knative kills after 30 s.
pub const GRACE: Duration = Duration::from_secs(20);

/// How large a request's header may be, in bytes; a larger one is 431. Also what is read at a time of a body.
const HEADER_BYTES_MAX: usize = 64 * 1024;
const HTTP2_HEADER_BYTES_MAX: u32 = 32 * 1024;
/// How many fields a header may have; more are 431.
const HEADERS_MAX: usize = 128;

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at a time. More wait to be accepted.
    pub connections_max: usize,
    /// From accept to the first byte, and for the whole of a request's header.
    pub header_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_idle_timeout: Duration,
    /// For the whole of a short body; a long one has a second more for every 32 KiB.
    pub body_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// Requests at a time that are not answered. More are told to come again.
    pub requests_max: usize,
    /// Bytes of requests' bodies at a time. Who would bring more is told to come again.
    pub bodies_bytes_max: usize,
    /// From the request to stop until requests that have not ended are cut.
    pub grace: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(8),
            body_timeout: Duration::from_secs(8),
            idle_timeout: Duration::from_secs(8),
            requests_max: 4096,
            // Five of the largest that anybody takes. One is held three times while it is sealed and written.
            bodies_bytes_max: 128 * 1024 * 1024,
            grace: GRACE,
        }
    }
}

/// How many connections may wait to be accepted: a burst that finds no room is told nothing and tries again a second later.
const BACKLOG: u32 = 4096;

/// Listens for [`serve`].
///
/// # Errors
/// When the address is taken, or is not this machine's.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a process that has just ended do not keep its port from the next one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` fires and then until all requests have ended; after the grace what is left is cut.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .max_concurrent_streams(256)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX);
    let builder = Arc::new(builder);
    let admission = Admission {
        limits,
        requests: Arc::new(Semaphore::new(limits.requests_max)),
        bodies: Budget::new(limits.bodies_bytes_max),
    };
    let cut = CancellationToken::new();
    // However this ends, nothing of it goes on.
    let _cut_at_the_end = cut.clone().drop_guard();
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, Peer(peer.ip().to_canonical())),
            Err(error) => {
                // Out of descriptors, or the peer has gone: neither is helped by trying at once.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection was not accepted"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (router, cut) = (router.clone(), cut.clone());
        let builder = Arc::clone(&builder);
        let admission = admission.clone();
        let watcher = graceful.watcher();
        #[expect(
            clippy::disallowed_methods,
            reason = "a connection; the server waits for it when it stops"
        )]
        tokio::spawn(async move {
            let _permit = permit;
            if !speaks(&stream, limits.header_timeout).await {
                return;
            }
            // Answers are small and wanted at once.
            stream.set_nodelay(true).ok();
            let busy = Arc::new(Busy::default());
            let uses = Arc::clone(&busy);
            let answer = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                let (router, admission) = (router.clone(), admission.clone());
                let using = uses.begin();
                request.extensions_mut().insert(peer);
                async move {
                    let response = admission.respond(router, request).await;
                    Ok::<_, Infallible>(response.map(|body| using.until_sent(body)))
                }
            });
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
            tokio::select! {
                ended = watcher.watch(connection.into_owned()) => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection ended badly: {error}");
                    }
                }
                () = busy.idle(limits.idle_timeout) => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "requests that did not end within {} s are cut",
            limits.grace.as_secs()
        );
    }
}

/// Where a connection comes from: the last hop before us. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// When somebody who is told to come again may do so.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("2");

/// What a server takes on at a time. Cheap to clone.
#[derive(Clone)]
struct Admission {
    limits: ServeLimits,
    requests: Arc<Semaphore>,
    bodies: Budget,
}

impl Admission {
    /// Answers one request. A body that stops coming is 408, whatever the handler made of the error; what there is no room for
    /// is 503.
    async fn respond(&self, router: Router, request: Request<Incoming>) -> Response {
        // Two hosts are two answers to the question whom the request is for (RFC 9112 §3.2).
        if request.headers().get_all(HOST).iter().count() > 1 {
            let why = "the request names more than one host";
            return closing(StatusCode::BAD_REQUEST, why);
        }
        let announced = request.body().size_hint().exact();
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
        let (Ok(_place), Some(held)) = (self.requests.try_acquire(), self.bodies.room(announced))
        else {
            return full();
        };
        let fate = Fate::default();
        let times = (self.limits.body_timeout, self.limits.body_idle_timeout);
        let request =
            request.map(|body| Watched::over(body, times, Arc::clone(&held), fate.clone()));
        let response = match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match fate.cut() {
            Some(_) | None if response.status().is_success() => response,
            Some(Cut::Slow) => {
                let why = "the request's body did not come in time";
                closing(StatusCode::REQUEST_TIMEOUT, why)
            }
            Some(Cut::NoRoom) => full(),
            None => response,
        }
    }
}

fn closing(status: StatusCode, why: &'static str) -> Response {
    (status, [(CONNECTION, "close")], why).into_response()
}

fn full() -> Response {
    let why = "there is too much to do at the moment; come again in a while";
    let mut response = closing(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS);
    response
}

/// The requests that a connection has under way, for who ends those that have none.
#[derive(Debug)]
struct Busy {
    requests: AtomicUsize,
    changed: watch::Sender<()>,
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            requests: AtomicUsize::new(0),
            changed: watch::Sender::new(()),
        }
    }
}

impl Busy {
    fn begin(self: &Arc<Self>) -> Using {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.changed.send_replace(());
        Using(Arc::clone(self))
    }

    /// Ends when there was no request for so long.
    async fn idle(&self, timeout: Duration) {
        let mut changed = self.changed.subscribe();
        loop {
            let quiet = tokio::time::timeout(timeout, changed.changed())
                .await
                .is_err();
            if quiet && self.requests.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// A request that is under way until its answer is sent.
struct Using(Arc<Busy>);

impl Using {
    fn until_sent(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Sending { body, _using: self })
    }
}

/// An answer's body, while which is sent a connection is not idle.
struct Sending {
    body: Body,
    _using: Using,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.send_replace(());
    }
}

/// What a client of HTTP/2 says first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a client says in time which HTTP it speaks. hyper's timeout for headers begins after that, and it would wait for
/// ever for somebody who begins the preface of HTTP/2 and leaves it there.
async fn speaks(stream: &TcpStream, timeout: Duration) -> bool {
    const LOOK_AGAIN: Duration = Duration::from_millis(10);
    let said = async {
        let mut first = [0; HTTP2_PREFACE.len()];
        loop {
            // Zero bytes are the end of what it will ever say.
            let length = stream.peek(&mut first).await.unwrap_or(0);
            if length == 0 {
                return false;
            }
            if length == HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(&first[..length]) {
                return true;
            }
            // What was peeked at keeps the stream readable, so that there is nothing to wait for but time.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(timeout, said).await.unwrap_or(false)
}

/// `/readyz`: whether requests are welcome.
pub(crate) async fn readiness(State(ctx): State<Ctx>) -> Response {
    if ctx.stopping().is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    match tokio::time::timeout(Duration::from_secs(1), ctx.ping()).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(_)) | Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer",
        )
            .into_response(),
    }
}

/// A panic ends one request.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked: {}", panic_text(&*panic));
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "an error of ours; it was recorded",
    )
        .into_response()
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a text".to_owned())
}
