//! When a schedule ticks: cron texts and node-schedule's objects, read in a time zone.
//!
//! # Summer time
//!
//! Where hour, minute and second are all named (`30 2 * * *`, `{"hour": [2, 14]}`), the rule is a list of *times*. A time
//! that the clock skips is a tick at the first moment after the gap, once however many of them the gap swallows; a time
//! that the clock repeats is a tick when it comes first, and not again. So a daily rule ticks once a day, as Vixie cron
//! has it.
//!
//! Where one of them is open (`*`, `*/15`, `0/15`, a field that an object leaves out), the rule is an *interval*: what the
//! clock skips is skipped, and what it repeats ticks both times, so that every quarter of an hour stays every quarter of an
//! hour.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde_json::{Map, Value};

/// Characters of a cron text, at most.
const TEXT_MAX: usize = 500;
/// Times of the clock that are looked at for one tick: more than the longest hour that is repeated has, each second a time.
const LOOKS_MAX: usize = 2 * 24 * 3600;
/// Characters of a wrong value that an error repeats.
const SHOWN_MAX: usize = 100;
/// Ticks by which the shortest interval is estimated.
const INTERVALS_MAX: usize = 200;
/// Years that a rule may name.
const YEARS: (i64, i64) = (1970, 4999);

/// The fields of a cron text from the left, seconds first.
const CRON_FIELDS: [CronField; 6] = [
    CronField::new("second", "0-59"),
    CronField::new("minute", "0-59"),
    CronField::new("hour", "0-23"),
    CronField::new("day of the month", "1-31, L for the last"),
    CronField::new("month", "1-12 or JAN-DEC"),
    CronField::new("day of the week", "0-7 or SUN-SAT, 0 and 7 being Sunday"),
];

struct CronField {
    name: &'static str,
    range: &'static str,
}

impl CronField {
    const fn new(name: &'static str, range: &'static str) -> Self {
        Self { name, range }
    }
}

/// The fields of an object, in the order of the cron text that is made of them.
const OBJECT_FIELDS: [ObjectField; 7] = [
    ObjectField::new("second", 0, 59),
    ObjectField::new("minute", 0, 59),
    ObjectField::new("hour", 0, 23),
    ObjectField::new("date", 1, 31),
    ObjectField::new("month", 0, 11),
    ObjectField::new("dayOfWeek", 0, 7),
    ObjectField::new("year", YEARS.0, YEARS.1),
];

struct ObjectField {
    name: &'static str,
    min: i64,
    max: i64,
}

impl ObjectField {
    const fn new(name: &'static str, min: i64, max: i64) -> Self {
        Self { name, min, max }
    }
}

/// What an object may have besides its fields: its zone, and what a `RecurrenceRule` that was written as JSON has.
const OBJECT_EXTRAS: [&str; 2] = ["tz", "recurs"];

/// When a schedule ticks.
#[derive(Debug, Clone)]
pub struct Rule {
    when: When,
    zone: Tz,
    /// Ticks come after it, as in node-schedule: one at that very instant does not.
    start: Option<DateTime<Utc>>,
    /// The last instant at which there may be a tick.
    end: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone)]
enum When {
    Times(Box<Cron>),
    Intervals(Box<Cron>),
    Once(DateTime<Utc>),
}

