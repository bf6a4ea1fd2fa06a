//! Definitions of resources, as a cluster checks objects against.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Value, json};

/// The resources of both generations of clabernetes.
const LABS: [&str; 4] = [
    "labs/clabernetes-0.6/topologies.yaml",
    "labs/c9s/c9s.run_topologies.yaml",
    "labs/c9s/c9s.run_nodes.yaml",
    "labs/c9s/c9s.run_links.yaml",
];

/// Custom resources by group, version and kind.
#[derive(Debug, Default)]
pub struct Crds {
    validators: BTreeMap<(String, String), Validator>,
    pub(crate) definitions: Vec<Value>,
}

impl Crds {
    /// Those of labs, from what third parties publish; nothing, and a line that says so, where that is not on this machine.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn of_labs() -> Option<Self> {
        let mut crds = Self::default();
        for path in LABS {
            let text = std::fs::read_to_string(testkit::conformance(path)?).expect("a file");
            crds.add(serde_saphyr::from_str(&text).expect("YAML"));
        }
        Some(crds)
    }

    /// The definitions themselves.
    #[must_use]
    pub fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    fn add(&mut self, definition: Value) {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (group, kind) = (text(&spec["group"]), text(&spec["names"]["kind"]));
        for version in spec["versions"].as_array().expect("versions") {
            let name = text(&version["name"]);
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            closed(&mut schema);
            // What every object has.
            schema["properties"]["metadata"] = json!({ "type": "object" });
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            self.validators
                .insert((format!("{group}/{name}"), kind.clone()), validator);
        }
        self.definitions.push(definition);
    }

    /// What is wrong with an object; nothing where its kind is not one of these.
    ///
    /// # Errors
    /// Says what a cluster would refuse, also keys that it would drop.
    pub fn check(&self, object: &Value) -> Result<(), String> {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let Some(validator) = self.validators.get(&(text("apiVersion"), text("kind"))) else {
            return Ok(());
        };
        let faults: Vec<String> = validator
            .iter_errors(object)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("; "))
        }
    }
}

/// Lets an object have no other keys than those that are described: a cluster would drop them without a word.
fn closed(schema: &mut Value) {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    if map.contains_key("properties") && !map.contains_key("additionalProperties") && !open {
        map.insert("additionalProperties".to_owned(), false.into());
    }
    // "int-or-string" has a pattern of its own, and formats of Go are not JSON Schema's.
    map.remove("format");
    for key in ["properties", "patternProperties"] {
        if let Some(inner) = map.get_mut(key).and_then(Value::as_object_mut) {
            inner.values_mut().for_each(closed);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key).filter(|inner| inner.is_object()) {
            closed(inner);
        }
    }
}
