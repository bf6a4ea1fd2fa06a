//! The steps of runs, taken with the real netlab.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use cluster_testkit::Crds;
use exec::{Ended, Piece, Redactor, Stop};
use lab_source::Gathered;
use labs::clabernetes::{ApiFlavor, LabSettings, Objects};
use labs::{Graph, LabFile, LabFiles, Policy, Topology, content_hash};
use model::TenantId;
use model::run::{FileContent, Program, RunSpec, Step};
use runs::netlab::Payload;
use serde_json::json;
use ssh::{HostKeys, RemoteProgram, Target};
use task_netlab::LabHost;
use task_netlab::spec::{self, Before};
use testkit::Sshd;
use tokio::sync::mpsc;

/// Whether the machine has netlab.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
#[expect(clippy::disallowed_methods, reason = "a test asks the machine")]
fn has_netlab() -> bool {
    if Command::new("netlab").arg("version").output().is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "netlab is missing"
    );
    eprintln!("skipped: netlab is not on this machine");
    false
}

fn payload(action: &str) -> Payload {
    let payload =
        json!({"action": action, "lab": "ring", "source": {"files": {"topology.yml": ""}}});
    serde_json::from_value(payload).unwrap()
}

/// A ring of routers; the first of its links may have a prefix of its own.
fn ring(count: usize, prefix: Option<&str>) -> String {
    let mut text = "provider: clab\ndefaults.device: frr\nmodule: [ospf]\nnodes:\n".to_owned();
    for node in 1..=count {
        writeln!(text, "  r{node}:").unwrap();
    }
    text.push_str("links:\n");
    for node in 1..=count {
        let next = node % count + 1;
        match prefix.filter(|_| node == 1) {
            Some(prefix) => {
                writeln!(text, "- r{node}:\n  r{next}:\n  prefix.ipv4: {prefix}").unwrap();
            }
            None => writeln!(text, "- r{node}-r{next}").unwrap(),
        }
    }
    text
}

fn gathered(topology: &str) -> Gathered {
    let mut files = LabFiles::default();
    let bytes = topology.as_bytes().to_vec();
    files
        .add(
            "topology.yml",
            LabFile {
                bytes,
                executable: false,
            },
        )
        .unwrap();
    Gathered {
        files,
        topology: "topology.yml".to_owned(),
        text: topology.to_owned(),
        archive: None,
    }
}

/// Takes one step, as a runner does.
fn take(step: &Step, spec: &RunSpec, folder: &Path) -> Output {
    let Program::Local { argv, .. } = &step.run else {
        panic!("it is local")
    };
    let mut command = Command::new(&argv[0]);
    command
        .args(&argv[1..])
        .current_dir(folder)
        .envs(&spec.environment)
        .envs(&step.environment);
    command.env("HOME", folder).output().unwrap()
}

/// What a run leaves in its folder, and what its last step said.
struct Made {
    files: LabFiles,
    said: String,
}

fn make(topology: &str, before: Option<&Before>) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec::local(&payload("create"), &gathered(topology), before);
    for file in &spec.files {
        let FileContent::Text(text) = &file.content else {
            panic!("it is text")
        };
        std::fs::write(folder.path().join(&file.path), text).unwrap();
    }
    let mut said = String::new();
    for step in &spec.steps {
        let output = take(step, &spec, folder.path());
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {shown}", step.name);
        said = String::from_utf8(output.stdout).unwrap();
    }
    let mut files = LabFiles::default();
    read(folder.path(), "", &mut files);
    Made { files, said }
}

fn read(folder: &Path, below: &str, files: &mut LabFiles) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &format!("{name}/"), files);
        } else {
            let bytes = std::fs::read(entry.path()).unwrap();
            files
                .add(
                    &name,
                    LabFile {
                        bytes,
                        executable: false,
                    },
                )
                .unwrap();
        }
    }
}

