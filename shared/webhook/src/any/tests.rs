use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use model::TriggerId;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::inbox::{InboxError, Incoming, Recorded, Rejection};
use crate::{PathHash, PathSecrets};

const SECRET: &str = "the trigger's secret";
const IN_PATH: &str = "a secret/in a path";

fn trigger(n: u128) -> TriggerId {
    TriggerId::from(Uuid::from_u128(n))
}

/// Trigger 1 has a secret, 2 one in its path, 3 is for one network. Remembers what was refused.
#[derive(Clone, Default)]
struct Triggers(Arc<Mutex<Vec<(bool, Rejection)>>>);

impl Inbox for Triggers {
    type Trigger = TriggerId;

    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn sender_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let last = headers
            .get(FORWARDED_FOR)?
            .to_str()
            .ok()?
            .rsplit(", ")
            .next()?;
        last.parse().ok()
    }

    async fn trigger(&self, id: TriggerId) -> Result<Option<(TriggerId, Secrets)>, InboxError> {
        let scheme = |scheme: Value| Some(serde_json::from_value(scheme).expect("a scheme"));
        let secrets = match id.uuid().as_u128() {
            1 => Secrets::new(SECRET.into(), None),
            2 => Secrets::none()
                .with_scheme(scheme(json!({"kind": "path"})))
                .with_path(PathSecrets {
                    current: Some(PathHash::of(&IN_PATH.into())),
                    previous: None,
                }),
            3 => Secrets::none().with_scheme(scheme(
                json!({"kind": "none", "networks": ["192.0.2.0/24"]}),
            )),
            _ => return Ok(None),
        };
        Ok(Some((id, secrets)))
    }

    async fn record(&self, _: &TriggerId, _: Incoming) -> Result<Recorded, InboxError> {
        Err(InboxError::Failed("nothing is kept here".into()))
    }

    async fn reject(&self, it: Option<&TriggerId>, why: Rejection) -> Result<(), InboxError> {
        let mut refused = self.0.lock().expect("no test panics while it holds this");
        refused.push((it.is_some(), why));
        Ok(())
    }
}

/// Remembers what was handed on, and answers 202, or not at all.
#[derive(Clone, Default)]
struct Behind {
    handed: Arc<Mutex<Vec<HandedOn>>>,
    down: bool,
}

