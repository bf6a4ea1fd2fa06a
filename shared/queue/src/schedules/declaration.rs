//! What people declare, looked at field by field before anything is written: whoever asks them, in JSON or by a form, has
//! the same rules and the same words.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::missed::{Missed, Plan};
use super::own::NewSchedule;
use super::rule::{Rule, WrongRule};

/// Characters of a name, at most.
const NAME_MAX: usize = 200;
/// Characters of a task's or a queue's name, at most.
const TASK_MAX: usize = 126;
/// Characters of a key, at most.
const KEY_MAX: usize = 512;
/// Bytes of a rule as JSON without spaces, at most; the database, which counts them with spaces, takes 10 000.
const RULE_BYTES_MAX: usize = 6_000;
/// The longest jitter.
const JITTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// A schedule as it is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    /// By which people know it; the tenant's only one of that name.
    pub name: String,
    /// The task of its jobs.
    pub task: String,
    /// When, as [`Rule`] reads it.
    pub schedule_info: Value,
    /// The zone in which it is read.
    pub time_zone: Option<String>,
    /// What its jobs are to do.
    pub payload: Value,
    /// Their named queue.
    pub queue: Option<String>,
    /// Their priority.
    pub priority: i32,
    /// Tries of each of them; the task's number when none is given.
    pub attempts_max: Option<i32>,
    /// Their key.
    pub key: Option<String>,
    /// What becomes of ticks that nobody fired in time.
    pub missed: Missed,
    /// How much later than its tick a job may start, in seconds.
    pub jitter_secs: u32,
}

/// A part of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the declaration")]
pub enum Field {
    Name,
    Task,
    Rule,
    Start,
    End,
    TimeZone,
    Payload,
    Queue,
    Priority,
    AttemptsMax,
    Key,
    JitterSecs,
}

impl Field {
    /// The name by which it is declared.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Task => "task",
            Self::Rule => "rule",
            Self::Start => "start",
            Self::End => "end",
            Self::TimeZone => "time_zone",
            Self::Payload => "payload",
            Self::Queue => "queue",
            Self::Priority => "priority",
            Self::AttemptsMax => "attempts_max",
            Self::Key => "key",
            Self::JitterSecs => "jitter_secs",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct WrongField {
    /// Where.
    pub field: Field,
    /// What.
    pub why: WrongValue,
}

/// Why a value cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongValue {
    /// A text that is empty or too long.
    #[error("write 1 to {max} characters")]
    Length {
        /// Characters, at most.
        max: usize,
    },
    /// A task whose jobs are made only where their deed is asked for.
    #[error(
        "{task} does in bulk what is asked for on other pages, by roles that differ; it has no schedule of its own"
    )]
    OnlyAskedFor {
        /// The task.
        task: String,
    },
    /// A character that the database cannot keep.
    #[error("the character NUL is refused; remove it")]
    Nul,
    /// A rule that is too long to be kept.
    #[error("a rule has at most {RULE_BYTES_MAX} bytes as JSON")]
    Large,
    /// Fewer tries than one.
    #[error("one try is the least")]
    Tries,
    /// More jitter than [`JITTER_MAX`].
    #[error("{max_secs}, a day, is the most")]
    Jitter {
        /// Seconds, at most.
        max_secs: u64,
    },
    /// No rule, or none in this zone.
    #[error("{0}")]
    Rule(WrongRule),
}

impl From<WrongRule> for WrongField {
    fn from(error: WrongRule) -> Self {
        let field = match &error {
            WrongRule::Zone(_) | WrongRule::TwoZones { .. } => Field::TimeZone,
            WrongRule::Instant { name: "start", .. } => Field::Start,
            WrongRule::Instant { name: "end", .. } => Field::End,
            WrongRule::Instant { .. }
            | WrongRule::NoRule(_)
            | WrongRule::FieldCount { .. }
            | WrongRule::Field { .. }
            | WrongRule::Text { .. }
            | WrongRule::TooLong
            | WrongRule::Value { .. }
            | WrongRule::Unknown(_)
            | WrongRule::Never => Field::Rule,
        };
        Self {
            field,
            why: WrongValue::Rule(error),
        }
    }
}

impl Declaration {
    /// Its rule.
    ///
    /// # Errors
    /// What is wrong with it, with its zone, or with when it starts or ends.
    pub fn rule(&self) -> Result<Rule, WrongRule> {
        Rule::parse(&self.schedule_info, self.time_zone.as_deref())
    }

    /// Its ticks from `now`. One that would never tick is a mistake.
    ///
    /// # Errors
    /// All that is wrong, in the order of the fields; of the rule the first thing.
    pub fn plan(&self, now: DateTime<Utc>) -> Result<Plan, Vec<WrongField>> {
        let mut wrong = self.wrong_values();
        let plan = self.rule().map(|rule| Plan::after(&rule, now));
        match plan {
            Ok(plan) if plan.next.is_none() => wrong.push(WrongRule::Never.into()),
            Ok(plan) if wrong.is_empty() => return Ok(plan),
            Ok(_) => {}
            Err(error) => wrong.push(error.into()),
        }
        Err(wrong)
    }

