//! The check of a topology against containerlab's own JSON Schema, where an operator gives one.
//!
//! The schema lists the kinds of nodes by their long names only, while containerlab, and netlab with it, also knows short ones.

use jsonschema::Validator;

use crate::problem::Problems;
use crate::variables::with_defaults;
use crate::yaml::{Node, Position, YamlError, parse};

/// Short names of kinds, and the long ones that the schema has.
const ALIASES: [(&str, &str); 16] = [
    ("ceos", "arista_ceos"),
    ("crpd", "juniper_crpd"),
    ("cvx", "nvidia_cumulusvx"),
    ("srl", "nokia_srlinux"),
    ("vr-aoscx", "aruba_aoscx"),
    ("vr-csr", "cisco_csr1000v"),
    ("vr-n9kv", "cisco_n9kv"),
    ("vr-ros", "mikrotik_ros"),
    ("vr-sros", "nokia_sros"),
    ("vr-veos", "arista_veos"),
    ("vr-vmx", "juniper_vmx"),
    ("vr-vqfx", "juniper_vqfx"),
    ("vr-vsrx", "juniper_vsrx"),
    ("vr-xrv", "cisco_xrv"),
    ("vr-xrv9k", "cisco_xrv9k"),
    ("xrd", "cisco_xrd"),
];

/// The most faults that are looked for.
const FAULTS_MAX: usize = 50;

/// containerlab's schema.
#[derive(Debug)]
pub struct ClabSchema(Validator);

/// A schema that is none.
#[derive(Debug, thiserror::Error)]
#[error("this is not a JSON Schema: {0}")]
pub struct SchemaError(String);

impl ClabSchema {
    /// Reads the schema that containerlab publishes as `clab.schema.json`.
    ///
    /// # Errors
    /// When it is no JSON Schema.
    pub fn new(schema: &serde_json::Value) -> Result<Self, SchemaError> {
        let validator =
            jsonschema::validator_for(schema).map_err(|e| SchemaError(e.to_string()))?;
        Ok(Self(validator))
    }

    /// Looks through a topology.
    ///
    /// # Errors
    /// Says each fault with its line.
    pub fn check(&self, text: &str) -> Result<(), crate::TopologyError> {
        let text = with_defaults(text)?;
        let root: Node =
            parse(&text).map_err(|error: YamlError| crate::TopologyError::Yaml(error))?;
        let mut json = root.json();
        long_kinds(&mut json);
        let mut problems = Problems::default();
        let faults = self.0.iter_errors(&json);
        for fault in faults.take(FAULTS_MAX) {
            let path = fault.instance_path().to_string();
            let at: Position = root.at_pointer(&path);
            let what: String = fault.to_string().chars().take(300).collect();
            problems.push(at, format!("{path}: {what}"));
        }
        Ok(problems.none()?)
    }
}

/// Puts the long name of each kind where a short one stands.
fn long_kinds(topology: &mut serde_json::Value) {
    let long = |kind: &str| {
        ALIASES
            .iter()
            .find(|(short, _)| *short == kind)
            .map(|(_, long)| *long)
    };
    let mut rename = |config: &mut serde_json::Value| {
        if let Some(kind) = config.get_mut("kind")
            && let Some(long) = kind.as_str().and_then(long)
        {
            *kind = long.into();
        }
    };
    let Some(inner) = topology.get_mut("topology") else {
        return;
    };
    for section in ["nodes", "groups"] {
        let configs = inner
            .get_mut(section)
            .and_then(serde_json::Value::as_object_mut);
        configs
            .into_iter()
            .flat_map(|map| map.values_mut())
            .for_each(&mut rename);
    }
    if let Some(defaults) = inner.get_mut("defaults") {
        rename(defaults);
    }
    if let Some(kinds) = inner
        .get_mut("kinds")
        .and_then(serde_json::Value::as_object_mut)
    {
        let renamed = std::mem::take(kinds).into_iter();
        kinds.extend(renamed.map(|(kind, config)| {
            (
                long(&kind).map_or_else(|| kind.clone(), str::to_owned),
                config,
            )
        }));
    }
}
