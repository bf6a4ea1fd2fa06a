use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use clap::FromArgMatches as _;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::cli::hooks::hook::names;

const TRIGGER: &str = "trg_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f";
const TOKEN: &str = "a token that may";
const READER: &str = "a token that may not";
const SECRET: &str = "the secret of the trigger";

/// How a double answers, as its host documents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Github,
    Gitea,
    Gitlab,
}

/// A host with one repository, `team/app`.
#[derive(Clone)]
struct Double {
    kind: Kind,
    state: Arc<Mutex<Hooks>>,
    at: String,
}

#[derive(Default)]
struct Hooks {
    /// As they are kept, secrets and all.
    hooks: Vec<Value>,
    /// What was written: methods and paths.
    writes: Vec<String>,
    /// Events that this version does not know.
    unknown: Vec<&'static str>,
}

impl Double {
    async fn new(kind: Kind) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let double = Self {
            kind,
            state: Arc::default(),
            at,
        };
        let router = Router::new().fallback(answer).with_state(double.clone());
        #[expect(clippy::disallowed_methods, reason = "a test spawns its own server")]
        tokio::spawn(axum::serve(listener, router).into_future());
        double
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Github => "github",
            Kind::Gitea => "gitea",
            Kind::Gitlab => "gitlab",
        }
    }

    fn hooks(&self) -> Vec<Value> {
        self.state.lock().unwrap().hooks.clone()
    }

    fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.state.lock().unwrap().hooks[0]);
    }

    fn secret(&self) -> Option<String> {
        let hook = &self.hooks()[0];
        let at = if self.kind == Kind::Gitlab {
            "/token"
        } else {
            "/config/secret"
        };
        text(hook, at).map(str::to_owned)
    }

    fn path(&self) -> &'static str {
        match self.kind {
            Kind::Github => "/repos/team/app/hooks",
            Kind::Gitea => "/api/v1/repos/team/app/hooks",
            Kind::Gitlab => "/api/v4/projects/team%2Fapp/hooks",
        }
    }

    fn token_of(headers: &HeaderMap) -> Option<String> {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        text("private-token").or_else(|| {
            let value = text("authorization")?;
            let bare = value
                .strip_prefix("Bearer ")
                .or(value.strip_prefix("token "));
            bare.map(str::to_owned)
        })
    }

    /// A hook as it is shown: secrets are not.
    fn shown(&self, hook: &Value) -> Value {
        let mut hook = hook.clone();
        match self.kind {
            Kind::Github if text(&hook, "/config/secret").is_some() => {
                hook["config"]["secret"] = json!("********");
            }
            Kind::Github => {}
            Kind::Gitea => {
                hook["config"].as_object_mut().unwrap().remove("secret");
            }
            Kind::Gitlab => {
                let token = hook.as_object_mut().unwrap().remove("token");
                let signing = hook.as_object_mut().unwrap().remove("signing_token");
                hook["token_present"] = json!(token.is_some());
                hook["signing_token_present"] = json!(signing.is_some());
            }
        }
        hook
    }
}

async fn answer(State(it): State<Double>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let (status, value) = it.answered(&parts.method, &parts.uri, &parts.headers, &body);
    (status, axum::Json(value)).into_response()
}

