//! What a cluster would say, without one: kustomize, the CRDs' schemas, feature flags.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use bundle::local::manifests::{Manifests, gated_flags};
use serde_json::{Value, json};

use crate::outside::{conformance, root, skipped};

/// The schemas of Knative's kinds by apiVersion and kind, made strict.
struct Schemas(BTreeMap<(String, String), jsonschema::Validator>);

impl Schemas {
    fn read() -> Option<Self> {
        let mut schemas = BTreeMap::new();
        for folder in ["crds/serving", "crds/eventing"] {
            for entry in fs::read_dir(conformance(folder)?).expect("the CRDs") {
                let text = fs::read_to_string(entry.expect("an entry").path()).expect("a CRD");
                let crd: Value = serde_saphyr::from_str(&text).expect("a CRD");
                let group = crd["spec"]["group"].as_str().unwrap_or_default();
                let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
                for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
                    let name = version["name"].as_str().expect("a version");
                    let mut schema = version["schema"]["openAPIV3Schema"].clone();
                    make_strict(&mut schema);
                    for (field, kind) in [("apiVersion", "string"), ("kind", "string")] {
                        schema["properties"][field] = json!({ "type": kind });
                    }
                    schema["properties"]["metadata"] = metadata();
                    schema["required"] = json!(["apiVersion", "kind", "metadata"]);
                    let validator = jsonschema::validator_for(&schema).expect("a schema");
                    schemas.insert((format!("{group}/{name}"), kind.to_owned()), validator);
                }
            }
        }
        Some(Self(schemas))
    }

    /// What is wrong with a manifest; `None` when it is of a kind that has no schema here.
    fn check(&self, manifest: &Value) -> Option<Vec<String>> {
        let text = |field: &str| manifest[field].as_str().unwrap_or_default().to_owned();
        let validator = self.0.get(&(text("apiVersion"), text("kind")))?;
        let errors = validator.iter_errors(manifest);
        Some(
            errors
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect(),
        )
    }
}

fn metadata() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string" },
            "namespace": { "type": "string" },
            "labels": texts,
            "annotations": texts,
        },
    })
}

/// Turns what the API server would drop in silence, a field that is not in the schema, into a fault.
fn make_strict(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let preserve = fields.get("x-kubernetes-preserve-unknown-fields");
            let open = preserve == Some(&Value::Bool(true));
            let object = fields.get("type").and_then(Value::as_str) == Some("object");
            if object && !open && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            fields.values_mut().for_each(make_strict);
        }
        Value::Array(items) => items.iter_mut().for_each(make_strict),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The manifests as a cluster gets them; `None`, after saying so, without kubectl.
fn rendered() -> Option<String> {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(root().join("knative"))
        .output();
    let Ok(output) = output else {
        skipped("there is no kubectl");
        return None;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn every_manifest_fits_the_schema_of_its_kind() {
    let Some(schemas) = Schemas::read() else {
        return;
    };
    let mut checked = 0;
    for folder in ["knative", "triggers"] {
        for entry in fs::read_dir(root().join(folder)).expect("the manifests") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a manifest");
            let manifest: Value = serde_saphyr::from_str(&text).expect("YAML");
            if let Some(faults) = schemas.check(&manifest) {
                assert_eq!(faults, [""; 0], "{}", path.display());
                checked += 1;
            }
        }
    }
    assert_eq!(
        checked,
        33 + 3 + 3 + 8 + 11,
        "Services, relays, Brokers, Triggers and PingSources"
    );
}

#[test]
fn what_kustomize_renders_fits_too_and_can_be_run() {
    let (Some(schemas), Some(rendered)) = (Schemas::read(), rendered()) else {
        return;
    };
    let mut files = vec![(
        "knative/kustomization.yaml".to_owned(),
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: switchyard"
            .to_owned(),
    )];
    for (i, text) in rendered.split("\n---\n").enumerate() {
        let manifest: Value = serde_saphyr::from_str(text).expect("YAML");
        let faults = schemas.check(&manifest).unwrap_or_default();
        assert_eq!(faults, [""; 0], "{text}");
        let kind = manifest["kind"].as_str().unwrap_or_default();
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        let prefix = if kind == "Broker" { "broker-" } else { "" };
        files.push((format!("{i}/{prefix}{name}.yaml"), text.to_owned()));
        assert!(
            !text.contains("image: switchyard/plain\n"),
            "an image without a version: {text}"
        );
        let everywhere = matches!(kind, "Namespace" | "ClusterRole");
        let namespaced = everywhere || text.contains("  namespace: switchyard");
        assert!(namespaced, "{kind} {name} has no namespace");
    }
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let manifests = Manifests::parse("rendered", &files).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(manifests.services.len(), 33);
    assert_eq!(manifests.container_sources.len(), 3);
}

#[test]
fn a_field_that_the_cluster_would_drop_is_a_fault() {
    let Some(schemas) = Schemas::read() else {
        return;
    };
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("a manifest");
    for (file, from, to) in [
        ("knative/api.yaml", "requests:", "request:"),
        (
            "knative/api.yaml",
            "timeoutSeconds: 600",
            "timeoutSeconds: '600'",
        ),
        ("knative/api.yaml", "secretName:", "name:"),
        ("knative/api.yaml", "args: [\"api\"]", "args: api"),
        ("knative/api.yaml", "max-scale: \"4\"", "max-scale: 4"),
        ("knative/api.yaml", "memory: 64Mi", "memory: 64 MiB"),
        ("knative/api.yaml", "      containers:", "      container:"),
        (
            "knative/broker-work.yaml",
            "spec: {}",
            "spec: {delivry: {}}",
        ),
        ("knative/relay-work.yaml", "  sink:", "  snk:"),
        ("triggers/dispatch.yaml", "retry: 5", "retry: five"),
        ("triggers/cron-reap.yaml", "timezone:", "timeZone:"),
    ] {
        let text = read(file);
        assert!(text.contains(from), "`{from}` is not in {file}");
        let changed: Value = serde_saphyr::from_str(&text.replacen(from, to, 1)).expect("YAML");
        let faults = schemas.check(&changed).expect("a schema");
        assert!(!faults.is_empty(), "{file}: `{to}` went through");
    }
}

#[test]
fn the_flags_that_a_manifest_must_not_need_are_those_that_are_off() {
    let Some(path) = conformance("crds/serving/config-features.yaml") else {
        return;
    };
    let off = flags_that_are_off(&path);
    for flag in gated_flags() {
        assert!(off.contains(&flag.to_owned()), "{flag} is not off");
    }
    let ours: Vec<&str> = gated_flags().collect();
    // Needs a volume claim, which is refused already.
    let implied = "kubernetes.podspec-persistent-volume-write";
    let unknown = off.iter().filter(|flag| flag.starts_with("kubernetes."));
    let unknown = unknown.filter(|flag| *flag != implied && !ours.contains(&flag.as_str()));
    assert_eq!(unknown.collect::<Vec<_>>(), [""; 0]);
}

fn flags_that_are_off(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the flags");
    let map: Value = serde_saphyr::from_str(&text).expect("a ConfigMap");
    let example = map["data"]["_example"].as_str().expect("the example");
    let flags: BTreeMap<String, String> = serde_saphyr::from_str(example).expect("flags");
    let off = flags.into_iter().filter(|(_, value)| value == "disabled");
    off.map(|(flag, _)| flag).collect()
}
