//! What is different between two values, attribute by attribute, masked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cut;
use crate::secrets::{MASK, Secrets};

/// Attributes of one resource that are shown.
const ATTRIBUTES_MAX: usize = 100;
/// Bytes of one value that are shown.
const VALUE_BYTES_MAX: usize = 1024;
/// Bytes of a path that are shown.
const PATH_BYTES_MAX: usize = 512;

/// A value as people may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// This. Sensitive pieces of it are `***`.
    Value(Value),
    /// Terraform marks it as sensitive.
    Sensitive,
    /// Known only after the apply.
    Unknown,
}

/// One attribute that is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Where it is: `tags.name`, `disks[0].size`, `labels["a b"]`.
    pub path: String,
    /// What it was; none when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Shown>,
    /// What it becomes; none when it goes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Shown>,
    /// The resource is replaced because of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

/// One side of a comparison, with terraform's marks in the shape of the value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Side<'a> {
    pub(crate) value: Option<&'a Value>,
    pub(crate) sensitive: Option<&'a Value>,
    pub(crate) unknown: Option<&'a Value>,
}

impl<'a> Side<'a> {
    fn member(self, key: &Key<'_>) -> Self {
        let of = |value: Option<&'a Value>| match (value, key) {
            (Some(Value::Object(map)), Key::Name(name)) => map.get(*name),
            (Some(Value::Array(list)), Key::Index(index)) => list.get(*index),
            _ => None,
        };
        Self {
            value: of(self.value),
            sensitive: of(self.sensitive),
            unknown: of(self.unknown),
        }
    }

    fn is_sensitive(self) -> bool {
        self.sensitive == Some(&Value::Bool(true))
    }

    fn is_unknown(self) -> bool {
        self.unknown == Some(&Value::Bool(true))
    }

    /// The value, unless it is not there or null, which terraform does not tell apart.
    fn there(self) -> Option<&'a Value> {
        self.value.filter(|value| !value.is_null())
    }
}

/// A step into a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Name(&'a str),
    Index(usize),
}

/// The attributes that are different, and how many more there are than are shown.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) left_out: usize,
}

impl Differences {
    /// Compares two values.
    pub(crate) fn between(
        before: Side<'_>,
        after: Side<'_>,
        secrets: &Secrets,
        replace_paths: &[String],
    ) -> Self {
        let mut found = Self::default();
        found.compare(&mut String::new(), before, after, secrets);
        for attribute in &mut found.attributes {
            attribute.replaces = replace_paths
                .iter()
                .any(|path| is_at_or_below(&attribute.path, path));
        }
        found
    }

    fn compare(&mut self, path: &mut String, before: Side<'_>, after: Side<'_>, secrets: &Secrets) {
        let sensitive = before.is_sensitive() || after.is_sensitive();
        if !after.is_unknown() && before.there() == after.there() && !has_unknown(after.unknown) {
            return;
        }
        let keys = keys([
            before.there(),
            after.there(),
            after.unknown.filter(|unknown| has_unknown(Some(unknown))),
        ]);
        if sensitive || after.is_unknown() || keys.is_empty() {
            let show = |side: Side<'_>| match side.there() {
                _ if side.is_unknown() => Some(Shown::Unknown),
                None => None,
                Some(_) if sensitive => Some(Shown::Sensitive),
                Some(value) => Some(shown(value, side.sensitive, secrets)),
            };
            self.push(path, show(before), show(after));
            return;
        }
        for key in keys {
            let length = path.len();
            step(path, key);
            self.compare(path, before.member(&key), after.member(&key), secrets);
            path.truncate(length);
        }
    }

    fn push(&mut self, path: &str, before: Option<Shown>, after: Option<Shown>) {
        if self.attributes.len() == ATTRIBUTES_MAX {
            self.left_out += 1;
            return;
        }
        self.attributes.push(Attribute {
            path: cut(path, PATH_BYTES_MAX),
            before,
            after,
            replaces: false,
        });
    }
}

/// The members of values that are all objects, or all lists; none of anything else, which is then compared as a whole.
fn keys<'a>(values: [Option<&'a Value>; 3]) -> BTreeSet<Key<'a>> {
    let mut keys = BTreeSet::new();
    let (mut objects, mut lists) = (false, false);
    for value in values.into_iter().flatten() {
        match value {
            Value::Object(map) => {
                objects = true;
                keys.extend(map.keys().map(|name| Key::Name(name)));
            }
            Value::Array(list) => {
                lists = true;
                keys.extend((0..list.len()).map(Key::Index));
            }
            _ => return BTreeSet::new(),
        }
    }
    if objects && lists {
        keys.clear();
    }
    keys
}

fn has_unknown(unknown: Option<&Value>) -> bool {
    match unknown {
        Some(Value::Bool(unknown)) => *unknown,
        Some(Value::Object(map)) => map.values().any(|value| has_unknown(Some(value))),
        Some(Value::Array(list)) => list.iter().any(|value| has_unknown(Some(value))),
        _ => false,
    }
}

