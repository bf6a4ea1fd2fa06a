//! A filter as fields that a person fills in, and as JSON: what has no field is kept beside them, so that going from one to
//! the other and back changes nothing.

use std::collections::BTreeMap;

use model::TriggerKind;
use serde_json::{Map, Value, json};

use crate::i18n::Key;

/// How a value is written in a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// One text.
    Text,
    /// A list of texts, one a line.
    Lines,
    /// `name = value`, one a line.
    Pairs,
    /// True, or not there.
    Flag,
    /// True unless it is switched off.
    On,
    /// A whole number.
    Number,
    /// One of these, or nothing: values with what they are called.
    Choice(&'static [(&'static str, Key)]),
    /// One of what the page offers, or nothing.
    Picked,
    /// An expression in CEL, kept with the name of its language.
    Condition,
}

/// A field of a kind's filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    /// The key in the filter.
    pub key: &'static str,
    /// How its value is written.
    pub shape: Shape,
    /// What it is called.
    pub label: Key,
    /// What to write.
    pub hint: Key,
}

const fn field(key: &'static str, shape: Shape, label: Key, hint: Key) -> Field {
    Field {
        key,
        shape,
        label,
        hint,
    }
}

const GIT: &[Field] = &[
    field(
        "repository",
        Shape::Text,
        Key("filter-repository"),
        Key("hint-filter-repository"),
    ),
    field(
        "branches",
        Shape::Lines,
        Key("filter-branches"),
        Key("hint-filter-branches"),
    ),
    field(
        "tags",
        Shape::Lines,
        Key("filter-tags"),
        Key("hint-filter-tags"),
    ),
    field(
        "paths",
        Shape::Lines,
        Key("filter-paths"),
        Key("hint-filter-paths"),
    ),
    field(
        "ignore_skip",
        Shape::Flag,
        Key("filter-ignore-skip"),
        Key("hint-filter-ignore-skip"),
    ),
];

const REGISTRY: &[Field] = &[
    field(
        "image",
        Shape::Text,
        Key("filter-image"),
        Key("hint-filter-image"),
    ),
    field(
        "tags",
        Shape::Lines,
        Key("filter-tags"),
        Key("hint-filter-image-tags"),
    ),
    field(
        "platform",
        Shape::Text,
        Key("filter-platform"),
        Key("hint-filter-platform"),
    ),
];

const WEBHOOK: &[Field] = &[field(
    "events",
    Shape::Lines,
    Key("filter-events"),
    Key("hint-filter-events"),
)];

const SCHEDULE: &[Field] = &[
    field("rule", Shape::Text, Key("fact-rule"), Key("hint-rule")),
    field("time_zone", Shape::Text, Key("fact-zone"), Key("hint-zone")),
    field("start", Shape::Text, Key("field-start"), Key("hint-edge")),
    field("end", Shape::Text, Key("field-end"), Key("hint-edge")),
    field(
        "missed",
        Shape::Text,
        Key("fact-missed"),
        Key("hint-filter-missed"),
    ),
];

const LOG: &[Field] = &[
    field(
        "rules",
        Shape::Lines,
        Key("filter-rules"),
        Key("hint-filter-rules"),
    ),
    field(
        "severities",
        Shape::Lines,
        Key("filter-severities"),
        Key("hint-filter-severities"),
    ),
];

const EVENT: &[Field] = &[
    field(
        "exact",
        Shape::Pairs,
        Key("filter-exact"),
        Key("hint-filter-exact"),
    ),
    field(
        "prefix",
        Shape::Pairs,
        Key("filter-prefix"),
        Key("hint-filter-prefix"),
    ),
    field(
        "suffix",
        Shape::Pairs,
        Key("filter-suffix"),
        Key("hint-filter-suffix"),
    ),
];

/// The fields of a kind, in the order of the form. What a kind has besides is written as JSON.
#[must_use]
pub const fn fields(kind: TriggerKind) -> &'static [Field] {
    match kind {
        TriggerKind::Git => GIT,
        TriggerKind::Registry => REGISTRY,
        TriggerKind::Webhook => WEBHOOK,
        TriggerKind::Schedule => SCHEDULE,
        TriggerKind::Manual => &[],
        TriggerKind::Log => LOG,
        TriggerKind::Event => EVENT,
    }
}