fn told(made: &Made) -> &str {
    made.said.trim().rsplit(": ").next().unwrap()
}

#[test]
fn the_same_lab_has_the_same_hash_wherever_it_is_made_and_fits_both_generations() {
    if !has_netlab() {
        return;
    }
    let crds = Crds::of_labs();
    for count in [3, 8, 32] {
        let first = make(&ring(count, None), None);
        let hash = content_hash(&first.files);
        assert_eq!(told(&first), hash, "what the run says is what is there");
        let before = Before {
            job: "41".to_owned(),
            content: hash.clone(),
        };
        let again = make(&ring(count, None), Some(&before));
        assert_eq!(content_hash(&again.files), hash);
        assert_eq!(
            again.said.trim(),
            format!("unchanged: {hash}, as job 41 made it")
        );

        let policy: Policy = "exec".parse().unwrap();
        let text = String::from_utf8(first.files.get("clab.yml").unwrap().bytes.clone()).unwrap();
        let topology = Topology::read(&text, &policy).unwrap();
        assert_eq!(
            (topology.name.as_str(), topology.nodes.len()),
            ("ring", count)
        );
        for flavor in ApiFlavor::ALL {
            let objects =
                Objects::new(&topology, &first.files, flavor, &LabSettings::default()).unwrap();
            assert_eq!(objects.config_maps.len(), count);
            if let Some(crds) = &crds {
                crds.check(&objects.topology).unwrap();
            }
        }
        let described = &first.files.get("topology.json").unwrap().bytes;
        let graph = Graph::read(described).unwrap();
        assert_eq!((graph.nodes.len(), graph.edges.len()), (count, count));
        let of_clab = Graph::from(&topology);
        assert_eq!(graph.nodes[0].mgmt_ip, of_clab.nodes[0].mgmt_ip);
        assert!(labs::svg(&graph, "ring").is_some());
    }
    let changed = make(&ring(3, Some("10.77.0.0/30")), None);
    let unchanged = make(&ring(3, None), None);
    assert_ne!(
        content_hash(&changed.files),
        content_hash(&unchanged.files),
        "one address is another"
    );
}

#[test]
fn what_is_wrong_with_a_topology_is_said_and_nothing_is_made() {
    if !has_netlab() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrong = "provider: clab\ndefaults.device: frr\nnodes: [r1, r2]\nlinks: [r1-r2, r2-r9]\n";
    let spec = spec::local(&payload("validate"), &gathered(wrong), None);
    assert!(spec.artifacts.is_empty() && spec.steps.len() == 1);
    std::fs::write(folder.path().join("topology.yml"), wrong).unwrap();
    let output = take(&spec.steps[0], &spec, folder.path());
    assert_eq!(output.status.code(), Some(1));
    let errors = labs::netlab::errors(&String::from_utf8_lossy(&output.stderr));
    assert!(
        errors
            .iter()
            .any(|error| error.what.contains("unknown node r9")),
        "{errors:?}"
    );
    assert!(!folder.path().join("clab.yml").exists());
    let good = gathered(&ring(3, None));
    let spec = spec::local(&payload("validate"), &good, None);
    std::fs::write(folder.path().join("topology.yml"), &good.text).unwrap();
    assert!(take(&spec.steps[0], &spec, folder.path()).status.success());
    assert!(
        !folder.path().join("clab.yml").exists(),
        "validate makes nothing"
    );
}

fn on_host(action: &str) -> Payload {
    let payload = json!({"action": action, "lab": "ring", "host": uuid::Uuid::nil()});
    serde_json::from_value(payload).unwrap()
}

