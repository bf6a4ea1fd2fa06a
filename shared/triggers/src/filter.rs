//! The filter of a binding: its trigger's config with its own overrides.

use model::{
    Check, Clause, EventTrigger, GitTrigger, LogTrigger, RegistryTrigger, TriggerKind,
    WebhookTrigger,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::checks::check;

/// What is looked for, by kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    Git(Box<GitTrigger>),
    Registry(RegistryTrigger),
    Webhook(WebhookTrigger),
    /// The clock decides; an event of it matches.
    Schedule,
    /// A person decides.
    Manual,
    Log(LogTrigger),
    Event(EventTrigger),
}

/// The binding's overrides over the trigger's config: key by key at the top level, the binding wins, and its null takes a key
/// away.
pub(crate) fn merged(config: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = config.clone();
    for (key, value) in over {
        if value.is_null() {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    merged
}

/// Keys that are not known here, but are so near to one that is that somebody meant that one.
pub(crate) fn typos(kind: TriggerKind, keys: &Map<String, Value>) -> Vec<(String, &'static str)> {
    keys.keys()
        .filter(|key| !kind.keys().contains(&key.as_str()))
        .filter_map(|key| {
            let near = kind.keys().iter().find(|known| is_near(key, known))?;
            Some((key.clone(), *near))
        })
        .collect()
}

/// Keys that are not known here: a newer version may know them.
pub(crate) fn unknown(kind: TriggerKind, keys: &Map<String, Value>) -> Vec<String> {
    keys.keys()
        .filter(|key| !kind.keys().contains(&key.as_str()))
        .cloned()
        .collect()
}

/// Whether one becomes the other by two changes of a letter at the most; by one for short words.
fn is_near(given: &str, known: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (
        given
            .to_lowercase()
            .replace('-', "_")
            .chars()
            .take(40)
            .collect(),
        known.chars().collect(),
    );
    let most = if known.len() < 6 { 1 } else { 2 };
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = usize::from(x != y);
            let next = (diagonal + cost).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()] <= most
}

/// Reads a filter. Keys that nobody here knows are left alone, but for typos: a filter that lets more through than was meant
/// is worse than one that says what is wrong.
pub(crate) fn read(kind: TriggerKind, config: &Map<String, Value>) -> Result<Filter, Check> {
    let wrong = |actual: String| check(Clause::Config, format!("a filter of kind {kind}"), actual);
    if let Some((key, near)) = typos(kind, config).first() {
        return Err(wrong(format!("{key:?} is no key of it; {near:?} is")));
    }
    match kind {
        TriggerKind::Git => value(config).map(|it| Filter::Git(Box::new(it))),
        TriggerKind::Registry => value(config).map(Filter::Registry),
        TriggerKind::Webhook => value(config).map(Filter::Webhook),
        TriggerKind::Schedule => Ok(Filter::Schedule),
        TriggerKind::Manual => Ok(Filter::Manual),
        TriggerKind::Log => value(config).map(Filter::Log),
        TriggerKind::Event => value(config).map(Filter::Event),
    }
    .map_err(wrong)
}

fn value<T: DeserializeOwned>(config: &Map<String, Value>) -> Result<T, String> {
    serde_path_to_error::deserialize(Value::Object(config.clone())).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if path == "." {
            inner.to_string()
        } else {
            format!("{path}: {inner}")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn null_takes_a_key_away_and_anything_else_replaces_it() {
        let config = map(json!({"branches": ["main"], "paths": ["a"], "x": 1}));
        let over = map(json!({"branches": null, "paths": ["b"]}));
        assert_eq!(merged(&config, &over), map(json!({"paths": ["b"], "x": 1})));
    }

    #[test]
    fn a_typo_is_told_and_what_is_new_is_left_alone() {
        for typo in [
            "branchs", "branch", "Branches", "brnches", "tag", "path", "change",
        ] {
            let error = read(TriggerKind::Git, &map(json!({ typo: ["main"] }))).expect_err(typo);
            assert_eq!(error.clause, Clause::Config);
            assert!(error.actual.contains(typo), "{error:?}");
        }
        for new in ["labels", "reviewers", "x-note"] {
            assert!(
                read(TriggerKind::Git, &map(json!({ new: ["a"] }))).is_ok(),
                "{new}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let error =
            read(TriggerKind::Git, &map(json!({"branches": ["a", ""]}))).expect_err("empty");
        assert!(error.actual.starts_with("branches[1]: "), "{error:?}");
        let error = read(
            TriggerKind::Git,
            &map(json!({"changes": {"actions": ["made"]}})),
        );
        assert!(error.is_err_and(|error| error.actual.contains("changes.actions[0]")));
    }
}
