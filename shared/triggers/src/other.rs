//! What the filters of the other kinds make of events: `webhook`, `log`, `event`.

use std::collections::BTreeMap;

use model::{Check, Clause, EventTrigger, LogTrigger, Scalar, Wanted, WebhookTrigger};
use serde_json::Value;

use crate::checks::{check, decided, one_of, words};

/// Our types without what they all begin and end with, as people write them: `git.pushed`.
pub(crate) fn short_name(ty: &str) -> &str {
    let inner = ty.strip_prefix(events::catalogue::RESERVED_TYPES);
    inner.map_or(ty, |inner| inner.strip_suffix(".v1").unwrap_or(inner))
}

pub(crate) fn webhook(
    filter: &WebhookTrigger,
    event: &Value,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    let ty = event["type"].as_str().unwrap_or_default();
    one_of(Clause::EventName, &filter.events, short_name(ty), held)?;
    for (name, wanted) in &filter.fields {
        let found = if name.starts_with('/') {
            event["data"].pointer(name)
        } else {
            event["data"].get(name)
        };
        let matches = match wanted {
            Wanted::Just(scalar) => fits(scalar, found),
            Wanted::OneOf(list) => list.iter().any(|scalar| fits(scalar, found)),
        };
        let expected = match wanted {
            Wanted::Just(scalar) => words(std::slice::from_ref(scalar)),
            Wanted::OneOf(list) => words(list),
        };
        let actual = found.map_or_else(
            || format!("{name} is not there"),
            |value| format!("{name} is {}", text(value)),
        );
        decided(
            matches,
            check(Clause::Field, format!("{name}: {expected}"), actual),
            held,
        )?;
    }
    Ok(())
}

fn fits(wanted: &Scalar, found: Option<&Value>) -> bool {
    match (wanted, found) {
        (Scalar::Null, None | Some(Value::Null)) => true,
        (Scalar::Bool(wanted), Some(Value::Bool(found))) => wanted == found,
        (Scalar::Number(wanted), Some(Value::Number(found))) => wanted.as_f64() == found.as_f64(),
        (Scalar::Text(glob), Some(Value::String(found))) => glob.matches(found),
        _ => false,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn log(filter: &LogTrigger, event: &Value, held: &mut Vec<Check>) -> Result<(), Check> {
    let data = &event["data"];
    // A rule is told by its name, or by its name within what is told of it.
    let rule = data["rule"]["name"]
        .as_str()
        .or(data["rule"].as_str())
        .unwrap_or("not told");
    one_of(Clause::Rule, &filter.rules, rule, held)?;
    if filter.severities.is_empty() {
        return Ok(());
    }
    let severity = data["severity"].as_str().unwrap_or("not told");
    decided(
        filter
            .severities
            .iter()
            .any(|wanted| wanted.as_str() == severity),
        check(Clause::Severity, words(&filter.severities), severity),
        held,
    )
}

pub(crate) fn event(
    filter: &EventTrigger,
    event: &Value,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    type How = fn(&str, &str) -> bool;
    let clauses: [(&str, &BTreeMap<String, String>, How); 3] = [
        ("is", &filter.exact, |actual, wanted| actual == wanted),
        ("begins with", &filter.prefix, |actual, wanted| {
            actual.starts_with(wanted)
        }),
        ("ends with", &filter.suffix, |actual, wanted| {
            actual.ends_with(wanted)
        }),
    ];
    for (how, wanted, holds) in clauses {
        for (name, wanted) in wanted {
            // Data is no attribute.
            let actual = event.get(name).filter(|_| name != "data");
            let (matches, told) = match actual {
                Some(Value::String(actual)) => {
                    (holds(actual, wanted), format!("{name} is {actual}"))
                }
                // As in Knative, a number or a truth equals no text.
                Some(other) => (
                    false,
                    format!("{name} is {}, which is no text", text(other)),
                ),
                None => (false, format!("{name} is not there")),
            };
            decided(
                matches,
                check(Clause::Attribute, format!("{name} {how} {wanted}"), told),
                held,
            )?;
        }
    }
    Ok(())
}
