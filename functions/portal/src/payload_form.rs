//! A payload as fields, by its JSON Schema: what has no field is kept beside them as JSON, so that going from one to the other
//! and back changes nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How deep objects with fields of their own may be nested.
const DEPTH_MAX: usize = 4;
/// Empty rows that a map has besides what is in it.
const EMPTY_ROWS: usize = 1;
/// Rows of one map that are read from a form.
const ROWS_MAX: usize = 250;
/// What a text has that is a template: a binding makes a value of it.
const TEMPLATE: &str = "{{";
/// Keys that only the platform sets.
const NOT_FOR_PEOPLE: [&str; 1] = ["untrusted"];

/// How a value is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// One text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// One of these.
    Choice(Vec<String>),
    /// Names with texts, one a row.
    Map,
    /// Anything, as JSON.
    Json,
}

/// A field of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Where it is: `source.folder`.
    pub path: String,
    /// What it is called, in the schema's words.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// How it is written.
    pub shape: Shape,
    /// What it is when nothing is written.
    pub default: Option<Value>,
    /// Whether something must be written.
    pub required: bool,
}

/// A row of a map.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Row {
    /// The name.
    pub name: String,
    /// The text.
    pub value: String,
}

/// A payload as it is written in fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// Texts by path.
    pub texts: BTreeMap<String, String>,
    /// Rows of maps by path.
    pub rows: BTreeMap<String, Vec<Row>>,
    /// What has no field, as JSON; empty where there is nothing.
    pub rest: String,
}

/// Something that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No JSON, with why.
    NoJson(String, String),
    /// No whole number.
    NoNumber(String),
}

/// What a form has sent, by the names that its fields have there: `p.<path>`, and `n.<row>.<path>` with `v.<row>.<path>`.
pub fn sent(fields: &[Field], form: &mut BTreeMap<String, String>, rest: String) -> Written {
    let mut written = Written {
        rest,
        ..Written::default()
    };
    for field in fields {
        let path = &field.path;
        if let Some(text) = form.remove(&format!("p.{path}")) {
            written.texts.insert(path.clone(), text);
        }
        let mut rows = Vec::new();
        for place in 0..ROWS_MAX {
            let Some(name) = form.remove(&format!("n.{place}.{path}")) else {
                break;
            };
            let value = form.remove(&format!("v.{place}.{path}"));
            rows.push(Row {
                name,
                value: value.unwrap_or_default(),
            });
        }
        if !rows.is_empty() {
            written.rows.insert(path.clone(), rows);
        }
    }
    written
}

/// The fields of a schema: first what must be written, then where the run comes from, else by their places.
#[must_use]
pub fn fields(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    collect(schema, "", true, 0, &mut found);
    // What a run is made of comes before how it is done, and of that the workspace, for it is the usual.
    found.sort_by_key(|field| match field.path.as_str() {
        _ if field.required => 0,
        "source.workspace" => 1,
        path if path.starts_with("source.") => 2,
        _ => 3,
    });
    found
}

fn collect(schema: &Value, prefix: &str, needed: bool, depth: usize, found: &mut Vec<Field>) {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (key, property) in properties {
        if NOT_FOR_PEOPLE.contains(&key.as_str()) {
            continue;
        }
        let path = format!("{prefix}{key}");
        let needed = needed && required.contains(&key.as_str());
        if property["properties"].is_object() && depth < DEPTH_MAX {
            collect(property, &format!("{path}."), needed, depth + 1, found);
            continue;
        }
        let text = |name: &str| property[name].as_str().map(str::to_owned);
        let shape = match (property["enum"].as_array(), property["type"].as_str()) {
            (Some(values), _) => Shape::Choice(
                values
                    .iter()
                    .filter_map(|value| value.as_str().map(str::to_owned))
                    .collect(),
            ),
            (None, Some("string")) => Shape::Text,
            (None, Some("integer")) => Shape::Number,
            (None, Some("boolean")) => Shape::Flag,
            (None, Some("object")) if property["additionalProperties"]["type"] == "string" => {
                Shape::Map
            }
            _ => Shape::Json,
        };
        found.push(Field {
            title: text("title").unwrap_or_else(|| path.clone()),
            description: text("description"),
            default: property.get("default").cloned(),
            required: needed,
            path,
            shape,
        });
    }
}

/// Takes a value out of a payload; objects that it leaves empty go as well.
fn take(
    payload: &mut Map<String, Value>,
    path: &str,
    fits: &impl Fn(&Value) -> bool,
) -> Option<Value> {
    let Some((first, rest)) = path.split_once('.') else {
        return payload
            .get(path)
            .filter(|value| fits(value))
            .cloned()
            .inspect(|_| {
                payload.remove(path);
            });
    };
    let inner = payload.get_mut(first)?.as_object_mut()?;
    let taken = take(inner, rest, fits);
    if taken.is_some() && inner.is_empty() {
        payload.remove(first);
    }
    taken
}

