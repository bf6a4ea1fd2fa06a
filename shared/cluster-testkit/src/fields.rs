//! Fields of objects by their paths, as server-side apply counts them. A list is one field.

use std::collections::BTreeSet;

use serde_json::Value;

/// Between the parts of a path: stands in no key.
const BETWEEN: char = '\u{1f}';
/// Of what every object has nobody is the owner.
const NOBODYS: [&str; 8] = [
    "apiVersion",
    "kind",
    "metadata\u{1f}name",
    "metadata\u{1f}namespace",
    "metadata\u{1f}uid",
    "metadata\u{1f}resourceVersion",
    "metadata\u{1f}creationTimestamp",
    "metadata\u{1f}managedFields",
];

/// The paths of all fields of an object.
pub(crate) fn leaves(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![(String::new(), value)];
    while let Some((path, value)) = left.pop() {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}{BETWEEN}{key}")
                    };
                    left.push((path, value));
                }
            }
            _ => {
                found.insert(path);
            }
        }
    }
    found.retain(|path| !NOBODYS.contains(&path.as_str()));
    found
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(BETWEEN)
        .try_fold(value, |value, key| value.get(key))
}

/// Whether two objects have the same in a field.
pub(crate) fn same(a: &Value, b: &Value, path: &str) -> bool {
    at(a, path) == at(b, path)
}

/// Takes a field away, and what is empty then.
pub(crate) fn remove(value: &mut Value, path: &str) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    let Some((key, rest)) = path.split_once(BETWEEN) else {
        map.remove(path);
        return;
    };
    if let Some(inner) = map.get_mut(key) {
        remove(inner, rest);
        if inner.as_object().is_some_and(serde_json::Map::is_empty) {
            map.remove(key);
        }
    }
}

/// JSON Merge Patch.
pub(crate) fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let Value::Object(map) = value else { return };
    for (key, new) in patch {
        if new.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key).or_insert(Value::Null), new);
        }
    }
}