impl Double {
    fn answered(
        &self,
        method: &Method,
        uri: &http::Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> (StatusCode, Value) {
        let said = |status, text: &str| (status, json!({ "message": text }));
        match Self::token_of(headers).as_deref() {
            Some(TOKEN) => {}
            Some(READER) if self.kind == Kind::Github => {
                return said(
                    StatusCode::FORBIDDEN,
                    "Resource not accessible by personal access token",
                );
            }
            Some(READER) => return said(StatusCode::FORBIDDEN, "403 Forbidden"),
            _ => return said(StatusCode::UNAUTHORIZED, "Bad credentials"),
        }
        let mut state = self.state.lock().unwrap();
        let Some(rest) = uri.path().strip_prefix(self.path()) else {
            return said(StatusCode::NOT_FOUND, "Not Found");
        };
        if *method == Method::GET {
            let page = uri.query().and_then(|query| query.rsplit_once("page="));
            let page: usize = page.unwrap().1.parse().unwrap();
            // Small pages, as a host may cap them.
            let hooks = state.hooks.chunks(2).nth(page - 1).unwrap_or_default();
            return (
                StatusCode::OK,
                hooks.iter().map(|hook| self.shown(hook)).collect(),
            );
        }
        state.writes.push(format!("{method} {}", uri.path()));
        if rest.ends_with("/test/push_events") {
            state.hooks[0]["alert_status"] = json!("executable");
            return (StatusCode::CREATED, json!({ "message": "201 Created" }));
        }
        let mut given: Value = serde_json::from_slice(body).unwrap();
        if given.to_string().contains("refuse.example") {
            return (
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({ "message": "Validation Failed", "errors": [{ "message": given.to_string() }] }),
            );
        }
        let unknown = state.unknown.clone();
        if let Some(events) = given.get_mut("events").and_then(Value::as_array_mut) {
            events.retain(|event| !unknown.contains(&event.as_str().unwrap()));
        }
        if *method == Method::POST {
            given["id"] = json!(state.hooks.len() + 11);
            self.settled(&mut given);
            state.hooks.push(given.clone());
            return (StatusCode::CREATED, self.shown(&given));
        }
        let id: u64 = rest.trim_start_matches('/').parse().unwrap();
        let hook = state
            .hooks
            .iter_mut()
            .find(|hook| hook["id"] == id)
            .unwrap();
        self.changed(hook, given);
        self.settled(hook);
        (StatusCode::OK, self.shown(hook))
    }

    fn changed(&self, hook: &mut Value, given: Value) {
        let Value::Object(given) = given else {
            panic!("an object")
        };
        if self.kind == Kind::Gitea {
            // What is left out of a change is emptied there.
            hook["branch_filter"] = json!("");
            hook["authorization_header"] = json!("");
            hook["events"] = json!(["push"]);
        }
        for (name, value) in given {
            match name.as_str() {
                "add_events" => {
                    let added = value.as_array().unwrap().clone();
                    hook["events"].as_array_mut().unwrap().extend(added);
                }
                "config" if self.kind == Kind::Gitea => {
                    for (name, value) in value.as_object().unwrap() {
                        hook["config"][name] = value.clone();
                    }
                }
                _ => hook[name] = value,
            }
        }
    }

    fn settled(&self, hook: &mut Value) {
        #[expect(clippy::disallowed_methods, reason = "a double has a clock of its own")]
        let now = Utc::now().to_rfc3339();
        match self.kind {
            Kind::Github | Kind::Gitea => hook["updated_at"] = json!(now),
            Kind::Gitlab => hook["alert_status"] = json!("executable"),
        }
    }
}

/// Somebody with a token and the trigger's secret in files.
struct Person {
    folder: TempDir,
    env: Env,
}

impl Person {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
        std::fs::write(folder.path().join("reader"), READER).unwrap();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        Self {
            folder,
            env: Env::default(),
        }
    }

    async fn setup(&self, double: &Double, more: &str) -> Result<Report, String> {
        self.setup_as(double, "token", more).await
    }

    async fn setup_as(&self, double: &Double, token: &str, more: &str) -> Result<Report, String> {
        let folder = self.folder.path().display();
        self.run(&format!(
            "{} --repository team/app --trigger {TRIGGER} --api-url {} --url https://hooks.example.com \
             --token-file {folder}/{token} --secret-file {folder}/secret {more}",
            double.name(),
            double.at
        ))
        .await
    }

    async fn run(&self, line: &str) -> Result<Report, String> {
        let report = done(&self.env, &args(line)?).await;
        report.map_err(|error| format!("{error:#}"))
    }
}

fn args(line: &str) -> Result<SetupArgs, String> {
    let command = SetupArgs::augment_args(clap::Command::new("setup"));
    let words = std::iter::once("setup").chain(line.split_whitespace());
    let matches = command.try_get_matches_from(words);
    matches
        .and_then(|matches| SetupArgs::from_arg_matches(&matches))
        .map_err(|error| error.to_string())
}

const KINDS: [Kind; 3] = [Kind::Github, Kind::Gitea, Kind::Gitlab];

