//! A network that misbehaves: takes events on the way to somebody and does with them what the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// An event as it was on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Seen {
    /// An attribute of the event.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        let value = self.headers.get(format!("ce-{name}"));
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// What an event is answered with.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<u64>,
}

impl Answer {
    pub(crate) const fn status(status: StatusCode) -> Self {
        Self {
            status,
            retry_after: None,
        }
    }
}

type Handler = Arc<dyn Fn(Seen) -> futures::future::BoxFuture<'static, Answer> + Send + Sync>;

/// An address that takes events.
pub(crate) struct Wire {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Wire {
    /// Listens, and answers each event with what `handle` says of it.
    pub(crate) async fn listen<F, Fut>(handle: F) -> Self
    where
        F: Fn(Seen) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, handle)
    }

    /// The same on a port that was taken before.
    pub(crate) fn on<F, Fut>(listener: TcpListener, handle: F) -> Self
    where
        F: Fn(Seen) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let handler: Handler = Arc::new(move |seen| Box::pin(handle(seen)));
        let address = listener.local_addr().expect("it listens");
        let router = Router::new()
            .fallback(take)
            .with_state((Arc::clone(&seen), handler));
        #[expect(clippy::disallowed_methods, reason = "ended when the wire is dropped")]
        let server = tokio::spawn(async move {
            // Never returns by itself.
            axum::serve(listener, router).await.ok();
        });
        Self {
            address,
            seen,
            server,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has come so far, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State((seen, handler)): State<(Arc<Mutex<Vec<Seen>>>, Handler)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let event = Seen {
        headers,
        body,
        at: Instant::now(),
    };
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(event.clone());
    let answer = handler(event).await;
    match answer.retry_after {
        Some(seconds) => (answer.status, [("retry-after", seconds.to_string())]).into_response(),
        None => answer.status.into_response(),
    }
}

/// Sends an event on as it came, and returns what it was answered with; nothing when nobody was there.
pub(crate) async fn pass_on(http: &Client, url: &str, event: &Seen) -> Option<StatusCode> {
    let mut headers = event.headers.clone();
    for name in ["host", "content-length", "connection", "transfer-encoding"] {
        headers.remove(name);
    }
    let request = http.post(url).headers(headers).body(event.body.clone());
    request.send().await.ok().map(|response| response.status())
}
