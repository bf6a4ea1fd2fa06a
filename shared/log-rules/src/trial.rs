//! What a pattern would find in a text that somebody pasted.

use serde::Serialize;

use crate::{Groups, Pattern, begin};

/// How much of a pasted text is tried, in lines.
pub const LINES_MAX: usize = 2_000;
/// How many matches of it are shown.
const MATCHES_MAX: usize = 200;
/// How much of a line is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 1_000;

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Its number, from 1.
    pub line: usize,
    /// How it begins.
    pub text: String,
    /// What the pattern took out of it.
    pub groups: Groups,
}

/// What a pattern finds in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// Lines that were looked at.
    pub lines: usize,
    /// Whether there are more, which were not.
    pub cut: bool,
    /// Lines that match.
    pub matched: usize,
    /// The first of them.
    pub matches: Vec<Match>,
}

impl Trial {
    /// Tries a pattern on each line of a text, the first [`LINES_MAX`] of them.
    #[must_use]
    pub fn of(pattern: &Pattern, text: &str) -> Self {
        let mut trial = Self::default();
        for (index, line) in text.lines().enumerate() {
            if index >= LINES_MAX {
                trial.cut = true;
                break;
            }
            trial.lines += 1;
            let Some(groups) = pattern.find(line) else {
                continue;
            };
            trial.matched += 1;
            if trial.matches.len() < MATCHES_MAX {
                trial.matches.push(Match {
                    line: index + 1,
                    text: begin(line, SHOWN_BYTES_MAX).to_owned(),
                    groups,
                });
            }
        }
        trial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_tried_up_to_its_limit_and_says_so() {
        let pattern = "b".parse().expect("a pattern");
        let trial = Trial::of(&pattern, &"a\nb\n".repeat(LINES_MAX));
        assert_eq!((trial.lines, trial.cut), (LINES_MAX, true));
        assert_eq!((trial.matched, trial.matches.len()), (1_000, MATCHES_MAX));
        assert_eq!(trial.matches[0].line, 2);
    }
}
