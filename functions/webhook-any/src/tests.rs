//! The function as it is served, on a database, with one function behind it on a port of this machine.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use host::{Resources, ServeLimits, serve};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use webhook::conformance::SECRET;
use webhook_testkit::{Served, respond};

use super::*;

const FUNCTIONS: [&str; 8] = [
    "WEBHOOK_AZURE_URL",
    "WEBHOOK_BITBUCKET_URL",
    "WEBHOOK_CLOUDEVENTS_URL",
    "WEBHOOK_GENERIC_URL",
    "WEBHOOK_GITEA_URL",
    "WEBHOOK_GITHUB_URL",
    "WEBHOOK_GITLAB_URL",
    "WEBHOOK_REGISTRY_URL",
];

type Seen = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

/// A function that tells what it was sent, at the URL of which the answer is made.
async fn behind() -> (String, Seen, DropGuard) {
    let seen = Seen::default();
    let sees = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        let sees = Arc::clone(&sees);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let path = parts.uri.path().to_owned();
            sees.lock()
                .expect("no test panics")
                .push((path, parts.headers, body));
            (
                StatusCode::CONFLICT,
                [("retry-after", "7"), ("x-more", "x")],
                "taken",
            )
                .into_response()
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/behind/",
        listener.local_addr().expect("an address")
    );
    let stop = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "a test spawns its own server")]
    tokio::spawn(serve(
        listener,
        router,
        ServeLimits::default(),
        stop.clone(),
    ));
    (url, seen, stop.drop_guard())
}

async fn served(url: &str) -> Served {
    let settings = FUNCTIONS.map(|name| (name, url.to_owned()));
    let resources = Resources::new().expect("an HTTP client");
    Served::set(&FUNCTION, &resources, &settings).await
}

#[tokio::test]
async fn the_answer_of_the_function_behind_is_the_answer() {
    let (url, seen, _stop) = behind().await;
    let it = served(&url).await;
    let trigger = it.git_trigger().await;
    let headers = HeaderMap::from_iter([
        (
            "x-gitlab-event".parse().expect("a name"),
            "Push Hook".parse().expect("a value"),
        ),
        (
            "x-gitlab-token".parse().expect("a name"),
            SECRET.parse().expect("a value"),
        ),
    ]);
    let answer = respond(&it.router, &format!("/{trigger}"), headers, "{}").await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(answer.headers()["retry-after"], "7");
    assert!(!answer.headers().contains_key("x-more"));
    let body = answer.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "taken");
    let seen = seen.lock().expect("no test panics");
    let [(path, headers, body)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (path, &body[..]),
        (&format!("/behind/{trigger}"), &b"{}"[..])
    );
    assert_eq!(headers["x-gitlab-token"], SECRET);
}

#[tokio::test]
async fn nobody_behind_is_503_and_what_does_not_verify_is_counted_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", nobody.local_addr().expect("an address"));
    drop(nobody);
    let it = served(&url).await;
    let path = format!("/{}", it.git_trigger().await);
    let with = |secret: &'static str| {
        HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            secret.parse().expect("a value"),
        )])
    };
    let answer = respond(&it.router, &path, with(SECRET), "{}").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let answer = it.post(&path, with("another"), "{}").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let counted: (i64, i64) = sqlx::query_as(
        "select (select sum(count)::bigint from switchyard.rejections), count(*) from switchyard.deliveries where vendor = 'any'",
    )
    .fetch_one(&it.rows)
    .await
    .expect("rows");
    assert_eq!(counted, (1, 1));
}

#[test]
fn a_function_without_a_url_stops_the_start() {
    let env = FUNCTIONS[1..]
        .iter()
        .fold(Env::default().with("MASTER_KEY_FILE", "/k"), |env, name| {
            env.with(name, "http://a.test/")
        });
    let error = routes(&env).err().map(|error| error.to_string());
    assert!(error.expect("it is missing").contains("WEBHOOK_AZURE_URL"));
    let error = routes(&env.with("WEBHOOK_AZURE_URL", "https://a.test/")).err();
    assert!(error.is_some_and(|error| error.to_string().contains("an http: URL")));
}
