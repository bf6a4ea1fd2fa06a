//! What watches the system fits it: rules and dashboard speak of nothing that a running system does not tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::harness::{Machine, client, turn, until};
use crate::outside;

const WITHIN: Duration = Duration::from_secs(40);

fn folder() -> PathBuf {
    outside::root().join("monitoring")
}

/// Runs `promtool`; the test's end where there is none.
fn promtool(arguments: &[&str]) {
    let output = match Command::new("promtool")
        .args(arguments)
        .current_dir(folder())
        .output()
    {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return outside::skipped(
                "there is no promtool; Debian has it in the package prometheus",
            );
        }
        Err(error) => panic!("promtool cannot be run: {error}"),
    };
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The names of our metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("switchyard_"))
        .map(str::to_owned)
        .collect()
}

/// What the queries of the dashboard's panels and variables speak of.
fn dashboard() -> BTreeSet<String> {
    let text = fs::read_to_string(folder().join("dashboard.json")).expect("the dashboard is there");
    let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    assert!(panels.len() > 20, "{} panels", panels.len());
    let mut spoken = names(&dashboard["templating"].to_string());
    for panel in panels {
        let targets = panel["targets"].as_array().expect("a panel has targets");
        for target in targets {
            let found = names(target["expr"].as_str().expect("a target has a query"));
            assert!(
                !found.is_empty(),
                "{} asks for nothing of ours",
                panel["title"]
            );
            spoken.extend(found);
        }
    }
    spoken
}

#[test]
fn the_rules_fire_when_they_should_and_only_then() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_system_tells_all_that_rules_and_dashboard_speak_of() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    // A tick each second, for nobody wants to wait.
    machine.edit(
        "triggers/cron-metrics.yaml",
        "*/15 * * * * *",
        "* * * * * *",
    );
    machine.start().await;
    let work = machine.ingress("work").await;
    let root = format!("http://127.0.0.1:{}", machine.port());
    let http = client();
    // A worker is seen from its first wake-up on.
    let woken = http
        .post(&work)
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/test")
        .header("ce-type", "dev.switchyard.job.queued.v1")
        .header("ce-task", "task-static")
        .header("ce-executor", "builtin")
        .header("content-type", "application/json")
        .body(r#"{"task":"task-static"}"#)
        .send()
        .await
        .expect("the Broker answers");
    assert_eq!(woken.status(), StatusCode::ACCEPTED);
    let told = until("what was measured of a worker", WITHIN, || async {
        let told = get(&http, &format!("{root}/metrics")).await;
        told.contains("switchyard_task_worker_last_heartbeat_timestamp_seconds{")
            .then_some(told)
            .filter(|told| told.contains("switchyard_relay_hears{"))
    })
    .await;
    assert!(told.ends_with("# EOF\n"), "the text has one end");
    let told: BTreeSet<String> = told
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(names)
        .collect();
    let rules = fs::read_to_string(folder().join("alerts.yaml")).expect("the rules are there");
    let missing: Vec<_> = names(&rules)
        .union(&dashboard())
        .filter(|name| !told.contains(*name))
        .cloned()
        .collect();
    assert!(
        missing.is_empty(),
        "nobody tells {missing:?}; there are {told:#?}"
    );

    let diagnosis = get(&http, &format!("{root}/diag")).await;
    let diagnosis: Value = serde_json::from_str(&diagnosis).expect("a diagnosis is JSON");
    assert_eq!(diagnosis["status"], "ok", "{diagnosis:#}");
    assert_eq!(diagnosis["workers"][0]["function"], "task-static");
    // What people reach does not tell it: the portal answers with a page of its own, or none.
    let api = get(&http, &format!("{root}/api/metrics")).await;
    assert!(!api.contains("switchyard_"), "{api}");
}

async fn get(http: &Client, url: &str) -> String {
    let answer = http.get(url).send().await.expect("the machine answers");
    answer.text().await.expect("an answer is text")
}
