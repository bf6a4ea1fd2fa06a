//! A schedule's form: what is written in it, what is wrong with that, and when it would tick.

use chrono::{DateTime, FixedOffset, TimeDelta};
use queue::schedules::{Field, Missed, ScheduleId, WrongRule, WrongValue};
use serde::Deserialize;

/// How the rule is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum RuleAs {
    /// A text, and when it starts and ends.
    #[default]
    Fields,
    /// All of it as JSON.
    Json,
}

/// What is written in a schedule's form, as it was written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the declaration")]
pub struct ScheduleForm {
    pub name: String,
    pub task: String,
    /// Which of the following counts: `rule`, `start` and `end`, or `rule_json`.
    pub rule_as: RuleAs,
    pub rule: String,
    pub start: String,
    pub end: String,
    pub rule_json: String,
    pub time_zone: String,
    pub missed: Missed,
    pub jitter_secs: String,
    pub payload: String,
    pub queue: String,
    pub key: String,
    pub priority: String,
    pub attempts_max: String,
}

/// What is wrong with a field of the form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrongField {
    /// Which.
    pub field: Field,
    /// What.
    pub problem: FormProblem,
}

/// Why what is written in a field cannot be taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FormProblem {
    /// The queue does not take it.
    Value(WrongValue),
    /// It is no whole number, or too large for one.
    NoNumber,
    /// It is no JSON.
    NoJson {
        /// Where it ceases to be, from 1.
        line: usize,
        /// Where in that line, from 1.
        column: usize,
    },
    /// It cannot be written in fields.
    OnlyJson,
    /// Another schedule has this name, or the key.
    Taken {
        /// The name.
        name: String,
    },
    /// There are as many schedules as there may be.
    TooMany {
        /// How many.
        most: usize,
    },
}

impl FormProblem {
    /// Of a rule.
    #[must_use]
    pub const fn of(wrong: WrongRule) -> Self {
        Self::Value(WrongValue::Rule(wrong))
    }
}

/// When a schedule would tick.
#[derive(Clone, Debug)]
pub enum Preview {
    /// No rule is written yet.
    Empty,
    /// Something about the rule is wrong.
    Wrong(FormProblem),
    /// These are the next ticks.
    Ticks {
        /// The zone in which the rule is read.
        zone: String,
        /// As clocks there show them.
        ticks: Vec<DateTime<FixedOffset>>,
        /// The shortest time between two of those to come.
        shortest: Option<TimeDelta>,
    },
}

/// A schedule's form.
#[derive(Clone, Debug)]
pub struct ScheduleFormPage {
    /// The schedule that is changed, with its name; nothing when it is to be.
    pub changes: Option<(ScheduleId, String)>,
    /// What is written.
    pub form: ScheduleForm,
    /// What is wrong with it.
    pub wrong: Vec<WrongField>,
    /// When it would tick.
    pub preview: Preview,
    /// Tasks to choose from; any other may be written.
    pub tasks: Vec<String>,
}
