//! What people write into triggers and bindings, beside what an event says: the first line is theirs, the rest is the event.

use std::time::{Duration, Instant};

use model::{Condition, TagPattern};
use serde_json::{Value, json};
use triggers::cel::{Compiled, Subject};
use triggers::{tags, template};

/// Far beyond what an answer may take, also where nothing is optimised.
const TIME_MAX: Duration = Duration::from_secs(20);

fn lines(data: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.split_once('\n').unwrap_or((text, "null")))
}

/// A condition that compiles is answered in time, whatever it asks.
///
/// # Panics
/// When it is not.
pub fn ask_condition(data: &[u8]) {
    let Some((expression, event)) = lines(data) else {
        return;
    };
    let condition = json!({"language": "cel", "expression": expression});
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let Ok(condition) = serde_json::from_value::<Condition>(condition) else {
        return;
    };
    let begun = Instant::now();
    if let Ok(compiled) = Compiled::new(&condition) {
        let first = compiled.holds(&Subject::new(&event));
        let again = compiled.holds(&Subject::new(&event));
        assert_eq!(first.is_ok(), again.is_ok(), "{expression}");
    }
    assert!(begun.elapsed() < TIME_MAX, "{expression}");
}

/// A payload that can be made has its bounds, and no key that its template has not.
///
/// # Panics
/// When it has.
pub fn make_payload(data: &[u8]) {
    let Some((text, event)) = lines(data) else {
        return;
    };
    let payload = json!({"made": text});
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let begun = Instant::now();
    let good = template::check(&payload).is_ok();
    if let Ok(made) = template::render(&payload, &event) {
        assert!(good, "what is made was refused before: {text}");
        let keys: Vec<&String> = made
            .as_object()
            .into_iter()
            .flat_map(|it| it.keys())
            .collect();
        assert_eq!(keys, ["made"], "{text}");
        assert!(
            made["made"].to_string().len() <= 2 * template::PAYLOAD_BYTES_MAX,
            "{text}"
        );
    }
    assert!(begun.elapsed() < TIME_MAX, "{text}");
}

/// A pattern that is taken can be asked about any tag.
///
/// # Panics
/// When it cannot.
pub fn fit_tag(data: &[u8]) {
    let Some((pattern, tag)) = lines(data) else {
        return;
    };
    let value = serde_json::from_str(pattern).unwrap_or_else(|_| Value::from(pattern));
    let Ok(pattern) = TagPattern::try_from(value) else {
        return;
    };
    if tags::check(&pattern).is_ok() {
        let fits = tags::fits(&pattern, tag);
        assert!(fits.is_ok(), "{pattern:?}: {fits:?}");
    }
}