/// Why a text or value is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongRule {
    /// Of a kind that is none.
    #[error(
        "a rule is a text such as \"*/5 * * * *\", an object such as {{\"hour\": 9, \"minute\": 30}}, or an instant; \
         this is {0}"
    )]
    NoRule(&'static str),
    /// A cron text has a number of fields.
    #[error(
        "a cron rule has five fields (minute, hour, day of the month, month, day of the week), or six with seconds \
         first; {text:?} has {count}"
    )]
    FieldCount {
        /// The text.
        text: String,
        /// How many it has.
        count: usize,
    },
    /// One field of a cron text.
    #[error(
        "the {field}, {text:?}, is wrong: write a number of {range}, a list 1,2, a range 1-5 or a step */2"
    )]
    Field {
        /// Which.
        field: &'static str,
        /// What it says.
        text: String,
        /// What it may say.
        range: &'static str,
    },
    /// A text as a whole, with croner's words.
    #[error("{text:?} is no cron rule: {problem}")]
    Text {
        /// The text.
        text: String,
        /// What croner says.
        problem: String,
    },
    /// Too long to be looked at.
    #[error("a cron rule has at most {TEXT_MAX} characters")]
    TooLong,
    /// One field of an object.
    #[error(
        "{field} is {value}: write a number of {min} to {max}, a list of them, or {{\"start\": …, \"end\": …, \"step\": …}}"
    )]
    Value {
        /// Which.
        field: &'static str,
        /// What it says.
        value: String,
        /// The smallest number.
        min: i64,
        /// The largest number.
        max: i64,
    },
    /// A field that no object has.
    #[error(
        "a rule has no {0:?}; there are year, month, date, dayOfWeek, hour, minute, second, tz and rule, start, end"
    )]
    Unknown(String),
    /// No instant.
    #[error(
        "{name} is {value}: write an instant such as \"2026-12-01T09:00:00Z\", or milliseconds since 1970"
    )]
    Instant {
        /// Of what.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// No time zone.
    #[error("there is no time zone {0:?}; write an IANA name such as \"Europe/Paris\"")]
    Zone(String),
    /// Two time zones.
    #[error("the rule says tz {rule:?} and the schedule {schedule:?}; say it once")]
    TwoZones {
        /// The rule's.
        rule: String,
        /// The schedule's.
        schedule: String,
    },
    /// No tick, ever.
    #[error("this never comes: no tick of the rule is left, or its end is before it")]
    Never,
}

impl Rule {
    /// Reads what a schedule says: `schedule_info` as node-schedule takes it, and the schedule's time zone, for which
    /// otherwise the rule's `tz` stands, and else UTC.
    ///
    /// # Errors
    /// What is wrong, where, and how to write it.
    pub fn parse(schedule_info: &Value, time_zone: Option<&str>) -> Result<Self, WrongRule> {
        let object = schedule_info.as_object();
        let named = match object.and_then(|object| object.get("tz")) {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(other) => return Err(WrongRule::Zone(shown(other))),
        };
        let zone = match (named, time_zone) {
            (Some(rule), Some(schedule)) if rule != schedule => {
                return Err(WrongRule::TwoZones {
                    rule: shown(rule),
                    schedule: shown(schedule),
                });
            }
            (Some(name), _) | (None, Some(name)) => zone(name)?,
            (None, None) => Tz::UTC,
        };
        let Some(wrapped) = object.filter(|object| object.get("rule").is_some_and(is_something))
        else {
            return Ok(Self {
                when: when(schedule_info, zone)?,
                zone,
                start: None,
                end: None,
            });
        };
        let known = ["rule", "start", "end", "tz"];
        if let Some(name) = wrapped.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(WrongRule::Unknown(shown(name)));
        }
        let edge = |name: &'static str| match wrapped.get(name) {
            Some(value) if is_something(value) => instant(name, value, zone).map(Some),
            Some(_) | None => Ok(None),
        };
        Ok(Self {
            when: when(&wrapped["rule"], zone)?,
            zone,
            start: edge("start")?,
            end: edge("end")?,
        })
    }

    /// The zone in which the fields are read.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// The first tick later than `instant`; nothing when there is none any more.
    #[must_use]
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = self.start.map_or(instant, |start| start.max(instant));
        let next = match &self.when {
            When::Once(at) => (*at > after).then_some(*at),
            When::Times(cron) => next_time(cron, self.zone, after),
            When::Intervals(cron) => cron
                .find_next_occurrence(&after.with_timezone(&self.zone), false)
                .ok()
                .map(|next| next.with_timezone(&Utc)),
        }?;
        self.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// The ticks later than `instant`, in order.
    pub fn after(&self, instant: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(instant), |last| self.next_after(*last))
    }

    /// The shortest time between two of the next 200 ticks; nothing where there are not two.
    #[must_use]
    pub fn shortest_interval(&self, from: DateTime<Utc>) -> Option<TimeDelta> {
        let ticks: Vec<_> = self.after(from).take(INTERVALS_MAX).collect();
        ticks.windows(2).map(|pair| pair[1] - pair[0]).min()
    }
}

