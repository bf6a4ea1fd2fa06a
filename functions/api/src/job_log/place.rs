//! Places in a log, and reading it without missing a line.

use std::fmt;
use std::str::FromStr;

use store::pages::{Line, LogCursor};

/// A place in a log as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(pub(super) LogCursor);

/// A text that is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.epoch, self.0.seq)
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (epoch, seq) = text.split_once(':').ok_or(NotAPlace)?;
        Ok(Self(LogCursor {
            epoch: epoch.parse().map_err(|_| NotAPlace)?,
            seq: seq.parse().map_err(|_| NotAPlace)?,
        }))
    }
}

/// The lines up to a gap that may still be filled: where a later line was committed before an earlier one.
pub(super) fn without_gap(after: LogCursor, mut lines: Vec<Line>) -> Vec<Line> {
    let mut known = after;
    let whole = lines
        .iter()
        .take_while(|line| {
            let follows = if line.cursor.epoch == known.epoch {
                line.cursor.seq == known.seq + 1
            } else {
                line.cursor.seq == 1
            };
            known = line.cursor;
            follows || line.settled
        })
        .count();
    lines.truncate(whole);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(after: (i64, i64), lines: &[(i64, i64, bool)]) -> usize {
        let lines = lines
            .iter()
            .map(|&(epoch, seq, settled)| {
                let line = serde_json::json!({"epoch": epoch, "seq": seq});
                Line {
                    cursor: LogCursor { epoch, seq },
                    at: "2026-01-01T00:00:00Z".parse().expect("a time"),
                    stream: "task".to_owned(),
                    text: line.to_string(),
                    settled,
                }
            })
            .collect();
        let (epoch, seq) = after;
        without_gap(LogCursor { epoch, seq }, lines).len()
    }

    #[test]
    fn a_gap_is_waited_for_until_nothing_can_fill_it() {
        assert_eq!(read((1, 2), &[(1, 3, false), (1, 4, false)]), 2);
        assert_eq!(read((1, 2), &[(1, 4, false)]), 0);
        assert_eq!(read((1, 2), &[(1, 4, true), (1, 5, false)]), 2);
        assert_eq!(read((1, 2), &[(2, 1, false), (2, 3, false)]), 1);
        assert_eq!(read((0, 0), &[(1, 1, false)]), 1);
    }

    #[test]
    fn a_place_reads_back_from_its_text() {
        let place = Place(LogCursor { epoch: 3, seq: 14 });
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("3".parse::<Place>(), Err(NotAPlace));
    }
}
