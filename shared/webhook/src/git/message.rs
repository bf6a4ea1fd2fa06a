//! What people write about a commit or a change.

use serde::{Deserialize, Deserializer};

use crate::Line;

/// How much of a message's first line is kept, in characters.
const LINE_CHARS_MAX: usize = 200;

/// What people write to say that nothing is to be started, in lower case. Hosts and CI systems agree on the first five.
const SKIP_MARKS: [&str; 9] = [
    "[skip ci]",
    "[ci skip]",
    "[no ci]",
    "[skip actions]",
    "[actions skip]",
    "[skip cd]",
    "[cd skip]",
    "[no cd]",
    "***no_ci***",
];

/// A message: its first line is kept, and whether it asks that nothing be started is read from all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    line: String,
    skip_asked: bool,
}

impl Message {
    /// The first line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Whether it asks that nothing be started.
    #[must_use]
    pub fn skip_asked(&self) -> bool {
        self.skip_asked
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let lower = text.to_ascii_lowercase();
        let skip_asked = SKIP_MARKS.iter().any(|mark| lower.contains(mark));
        let line = Line::<LINE_CHARS_MAX>::try_from(text).map_err(serde::de::Error::custom)?;
        Ok(Self {
            line: line.into_string(),
            skip_asked,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(text: &str) -> Message {
        serde_json::from_value(json!(text)).expect("a message")
    }

    #[test]
    fn the_first_line_is_kept() {
        assert_eq!(message("Add pages\n\nMore.").line(), "Add pages");
        assert_eq!(message("").line(), "");
        assert_eq!(message(&"я".repeat(300)).line(), "я".repeat(200));
        assert!(serde_json::from_value::<Message>(json!("a\u{0}")).is_err());
    }

    #[test]
    fn a_mark_counts_anywhere_and_in_any_case() {
        for skipping in ["Fix [skip ci]", "Fix\n\nSee #1.\n[CI Skip]", "***NO_CI***"] {
            assert!(message(skipping).skip_asked(), "{skipping}");
        }
        for other in ["Fix skip ci", "[skip cir]", ""] {
            assert!(!message(other).skip_asked(), "{other}");
        }
    }
}