/// The names of all time zones.
pub fn zones() -> impl Iterator<Item = &'static str> {
    chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
}

/// The beginning of what was given, for an error.
fn shown(text: &(impl ToString + ?Sized)) -> String {
    text.to_string().chars().take(SHOWN_MAX).collect()
}

/// What JavaScript takes for true, where a value is asked for: not null, and not an empty text.
fn is_something(value: &Value) -> bool {
    !(value.is_null() || value == "")
}

fn zone(name: &str) -> Result<Tz, WrongRule> {
    name.parse().map_err(|_| WrongRule::Zone(shown(name)))
}

fn when(rule: &Value, zone: Tz) -> Result<When, WrongRule> {
    match rule {
        Value::String(text) if is_date(text) => instant("the rule", rule, zone).map(When::Once),
        Value::String(text) => cron_text(text),
        Value::Number(_) => instant("the rule", rule, zone).map(When::Once),
        Value::Object(fields) => cron_object(fields),
        Value::Null => Err(WrongRule::NoRule("null")),
        Value::Bool(_) => Err(WrongRule::NoRule("true or false")),
        Value::Array(_) => Err(WrongRule::NoRule("a list")),
    }
}

/// Whether a text begins as a date does and no cron rule can.
fn is_date(text: &str) -> bool {
    let digits = text.trim().bytes().take_while(u8::is_ascii_digit).count();
    digits == 4 && text.trim().as_bytes().get(4) == Some(&b'-')
}

/// An instant as JSON has it. A text without an offset is read in the zone.
fn instant(name: &'static str, value: &Value, zone: Tz) -> Result<DateTime<Utc>, WrongRule> {
    let read = match value {
        Value::Number(number) => number.as_i64().and_then(DateTime::from_timestamp_millis),
        Value::String(text) => DateTime::parse_from_rfc3339(text.trim())
            .map(|at| at.to_utc())
            .ok()
            .or_else(|| {
                let text = text.trim();
                let civil = text.parse::<NaiveDateTime>();
                // As people write it, and browsers: without seconds.
                let civil =
                    civil.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M"));
                let civil = civil.ok()?;
                Some(in_zone(zone, civil))
            }),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    // Ticks are whole seconds, and Postgres has no more than microseconds.
    read.and_then(|at| at.with_nanosecond(at.nanosecond() / 1000 * 1000))
        .ok_or_else(|| WrongRule::Instant {
            name,
            value: shown(value),
        })
}

fn parser() -> croner::parser::CronParserBuilder {
    // `0/5` is "from 0, every 5" to cron-parser, which node-schedule uses, as well as to robfig/cron.
    CronParser::builder().sloppy_ranges(true)
}

fn cron_text(text: &str) -> Result<When, WrongRule> {
    if text.len() > TEXT_MAX {
        return Err(WrongRule::TooLong);
    }
    let written = match text.trim().to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => text,
    };
    let mut fields: Vec<&str> = written.split_whitespace().collect();
    match fields.len() {
        5 => fields.insert(0, "0"),
        6 => {}
        count => {
            return Err(WrongRule::FieldCount {
                text: shown(text),
                count,
            });
        }
    }
    let parser = parser()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .build();
    let cron = parser.parse(&fields.join(" ")).map_err(|error| {
        // croner does not say where: the field that is wrong by itself is.
        let wrong = (0..fields.len()).find(|at| {
            let mut alone = ["*"; 6];
            alone[*at] = fields[*at];
            parser.parse(&alone.join(" ")).is_err()
        });
        match wrong {
            Some(at) => WrongRule::Field {
                field: CRON_FIELDS[at].name,
                text: shown(fields[at]),
                range: CRON_FIELDS[at].range,
            },
            None => WrongRule::Text {
                text: shown(text),
                problem: error.to_string(),
            },
        }
    })?;
    let cron = Box::new(cron);
    Ok(if fields[..3].iter().any(|field| is_open(field)) {
        When::Intervals(cron)
    } else {
        When::Times(cron)
    })
}

