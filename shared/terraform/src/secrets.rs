//! Values that terraform marked as sensitive somewhere, so that they can be taken out everywhere.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

/// What stands in the place of a sensitive piece of a text.
pub(crate) const MASK: &str = "***";

/// Shorter values are not looked for outside the place that is marked: they would be found everywhere.
const SECRET_BYTES_MIN: usize = 4;
/// How many values are looked for; the places that are marked are masked however many there are.
const SECRETS_MAX: usize = 1_000;

/// Sensitive values.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    values: BTreeSet<String>,
}

impl Secrets {
    /// Remembers what is marked: `mask` has terraform's form, `true` for a whole value or the same shape as the value.
    pub(crate) fn note(&mut self, value: &Value, mask: &Value) {
        match (value, mask) {
            (_, Value::Bool(true)) => self.note_all(value),
            (Value::Object(values), Value::Object(masks)) => {
                for (key, mask) in masks {
                    if let Some(value) = values.get(key) {
                        self.note(value, mask);
                    }
                }
            }
            (Value::Array(values), Value::Array(masks)) => {
                for (value, mask) in values.iter().zip(masks) {
                    self.note(value, mask);
                }
            }
            _ => {}
        }
    }

    /// Remembers every text and number in a value.
    pub(crate) fn note_all(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.note_text(text),
            Value::Number(number) => self.note_text(&number.to_string()),
            Value::Array(values) => values.iter().for_each(|value| self.note_all(value)),
            Value::Object(values) => values.values().for_each(|value| self.note_all(value)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn note_text(&mut self, text: &str) {
        if text.len() >= SECRET_BYTES_MIN && self.values.len() < SECRETS_MAX {
            self.values.insert(text.to_owned());
        }
    }

    /// The text without them. The longest first: one may be a part of another.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found: Vec<_> = self
            .values
            .iter()
            .filter(|secret| text.contains(&***secret))
            .collect();
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        found.into_iter().fold(Cow::Borrowed(text), |text, secret| {
            Cow::Owned(text.replace(&**secret, MASK))
        })
    }

    /// Whether the text is one of them.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.values.contains(text)
    }

    pub(crate) fn into_values(self) -> Vec<String> {
        self.values.into_iter().collect()
    }
}
