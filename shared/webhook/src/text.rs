//! Strings of a payload that are kept.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A string without NUL, which Postgres cannot store, of at most `MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = without_nul(String::deserialize(from)?)?;
        if text.len() > MAX {
            return Err(D::Error::custom(format_args!(
                "a text is longer than {MAX} bytes"
            )));
        }
        Ok(Self(text))
    }
}

/// A [`Text`] without control characters: a login, a branch, a URL. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<const MAX: usize>(String);

impl<const MAX: usize> Name<MAX> {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, when it says something.
    #[must_use]
    pub fn filled(self) -> Option<String> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Name<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Text::<MAX>::deserialize(from)?.into_string();
        if text.chars().any(char::is_control) {
            return Err(D::Error::custom("a name has control characters"));
        }
        Ok(Self(text))
    }
}

/// The first line of a text that people write: other control characters become spaces, and it is cut after `MAX`
/// characters, because a long message is no reason to lose a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// The line, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = NulError;

    fn try_from(text: String) -> Result<Self, NulError> {
        if text.contains('\0') {
            return Err(NulError);
        }
        let first = text.lines().next().unwrap_or_default();
        Ok(Self(
            first
                .chars()
                .take(MAX)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        ))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Line<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .try_into()
            .map_err(D::Error::custom)
    }
}

/// A text with a character that Postgres cannot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text has a NUL character")]
pub struct NulError;

fn without_nul<E: Error>(text: String) -> Result<String, E> {
    if text.contains('\0') {
        return Err(E::custom(NulError));
    }
    Ok(text)
}
