//! A callback endpoint that keeps everything in memory, and misbehaves when it is told to.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use model::LogStream;
use model::run::{NewsTaken, RunNews, RunOver, RunSpec, StepNews, StepState};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) const TOKEN: &str = "the-token-of-this-run";
pub(crate) const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// How the endpoint treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Good,
    /// It is not there for anybody.
    Away,
    /// Takes everything in, and the answer is lost.
    Deaf,
    /// The run is over.
    Over,
}

#[derive(Default)]
pub(crate) struct Told {
    pub(crate) mood: Mood,
    pub(crate) cancel: bool,
    pub(crate) lines: Vec<(LogStream, String)>,
    pub(crate) steps: BTreeMap<u32, StepNews>,
    pub(crate) ends: Vec<RunOver>,
    pub(crate) news: usize,
    pub(crate) parts: BTreeMap<(String, u64), Bytes>,
    pub(crate) parts_sent: usize,
    pub(crate) artifacts: BTreeMap<String, (Value, Vec<u8>)>,
    pub(crate) given: BTreeMap<String, Vec<u8>>,
    /// So many uploads arrive otherwise than they were.
    pub(crate) broken: usize,
    pub(crate) reported: Vec<Value>,
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) told: Arc<Mutex<Told>>,
    pub(crate) url: String,
}

impl World {
    pub(crate) async fn new(spec: Value) -> Self {
        Self::of(|_| spec).await
    }

    /// Of a spec that knows where the endpoint is.
    pub(crate) async fn of(spec: impl FnOnce(&str) -> Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spec: RunSpec = serde_json::from_value(spec(&endpoint)).unwrap();
        let told: Arc<Mutex<Told>> = Arc::default();
        let router = router(spec, Arc::clone(&told));
        let url = format!("{endpoint}/callback/callback");
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = TempDir::new().unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, told, url }
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    pub(crate) fn start(&self) -> Child {
        Command::new(RUNNER)
            .args(["runner", "--mark", &self.mark()])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("CALLBACK_URL", &self.url)
            .env("RUN_TOKEN", TOKEN)
            .env("RUN_DATA", self.folder.path())
            .env("RUN_NAME", "7-1")
            .env("SWITCHYARD_RUN", self.mark())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    pub(crate) fn mark(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Does the whole run; returns the runner's exit code.
    pub(crate) async fn run(&self) -> i32 {
        exit(self.start()).await
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let of_programs = |line: &&(LogStream, String)| line.0 != LogStream::Task;
        let told = self.told();
        told.lines
            .iter()
            .filter(of_programs)
            .map(|line| line.1.clone())
            .collect()
    }

    pub(crate) fn all_text(&self) -> String {
        let told = self.told();
        told.lines
            .iter()
            .map(|line| format!("{}\n", line.1))
            .collect()
    }

    pub(crate) fn end(&self) -> RunOver {
        let told = self.told();
        assert_eq!(told.ends.len(), 1, "{:?}", told.ends);
        told.ends[0].clone()
    }

    pub(crate) fn states(&self) -> Vec<StepState> {
        self.told().steps.values().map(|step| step.state).collect()
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Told) -> bool) {
        for _ in 0..3_000 {
            if is_so(&self.told()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("there was no sign of: {what}; {}", self.all_text());
    }

    pub(crate) async fn until_said(&self, text: &str) {
        self.until(text, |told| told.lines.iter().any(|line| line.1 == text))
            .await;
    }

    pub(crate) fn processes(&self) -> usize {
        exec::Processes::marked(&self.mark()).find().len()
    }
}

pub(crate) async fn exit(mut runner: Child) -> i32 {
    let ended = tokio::time::timeout(Duration::from_secs(60), runner.wait()).await;
    ended
        .expect("the runner ends")
        .unwrap()
        .code()
        .unwrap_or(-1)
}

type Shared = State<Arc<Mutex<Told>>>;

fn router(spec: RunSpec, told: Arc<Mutex<Told>>) -> Router {
    let given = move || async move { axum::Json(spec) };
    Router::new()
        .route("/callback/run", get(given))
        .route("/callback/run/news", post(news))
        .route("/callback/run/end", post(end))
        .route("/callback/run/artifacts/{name}", get(give).post(stored))
        .route("/callback/run/artifacts/{name}/parts", get(parts))
        .route("/callback/run/artifacts/{name}/parts/{n}", put(part))
        .route("/bucket/{name}", put(bucket))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&told),
            gate,
        ))
        .with_state(told)
}

