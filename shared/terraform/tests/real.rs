//! What terraform really says: recorded output of 1.11.4, and the binary itself.
//!
//! The fixtures come from `fixtures/main.tf`: init, plan, apply, a second plan with `marker=two` and `broken=true` and its
//! apply, which fails, and destroy; `interrupted.jsonl` from an apply that got SIGINT during a provisioner.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use terraform::{
    Changes, Report, ResourceState, Shown, State, StateHead, Ui, difference, masked_plan,
    sensitive_values,
};

const SECRET: &str = "correct horse battery";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn followed(names: &[&str]) -> (Report, String) {
    let mut ui = Ui::default();
    let mut log = String::new();
    for name in names {
        for line in fixture(name).lines() {
            if let Some(text) = ui.feed(line) {
                log.push_str(&text);
                log.push('\n');
            }
        }
    }
    (serde_json::from_value(ui.report()).unwrap(), log)
}

#[test]
fn an_apply_is_followed_to_its_outputs() {
    let (report, log) = followed(&["init.jsonl", "plan.jsonl", "apply.jsonl"]);
    assert_eq!(report.version.as_deref(), Some("1.11.4"));
    let four = Changes {
        add: 4,
        ..Changes::default()
    };
    assert_eq!((report.planned, report.applied), (Some(four), Some(four)));
    assert_eq!(report.resources.len(), 4);
    for resource in &report.resources {
        assert_eq!(resource.state, ResourceState::Done, "{resource:?}");
        assert_eq!(resource.action, "create");
        assert!(resource.id.is_some() && resource.elapsed_secs.is_some());
    }
    let server = report
        .resources
        .iter()
        .find(|resource| resource.address == "terraform_data.server[1]")
        .unwrap();
    assert_eq!(server.output.as_deref(), Some("done 1"));
    assert_eq!(
        report.outputs["servers"].value,
        Some(json!(["hello-0", "hello-1"]))
    );
    assert!(report.outputs["password"].sensitive && report.outputs["password"].value.is_none());
    assert!(log.contains("Apply complete! Resources: 4 added, 0 changed, 0 destroyed."));
    assert!(log.contains("servers = [\"hello-0\",\"hello-1\"]\n"));
    assert!(log.contains("password = (sensitive)\n"));
    assert!(!log.contains(SECRET));
}

#[test]
fn a_failed_apply_names_the_resource_the_file_and_the_line() {
    let (report, log) = followed(&["failed.jsonl"]);
    let failed: Vec<_> = report
        .resources
        .iter()
        .filter(|resource| resource.state == ResourceState::Failed)
        .map(|resource| &*resource.address)
        .collect();
    assert_eq!(failed, ["terraform_data.fails[0]"]);
    assert_eq!(report.resources[0].address, "terraform_data.fails[0]");
    let error = &report.diagnostics[0];
    assert_eq!(error.severity, "error");
    assert_eq!(error.summary, "local-exec provisioner error");
    assert_eq!(error.file.as_deref(), Some("main.tf"));
    assert!(error.line.is_some(), "{error:?}");
    assert!(log.contains("  on main.tf line "), "{log}");
    let replaced = report
        .resources
        .iter()
        .find(|resource| resource.address == "terraform_data.server[0]")
        .unwrap();
    assert_eq!(
        (&*replaced.action, replaced.reason.as_deref()),
        ("replace", Some("cannot_update"))
    );
}

#[test]
fn an_interrupt_and_what_it_left_are_told() {
    let (report, log) = followed(&["interrupted.jsonl"]);
    assert!(log.contains("Interrupt received.\nPlease wait for Terraform to exit"));
    let state = |address: &str| {
        let mut all = report.resources.iter();
        all.find(|resource| resource.address == address)
            .map(|resource| resource.state)
    };
    assert_eq!(state("terraform_data.a"), Some(ResourceState::Failed));
    assert_eq!(state("terraform_data.b"), Some(ResourceState::Done));
    // It is told twice, and kept once.
    let halted = report
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.summary == "execution halted");
    assert_eq!(halted.count(), 1);
}

