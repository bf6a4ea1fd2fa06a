//! Everything that must not go unnoticed, tried on a copy of the manifests or of the list.

use std::fs;

use super::{BROKERS, INSIDE, Kind, Listed, findings, listed};
use crate::outside;

/// A copy of the manifests that a test may change.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let copy = tempfile::tempdir().expect("a folder");
        for folder in ["knative", "triggers"] {
            fs::create_dir(copy.path().join(folder)).expect("a folder");
            for entry in fs::read_dir(outside::root().join(folder)).expect("the manifests") {
                let entry = entry.expect("an entry");
                let to = copy.path().join(folder).join(entry.file_name());
                fs::copy(entry.path(), to).expect("a copy");
            }
        }
        Self(copy)
    }

    /// The paths of all files, relative to the copy.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in ["knative", "triggers"] {
            for entry in fs::read_dir(self.0.path().join(folder)).expect("the copy") {
                let name = entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name");
                files.push(format!("{folder}/{name}"));
            }
        }
        files.sort();
        files
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).expect("a manifest")
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.path().join(file), text).expect("a manifest");
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.0.path().join(file)).expect("a manifest");
    }

    /// Fails unless the change makes a finding; then undoes it.
    #[track_caller]
    fn must_be_found(&self, file: &str, changed: Option<&str>) {
        let before = self.text(file);
        match changed {
            Some(changed) => {
                assert_ne!(changed, before, "{file}: nothing was changed");
                self.write(file, changed);
            }
            None => self.remove(file),
        }
        assert_ne!(
            findings(&listed(), self.0.path()),
            [""; 0],
            "{file} became {changed:?}"
        );
        self.write(file, &before);
    }
}

#[test]
fn a_manifest_that_is_removed_or_renamed_is_found() {
    let copy = Copy::new();
    for file in copy.files() {
        copy.must_be_found(&file, None);
        let text = copy.text(&file);
        let renamed = file.replace('/', "/x-");
        copy.remove(&file);
        copy.write(&renamed, &text);
        assert_ne!(
            findings(&listed(), copy.0.path()),
            [""; 0],
            "{file} became {renamed}"
        );
        copy.remove(&renamed);
        copy.write(&file, &text);
        if !file.ends_with("kustomization.yaml") {
            copy.must_be_found(&file, Some(&text.replacen("  name: ", "  name: x-", 1)));
            let again = file.replace(".yaml", "-again.yaml");
            copy.write(&again, &text);
            assert_ne!(
                findings(&listed(), copy.0.path()),
                [""; 0],
                "{again} is one too many"
            );
            copy.remove(&again);
        }
    }
    assert_eq!(
        findings(&listed(), copy.0.path()),
        [""; 0],
        "the copy is as it was"
    );
}

#[test]
fn a_line_that_is_missing_in_a_kustomization_is_found() {
    let copy = Copy::new();
    for file in ["knative/kustomization.yaml", "triggers/kustomization.yaml"] {
        let text = copy.text(file);
        let resources = text.lines().filter(|line| {
            line.starts_with("  - ") && (line.ends_with(".yaml") || line.ends_with("../triggers"))
        });
        for line in resources {
            copy.must_be_found(file, Some(&text.replacen(&format!("{line}\n"), "", 1)));
        }
    }
}