/// Whether a field goes on without naming an end: `*`, `*/5`, `0/5`.
fn is_open(field: &str) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part
            .split_once('/')
            .map_or((part, None), |(a, b)| (a, Some(b)));
        range.contains('*') || (step.is_some() && !range.contains('-'))
    })
}

/// An object of fields, all of which must hold: unlike in a cron text also both of the days.
fn cron_object(fields: &Map<String, Value>) -> Result<When, WrongRule> {
    let known = |name: &str| {
        OBJECT_EXTRAS.contains(&name) || OBJECT_FIELDS.iter().any(|field| field.name == name)
    };
    if let Some(name) = fields.keys().find(|name| !known(name)) {
        return Err(WrongRule::Unknown(shown(name)));
    }
    let mut texts = Vec::with_capacity(OBJECT_FIELDS.len());
    for field in &OBJECT_FIELDS {
        let given = fields.get(field.name).unwrap_or(&Value::Null);
        let numbers = match given {
            // What is left out is any, but for the second.
            Value::Null if field.name == "second" && !fields.contains_key(field.name) => {
                Some(BTreeSet::from([0]))
            }
            Value::Null => None,
            given => Some(numbers(field, given, given)?),
        };
        texts.push(text_of(field, numbers));
    }
    let open = texts[..3].iter().any(|text| text == "*");
    let text = texts.join(" ");
    let cron = parser()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .dom_and_dow(true)
        .build()
        .parse(&text)
        .map_err(|error| WrongRule::Text {
            text,
            problem: error.to_string(),
        })?;
    let cron = Box::new(cron);
    Ok(if open {
        When::Intervals(cron)
    } else {
        When::Times(cron)
    })
}

/// The numbers that a field's value stands for.
fn numbers(field: &ObjectField, value: &Value, whole: &Value) -> Result<BTreeSet<i64>, WrongRule> {
    let wrong = || WrongRule::Value {
        field: field.name,
        value: shown(whole),
        min: field.min,
        max: field.max,
    };
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let found = match value {
        Value::Array(values) => {
            let mut all = BTreeSet::new();
            for value in values {
                all.extend(numbers(field, value, whole)?);
            }
            all
        }
        Value::Object(range) => {
            if range
                .keys()
                .any(|name| !["start", "end", "step"].contains(&name.as_str()))
            {
                return Err(wrong());
            }
            // As node-schedule has it: what is 0 or left out is 0, 60 and 1, and the end belongs to a range of step 1 alone.
            let part = |name: &str, default: i64| match range.get(name) {
                None | Some(Value::Null) => Some(default),
                Some(value) => number(value).map(|given| if given == 0 { default } else { given }),
            };
            let start = part("start", 0).ok_or_else(wrong)?;
            let end = part("end", 60).ok_or_else(wrong)?;
            let step = part("step", 1).ok_or_else(wrong)?;
            if step < 0 {
                return Err(wrong());
            }
            (field.min..=field.max)
                .filter(|n| {
                    if step == 1 {
                        (start..=end).contains(n)
                    } else {
                        (start..end).contains(n) && (n - start) % step == 0
                    }
                })
                .collect()
        }
        value => {
            let number = number(value).filter(|n| (field.min..=field.max).contains(n));
            BTreeSet::from([number.ok_or_else(wrong)?])
        }
    };
    if found.is_empty() {
        return Err(wrong());
    }
    Ok(found)
}

/// A field of a cron text. Months count from 0 in an object and from 1 in a cron text.
fn text_of(field: &ObjectField, numbers: Option<BTreeSet<i64>>) -> String {
    let Some(numbers) = numbers else {
        return "*".to_owned();
    };
    let whole = (field.min..=field.max).all(|n| {
        // Sunday has two numbers.
        numbers.contains(&n)
            || (field.name == "dayOfWeek" && [0, 7].contains(&n) && numbers.contains(&(7 - n)))
    });
    if whole {
        return "*".to_owned();
    }
    let shift = i64::from(field.name == "month");
    let texts: Vec<String> = numbers.iter().map(|n| (n + shift).to_string()).collect();
    texts.join(",")
}

