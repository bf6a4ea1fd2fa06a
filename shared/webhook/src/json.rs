//! JSON from outside, read strictly and within limits.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::ParseError;

/// How deep lists and objects may be nested, counted also in what is not read. GitHub's deepest payload has eight levels.
const DEPTH_MAX: usize = 128;

/// How many commas may stand between values. Twenty-five megabytes of real payload have fewer; a list of a
/// million empty strings would take ten times its own size in memory.
const COMMAS_MAX: usize = 1_000_000;

/// Reads JSON that lay inside of a payload as strictly as the payload; an error names the path, the line and what was
/// expected there.
///
/// # Errors
/// When it is not JSON of this shape, within the limits.
pub fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ParseError> {
    let text = str::from_utf8(payload).map_err(|error| {
        let at = format!("byte {}", error.valid_up_to());
        ParseError::malformed(&at, "the text is not UTF-8")
    })?;
    within_limits(text)?;
    // Only who reads what is wrong pays for knowing where.
    serde_json::from_str(text).or_else(|_| located(text))
}

/// The same, with the path of what is wrong.
fn located<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at = error.path().to_string();
        let at = if at == "." { "the top level" } else { &at };
        ParseError::malformed(at, &error.inner().to_string())
    })?;
    json.end()
        .map_err(|error| ParseError::malformed("after the payload", &error.to_string()))?;
    Ok(value)
}

/// How many levels of a body are looked at to tell whose it is, and how many bytes of a text there.
const OUTLINE_DEPTH: usize = 4;
const OUTLINE_TEXT_BYTES_MAX: usize = 64;

/// The upper levels of a JSON text, of a list its first element alone, of a text its beginning: what a large body is like, in
/// little memory.
#[derive(Debug)]
pub(crate) struct Outline(pub(crate) Value);

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        Level(OUTLINE_DEPTH).deserialize(json).map(Self)
    }
}

/// How many levels are still looked at.
#[derive(Clone, Copy)]
struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(it[..it.floor_char_boundary(OUTLINE_TEXT_BYTES_MAX)].into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let deeper = self.0.checked_sub(1).map(Level);
        let first = match deeper {
            Some(deeper) => list.next_element_seed(deeper)?,
            None => None,
        };
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(first.into_iter().collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = serde_json::Map::new();
        let Some(deeper) = self.0.checked_sub(1).map(Level) else {
            while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(members.into());
        };
        while let Some(name) = object.next_key::<String>()? {
            members.insert(name, object.next_value_seed(deeper)?);
        }
        Ok(members.into())
    }
}

/// Refuses a NUL in any text or name, which Postgres cannot store. `at` says where in the payload the value stands.
///
/// # Errors
/// When there is one.
pub fn without_nul(value: &Value, at: &str) -> Result<(), ParseError> {
    let free = |text: &str| !text.contains('\0');
    let clean = match value {
        Value::String(text) => free(text),
        Value::Array(values) => {
            return values.iter().try_for_each(|value| without_nul(value, at));
        }
        Value::Object(members) => {
            members
                .values()
                .try_for_each(|value| without_nul(value, at))?;
            members.keys().all(|name| free(name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    };
    if clean {
        Ok(())
    } else {
        Err(ParseError::malformed(at, "a text has a NUL character"))
    }
}

/// The parser skips what is not read without a limit of its own, so that depth and number are counted before it runs.
fn within_limits(text: &str) -> Result<(), ParseError> {
    let mut depth = 0_usize;
    let mut commas = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => commas += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            let problem = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(ParseError::malformed(&format!("byte {at}"), &problem));
        }
        if commas > COMMAS_MAX {
            let problem = format!("more than {COMMAS_MAX} values");
            return Err(ParseError::malformed(&format!("byte {at}"), &problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::Text;

    #[derive(Debug, Deserialize)]
    struct Sample {
        name: Text<8>,
        #[serde(default)]
        #[expect(dead_code, reason = "only its reading is looked at")]
        rows: Vec<Row>,
    }

    #[derive(Debug, Deserialize)]
    struct Row {
        #[expect(dead_code, reason = "only its reading is looked at")]
        id: u8,
    }

    fn refused(payload: impl AsRef<[u8]>) -> String {
        read::<Sample>(payload.as_ref())
            .expect_err("the payload is bad")
            .to_string()
    }

    #[test]
    fn only_what_is_named_is_read() {
        let sample: Sample = read(br#"{"name":"a","other":{"x":[1e400,"\u0000"]}}"#).expect("fine");
        assert_eq!(sample.name.as_str(), "a");
    }

    #[test]
    fn an_error_names_the_path_the_line_and_what_is_expected() {
        let payload = "{\"name\":\"a\",\n\"rows\":[{\"id\":1},{\"id\":\"x\"}]}";
        insta::assert_snapshot!(refused(payload), @r#"the payload is not what this sender sends: rows[1].id: invalid type: string "x", expected u8 at line 2 column 26"#);
        insta::assert_snapshot!(refused("{}"), @"the payload is not what this sender sends: the top level: missing field `name` at line 1 column 2");
    }

    #[test]
    fn a_depth_bomb_is_refused_wherever_it_lies() {
        let bomb = "[".repeat(100_000);
        assert!(refused(&bomb).contains("nested deeper"));
        let shut = format!("{{\"other\":{bomb}{}}}", "]".repeat(100_000));
        assert!(refused(shut).contains("nested deeper"));
        let quoted: Sample =
            read(format!("{{\"name\":\"a\",\"other\":\"\\\"{bomb}\"}}").as_bytes())
                .expect("brackets in a string are text");
        assert_eq!(quoted.name.as_str(), "a");
    }

    #[test]
    fn a_million_values_are_refused() {
        let many = format!("{{\"other\":[{}0]}}", "0,".repeat(COMMAS_MAX + 1));
        assert!(refused(many).contains("more than 1000000 values"));
    }

    #[test]
    fn text_that_cannot_be_kept_is_refused() {
        for (payload, problem) in [
            (br#"{"name":"a\u0000b"}"#.as_slice(), "NUL"),
            (br#"{"name":"\ud800"}"#, "unexpected end of hex escape"),
            (b"{\"name\":\"\xff\"}", "byte 9: the text is not UTF-8"),
            (br#"{"name":"a","name":"b"}"#, "duplicate field `name`"),
            (br#"{"name":"123456789"}"#, "longer than 8 bytes"),
            (br#"{"name":"a"} x"#, "after the payload"),
            (b"", "EOF"),
        ] {
            let error = refused(payload);
            assert!(error.contains(problem), "{error} should say {problem}");
        }
    }

    #[test]
    fn an_error_repeats_little_of_a_long_text() {
        let long = format!("{{\"rows\":\"{}\u{7}\"}}", "x".repeat(100_000));
        assert!(refused(long).len() < 1_000);
        assert!(!refused("{\"rows\":\"\\u001b[31m\"}").contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Sample>(&bytes);
        }
    }
}
