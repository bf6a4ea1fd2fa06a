//! Payloads made from events: JSON whose texts may be templates.
//!
//! A text that is one expression and nothing else (`"{{ event.data.commits }}"`) becomes that value with its type; any other
//! text with `{{` becomes a text. Keys are taken as they are. What comes from an event is put in by structure, so that it
//! cannot become a key or a bracket.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use minijinja::{Environment, UndefinedBehavior, filters, tests as jinja_tests};
use serde_json::Value;

/// How long one text with templates may be, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 2 * 1024;
/// How many texts with templates one payload may have.
pub const TEMPLATES_MAX: usize = 64;
/// How large a template, and a payload that is made of it, may be, in bytes of JSON.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// How deep a payload's template may be.
const DEEP_MAX: usize = 32;
/// Instructions that one text may take.
const FUEL: u64 = 20_000;
/// Calls within calls.
const RECURSION_MAX: usize = 32;
/// How long all texts of one payload may take.
const TIME_MAX: Duration = Duration::from_millis(500);
/// How much of an error is told, in characters.
const ERROR_CHARS_MAX: usize = 300;

/// What may be done between `{%` and `%}`. Nothing that keeps a text for later: doubled often enough it would be larger than
/// any memory.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// Why a payload cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is too much of it.
    #[error("{at}: {why}")]
    TooLarge {
        /// Where in the template, as a JSON pointer.
        at: String,
        /// What is too large and how large it may be.
        why: String,
    },
    /// It is no template, or one that does what templates here may not do.
    #[error("{at}: {why}")]
    Syntax {
        /// Where in the template, as a JSON pointer.
        at: String,
        /// Why.
        why: String,
    },
    /// It could not be made of this event.
    #[error("{at}: {why}")]
    Render {
        /// Where in the template, as a JSON pointer.
        at: String,
        /// Why.
        why: String,
    },
}

/// Whether a payload's template can be one, without an event.
///
/// # Errors
/// When a text in it is no template, or there is too much of it.
pub fn check(template: &Value) -> Result<(), TemplateError> {
    let bytes = template.to_string().len();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(TemplateError::TooLarge {
            at: "/".to_owned(),
            why: format!("a payload may have {PAYLOAD_BYTES_MAX} bytes, this one has {bytes}"),
        });
    }
    walk(template, "", 0, &mut 0, &mut |at, text| {
        let env = environment();
        match whole(text) {
            Some(expression) => env.compile_expression(expression).map(drop),
            None => env.template_from_str(text).map(drop),
        }
        .map_err(|error| TemplateError::Syntax {
            at: at.to_owned(),
            why: told(&error),
        })?;
        Ok(Value::Null)
    })
    .map(drop)
}

/// Whether what is made of it depends on the event.
#[must_use]
pub fn depends(template: &Value) -> bool {
    match template {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => is_template(text),
        Value::Array(list) => list.iter().any(depends),
        Value::Object(map) => map.values().any(depends),
    }
}

/// Whether a text can be a template, as that of a queue or key.
///
/// # Errors
/// When it is none, or too long.
pub fn check_text(text: &str) -> Result<(), TemplateError> {
    check(&Value::from(text))
}

/// Makes a payload of an event.
///
/// # Errors
/// When a value is not there, it takes too much, or what is made is too large.
pub fn render(template: &Value, event: &Value) -> Result<Value, TemplateError> {
    let until = Instant::now() + TIME_MAX;
    let context =
        minijinja::context! { event => minijinja::Value::from(minijinja::value::Serde(event)) };
    let mut bytes = template.to_string().len();
    walk(template, "", 0, &mut 0, &mut |at, text| {
        let failed = |why: String| TemplateError::Render {
            at: at.to_owned(),
            why,
        };
        if Instant::now() > until {
            return Err(failed(format!(
                "the payload took more than {} ms",
                TIME_MAX.as_millis()
            )));
        }
        let made = one(text, &context).map_err(failed)?;
        bytes += made.to_string().len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(TemplateError::TooLarge {
                at: at.to_owned(),
                why: format!("the payload would have more than {PAYLOAD_BYTES_MAX} bytes"),
            });
        }
        Ok(made)
    })
}

