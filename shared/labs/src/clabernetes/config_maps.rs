//! A node's files, packed into as few ConfigMaps as hold them in order.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::ObjectsError;
use crate::files::LabFile;

/// What one ConfigMap carries at most, in bytes of keys and values. Kubernetes takes 1 MiB of object.
pub const CONFIG_MAP_BYTES_MAX: usize = 950_000;
/// The longest key of a ConfigMap.
const KEY_BYTES_MAX: usize = 253;

/// A node's ConfigMaps, and where their keys appear as files.
pub(super) struct Packed {
    pub(super) config_maps: Vec<Value>,
    pub(super) mounts: Vec<Value>,
}

/// What is filled at the moment.
#[derive(Default)]
struct Open {
    bytes: usize,
    text: Map<String, Value>,
    binary: Map<String, Value>,
}

pub(super) fn pack(
    lab: &str,
    node: &str,
    files: &BTreeMap<String, LabFile>,
    labels: &BTreeMap<&str, &str>,
) -> Result<Packed, ObjectsError> {
    let mut packed = Packed {
        config_maps: Vec::new(),
        mounts: Vec::new(),
    };
    let mut keys = BTreeSet::new();
    let mut open = Open::default();
    let name = |count: usize| format!("{lab}-{node}-files-{count}");
    let close = |open: &mut Open, config_maps: &mut Vec<Value>| {
        let full = std::mem::take(open);
        let mut map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": name(config_maps.len()), "labels": labels },
        });
        if !full.text.is_empty() {
            map["data"] = full.text.into();
        }
        if !full.binary.is_empty() {
            map["binaryData"] = full.binary.into();
        }
        config_maps.push(map);
    };
    for (path, file) in files {
        let key = key(path, &mut keys);
        // Text is kept as text, which people can read; the rest grows by a third.
        let text = std::str::from_utf8(&file.bytes).ok();
        let value = text.map_or_else(|| STANDARD.encode(&file.bytes), str::to_owned);
        let bytes = key.len() + value.len();
        if bytes > CONFIG_MAP_BYTES_MAX {
            let (node, path) = (node.to_owned(), path.clone());
            return Err(ObjectsError::FileTooLarge { node, path, bytes });
        }
        if open.bytes + bytes > CONFIG_MAP_BYTES_MAX {
            close(&mut open, &mut packed.config_maps);
        }
        open.bytes += bytes;
        let side = if text.is_some() {
            &mut open.text
        } else {
            &mut open.binary
        };
        side.insert(key.clone(), value.into());
        packed.mounts.push(json!({
            "configMapName": name(packed.config_maps.len()),
            "configMapPath": key,
            "filePath": path,
            "mode": if file.executable { "execute" } else { "read" },
        }));
    }
    if open.bytes > 0 {
        close(&mut open, &mut packed.config_maps);
    }
    Ok(packed)
}

/// A key made from a path. Two paths may look alike as keys: then a hash tells them apart.
fn key(path: &str, taken: &mut BTreeSet<String>) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut key: String = path
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    if key.len() > KEY_BYTES_MAX || key.starts_with("..") || key == "." || taken.contains(&key) {
        let hash = hex::encode(Sha256::digest(path));
        let kept: String = key
            .trim_start_matches('.')
            .chars()
            .take(KEY_BYTES_MAX - 65)
            .collect();
        key = format!("{kept}-{hash}");
    }
    taken.insert(key.clone());
    key
}
