use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use egress::EgressSettings;
use http::{Method, StatusCode};
use testkit::Https;

use super::*;

/// What the double was asked for: method, path with query, and what was shown.
type Asked = Arc<Mutex<Vec<(Method, String, Option<String>)>>>;

/// A registry that hands out tokens, lists tags in two pages, and knows when nothing changed.
async fn registry() -> (Https, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let answer = move |request: Request| {
        let seen = Arc::clone(&seen);
        async move {
            let header = |name: &str| {
                let value = request.headers().get(name)?.to_str().ok()?;
                Some(value.to_owned())
            };
            let path = request.uri().to_string();
            let shown = header("authorization");
            let asked = (request.method().clone(), path.clone(), shown.clone());
            seen.lock().expect("no test panics here").push(asked);
            let host = header("host").unwrap_or_default();
            let status = |status: StatusCode| Response::builder().status(status);
            let body = |text: &str| Body::from(text.to_owned());
            if path.starts_with("/token?") {
                return status(StatusCode::OK).body(body(r#"{"token": "good"}"#));
            }
            if shown.as_deref() != Some("Bearer good") {
                let challenge = format!(r#"Bearer realm="https://{host}/token",service="double""#);
                return status(StatusCode::UNAUTHORIZED)
                    .header("www-authenticate", challenge)
                    .body(Body::empty());
            }
            let known = header("if-none-match");
            match path.as_str() {
                "/v2/one/tags/list?n=1000" if known.as_deref() == Some("\"list\"") => {
                    status(StatusCode::NOT_MODIFIED).body(Body::empty())
                }
                "/v2/one/tags/list?n=1000" => status(StatusCode::OK)
                    .header("etag", "\"list\"")
                    .body(body(r#"{"tags": ["v1", "not a tag"]}"#)),
                "/v2/two/tags/list?n=1000" => status(StatusCode::OK)
                    .header("link", r#"</v2/two/tags/list?last=a>; rel="next""#)
                    .body(body(r#"{"tags": ["a"]}"#)),
                "/v2/two/tags/list?last=a" => {
                    status(StatusCode::OK).body(body(r#"{"tags": ["b"]}"#))
                }
                "/v2/far/tags/list?n=1000" => status(StatusCode::OK)
                    .header("link", r#"<https://elsewhere.test/>; rel="next""#)
                    .body(body(r#"{"tags": null}"#)),
                "/v2/one/manifests/v1" if known.as_deref() == Some("\"sha256:aa\"") => {
                    status(StatusCode::NOT_MODIFIED).body(Body::empty())
                }
                "/v2/one/manifests/v1" => status(StatusCode::OK)
                    .header("docker-content-digest", "sha256:bb")
                    .body(Body::empty()),
                "/v2/one/manifests/silent" => status(StatusCode::OK).body(body("{}")),
                "/v2/one/manifests/last" => status(StatusCode::OK)
                    .header("ratelimit-remaining", "0;w=21600")
                    .header("docker-content-digest", "sha256:cc")
                    .body(Body::empty()),
                "/v2/busy/tags/list?n=1000" => status(StatusCode::TOO_MANY_REQUESTS)
                    .header("retry-after", "120")
                    .body(Body::empty()),
                _ => status(StatusCode::NOT_FOUND).body(Body::empty()),
            }
        }
    };
    let answer = move |request: Request| {
        let answer = answer.clone();
        async move { answer(request).await.expect("a response") }
    };
    (Https::serve(Router::new().fallback(answer)).await, asked)
}

fn egress(https: &Https, allow: Option<String>) -> TenantEgress {
    let settings = EgressSettings {
        allow,
        ca_file: Some(https.certificate().to_owned()),
    };
    settings.client().expect("a client")
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown_with_each_question() {
    let (https, asked) = registry().await;
    let egress = egress(&https, Some(https.authority()));
    let url = https.url();
    let registry = Registry::new(&egress, &url, "one", None).expect("a registry");
    let tags = registry.tags(None).await.expect("an answer");
    assert_eq!(
        tags,
        Tags::These(vec!["v1".to_owned()], Some("\"list\"".to_owned()))
    );
    assert_eq!(registry.tags(Some("\"list\"")).await, Ok(Tags::Unchanged));
    let tokens = asked.lock().expect("no test panics here");
    let tokens = tokens
        .iter()
        .filter(|(_, path, _)| path.starts_with("/token"));
    let paths: Vec<_> = tokens.map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        ["/token?service=double&scope=repository%3Aone%3Apull"]
    );
}

#[tokio::test]
async fn pages_are_followed_where_they_stay_at_the_registry() {
    let (https, _) = registry().await;
    let egress = egress(&https, Some(https.authority()));
    let url = https.url();
    let two = Registry::new(&egress, &url, "two", None).expect("a registry");
    let tags = two.tags(None).await.expect("an answer");
    assert_eq!(
        tags,
        Tags::These(vec!["a".to_owned(), "b".to_owned()], None)
    );
    let far = Registry::new(&egress, &url, "far", None).expect("a registry");
    let failure = far.tags(None).await.expect_err("it leads elsewhere");
    assert!(
        failure.problem.contains("leads elsewhere"),
        "{}",
        failure.problem
    );
}

#[tokio::test]
async fn a_digest_is_told_confirmed_or_made_and_a_limit_is_heeded() {
    let (https, asked) = registry().await;
    let egress = egress(&https, Some(https.authority()));
    let url = https.url();
    let registry = Registry::new(&egress, &url, "one", None).expect("a registry");
    let digest = async |tag, known| registry.digest(tag, known).await.expect("an answer");
    let named = |text: &str| Named::Digest(text.to_owned());
    assert_eq!(digest("v1", None).await, named("sha256:bb"));
    assert_eq!(digest("v1", Some("sha256:aa")).await, named("sha256:aa"));
    let of_braces = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(digest("silent", None).await, named(of_braces));
    assert_eq!(digest("absent", None).await, Named::Gone);
    assert_eq!(digest("last", None).await, Named::NoMore);
    let fetched = {
        let asked = asked.lock().expect("no test panics here");
        let fetched = asked
            .iter()
            .filter(|(method, path, _)| method == Method::GET && path.contains("manifests"));
        fetched.count()
    };
    assert_eq!(fetched, 1, "only what does not say its digest is fetched");
    let busy = Registry::new(&egress, &url, "busy", None).expect("a registry");
    let failure = busy.tags(None).await.expect_err("it is busy");
    assert_eq!(failure.wait, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn a_registry_inside_is_not_called_unless_the_operator_allows_it() {
    let (https, asked) = registry().await;
    let egress = egress(&https, None);
    let url = https.url();
    let registry = Registry::new(&egress, &url, "one", None).expect("a registry");
    let failure = registry.tags(None).await.expect_err("it is inside");
    assert!(
        failure.problem.starts_with("egress denied"),
        "{}",
        failure.problem
    );
    assert!(asked.lock().expect("no test panics here").is_empty());
}
