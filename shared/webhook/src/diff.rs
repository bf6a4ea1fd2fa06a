//! What two deliveries have that the other has not: headers, and JSON bodies value by value.

use serde::Serialize;
use serde_json::Value;

/// How many differences are listed.
const CHANGES_MAX: usize = 1000;
/// How many characters of a value are shown.
const SHOWN_CHARS_MAX: usize = 300;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where: a header's name, or a JSON Pointer (RFC 6901) into the body.
    pub at: String,
    /// What the first one has; nothing when it has nothing there.
    pub before: Option<String>,
    /// What the second one has.
    pub after: Option<String>,
}

/// How two bodies differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BodyDiff {
    /// Byte for byte they are the same.
    Same,
    /// Both are JSON.
    Json {
        /// Where they differ, in the order of the first one; none when only white space or order does.
        changes: Vec<Change>,
        /// Whether there are more differences than are listed.
        more: bool,
    },
    /// At least one is no JSON, and they are not the same.
    Bytes {
        /// Where the first byte differs, counted from 0.
        first: usize,
    },
}

/// What differs between the stored headers of two deliveries.
#[must_use]
pub fn headers(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(String::new(), before, after, &mut changes);
    for change in &mut changes {
        change.at = change.at.trim_start_matches('/').to_owned();
    }
    changes.truncate(CHANGES_MAX);
    changes
}

/// What differs between two bodies.
#[must_use]
pub fn bodies(before: &[u8], after: &[u8]) -> BodyDiff {
    if before == after {
        return BodyDiff::Same;
    }
    let json = |body| crate::read_json::<Value>(body);
    if let (Ok(before), Ok(after)) = (json(before), json(after)) {
        let mut changes = Vec::new();
        compare(String::new(), &before, &after, &mut changes);
        let more = changes.len() > CHANGES_MAX;
        changes.truncate(CHANGES_MAX);
        return BodyDiff::Json { changes, more };
    }
    let same = before.iter().zip(after).take_while(|(a, b)| a == b);
    BodyDiff::Bytes {
        first: same.count(),
    }
}

/// JSON that was read is not nested deeper than a limit, so that this ends.
fn compare(at: String, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    if changes.len() > CHANGES_MAX || before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                let at = format!("{at}/{}", token(name));
                match new.get(name) {
                    Some(other) => compare(at, value, other, changes),
                    None => changes.push(change(at, Some(value), None)),
                }
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                changes.push(change(format!("{at}/{}", token(name)), None, Some(value)));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for index in 0..old.len().max(new.len()) {
                let at = format!("{at}/{index}");
                match (old.get(index), new.get(index)) {
                    (Some(value), Some(other)) => compare(at, value, other, changes),
                    (value, other) => changes.push(change(at, value, other)),
                }
                if changes.len() > CHANGES_MAX {
                    return;
                }
            }
        }
        _ => changes.push(change(at, Some(before), Some(after))),
    }
}

fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn change(at: String, before: Option<&Value>, after: Option<&Value>) -> Change {
    Change {
        at,
        before: before.map(shown),
        after: after.map(shown),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differing(before: &Value, after: &Value) -> Vec<(String, Option<String>, Option<String>)> {
        let diff = bodies(before.to_string().as_bytes(), after.to_string().as_bytes());
        let BodyDiff::Json { changes, more } = diff else {
            panic!("{diff:?}");
        };
        assert!(!more);
        let parts = |change: Change| (change.at, change.before, change.after);
        changes.into_iter().map(parts).collect()
    }

    #[test]
    fn values_are_told_by_where_they_are() {
        let before =
            json!({"ref": "main", "commits": [{"id": "a"}, {"id": "b"}], "a/b~": 1, "gone": null});
        let after =
            json!({"ref": "next", "commits": [{"id": "a"}], "a/b~": "1", "new": {"x": true}});
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differing(&before, &after),
            [
                ("/a~1b~0".to_owned(), some("1"), some("1")),
                ("/commits/1".to_owned(), some(r#"{"id":"b"}"#), None),
                ("/gone".to_owned(), some("null"), None),
                ("/ref".to_owned(), some("main"), some("next")),
                ("/new".to_owned(), None, some(r#"{"x":true}"#)),
            ]
        );
    }

    #[test]
    fn what_is_no_json_is_told_by_its_first_byte() {
        assert_eq!(bodies(b"abc", b"abc"), BodyDiff::Same);
        assert_eq!(bodies(b"abc", b"abd"), BodyDiff::Bytes { first: 2 });
        assert_eq!(bodies(b"{}", b"{"), BodyDiff::Bytes { first: 1 });
        let spaced = bodies(b"{\"a\":1}", b"{ \"a\": 1 }");
        let none = BodyDiff::Json {
            changes: Vec::new(),
            more: false,
        };
        assert_eq!(spaced, none);
    }

    #[test]
    fn a_difference_of_everything_is_cut() {
        let many = |text: &str| json!(vec![text; 5000]);
        let diff = bodies(
            many("a").to_string().as_bytes(),
            many("b").to_string().as_bytes(),
        );
        let BodyDiff::Json { changes, more } = diff else {
            panic!("both are JSON");
        };
        assert_eq!((changes.len(), more), (CHANGES_MAX, true));
        let long = headers(&json!({"x": "y".repeat(1000)}), &json!({}));
        assert_eq!(long[0].at, "x");
        assert_eq!(
            long[0].before.as_deref().map(|it| it.chars().count()),
            Some(301)
        );
    }
}
