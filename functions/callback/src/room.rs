//! How much of what functions say is kept: one that never stops talking does not fill the database. Counted by each process
//! for itself, from its start.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use host::LogRoom;
use queue::Hold;
use queue::executors::ToldLines;

/// Calls that are remembered.
const HOLDS_MAX: usize = 10_000;

/// The room of each call of a function.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    holds: Mutex<HashMap<(i64, i64), Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    room: LogRoom,
    /// The number of the newest line that was counted, as its writer counts.
    told: i64,
    /// The number of the line in whose place it says that there was more.
    cut_at: Option<i64>,
}

impl Rooms {
    /// Of these lines those that are kept. A line that has its number counts once, however often it is told.
    pub(crate) fn kept(&self, hold: Hold, log: ToldLines) -> ToldLines {
        if log.lines.is_empty() {
            return log;
        }
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (hold.job.0, hold.epoch);
        if holds.len() >= HOLDS_MAX && !holds.contains_key(&key) {
            // Whose room is forgotten gets another, which is no more than a new start gives.
            holds.clear();
        }
        let kept = holds.entry(key).or_default();
        let ToldLines { lines, first } = log;
        let lines = match first {
            None => {
                let lines = lines.into_iter();
                lines.filter_map(|line| kept.room.take(line)).collect()
            }
            Some(first) => (first..)
                .zip(lines)
                .map_while(|(number, line)| kept.numbered(number, line))
                .collect(),
        };
        ToldLines { lines, first }
    }
}

impl Kept {
    /// A line that has its number, unless neither it nor any after it is kept.
    fn numbered(&mut self, number: i64, line: String) -> Option<String> {
        match self.cut_at {
            Some(cut_at) if number == cut_at => Some(LogRoom::mark()),
            Some(cut_at) if number > cut_at => None,
            Some(_) => Some(line),
            None if number <= self.told => Some(line),
            None => {
                let line = self.room.take(line)?;
                self.told = number;
                self.cut_at = self.room.is_over().then_some(number);
                Some(line)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::JobId;

    use super::*;

    const LINE_BYTES: usize = 16 * 1024;

    fn hold(epoch: i64) -> Hold {
        Hold {
            job: JobId(1),
            epoch,
        }
    }

    fn lines(first: Option<i64>, count: usize) -> ToldLines {
        ToldLines {
            lines: vec!["a".repeat(LINE_BYTES); count],
            first,
        }
    }

    #[test]
    fn of_endless_talk_the_beginning_is_kept_and_that_there_was_more() {
        let rooms = Rooms::default();
        let mut kept = Vec::new();
        for _ in 0..100 {
            kept.extend(rooms.kept(hold(1), lines(None, 60)).lines);
        }
        let bytes: usize = kept.iter().map(String::len).sum();
        assert!(bytes <= 16 * 1024 * 1024, "{bytes}");
        assert_eq!(kept.last(), Some(&LogRoom::mark()));
        assert_eq!(
            rooms.kept(hold(2), lines(None, 1)),
            lines(None, 1),
            "another try has its own"
        );
    }

    #[test]
    fn a_line_that_is_told_again_takes_no_room_and_is_the_same() {
        let rooms = Rooms::default();
        for _ in 0..1000 {
            assert_eq!(rooms.kept(hold(1), lines(Some(1), 60)), lines(Some(1), 60));
        }
        let mut from = 61;
        let last = loop {
            let kept = rooms.kept(hold(1), lines(Some(from), 60));
            assert_eq!(
                kept,
                rooms.kept(hold(1), lines(Some(from), 60)),
                "lost and told again"
            );
            if kept.lines.len() < 60 {
                break kept;
            }
            from += 60;
        };
        assert_eq!(last.lines.last(), Some(&LogRoom::mark()));
        assert_eq!(
            rooms.kept(hold(1), lines(Some(from + 60), 60)).lines,
            Vec::<String>::new()
        );
        assert_eq!(
            rooms.kept(hold(1), lines(None, 1)).lines,
            Vec::<String>::new()
        );
    }
}