/// The first of a list of times of the clock that comes after an instant. croner walks the clock's face, which knows no
/// summer time (as UTC does not); each time is then looked up in the zone.
fn next_time(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut civil = after.with_timezone(&zone).naive_local().and_utc();
    let mut first = true;
    for _ in 0..LOOKS_MAX {
        civil = cron.find_next_occurrence(&civil, first).ok()?;
        first = false;
        let at = in_zone(zone, civil.naive_utc());
        // Not so for what the gap before swallowed, or in the second run of a repeated hour.
        if at > after {
            return Some(at);
        }
    }
    None
}

/// When a clock in the zone shows a time: the first time that it does, or the first moment after the gap in which it never
/// does.
fn in_zone(zone: Tz, civil: NaiveDateTime) -> DateTime<Utc> {
    let found = zone.from_local_datetime(&civil).earliest();
    let found = found.or_else(|| GapInfo::new(&civil, &zone)?.end);
    // A gap at the end of what is known of a zone has no end; there its time is taken for UTC.
    found.map_or_else(|| civil.and_utc(), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn ticks(rule: &Value, zone: Option<&str>, after: &str, count: usize) -> Vec<String> {
        let rule = Rule::parse(rule, zone).expect("a rule");
        let found = rule.after(at(after)).take(count);
        found
            .map(|at| at.format("%m-%d %H:%M:%S").to_string())
            .collect()
    }

    fn refused(rule: &Value) -> String {
        let error = Rule::parse(rule, None).expect_err("no rule");
        error.to_string()
    }

    #[test]
    fn five_fields_tick_at_second_zero_and_six_begin_with_seconds() {
        let noon = "2026-06-01T12:00:00Z";
        assert_eq!(
            ticks(&json!("*/20 * * * *"), None, noon, 3),
            ["06-01 12:20:00", "06-01 12:40:00", "06-01 13:00:00"]
        );
        assert_eq!(
            ticks(&json!("*/20 * * * * *"), None, noon, 3),
            ["06-01 12:00:20", "06-01 12:00:40", "06-01 12:01:00"]
        );
        assert_eq!(ticks(&json!("@daily"), None, noon, 1), ["06-02 00:00:00"]);
        assert_eq!(
            ticks(&json!("0 9 * * 7"), None, noon, 1),
            ["06-07 09:00:00"]
        );
        assert_eq!(
            ticks(&json!("0 9 * * MON-FRI"), Some("Asia/Tokyo"), noon, 1),
            ["06-02 00:00:00"]
        );
    }

    #[test]
    fn an_object_has_months_from_0_and_all_its_fields_must_hold() {
        let january = "2026-01-01T00:00:00Z";
        assert_eq!(
            ticks(&json!({"hour": [9, 17], "minute": 30}), None, january, 3),
            ["01-01 09:30:00", "01-01 17:30:00", "01-02 09:30:00"]
        );
        // In a cron text it would be the 13th or a Friday.
        assert_eq!(
            ticks(
                &json!({"date": 13, "dayOfWeek": 5, "hour": 0, "minute": 0}),
                None,
                january,
                2
            ),
            ["02-13 00:00:00", "03-13 00:00:00"]
        );
        assert_eq!(
            ticks(
                &json!({"month": 1, "date": 1, "hour": 0, "minute": 0}),
                None,
                january,
                1
            ),
            ["02-01 00:00:00"]
        );
        assert_eq!(
            ticks(
                &json!({"year": [2026, 2028], "month": 0, "date": 1, "hour": 0, "minute": 0}),
                None,
                january,
                9
            )
            .len(),
            1
        );
        assert_eq!(
            ticks(&json!({"year": 2025}), None, january, 1),
            Vec::<String>::new()
        );
        for sunday in [json!(0), json!(7), json!([7]), json!("0")] {
            assert_eq!(
                ticks(
                    &json!({"dayOfWeek": sunday, "hour": 1, "minute": 0}),
                    None,
                    january,
                    1
                ),
                ["01-04 01:00:00"]
            );
        }
    }

    #[test]
    fn what_an_object_leaves_out_is_any_but_for_the_second() {
        let noon = "2026-06-01T12:00:30Z";
        assert_eq!(
            ticks(&json!({}), None, noon, 2),
            ["06-01 12:01:00", "06-01 12:02:00"]
        );
        assert_eq!(
            ticks(&json!({"hour": null, "minute": 5}), None, noon, 1),
            ["06-01 12:05:00"]
        );
        assert_eq!(
            ticks(&json!({"second": null}), None, noon, 2),
            ["06-01 12:00:31", "06-01 12:00:32"]
        );
        assert_eq!(
            ticks(&json!({"second": [15, 45]}), None, noon, 1),
            ["06-01 12:00:45"]
        );
    }

    #[test]
    fn a_range_with_a_step_leaves_its_end_out_and_one_without_has_it() {
        let hour = "2026-06-01T12:00:00Z";
        let minutes = |range: Value, count| ticks(&json!({"minute": range}), None, hour, count);
        assert_eq!(
            minutes(json!({"start": 57, "end": 59}), 4),
            [
                "06-01 12:57:00",
                "06-01 12:58:00",
                "06-01 12:59:00",
                "06-01 13:57:00"
            ]
        );
        assert_eq!(
            minutes(json!({"start": 10, "end": 30, "step": 10}), 3),
            ["06-01 12:10:00", "06-01 12:20:00", "06-01 13:10:00"]
        );
        assert_eq!(
            minutes(json!([5, {"start": 30, "step": 20}]), 4),
            [
                "06-01 12:05:00",
                "06-01 12:30:00",
                "06-01 12:50:00",
                "06-01 13:05:00"
            ]
        );
        // As node-schedule writes it to JSON.
        let written = json!({
            "recurs": true, "year": null, "month": null, "date": null,
            "dayOfWeek": [0, {"start": 4, "end": 6, "step": 1}], "hour": 17, "minute": 0, "second": 0,
        });
        assert_eq!(
            ticks(&written, None, "2026-06-01T12:00:00Z", 4),
            [
                "06-04 17:00:00",
                "06-05 17:00:00",
                "06-06 17:00:00",
                "06-07 17:00:00"
            ]
        );
    }

    #[test]
    fn ticks_come_after_the_start_and_not_after_the_end() {
        let rule = json!({
            "rule": "*/5 * * * *", "start": "2026-06-01T12:00:00.000Z", "end": "2026-06-01T12:10:00.000Z",
        });
        assert_eq!(
            ticks(&rule, None, "2026-01-01T00:00:00Z", 9),
            ["06-01 12:05:00", "06-01 12:10:00"]
        );
        let rule = json!({"rule": {"minute": 0}, "start": 1_780_315_200_000_i64, "end": null, "tz": "Europe/Paris"});
        assert_eq!(
            ticks(&rule, None, "2026-01-01T00:00:00Z", 1),
            ["06-01 13:00:00"]
        );
    }

    #[test]
    fn an_instant_is_one_tick() {
        let before = "2026-06-01T12:00:00Z";
        for (rule, zone) in [
            (json!("2026-12-01T09:00:00Z"), None),
            (json!("2026-12-01T10:00:00"), Some("Europe/Paris")),
            (json!({"rule": "2026-12-01T12:00:00+03:00"}), None),
            (json!({"rule": 1_796_115_600_000_i64}), None),
        ] {
            assert_eq!(ticks(&rule, zone, before, 9), ["12-01 09:00:00"], "{rule}");
            assert_eq!(
                ticks(&rule, zone, "2026-12-01T09:00:00Z", 9),
                Vec::<String>::new()
            );
        }
    }

    // On 29 March 2026 the clocks of Paris go from 02:00 to 03:00, which is 01:00 UTC.
    #[test]
    fn a_time_in_the_gap_ticks_once_when_the_gap_is_over() {
        let paris = Some("Europe/Paris");
        for rule in [json!("30 2 * * *"), json!({"hour": 2, "minute": 30})] {
            assert_eq!(
                ticks(&rule, paris, "2026-03-27T12:00:00Z", 3),
                ["03-28 01:30:00", "03-29 01:00:00", "03-30 00:30:00"],
                "{rule}"
            );
        }
        // Three times of the list are one tick, one of which is not in the gap.
        assert_eq!(
            ticks(&json!("0,30 2,3 * * *"), paris, "2026-03-28T12:00:00Z", 3),
            ["03-29 01:00:00", "03-29 01:30:00", "03-30 00:00:00"]
        );
        assert_eq!(
            ticks(&json!("0 12 * * *"), paris, "2026-03-28T00:00:00Z", 3),
            ["03-28 11:00:00", "03-29 10:00:00", "03-30 10:00:00"]
        );
    }

    // On 25 October 2026 they go from 03:00 to 02:00, which is 01:00 UTC.
    #[test]
    fn a_time_that_is_repeated_ticks_when_it_comes_first() {
        let paris = Some("Europe/Paris");
        for rule in [
            json!("30 2,14 * * *"),
            json!({"hour": [2, 14], "minute": 30}),
        ] {
            assert_eq!(
                ticks(&rule, paris, "2026-10-24T13:00:00Z", 3),
                ["10-25 00:30:00", "10-25 13:30:00", "10-26 01:30:00"],
                "{rule}"
            );
            // Also when somebody looks between the two.
            assert_eq!(
                ticks(&rule, paris, "2026-10-25T01:10:00Z", 1),
                ["10-25 13:30:00"]
            );
        }
    }

    #[test]
    fn an_interval_skips_what_the_clock_skips_and_repeats_what_it_repeats() {
        let paris = Some("Europe/Paris");
        for rule in [
            json!("*/30 * * * *"),
            json!({"minute": [0, 30]}),
            json!("0/30 * * * *"),
        ] {
            assert_eq!(
                ticks(&rule, paris, "2026-03-29T00:30:00Z", 3),
                ["03-29 01:00:00", "03-29 01:30:00", "03-29 02:00:00"],
                "{rule}"
            );
            assert_eq!(
                ticks(&rule, paris, "2026-10-25T00:00:00Z", 4),
                [
                    "10-25 00:30:00",
                    "10-25 01:00:00",
                    "10-25 01:30:00",
                    "10-25 02:00:00"
                ],
                "{rule}"
            );
        }
        assert_eq!(
            ticks(&json!("*/30 2 * * *"), paris, "2026-03-28T12:00:00Z", 2),
            ["03-30 00:00:00", "03-30 00:30:00"]
        );
    }

    #[test]
    fn a_zone_whose_half_hours_or_midnights_move_is_no_exception() {
        // Lord Howe Island moves by half an hour: 02:00 becomes 02:30 on 4 October 2026, which is 15:30 UTC the day before.
        assert_eq!(
            ticks(
                &json!("15 2 * * *"),
                Some("Australia/Lord_Howe"),
                "2026-10-02T12:00:00Z",
                3
            ),
            ["10-02 15:45:00", "10-03 15:30:00", "10-04 15:15:00"]
        );
        // In Beirut midnight is in the gap: 00:00 becomes 01:00 on 29 March 2026, which is 22:00 UTC the day before.
        assert_eq!(
            ticks(
                &json!("0 0 * * *"),
                Some("Asia/Beirut"),
                "2026-03-27T00:00:00Z",
                3
            ),
            ["03-27 22:00:00", "03-28 22:00:00", "03-29 21:00:00"]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_how_to_write_it() {
        for (rule, words) in [
            (json!("* * * *"), vec!["five fields", "six", "has 4"]),
            (json!("61 * * * *"), vec!["minute", "61", "0-59"]),
            (
                json!("0 0 * * MONDAY"),
                vec!["day of the week", "MONDAY", "SUN-SAT"],
            ),
            (json!("0 25 * * *"), vec!["hour", "25", "0-23"]),
            (json!("0 0 0 1 13 *"), vec!["month", "13", "1-12"]),
            (json!("x * * * * *"), vec!["second", "\"x\""]),
            (json!("*/0 * * * *"), vec!["minute", "*/0"]),
            (json!(""), vec!["has 0"]),
            (json!("* ".repeat(300)), vec!["500 characters"]),
            (json!({"hours": 9}), vec!["\"hours\"", "hour"]),
            (json!({"hour": 24}), vec!["hour is 24", "0 to 23"]),
            (json!({"hour": [1, "x"]}), vec!["hour is [1,\"x\"]"]),
            (json!({"minute": []}), vec!["minute is []"]),
            (json!({"month": 12}), vec!["month is 12", "0 to 11"]),
            (json!({"minute": 1.5}), vec!["minute is 1.5"]),
            (json!({"minute": {"start": 1, "to": 5}}), vec!["\"start\""]),
            (json!({"minute": {"start": 50, "end": 40}}), vec!["minute"]),
            (
                json!({"rule": "* * * * *", "until": 1}),
                vec!["\"until\"", "end"],
            ),
            (
                json!({"rule": "* * * * *", "start": "soon"}),
                vec!["start is \"soon\"", "2026-12-01T09:00:00Z"],
            ),
            (
                json!({"rule": "* * * * *", "tz": "Paris"}),
                vec!["\"Paris\"", "Europe/Paris"],
            ),
            (
                json!("2026-13-01T00:00:00Z"),
                vec!["the rule is", "2026-13"],
            ),
            (json!(null), vec!["null"]),
            (json!([1]), vec!["a list"]),
            (json!({"rule": true}), vec!["true or false"]),
        ] {
            let said = refused(&rule);
            for word in words {
                assert!(
                    said.contains(word),
                    "{rule}: {said:?} does not say {word:?}"
                );
            }
        }
        let two = Rule::parse(
            &json!({"minute": 1, "tz": "Europe/Paris"}),
            Some("Asia/Tokyo"),
        );
        assert!(matches!(two, Err(WrongRule::TwoZones { .. })));
        assert!(
            Rule::parse(
                &json!({"minute": 1, "tz": "Asia/Tokyo"}),
                Some("Asia/Tokyo")
            )
            .is_ok()
        );
    }

    #[test]
    fn a_rule_that_never_comes_is_found_out_soon() {
        for rule in [
            json!("0 0 30 2 *"),
            json!({"month": 1, "date": 30, "hour": 1, "minute": 1}),
        ] {
            assert_eq!(
                ticks(&rule, None, "2026-01-01T00:00:00Z", 1),
                Vec::<String>::new(),
                "{rule}"
            );
        }
    }

    #[test]
    fn the_shortest_interval_is_estimated_from_the_next_ticks() {
        let from = at("2026-06-01T00:00:00Z");
        let shortest = |rule: Value| {
            let rule = Rule::parse(&rule, None).expect("a rule");
            rule.shortest_interval(from).map(|time| time.num_seconds())
        };
        assert_eq!(shortest(json!("*/10 * * * * *")), Some(10));
        assert_eq!(shortest(json!("0 9,10 * * *")), Some(3600));
        assert_eq!(shortest(json!("59 * * * * *")), Some(60));
        assert_eq!(shortest(json!("2026-12-01T09:00:00Z")), None);
    }

    #[test]
    fn every_tick_is_later_than_the_one_before_all_year_round() {
        for zone in [
            "Europe/Paris",
            "America/Sao_Paulo",
            "Australia/Lord_Howe",
            "Africa/Cairo",
            "UTC",
        ] {
            for rule in [
                "*/29 * * * *",
                "0,30 0-3 * * *",
                "30 2 * * *",
                "0 0 1 * *",
                "13 3/5 * * *",
            ] {
                let rule = Rule::parse(&json!(rule), Some(zone)).expect("a rule");
                let mut last = at("2025-12-31T00:00:00Z");
                let end = at("2027-01-02T00:00:00Z");
                for tick in rule.after(last).take_while(|tick| *tick < end) {
                    assert!(tick > last, "{zone}: {tick} is not after {last}");
                    // From anywhere between two ticks the next is the same.
                    let between = last + (tick - last) / 2;
                    assert_eq!(
                        rule.next_after(between),
                        Some(tick),
                        "{zone} between {last} and {tick}"
                    );
                    last = tick;
                }
            }
        }
    }
}