/// Makes a text of an event, as that of a queue or key.
///
/// # Errors
/// When a value is not there, or it takes too much.
pub fn render_text(template: &str, event: &Value) -> Result<String, TemplateError> {
    Ok(match render(&Value::from(template), event)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

fn one(text: &str, context: &minijinja::Value) -> Result<Value, String> {
    let env = environment();
    if let Some(expression) = whole(text) {
        let made = env
            .compile_expression(expression)
            .and_then(|expression| expression.eval(context))
            .map_err(|error| told(&error))?;
        if made.is_undefined() {
            return Err(format!("{expression} is not there"));
        }
        return serde_json::to_value(&made).map_err(|error| shown(&error.to_string()));
    }
    let template = env.template_from_str(text).map_err(|error| told(&error))?;
    let mut made = Capped::default();
    template
        .render_captured_to(context, &mut made)
        .map_err(|error| match made.full {
            true => format!("the text would have more than {PAYLOAD_BYTES_MAX} bytes"),
            false => told(&error),
        })?;
    String::from_utf8(made.bytes)
        .map(Value::from)
        .map_err(|error| error.to_string())
}

/// What is written, up to the size of a payload.
#[derive(Debug, Default)]
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > PAYLOAD_BYTES_MAX {
            self.full = true;
            return Err(io::Error::other("the text is too long"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Few filters, none of which can make much of little; no loader, so that a template reaches no other.
fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(RECURSION_MAX);
    env.add_filter("default", filters::default);
    env.add_filter("first", filters::first);
    env.add_filter("int", filters::int);
    env.add_filter("last", filters::last);
    env.add_filter("length", filters::length);
    env.add_filter("lower", filters::lower);
    env.add_filter("short", |text: &str| {
        text.chars().take(7).collect::<String>()
    });
    env.add_filter("string", |value: &minijinja::Value| value.to_string());
    env.add_filter("tojson", filters::tojson);
    env.add_filter("trim", filters::trim);
    env.add_filter("upper", filters::upper);
    env.add_test("defined", jinja_tests::is_defined);
    env.add_test("none", jinja_tests::is_none);
    env.add_test("undefined", jinja_tests::is_undefined);
    env
}

/// Goes through a template and puts what `make` makes of its texts with templates in their stead.
fn walk(
    template: &Value,
    at: &str,
    deep: usize,
    count: &mut usize,
    make: &mut dyn FnMut(&str, &str) -> Result<Value, TemplateError>,
) -> Result<Value, TemplateError> {
    let large = |why: String| TemplateError::TooLarge {
        at: at.to_owned(),
        why,
    };
    if deep > DEEP_MAX {
        return Err(large(format!("a payload may be {DEEP_MAX} deep")));
    }
    Ok(match template {
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
        Value::String(text) if !is_template(text) => template.clone(),
        Value::String(text) => {
            *count += 1;
            if *count > TEMPLATES_MAX {
                return Err(large(format!(
                    "a payload may have {TEMPLATES_MAX} texts with templates"
                )));
            }
            if text.len() > TEMPLATE_BYTES_MAX {
                return Err(large(format!(
                    "a text with templates may have {TEMPLATE_BYTES_MAX} bytes, this one has {}",
                    text.len()
                )));
            }
            allowed(text).map_err(|why| TemplateError::Syntax {
                at: at.to_owned(),
                why,
            })?;
            make(at, text)?
        }
        Value::Array(list) => Value::Array(
            list.iter()
                .enumerate()
                .map(|(n, it)| walk(it, &format!("{at}/{n}"), deep + 1, count, make))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, it)| {
                    let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                    Ok((key.clone(), walk(it, &at, deep + 1, count, make)?))
                })
                .collect::<Result<_, TemplateError>>()?,
        ),
    })
}

fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

/// The expression, when a text is one and nothing else.
fn whole(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let inner = inner.strip_suffix('-').unwrap_or(inner);
    // Another end in between means that there are two.
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner.trim())
}

/// Refuses what could make much of little, by what stands between the signs and outside of texts.
fn allowed(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(start) = rest.find(['{']) {
        rest = &rest[start + 1..];
        let (is_statement, close) = match rest.as_bytes().first() {
            Some(b'%') => (true, "%}"),
            Some(b'{') => (false, "}}"),
            Some(b'#') => {
                rest = rest.split_once("#}").map_or("", |(_, rest)| rest);
                continue;
            }
            _ => continue,
        };
        rest = &rest[1..];
        if is_statement {
            let word = rest
                .trim_start_matches(['-', '+'])
                .trim_start()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            if !STATEMENTS.contains(&word) {
                return Err(format!(
                    "{word:?} is not done here; there are {}",
                    STATEMENTS.join(", ")
                ));
            }
        }
        let mut quote = None;
        let mut escaped = false;
        let mut end = rest.len();
        for (n, c) in rest.char_indices() {
            match (quote, c) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '*') => return Err("nothing is multiplied here".to_owned()),
                (None, _) if rest[n..].starts_with(close) => {
                    end = n + close.len();
                    break;
                }
                (None, _) => {}
            }
        }
        rest = &rest[end..];
    }
    Ok(())
}

fn told(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    // Every template is called by the same name that says nothing.
    if let Some(short) = text.split(" (in ").next() {
        text = short.to_owned();
    }
    shown(&text)
}