async fn gate(State(told): Shared, request: Request<Body>, next: Next) -> Response {
    let known = request
        .headers()
        .get("x-worker-id")
        .is_some_and(|token| token == TOKEN);
    let is_bucket = request.uri().path().starts_with("/bucket");
    assert!(
        known != is_bucket,
        "the token goes where it belongs and nowhere else"
    );
    let mood = told.lock().unwrap().mood;
    match mood {
        Mood::Away => (StatusCode::SERVICE_UNAVAILABLE, "away").into_response(),
        Mood::Over if request.method() != Method::GET => (
            StatusCode::CONFLICT,
            axum::Json(json!({"outcome": "stale"})),
        )
            .into_response(),
        Mood::Deaf => {
            next.run(request).await;
            (StatusCode::BAD_GATEWAY, "lost").into_response()
        }
        Mood::Good | Mood::Over => next.run(request).await,
    }
}

async fn news(State(told): Shared, axum::Json(news): axum::Json<RunNews>) -> Response {
    let mut told = told.lock().unwrap();
    told.news += 1;
    let there = told.lines.len() as u64;
    assert!(
        news.first <= there + 1,
        "a gap: {} after {there}",
        news.first
    );
    let known = usize::try_from(there + 1 - news.first).unwrap();
    told.lines.extend(news.lines.into_iter().skip(known));
    for step in news.steps {
        told.steps.insert(step.step, step);
    }
    told.reported.extend(
        news.report
            .map(|report| serde_json::to_value(report).unwrap()),
    );
    let taken = NewsTaken {
        lines: told.lines.len() as u64,
        cancel: told.cancel,
    };
    axum::Json(taken).into_response()
}

async fn end(State(told): Shared, axum::Json(over): axum::Json<RunOver>) -> Response {
    let mut told = told.lock().unwrap();
    let first = told.ends.is_empty();
    if first {
        told.ends.push(over);
    } else {
        assert_eq!(told.ends[0], over, "what is said again is the same");
    }
    axum::Json(json!({"outcome": if first { "applied" } else { "duplicate" }})).into_response()
}

async fn give(State(told): Shared, Path(id): Path<String>) -> Response {
    match told.lock().unwrap().given.get(&id) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn parts(State(told): Shared, Path(name): Path<String>) -> Response {
    let told = told.lock().unwrap();
    let there: Vec<u64> = told
        .parts
        .keys()
        .filter(|key| key.0 == name)
        .map(|key| key.1)
        .collect();
    axum::Json(json!({ "parts": there })).into_response()
}

async fn part(State(told): Shared, Path((name, n)): Path<(String, u64)>, body: Bytes) -> Response {
    if body.is_empty() {
        return (StatusCode::UNPROCESSABLE_ENTITY, "a part has something").into_response();
    }
    let mut told = told.lock().unwrap();
    told.parts_sent += 1;
    told.parts.insert((name, n), body);
    StatusCode::NO_CONTENT.into_response()
}

async fn bucket(State(told): Shared, Path(name): Path<String>, body: Bytes) -> StatusCode {
    told.lock().unwrap().parts.insert((name, 0), body);
    StatusCode::OK
}

async fn stored(
    State(told): Shared,
    Path(name): Path<String>,
    axum::Json(said): axum::Json<Value>,
) -> Response {
    let mut told = told.lock().unwrap();
    let from = said["blob"].as_str().map_or(name.clone(), str::to_owned);
    let mut bytes: Vec<u8> = told
        .parts
        .iter()
        .filter(|(key, _)| key.0 == from)
        .flat_map(|(_, part)| part.to_vec())
        .collect();
    if told.broken > 0 {
        told.broken -= 1;
        bytes.push(0);
    }
    let sha256 = hex::encode(Sha256::digest(&bytes));
    if said["sha256"] != json!(sha256) || said["bytes"] != json!(bytes.len()) {
        told.parts.retain(|key, _| key.0 != from);
        return (StatusCode::UNPROCESSABLE_ENTITY, "it differs").into_response();
    }
    told.artifacts.insert(name, (said, bytes));
    axum::Json(json!({"id": "an-id", "sha256": sha256})).into_response()
}