#[test]
fn what_is_not_known_is_shown_as_it_is() {
    let mut ui = Ui::default();
    for line in [
        "plain text",
        "[1,2]",
        "{\"a\":1}",
        "{\"type\":\"apply_complete\",\"hook\":3}",
        "{\"@message\":3}",
        "\u{1b}[31mred",
        "{",
    ] {
        assert_eq!(ui.feed(line).as_deref(), Some(line));
    }
    assert_eq!(
        ui.feed(r#"{"@message":"new","type":"ephemeral_op","hook":{}}"#)
            .as_deref(),
        Some("new")
    );
    assert_eq!(ui.feed("  "), None);
    assert_eq!(
        serde_json::from_value::<Report>(ui.report()).unwrap(),
        Report::default()
    );
}

#[test]
fn a_report_of_many_resources_and_errors_is_bounded_and_counts_the_rest() {
    let mut ui = Ui::default();
    for n in 0..12_000 {
        let address = format!("module.{}.x[{n}]", "long".repeat(20));
        let line = json!({"@message": "m", "type": "apply_start",
            "hook": {"resource": {"addr": address}, "action": "create"}});
        ui.feed(&line.to_string());
    }
    for n in 0..100 {
        let line = json!({"@message": "m", "type": "diagnostic", "diagnostic":
            {"severity": "error", "summary": format!("{n}"), "detail": "\u{1}".repeat(100_000)}});
        ui.feed(&line.to_string());
    }
    let outputs: serde_json::Map<_, _> = (0..500)
        .map(|n| {
            (
                format!("o{n}"),
                json!({"sensitive": false, "value": "v".repeat(3_000)}),
            )
        })
        .collect();
    ui.feed(&json!({"@message": "m", "type": "outputs", "outputs": outputs}).to_string());
    let report = ui.report();
    assert!(report.to_string().len() <= terraform::REPORT_BUDGET_BYTES);
    let report: Report = serde_json::from_value(report).unwrap();
    assert!(report.resources.len() + report.resources_left_out >= 10_001);
    assert_eq!(report.diagnostics.len() + report.diagnostics_left_out, 100);
    assert_eq!(report.outputs.len() + report.outputs_left_out, 500);
    assert!(!report.diagnostics.is_empty() && !report.outputs.is_empty());
}

#[test]
fn a_plan_is_masked_also_where_terraform_forgets_to() {
    for name in ["plan.json", "change.json"] {
        let json = fixture(name);
        assert!(json.contains(SECRET));
        let (masked, changes) = masked_plan(json.as_bytes()).unwrap();
        assert!(changes);
        assert!(!serde_json::to_string(&masked).unwrap().contains(SECRET));
    }
    let values = sensitive_values(fixture("plan.json").as_bytes(), &Map::new()).unwrap();
    assert_eq!(values, [SECRET]);
}

#[test]
fn a_variable_is_plain_when_it_is_neither_sensitive_nor_ephemeral() {
    let mut plan: Value = serde_json::from_str(&fixture("plan.json")).unwrap();
    // Of an ephemeral variable a plan has no more than that it is declared.
    plan["configuration"]["root_module"]["variables"]["session"] = json!({});
    let plan = plan.to_string();
    let (masked, _) = masked_plan(plan.as_bytes()).unwrap();
    assert_eq!(masked.plain_variables, ["broken", "greeting", "marker"]);
    let given =
        json!({"greeting": "hello", "session": "for one night only", "unheard_of": "nobody's"});
    let values = sensitive_values(plan.as_bytes(), given.as_object().unwrap()).unwrap();
    assert_eq!(values, [SECRET, "for one night only"]);
}

#[test]
fn a_replacement_says_which_attribute_forces_it() {
    let (masked, _) = masked_plan(fixture("change.json").as_bytes()).unwrap();
    let (add, remove) = (masked.changes.add, masked.changes.remove);
    assert_eq!((add, remove), (3, 2));
    let server = masked
        .resources
        .iter()
        .find(|resource| resource.address == "terraform_data.server[0]")
        .unwrap();
    assert_eq!(server.actions, ["delete", "create"]);
    assert_eq!(
        server.reason.as_deref(),
        Some("replace_because_cannot_update")
    );
    let forced: Vec<_> = server
        .attributes
        .iter()
        .filter(|attribute| attribute.replaces)
        .collect();
    assert_eq!(forced.len(), 1);
    assert_eq!(forced[0].path, "triggers_replace[1]");
    assert_eq!(forced[0].before, Some(Shown::Value("one".into())));
    assert_eq!(forced[0].after, Some(Shown::Value("two".into())));
    let id = server
        .attributes
        .iter()
        .find(|attribute| attribute.path == "id")
        .unwrap();
    assert_eq!(id.after, Some(Shown::Unknown));
    // What stays as it is is left out.
    assert!(
        !masked
            .resources
            .iter()
            .any(|resource| resource.address == "terraform_data.network")
    );
}

#[test]
fn a_state_is_read_without_its_secrets() {
    let json = fixture("state.json");
    let state = State::read(json.as_bytes()).unwrap();
    assert_eq!(state.head.serial, 5);
    assert_eq!(state.head, StateHead::read(json.as_bytes()).unwrap());
    assert_eq!(state.outputs["password"].value, Shown::Sensitive);
    let addresses: Vec<_> = state
        .instances
        .iter()
        .map(|instance| &*instance.address)
        .collect();
    assert_eq!(
        addresses,
        [
            "terraform_data.network",
            "terraform_data.secret",
            "terraform_data.server[0]",
            "terraform_data.server[1]"
        ]
    );
    assert!(!serde_json::to_string(&state).unwrap().contains(SECRET));
}

#[test]
fn the_difference_of_two_states_is_masked_on_both_sides() {
    let earlier = fixture("state.json");
    let later = earlier
        .replace(SECRET, "another long secret")
        .replace("10.0.0.0/24", "10.9.0.0/24");
    let found = difference(earlier.as_bytes(), later.as_bytes()).unwrap();
    let text = serde_json::to_string(&found).unwrap();
    assert!(!text.contains(SECRET) && !text.contains("another long secret"));
    let addresses: Vec<_> = found
        .instances
        .iter()
        .map(|moved| (&*moved.address, &*moved.action))
        .collect();
    assert_eq!(
        addresses,
        [
            ("terraform_data.network", "update"),
            ("terraform_data.secret", "update")
        ]
    );
    assert_eq!(found.outputs[0].path, "password");
    assert_eq!(found.outputs[0].after, Some(Shown::Sensitive));
    let none = difference(earlier.as_bytes(), earlier.as_bytes()).unwrap();
    assert!(none.instances.is_empty() && none.outputs.is_empty());
}

#[test]
fn what_is_no_plan_or_state_is_refused_without_a_quotation() {
    for json in [
        "",
        "nonsense hunter2",
        "[]",
        "{\"password\": \"hunter2\"}",
        "{\"version\": \"hunter2\"}",
    ] {
        for error in [
            masked_plan(json.as_bytes()).unwrap_err().to_string(),
            State::read(json.as_bytes()).unwrap_err().to_string(),
        ] {
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
    let old = fixture("state.json").replacen("\"version\": 4", "\"version\": 3", 1);
    assert!(StateHead::read(old.as_bytes()).is_err());
}

/// Terraform in a folder, not in our environment.
fn terraform(folder: &Path, arguments: &[&str]) -> Option<(i32, String)> {
    let output = Command::new("terraform")
        .args(arguments)
        .current_dir(folder)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("CHECKPOINT_DISABLE", "1")
        .env("TF_IN_AUTOMATION", "1")
        .output()
        .ok()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.is_empty(), "{stderr}");
    Some((
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    ))
}

#[test]
fn the_terraform_of_this_machine_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.tf"), fixture("main.tf")).unwrap();
    let Some((0, init)) = terraform(folder.path(), &["init", "-json", "-input=false"]) else {
        #[expect(clippy::disallowed_methods, reason = "a test has no settings")]
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "terraform is not on the PATH");
        eprintln!("skipped: terraform is not on the PATH");
        return;
    };
    let mut ui = Ui::default();
    let mut steps = vec![init];
    let (code, plan) = terraform(
        folder.path(),
        &[
            "plan",
            "-json",
            "-input=false",
            "-detailed-exitcode",
            "-out=p",
        ],
    )
    .unwrap();
    assert_eq!(code, 2);
    steps.push(plan);
    let (_, shown) = terraform(folder.path(), &["show", "-json", "p"]).unwrap();
    let (masked, changes) = masked_plan(shown.as_bytes()).unwrap();
    assert!(changes && masked.resources.len() == 4);
    steps.push(
        terraform(folder.path(), &["apply", "-json", "p"])
            .unwrap()
            .1,
    );
    for line in steps.iter().flat_map(|step| step.lines()) {
        serde_json::from_str::<Value>(line).unwrap();
        ui.feed(line);
    }
    let report: Report = serde_json::from_value(ui.report()).unwrap();
    assert_eq!(report.applied.unwrap().add, 4);
    let state = std::fs::read(folder.path().join("terraform.tfstate")).unwrap();
    assert_eq!(State::read(&state).unwrap().instances.len(), 4);

    let arguments = [
        "plan",
        "-json",
        "-input=false",
        "-detailed-exitcode",
        "-out=q",
    ];
    assert_eq!(terraform(folder.path(), &arguments).unwrap().0, 0);
    let (_, shown) = terraform(folder.path(), &["show", "-json", "q"]).unwrap();
    assert!(!masked_plan(shown.as_bytes()).unwrap().1);
}

#[test]
fn a_state_of_another_version_is_called_that() {
    for (state, why) in [
        (r#"{"version": 1, "modules": []}"#, "its version is not 4"),
        (
            r#"{"version": 3, "serial": 1, "lineage": "a", "modules": []}"#,
            "its version is not 4",
        ),
        (
            r#"{"version": 4, "serial": 1}"#,
            "it has no serial, or no lineage",
        ),
    ] {
        let error = StateHead::read(state.as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with(why), "{state}: {error}");
    }
}
