//! A state for a look inside: its head, its outputs, its resources, and what is different between two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::difference::{Attribute, Differences, Shown, Side, shown};
use crate::secrets::Secrets;
use crate::ui::json_bytes;
use crate::{Error, cut, parse};

/// The largest state that is read, in bytes of JSON.
pub const STATE_BYTES_MAX: usize = 64 * 1024 * 1024;
const TEXT_BYTES_MAX: usize = 512;
/// Resources that are listed.
const INSTANCES_MAX: usize = 2_000;
/// The largest list of outputs or differences, in bytes of JSON.
const SHOWN_BYTES_MAX: usize = 512 * 1024;

/// Which state it is, of a line of states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHead {
    /// Grows with each change.
    pub serial: u64,
    /// The same for all states that come from one first one.
    pub lineage: String,
    /// The version of terraform that wrote it.
    #[serde(default)]
    pub terraform_version: Option<String>,
}

/// A state, masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which one it is.
    #[serde(flatten)]
    pub head: StateHead,
    /// Its outputs.
    pub outputs: BTreeMap<String, StateOutput>,
    /// Outputs that did not fit.
    pub outputs_left_out: usize,
    /// What it manages.
    pub instances: Vec<Instance>,
    /// Instances that did not fit.
    pub instances_left_out: usize,
}

/// An output of a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateOutput {
    /// Its value.
    pub value: Shown,
    /// Its type, as terraform writes it.
    pub kind: Value,
}

/// One instance of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its address.
    pub address: String,
    /// Its provider.
    pub provider: String,
    /// The id that its provider gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// It is to be replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tainted: bool,
}

/// What is different between two states.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StateDifference {
    /// Instances that are only in one of them, or different.
    pub instances: Vec<Moved>,
    /// Differences that did not fit.
    pub instances_left_out: usize,
    /// Outputs that differ.
    pub outputs: Vec<Attribute>,
}

/// One instance that is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Its address.
    pub address: String,
    /// `create` when only the later one has it, `delete` when only the earlier one, else `update`.
    pub action: String,
    /// What is different.
    pub attributes: Vec<Attribute>,
    /// Attributes that did not fit.
    pub attributes_left_out: usize,
}

#[derive(Deserialize)]
struct File {
    version: u64,
    #[serde(default)]
    terraform_version: Option<String>,
    #[serde(default)]
    serial: Option<u64>,
    #[serde(default)]
    lineage: Option<String>,
    #[serde(default)]
    outputs: BTreeMap<String, FileOutput>,
    #[serde(default)]
    resources: Vec<FileResource>,
}

#[derive(Deserialize)]
struct FileOutput {
    #[serde(default)]
    value: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    sensitive: bool,
}

#[derive(Deserialize)]
struct FileResource {
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    instances: Vec<FileInstance>,
}

#[derive(Deserialize)]
struct FileInstance {
    #[serde(default)]
    index_key: Option<Value>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    attributes: Value,
    #[serde(default)]
    sensitive_attributes: Value,
}

impl FileInstance {
    /// The marks in the shape of the value, from terraform's list of paths.
    fn mask(&self) -> Value {
        let mut mask = Value::Null;
        let paths = self.sensitive_attributes.as_array();
        for steps in paths.into_iter().flatten().filter_map(Value::as_array) {
            let steps: Vec<_> = steps.iter().filter_map(|step| step.get("value")).collect();
            mark(&mut mask, &self.attributes, &steps);
        }
        mask
    }
}

/// Marks the place of a path. Where it leads into a value that terraform wraps with its type, or cannot be followed, the whole
/// is marked: too much rather than too little.
fn mark(mask: &mut Value, value: &Value, steps: &[&Value]) {
    let Some((first, rest)) = steps.split_first() else {
        *mask = Value::Bool(true);
        return;
    };
    if *mask == Value::Bool(true) {
        return;
    }
    let (Value::Object(members), Some(name)) = (value, first.as_str()) else {
        *mask = Value::Bool(true);
        return;
    };
    if !mask.is_object() {
        *mask = Value::Object(serde_json::Map::new());
    }
    let (Some(masks), Some(member)) = (mask.as_object_mut(), members.get(name)) else {
        *mask = Value::Bool(true);
        return;
    };
    mark(masks.entry(name).or_insert(Value::Null), member, rest);
}

impl File {
    fn read(json: &[u8]) -> Result<Self, Error> {
        let file: Self = parse("the state", json, STATE_BYTES_MAX)?;
        if file.version != 4 {
            return Err(Error::NotTerraform {
                what: "the state",
                why: "its version is not 4",
            });
        }
        if file.serial.is_none() || file.lineage.is_none() {
            return Err(Error::NotTerraform {
                what: "the state",
                why: "it has no serial, or no lineage",
            });
        }
        Ok(file)
    }

    fn head(&self) -> StateHead {
        StateHead {
            serial: self.serial.unwrap_or_default(),
            lineage: cut(self.lineage.as_deref().unwrap_or_default(), TEXT_BYTES_MAX),
            terraform_version: self
                .terraform_version
                .as_deref()
                .map(|version| cut(version, TEXT_BYTES_MAX)),
        }
    }

    fn note_secrets(&self, secrets: &mut Secrets) {
        for output in self.outputs.values().filter(|output| output.sensitive) {
            secrets.note_all(&output.value);
        }
        for (_, _, instance) in self.instances() {
            secrets.note(&instance.attributes, &instance.mask());
        }
    }