#[tokio::test]
async fn a_hook_is_made_and_a_second_run_writes_nothing() {
    let person = Person::new();
    for kind in KINDS {
        let host = Double::new(kind).await;
        let report = person.setup(&host, "").await.unwrap();
        assert_eq!(
            (report.did, report.hook),
            (Did::Created, Some(11)),
            "{}",
            host.name()
        );
        assert_eq!(host.writes(), [format!("POST {}", host.path())]);
        assert_eq!(host.secret().as_deref(), Some(SECRET));
        for run in 0..2 {
            let report = person.setup(&host, "").await.unwrap();
            assert_eq!(
                (report.did, report.hook),
                (Did::Nothing, Some(11)),
                "{} {run}",
                host.name()
            );
            assert_eq!((host.writes(), report.notes), (vec![], vec![]));
        }
    }
}

#[tokio::test]
async fn what_is_made_is_what_the_host_documents() {
    let person = Person::new();
    let mut made = Vec::new();
    for kind in KINDS {
        let host = Double::new(kind).await;
        person.setup(&host, "").await.unwrap();
        let mut hook = host.hooks().remove(0);
        hook.as_object_mut().unwrap().remove("updated_at");
        made.push(hook);
    }
    insta::assert_json_snapshot!(made, @r#"
    [
      {
        "active": true,
        "config": {
          "content_type": "json",
          "insecure_ssl": "0",
          "secret": "the secret of the trigger",
          "url": "https://hooks.example.com/webhook-github/trg_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f"
        },
        "events": [
          "push",
          "pull_request",
          "pull_request_review",
          "release"
        ],
        "id": 11,
        "name": "web"
      },
      {
        "active": true,
        "config": {
          "content_type": "json",
          "secret": "the secret of the trigger",
          "url": "https://hooks.example.com/webhook-gitea/trg_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f"
        },
        "events": [
          "push",
          "pull_request",
          "release"
        ],
        "id": 11,
        "type": "gitea"
      },
      {
        "alert_status": "executable",
        "enable_ssl_verification": true,
        "id": 11,
        "merge_requests_events": true,
        "push_events": true,
        "releases_events": true,
        "tag_push_events": true,
        "token": "the secret of the trigger",
        "url": "https://hooks.example.com/webhook-gitlab/trg_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f"
      }
    ]
    "#);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_hook_is_repaired_and_the_rest_left() {
    let person = Person::new();
    for kind in KINDS {
        let host = Double::new(kind).await;
        person.setup(&host, "").await.unwrap();
        host.writes();
        host.change(|hook| match kind {
            Kind::Github => {
                hook["active"] = json!(false);
                hook["events"] = json!(["issues"]);
                hook["config"] = json!({ "url": hook["config"]["url"], "content_type": "form", "insecure_ssl": "1" });
            }
            Kind::Gitea => {
                hook["active"] = json!(false);
                hook["events"] = json!(["issues"]);
                hook["config"]["content_type"] = json!("form");
                hook["branch_filter"] = json!("main");
                hook["authorization_header"] = json!("Bearer x");
            }
            Kind::Gitlab => {
                hook["alert_status"] = json!("temporarily_disabled");
                hook["enable_ssl_verification"] = json!(false);
                hook["push_events"] = json!(false);
                hook["issues_events"] = json!(true);
                hook.as_object_mut().unwrap().remove("token");
            }
        });
        let dry = person.setup(&host, "--dry-run").await.unwrap();
        assert_eq!((dry.did, host.writes()), (Did::Repaired, vec![]));
        let report = person.setup(&host, "").await.unwrap();
        assert_eq!((report.did, &report.faults), (Did::Repaired, &dry.faults));
        let expected: &[&str] = match kind {
            Kind::Github => &[
                "it was switched off",
                "it did not send JSON",
                "certificates were not verified",
                "it had no secret",
                "it did not tell of push, pull_request, pull_request_review, release",
            ],
            Kind::Gitea => &[
                "it was switched off",
                "it did not send JSON",
                "it did not tell of push, pull_request, release",
            ],
            Kind::Gitlab => &[
                "its host had stopped calling it, because calls failed",
                "certificates were not verified",
                "it had no secret",
                "it did not tell of push_events",
            ],
        };
        assert_eq!(report.faults, expected);
        assert_eq!(host.secret().as_deref(), Some(SECRET), "{}", host.name());
        let hook = &host.hooks()[0];
        match kind {
            Kind::Github => assert!(names(hook).contains(&"issues")),
            Kind::Gitea => {
                assert!(names(hook).contains(&"issues"));
                assert_eq!(hook["branch_filter"], "main");
                assert_eq!(hook["authorization_header"], "Bearer x");
                assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
            }
            Kind::Gitlab => assert_eq!(hook["issues_events"], true),
        }
        host.writes();
        let report = person.setup(&host, "").await.unwrap();
        assert_eq!((report.did, host.writes()), (Did::Nothing, vec![]));
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_or_may_too_little_is_told_with_what_it_needs() {
    let person = Person::new();
    for (kind, needs) in [
        (Kind::Github, "Webhooks: read and write"),
        (Kind::Gitea, "write:repository"),
        (Kind::Gitlab, "Maintainer"),
    ] {
        let host = Double::new(kind).await;
        let told = person.setup_as(&host, "reader", "").await.unwrap_err();
        assert!(told.contains(needs) && told.contains("team/app"), "{told}");
        let told = person.setup_as(&host, "secret", "").await.unwrap_err();
        assert!(told.contains("does not accept the token"), "{told}");
        assert!(!told.contains(READER) && !told.contains(SECRET), "{told}");
        assert_eq!(host.writes(), Vec::<String>::new());
    }
    let host = Double::new(Kind::Github).await;
    let told = person
        .run(&format!(
            "github --repository team/other --trigger {TRIGGER} --api-url {} --url https://hooks.example.com \
             --token-file {1}/token --secret-file {1}/secret",
            host.at,
            person.folder.path().display()
        ))
        .await
        .unwrap_err();
    assert!(told.contains("shows no hooks of team/other"), "{told}");
}

#[tokio::test]
async fn a_secret_is_never_repeated_even_when_the_host_does() {
    let person = Person::new();
    let host = Double::new(Kind::Github).await;
    let told = person
        .setup(&host, "--url https://refuse.example.com")
        .await
        .unwrap_err();
    assert!(told.contains("cannot be used multiple times"), "{told}");
    let folder = person.folder.path().display();
    let told = person
        .run(&format!(
            "github --repository team/app --trigger {TRIGGER} --api-url {} --url https://refuse.example.com \
             --token-file {folder}/token --secret-file {folder}/secret",
            host.at
        ))
        .await
        .unwrap_err();
    assert!(
        told.contains("does not take the hook: Validation Failed"),
        "{told}"
    );
    assert!(told.contains("***") && !told.contains(SECRET), "{told}");
}

#[tokio::test]
async fn hooks_that_are_there_twice_or_call_an_old_url_are_told() {
    let person = Person::new();
    let host = Double::new(Kind::Gitea).await;
    person.setup(&host, "").await.unwrap();
    let mut other = host.hooks().remove(0);
    other["id"] = json!(12);
    let mut old = other.clone();
    old["id"] = json!(13);
    old["config"]["url"] = json!(format!("https://old.example.com/webhook-gitea/{TRIGGER}"));
    let mut chat = other.clone();
    chat["id"] = json!(14);
    chat["type"] = json!("slack");
    host.state.lock().unwrap().hooks.extend([other, old, chat]);
    host.writes();
    let report = person.setup(&host, "").await.unwrap();
    assert_eq!((report.did, host.writes()), (Did::Nothing, vec![]));
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.notes[0].starts_with("the hook 13 calls this trigger at another URL"));
    assert!(report.notes[1].starts_with("the hook 12 has the same URL"));
}

#[tokio::test]
async fn an_event_that_the_host_leaves_out_is_told() {
    let person = Person::new();
    let host = Double::new(Kind::Gitea).await;
    host.state.lock().unwrap().unknown = vec!["package"];
    let told = person.setup(&host, "--events packages").await.unwrap_err();
    assert!(told.contains("it did not tell of package"), "{told}");
    let told = person.setup(&host, "--events pipelines").await.unwrap_err();
    assert!(
        told.contains("hooks of gitea do not tell of pipelines"),
        "{told}"
    );
}

#[tokio::test]
async fn a_stored_secret_is_what_the_hook_signs_with() {
    let served = webhook_testkit::Served::new(&webhook_github::FUNCTION).await;
    let trigger = served.git_trigger().await;
    let person = Person::new();
    let env = served.env.clone().with("SWITCHYARD_GITHUB_TOKEN", TOKEN);
    let host = Double::new(Kind::Github).await;
    let line = format!(
        "github --repository team/app --trigger {trigger} --api-url {} --url https://hooks.example.com",
        host.at
    );
    let run = async |line: &str| {
        done(&env, &args(line).unwrap())
            .await
            .map_err(|error| format!("{error:#}"))
    };
    assert_eq!(run(&line).await.unwrap().did, Did::Created);
    let secret = host.secret().unwrap();
    assert_eq!(secret, webhook::conformance::SECRET);
    // What GitHub sends to a new hook.
    let body = br#"{"zen": "Keep it logically awesome.", "hook_id": 11}"#;
    let answer = send(&served, trigger, &secret, body).await;
    assert_eq!(answer, StatusCode::ACCEPTED);
    host.writes();
    assert_eq!(run(&line).await.unwrap().did, Did::Nothing);
    assert_eq!(host.writes(), Vec::<String>::new());

    // Somebody changes it at the host: deliveries are refused, and the next run writes it, once.
    let answer = send(&served, trigger, "another", body).await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
    host.change(|hook| hook["config"]["secret"] = json!("another"));
    let report = run(&line).await.unwrap();
    assert_eq!(report.did, Did::Repaired);
    assert!(
        report.faults[0].contains("signatures did not hold"),
        "{:?}",
        report.faults
    );
    assert_eq!(host.secret().unwrap(), secret);
    assert_eq!(run(&line).await.unwrap().did, Did::Nothing);
    let report = run(&format!("{line} --renew-secret")).await.unwrap();
    assert_eq!(report.faults, ["its secret was to be renewed"]);

    let told = run(&line.replace(&trigger.to_string(), TRIGGER))
        .await
        .unwrap_err();
    assert!(
        told.contains(&format!("there is no trigger {TRIGGER}")),
        "{told}"
    );
    drop(person);
}

async fn send(
    served: &webhook_testkit::Served,
    trigger: TriggerId,
    secret: &str,
    body: &[u8],
) -> StatusCode {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, body);
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
    };
    set("content-type", "application/json");
    set("x-github-event", "ping");
    set("x-github-delivery", &uuid::Uuid::new_v4().to_string());
    set(
        "x-hub-signature-256",
        &format!("sha256={}", hex::encode(tag)),
    );
    served
        .post(&format!("/{trigger}"), headers, body.to_vec())
        .await
        .status
}

