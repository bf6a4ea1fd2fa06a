//! Who answers under which host and path, and the limits in front of a function.

use std::time::{Duration, Instant};

use anyhow::Result;
use axum::http::StatusCode;
use bundle::local::Runtime;

use super::fixture::{service, start};

async fn get(runtime: &Runtime, host: &str, path: &str) -> Result<(StatusCode, String)> {
    let url = format!("http://{}{path}", runtime.gateway());
    let response = reqwest::Client::new()
        .get(url)
        .header("host", host)
        .send()
        .await?;
    Ok((response.status(), response.text().await?))
}

#[tokio::test]
async fn requests_go_where_host_and_path_say() -> Result<()> {
    let db = testkit::database().await;
    let local = "networking.knative.dev/visibility: cluster-local";
    let files = [
        service("echo", "", 10, 0),
        service("portal", "", 10, 0),
        service("runtimechild", local, 10, 0),
        service("site", "", 10, 0),
    ];
    let runtime = start(&db, &files).await?;
    let port = runtime.gateway().port();
    for (host, path, expected) in [
        (
            "localhost",
            "/echo/a/b?c=d",
            "echo /a/b?c=d host=localhost forwarded=localhost body=",
        ),
        (
            "127.0.0.1",
            "/echo",
            "echo / host=127.0.0.1 forwarded=127.0.0.1 body=",
        ),
        (
            "[::1]",
            "/echoes",
            "portal /echoes host=[::1] forwarded=[::1] body=",
        ),
        (
            "switchyard.localhost",
            "/",
            "portal / host=switchyard.localhost forwarded=switchyard.localhost body=",
        ),
        (
            "demo.localhost:8080",
            "/echo/",
            "site /echo/ host=demo.localhost:8080 forwarded=demo.localhost:8080 body=",
        ),
    ] {
        assert_eq!(
            get(&runtime, host, path).await?,
            (StatusCode::OK, expected.to_owned())
        );
    }
    let (status, _) = get(&runtime, "localhost", "/runtimechild/").await?;
    assert_eq!(
        status,
        StatusCode::NOT_FOUND,
        "cluster-local has no address outside"
    );
    for host in ["evil.example", "localhost.evil.example", "192.168.1.1"] {
        let (status, why) = get(&runtime, &format!("{host}:{port}"), "/echo/").await?;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(
            why.contains(host) && why.contains("is not served here"),
            "{why}"
        );
    }
    let posted = reqwest::Client::new()
        .post(format!("http://{}/echo/", runtime.gateway()))
        .header("x-forwarded-host", "forged.example")
        .body("text")
        .send()
        .await?
        .text()
        .await?;
    assert!(
        posted.ends_with("body=text") && !posted.contains("forged"),
        "{posted}"
    );
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_request_that_has_no_answer_in_time_is_504_and_a_stream_is_cut_then() -> Result<()> {
    let db = testkit::database().await;
    let runtime = start(&db, &[service("echo", "", 1, 0)]).await?;
    let (status, why) = get(&runtime, "localhost", "/echo/slow").await?;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(why.contains("timeoutSeconds"), "{why}");
    let begun = Instant::now();
    let url = format!("http://{}/echo/stream", runtime.gateway());
    let mut stream = reqwest::Client::new().get(url).send().await?;
    let first = stream.chunk().await?;
    assert_eq!(
        first.as_deref(),
        Some(b"data: 1\n\n".as_slice()),
        "nothing is held back"
    );
    assert!(begun.elapsed() < Duration::from_millis(900));
    assert!(
        stream.chunk().await.is_err(),
        "a stream that was cut has not ended well"
    );
    runtime.stop().await;
    Ok(())
}

#[tokio::test]
async fn requests_beyond_the_concurrency_of_a_service_wait_for_a_place() -> Result<()> {
    let db = testkit::database().await;
    let runtime = start(&db, &[service("echo", "", 20, 1)]).await?;
    let url = format!("http://{}/echo/", runtime.gateway());
    let mut holds = reqwest::Client::new()
        .get(format!("{url}stream"))
        .send()
        .await?;
    holds.chunk().await?;
    let mut waits = Box::pin(reqwest::Client::new().get(url).send());
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waits).await;
    assert!(early.is_err(), "the one place is taken by the stream");
    drop(holds);
    assert_eq!(waits.await?.status(), StatusCode::OK);
    runtime.stop().await;
    Ok(())
}
