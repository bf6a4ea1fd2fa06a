//! Jobs from a shell: started, followed through a restart of everything, stopped; and what a program reads of it.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Installation, until};

/// How long anything may take, on a busy machine.
const SIGHT_MAX: Duration = Duration::from_secs(60);

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_through_a_restart_and_ends_as_its_job_does() {
    let mut it = Installation::new().await;
    let started = it.run(&["run", "nobodys", "--payload", r#"{"a": 1}"#, "--detach"]);
    assert!(started.status.success(), "{}", text(&started));
    let id = String::from_utf8_lossy(&started.stdout).trim().to_owned();
    let job: i64 = id.parse().expect("a number");

    it.print(job, "line ", 1, 2_000).await;
    let printed = it.folder().join("followed");
    let file = std::fs::File::create(&printed).expect("our folder");
    let mut following = it
        .command(&["logs", "-f", &id])
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let lines = || {
        let text = std::fs::read_to_string(&printed).unwrap_or_default();
        text.lines().count()
    };
    until("the first lines", SIGHT_MAX, || async {
        (lines() >= 2_000).then_some(())
    })
    .await;
    it.kill();
    it.print(job, "line ", 2_001, 4_000).await;
    it.start_again().await;
    until("the lines after the restart", SIGHT_MAX, || async {
        (lines() >= 4_000).then_some(())
    })
    .await;

    let cancelled = it.run(&["cancel", &id, "--wait", "-o", "json"]);
    assert!(cancelled.status.success(), "{}", text(&cancelled));
    let told: Value = serde_json::from_slice(&cancelled.stdout).expect("JSON");
    assert_eq!(
        (&told["job"], &told["state"]),
        (&job.into(), &"cancelled".into())
    );
    let code = following.wait().expect("our child").code();
    assert_eq!(code, Some(130), "the job was cancelled");
    let expected: Vec<_> = (1..=4_000).map(|n| format!("line {n}")).collect();
    let seen = std::fs::read_to_string(&printed).expect("our file");
    assert!(
        seen.lines().eq(expected.iter()),
        "each line once, in its order"
    );

    let again = it.run(&["cancel", &id]);
    assert_eq!(
        again.status.code(),
        Some(0),
        "it has stopped: {}",
        text(&again)
    );
    assert!(text(&again).contains("already"), "{}", text(&again));
    let whole = it.run(&["logs", &id]);
    assert_eq!(String::from_utf8_lossy(&whole.stdout), seen);
    let none = it.run(&["logs", &id, "--since", "2100-01-01T00:00:00Z"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(0), 0));
    let json = it.run(&["logs", "-f", &id, "-o", "json"]);
    assert_eq!(json.status.code(), Some(130));
    let told: Vec<Value> = String::from_utf8_lossy(&json.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(told.len(), 4_001);
    assert_eq!(told[3_999]["line"]["text"], "line 4000");
    assert_eq!(told[4_000]["end"]["state"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_or_found_is_said() {
    let it = Installation::new().await;
    let missing = it.folder().join("nothing-here");
    let missing = missing.to_str().expect("our folders are text");
    for (arguments, code, words) in [
        (vec!["logs", "999999"], 1, "there is no such thing"),
        (vec!["cancel", "999999"], 1, "there is no such thing"),
        (vec!["logs", "-f", "999999"], 1, "there is no such thing"),
        (vec!["logs", "x"], 2, "x"),
        (vec!["run", "terraform"], 78, "./dir"),
        (vec!["run", "terraform", missing], 1, "nothing-here"),
        (vec!["run", "task-static", missing], 78, "--payload"),
        (vec!["run", "task-x", "--payload", "{"], 78, "JSON"),
        (vec!["logs", "1", "--tenant", "nobody"], 1, "no tenant"),
    ] {
        let output = it.run(&arguments);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let tenants: i64 = sqlx::query_scalar("select count(*) from switchyard.tenants")
        .fetch_one(it.rows())
        .await
        .expect("a count");
    assert_eq!(tenants, 1, "a misspelt tenant is not made");
}
