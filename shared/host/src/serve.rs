//! The HTTP server of a function: our own accept loop, because `axum::serve` waits for ever for a header that does not come
//! and for a stream that does not end.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::Ctx;

/// From the request to stop until the process has left, at most; Knative kills after 30 s.
pub const GRACE: Duration = Duration::from_secs(20);

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at a time. More wait to be accepted.
    pub connections_max: usize,
    /// From accept to the first byte, and for the whole of a request's header.
    pub header_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_idle_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop` fires and then until all requests have ended, at most [`GRACE`].
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
        .max_headers(128);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .max_concurrent_streams(256)
        .max_header_list_size(32 * 1024);
    let builder = Arc::new(builder);
    let service = ServiceBuilder::new()
        .layer(RequestBodyTimeoutLayer::new(limits.body_idle_timeout))
        .service(router);
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
        let service = service.clone();
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
                let service = service.clone();
                async move {
                    let response = match service.oneshot(request.map(Body::new)).await {
                        Ok(response) => response.map(Body::new),
                        Err(never) => match never {},
                    };
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!("a connection ended badly: {error}");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "requests that did not end within {} s are cut",
            GRACE.as_secs()
        );
    }
}

/// Whether a client says something in time. hyper's timeout for headers begins with their first byte.
async fn speaks(stream: &TcpStream, timeout: Duration) -> bool {
    matches!(
        tokio::time::timeout(timeout, stream.readable()).await,
        Ok(Ok(()))
    )
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
