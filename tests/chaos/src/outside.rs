//! Functions that are not ours: called by `task-http`, heard by `callback`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use queue::By;
use queue::executors::{Executor, NewExecutor};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::board::client;
use crate::{Cluster, Process};

/// The task whose function it is.
pub(crate) const TASK: &str = "outside";
/// How long a function waits for the answer to a callback before it says it again.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A call, as the function got it. It was answered 202: the function calls back.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) job: i64,
    token: String,
    http: reqwest::Client,
}

/// A function, whoever calls it, and two of those who hear it. What was started ends with it.
pub(crate) struct Outside {
    calls: mpsc::UnboundedReceiver<Call>,
    /// Where callbacks are taken.
    pub(crate) callbacks: [SocketAddr; 2],
    server: JoinHandle<()>,
    _processes: [Process; 3],
}

impl Outside {
    /// A function that may stay silent for so long after a call.
    pub(crate) async fn of(cluster: &mut Cluster, silence_max: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("it listens"));
        let (called, calls) = mpsc::unbounded_channel();
        let router = Router::new().fallback(take).with_state((called, client()));
        #[expect(clippy::disallowed_methods, reason = "ended when it is dropped")]
        let server = tokio::spawn(async move {
            // Never returns by itself.
            axum::serve(listener, router).await.ok();
        });
        cluster
            .queue()
            .set_executor(&NewExecutor {
                task: TASK,
                executor: Some(Executor::Http),
                url: Some(&url),
                namespace: None,
                completes_by: None,
                callback_deadline: Some(silence_max),
                attempt_time_max: Some(silence_max * 2),
                attempts_max: None,
                by: By {
                    name: "Ann",
                    why: None,
                },
            })
            .await
            .expect("it may be called");
        let callbacks = [
            cluster.process("callback", &[]).await,
            cluster.process("callback", &[]).await,
        ];
        let addresses = [callbacks[0].address(), callbacks[1].address()];
        let settings = [
            // Each callback goes where the test says, whatever the call does.
            ("CALLBACK_URL", format!("http://{}/callback", addresses[0])),
            ("FUNCTIONS_NAMESPACE", "functions".to_owned()),
            ("OPENFAAS_GATEWAY", url),
        ];
        let caller = cluster.process("task-http", &settings).await;
        cluster.lead_all_to(vec![caller.address()]);
        let [first, second] = callbacks;
        Self {
            calls,
            callbacks: addresses,
            server,
            _processes: [caller, first, second],
        }
    }

    /// The next so many calls.
    pub(crate) async fn calls(&mut self, count: usize, limit: Duration) -> Vec<Call> {
        let mut calls = Vec::with_capacity(count);
        let all = async {
            while calls.len() < count {
                calls.push(self.calls.recv().await.expect("the function is there"));
            }
        };
        let in_time = tokio::time::timeout(limit, all).await;
        assert!(in_time.is_ok(), "{} of {count} calls came", calls.len());
        calls
    }

    /// How many calls came besides.
    pub(crate) fn more_calls(&mut self) -> usize {
        std::iter::from_fn(|| self.calls.try_recv().ok()).count()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State((called, http)): State<(mpsc::UnboundedSender<Call>, reqwest::Client)>,
    headers: HeaderMap,
) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let job = text("x-job-id").and_then(|job| job.parse().ok());
    let (Some(job), Some(token)) = (job, text("x-worker-id")) else {
        return StatusCode::BAD_REQUEST;
    };
    let token = token.to_owned();
    // Nobody listens any more when the test is over.
    called.send(Call { job, token, http }).ok();
    StatusCode::ACCEPTED
}

impl Call {
    /// Calls back once. Nothing when no answer comes in time.
    pub(crate) async fn say(&self, to: SocketAddr, said: &Value) -> Option<(StatusCode, String)> {
        let request = self
            .http
            .post(format!("http://{to}/callback"))
            .header("x-job-id", self.job.to_string())
            .header("x-worker-id", &self.token)
            .header("content-type", "application/json")
            .timeout(ANSWER_MAX)
            .body(said.to_string());
        let response = request.send().await.ok()?;
        let status = response.status();
        let body: Value = serde_json::from_str(&response.text().await.ok()?).ok()?;
        let outcome = body["outcome"].as_str().unwrap_or_default().to_owned();
        Some((status, outcome))
    }

    /// Calls back until it is answered, as a function should.
    pub(crate) async fn say_until_heard(&self, to: SocketAddr, said: &Value) -> String {
        loop {
            match self.say(to, said).await {
                Some((status, outcome)) if status.is_success() => return outcome,
                Some((status, outcome)) => {
                    assert!(status.is_server_error(), "{status}: {outcome}");
                    tokio::time::sleep(ANSWER_MAX).await;
                }
                None => {}
            }
        }
    }
}