/// What is written in fields, by key, and the rest.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Texts of fields.
    pub fields: BTreeMap<&'static str, String>,
    /// What no field can hold.
    pub rest: Map<String, Value>,
}

/// Puts an object into fields. A value goes into one only if it comes out of it as it is.
#[must_use]
pub fn split(fields: &[Field], config: &Map<String, Value>) -> Written {
    let mut written = Written::default();
    for field in fields {
        // What is true unless it is said otherwise is shown so.
        if field.shape == Shape::On && !config.contains_key(field.key) {
            written.fields.insert(field.key, "on".to_owned());
        }
    }
    for (key, value) in config {
        let field = fields.iter().find(|field| field.key == key);
        let text = field.and_then(|field| {
            let text = text_of(field.shape, value)?;
            (value_of(field.shape, &text).as_ref() == Some(value)).then_some((field.key, text))
        });
        match text {
            Some((key, text)) => {
                written.fields.insert(key, text);
            }
            None => {
                written.rest.insert(key.clone(), value.clone());
            }
        }
    }
    written
}

/// Makes an object of fields and the rest. A field with nothing in it is no key; one with something wins over the rest.
#[must_use]
pub fn join(
    fields: &[Field],
    text: impl Fn(&str) -> Option<String>,
    rest: &Map<String, Value>,
) -> Map<String, Value> {
    let mut config = rest.clone();
    for field in fields {
        let text = text(field.key).or_else(|| (field.shape == Shape::On).then(String::new));
        let value = text.and_then(|text| value_of(field.shape, &text));
        // A switch is never empty: what could not be shown in it is in the rest.
        if field.shape == Shape::On && config.contains_key(field.key) {
            continue;
        }
        if let Some(value) = value {
            config.insert(field.key.to_owned(), value);
        }
    }
    config
}

fn text_of(shape: Shape, value: &Value) -> Option<String> {
    match (shape, value) {
        (Shape::Text | Shape::Choice(_) | Shape::Picked, Value::String(text)) => Some(text.clone()),
        (Shape::Flag | Shape::On, Value::Bool(true)) => Some("on".to_owned()),
        (Shape::On, Value::Bool(false)) => Some(String::new()),
        (Shape::Number, Value::Number(number)) => Some(number.to_string()),
        (Shape::Condition, Value::Object(map)) => {
            let expression = map.get("expression").and_then(Value::as_str);
            expression.map(str::to_owned)
        }
        (Shape::Lines, Value::Array(list)) => {
            let lines: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            lines.map(|lines| lines.join("\n"))
        }
        (Shape::Pairs, Value::Object(map)) => {
            let lines: Option<Vec<String>> = map
                .iter()
                .map(|(name, value)| Some(format!("{name} = {}", value.as_str()?)))
                .collect();
            lines.map(|lines| lines.join("\n"))
        }
        _ => None,
    }
}