    fn instances(&self) -> impl Iterator<Item = (String, &FileResource, &FileInstance)> {
        self.resources.iter().flat_map(|resource| {
            resource.instances.iter().map(move |instance| {
                let mut address = String::new();
                if let Some(module) = &resource.module {
                    address.push_str(module);
                    address.push('.');
                }
                if resource.mode == "data" {
                    address.push_str("data.");
                }
                address.push_str(&format!("{}.{}", resource.kind, resource.name));
                if let Some(key) = &instance.index_key {
                    address.push_str(&format!("[{key}]"));
                }
                if let Some(deposed) = &instance.deposed {
                    address.push_str(&format!(" (deposed {deposed})"));
                }
                (cut(&address, TEXT_BYTES_MAX), resource, instance)
            })
        })
    }
}

impl StateHead {
    /// Reads it of a whole state.
    ///
    /// # Errors
    /// When it is not JSON, not a state, or larger than [`STATE_BYTES_MAX`].
    pub fn read(json: &[u8]) -> Result<Self, Error> {
        Ok(File::read(json)?.head())
    }
}

impl State {
    /// Reads a state and masks it.
    ///
    /// # Errors
    /// As [`StateHead::read`].
    pub fn read(json: &[u8]) -> Result<Self, Error> {
        let file = File::read(json)?;
        let mut secrets = Secrets::default();
        file.note_secrets(&mut secrets);
        let mut state = Self {
            head: file.head(),
            outputs: BTreeMap::new(),
            outputs_left_out: 0,
            instances: Vec::new(),
            instances_left_out: 0,
        };
        let mut left = SHOWN_BYTES_MAX;
        for (name, output) in &file.outputs {
            let mask = Value::Bool(output.sensitive);
            let shown = StateOutput {
                value: shown(&output.value, Some(&mask), &secrets),
                kind: output.kind.clone(),
            };
            match left.checked_sub(json_bytes(&shown)) {
                Some(rest) => {
                    left = rest;
                    state.outputs.insert(cut(name, TEXT_BYTES_MAX), shown);
                }
                None => state.outputs_left_out += 1,
            }
        }
        for (address, resource, instance) in file.instances() {
            if state.instances.len() == INSTANCES_MAX {
                state.instances_left_out += 1;
                continue;
            }
            let id = instance.attributes.get("id").and_then(Value::as_str);
            state.instances.push(Instance {
                address,
                provider: cut(&resource.provider, TEXT_BYTES_MAX),
                id: id.map(|id| cut(&secrets.hide(id), TEXT_BYTES_MAX)),
                tainted: instance.status.as_deref() == Some("tainted"),
            });
        }
        Ok(state)
    }
}

/// What is different between two states: how one came from the other. What either of them marks as sensitive is masked in both.
///
/// # Errors
/// As [`StateHead::read`].
pub fn difference(earlier: &[u8], later: &[u8]) -> Result<StateDifference, Error> {
    let (earlier, later) = (File::read(earlier)?, File::read(later)?);
    let mut secrets = Secrets::default();
    earlier.note_secrets(&mut secrets);
    later.note_secrets(&mut secrets);
    let mut both: BTreeMap<String, [Option<&FileInstance>; 2]> = BTreeMap::new();
    for (address, _, instance) in earlier.instances() {
        both.entry(address).or_default()[0] = Some(instance);
    }
    for (address, _, instance) in later.instances() {
        both.entry(address).or_default()[1] = Some(instance);
    }
    let mut found = StateDifference::default();
    let mut left = SHOWN_BYTES_MAX;
    for (address, [before, after]) in both {
        let action = match (before, after) {
            (None, _) => "create",
            (Some(_), None) => "delete",
            (Some(_), Some(_)) => "update",
        };
        let masks = [before, after].map(|side| side.map_or(Value::Null, FileInstance::mask));
        let different = Differences::between(
            side(before, &masks[0]),
            side(after, &masks[1]),
            &secrets,
            &[],
        );
        if action == "update" && different.attributes.is_empty() {
            continue;
        }
        let moved = Moved {
            address,
            action: action.to_owned(),
            attributes: different.attributes,
            attributes_left_out: different.left_out,
        };
        match left.checked_sub(json_bytes(&moved)) {
            Some(rest) => {
                left = rest;
                found.instances.push(moved);
            }
            None => found.instances_left_out += 1,
        }
    }
    found.outputs = outputs(&earlier, &later, &secrets);
    Ok(found)
}

fn outputs(earlier: &File, later: &File, secrets: &Secrets) -> Vec<Attribute> {
    let sides = [earlier, later].map(|file| {
        let values: serde_json::Map<_, _> = file
            .outputs
            .iter()
            .map(|(name, output)| (name.clone(), output.value.clone()))
            .collect();
        let masks: serde_json::Map<_, _> = file
            .outputs
            .iter()
            .map(|(name, output)| (name.clone(), Value::Bool(output.sensitive)))
            .collect();
        (Value::Object(values), Value::Object(masks))
    });
    let [before, after] = [&sides[0], &sides[1]].map(|(value, mask)| Side {
        value: Some(value),
        sensitive: Some(mask),
        unknown: None,
    });
    Differences::between(before, after, secrets, &[]).attributes
}

fn side<'a>(instance: Option<&'a FileInstance>, mask: &'a Value) -> Side<'a> {
    Side {
        value: instance.map(|instance| &instance.attributes),
        sensitive: Some(mask),
        unknown: None,
    }
}
