//! Pages of jobs that runners work on: a plan to decide on, an apply as it goes, its end, and one that is being stopped.

use ::terraform::{MaskedPlan, Report};
use maud::Markup;
use model::run::{RunState, StepState};
use serde_json::{Value, json};

use super::{ago, log, running_job};
use crate::views::job::job;
use crate::views::model::*;

const SHA256: &str = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9";

fn plan() -> MaskedPlan {
    let resource = |address: &str, actions: Value, attributes: Value| {
        json!({
            "address": address, "provider": "registry.terraform.io/hashicorp/aws", "actions": actions,
            "attributes": attributes,
        })
    };
    let mut replaced = resource(
        "module.network.aws_subnet.private[\"eu-central-1a\"]",
        json!(["delete", "create"]),
        json!([
            {"path": "cidr_block", "before": {"value": "10.0.1.0/24"}, "after": {"value": "10.0.2.0/24"}, "replaces": true},
            {"path": "id", "before": {"value": "subnet-0a1b2c3d"}, "after": "unknown"},
            {"path": "tags.owner", "before": {"value": "ops"}},
        ]),
    );
    replaced["reason"] = json!("replace_because_cannot_update");
    serde_json::from_value(json!({
        "version": "1.11.4",
        "changes": {"add": 2, "change": 1, "import": 0, "remove": 2},
        "resources": [
            resource("aws_db_instance.main", json!(["update"]), json!([
                {"path": "allocated_storage", "before": {"value": 20}, "after": {"value": 40}},
                {"path": "password", "before": "sensitive", "after": "sensitive"},
            ])),
            replaced,
            resource("terraform_data.</script><b>name", json!(["create"]), json!([
                {"path": "input", "after": {"value": {"a": [1, 2], "b\u{202e}": null}}},
            ])),
            resource("aws_instance.old", json!(["delete"]), json!([])),
        ],
        "resources_left_out": 3,
        "drift": [resource("aws_security_group.web", json!(["update"]), json!([
            {"path": "ingress[0].cidr_blocks[0]", "before": {"value": "10.0.0.0/8"}, "after": {"value": "0.0.0.0/0"}},
        ]))],
        "outputs": {
            "endpoint": {"actions": ["update"], "before": {"value": "db.old.example.org"}, "after": "unknown"},
            "token": {"actions": ["create"], "after": "sensitive"},
        },
        "complete": false,
    }))
    .expect("a plan")
}

fn report(done: bool) -> Report {
    let state = |state: &str| {
        if done {
            "done".to_owned()
        } else {
            state.to_owned()
        }
    };
    serde_json::from_value(json!({
        "version": "1.11.4",
        "resources": [
            {"address": "aws_db_instance.main", "action": "update", "state": state("running"), "elapsed_secs": 73.0},
            {"address": "terraform_data.seed", "action": "create", "state": state("running"), "elapsed_secs": 4.2,
             "output": "seeding 1400 of 20000 rows"},
            {"address": "module.network.aws_subnet.private[\"eu-central-1a\"]", "action": "replace", "state": state("planned")},
            {"address": "aws_instance.old", "action": "delete", "state": "done", "elapsed_secs": 0.4, "id": "i-0a1b2c3d"},
        ],
        "planned": {"add": 2, "change": 1, "remove": 2},
        "applied": if done { json!({"add": 2, "change": 1, "remove": 2}) } else { Value::Null },
        "outputs": if done { json!({
            "endpoint": {"sensitive": false, "value": "db.example.org"},
            "ports": {"sensitive": false, "value": [80, 443]},
            "token": {"sensitive": true},
            "map": {"sensitive": false, "bytes": 700_000},
        }) } else { json!({}) },
    }))
    .expect("a report")
}

fn failed_report() -> Report {
    serde_json::from_value(json!({
        "resources": [
            {"address": "aws_db_instance.main", "action": "update", "state": "failed", "elapsed_secs": 12.0},
        ],
        "diagnostics": [
            {"severity": "error", "summary": "creating RDS DB Instance (main): StorageQuotaExceeded",
             "detail": "The request would exceed the quota\nof 100 GiB.", "address": "aws_db_instance.main",
             "file": "modules/db/main.tf", "line": 14, "column": 3, "context": "resource \"aws_db_instance\" \"main\"",
             "code": "resource \"aws_db_instance\" \"main\" {"},
            {"severity": "warning", "summary": "Deprecated attribute"},
        ],
        "drift": [{"address": "aws_security_group.web", "action": "update"}],
        "diagnostics_left_out": 2,
    }))
    .expect("a report")
}

fn step(name: &str, state: StepState, from: Option<i64>, to: Option<i64>) -> StepView {
    StepView {
        name: name.into(),
        state,
        exit_code: (state == StepState::Failed).then_some(1),
        why: (state == StepState::Failed).then(|| "it ended with code 1".into()),
        started_at: from.map(ago),
        ended_at: to.map(ago),
    }
}

fn run(phase: &str, state: RunState, steps: Vec<StepView>) -> RunView {
    RunView {
        phase: phase.into(),
        reason: (state == RunState::Failed).then(|| "apply ended with code 1".into()),
        state,
        created_at: ago(120),
        seen_at: (state != RunState::Launching).then(|| ago(2)),
        ended_at: (!matches!(state, RunState::Launching | RunState::Running)).then(|| ago(3)),
        steps,
        lines_dropped: 0,
    }
}