#[test]
fn a_timeout_role_or_reference_that_does_not_fit_is_found() {
    let copy = Copy::new();
    let mut tried = [0; 8];
    for file in copy.files() {
        let text = copy.text(&file);
        let migrate = file.ends_with("migrate.yaml");
        let kustomization = file.ends_with("kustomization.yaml");
        if migrate || kustomization {
            continue;
        }
        for (count, line) in tried.iter_mut().zip([
            "      timeoutSeconds: ",
            "    timeout: PT",
            "name: database-",
            "serviceAccountName: ",
            "args: [\"",
            "networking.knative.dev/visibility: ",
            "    broker: ",
            "      name: ",
        ]) {
            let wrong = match line {
                "      timeoutSeconds: " => "      timeoutSeconds: 19 #",
                "    timeout: PT" => "    timeout: PT19S #",
                "networking.knative.dev/visibility: " => "x: ",
                "    broker: " => "    broker: x-",
                _ => &format!("{line}x-"),
            };
            // What listens to nothing of ours is not measured against us.
            let measured = !(file.ends_with("broker-observed.yaml") && line.contains("timeout"));
            if text.contains(line) && measured {
                copy.must_be_found(&file, Some(&text.replacen(line, wrong, 1)));
                *count += 1;
            }
        }
        for (role, other) in [
            ("system", "tenant"),
            ("tenant", "observer"),
            ("system", "owner"),
        ] {
            let (role, other) = (
                format!("name: database-{role}"),
                format!("name: database-{other}"),
            );
            if text.contains(&role) {
                copy.must_be_found(&file, Some(&text.replace(&role, &other)));
            }
        }
    }
    let functions = listed();
    let of = |wanted: fn(Kind) -> bool| functions.iter().filter(|it| wanted(it.kind)).count();
    let services = of(|kind| kind != Kind::Relay);
    let pods = services + BROKERS.len();
    let triggers = of(|kind| matches!(kind, Kind::Task | Kind::Subscriber { .. }));
    let hidden = of(|kind| !matches!(kind, Kind::Service | Kind::Relay));
    let hidden = hidden + functions.iter().filter(|it| it.name == INSIDE).count();
    assert_eq!(tried[..6], [services, triggers, pods, pods, pods, hidden]);
}

#[test]
fn a_dead_letter_sink_or_more_retries_for_a_wake_up_are_found() {
    let copy = Copy::new();
    let text = copy.text("triggers/task-static.yaml");
    copy.must_be_found(
        "triggers/task-static.yaml",
        Some(&text.replace("retry: 2", "retry: 3")),
    );
    copy.must_be_found(
        "triggers/task-static.yaml",
        Some(&text.replace("task: ", "task: x-")),
    );
    let sink = "deadLetterSink: {uri: 'http://example.com/'}";
    let with_sink = text.replace("retry: 2", &format!("retry: 2\n    {sink}"));
    copy.must_be_found("triggers/task-static.yaml", Some(&with_sink));
    let broker = copy.text("knative/broker-work.yaml");
    let with_sink = broker.replace("spec: {}", &format!("spec: {{delivery: {{{sink}}}}}"));
    copy.must_be_found("knative/broker-work.yaml", Some(&with_sink));
}

#[test]
fn a_function_that_is_removed_renamed_or_changed_in_the_list_is_found() {
    let root = outside::root();
    let functions = listed();
    for (i, listed) in functions.iter().enumerate() {
        let mut without = functions.clone();
        without.remove(i);
        assert_ne!(
            findings(&without, &root),
            [""; 0],
            "{} was removed",
            listed.name
        );
        let role = if listed.role == "system" {
            "tenant"
        } else {
            "system"
        };
        let kind = if listed.kind == Kind::Task {
            Kind::Reconciler
        } else {
            Kind::Task
        };
        let observed = Kind::Subscriber { broker: "observed" };
        let observer = if listed.kind == observed {
            Kind::Subscriber { broker: "inbound" }
        } else {
            observed
        };
        for changed in [
            Listed {
                name: "renamed",
                ..listed.clone()
            },
            Listed {
                role,
                ..listed.clone()
            },
            Listed {
                kind,
                ..listed.clone()
            },
            Listed {
                kind: observer,
                ..listed.clone()
            },
            Listed {
                longest_secs: 601,
                ..listed.clone()
            },
        ] {
            if listed.kind == Kind::Relay && changed.longest_secs == 601 {
                continue;
            }
            let mut with = functions.clone();
            with[i] = changed.clone();
            assert_ne!(
                findings(&with, &root),
                [""; 0],
                "{} became {changed:?}",
                listed.name
            );
        }
    }
}
