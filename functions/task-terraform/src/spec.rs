//! What runners are told.

use std::collections::BTreeMap;

use host::{Ctx, Job};
use model::run::{
    ArtifactPattern, FileContent, Output, Program, RunFile, RunLimits, RunSecret, RunSpec, Signal,
    Step, StopLadder, Then,
};
use runs::terraform::{Action, BACKEND_FILE, Payload, VARIABLES_FILE};
use serde_json::Value;
use store::StateToken;

use crate::backend::Backend;
use crate::configuration::{Configuration, FOLDER};
use crate::settings::Worker;

/// The plan's file in the run's folder, and the artifact that it is kept as.
pub(crate) const PLAN_FILE: &str = "switchyard.tfplan";
pub(crate) const PLAN: &str = "plan";
/// What terraform leaves behind when it could not save its state.
const ERRORED_STATE: &str = "errored.tfstate";
/// Between SIGTERM and SIGKILL, in milliseconds.
const TERM_MS: u64 = 1_000;
/// For who has to install it.
const INSTALL: &str = "terraform 1.9 or newer, from https://developer.hashicorp.com/terraform/install, on the PATH of the runner";

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Plan,
    Apply,
    Drift,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Drift => "drift",
        }
    }
}

/// The run that plans; with [`Phase::Apply`] it goes on to apply its plan, without a decision.
pub(crate) fn first(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
    configuration: &Configuration,
    phase: Phase,
) -> anyhow::Result<RunSpec> {
    let mut steps = vec![init(payload), plan(payload, phase), show(payload)];
    if phase == Phase::Apply {
        steps.push(apply(payload));
    }
    // An untrusted plan is for reading: nobody can apply it, and it is not kept.
    let kept = phase == Phase::Plan && !payload.untrusted;
    let asks = kept && payload.approve_within_secs > 0;
    let mut spec = common(ctx, worker, job, payload, configuration, phase, steps)?;
    if kept {
        spec.artifacts.push(ArtifactPattern {
            required: true,
            ..sealed(PLAN_FILE, Some(PLAN))
        });
    }
    if asks {
        spec.then = Then::Approve {
            within_secs: payload.approve_within_secs,
        };
    }
    Ok(spec)
}

/// The run that applies a plan that was approved.
pub(crate) fn second(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
    configuration: &Configuration,
    plan: FileContent,
) -> anyhow::Result<RunSpec> {
    // What the plan marks as sensitive is known to the runner when it has shown it: it keeps it out of what the apply says.
    let steps = vec![init(payload), show(payload), apply(payload)];
    let mut spec = common(
        ctx,
        worker,
        job,
        payload,
        configuration,
        Phase::Apply,
        steps,
    )?;
    spec.files.push(RunFile {
        path: PLAN_FILE.to_owned(),
        content: plan,
        executable: false,
    });
    Ok(spec)
}

