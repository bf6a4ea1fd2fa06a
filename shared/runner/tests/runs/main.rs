//! Real runners against a callback endpoint that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod endpoint;

use std::time::Duration;

use exec::Processes;
use model::run::{ARTIFACT_PART_BYTES, RunEnd, StepState};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use endpoint::{Mood, World, exit};

/// The exit code of a runner whose run is over.
const OVER: i32 = 3;

fn spec(steps: &[(&str, &str)]) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|(name, script)| json!({"name": name, "run": {"local": {"argv": ["sh", "-c", script]}}}))
        .collect();
    json!({
        "phase": "test",
        "steps": steps,
        "limits": {"time_secs": 60, "log_bytes": 1_000_000_000, "artifact_bytes": 100_000_000, "artifacts": 10},
        "heartbeat_ms": 200,
    })
}

fn with(mut spec: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut spec);
    spec
}

#[tokio::test]
async fn a_run_takes_its_steps_and_says_how_it_ended() {
    let spec = with(
        spec(&[
            ("one", "echo first; echo aside >&2"),
            ("two", "cat given/file; exit 2"),
            ("three", "echo never"),
        ]),
        |spec| {
            spec["files"] = json!([{"path": "given/file", "content": {"text": "what is in it\n"}}]);
            spec["steps"].as_array_mut().unwrap().push(json!(
            {"name": "always", "run": {"local": {"argv": ["echo", "in any case"]}}, "always": true}
        ));
        },
    );
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    let mut texts = world.texts();
    texts[..2].sort();
    assert_eq!(texts, ["aside", "first", "what is in it", "in any case"]);
    use StepState::{Failed, Skipped, Succeeded};
    assert_eq!(world.states(), [Succeeded, Failed, Skipped, Succeeded]);
    let over = world.end();
    assert_eq!(over.end, RunEnd::Failed);
    assert_eq!(
        over.reason.as_deref(),
        Some("two ended with exit code 2: what is in it")
    );
    assert_eq!(over.report.exit_codes.get("two"), Some(&2));
    assert!(
        !world.folder.path().join("runs/7-1").exists(),
        "its folder is gone"
    );
}

#[tokio::test]
async fn an_exit_code_that_is_no_failure_is_none() {
    let spec = with(spec(&[("plan", "exit 2")]), |spec| {
        spec["steps"][0]["ok_codes"] = json!([2]);
    });
    let world = World::new(spec).await;
    world.run().await;
    assert_eq!(world.end().end, RunEnd::Succeeded);
}