impl HandOn<Triggers> for Behind {
    async fn hand_on(&self, _: &Triggers, request: HandedOn) -> Result<Response, Unreached> {
        let function = request.function;
        self.handed.lock().expect("no test panics").push(request);
        if self.down {
            let source = "connection refused".into();
            return Err(Unreached { function, source });
        }
        Ok((StatusCode::ACCEPTED, r#"{"verdict":"accepted"}"#).into_response())
    }
}

struct Tried {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    handed: Vec<HandedOn>,
    refused: Vec<(bool, Rejection)>,
}

async fn tried(behind: Behind, request: Request<Body>) -> Tried {
    let triggers = Triggers::default();
    let router = any(behind.clone(), Taking::default()).with_state(triggers.clone());
    let response = router.oneshot(request).await.expect("a router answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let handed = std::mem::take(&mut *behind.handed.lock().expect("no test panics"));
    let refused = std::mem::take(&mut *triggers.0.lock().expect("no test panics"));
    Tried {
        status: parts.status,
        headers: parts.headers,
        body,
        handed,
        refused,
    }
}

fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

fn hmac(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn each_request_goes_to_the_function_of_who_claims_it() {
    let basic = "Basic YXp1cmU6dGhlIHRyaWdnZXIncyBzZWNyZXQ=";
    let plain = r#"{"hello": 1}"#;
    let (prefixed, bare) = (format!("sha256={}", hmac(plain)), hmac(plain));
    let by_header: &[(&[(&str, &str)], &str)] = &[
        (
            &[
                ("x-github-event", "push"),
                ("x-hub-signature-256", &prefixed),
            ],
            "webhook-github",
        ),
        // A name that GitHub gives nothing is GitHub's to refuse.
        (
            &[
                ("x-github-event", "../../x"),
                ("x-hub-signature-256", &prefixed),
            ],
            "webhook-github",
        ),
        (
            &[
                ("x-github-event", "push"),
                ("x-gogs-event", "push"),
                ("x-gitea-event", "push"),
                ("x-gitea-signature", &bare),
            ],
            "webhook-gitea",
        ),
        (
            &[("x-forgejo-event", "push"), ("x-forgejo-signature", &bare)],
            "webhook-gitea",
        ),
        (
            &[("x-gitlab-event", "Push Hook"), ("x-gitlab-token", SECRET)],
            "webhook-gitlab",
        ),
        (
            &[("x-event-key", "repo:push"), ("x-hub-signature", &prefixed)],
            "webhook-bitbucket",
        ),
        (
            &[("x-nexus-webhook-id", "x"), ("authorization", SECRET)],
            "webhook-registry",
        ),
        (
            &[
                ("ce-type", "x"),
                ("authorization", "Bearer the trigger's secret"),
            ],
            "webhook-cloudevents",
        ),
        (
            &[
                (
                    "content-type",
                    "Application/CloudEvents+JSON; charset=utf-8",
                ),
                ("authorization", SECRET),
            ],
            "webhook-cloudevents",
        ),
        (
            &[
                ("content-type", "application/json"),
                ("authorization", SECRET),
            ],
            "webhook-generic",
        ),
        (&[("authorization", basic)], "webhook-generic"),
    ];
    let path = format!("/{}", trigger(1));
    for (headers, function) in by_header {
        let tried = tried(Behind::default(), post(&path, headers, plain)).await;
        assert_eq!(tried.status, StatusCode::ACCEPTED, "{headers:?}");
        assert_eq!(tried.body, r#"{"verdict":"accepted"}"#);
        assert_eq!(tried.handed.len(), 1);
        assert_eq!(tried.handed[0].function, *function, "{headers:?}");
        assert_eq!(tried.handed[0].body, plain);
        assert!(tried.refused.is_empty());
    }
    for (body, function) in [
        (
            r#"{"eventType": "git.push", "publisherId": "tfs"}"#,
            "webhook-azure",
        ),
        (
            r#"{"events": [{"id": "a", "action": "push"}, 1]}"#,
            "webhook-registry",
        ),
        (r#"{"push_data": {}}"#, "webhook-registry"),
        (
            r#"[{"specversion": "1.0", "id": "a", "source": "b", "type": "c"}]"#,
            "webhook-cloudevents",
        ),
        // What is no JSON has no shape; it is refused or taken by who takes anything.
        (r#"{"push_data": {}"#, "webhook-generic"),
        ("", "webhook-generic"),
    ] {
        let tried = tried(
            Behind::default(),
            post(&path, &[("authorization", basic)], body),
        )
        .await;
        assert_eq!(tried.handed[0].function, function, "{body}");
    }
}

#[tokio::test]
async fn what_does_not_verify_is_counted_here_and_handed_to_nobody() {
    let push = [("x-github-event", "push")];
    let signature = format!("sha256={}", hmac("{}"));
    for (path, headers, known) in [
        (format!("/{}", trigger(1)), &push[..], true),
        (
            format!("/{}", trigger(1)),
            &[
                ("x-gitea-event", "push"),
                ("x-hub-signature-256", &signature),
            ][..],
            true,
        ),
        (format!("/{}", trigger(2)), &push[..], true),
        (format!("/{}/another", trigger(2)), &push[..], true),
        (
            format!("/{}", trigger(9)),
            &[
                ("x-github-event", "push"),
                ("x-hub-signature-256", &signature),
            ][..],
            false,
        ),
        ("/x".to_owned(), &push[..], false),
        ("/%ff/%ff".to_owned(), &push[..], false),
    ] {
        let tried = tried(Behind::default(), post(&path, headers, "{}")).await;
        assert_eq!(tried.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(tried.handed.is_empty(), "{path}");
        let counted: Vec<bool> = tried.refused.iter().map(|it| it.0).collect();
        assert_eq!(counted, [known], "{path}");
        assert_eq!(tried.refused[0].1.vendor, "any");
    }
}

#[tokio::test]
async fn a_request_is_handed_on_as_it_came_from_where_our_proxies_say() {
    let path = format!("/{}", trigger(3));
    let headers = [
        ("x-forwarded-for", "198.51.100.1, 192.0.2.7"),
        ("forwarded", "for=198.51.100.1"),
        ("host", "hooks.example.test"),
        ("connection", "close"),
        ("content-length", "2"),
        ("x-custom", "kept"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let tried = tried(Behind::default(), post(&path, &headers, "{}")).await;
    let names: Vec<_> = tried.handed[0].headers.iter().collect();
    assert_eq!(
        names
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect::<std::collections::BTreeMap<_, _>>(),
        [
            ("traceparent", headers[6].1),
            ("x-custom", "kept"),
            ("x-forwarded-for", "192.0.2.7"),
        ]
        .into()
    );
}

#[tokio::test]
async fn a_secret_in_the_path_goes_on_in_the_path() {
    let path = format!("/{}/a%20secret%2Fin%20a%20path", trigger(2));
    let tried = tried(Behind::default(), post(&path, &[], r#"{"push_data": {}}"#)).await;
    assert_eq!(tried.status, StatusCode::ACCEPTED);
    let [handed] = &tried.handed[..] else {
        panic!("{:?}", tried.handed);
    };
    assert_eq!(format!("/{}", handed.path.expose_secret()), path);
    assert!(!format!("{handed:?}").contains("secret%2F"), "{handed:?}");
}

#[tokio::test]
async fn a_function_that_does_not_answer_is_503_with_a_time_to_come_again() {
    let behind = Behind {
        down: true,
        ..Behind::default()
    };
    let path = format!("/{}", trigger(1));
    let tried = tried(behind, post(&path, &[("authorization", SECRET)], "{}")).await;
    assert_eq!(tried.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(tried.headers.contains_key(RETRY_AFTER));
    assert!(tried.refused.is_empty());
}

#[test]
fn an_outline_is_as_like_a_body_as_the_shapes_need() {
    let long = "я".repeat(1000);
    let body =
        json!({"a": [{"b": {"c": {"d": 1}}}, 2, 3], "long": long, "n": null, "f": 1.5, "t": true});
    let Outline(outline) = crate::read_json(body.to_string().as_bytes()).expect("JSON");
    assert_eq!(
        outline,
        json!({"a": [{"b": {"c": {}}}], "long": "я".repeat(32), "n": null, "f": 1.5, "t": true})
    );
}
