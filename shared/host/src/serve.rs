//! The HTTP server of a function: our own accept loop, because `axum::serve` waits for ever for a header that does not come
//! and for a stream that does not end.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONNECTION, HOST};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_http::timeout::{TimeoutBody, TimeoutError};

use crate::Ctx;

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
    /// From the request to stop until requests that have not ended are cut.
    pub grace: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(10),
            grace: GRACE,
        }
    }
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
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
            let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
                let router = router.clone();
                async move { Ok::<_, Infallible>(respond(router, request, limits).await) }
            });
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
            tokio::select! {
                ended = watcher.watch(connection.into_owned()) => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection ended badly: {error}");
                    }
                }
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

/// Answers one request. A body that stops coming is 408, whatever the handler made of the error.
async fn respond(router: Router, request: Request<Incoming>, limits: ServeLimits) -> Response {
    // Two hosts are two answers to the question whom the request is for (RFC 9112 §3.2).
    if request.headers().get_all(HOST).iter().count() > 1 {
        return (
            StatusCode::BAD_REQUEST,
            [(CONNECTION, "close")],
            "the request names more than one host",
        )
            .into_response();
    }
    let stalled = Arc::new(AtomicBool::new(false));
    let stalls = Arc::clone(&stalled);
    let request = request.map(|body| {
        Body::new(
            TimeoutBody::new(limits.body_idle_timeout, body).map_err(move |error| {
                if error.is::<TimeoutError>() {
                    stalls.store(true, Ordering::Relaxed);
                }
                error
            }),
        )
    });
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if stalled.load(Ordering::Relaxed) && !response.status().is_success() {
        return (
            StatusCode::REQUEST_TIMEOUT,
            [(CONNECTION, "close")],
            "the request's body did not come in time",
        )
            .into_response();
    }
    response
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
