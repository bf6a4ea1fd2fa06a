//! Manifests, functions and subscribers for the tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bundle::local::manifests::Manifests;
use bundle::local::{Databases, Runtime, RuntimeOptions};
use host::{Function, Kind, ServeLimits};
use model::DatabaseRole;
use testkit::TestDb;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const fn function(name: &'static str) -> Function {
    Function {
        name,
        role: DatabaseRole::System,
        kind: Kind::Service,
        routes: |env| {
            let name = env.get("K_SERVICE").unwrap_or_default().to_owned();
            Ok(Router::new()
                .fallback(move |request: Request| answer(name.clone(), request))
                .into())
        },
    }
}

/// Functions that say what they got.
pub(super) const FUNCTIONS: [Function; 4] = [
    function("echo"),
    function("portal"),
    function("runtimechild"),
    function("site"),
];

/// `/slow` never answers, `/stream` never ends, everything else says who was asked for what.
async fn answer(name: String, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name| {
        let value = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or("-").to_owned()
    };
    match parts.uri.path() {
        "/slow" => std::future::pending().await,
        "/stream" => {
            let (sender, frames) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
            sender
                .try_send(Ok(Bytes::from_static(b"data: 1\n\n")))
                .expect("there is room");
            Body::new(Endless {
                frames,
                _sender: sender,
            })
            .into_response()
        }
        "/pid" => std::process::id().to_string().into_response(),
        _ => {
            let (uri, host, forwarded) = (&parts.uri, header("host"), header("x-forwarded-host"));
            let body = axum::body::to_bytes(body, 1024).await.unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            format!("{name} {uri} host={host} forwarded={forwarded} body={body}").into_response()
        }
    }
}

/// A stream with one piece, which then stays open.
struct Endless {
    frames: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    _sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        let piece = self.frames.poll_recv(cx);
        piece.map(|piece| piece.map(|bytes| bytes.map(http_body::Frame::data)))
    }
}

/// The manifest of a Service: its path and its text.
pub(super) fn service(
    name: &str,
    label: &str,
    timeout_secs: u32,
    concurrency: u32,
) -> (String, String) {
    let text = format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: {name}\n  labels: {{{label}}}\nspec:\n  \
         template:\n    spec:\n      timeoutSeconds: {timeout_secs}\n      containerConcurrency: {concurrency}\n      \
         containers:\n        - image: i\n          args: [{name}]\n          env:\n            - name: DATABASE_URL\n              \
         valueFrom: {{secretKeyRef: {{name: database-system, key: url}}}}\n"
    );
    (format!("knative/{name}.yaml"), text)
}

/// The manifest of a Broker.
pub(super) fn broker(name: &str, spec: &str) -> (String, String) {
    let text = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    );
    (format!("knative/broker-{name}.yaml"), text)
}

/// The manifest of a Trigger of the Broker `b`, with more of its spec in YAML's flow form.
pub(super) fn trigger(name: &str, subscriber: &str, more: &str) -> (String, String) {
    let text = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec: {{broker: b, subscriber: \
         {{uri: \"{subscriber}\"}}{more}}}\n"
    );
    (format!("triggers/{name}.yaml"), text)
}

/// Everything that these manifests declare.
pub(super) fn options(db: &TestDb, files: &[(String, String)]) -> anyhow::Result<RuntimeOptions> {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
    let kustomization =
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: ns\n";
    let mut all = vec![
        ("knative/namespace.yaml", namespace),
        ("knative/kustomization.yaml", kustomization),
    ];
    all.extend(
        files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    let url = || db.owner_url().into();
    Ok(RuntimeOptions {
        manifests: Manifests::parse("test", &all)?,
        functions: FUNCTIONS.to_vec(),
        databases: Databases {
            system_url: url(),
            tenant_url: url(),
            observer_url: url(),
            owner_url: url(),
        },
        master_key_file: "/nowhere".into(),
        blobs_url: "/nowhere".to_owned(),
        run_data: "/nowhere".into(),
        port: 0,
        isolate: Vec::new(),
        executable: None,
        settings: BTreeMap::new(),
    })
}

/// A runtime of these manifests.
pub(super) async fn start(db: &TestDb, files: &[(String, String)]) -> anyhow::Result<Runtime> {
    Ok(Runtime::start(options(db, files)?).await?)
}

/// Posts an event in binary mode to the Broker `b`.
pub(super) async fn post(runtime: &Runtime, id: &str, ty: &str) -> anyhow::Result<StatusCode> {
    let url = format!("http://{}/ns/b", runtime.broker_ingress());
    let request = reqwest::Client::new()
        .post(url)
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/test")
        .header("ce-type", ty)
        .header("content-type", "application/octet-stream")
        .body(vec![0_u8, 255, b'\n']);
    Ok(request.send().await?.status())
}

/// What a subscriber was sent.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A subscriber that is not ours: it gives scripted answers, the last of them for ever.
pub(super) struct Subscriber {
    pub(super) url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// One scripted answer.
#[derive(Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: &'static str,
}

/// An answer without headers.
pub(super) fn says(status: u16, body: &'static str) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body,
    }
}

impl Subscriber {
    pub(super) async fn start(answers: Vec<Answer>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/in", listener.local_addr()?);
        let (sender, seen) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            sender.send(Seen { headers, body }).ok();
            let mut answers = answers.lock().expect("no test panics while it holds this");
            let answer = if answers.len() > 1 {
                answers.pop_front()
            } else {
                answers.front().cloned()
            };
            let answer = answer.expect("there is an answer");
            let mut response = Response::new(Body::from(answer.body));
            *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
            for (name, value) in answer.headers {
                response
                    .headers_mut()
                    .insert(name, value.parse().expect("a header"));
            }
            async move { response }
        });
        tokio::spawn(host::serve(
            listener,
            router,
            ServeLimits::default(),
            Default::default(),
        ));
        Ok(Self { url, seen })
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> anyhow::Result<Seen> {
        let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        seen.context("the subscriber was not asked")?
            .context("the subscriber has gone")
    }

    /// Whether it was asked since the last look.
    pub(super) fn was_asked(&mut self) -> bool {
        self.seen.try_recv().is_ok()
    }
}
