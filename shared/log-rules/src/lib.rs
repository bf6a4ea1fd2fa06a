//! Rules on what logs say, without a database: patterns, what they take out of a line, and which rule holds for which
//! workload.
//!
//! A pattern is a regular expression of the crate `regex`: without look-around and back-references, so that a line takes time
//! in proportion to its length and to the pattern's compiled size, which is bounded. What a line is not looked at beyond
//! ([`LINE_BYTES_MAX`]) cannot match.

mod trial;

use std::collections::BTreeMap;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

pub use trial::{LINES_MAX, Match, Trial};

/// How long a pattern may be, in characters.
pub const PATTERN_CHARS_MAX: usize = 1_000;
/// How large a pattern may be when it is compiled, in bytes: `\w{1000}` and its like are larger.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// How much of a line is looked at, in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// How many groups of a match are told.
const GROUPS_MAX: usize = 16;
/// How much of each is told, in characters.
const GROUP_CHARS_MAX: usize = 500;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is longer than any that is needed.
    #[error("a pattern has at most {PATTERN_CHARS_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// It is small to write and large to run.
    #[error("the pattern is too large when compiled: repeat less")]
    TooLarge,
    /// It matches every line.
    #[error("the pattern matches an empty line, and so every line; say what it is to find")]
    MatchesAll,
    /// It is no regular expression.
    #[error("{0}")]
    Syntax(String),
}

/// A pattern, compiled.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// What a pattern took out of a line: its groups by name, or by number from 1.
pub type Groups = BTreeMap<String, String>;

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let chars = text.chars().count();
        if chars > PATTERN_CHARS_MAX {
            return Err(PatternError::TooLong(chars));
        }
        let compiled = RegexBuilder::new(text)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
                error => PatternError::Syntax(error.to_string()),
            })?;
        if compiled.is_match("") {
            return Err(PatternError::MatchesAll);
        }
        Ok(Self(compiled))
    }
}

impl Pattern {
    /// What it takes out of a line; nothing when the line does not match.
    #[must_use]
    pub fn find(&self, line: &str) -> Option<Groups> {
        let captures = self.0.captures(begin(line, LINE_BYTES_MAX))?;
        let names = self.0.capture_names().enumerate().skip(1).take(GROUPS_MAX);
        Some(
            names
                .filter_map(|(number, name)| {
                    let group = captures.get(number)?.as_str();
                    let name = name.map_or_else(|| number.to_string(), str::to_owned);
                    Some((name, group.chars().take(GROUP_CHARS_MAX).collect()))
                })
                .collect(),
        )
    }
}

/// The beginning of a text, cut between characters.
#[must_use]
pub fn begin(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What a task says of its job.
    Task,
    /// What a program prints.
    Stdout,
    /// What a program complains of.
    Stderr,
    /// What `site` could not answer.
    Site,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Task, Self::Stdout, Self::Stderr, Self::Site];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Site => "site",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().expect("a pattern")
    }

    #[test]
    fn groups_are_told_by_name_or_number() {
        let found = pattern(r"(?<code>\d{3}) on (\S+)").find("answered 502 on /a b");
        let found = found.expect("it matches");
        assert_eq!(found["code"], "502");
        assert_eq!(found["2"], "/a");
        assert_eq!(pattern("panicked").find("all is well"), None);
        assert_eq!(pattern("panicked").find("it panicked"), Some(Groups::new()));
    }

    #[test]
    fn what_would_cost_too_much_is_no_pattern() {
        let bomb: Result<Pattern, _> = r"(\w{100}){100}".parse();
        assert!(matches!(bomb, Err(PatternError::TooLarge)), "{bomb:?}");
        let long: Result<Pattern, _> = "a".repeat(PATTERN_CHARS_MAX + 1).parse();
        assert!(
            matches!(long, Err(PatternError::TooLong(1_001))),
            "{long:?}"
        );
        for text in [r"(a)\1", "(?=a)", "(", "[z-a]"] {
            let wrong: Result<Pattern, _> = text.parse();
            assert!(
                matches!(wrong, Err(PatternError::Syntax(_))),
                "{text}: {wrong:?}"
            );
        }
        for text in ["", "a*", "x?|y*"] {
            let all: Result<Pattern, _> = text.parse();
            assert!(
                matches!(all, Err(PatternError::MatchesAll)),
                "{text}: {all:?}"
            );
        }
    }

    #[test]
    fn a_line_is_looked_at_up_to_its_limit_and_cut_between_characters() {
        let line = format!("{}needle", "é".repeat(LINE_BYTES_MAX / 2));
        assert_eq!(pattern("needle").find(&line), None);
        assert_eq!(begin("aé", 2), "a");
        assert_eq!(begin("aé", 3), "aé");
        let slow = pattern("(a+)+b");
        assert_eq!(slow.find(&"a".repeat(LINE_BYTES_MAX)), None);
    }
}
