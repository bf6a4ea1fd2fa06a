//! The loader against tables and samples that others published.

use std::fs;
use std::path::{Path, PathBuf};

use bundle::local::manifests::Manifests;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::outside::conformance;

/// One row: a `spec`, whether the cluster takes it, and which field it complains about.
#[derive(Deserialize)]
struct Row {
    spec: Value,
    ok: bool,
    #[serde(default)]
    path: Value,
    flags: Option<Vec<String>>,
}

/// Knative's flags that are on by default, which are what the loader goes by.
const FLAGS_ON: &[&str] = &["delivery-timeout"];

fn rows(path: &Path, field: &str) -> Vec<Row> {
    let text = fs::read_to_string(path).expect("the table");
    let mut table: Value = serde_saphyr::from_str(&text).expect("a table");
    serde_json::from_value(table[field].take()).expect("rows")
}

/// What the loader says about a manifest beside a Broker and a Service, both called `there`.
fn said(path: &str, manifest: &Value) -> Option<String> {
    let broker = json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": { "name": "there" },
    });
    let service = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": { "name": "there" },
        "spec": { "template": { "spec": { "containers": [{ "image": "i", "args": ["there"] }] } } },
    });
    let files = [
        ("knative/broker-there.yaml", broker.to_string()),
        ("knative/there.yaml", service.to_string()),
        (path, manifest.to_string()),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    Manifests::parse("row", &files)
        .err()
        .map(|refused| refused.to_string())
}

fn sink() -> Value {
    json!({ "ref": { "apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "there" } })
}

#[track_caller]
fn check(row: &Row, ok: bool, said: Option<String>) {
    assert_eq!(said.is_none(), ok, "{}: {said:?}", row.spec);
    let Some(said) = said else { return };
    let named = match &row.path {
        Value::String(path) => said.contains(path.as_str()),
        Value::Array(paths) => paths
            .iter()
            .all(|path| said.contains(path.as_str().unwrap_or("?"))),
        _ => true,
    };
    assert!(named, "{}: {said} does not name {}", row.spec, row.path);
}

#[test]
fn deliveries_are_taken_and_refused_as_by_the_cluster() {
    let Some(path) = conformance("knative/delivery-validation.yaml") else {
        return;
    };
    let mut checked = 0;
    for row in rows(&path, "tests") {
        // A row that needs a flag which is off by default is refused here; one that needs a flag to
        // be off which is on by default says nothing about us.
        let flags = row.flags.as_deref();
        let off =
            flags.is_some_and(|flags| flags.iter().any(|it| !FLAGS_ON.contains(&it.as_str())));
        if row.spec.get("timeout").is_some() && flags.is_some_and(<[String]>::is_empty) {
            continue;
        }
        let trigger = json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger",
            "metadata": { "name": "row" },
            "spec": { "broker": "there", "subscriber": sink(), "delivery": row.spec },
        });
        let mut said = said("triggers/row.yaml", &trigger);
        if row.path == "deadLetterSink" {
            // Named as what is missing in it.
            said = said.map(|said| said.replace("a destination", "deadLetterSink"));
        }
        check(&row, row.ok && !off, said);
        checked += 1;
    }
    assert_eq!(checked, 21);
}

#[test]
fn ping_sources_are_taken_and_refused_as_by_the_cluster() {
    let Some(path) = conformance("knative/pingsource.yaml") else {
        return;
    };
    let rows = rows(&path, "validation");
    for row in &rows {
        let mut spec = row.spec.clone();
        let fields = spec.as_object_mut().expect("a spec");
        fields.entry("sink").or_insert_with(sink);
        let source = json!({
            "apiVersion": "sources.knative.dev/v1", "kind": "PingSource",
            "metadata": { "name": "row" }, "spec": spec,
        });
        check(row, row.ok, said("triggers/row.yaml", &source));
    }
    assert_eq!(rows.len(), 15);
}

fn yaml_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn samples_of_others_are_run_or_refused_by_the_name_of_their_kind() {
    const NOT_RUN: &[&str] = &[
        "ApiServerSource",
        "Deployment",
        "InMemoryChannel",
        "Parallel",
        "Sequence",
        "SinkBinding",
        "StatefulSet",
        "Subscription",
    ];
    let Some(folder) = conformance("knative-samples") else {
        return;
    };
    let mut files = Vec::new();
    yaml_files(&folder, &mut files);
    let mut refused_by_kind = 0;
    for path in &files {
        let text = fs::read_to_string(path).expect("a sample");
        let name = format!(
            "knative/{}",
            path.file_name().and_then(|it| it.to_str()).expect("a name")
        );
        let said = match Manifests::parse("sample", &[(&name, &text)]) {
            Ok(_) => String::new(),
            Err(refused) => refused.to_string(),
        };
        for kind in text.lines().filter_map(|line| line.strip_prefix("kind: ")) {
            let kind = kind.trim();
            if NOT_RUN.contains(&kind) {
                let expected = format!("a {kind} of ");
                assert!(
                    said.contains(&expected),
                    "{}: {kind} is not in {said}",
                    path.display()
                );
                refused_by_kind += 1;
            }
        }
    }
    assert_eq!(files.len(), 87);
    assert!(
        refused_by_kind > 10,
        "only {refused_by_kind} kinds were refused"
    );
}