/// Takes the one step of a run on a host.
async fn take_there(
    spec: &RunSpec,
    sshd: &Sshd,
    stop: &Stop,
    lines: &mpsc::Sender<Piece>,
) -> Ended {
    let Program::Ssh(program) = &spec.steps[0].run else {
        panic!("it is on a host")
    };
    let redactor = Redactor::new(spec.secrets.iter().map(|secret| secret.value.as_str())).unwrap();
    let here = tempfile::tempdir().unwrap();
    let mark = format!("netlab-{}", uuid::Uuid::new_v4());
    let environment = spec.steps[0].environment.clone();
    let remote = RemoteProgram {
        mark: &mark,
        argv: &program.argv,
        environment: &environment,
        folder_there: program.folder.as_deref(),
        folder_here: here.path(),
        upload: &program.upload,
        download: &program.download,
        ladder: spec.steps[0].stop,
        stop,
        redactor: &redactor,
        lines,
    };
    let target = Target {
        address: program.address,
        user: &program.user,
        key: sshd.key(),
        host_keys: HostKeys::read(program.host_keys.iter().map(String::as_str)).unwrap(),
    };
    ssh::run(&target, &remote).await.unwrap()
}

fn lab_host(sshd: &Sshd) -> LabHost {
    LabHost {
        address: sshd.address(),
        user: sshd.user().to_owned(),
        key: sshd.key().to_owned().into(),
        host_keys: vec![sshd.host_key().to_owned()],
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test knows its environment")]
async fn a_host_without_labs_says_so_and_that_is_no_failure() {
    let Some(sshd) = Sshd::start() else { return };
    if !has_netlab() {
        return;
    }
    let tenant = TenantId::from(uuid::Uuid::nil());
    let mut spec = spec::on_host(&on_host("status"), tenant, None, &lab_host(&sshd));
    // The server's own PATH is not the test's.
    let path = std::env::vars()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path);
    spec.steps[0]
        .environment
        .insert("PATH".to_owned(), path.unwrap());
    let (send, mut receive) = mpsc::channel(16);
    let run = async {
        let ended = take_there(&spec, &sshd, &Stop::default(), &send).await;
        drop(send);
        ended
    };
    let listen = async {
        let mut said = String::new();
        while let Some(piece) = receive.recv().await {
            for line in &piece.lines {
                said.push_str(&String::from_utf8_lossy(line.whole().unwrap()));
                said.push('\n');
            }
        }
        said
    };
    let (ended, said) = tokio::join!(run, listen);
    assert_eq!(ended.code, 0, "{said}");
    assert_eq!(
        labs::netlab::status(1, &said, ""),
        labs::netlab::LabStatus::NoLabs,
        "{said}"
    );
}

#[test]
fn a_run_on_a_host_takes_the_lab_along_and_keeps_the_key_apart() {
    let tenant = TenantId::from(uuid::Uuid::from_u128(7));
    let host = LabHost {
        address: "192.0.2.7:22".parse().unwrap(),
        user: "labs".to_owned(),
        key: "the key".to_owned().into(),
        host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
    };
    let mut payload = on_host("up");
    payload.set = vec!["defaults.device=frr".to_owned()];
    let spec = spec::on_host(&payload, tenant, Some(&gathered("nodes: [r1]\n")), &host);
    let Program::Ssh(program) = &spec.steps[0].run else {
        panic!("it is on a host")
    };
    let folder = "switchyard-labs/00000000000000000000000000000007/ring";
    assert_eq!(program.folder.as_deref(), Some(folder));
    assert_eq!(
        program.upload["topology.yml"],
        format!("{folder}/topology.yml")
    );
    assert_eq!(
        program.argv,
        [
            "netlab",
            "up",
            "-s",
            "name=ring",
            "-s",
            "defaults.device=frr",
            "topology.yml"
        ]
    );
    assert!(
        !serde_json::to_string(&spec.steps)
            .unwrap()
            .contains("the key")
    );
    let spec = spec::on_host(&on_host("collect"), tenant, None, &host);
    let Program::Ssh(program) = &spec.steps[0].run else {
        panic!("it is on a host")
    };
    assert_eq!(
        program.download[&format!("{folder}/collected.tar")],
        "collected.tar"
    );
    assert!(spec.artifacts[0].required);
}