fn shown(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "type": "dev.switchyard.git.pushed.v1",
            "data": {
                "branch": "main", "after": "a".repeat(40), "evil": "\", \"admin\": true, \"x\": \"{{ event }}",
                "commits": [{"message": "one"}, {"message": "two"}], "count": 3, "ok": true, "nothing": null,
                "big": "x".repeat(50_000),
            },
        })
    }

    #[test]
    fn a_text_that_is_one_expression_keeps_its_type() {
        let made = render(
            &json!({
                "branch": "{{ event.data.branch }}",
                "count": "{{ event.data.count }}",
                "ok": "{{event.data.ok}}",
                "nothing": "{{ event.data.nothing }}",
                "commits": "{{ event.data.commits }}",
                "text": "at {{ event.data.after | short }} on {{ event.data.branch | upper }}",
                "first": "{{ event.data.commits[0].message }}",
                "or": "{{ event.data.missing | default('none') }}",
                "list": ["{% for c in event.data.commits %}{{ c.message }} {% endfor %}", 7, null],
                "if": "{% if event.data.count > 2 %}many{% else %}few{% endif %}",
                "plain": "{ not a template }",
            }),
            &event(),
        );
        assert_eq!(
            made,
            Ok(json!({
                "branch": "main", "count": 3, "ok": true, "nothing": null,
                "commits": [{"message": "one"}, {"message": "two"}],
                "text": "at aaaaaaa on MAIN", "first": "one", "or": "none", "list": ["one two ", 7, null],
                "if": "many", "plain": "{ not a template }",
            }))
        );
    }

    #[test]
    fn what_comes_from_an_event_stays_within_its_place() {
        let made =
            render(&json!({"note": "by {{ event.data.evil }}!"}), &event()).expect("a payload");
        assert_eq!(
            made,
            json!({"note": "by \", \"admin\": true, \"x\": \"{{ event }}!"}),
            "neither JSON nor a template"
        );
        assert_eq!(made.as_object().map(serde_json::Map::len), Some(1));
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_its_place() {
        for (text, part) in [
            ("{{ event.data.missing }}", "missing"),
            ("x {{ event.data.missing }}", "undefined"),
            ("{{ event.data.missing.deeper }}", "undefined"),
            ("{{ other }}", "other"),
        ] {
            let error = render(&json!({"a": {"b/c": [text]}}), &event()).expect_err(text);
            let told = error.to_string();
            assert!(told.starts_with("/a/b~1c/0: "), "{told}");
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_could_make_much_of_little_is_refused_when_it_is_saved() {
        for bad in [
            "{% set a = event %}{{ a }}",
            "{%- set a %}x{% endset %}",
            "{% include 'x' %}",
            "{% extends 'x' %}",
            "{% macro a() %}{% endmacro %}",
            "{% filter upper %}x{% endfilter %}",
            "{% with a = 1 %}{% endwith %}",
            "{{ 'x' * 100000000 }}",
            "{{ '%}' * 9 }}",
            "{{ event.data.branch ** 2 }}",
            "{{ event",
            "{{ }}",
            "{% if %}",
            "{{ event | nosuchfilter }}",
            "{{ (((((((((( }}",
        ] {
            let template = json!({ "a": bad });
            assert!(
                check(&template).is_err() || render(&template, &event()).is_err(),
                "{bad}"
            );
        }
        assert!(
            check(&json!({"a": "{{ 'a * b' }} * {{ event.type }}"})).is_ok(),
            "in a text it is a text"
        );
        assert!(check(&json!("x".repeat(PAYLOAD_BYTES_MAX))).is_err());
        assert!(
            check(&json!(format!(
                "{{{{ '{}' }}}}",
                "x".repeat(TEMPLATE_BYTES_MAX)
            )))
            .is_err()
        );
        assert!(check(&json!(vec!["{{ event.type }}"; TEMPLATES_MAX + 1])).is_err());
        let mut deep = json!("{{ event.type }}");
        for _ in 0..DEEP_MAX + 1 {
            deep = json!([deep]);
        }
        assert!(check(&deep).is_err());
    }

    #[test]
    fn a_template_that_does_not_end_soon_or_says_too_much_is_stopped() {
        let mut event = event();
        event["data"]["list"] = (0..10_000).collect();
        let begun = Instant::now();
        for bad in [
            "{% for a in event.data.list %}{% for b in event.data.list %}{{ a }}{% endfor %}{% endfor %}",
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
            "{{ event.data.big }}{{ event.data.big }}",
            "{{ event.data.big ~ event.data.big }}",
            "{% for a in event.data.list recursive %}{{ loop(event.data.list) }}{% endfor %}",
        ] {
            assert!(render(&json!({ "a": bad }), &event).is_err(), "{bad}");
        }
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
}