    /// What is to be stored, with a plan of its.
    #[must_use]
    pub fn with<'a>(&'a self, plan: &'a Plan) -> NewSchedule<'a> {
        NewSchedule {
            name: &self.name,
            task: &self.task,
            schedule_info: &self.schedule_info,
            time_zone: self.time_zone.as_deref(),
            payload: &self.payload,
            queue_name: self.queue.as_deref(),
            priority: self.priority,
            attempts_max: self.attempts_max,
            key: self.key.as_deref(),
            missed: self.missed,
            jitter: Duration::from_secs(self.jitter_secs.into()),
            plan,
        }
    }

    fn wrong_values(&self) -> Vec<WrongField> {
        let mut found = Vec::new();
        let mut wrong = |field, why| found.push(WrongField { field, why });
        let texts = [
            (Field::Name, Some(&self.name), NAME_MAX),
            (Field::Task, Some(&self.task), TASK_MAX),
            (Field::Queue, self.queue.as_ref(), TASK_MAX),
            (Field::Key, self.key.as_ref(), KEY_MAX),
        ];
        for (field, text, max) in texts {
            let Some(text) = text else { continue };
            if !(1..=max).contains(&text.chars().count()) {
                wrong(field, WrongValue::Length { max });
            } else if text.contains('\0') {
                wrong(field, WrongValue::Nul);
            }
        }
        if model::is_only_asked_for(&self.task) {
            let task = self.task.clone();
            wrong(Field::Task, WrongValue::OnlyAskedFor { task });
        }
        if self.schedule_info.to_string().len() > RULE_BYTES_MAX {
            wrong(Field::Rule, WrongValue::Large);
        } else if has_nul(&self.schedule_info) {
            wrong(Field::Rule, WrongValue::Nul);
        }
        if has_nul(&self.payload) {
            wrong(Field::Payload, WrongValue::Nul);
        }
        if self.attempts_max.is_some_and(|tries| tries < 1) {
            wrong(Field::AttemptsMax, WrongValue::Tries);
        }
        let max_secs = JITTER_MAX.as_secs();
        if u64::from(self.jitter_secs) > max_secs {
            wrong(Field::JitterSecs, WrongValue::Jitter { max_secs });
        }
        found
    }
}

/// Whether a text in it has a character that the database cannot keep.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nightly() -> Declaration {
        Declaration {
            name: "nightly".into(),
            task: "report".into(),
            schedule_info: json!({"rule": "30 2 * * *"}),
            time_zone: Some("Europe/Paris".into()),
            payload: json!({}),
            queue: None,
            priority: 0,
            attempts_max: None,
            key: None,
            missed: Missed::Last,
            jitter_secs: 0,
        }
    }

    fn wrong(declaration: &Declaration) -> Vec<String> {
        let now = "2026-06-01T12:00:00Z".parse().expect("an instant");
        let wrong = declaration.plan(now).expect_err("it is wrong");
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_right_has_a_plan_in_its_zone() {
        let now = "2026-06-01T12:00:00Z".parse().expect("an instant");
        let plan = nightly().plan(now).expect("a plan");
        let next = plan.next.expect("a tick").to_rfc3339();
        assert_eq!(next, "2026-06-02T00:30:00+00:00");
    }

    #[test]
    fn what_is_only_asked_for_has_no_schedule_of_its_own() {
        let declaration = Declaration {
            task: "task-bulk".into(),
            ..nightly()
        };
        let wrong = wrong(&declaration);
        assert!(
            wrong[0].starts_with("task: task-bulk does in bulk"),
            "{wrong:?}"
        );
    }

    #[test]
    fn all_that_is_wrong_is_told_at_its_field() {
        let declaration = Declaration {
            name: String::new(),
            task: "x".repeat(127),
            schedule_info: json!({"rule": "61 * * * *"}),
            payload: json!({"a": ["\0"]}),
            queue: Some("\0".into()),
            attempts_max: Some(0),
            key: Some(String::new()),
            jitter_secs: 90_000,
            ..nightly()
        };
        assert_eq!(
            wrong(&declaration),
            [
                "name: write 1 to 200 characters",
                "task: write 1 to 126 characters",
                "queue: the character NUL is refused; remove it",
                "key: write 1 to 512 characters",
                "payload: the character NUL is refused; remove it",
                "attempts_max: one try is the least",
                "jitter_secs: 86400, a day, is the most",
                "rule: the minute, \"61\", is wrong: write a number of 0-59, a list 1,2, a range 1-5 or a step */2",
            ]
        );
    }

    #[test]
    fn what_is_wrong_about_a_rule_is_told_where_it_was_written() {
        let of = |info: Value, zone: &str| {
            let declaration = Declaration {
                schedule_info: info,
                time_zone: Some(zone.into()),
                ..nightly()
            };
            let mut wrong = wrong(&declaration);
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            let text = wrong.remove(0);
            text.split_once(": ").expect("a field").0.to_owned()
        };
        let daily = json!({"rule": "0 0 * * *"});
        assert_eq!(of(daily, "Paris"), "time_zone");
        assert_eq!(
            of(json!({"hour": 1, "tz": "UTC"}), "Europe/Paris"),
            "time_zone"
        );
        let edge = |name: &str| json!({"rule": "0 0 * * *", name: "soon"});
        assert_eq!(of(edge("start"), "UTC"), "start");
        assert_eq!(of(edge("end"), "UTC"), "end");
        assert_eq!(of(json!("2020-01-01T00:00:00Z"), "UTC"), "rule");
        let long = vec![1; RULE_BYTES_MAX];
        assert_eq!(of(json!({"rule": {"hour": long}}), "UTC"), "rule");
    }
}
