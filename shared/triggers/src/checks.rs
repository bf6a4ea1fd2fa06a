//! Clauses and what they compared.

use model::{Check, Clause, Glob};

/// How much of a compared value is kept, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// What a clause asks for and what the event says.
pub(crate) fn check(
    clause: Clause,
    expected: impl Into<String>,
    actual: impl Into<String>,
) -> Check {
    Check {
        clause,
        expected: shown(expected.into()),
        actual: shown(actual.into()),
    }
}

fn shown(text: String) -> String {
    if text.chars().count() > SHOWN_CHARS_MAX {
        let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        format!("{cut}…")
    } else {
        text
    }
}

/// Adds a clause to those that held, or ends with it.
pub(crate) fn decided(matches: bool, check: Check, held: &mut Vec<Check>) -> Result<(), Check> {
    if matches {
        held.push(check);
        Ok(())
    } else {
        Err(check)
    }
}

/// One of the patterns fits; none at all lets everything pass.
pub(crate) fn one_of(
    clause: Clause,
    patterns: &[Glob],
    name: &str,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    if patterns.is_empty() {
        return Ok(());
    }
    let matches = patterns.iter().any(|pattern| pattern.matches(name));
    decided(matches, check(clause, list(patterns), name), held)
}

/// What is asked for, as people write it.
pub(crate) fn list<T: ToString>(wanted: &[T]) -> String {
    let texts: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The words of an enum as they stand in JSON.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// [`list`] of such words.
pub(crate) fn words<T: serde::Serialize>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(word).collect();
    texts.join(", ")
}