fn put(payload: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            payload.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = payload
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            // What stands in the way is no object, and its own field or the rest says so when it is checked.
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

/// Writes a payload in fields.
#[must_use]
pub fn split(fields: &[Field], payload: &Map<String, Value>) -> Written {
    let mut left = payload.clone();
    let mut written = Written::default();
    for field in fields {
        let fits = |value: &Value| match &field.shape {
            Shape::Text => value.is_string(),
            Shape::Number => {
                let template = |text: &str| text.contains(TEMPLATE);
                value.is_i64() || value.is_u64() || value.as_str().is_some_and(template)
            }
            Shape::Flag => value.is_boolean(),
            Shape::Choice(values) => value
                .as_str()
                .is_some_and(|value| values.iter().any(|known| known == value)),
            Shape::Map => value
                .as_object()
                .is_some_and(|map| map.values().all(Value::is_string)),
            Shape::Json => true,
        };
        let value = take(&mut left, &field.path, &fits);
        let path = field.path.clone();
        match (&field.shape, value) {
            (Shape::Map, value) => {
                let mut rows: Vec<Row> = value
                    .as_ref()
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| Row {
                        name: name.clone(),
                        value: value.as_str().unwrap_or_default().to_owned(),
                    })
                    .collect();
                rows.extend(vec![Row::default(); EMPTY_ROWS]);
                written.rows.insert(path, rows);
            }
            (_, None) => {}
            (_, Some(Value::String(text))) if field.shape != Shape::Json => {
                written.texts.insert(path, text);
            }
            (Shape::Json, Some(value)) => {
                written.texts.insert(path, format!("{value:#}"));
            }
            (_, Some(value)) => {
                written.texts.insert(path, value.to_string());
            }
        }
    }
    if !left.is_empty() {
        written.rest = format!("{:#}", Value::Object(left));
    }
    written
}

/// The payload that is written in fields.
///
/// # Errors
/// With everything that cannot be read.
pub fn join(fields: &[Field], written: &Written) -> Result<Map<String, Value>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut payload = match written.rest.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).unwrap_or_else(|error| {
            faults.push(Fault::NoJson("JSON".to_owned(), error.to_string()));
            Map::new()
        }),
    };
    for field in fields {
        let text = written.texts.get(&field.path).map_or("", String::as_str);
        let value = match &field.shape {
            Shape::Map => {
                let rows = written.rows.get(&field.path).map(Vec::as_slice);
                let rows = rows.unwrap_or_default().iter();
                let map: Map<_, _> = rows
                    .filter(|row| !row.name.trim().is_empty())
                    // Browsers send the line breaks of a text as CR LF.
                    .map(|row| {
                        let value = row.value.replace("\r\n", "\n");
                        (row.name.trim().to_owned(), Value::String(value))
                    })
                    .collect();
                (!map.is_empty()).then_some(Value::Object(map))
            }
            _ if text.trim().is_empty() => None,
            Shape::Text | Shape::Choice(_) => Some(Value::String(text.trim().to_owned())),
            Shape::Number if text.contains(TEMPLATE) => Some(Value::String(text.trim().to_owned())),
            Shape::Number => match text.trim().parse::<i64>() {
                Ok(number) => Some(number.into()),
                Err(_) => {
                    faults.push(Fault::NoNumber(field.title.clone()));
                    None
                }
            },
            Shape::Flag => Some(Value::Bool(text == "true")),
            Shape::Json => match serde_json::from_str(text) {
                Ok(value) => Some(value),
                Err(error) => {
                    faults.push(Fault::NoJson(field.title.clone(), error.to_string()));
                    None
                }
            },
        };
        if let Some(value) = value {
            put(&mut payload, &field.path, value);
        }
    }
    if faults.is_empty() {
        Ok(payload)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn every_kinds_sample_comes_back_as_it_went() {
        for kind in runs::kinds() {
            let fields = fields(&(kind.schema)());
            assert!(fields.len() > 3, "{}", kind.name);
            let sample = map((kind.sample)());
            let written = split(&fields, &sample);
            assert_eq!(written.rest, "", "{}: the sample has fields", kind.name);
            assert_eq!(join(&fields, &written), Ok(sample), "{}", kind.name);
        }
    }

    #[test]
    fn what_has_no_field_comes_back_too() {
        let schema = json!({
            "required": ["a"],
            "properties": {
                "a": {"enum": ["x", "y"], "title": "A"},
                "n": {"type": "integer", "default": 3},
                "flag": {"type": "boolean"},
                "in": {"type": "object", "required": ["b"], "properties": {
                    "b": {"type": "string"},
                    "m": {"type": "object", "additionalProperties": {"type": "string"}},
                }},
                "any": {"type": "object"},
                "untrusted": {"type": "boolean"},
            },
        });
        let fields = fields(&schema);
        let paths: Vec<_> = fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["a", "any", "flag", "in.b", "in.m", "n"]);
        for payload in [
            json!({"a": "x", "n": 7, "flag": false, "in": {"b": "t", "m": {"k": "v\nw"}}, "any": {"z": [1]}}),
            json!({"a": "unheard of", "n": 1.5, "in": {"b": 3, "other": {"deep": null}}, "untrusted": true, "more": "x"}),
            json!({"in": "no object", "a": "y"}),
            json!({"a": "{{ event.data.x }}", "n": "{{ event.data.n }}", "flag": "{{ event.data.f }}", "in": {"b": "{{ b }}"}}),
            json!({}),
        ] {
            let payload = map(payload);
            let written = split(&fields, &payload);
            assert_eq!(join(&fields, &written), Ok(payload));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let fields = fields(&json!({"properties": {
            "n": {"type": "integer", "title": "Number"}, "any": {"type": "object", "title": "Any"},
        }}));
        let written = Written {
            texts: [("n", "x"), ("any", "{")]
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
            rest: "[]".to_owned(),
            ..Written::default()
        };
        let faults = join(&fields, &written).expect_err("it is wrong");
        assert_eq!(faults.len(), 3);
        assert!(faults.contains(&Fault::NoNumber("Number".to_owned())));
    }
}
