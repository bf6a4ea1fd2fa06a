//! In a broker's place: takes what the relay publishes and brings it to a worker that is there.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// As the Trigger: two more tries, after these waits.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(400)];
/// Longer than a slice and an attempt.
const TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Clone)]
struct Shared {
    http: Client,
    workers: Arc<Mutex<Vec<SocketAddr>>>,
    next: Arc<AtomicUsize>,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// The board. Ends with its value.
pub(crate) struct Board {
    address: SocketAddr,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Board {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = Shared {
            http: client(),
            workers: Arc::default(),
            next: Arc::default(),
            answers: Arc::default(),
        };
        let router = Router::new().fallback(take).with_state(shared.clone());
        #[expect(clippy::disallowed_methods, reason = "ended when the board is dropped")]
        let server = tokio::spawn(async move {
            // Never returns by itself.
            axum::serve(listener, router).await.ok();
        });
        Self {
            address,
            shared,
            server,
        }
    }

    /// Where events are sent to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Whom to bring them to.
    pub(crate) fn lead_to(&self, workers: Vec<SocketAddr>) {
        *lock(&self.shared.workers) = workers;
    }

    /// What was answered how often; a request that broke off half-way counts as `broken`, one that found nobody as
    /// `refused`.
    pub(crate) fn answers(&self) -> BTreeMap<String, usize> {
        lock(&self.shared.answers).clone()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client of somebody outside.
pub(crate) fn client() -> Client {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is outside does not use our clients"
    )]
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build();
    client.expect("a client")
}

/// Acknowledged at once, as a durable broker does.
async fn take(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    #[expect(clippy::disallowed_methods, reason = "ends with the delivery")]
    tokio::spawn(deliver(shared, headers, body));
    StatusCode::ACCEPTED
}

async fn deliver(shared: Shared, mut headers: HeaderMap, body: Bytes) {
    for name in ["host", "content-length", "connection", "transfer-encoding"] {
        headers.remove(name);
    }
    for wait in WAITS.into_iter().map(Some).chain([None]) {
        let worker = {
            let workers = lock(&shared.workers);
            let turn = shared.next.fetch_add(1, Ordering::Relaxed);
            workers.get(turn % workers.len().max(1)).copied()
        };
        let answer = match worker {
            None => "refused".to_owned(),
            Some(worker) => {
                let request = shared.http.post(format!("http://{worker}/"));
                let request = request.headers(headers.clone()).body(body.clone());
                match request.send().await {
                    Ok(response) => response.status().as_u16().to_string(),
                    Err(error) if error.is_connect() => "refused".to_owned(),
                    Err(_) => "broken".to_owned(),
                }
            }
        };
        let done = answer == "202";
        *lock(&shared.answers).entry(answer).or_default() += 1;
        match wait {
            Some(wait) if !done => tokio::time::sleep(wait).await,
            _ => return,
        }
    }
}
