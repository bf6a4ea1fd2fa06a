//! The kinds of triggers as forms and programs need them: a JSON Schema and a sample of each.

use model::TriggerKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const KINDS: &str = include_str!("kinds.json");

/// What a kind's config looks like.
#[derive(Debug, Clone, Serialize)]
pub struct KindDescription {
    /// The kind.
    pub kind: TriggerKind,
    /// Whether senders outside reach a trigger of it by a URL.
    pub takes_webhooks: bool,
    /// The JSON Schema of its config. Keys that it does not name are kept and not looked at.
    pub schema: Value,
    /// A config with all of its keys.
    pub sample: Value,
}

#[derive(Deserialize)]
struct Text {
    schema: Value,
    sample: Value,
}

/// All kinds, in their order.
///
/// # Panics
/// Never: the text is a part of the program, and a test reads it.
#[must_use]
pub fn kinds() -> Vec<KindDescription> {
    let mut texts: std::collections::HashMap<String, Text> =
        serde_json::from_str(KINDS).expect("a test reads it");
    TriggerKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let text = texts.remove(kind.as_str())?;
            Some(KindDescription {
                kind,
                takes_webhooks: kind.takes_webhooks(),
                schema: text.schema,
                sample: text.sample,
            })
        })
        .collect()
}

/// The schema of one kind.
pub(crate) fn schema(kind: TriggerKind) -> Value {
    let found = kinds().into_iter().find(|it| it.kind == kind);
    found.map_or(Value::Bool(true), |it| it.schema)
}

#[cfg(test)]
mod tests {
    use model::{
        EventTrigger, GitTrigger, LogTrigger, RegistryTrigger, ScheduleTrigger, WebhookTrigger,
    };
    use serde::de::DeserializeOwned;

    use super::*;

    /// What a type makes of a sample: the same, when the type knows every key of it.
    fn through<T: DeserializeOwned + Serialize>(sample: &Value) -> Value {
        let read: T = serde_json::from_value(sample.clone()).expect("the sample is one");
        serde_json::to_value(read).expect("JSON")
    }

    #[test]
    fn each_kind_has_a_schema_and_a_sample_with_all_its_keys() {
        let all = kinds();
        assert_eq!(all.len(), TriggerKind::ALL.len());
        for it in all {
            let validator = jsonschema::validator_for(&it.schema).expect("a schema");
            assert!(validator.is_valid(&it.sample), "{}", it.kind);
            let keys = |value: &Value| -> std::collections::BTreeSet<String> {
                value
                    .as_object()
                    .expect("an object")
                    .keys()
                    .cloned()
                    .collect()
            };
            let known = it.kind.keys().iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(keys(&it.schema["properties"]), known, "{}", it.kind);
            assert_eq!(keys(&it.sample), known, "{}", it.kind);
            let sample = &it.sample;
            let read = match it.kind {
                TriggerKind::Git => through::<GitTrigger>(sample),
                TriggerKind::Registry => through::<RegistryTrigger>(sample),
                TriggerKind::Webhook => through::<WebhookTrigger>(sample),
                TriggerKind::Schedule => through::<ScheduleTrigger>(sample),
                TriggerKind::Manual => through::<model::ManualTrigger>(sample),
                TriggerKind::Log => through::<LogTrigger>(sample),
                TriggerKind::Event => through::<EventTrigger>(sample),
            };
            assert_eq!(&read, sample, "{}", it.kind);
        }
    }
}