fn step(path: &mut String, key: Key<'_>) {
    match key {
        Key::Index(index) => path.push_str(&format!("[{index}]")),
        Key::Name(name) if is_plain(name) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        Key::Name(name) => path.push_str(&format!("[{}]", Value::from(name))),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// A path in terraform's form, a list of names and numbers, as it is shown.
pub(crate) fn path(steps: &[Value]) -> String {
    let mut path = String::new();
    for value in steps {
        match value {
            Value::String(name) => step(&mut path, Key::Name(name)),
            Value::Number(number) => path.push_str(&format!("[{number}]")),
            _ => {}
        }
    }
    path
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| top.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A value as it is shown: bounded, and without what is sensitive in it.
pub(crate) fn shown(value: &Value, sensitive: Option<&Value>, secrets: &Secrets) -> Shown {
    if sensitive == Some(&Value::Bool(true)) {
        return Shown::Sensitive;
    }
    if let Value::String(text) = value
        && secrets.is(text)
    {
        return Shown::Sensitive;
    }
    let value = masked(value, sensitive, secrets);
    let bytes = match &value {
        Value::String(text) => return Shown::Value(Value::String(cut(text, VALUE_BYTES_MAX))),
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    if bytes > VALUE_BYTES_MAX {
        return Shown::Value(Value::String(format!("… ({bytes} bytes of JSON)")));
    }
    Shown::Value(value)
}

fn masked(value: &Value, sensitive: Option<&Value>, secrets: &Secrets) -> Value {
    if sensitive == Some(&Value::Bool(true)) {
        return Value::String(MASK.to_owned());
    }
    match value {
        Value::String(text) => Value::String(secrets.hide(text).into_owned()),
        Value::Number(number) if secrets.is(&number.to_string()) => Value::String(MASK.to_owned()),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| masked(value, sensitive.and_then(|m| m.get(index)), secrets))
            .collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, value)| {
                    let mask = sensitive.and_then(|mask| mask.get(name));
                    (
                        secrets.hide(name).into_owned(),
                        masked(value, mask, secrets),
                    )
                })
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn between(before: &Value, after: &Value, sensitive: &Value, unknown: &Value) -> Vec<String> {
        let mut secrets = Secrets::default();
        secrets.note(after, sensitive);
        let before = Side {
            value: Some(before),
            ..Side::default()
        };
        let after = Side {
            value: Some(after),
            sensitive: Some(sensitive),
            unknown: Some(unknown),
        };
        Differences::between(before, after, &secrets, &["b".to_owned()])
            .attributes
            .iter()
            .map(|attribute| serde_json::to_string(attribute).expect("it is JSON"))
            .collect()
    }

    #[test]
    fn only_what_differs_is_told_by_its_path() {
        let found = between(
            &json!({"a": 1, "b": {"c d": [1, 2]}, "gone": "x"}),
            &json!({"a": 1, "b": {"c d": [1, 3, 4]}, "new": {"x": true}}),
            &json!({}),
            &json!({"later": true}),
        );
        assert_eq!(
            found,
            [
                r#"{"path":"b[\"c d\"][1]","before":{"value":2},"after":{"value":3},"replaces":true}"#,
                r#"{"path":"b[\"c d\"][2]","after":{"value":4},"replaces":true}"#,
                r#"{"path":"gone","before":{"value":"x"}}"#,
                r#"{"path":"later","after":"unknown"}"#,
                r#"{"path":"new.x","after":{"value":true}}"#,
            ]
        );
    }

    #[test]
    fn a_sensitive_value_is_nowhere_however_it_is_wrapped() {
        let found = between(
            &json!({"a": "the old one"}),
            &json!({"a": "hunter2hunter2", "copy": "hunter2hunter2", "text": "it is hunter2hunter2!",
                "kind": "x", "deep": {"in": ["hunter2hunter2"]}, "pin": 1234567, "pin_copy": 1234567}),
            &json!({"a": true, "pin": true}),
            &json!({}),
        )
        .join("\n");
        assert!(
            !found.contains("hunter2") && !found.contains("1234567"),
            "{found}"
        );
        assert!(
            found.contains(r#"{"path":"a","before":"sensitive","after":"sensitive"}"#),
            "{found}"
        );
        assert!(
            found.contains(r#"{"path":"copy","after":"sensitive"}"#),
            "{found}"
        );
        assert!(found.contains("it is ***!"), "{found}");
    }

    #[test]
    fn what_became_something_else_is_masked_as_a_whole() {
        let found = between(
            &json!({"a": "text"}),
            &json!({"a": {"password": "hunter2hunter2", "user": "root"}}),
            &json!({"a": {"password": true}}),
            &json!({}),
        );
        assert_eq!(
            found,
            [
                r#"{"path":"a","before":{"value":"text"},"after":{"value":{"password":"***","user":"root"}}}"#
            ]
        );
    }

    #[test]
    fn long_values_and_many_attributes_are_cut_with_a_count() {
        let long: serde_json::Map<_, _> = (0..150)
            .map(|n| (format!("k{n:03}"), json!("é".repeat(2_000))))
            .collect();
        let after = Value::Object(long);
        let after = Side {
            value: Some(&after),
            ..Side::default()
        };
        let found = Differences::between(Side::default(), after, &Secrets::default(), &[]);
        assert_eq!((found.attributes.len(), found.left_out), (100, 50));
        let Some(Shown::Value(Value::String(text))) = &found.attributes[0].after else {
            panic!("a text");
        };
        assert!(text.ends_with("… (2976 bytes more)"), "{text}");
    }
}