fn common(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
    configuration: &Configuration,
    phase: Phase,
    mut steps: Vec<Step>,
) -> anyhow::Result<RunSpec> {
    let mut files = configuration.files.clone();
    let in_folder = |name: &str, text: String| RunFile {
        path: format!("{}/{name}", configuration.folder),
        content: FileContent::Text(text),
        executable: false,
    };
    if !payload.variables.is_empty() {
        let variables = serde_json::to_string(&payload.variables)?;
        files.push(in_folder(VARIABLES_FILE, variables));
    }
    let (mut environment, mut secrets) = runs::told_apart(&payload.environment);
    for (name, value) in [
        ("CHECKPOINT_DISABLE", "1".to_owned()),
        (
            "TF_CLI_CONFIG_FILE",
            worker.cli_config.display().to_string(),
        ),
        ("TF_INPUT", "0".to_owned()),
        ("TF_IN_AUTOMATION", "1".to_owned()),
    ] {
        environment.insert(name.to_owned(), value);
    }
    let kind = if payload.untrusted {
        // It gets no state, which has secrets in it: it is planned as if nothing were there.
        Some("local")
    } else if configuration.backend == Backend::Ours {
        let address = address(worker, job, payload)?;
        for name in [
            "TF_HTTP_ADDRESS",
            "TF_HTTP_LOCK_ADDRESS",
            "TF_HTTP_UNLOCK_ADDRESS",
        ] {
            environment.insert(name.to_owned(), address.clone());
        }
        environment.insert("TF_HTTP_USERNAME".to_owned(), "run".to_owned());
        // A state that cannot be saved is lost: it tries for three minutes, longer than a restart of ours takes.
        environment.insert("TF_HTTP_RETRY_MAX".to_owned(), "20".to_owned());
        environment.insert("TF_HTTP_RETRY_WAIT_MIN".to_owned(), "1".to_owned());
        environment.insert("TF_HTTP_RETRY_WAIT_MAX".to_owned(), "10".to_owned());
        let token = StateToken {
            tenant: job.tenant,
            job: job.id(),
            epoch: job.hold.epoch,
            state: payload.state.clone(),
            read_only: phase == Phase::Drift,
        };
        secrets.push(RunSecret {
            name: "state".to_owned(),
            value: token.sign(ctx.keyring()?),
            variable: Some("TF_HTTP_PASSWORD".to_owned()),
            file: None,
        });
        Some("http")
    } else {
        None
    };
    if let Some(kind) = kind {
        let text = format!("terraform {{\n  backend \"{kind}\" {{}}\n}}\n");
        files.push(in_folder(BACKEND_FILE, text));
    }
    let up = "../".repeat(1 + configuration.folder.matches('/').count());
    for step in &mut steps {
        step.folder.clone_from(&configuration.folder);
        if let Program::Local { argv, .. } = &mut step.run {
            for argument in argv {
                *argument = argument.replace(PLAN_FILE, &format!("{up}{PLAN_FILE}"));
            }
        }
    }
    Ok(RunSpec {
        phase: phase.as_str().to_owned(),
        steps,
        files,
        environment,
        secrets,
        artifacts: vec![sealed(&format!("{FOLDER}/**/{ERRORED_STATE}"), None)],
        limits: RunLimits {
            time_secs: payload.time_limit_secs,
            ..RunLimits::default()
        },
        // The installation's.
        heartbeat_ms: 0,
        then: Then::Finish,
        // What terraform refuses once it refuses again, and an apply is never begun twice.
        retry: false,
    })
}

fn address(worker: &Worker, job: &Job<Value>, payload: &Payload) -> anyhow::Result<String> {
    let mut url = worker.state_url.clone();
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("TERRAFORM_STATE_URL has no path"))?
        .pop_if_empty()
        .push(&job.tenant.uuid().to_string())
        .push(&payload.state);
    Ok(url.into())
}

fn sealed(pattern: &str, name: Option<&str>) -> ArtifactPattern {
    ArtifactPattern {
        pattern: pattern.to_owned(),
        name: name.map(str::to_owned),
        media_type: Some("application/octet-stream".to_owned()),
        sealed: true,
        required: false,
        archive: None,
        presigned: None,
    }
}

fn step(payload: &Payload, name: &str, arguments: &[&str], output: Output) -> Step {
    let argv = std::iter::once("terraform").chain(arguments.iter().copied());
    Step {
        name: name.to_owned(),
        run: Program::Local {
            argv: argv.map(str::to_owned).collect(),
            install: Some(INSTALL.to_owned()),
        },
        folder: String::new(),
        environment: BTreeMap::new(),
        ok_codes: Vec::new(),
        // One SIGINT, and nothing else while it saves its state: a second one would make it leave without.
        stop: StopLadder {
            first: Signal::Int,
            grace_ms: payload.stop_grace_secs * 1_000,
            term_ms: TERM_MS,
        },
        output,
        always: false,
    }
}

fn init(payload: &Payload) -> Step {
    let arguments = ["init", "-json", "-input=false", "-no-color"];
    step(payload, "init", &arguments, Output::Terraform)
}

fn plan(payload: &Payload, phase: Phase) -> Step {
    let out = format!("-out={PLAN_FILE}");
    let mut arguments = vec!["plan", "-json", "-input=false", "-detailed-exitcode", &out];
    if payload.action == Action::Destroy {
        arguments.push("-destroy");
    }
    if phase == Phase::Drift {
        arguments.push("-lock=false");
    } else {
        // Another run's lock is waited for no longer than a person would.
        arguments.push("-lock-timeout=5s");
    }
    let name = if phase == Phase::Drift {
        "drift"
    } else {
        "plan"
    };
    Step {
        // There are changes.
        ok_codes: vec![2],
        ..step(payload, name, &arguments, Output::Terraform)
    }
}

fn show(payload: &Payload) -> Step {
    let arguments = ["show", "-json", PLAN_FILE];
    step(payload, "show", &arguments, Output::TerraformPlan)
}

fn apply(payload: &Payload) -> Step {
    let arguments = [
        "apply",
        "-json",
        "-input=false",
        "-lock-timeout=5s",
        PLAN_FILE,
    ];
    step(payload, "apply", &arguments, Output::Terraform)
}
