//! Functions as processes of their own.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bundle::local::Runtime;

use super::fixture::{FUNCTIONS, PATIENCE, options, service};

/// Not a test when run by hand: the child that the others start, which is this binary with the function's name as the
/// filter of tests to run.
#[test]
fn runtimechild() {
    if std::env::var_os("EXIT_WITH_STDIN").is_none() {
        return;
    }
    let function = FUNCTIONS.iter().find(|it| it.name == "runtimechild");
    let ended = host::main(*function.expect("it is in the list"));
    assert_eq!(ended, std::process::ExitCode::SUCCESS);
}

async fn pid(runtime: &Runtime) -> Result<u32> {
    let url = format!("http://{}/runtimechild/pid", runtime.gateway());
    let client = reqwest::Client::new();
    let begun = std::time::Instant::now();
    loop {
        let response = client.get(&url).send().await?;
        if response.status().is_success() {
            return Ok(response.text().await?.parse()?);
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "the child does not answer: {}",
            response.status()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_isolated_function_is_a_process_that_is_started_again_and_ends_with_the_runtime()
-> Result<()> {
    let db = testkit::database().await;
    let mut options = options(&db, &[service("runtimechild", "", 20, 0)])?;
    options.isolate = vec!["runtimechild".to_owned()];
    let runtime = Runtime::start(options).await?;
    let first = pid(&runtime).await?;
    assert_ne!(first, std::process::id());
    let url = format!("http://{}/runtimechild/a?b=c", runtime.gateway());
    let text = reqwest::Client::new()
        .post(&url)
        .header("host", "localhost")
        .body("x")
        .send()
        .await?
        .text()
        .await?;
    assert_eq!(
        text,
        "runtimechild /a?b=c host=localhost forwarded=localhost body=x"
    );
    let stream = format!("http://{}/runtimechild/stream", runtime.gateway());
    let mut stream = reqwest::Client::new().get(stream).send().await?;
    assert!(
        stream.chunk().await?.is_some(),
        "a stream comes through unbuffered"
    );
    let killed = tokio::process::Command::new("kill")
        .args(["-9", &first.to_string()])
        .status()
        .await?;
    assert!(killed.success());
    let second = pid(&runtime).await?;
    assert_ne!(first, second);
    runtime.stop().await;
    assert!(
        !std::path::Path::new(&format!("/proc/{second}")).exists(),
        "it ended with the runtime"
    );
    Ok(())
}

#[tokio::test]
async fn a_child_does_not_outlive_a_parent_that_was_killed() -> Result<()> {
    let db = testkit::database().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    drop(listener);
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .arg("runtimechild")
        .env("EXIT_WITH_STDIN", "1")
        .env("HOST_LOOPBACK", "1")
        .env("PORT", port.to_string())
        .env("DATABASE_URL", db.owner_url())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What the kernel does for a parent that has died.
    drop(child.stdin.take());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert!(ended.context("it stays")??.success());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_isolated_is_named_with_what_can() -> Result<()> {
    let db = testkit::database().await;
    let mut options = options(&db, &[service("echo", "", 20, 0)])?;
    options.isolate = vec!["ecco".to_owned()];
    let error = Runtime::start(options)
        .await
        .expect_err("there is no such function");
    assert!(
        error.to_string().contains("\"ecco\"") && error.to_string().contains("echo"),
        "{error}"
    );
    Ok(())
}