fn value_of(shape: Shape, text: &str) -> Option<Value> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    match shape {
        Shape::Text | Shape::Choice(_) | Shape::Picked => {
            let text = text.trim();
            (!text.is_empty()).then(|| Value::from(text))
        }
        Shape::Number => {
            let text = text.trim();
            // What is no number stays what it is, so that whoever reads the object says so.
            let number = || {
                text.parse::<i64>()
                    .map_or_else(|_| text.into(), Value::from)
            };
            (!text.is_empty()).then(number)
        }
        Shape::On => Some(Value::Bool(!text.is_empty())),
        Shape::Condition => {
            let text = text.trim();
            (!text.is_empty()).then(|| json!({ "language": "cel", "expression": text }))
        }
        Shape::Flag => (!text.is_empty()).then_some(Value::Bool(true)),
        Shape::Lines => {
            let list: Vec<Value> = lines().map(Value::from).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Shape::Pairs => {
            let pairs: Map<String, Value> = lines()
                .map(|line| {
                    let (name, value) = line.split_once('=').unwrap_or((line, ""));
                    (name.trim().to_owned(), Value::from(value.trim()))
                })
                .collect();
            (!pairs.is_empty()).then_some(Value::Object(pairs))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(kind: TriggerKind, config: &Value) -> (Written, Value) {
        let config = config.as_object().expect("an object");
        let written = split(fields(kind), config);
        let fields = written.fields.clone();
        let joined = join(
            super::fields(kind),
            |key| fields.get(key).cloned(),
            &written.rest,
        );
        (written, Value::Object(joined))
    }

    #[test]
    fn any_filter_comes_out_of_the_fields_as_it_went_in() {
        for (kind, config) in [
            (TriggerKind::Git, json!({})),
            (
                TriggerKind::Git,
                json!({"repository": "team/*", "branches": ["main", "release/*"], "ignore_skip": true}),
            ),
            (
                TriggerKind::Git,
                json!({"branches": [], "ignore_skip": false, "repository": ""}),
            ),
            (
                TriggerKind::Git,
                json!({"branches": ["a\nb"], "paths": [" x"], "changes": {"forks": true}, "later": 1}),
            ),
            (
                TriggerKind::Registry,
                json!({"tags": ["v*", {"semver": ">=1"}], "image": "a/b", "platform": null}),
            ),
            (
                TriggerKind::Event,
                json!({"exact": {"type": "a", "x": "b=c"}, "prefix": {}, "suffix": {"a": 1}}),
            ),
            (
                TriggerKind::Schedule,
                json!({"rule": {"minute": 5}, "time_zone": "UTC", "missed": "last"}),
            ),
            (TriggerKind::Manual, json!({"anything": [1, 2]})),
        ] {
            assert_eq!(there_and_back(kind, &config).1, config, "{kind:?}");
        }
    }

    #[test]
    fn a_switch_is_on_unless_it_is_switched_off_and_a_number_stays_one() {
        let field = |key, shape| field(key, shape, Key("any"), Key("any"));
        let fields = [
            field("enabled", Shape::On),
            field("secs", Shape::Number),
            field("severity", Shape::Choice(&[])),
            field("condition", Shape::Condition),
        ];
        let there_and_back = |config: Value| {
            let written = split(&fields, config.as_object().expect("an object"));
            let text = |key: &str| written.fields.get(key).cloned();
            Value::Object(join(&fields, text, &written.rest))
        };
        assert_eq!(there_and_back(json!({})), json!({"enabled": true}));
        for config in [
            json!({"enabled": false, "secs": 60, "severity": "error"}),
            json!({"enabled": true, "secs": "many", "severity": null}),
            json!({"enabled": "no", "secs": 1.5}),
            json!({"enabled": true, "condition": {"language": "cel", "expression": "a == b"}}),
            json!({"enabled": true, "condition": {"language": "cesql", "expression": "a = b"}}),
        ] {
            assert_eq!(there_and_back(config.clone()), config);
        }
        let sent = join(
            &fields,
            |key| (key == "secs").then(|| "x".to_owned()),
            &Map::new(),
        );
        assert_eq!(Value::Object(sent), json!({"enabled": false, "secs": "x"}));
    }

    #[test]
    fn what_a_field_cannot_hold_is_kept_beside_it() {
        let config = json!({"tags": ["v*", {"semver": ">=1"}], "image": "a/b"});
        let (written, _) = there_and_back(TriggerKind::Registry, &config);
        assert_eq!(written.fields.get("image").map(String::as_str), Some("a/b"));
        assert_eq!(
            Value::Object(written.rest),
            json!({"tags": ["v*", {"semver": ">=1"}]})
        );
    }

    #[test]
    fn what_is_written_in_a_field_wins_over_the_rest() {
        let rest = json!({"branches": [1], "changes": {}});
        let rest = rest.as_object().expect("an object");
        let text = |key: &str| (key == "branches").then(|| " main \n\n dev".to_owned());
        let joined = join(fields(TriggerKind::Git), text, rest);
        assert_eq!(
            Value::Object(joined),
            json!({"branches": ["main", "dev"], "changes": {}})
        );
    }

    #[test]
    fn every_field_is_a_key_of_its_kind() {
        for kind in TriggerKind::ALL {
            for field in fields(kind) {
                assert!(kind.keys().contains(&field.key), "{kind:?} {}", field.key);
            }
        }
    }
}
