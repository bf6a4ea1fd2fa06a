//! What a runner is told to do with netlab.

use std::collections::BTreeMap;

use lab_source::Gathered;
use model::TenantId;
use model::run::{
    ArtifactPattern, FileContent, Program, RunFile, RunLimits, RunSecret, RunSpec, Signal,
    SshProgram, Step, StopLadder, Then,
};
use runs::netlab::{ARCHIVE, Action, DESCRIPTION, Payload};

use crate::LabHost;

/// Where netlab comes from.
const INSTALL: &str =
    "python3 -m venv V && V/bin/pip install networklab, with V/bin on the runner's PATH";
/// How long netlab may take to stop by itself, in milliseconds.
const GRACE_MS: u64 = 10_000;
/// Between SIGTERM and SIGKILL, in milliseconds.
const TERM_MS: u64 = 2_000;

/// Says by which hash the lab is known, and whether it is the one that was made before. The hash is that of `labs::content_hash`.
const HASH: &str = r#"set -e
{ echo clab.yml; if [ -d node_files ]; then find node_files -type f; fi; } | LC_ALL=C sort | while IFS= read -r path; do
    sha256sum "$path"
done | sha256sum | cut -d' ' -f1 >content.sha256
now=$(cat content.sha256)
if [ "$now" = "$LAB_CONTENT_BEFORE" ]; then
    echo "unchanged: $now, as job $LAB_JOB_BEFORE made it"
else
    echo "content: $now"
fi"#;

/// A lab as it was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The job that made it.
    pub job: String,
    /// The hash of what it made.
    pub content: String,
}

/// The name of the artifact with a lab's hash: it carries the lab's name, so that the next run finds it. What is untrusted is not
/// compared with what is not.
#[must_use]
pub fn content_name(payload: &Payload) -> String {
    let whose = if payload.untrusted { "untrusted." } else { "" };
    format!("{whose}{}.content.sha256", payload.lab)
}

/// A run on the runner's own machine: `validate` or `create`.
#[must_use]
pub fn local(payload: &Payload, gathered: &Gathered, before: Option<&Before>) -> RunSpec {
    let creates = payload.action == Action::Create;
    let mut argv: Vec<String> = ["netlab", "create", "-q"].map(str::to_owned).to_vec();
    let outputs: &[&str] = if creates {
        &["config", "provider", "json=topology.json"]
    } else {
        &["none"]
    };
    for output in outputs {
        argv.extend(["-o".to_owned(), (*output).to_owned()]);
    }
    // Without it the lab would be named after the folder of the run.
    argv.extend(["-s".to_owned(), format!("name={}", payload.lab)]);
    for set in &payload.set {
        argv.extend(["-s".to_owned(), set.clone()]);
    }
    argv.push(gathered.topology.clone());
    let mut steps = vec![step(
        if creates { "create" } else { "validate" },
        argv,
        Some(INSTALL),
    )];
    let mut artifacts = Vec::new();
    if creates {
        let argv = ["sh", "-c", HASH].map(str::to_owned).to_vec();
        let mut hash = step("hash", argv, None);
        if let Some(before) = before {
            hash.environment = BTreeMap::from([
                ("LAB_CONTENT_BEFORE".to_owned(), before.content.clone()),
                ("LAB_JOB_BEFORE".to_owned(), before.job.clone()),
            ]);
        }
        steps.push(hash);
        artifacts = vec![
            ArtifactPattern {
                archive: Some(ARCHIVE.to_owned()),
                required: true,
                ..pattern("{clab.yml,node_files/**}", "application/x-tar")
            },
            ArtifactPattern {
                name: Some(DESCRIPTION.to_owned()),
                ..pattern("topology.json", "application/json")
            },
            ArtifactPattern {
                name: Some(content_name(payload)),
                required: true,
                ..pattern("content.sha256", "text/plain")
            },
        ];
    }
    let (environment, secrets) = runs::told_apart(&environment(payload));
    RunSpec {
        phase: if creates { "create" } else { "validate" }.to_owned(),
        steps,
        files: files(gathered),
        environment,
        secrets,
        artifacts,
        limits: RunLimits {
            time_secs: payload.time_limit_secs,
            ..RunLimits::default()
        },
        // The installation's.
        heartbeat_ms: 0,
        then: Then::Finish,
        // A topology that is wrong is wrong again.
        retry: false,
    }
}

fn step(name: &str, argv: Vec<String>, install: Option<&str>) -> Step {
    Step {
        name: name.to_owned(),
        run: Program::Local {
            argv,
            install: install.map(str::to_owned),
        },
        folder: String::new(),
        environment: BTreeMap::new(),
        ok_codes: Vec::new(),
        stop: StopLadder {
            first: Signal::Int,
            grace_ms: GRACE_MS,
            term_ms: TERM_MS,
        },
        output: model::run::Output::Lines,
        always: false,
    }
}

fn pattern(pattern: &str, media_type: &str) -> ArtifactPattern {
    ArtifactPattern {
        pattern: pattern.to_owned(),
        name: None,
        media_type: Some(media_type.to_owned()),
        sealed: false,
        required: false,
        archive: None,
        presigned: None,
    }
}

