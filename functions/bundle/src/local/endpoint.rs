//! A Service as others reach it: what a cluster's queue-proxy and activator do in front of a function.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};
use tower::ServiceExt as _;

use super::manifests::Service;

/// One Service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Endpoint(Arc<Inner>);

struct Inner {
    name: String,
    /// The host name that it has inside the cluster.
    host: String,
    cluster_local: bool,
    timeout: Duration,
    permits: Option<Arc<Semaphore>>,
    runs: Runs,
}

/// Where a function runs.
pub(super) enum Runs {
    /// Here.
    InProcess(Router),
    /// In a child process; `None` while it starts.
    Child(watch::Receiver<Option<SocketAddr>>),
}

impl Endpoint {
    pub(super) fn new(service: &Service, namespace: &str, runs: Runs) -> Self {
        Self(Arc::new(Inner {
            name: service.name.clone(),
            host: format!("{}.{namespace}.svc.cluster.local", service.name),
            cluster_local: service.cluster_local,
            timeout: service.timeout,
            permits: service
                .concurrency
                .map(|most| Arc::new(Semaphore::new(most.get() as usize))),
            runs,
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    pub(super) fn cluster_local(&self) -> bool {
        self.0.cluster_local
    }

    /// Answers a request as the cluster would: it waits for a free place (`containerConcurrency`), is answered 504 when no
    /// head has come within `timeoutSeconds`, and is cut when its body has not ended by then.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let deadline = Instant::now() + self.0.timeout;
        match tokio::time::timeout_at(deadline, self.answer(request)).await {
            Ok((response, permit)) if response.body().is_end_stream() => {
                drop(permit);
                response
            }
            Ok((response, permit)) => response.map(|body| {
                Body::new(Deadlined {
                    body,
                    end: Box::pin(tokio::time::sleep_until(deadline)),
                    _permit: permit,
                })
            }),
            Err(_) => {
                let (name, timeout) = (&self.0.name, self.0.timeout.as_secs());
                tracing::warn!(
                    function = name,
                    "a request had no answer within {timeout} s"
                );
                let text =
                    format!("{name} did not answer within its {timeout} s (timeoutSeconds)\n");
                (StatusCode::GATEWAY_TIMEOUT, text).into_response()
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> (Response<Body>, Option<OwnedSemaphorePermit>) {
        let permit = match &self.0.permits {
            Some(permits) => Arc::clone(permits).acquire_owned().await.ok(),
            None => None,
        };
        let response = match &self.0.runs {
            Runs::InProcess(router) => match router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Runs::Child(address) => match forward(address.clone(), request).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::warn!(
                        function = self.0.name,
                        "its process did not answer: {error:#}"
                    );
                    let text = format!(
                        "the process of {} did not answer; it is started again\n",
                        self.0.name
                    );
                    (StatusCode::BAD_GATEWAY, text).into_response()
                }
            },
        };
        (response, permit)
    }
}

/// Sends a request to a child process, once that listens, on a connection of its own: nothing is buffered, and a process
/// that died leaves no stale connection behind.
async fn forward(
    mut address: watch::Receiver<Option<SocketAddr>>,
    mut request: Request<Body>,
) -> anyhow::Result<Response<Body>> {
    let address = address
        .wait_for(Option::is_some)
        .await?
        .ok_or_else(|| anyhow::anyhow!("it is being stopped"))?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The request may have come over HTTP/2, which keeps the host in the URI.
    if !request.headers().contains_key(axum::http::header::HOST)
        && let Some(authority) = request.uri().authority()
    {
        let host = authority.as_str().parse()?;
        request.headers_mut().insert(axum::http::header::HOST, host);
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse()?;
    *request.version_mut() = axum::http::Version::HTTP_11;
    without_hop_by_hop(request.headers_mut());
    let mut connection = Some(Box::pin(connection));
    let mut sent = Box::pin(sender.send_request(request));
    // The connection moves only while it is polled; from the head on, the answer's body polls it.
    let response = poll_fn(|cx| {
        drive(&mut connection, cx)?;
        sent.as_mut().poll(cx)
    })
    .await?;
    drop(sent);
    let (mut parts, body) = response.into_parts();
    without_hop_by_hop(&mut parts.headers);
    let body = Body::new(OverConnection {
        body,
        connection,
        _sender: sender,
    });
    Ok(Response::from_parts(parts, body))
}

/// Headers that concern one connection alone (RFC 9110 §7.6.1).
fn without_hop_by_hop(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, Body>;

/// Moves a connection until it can do no more or has ended; it must not be polled after that.
fn drive(
    connection: &mut Option<Pin<Box<Connection>>>,
    cx: &mut Context<'_>,
) -> Result<(), hyper::Error> {
    if let Some(open) = connection
        && let Poll::Ready(ended) = open.as_mut().poll(cx)
    {
        *connection = None;
        return ended;
    }
    Ok(())
}

/// A body together with the connection that it comes over.
struct OverConnection {
    body: hyper::body::Incoming,
    connection: Option<Pin<Box<Connection>>>,
    // While it lives the connection does not end.
    _sender: http1::SendRequest<Body>,
}

impl HttpBody for OverConnection {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        drive(&mut self.connection, cx)?;
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is cut when its time is over, and holds its place until it ends.
struct Deadlined {
    body: Body,
    end: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A stream was longer than its Service's `timeoutSeconds`.
#[derive(Debug, thiserror::Error)]
#[error("the answer took longer than timeoutSeconds and is cut")]
struct Cut;

impl HttpBody for Deadlined {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => self
                .end
                .as_mut()
                .poll(cx)
                .map(|()| Some(Err(axum::Error::new(Cut)))),
            ready => ready,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
