//! What of the ticks that have come is fired, and when the next are.

use std::collections::VecDeque;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Rule;

/// How late a tick may be fired and still be in time. Later it has been missed.
pub const FRESH: TimeDelta = TimeDelta::seconds(60);
/// Missed ticks that are made up for, at most: the newest.
pub const CATCH_UP_MAX: usize = 100;
/// Ticks that have come which are looked at one by one; of those beyond, only what is fresh counts.
const LOOK_MAX: usize = 10_000;
/// Ticks that are computed ahead, after the next.
pub const LATER: usize = 15;

/// What becomes of ticks that nobody fired in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are left out.
    Skip,
    /// The newest is fired, unless a fresh one is.
    #[default]
    Last,
    /// All are fired, up to [`CATCH_UP_MAX`].
    All,
}

impl Missed {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Last => "last",
            Self::All => "all",
        }
    }
}

/// A text that is none of [`Missed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} says nothing about missed ticks; there are skip, last and all")]
pub struct UnknownMissed(String);

impl FromStr for Missed {
    type Err = UnknownMissed;

    fn from_str(text: &str) -> Result<Self, UnknownMissed> {
        [Self::Skip, Self::Last, Self::All]
            .into_iter()
            .find(|missed| missed.as_str() == text)
            .ok_or_else(|| UnknownMissed(text.to_owned()))
    }
}

/// The ticks to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The next; nothing when the schedule is over.
    pub next: Option<DateTime<Utc>>,
    /// The [`LATER`] after it.
    pub later: Vec<DateTime<Utc>>,
}

impl Plan {
    /// The ticks of a rule after an instant.
    #[must_use]
    pub fn after(rule: &Rule, instant: DateTime<Utc>) -> Self {
        let mut ticks = rule.after(instant);
        Self {
            next: ticks.next(),
            later: ticks.take(LATER).collect(),
        }
    }

    /// A tick that is known, and those after it.
    #[must_use]
    pub fn from(rule: &Rule, next: DateTime<Utc>) -> Self {
        Self {
            next: Some(next),
            later: rule.after(next).take(LATER).collect(),
        }
    }
}

/// What to do about a schedule that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// These, in order.
    pub ticks: Vec<DateTime<Utc>>,
    /// How many were missed and are left out; at least so many.
    pub missed: i32,
    /// When it goes on.
    pub plan: Plan,
}

impl Firing {
    /// What is due of a schedule whose first tick not fired yet is `next`.
    #[must_use]
    pub fn of(rule: &Rule, next: DateTime<Utc>, now: DateTime<Utc>, policy: Missed) -> Self {
        let fresh_from = now - FRESH;
        let mut fresh = Vec::new();
        let mut missed = VecDeque::new();
        let mut left_out = 0;
        let mut keep = |tick: DateTime<Utc>| {
            if tick >= fresh_from {
                fresh.push(tick);
                return;
            }
            missed.push_back(tick);
            if missed.len() > CATCH_UP_MAX {
                missed.pop_front();
                left_out += 1;
            }
        };
        keep(next);
        let mut last = next;
        for tick in rule
            .after(next)
            .take(LOOK_MAX)
            .take_while(|tick| *tick <= now)
        {
            keep(tick);
            last = tick;
        }
        // More than were looked at: the rest is what is fresh.
        let rest = last.max(fresh_from - TimeDelta::microseconds(1));
        for tick in rule.after(rest).take_while(|tick| *tick <= now) {
            keep(tick);
        }
        let missed_seen = missed.len();
        let made_up: Vec<_> = match policy {
            Missed::Skip => Vec::new(),
            Missed::Last if fresh.is_empty() => missed.pop_back().into_iter().collect(),
            Missed::Last => Vec::new(),
            Missed::All => missed.into(),
        };
        let not_wanted = left_out + missed_seen - made_up.len();
        Self {
            ticks: made_up.into_iter().chain(fresh).collect(),
            missed: i32::try_from(not_wanted).unwrap_or(i32::MAX),
            plan: Plan::after(rule, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn firing(rule: &str, next: &str, now: &str, policy: Missed) -> (Vec<String>, i32) {
        let rule = Rule::parse(&json!(rule), None).expect("a rule");
        let firing = Firing::of(&rule, at(next), at(now), policy);
        assert!(firing.plan.next.is_none_or(|next| next > at(now)));
        let times = firing.ticks.iter();
        (
            times
                .map(|tick| tick.format("%H:%M:%S").to_string())
                .collect(),
            firing.missed,
        )
    }

    fn texts(ticks: &[&str]) -> Vec<String> {
        ticks.iter().map(|&tick| tick.to_owned()).collect()
    }

    #[test]
    fn what_is_fresh_is_fired_whatever_the_policy() {
        for policy in [Missed::Skip, Missed::Last, Missed::All] {
            let (ticks, missed) = firing(
                "* * * * * *",
                "2026-06-01T12:00:01Z",
                "2026-06-01T12:00:03Z",
                policy,
            );
            assert_eq!(
                (ticks, missed),
                (texts(&["12:00:01", "12:00:02", "12:00:03"]), 0)
            );
        }
    }

    #[test]
    fn what_was_missed_is_left_out_or_made_up_for_once_or_made_up_for() {
        let (next, now) = ("2026-06-01T10:00:00Z", "2026-06-01T13:30:00Z");
        let hourly = |policy| firing("0 * * * *", next, now, policy);
        assert_eq!(hourly(Missed::Skip), (vec![], 4));
        assert_eq!(hourly(Missed::Last), (texts(&["13:00:00"]), 3));
        assert_eq!(
            hourly(Missed::All),
            (texts(&["10:00:00", "11:00:00", "12:00:00", "13:00:00"]), 0)
        );
    }

    #[test]
    fn a_fresh_tick_stands_for_the_missed_ones() {
        let (next, now) = ("2026-06-01T11:00:00Z", "2026-06-01T13:00:20Z");
        assert_eq!(
            firing("0 * * * *", next, now, Missed::Last),
            (texts(&["13:00:00"]), 2)
        );
    }

    #[test]
    fn making_up_is_bounded_to_the_newest() {
        let (ticks, missed) = firing(
            "* * * * *",
            "2026-06-01T00:00:00Z",
            "2026-06-01T12:00:30Z",
            Missed::All,
        );
        assert_eq!(ticks.len(), CATCH_UP_MAX + 1);
        assert_eq!((&*ticks[0], &*ticks[100]), ("10:20:00", "12:00:00"));
        assert_eq!(missed, 620);
    }

    #[test]
    fn of_a_month_of_seconds_what_is_fresh_is_fired() {
        let (ticks, missed) = firing(
            "* * * * * *",
            "2026-05-01T00:00:00Z",
            "2026-06-01T12:00:00Z",
            Missed::Last,
        );
        assert_eq!((ticks.len(), &*ticks[60]), (61, "12:00:00"));
        assert!(missed >= 10_000, "{missed}");
    }

    #[test]
    fn a_stored_tick_is_fired_although_the_rule_has_no_such_tick_any_more() {
        let rule = Rule::parse(&json!({"year": 2020}), None).expect("a rule");
        let due = at("2026-06-01T12:00:00Z");
        let firing = Firing::of(&rule, due, due, Missed::Skip);
        let nothing = Plan {
            next: None,
            later: vec![],
        };
        assert_eq!(
            (firing.ticks, firing.missed, firing.plan),
            (vec![due], 0, nothing)
        );
    }
}