/// The archive that the files came in, or each of them.
fn files(gathered: &Gathered) -> Vec<RunFile> {
    if let Some((id, sha256)) = &gathered.archive {
        let content = FileContent::Archive {
            id: *id,
            sha256: sha256.clone(),
        };
        return vec![RunFile {
            path: String::new(),
            content,
            executable: false,
        }];
    }
    let text = |(path, file): (&str, &labs::LabFile)| RunFile {
        path: path.to_owned(),
        content: FileContent::Text(String::from_utf8_lossy(&file.bytes).into_owned()),
        executable: file.executable,
    };
    gathered.files.iter().map(text).collect()
}

fn environment(payload: &Payload) -> BTreeMap<String, String> {
    let mut environment = payload.environment.clone();
    for (name, value) in [
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("NO_COLOR", "1"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    environment
}

/// The name of the secret with the key to sign in with.
const KEY: &str = "host-key";
/// How long netlab may take to stop a lab that it was just starting, in milliseconds.
const HOST_GRACE_MS: u64 = 120_000;
/// The archive of what `collect` fetched.
pub const COLLECTED: &str = "collected.tar";

/// Says that no lab runs, which netlab calls a failure, and is none. A shell that waits for what a program says hears of no signal, and
/// what it has put into the background does not hear SIGINT: so it waits for the program alone, and hands a signal on as SIGTERM.
const STATUS: &str = r#"said=$(mktemp) || exit 70
netlab status --all --format json >"$said" 2>&1 &
netlab=$!
trap 'kill "$netlab" 2>/dev/null' INT TERM
wait "$netlab"
code=$?
# A signal ends the first wait, and not what is waited for.
if [ "$code" -gt 128 ]; then wait "$netlab"; code=$?; fi
cat "$said"
if grep -q 'No netlab-managed labs' "$said"; then code=0; fi
rm -f "$said"
exit "$code""#;

/// The folder of a lab on a host, below its user's home. Tenants are told apart, also where they share a host.
#[must_use]
pub fn folder_on_host(tenant: TenantId, lab: &str) -> String {
    format!("switchyard-labs/{}/{lab}", tenant.uuid().simple())
}

/// A run on a host: `up`, `down`, `collect` or `status`.
#[must_use]
pub fn on_host(
    payload: &Payload,
    tenant: TenantId,
    gathered: Option<&Gathered>,
    host: &LabHost,
) -> RunSpec {
    let there = folder_on_host(tenant, &payload.lab);
    let own = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<String>>()
    };
    let (name, argv) = match payload.action {
        Action::Validate | Action::Create | Action::Up => {
            let mut argv = own(&["netlab", "up", "-s"]);
            argv.push(format!("name={}", payload.lab));
            for set in &payload.set {
                argv.extend(["-s".to_owned(), set.clone()]);
            }
            argv.extend(gathered.map(|it| it.topology.clone()));
            ("up", argv)
        }
        Action::Down => ("down", own(&["netlab", "down", "--cleanup"])),
        Action::Collect => (
            "collect",
            own(&["netlab", "collect", "--tar", COLLECTED, "--cleanup"]),
        ),
        Action::Status => ("status", own(&["sh", "-c", STATUS])),
    };
    let upload = gathered.into_iter().flat_map(|it| it.files.iter());
    let upload = upload.map(|(path, _)| (path.to_owned(), format!("{there}/{path}")));
    let collects = payload.action == Action::Collect;
    let download = collects.then(|| (format!("{there}/{COLLECTED}"), COLLECTED.to_owned()));
    let program = SshProgram {
        address: host.address,
        user: host.user.clone(),
        key_secret: KEY.to_owned(),
        host_keys: host.host_keys.clone(),
        argv,
        // What only looks at the host needs no lab.
        folder: (payload.action != Action::Status).then(|| there.clone()),
        upload: upload.collect(),
        download: download.into_iter().collect(),
    };
    let mut step = step(name, Vec::new(), None);
    step.run = Program::Ssh(program);
    step.environment = environment(payload);
    step.stop.grace_ms = HOST_GRACE_MS;
    let mut secrets = vec![RunSecret {
        name: KEY.to_owned(),
        value: host.secret(),
        variable: None,
        file: None,
    }];
    // They go there with the step, and are masked in what it says here.
    secrets.extend(
        runs::told_apart(&payload.environment)
            .1
            .into_iter()
            .map(|secret| RunSecret {
                variable: None,
                ..secret
            }),
    );
    let collected = ArtifactPattern {
        required: true,
        ..pattern(COLLECTED, "application/x-tar")
    };
    RunSpec {
        phase: name.to_owned(),
        steps: vec![step],
        files: gathered.map(files).unwrap_or_default(),
        environment: BTreeMap::new(),
        secrets,
        artifacts: if collects {
            vec![collected]
        } else {
            Vec::new()
        },
        limits: RunLimits {
            time_secs: payload.time_limit_secs,
            ..RunLimits::default()
        },
        heartbeat_ms: 0,
        then: Then::Finish,
        retry: false,
    }
}