fn plan_run() -> RunView {
    let done = |name, from, to| step(name, StepState::Succeeded, Some(from), Some(to));
    run(
        "plan",
        RunState::Succeeded,
        vec![
            done("init", 118, 102),
            done("plan", 102, 90),
            done("show", 90, 89),
        ],
    )
}

fn base(state: JobState) -> JobPage {
    let mut page = running_job();
    page.row.task = "task-terraform".into();
    page.row.workload = None;
    page.row.state = state;
    page.row.reasons = Vec::new();
    page.chain = Vec::new();
    if state.is_final() {
        page.cancel_href = None;
        page.live_href = None;
    }
    page
}

fn planned(decision: PlanDecision, decide: bool) -> JobPage {
    let waiting = matches!(decision, PlanDecision::Waiting(_));
    let mut page = base(if waiting {
        JobState::Waiting
    } else {
        JobState::Dead
    });
    if waiting {
        page.row.reasons = vec![::queue::reasons::Reason::Approval {
            deadline: ago(-7_200),
        }];
    }
    page.run = RunPanel {
        runs: vec![plan_run()],
        report: None,
        plan: Some(PlanView {
            plan: plan(),
            sha256: Some(SHA256.into()),
            decision,
            decide_href: decide.then(|| "/jobs/48213".into()),
        }),
        artifacts: vec![
            artifact("plan", true, false),
            artifact("plan.json", true, true),
        ],
    };
    page
}

fn artifact(name: &str, sealed: bool, may: bool) -> ArtifactRow {
    ArtifactRow {
        name: name.into(),
        bytes: 48_213,
        sha256: SHA256.into(),
        sealed,
        at: ago(88),
        href: may.then(|| "/artifacts/1".into()),
    }
}

fn applying(steps: Vec<StepView>, state: RunState, job: JobState, report: Report) -> JobPage {
    let mut page = planned(PlanDecision::Approved(Some("Robin".into()), ago(60)), false);
    let of = base(job);
    page.row = of.row;
    page.cancel_href = of.cancel_href;
    page.live_href = of.live_href;
    page.run.runs.insert(0, run("apply", state, steps));
    page.run.report = Some(report);
    page
}

fn stopping(heard: bool, end: Option<StopEnd>) -> JobPage {
    let running = vec![
        step("init", StepState::Succeeded, Some(50), Some(41)),
        step("apply", StepState::Running, Some(40), None),
    ];
    let over = end.is_some();
    let job = if over {
        JobState::Cancelled
    } else {
        JobState::Cancelling
    };
    let state = if over {
        RunState::Cancelled
    } else {
        RunState::Running
    };
    let mut page = applying(running, state, job, report(false));
    page.cancel_href = None;
    page.stop = Some(StopView {
        requested: (ago(9), Some("Robin".into())),
        heard: heard.then(|| ago(7)),
        end: end.map(|end| (ago(1), end)),
    });
    page
}

fn part() -> JobPage {
    let mut page = applying(
        vec![step("apply", StepState::Running, Some(40), None)],
        RunState::Running,
        JobState::Waiting,
        report(false),
    );
    page.log = Log {
        earlier: 120_000,
        later: Some(120_061),
        marked: Some(120_030),
        finding: Some(Finding {
            text: "error: \"x\"".into(),
            from: 120_030,
            none: true,
        }),
        ..log(60)
    };
    for line in &mut page.log.lines {
        line.number += 120_000;
    }
    page
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let ended = |state| {
        vec![
            step("init", StepState::Succeeded, Some(50), Some(41)),
            step("apply", state, Some(40), Some(3)),
            step(
                "outputs",
                if state == StepState::Failed {
                    StepState::Skipped
                } else {
                    state
                },
                None,
                None,
            ),
        ]
    };
    let going = vec![
        step("init", StepState::Succeeded, Some(50), Some(41)),
        step("apply", StepState::Running, Some(40), None),
        step("outputs", StepState::Waiting, None, None),
    ];
    let waiting = PlanDecision::Waiting(ago(-7_200));
    let mut launching = base(JobState::Waiting);
    launching.run.runs = vec![run(
        "plan",
        RunState::Launching,
        vec![step("init", StepState::Waiting, None, None)],
    )];
    [
        ("run-launching", launching),
        ("run-plan", planned(waiting.clone(), true)),
        ("run-plan-viewer", planned(waiting, false)),
        ("run-plan-expired", planned(PlanDecision::Expired, false)),
        (
            "run-plan-superseded",
            planned(PlanDecision::Superseded, false),
        ),
        (
            "run-plan-rejected",
            planned(PlanDecision::Rejected(Some("Robin".into()), ago(4)), false),
        ),
        (
            "run-applying",
            applying(going, RunState::Running, JobState::Waiting, report(false)),
        ),
        (
            "run-applied",
            applying(
                ended(StepState::Succeeded),
                RunState::Succeeded,
                JobState::Succeeded,
                report(true),
            ),
        ),
        (
            "run-failed",
            applying(
                ended(StepState::Failed),
                RunState::Failed,
                JobState::Dead,
                failed_report(),
            ),
        ),
        ("run-stopping", stopping(false, None)),
        ("run-stopping-heard", stopping(true, None)),
        ("run-stopped", stopping(true, Some(StopEnd::Applied(None)))),
        (
            "run-stop-cannot",
            stopping(
                true,
                Some(StopEnd::Cannot(Some("the runner's machine is away".into()))),
            ),
        ),
        ("run-stop-late", stopping(false, Some(StopEnd::TooLate))),
        ("run-log-part", part()),
    ]
    .into_iter()
    .map(|(name, page)| (name, job(reader, &page)))
    .collect()
}
