//! A cluster's API server, as far as objects go: what is kept, who owns which field, which version it is, and who watches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Crds;
use crate::objects::{Fault, Key, Objects};
use crate::path::{Target, target};

/// A server of a test's own, gone with it.
#[derive(Debug)]
pub struct Server {
    url: String,
    shared: Shared,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Shared {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Sender<u64>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server that has these definitions.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(crds: Crds) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Shared {
            objects: Arc::new(Mutex::new(Objects::new(crds))),
            changed: watch::Sender::new(0),
        };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        #[expect(clippy::disallowed_methods, reason = "a test's server")]
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, shared, task }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forgets what happened until now, as etcd does: who watches from before is told 410.
    pub fn compact(&self) {
        self.shared.lock().compact();
        self.shared.tell();
    }

    /// The next so many calls of this method whose path contains this are answered with this status.
    pub fn fail_next(&self, times: usize, method: &str, path: &str, status: u16) {
        self.shared.lock().fail_next(times, method, path, status);
    }

    /// How often calls of this method were made to a path that contains this.
    #[must_use]
    pub fn calls(&self, method: &str, path: &str) -> usize {
        let objects = self.shared.lock();
        let made = |(was, at): &&(String, String)| was == method && at.contains(path);
        objects.calls.iter().filter(made).count()
    }

    /// What a container of a pod has said.
    pub fn set_log(&self, namespace: &str, pod: &str, text: &str) {
        let key = (namespace.to_owned(), pod.to_owned());
        self.shared.lock().logs.insert(key, text.to_owned());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> Response {
    let query = pairs(query.as_deref().unwrap_or_default());
    let path = uri.path().to_owned();
    if let Some(fault) = shared.lock().called(method.as_str(), &path) {
        return fault.into_response();
    }
    let Some(target) = target(&path) else {
        return discovery(&shared.lock(), &path);
    };
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let answered = match (&method, &target.name) {
        (&Method::GET, None)
            if query
                .get("watch")
                .is_some_and(|it| it == "true" || it == "1") =>
        {
            return watching(shared, target, &query);
        }
        (&Method::GET, Some(name)) if target.sub.as_deref() == Some("log") => {
            let key = (target.namespace.clone().unwrap_or_default(), name.clone());
            return match shared.lock().logs.get(&key) {
                Some(text) => text.clone().into_response(),
                None => Fault::not_found(&target.key(name)).into_response(),
            };
        }
        (&Method::GET, None) => Ok(shared.lock().list(&target, query.get("labelSelector"))),
        (&Method::GET, Some(name)) => shared.lock().get(&target.key(name)),
        (&Method::POST, None) => parse(&body).and_then(|new| {
            let created = shared.lock().create(&target, new);
            shared.tell();
            created
        }),
        (&Method::PUT, Some(name)) => parse(&body).and_then(|new| {
            let put = shared.lock().replace(&target.key(name), new);
            shared.tell();
            put
        }),
        (&Method::PATCH, Some(name)) => parse(&body).and_then(|patch| {
            let key = target.key(name);
            let patched = if content_type == Some("application/apply-patch+yaml") {
                let manager = query.get("fieldManager").cloned().unwrap_or_default();
                let force = query.get("force").is_some_and(|force| force == "true");
                shared.lock().apply(&target, &key, patch, &manager, force)
            } else {
                shared.lock().merge(&key, &patch)
            };
            shared.tell();
            patched
        }),
        (&Method::DELETE, Some(name)) => {
            let deleted = shared.lock().delete(&target.key(name));
            shared.tell();
            deleted
        }
        _ => Err(Fault::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method",
        )),
    };
    match answered {
        Ok(value) if method == Method::POST => (StatusCode::CREATED, Json(value)).into_response(),
        Ok(value) => Json(value).into_response(),
        Err(fault) => fault.into_response(),
    }
}

fn parse(body: &Bytes) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::new(400, "BadRequest", &error.to_string()))
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        let mut out = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
            let digits = std::str::from_utf8(&digits).unwrap_or("20");
            out.push(u8::from_str_radix(digits, 16).unwrap_or(b' '));
        }
        String::from_utf8(out).unwrap_or_default()
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    };
    query
        .split('&')
        .filter(|text| !text.is_empty())
        .map(pair)
        .collect()
}

fn discovery(objects: &Objects, path: &str) -> Response {
    let groups = objects.groups();
    let group = |name: &str, versions: &[String]| {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
            .collect();
        json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
    };
    match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["apis"] => {
            let listed: Vec<Value> = groups.iter().map(|(name, versions)| group(name, versions)).collect();
            Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})).into_response()
        }
        ["version"] => Json(json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        }))
        .into_response(),
        _ => Fault::new(404, "NotFound", "the server could not find the requested resource").into_response(),
    }
}

/// A list of events, one a line, from the version that is asked for, until nobody listens.
fn watching(shared: Shared, target: Target, query: &BTreeMap<String, String>) -> Response {
    let from = query
        .get("resourceVersion")
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0);
    let selector = query.get("labelSelector").cloned();
    let changed = shared.changed.subscribe();
    let ended = false;
    let lines = stream::unfold(
        (shared, from, changed, ended),
        move |(shared, from, mut changed, ended)| {
            let (target, selector) = (target.clone(), selector.clone());
            async move {
                if ended {
                    return None;
                }
                loop {
                    let found = shared.lock().since(&target, selector.as_ref(), from);
                    match found {
                        Err(gone) => {
                            let line = format!(
                                "{}\n",
                                json!({"type": "ERROR", "object": {
                                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                    "message": gone.message, "reason": gone.reason, "code": gone.code,
                                }})
                            );
                            return Some((
                                Ok::<_, Infallible>(Bytes::from(line)),
                                (shared, from, changed, true),
                            ));
                        }
                        Ok((events, last)) if !events.is_empty() => {
                            let lines: String =
                                events.iter().map(|event| format!("{event}\n")).collect();
                            return Some((Ok(Bytes::from(lines)), (shared, last, changed, false)));
                        }
                        Ok(_) => {}
                    }
                    let waited =
                        tokio::time::timeout(Duration::from_secs(60), changed.changed()).await;
                    if !matches!(waited, Ok(Ok(()))) {
                        return None;
                    }
                }
            }
        },
    );
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(lines))
        .unwrap_or_default()
}

impl Target {
    fn key(&self, name: &str) -> Key {
        Key {
            group: self.group.clone(),
            plural: self.plural.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }
}
