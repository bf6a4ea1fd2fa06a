//! `filter.attributes` of a Trigger, as Knative's brokers understand it.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, FixedOffset, SecondsFormat};

use crate::attribute::Value;
use crate::media_type;
use crate::message::{Message, Time};

/// The value that asks only for an attribute to be there with some text in it.
const ANY: &str = "";

/// What a filter says about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Deliver it.
    Pass,
    /// Do not, because of this clause, the first in the order of names that does not hold.
    Fail {
        /// The attribute that the clause names.
        attribute: String,
        /// The text that it asks for; empty asks for any text.
        expected: String,
        /// What the event has; `None` when it has no such attribute.
        actual: Option<Value>,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Fail {
            attribute,
            expected,
            actual,
        } = self
        else {
            return f.write_str("matched");
        };
        write!(f, "{attribute} ")?;
        match actual {
            None => f.write_str("is not set")?,
            Some(Value::String(text)) => write!(f, "is {text:?}")?,
            Some(Value::Integer(number)) => write!(f, "is the integer {number}")?,
            Some(Value::Boolean(truth)) => write!(f, "is the boolean {truth}")?,
        }
        if expected == ANY {
            f.write_str(", not any text")
        } else {
            write!(f, ", not {expected:?}")
        }
    }
}

/// Compares every clause with the event; all must hold, and none at all lets everything pass.
///
/// Text must be equal, case included. An integer or a boolean, which only an event in structured mode can have, never
/// equals a text, though it is there. `schemaurl` is another name for `dataschema`, `datamediatype` is `datacontenttype`
/// without its parameters, and `time` is compared in one spelling (`Z` for UTC, no trailing zeros in a fraction).
#[must_use]
pub fn matches(attributes: &BTreeMap<String, String>, message: &Message) -> Outcome {
    for (attribute, expected) in attributes {
        let actual = look_up(message, attribute);
        let holds = match &actual {
            None => false,
            Some(Value::String(text)) if expected == ANY => !text.is_empty(),
            Some(Value::String(text)) => text == expected,
            Some(Value::Boolean(_) | Value::Integer(_)) => expected == ANY,
        };
        if !holds {
            return Outcome::Fail {
                attribute: attribute.clone(),
                expected: expected.clone(),
                actual,
            };
        }
    }
    Outcome::Pass
}

fn look_up(message: &Message, attribute: &str) -> Option<Value> {
    match attribute {
        "schemaurl" => message.dataschema().map(Value::from),
        "datamediatype" => message
            .datacontenttype()
            .map(|content_type| media_type::essence(content_type).into()),
        "time" => message.time().map(Time::at).map(|at| spelled(at).into()),
        _ => message.attribute(attribute),
    }
}

/// RFC 3339 with as many digits of a second as it has.
fn spelled(at: DateTime<FixedOffset>) -> String {
    let text = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let Some((seconds, rest)) = text.split_once('.') else {
        return text;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, offset) = rest.split_at(digits);
    match fraction.trim_end_matches('0') {
        "" => format!("{seconds}{offset}"),
        fraction => format!("{seconds}.{fraction}{offset}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new("1", "/here", "t").expect("a valid event")
    }

    fn outcome(attribute: &str, expected: &str, message: &Message) -> Outcome {
        let clause = (attribute.to_owned(), expected.to_owned());
        matches(&BTreeMap::from([clause]), message)
    }

    #[test]
    fn the_failing_clause_comes_with_both_values() {
        let filter = [("type", "t"), ("source", "/there")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let failed = matches(&BTreeMap::from(filter), &message());
        let expected = Outcome::Fail {
            attribute: "source".to_owned(),
            expected: "/there".to_owned(),
            actual: Some("/here".into()),
        };
        assert_eq!(failed, expected);
        assert_eq!(failed.to_string(), r#"source is "/here", not "/there""#);
        let missing = outcome("subject", "", &message());
        assert_eq!(missing.to_string(), "subject is not set, not any text");
    }

    #[test]
    fn no_clause_lets_everything_pass() {
        assert_eq!(matches(&BTreeMap::new(), &message()), Outcome::Pass);
    }

    #[test]
    fn a_number_is_there_but_equals_no_text() {
        let message = message()
            .with_extension("depth", 3)
            .and_then(|message| message.with_extension("empty", ""))
            .expect("valid extensions");
        assert_eq!(outcome("depth", "", &message), Outcome::Pass);
        let failed = outcome("depth", "3", &message);
        assert_eq!(failed.to_string(), r#"depth is the integer 3, not "3""#);
        assert_ne!(outcome("empty", "", &message), Outcome::Pass);
    }

    #[test]
    fn the_type_of_data_is_compared_whole_and_its_media_type_without_parameters() {
        let message = message()
            .with_data("Text/Plain; charset=utf-8", "x")
            .expect("a media type");
        assert_eq!(
            outcome("datamediatype", "text/plain", &message),
            Outcome::Pass
        );
        assert_ne!(
            outcome("datacontenttype", "text/plain", &message),
            Outcome::Pass
        );
    }

    #[test]
    fn time_has_one_spelling() {
        for (given, spelling) in [
            ("2018-04-05T17:31:00Z", "2018-04-05T17:31:00Z"),
            ("2018-04-05T17:31:00.120+00:00", "2018-04-05T17:31:00.12Z"),
            ("2018-04-05T17:31:00.000+02:00", "2018-04-05T17:31:00+02:00"),
        ] {
            let message = message().with_time(given).expect("RFC 3339");
            assert_eq!(
                outcome("time", spelling, &message),
                Outcome::Pass,
                "{given}"
            );
        }
        assert_ne!(outcome("time", "", &message()), Outcome::Pass);
    }
}
