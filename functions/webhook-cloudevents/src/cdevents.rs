//! CDEvents: events of continuous delivery in a common vocabulary. The data of the CloudEvent is the whole CDEvent, whose
//! context says the same as the attributes.
//!
//! Since version 0.5 the context names its version `specversion`, and what it holds is held against the schema of its type.
//! Before, it was `version`, and what every event must have is asked for. So it is of a type that is newer than the schemas
//! here: whoever understands it shall see it.
//! <https://github.com/cdevents/spec/blob/main/cloudevents-binding.md>

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::DateTime;
use events::Message;
use jsonschema::{Registry, Validator};
use serde_json::Value;
use webhook::ParseError;

/// What the types of CDEvents begin with. Those of `dev.cdeventsx.` are anybody's own and follow no schema of theirs.
const TYPES: &str = "dev.cdevents.";

/// The schemas, one a line of a list: of the events, and of the links that these refer to.
const SCHEMAS: &str = include_str!("../schemas/cdevents.json");

/// Where the type of an event stands in its schema.
const TYPE: &str = "/properties/context/properties/type/enum/0";

static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let schemas: Vec<Value> = serde_json::from_str(SCHEMAS).expect("the file is a list");
    let (events, links): (Vec<_>, Vec<_>) = schemas
        .into_iter()
        .partition(|schema| schema.pointer(TYPE).is_some());
    let mut registry = Registry::new();
    for link in links {
        let id = link["$id"].as_str().expect("a schema has an id").to_owned();
        registry = registry.add(id, link).expect("an id is a URL");
    }
    let registry = registry
        .prepare()
        .expect("the schemas refer to each other only");
    events
        .into_iter()
        .map(|schema| {
            let ty = schema.pointer(TYPE).and_then(Value::as_str);
            let ty = ty.expect("it was looked for above").to_owned();
            let validator = jsonschema::options()
                .with_registry(&registry)
                .should_validate_formats(true)
                .offline()
                .build(&schema)
                .expect("each is a schema, as a test tries");
            (ty, validator)
        })
        .collect()
});

/// Whether an event says that it is one.
pub(crate) fn is_one(event: &Message) -> bool {
    event.ty().starts_with(TYPES)
}

/// Holds an event's data against what its type asks for.
pub(crate) fn check(event: &Message, data: &Value) -> Result<(), ParseError> {
    for (attribute, given) in [("id", event.id()), ("type", event.ty())] {
        let said = text(data, &["context", attribute])?;
        if said != given {
            let problem = format!("is {said:?}, and the CloudEvent's {attribute} is {given:?}");
            return Err(ParseError::malformed(
                &format!("data.context.{attribute}"),
                &problem,
            ));
        }
    }
    if data["context"].get("specversion").is_none() {
        text(data, &["context", "version"])?;
        required(data)?;
        text(data, &["subject", "type"])?;
        return Ok(());
    }
    let Some(validator) = VALIDATORS.get(event.ty()) else {
        text(data, &["context", "specversion"])?;
        return required(data);
    };
    validator.validate(data).map_err(|error| {
        let at = format!("data{}", error.instance_path().as_str().replace('/', "."));
        ParseError::malformed(&at, &error.to_string())
    })
}

/// What every event has, in every version.
fn required(data: &Value) -> Result<(), ParseError> {
    text(data, &["context", "source"])?;
    let timestamp = text(data, &["context", "timestamp"])?;
    if DateTime::parse_from_rfc3339(timestamp).is_err() {
        let problem = format!("{timestamp:?} is not a time as RFC 3339 writes it");
        return Err(ParseError::malformed("data.context.timestamp", &problem));
    }
    text(data, &["subject", "id"])?;
    if !data["subject"]["content"].is_object() {
        return Err(ParseError::malformed(
            "data.subject.content",
            "is not an object",
        ));
    }
    Ok(())
}

fn text<'a>(data: &'a Value, path: &[&str]) -> Result<&'a str, ParseError> {
    let found = path.iter().try_fold(data, |at, name| at.get(name));
    found
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            let at = format!("data.{}", path.join("."));
            ParseError::malformed(&at, "is missing, empty or no text")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_one_and_has_a_type_of_its_own() {
        assert_eq!(VALIDATORS.len(), 48);
        assert!(VALIDATORS.keys().all(|ty| ty.starts_with(TYPES)));
    }
}
