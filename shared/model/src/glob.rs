//! Glob patterns over names and paths.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest pattern that is accepted, in bytes.
const PATTERN_BYTES_MAX: usize = 512;

/// A pattern: `?` is one character, `*` any number, neither crosses `/`; `**` does. Everything else is itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing can match it.
    #[error("a pattern may not be empty")]
    Empty,
    /// Patterns are short.
    #[error("a pattern may have {PATTERN_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Such a character is in no name.
    #[error("a pattern may not contain control characters")]
    Control,
}

impl Glob {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` matches. Takes at most pattern × text steps, whatever both are.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        // `reach[i]` says whether the pattern read so far can end before the i-th character.
        let mut reach = vec![false; text.len() + 1];
        reach[0] = true;
        let mut pattern = self.0.chars().peekable();
        while let Some(symbol) = pattern.next() {
            if symbol == '*' {
                let deep = pattern.next_if_eq(&'*').is_some();
                for i in 0..text.len() {
                    reach[i + 1] |= reach[i] && (deep || text[i] != '/');
                }
            } else {
                for i in (0..text.len()).rev() {
                    let one = symbol == text[i] || (symbol == '?' && text[i] != '/');
                    reach[i + 1] = reach[i] && one;
                }
                reach[0] = false;
            }
        }
        reach[text.len()]
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Glob {
    type Error = GlobError;

    fn try_from(text: String) -> Result<Self, GlobError> {
        if text.is_empty() {
            Err(GlobError::Empty)
        } else if text.len() > PATTERN_BYTES_MAX {
            Err(GlobError::TooLong(text.len()))
        } else if text.chars().any(char::is_control) {
            Err(GlobError::Control)
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::try_from(pattern.to_owned()).expect("the test's pattern is good")
    }

    #[test]
    fn one_star_stays_within_a_segment_and_two_cross() {
        for (pattern, text, expected) in [
            ("main", "main", true),
            ("main", "maintenance", false),
            ("release/*", "release/1.2", true),
            ("release/*", "release/1/2", false),
            ("release/**", "release/1/2", true),
            ("docs/**/*.md", "docs/a/b.md", true),
            ("**", "anything/at/all", true),
            ("v?.?", "v1.2", true),
            ("v?.?", "v1/2", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("ветка-*", "ветка-1", true),
        ] {
            assert_eq!(glob(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let started = std::time::Instant::now();
        assert!(!glob(&"a*".repeat(200)).matches(&"a".repeat(5_000).replace('a', "b")));
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_refused() {
        assert_eq!(Glob::try_from(String::new()), Err(GlobError::Empty));
        assert_eq!(Glob::try_from("a\nb".to_owned()), Err(GlobError::Control));
        assert_eq!(
            Glob::try_from("a".repeat(513)),
            Err(GlobError::TooLong(513))
        );
    }
}
