//! What the vendors say they were tested with, held against what there is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vendors::{ROWS, recorded};
use webhook::{Tested, Vendor, With};

fn functions() -> [(&'static str, &'static [Tested]); 5] {
    [
        ("webhook-azure", webhook_azure::Azure::TESTED),
        ("webhook-bitbucket", webhook_bitbucket::Bitbucket::TESTED),
        ("webhook-gitea", webhook_gitea::Gitea::TESTED),
        ("webhook-github", webhook_github::Github::TESTED),
        ("webhook-gitlab", webhook_gitlab::Gitlab::TESTED),
    ]
}

/// The files of a function's fixtures, also in folders.
fn fixtures(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a function has fixtures") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            fixtures(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_documented_shape_is_a_fixture_with_what_it_becomes() {
    for (function, events) in functions() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../functions")
            .join(function)
            .join("testdata");
        let mut files = Vec::new();
        fixtures(&folder, &mut files);
        for tested in events {
            let With::Documented(_) = tested.with else {
                continue;
            };
            let prefix = tested.event.replace(':', "__").replace(' ', "_");
            let of_sender = |path: &PathBuf| {
                let sender = tested.vendor.as_str();
                function != "webhook-gitea" || path.parent().is_some_and(|it| it.ends_with(sender))
            };
            let held = files.iter().filter(|path| of_sender(path)).any(|path| {
                let name = path.file_name().expect("a file has a name");
                let name = name.to_string_lossy();
                name.starts_with(&format!("{prefix}.")) && name.ends_with(".parsed.json")
            });
            assert!(held, "{function} has no fixture of {tested:?}");
        }
    }
}

#[test]
fn every_recorded_event_was_recorded() {
    let Some(webhooks) = testkit::conformance("webhooks") else {
        return;
    };
    for (function, events) in functions() {
        let seen: Vec<String> = ROWS
            .iter()
            .filter(|row| row.judge.function == function)
            .flat_map(|row| recorded(&webhooks, row.folder))
            .map(|it| {
                let body: Value = serde_json::from_slice(&it.body).expect("it is JSON");
                match body["object_kind"].as_str() {
                    Some("push") => "Push Hook".to_owned(),
                    Some("tag_push") => "Tag Push Hook".to_owned(),
                    Some("merge_request") => "Merge Request Hook".to_owned(),
                    Some(_) | None => it.event,
                }
            })
            .collect();
        for tested in events {
            if matches!(tested.with, With::Recorded(_)) {
                assert!(
                    seen.iter().any(|event| event == tested.event),
                    "nobody recorded {tested:?}"
                );
            }
        }
    }
}
