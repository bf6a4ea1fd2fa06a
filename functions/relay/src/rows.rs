//! Rows of the outbox while their events are on their way. A row may hold many events; it goes when all are through, and
//! what is through is not sent again with the rest.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use store::outbox::{OutboxEvent, OutboxRow};

use crate::answer::{self, Answer};

/// Rows that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    under_way: HashMap<i64, Row>,
    unsent: VecDeque<(i64, OutboxEvent)>,
}

#[derive(Debug)]
struct Row {
    attempts: i32,
    /// Events without an answer.
    left: usize,
    sent: Vec<i64>,
    refused: Option<String>,
    later: Option<(String, Option<Duration>)>,
}

/// What is to be done about a row whose events all have their answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// All are through.
    Published(i64),
    /// Some may be taken later.
    Failed {
        row: i64,
        sent: Vec<i64>,
        error: String,
        delay: Duration,
    },
    /// What is left of them never will be.
    Refused {
        row: i64,
        sent: Vec<i64>,
        error: String,
    },
}

impl Rows {
    /// The rows that are not to be read again.
    pub(crate) fn under_way(&self) -> Vec<i64> {
        self.under_way.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether events wait to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes a row up. Nothing is to be done about it until its events have answers, unless it has none.
    pub(crate) fn add(&mut self, row: OutboxRow) -> Option<Settled> {
        if row.events.is_empty() {
            return Some(Settled::Published(row.row));
        }
        self.under_way.insert(
            row.row,
            Row {
                attempts: row.attempts,
                left: row.events.len(),
                sent: Vec::new(),
                refused: None,
                later: None,
            },
        );
        self.unsent
            .extend(row.events.into_iter().map(|event| (row.row, event)));
        None
    }

    /// The next event to send, with its row.
    pub(crate) fn next(&mut self) -> Option<(i64, OutboxEvent)> {
        self.unsent.pop_front()
    }

    /// An event has its answer. What is to be done about its row once all have theirs.
    pub(crate) fn answered(&mut self, id: i64, place: i64, answer: Answer) -> Option<Settled> {
        let row = self.under_way.get_mut(&id)?;
        row.left -= 1;
        match answer {
            Answer::Taken => row.sent.push(place),
            Answer::Refused(error) => row.refused = Some(error),
            Answer::Later { error, after, .. } => {
                // The others of the row would fare no better now.
                let unsent = self.unsent.len();
                self.unsent.retain(|(other, _)| *other != id);
                row.left -= unsent - self.unsent.len();
                row.later = Some((error, after));
            }
        }
        if row.left > 0 {
            return None;
        }
        let done = self.under_way.remove(&id)?;
        Some(match (done.later, done.refused) {
            (Some((error, after)), _) => Settled::Failed {
                row: id,
                sent: done.sent,
                error,
                delay: after.unwrap_or_else(|| answer::backoff(done.attempts)),
            },
            (None, Some(error)) => Settled::Refused {
                row: id,
                sent: done.sent,
                error,
            },
            (None, None) => Settled::Published(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(events: i64) -> OutboxRow {
        OutboxRow {
            row: 7,
            attempts: 0,
            events: (1..=events)
                .map(|place| OutboxEvent {
                    place,
                    id: place.to_string(),
                    ty: "t".into(),
                    source: "/s".into(),
                    subject: None,
                    time: chrono::DateTime::UNIX_EPOCH,
                    extensions: serde_json::Map::new(),
                    data: None,
                })
                .collect(),
        }
    }

    fn later() -> Answer {
        Answer::Later {
            error: "503".into(),
            after: None,
            timed_out: false,
        }
    }

    #[test]
    fn a_row_goes_when_all_its_events_are_through() {
        let mut rows = Rows::default();
        assert_eq!(rows.add(row(2)), None);
        assert_eq!(
            rows.next().map(|(row, event)| (row, event.place)),
            Some((7, 1))
        );
        assert_eq!(rows.answered(7, 1, Answer::Taken), None);
        assert_eq!(rows.under_way(), [7]);
        rows.next();
        assert_eq!(
            rows.answered(7, 2, Answer::Taken),
            Some(Settled::Published(7))
        );
        assert!(rows.is_empty());
    }

    #[test]
    fn what_is_through_is_not_sent_again_with_what_failed() {
        let mut rows = Rows::default();
        rows.add(row(5));
        for _ in 0..3 {
            rows.next();
        }
        assert_eq!(rows.answered(7, 1, Answer::Taken), None);
        assert_eq!(rows.answered(7, 2, later()), None);
        assert!(!rows.has_unsent(), "the other two are not tried");
        let settled = rows.answered(7, 3, Answer::Taken);
        assert!(
            matches!(&settled, Some(Settled::Failed { sent, .. }) if *sent == [1, 3]),
            "{settled:?}"
        );
    }

    #[test]
    fn what_a_broker_refuses_does_not_keep_the_others() {
        let mut rows = Rows::default();
        rows.add(row(2));
        rows.answered(7, 1, Answer::Refused("400".into()));
        let settled = rows.answered(7, 2, Answer::Taken);
        let kept = Settled::Refused {
            row: 7,
            sent: vec![2],
            error: "400".into(),
        };
        assert_eq!(settled, Some(kept));
    }

    #[test]
    fn a_row_without_events_is_done() {
        assert_eq!(Rows::default().add(row(0)), Some(Settled::Published(7)));
    }
}