#[test]
fn what_cannot_be_is_refused_before_anybody_is_asked() {
    let line = |repository: &str, url: &str| {
        args(&format!(
            "github --repository {repository} --trigger {TRIGGER} --url {url}"
        ))
    };
    for (repository, url, said) in [
        ("app", "https://hooks.example.com", "OWNER/NAME"),
        ("../app", "https://hooks.example.com", "OWNER/NAME"),
        ("team//app", "https://hooks.example.com", "OWNER/NAME"),
        ("team/app", "hooks.example.com", "relative URL"),
        ("team/app", "ftp://hooks.example.com", "https://"),
        (
            "team/app",
            "https://user:password@hooks.example.com",
            "user or a password",
        ),
    ] {
        let told = line(repository, url).unwrap_err();
        assert!(told.contains(said), "{repository} {url}: {told}");
    }
}

#[test]
fn the_triggers_url_is_made_of_an_address_or_is_given_whole() {
    let trigger: TriggerId = TRIGGER.parse().unwrap();
    for (given, expected) in [
        (
            "https://hooks.example.com",
            "https://hooks.example.com/webhook-github/",
        ),
        (
            "https://hooks.example.com/sw/",
            "https://hooks.example.com/sw/webhook-github/",
        ),
    ] {
        let url = hook_url(&given.parse().unwrap(), "github", trigger);
        assert_eq!(url.as_str(), format!("{expected}{TRIGGER}"));
    }
    let whole = format!("https://any.example.com/webhook-any/{TRIGGER}/secret");
    let url = hook_url(&whole.parse().unwrap(), "github", trigger);
    assert_eq!(url.as_str(), whole);
}