#[tokio::test]
async fn nothing_is_lost_or_said_twice_while_nobody_answers() {
    let world = World::new(spec(&[(
        "one",
        "for i in $(seq 1 200); do echo $i; sleep 0.01; done",
    )]))
    .await;
    let runner = world.start();
    world.until_said("20").await;
    for mood in [Mood::Away, Mood::Deaf, Mood::Good, Mood::Deaf, Mood::Away] {
        world.told().mood = mood;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    // It has ended meanwhile, and says so to whoever comes back.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.told().mood = Mood::Good;
    assert_eq!(exit(runner).await, 0);
    let expected: Vec<String> = (1..=200).map(|n| n.to_string()).collect();
    assert_eq!(world.texts(), expected);
    assert_eq!(world.end().end, RunEnd::Succeeded);
}

#[tokio::test]
async fn a_program_waits_when_nobody_takes_what_it_says() {
    let world = World::new(spec(&[("one", "seq 1 3000000")])).await;
    let runner = world.start();
    world
        .until("some lines", |told| told.lines.len() > 1000)
        .await;
    world.told().mood = Mood::Away;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let found = Processes::marked(&world.mark()).find();
    let of_runner = found.iter().find(|found| found.is_runner).unwrap();
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", of_runner.pid.as_raw_nonzero()))
            .unwrap();
    let memory: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap();
    assert!(memory < 100 * 1024, "{memory} KiB");
    world.told().mood = Mood::Good;
    assert_eq!(exit(runner).await, 0);
    let texts = world.texts();
    assert_eq!(
        (texts.len(), texts[2_999_999].as_str()),
        (3_000_000, "3000000")
    );
}

#[tokio::test]
async fn a_run_that_is_not_ours_any_more_stops_at_once() {
    let script = "trap '' INT TERM; (setsid sleep 1000 &); echo ready; while :; do sleep 0.1; done";
    let world = World::new(spec(&[("one", script)])).await;
    let runner = world.start();
    world.until_said("ready").await;
    world.told().mood = Mood::Over;
    assert_eq!(exit(runner).await, OVER);
    assert_eq!(world.processes(), 0);
    assert!(world.told().ends.is_empty());
    assert!(!world.folder.path().join("runs/7-1").exists());
}

fn patient(script: &str) -> Value {
    with(spec(&[("one", script), ("two", "echo never")]), |spec| {
        spec["steps"][0]["stop"] = json!({"first": "int", "grace_ms": 30_000, "term_ms": 1000});
    })
}

#[tokio::test]
async fn a_cancel_comes_with_the_answer_and_is_confirmed_when_nothing_runs() {
    let script = "trap 'echo asked; exit 1' INT; (setsid sleep 1000 &); echo ready; while :; do sleep 0.05; done";
    let world = World::new(patient(script)).await;
    let runner = world.start();
    world.until_said("ready").await;
    world.told().cancel = true;
    world.until("the end", |told| !told.ends.is_empty()).await;
    assert!(
        Processes::marked(&world.mark())
            .find()
            .iter()
            .all(|found| found.is_runner)
    );
    assert_eq!(exit(runner).await, 0);
    assert_eq!(world.texts(), ["ready", "asked"]);
    assert_eq!(world.end().end, RunEnd::Cancelled);
    assert_eq!(world.states(), [StepState::Stopped, StepState::Skipped]);
}

#[tokio::test]
async fn a_run_that_was_cancelled_before_it_began_does_not_begin() {
    let world = World::new(spec(&[("one", "echo never")])).await;
    world.told().cancel = true;
    assert_eq!(world.run().await, 0);
    assert!(world.texts().is_empty());
    assert_eq!(world.end().end, RunEnd::Cancelled);
    assert_eq!(world.states(), [StepState::Skipped]);
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_changes_nothing() {
    // It finishes what it is at when it is asked to stop.
    let world = World::new(spec(&[(
        "one",
        "trap 'echo done; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
    )]))
    .await;
    let runner = world.start();
    world.until_said("ready").await;
    world.told().cancel = true;
    assert_eq!(exit(runner).await, 0);
    assert_eq!(world.texts(), ["ready", "done"]);
    assert_eq!(world.end().end, RunEnd::Succeeded);
}

#[tokio::test]
async fn a_runner_that_is_asked_to_leave_says_that_it_was() {
    for (cancel, end) in [(false, RunEnd::Failed), (true, RunEnd::Cancelled)] {
        let world = World::new(patient(
            "trap 'exit 1' INT; echo ready; while :; do sleep 0.05; done",
        ))
        .await;
        let runner = world.start();
        world.until_said("ready").await;
        world.told().cancel = cancel;
        for found in Processes::marked(&world.mark()).find() {
            if found.is_runner {
                found.signal(Signal::TERM);
            }
        }
        assert_eq!(exit(runner).await, 0);
        let over = world.end();
        assert_eq!(over.end, end);
        assert_eq!(
            over.reason
                .is_some_and(|why| why.contains("asked to leave")),
            !cancel
        );
    }
}

#[tokio::test]
async fn programs_end_with_a_runner_that_is_killed() {
    let world = World::new(spec(&[("one", "echo ready; exec sleep 1000")])).await;
    let mut runner = world.start();
    world.until_said("ready").await;
    assert_eq!(world.processes(), 2);
    runner.kill().await.unwrap();
    let gone = Processes::marked(&world.mark())
        .gone_within(Duration::from_secs(5))
        .await;
    assert!(gone);
}

#[tokio::test]
async fn a_run_has_so_much_time() {
    let spec = with(
        patient("trap 'echo asked; exit 1' INT; while :; do sleep 0.05; done"),
        |spec| {
            spec["limits"]["time_secs"] = json!(1);
        },
    );
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    assert_eq!(world.texts(), ["asked"]);
    let over = world.end();
    assert_eq!(over.end, RunEnd::Failed);
    assert_eq!(
        over.reason.as_deref(),
        Some("the run took longer than 1 s and was stopped")
    );
}

#[tokio::test]
async fn a_missing_program_fails_at_once_and_says_where_it_comes_from() {
    let spec = with(spec(&[("init", "")]), |spec| {
        spec["steps"][0]["run"] = json!({"local": {"argv": ["terraform-of-old"], "install": "https://example.test/install"}});
    });
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    let reason = world.end().reason.unwrap();
    assert!(
        reason.starts_with("init: terraform-of-old is not installed"),
        "{reason}"
    );
    assert!(
        reason.ends_with("install it: https://example.test/install"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_poisonous_program_does_no_harm_to_its_runner() {
    let spec = with(
        spec(&[(
            "one",
            "head -c 300000000 /dev/zero; yes | head -c 20000000; kill -SEGV $$",
        )]),
        |spec| {
            spec["limits"]["log_bytes"] = json!(100_000);
        },
    );
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    let over = world.end();
    assert!(
        over.reason
            .unwrap()
            .starts_with("one ended with exit code 139")
    );
    assert!(
        over.report.lines_dropped > 9_000_000,
        "{}",
        over.report.lines_dropped
    );
    assert!(world.all_text().contains("the log is full"));
    assert!(world.all_text().len() < 200_000);
}

#[tokio::test]
async fn secrets_reach_programs_and_nothing_else() {
    let script = "echo \"$PW\"; printf hunter; sleep 0.3; echo '2-hunter2'; cat key; printf %s \"$PW\" | base64\n\
                  stat -c %a key; echo out-hunter2-hunter2 >&2; exit 3\n";
    let spec = with(spec(&[("one", "sh script")]), |spec| {
        spec["files"] = json!([{"path": "script", "content": {"text": script}}]);
        spec["secrets"] = json!([
            {"name": "password", "value": "hunter2-hunter2", "variable": "PW"},
            {"name": "key", "value": "line-one-of-it\nline-two-of-it\n", "file": "key"},
        ]);
    });
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    let all = format!(
        "{}{:?}{:?}",
        world.all_text(),
        world.end(),
        world.told().steps
    );
    for seen in ["hunter", "line-one", "line-two", "aHVudGVy"] {
        assert!(!all.contains(seen), "{seen} in {all}");
    }
    let mut texts = world.texts();
    texts.retain(|text| text != "out-***");
    assert_eq!(texts[..4], ["***", "***", "***", "***"]);
    assert_eq!(texts[5], "600");
}

#[tokio::test]
async fn a_program_cannot_find_the_runners_token() {
    let world = World::new(spec(&[(
        "one",
        "env | grep -c -e RUN_TOKEN -e CALLBACK; cat /proc/$PPID/environ; echo $?",
    )]))
    .await;
    assert_eq!(world.run().await, 0);
    let texts = world.texts();
    assert!(
        texts.contains(&"0".to_owned()) && texts.contains(&"1".to_owned()),
        "{texts:?}"
    );
    assert!(!world.all_text().contains("the-token"));
}

#[tokio::test]
async fn what_is_kept_arrives_in_parts_that_are_not_sent_twice() {
    let make = "head -c 9000000 /dev/zero > large; mkdir -p files/b; echo 1 > files/b/one; echo 2 > files/two; touch files/empty; ln -s /etc/passwd files/passwd";
    let spec = with(spec(&[("one", make)]), |spec| {
        spec["artifacts"] = json!([
            {"pattern": "large", "name": "a large/file", "sealed": true},
            {"pattern": "files/**", "archive": "files.tar"},
            {"pattern": "files/*"},
        ]);
    });
    let world = World::new(spec.clone()).await;
    // The second part is there already; and what arrives at first is not what was sent.
    let part = vec![0; ARTIFACT_PART_BYTES];
    world
        .told()
        .parts
        .insert(("a large/file".to_owned(), 1), part.into());
    assert_eq!(world.run().await, 0);
    let over = world.end();
    assert_eq!(over.end, RunEnd::Succeeded, "{over:?}");
    {
        let told = world.told();
        let names: Vec<&String> = told.artifacts.keys().collect();
        assert_eq!(
            names,
            ["a large/file", "files.tar", "files/empty", "files/two"]
        );
        let (said, bytes) = &told.artifacts["a large/file"];
        assert_eq!((said["parts"].as_u64(), bytes.len()), (Some(3), 9_000_000));
        assert_eq!(said["sealed"], json!(true));
        assert_eq!(told.parts_sent, 4);
        let (said, bytes) = &told.artifacts["files/empty"];
        assert_eq!((said["parts"].as_u64(), bytes.len()), (Some(0), 0));
        assert_eq!(
            over.report.artifacts["files/two"],
            hex::encode(Sha256::digest("2\n"))
        );
        let mut archive = tar::Archive::new(told.artifacts["files.tar"].1.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["files/b/one", "files/empty", "files/two"]);
    }
    // The same files at another time and place give the same bytes.
    let again = World::new(spec).await;
    again.told().broken = 1;
    assert_eq!(again.run().await, 0);
    assert_eq!(again.end().report.artifacts, over.report.artifacts);
}

#[tokio::test]
async fn what_must_be_there_and_is_not_fails_the_run() {
    let spec = with(spec(&[("one", "true")]), |spec| {
        spec["artifacts"] = json!([{"pattern": "*.plan", "required": true}]);
    });
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    assert_eq!(
        world.end().reason.as_deref(),
        Some("no file matches \"*.plan\", and one must")
    );
}

#[tokio::test]
async fn a_store_that_is_down_loses_nothing() {
    let spec = with(
        spec(&[("one", "echo kept > file; echo ready; sleep 1")]),
        |spec| {
            spec["artifacts"] = json!([{"pattern": "file"}]);
        },
    );
    let world = World::new(spec).await;
    let runner = world.start();
    world.until_said("ready").await;
    world.told().mood = Mood::Away;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.told().artifacts.is_empty());
    world.told().mood = Mood::Good;
    assert_eq!(exit(runner).await, 0);
    assert_eq!(world.told().artifacts["file"].1, b"kept\n");
}

#[tokio::test]
async fn a_presigned_place_gets_the_file_and_not_the_token() {
    let world = World::of(|endpoint| {
        let bucket = format!("{endpoint}/bucket/place?signature=x");
        with(
            spec(&[("one", "head -c 5000000 /dev/zero > large")]),
            |spec| {
                spec["artifacts"] =
                    json!([{"pattern": "large", "presigned": {"url": bucket, "blob": "place"}}]);
            },
        )
    })
    .await;
    assert_eq!(world.run().await, 0);
    assert_eq!(world.end().report.artifacts.len(), 1, "{:?}", world.end());
    let told = world.told();
    let (said, bytes) = &told.artifacts["large"];
    assert_eq!(
        (said["blob"].as_str(), bytes.len()),
        (Some("place"), 5_000_000)
    );
    assert_eq!(told.parts_sent, 0);
}

#[tokio::test]
async fn an_archive_becomes_the_runs_files_or_is_refused_as_a_whole() {
    let archive = |path: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(3);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &b"one"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    let id = "0197a1b2-0000-7000-8000-000000000001";
    for (path, end) in [("main.tf", RunEnd::Succeeded), ("../evil", RunEnd::Failed)] {
        let bytes = archive(path);
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let spec = with(spec(&[("one", "cat below/main.tf")]), |spec| {
            spec["files"] =
                json!([{"path": "below", "content": {"archive": {"id": id, "sha256": sha256}}}]);
        });
        let world = World::new(spec).await;
        world.told().given.insert(id.to_owned(), bytes);
        assert_eq!(world.run().await, 0);
        let over = world.end();
        assert_eq!(over.end, end, "{over:?}");
        if end == RunEnd::Failed {
            assert!(over.reason.unwrap().contains("not one below its folder"));
            assert_eq!(world.states(), [StepState::Skipped]);
        } else {
            assert_eq!(world.texts(), ["one"]);
        }
    }
}

#[tokio::test]
async fn an_artifact_that_was_changed_is_not_used() {
    let id = "0197a1b2-0000-7000-8000-000000000001";
    let spec = with(spec(&[("one", "cat plan")]), |spec| {
        spec["files"] =
            json!([{"path": "plan", "content": {"artifact": {"id": id, "sha256": "00"}}}]);
    });
    let world = World::new(spec).await;
    world.told().given.insert(id.to_owned(), b"a plan".to_vec());
    assert_eq!(world.run().await, 0);
    assert!(
        world
            .end()
            .reason
            .unwrap()
            .contains("it was changed since the run began")
    );
    assert!(world.texts().is_empty());
}

#[tokio::test]
async fn what_terraform_says_goes_into_log_and_report() {
    let say = r#"cat <<'EOF'
{"@level":"info","@message":"Terraform 1.11.4","terraform":"1.11.4","type":"version","ui":"1.2"}
{"@level":"info","@message":"Plan: 1 to add, 0 to change, 0 to destroy.","changes":{"add":1,"change":0,"remove":0,"operation":"plan"},"type":"change_summary"}
a hunter2-hunter2 line that is no JSON
EOF
printf '{"type":"outputs","outputs":{"password":{"sensitive":true,"value":"' && head -c 300000 /dev/zero | tr '\0' x
echo; printf '{"type":"outputs","outputs":{"password":{"sensitive":true,"value":"of-nobody'"#;
    let spec = with(spec(&[("plan", say)]), |spec| {
        spec["steps"][0]["output"] = json!("terraform");
        spec["secrets"] = json!([{"name": "password", "value": "hunter2-hunter2"}]);
    });
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    assert_eq!(
        world.texts(),
        [
            "Terraform 1.11.4",
            "Plan: 1 to add, 0 to change, 0 to destroy.",
            "a *** line that is no JSON",
            "a message of more than 262144 bytes is left out",
            "a message that broke off, or is not known, is left out",
        ]
    );
    let report = world.end().report.terraform.unwrap();
    assert_eq!(report["planned"]["add"], json!(1), "{report}");
}

#[tokio::test]
async fn what_a_plan_calls_secret_is_kept_out_of_what_comes_after_it() {
    let plan = json!({
        "format_version": "1.2",
        "variables": {"cidr": {"value": "10.9.8.0/24"}, "pin": {"value": "sensitive-one"}},
        "configuration": {"root_module": {"variables": {"cidr": {}, "pin": {"sensitive": true}, "session": {}}}},
    });
    let given = json!({"cidr": "10.9.8.0/24", "pin": "sensitive-one", "session": "ephemeral-one"});
    let show = format!("echo '{plan}'");
    let say = "echo 10.9.8.0/24 sensitive-one ephemeral-one";
    let spec = with(spec(&[("show", &show), ("apply", say)]), |spec| {
        spec["steps"][0]["output"] = json!("terraform_plan");
        for step in 0..2 {
            spec["steps"][step]["folder"] = json!("config");
        }
        let file = format!("config/{}", terraform::VARIABLES_FILE);
        spec["files"] = json!([{"path": file, "content": {"text": given.to_string()}}]);
    });
    let world = World::new(spec).await;
    assert_eq!(world.run().await, 0);
    assert_eq!(world.texts(), ["10.9.8.0/24 *** ***"]);
    let plan = world.end().report.plan.unwrap();
    assert_eq!(plan["plain_variables"], json!(["cidr"]), "{plan}");
}
