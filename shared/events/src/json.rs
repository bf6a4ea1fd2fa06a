//! The JSON event format: envelopes whose `data` is cut out and put back as it stands.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::attribute::{ATTRIBUTES_MAX, AttributeError, Value, shorten};
use crate::decode::{DecodeError, Draft, Limits, within};
use crate::media_type;
use crate::message::{Form, Message, Payload, SPEC_VERSION};

/// Levels of arrays and objects in JSON data. With the two of a batch's envelope it is what a reader with the customary
/// limit of 128 can still follow, so that data which came in one envelope may leave in another.
pub const DATA_DEPTH_MAX: usize = 126;
/// The object of a structured body.
const EVENT_LEVELS: usize = 1;
/// The array of a batched body and the object of each event in it.
const BATCH_LEVELS: usize = 2;
/// Members that an envelope can have: every attribute, `data` and `data_base64`. One more is read to notice it.
const MEMBERS_MAX: usize = ATTRIBUTES_MAX + 2;

pub(crate) fn event(body: &Bytes) -> Result<Message, DecodeError> {
    envelope(body, json_text(body, EVENT_LEVELS)?)
}

pub(crate) fn batch(body: &Bytes, limits: &Limits) -> Result<Vec<Message>, DecodeError> {
    let text = json_text(body, BATCH_LEVELS)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let elements = deserializer
        .deserialize_seq(Elements {
            kept_max: limits.batch_events_max.saturating_add(1),
        })
        .and_then(|elements| deserializer.end().map(|()| elements))
        .map_err(DecodeError::Json)?;
    if elements.len() > limits.batch_events_max {
        return Err(DecodeError::BatchTooLong {
            events_max: limits.batch_events_max,
        });
    }
    let one = |(index, element): (usize, &RawValue)| {
        within(element.get().as_bytes(), limits.event_bytes_max)
            .and_then(|()| envelope(body, element.get()))
            .map_err(|source| DecodeError::InBatch {
                index,
                source: Box::new(source),
            })
    };
    elements.into_iter().enumerate().map(one).collect()
}

/// The body as text that is not nested too deeply for anybody who reads it after us.
fn json_text(body: &Bytes, envelope_levels: usize) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(body).map_err(DecodeError::NotUtf8)?;
    if depth(text.as_bytes()) > DATA_DEPTH_MAX + envelope_levels {
        return Err(DecodeError::TooDeep);
    }
    Ok(text)
}

/// Whether JSON may stand in an envelope as it is.
pub(crate) fn fits_envelope(json: &[u8]) -> bool {
    depth(json) <= DATA_DEPTH_MAX
}

/// The deepest level of arrays and objects in what may or may not be JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads one envelope; `text` lies in `body`, and so will the data.
fn envelope(body: &Bytes, text: &str) -> Result<Message, DecodeError> {
    let members: Members<'_> = serde_json::from_str(text).map_err(DecodeError::Json)?;
    let mut draft = Draft::default();
    let (mut data, mut base64) = (None, None);
    for (name, raw) in members.0 {
        let fresh = match name.as_str() {
            "data" => data.replace(raw).is_none(),
            "data_base64" => base64.replace(raw).is_none(),
            _ => {
                let value = attribute(&name, raw)?;
                draft.insert(name.clone(), value)?
            }
        };
        if !fresh {
            return Err(DecodeError::MemberRepeated {
                name: shorten(&name),
            });
        }
    }
    let mut message = draft.finish()?;
    message.data = payload(body, message.datacontenttype(), data, base64)?;
    Ok(message)
}

fn attribute(name: &str, raw: &RawValue) -> Result<Option<Value>, DecodeError> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => Ok(Some(Value::String(string(raw)?))),
        Some(b't') => Ok(Some(Value::Boolean(true))),
        Some(b'f') => Ok(Some(Value::Boolean(false))),
        Some(b'n') => Ok(None),
        Some(b'-' | b'0'..=b'9') => match text.parse() {
            Ok(number) => Ok(Some(Value::Integer(number))),
            Err(_) => Err(AttributeError::Integer {
                name: shorten(name),
                given: shorten(text),
            }
            .into()),
        },
        _ => Err(DecodeError::MemberType {
            name: shorten(name),
            expected: "a string, an integer, a boolean or null",
        }),
    }
}

fn payload(
    body: &Bytes,
    datacontenttype: Option<&str>,
    data: Option<&RawValue>,
    base64: Option<&RawValue>,
) -> Result<Option<Payload>, DecodeError> {
    // Null is how some senders leave a member out; as data itself it is a value.
    let base64 = base64.filter(|raw| raw.get() != "null");
    match (data, base64) {
        (Some(_), Some(_)) => Err(DecodeError::DataTwice),
        (None, None) => Ok(None),
        (Some(raw), None) if datacontenttype.is_none_or(media_type::is_json) => {
            let bytes = body.slice_ref(raw.get().as_bytes());
            Ok(Some(Payload::json(bytes)))
        }
        (Some(raw), None) => {
            let text = data_string("data", raw, "a string, as datacontenttype is not JSON")?;
            Ok(Some(Payload::new(text.into(), Form::Text)))
        }
        (None, Some(raw)) => {
            let text = data_string("data_base64", raw, "a string")?;
            let bytes = STANDARD.decode(text).map_err(DecodeError::Base64)?;
            Ok(Some(Payload::new(bytes.into(), Form::Opaque)))
        }
    }
}

fn data_string(name: &str, raw: &RawValue, expected: &'static str) -> Result<String, DecodeError> {
    if !raw.get().starts_with('"') {
        return Err(DecodeError::MemberType {
            name: name.to_owned(),
            expected,
        });
    }
    string(raw)
}

fn string(raw: &RawValue) -> Result<String, DecodeError> {
    serde_json::from_str(raw.get()).map_err(DecodeError::Json)
}

/// Appends one envelope.
pub(crate) fn write(out: &mut Vec<u8>, message: &Message) {
    out.extend_from_slice(b"{\"specversion\":");
    write_value(out, SPEC_VERSION);
    for (name, text) in message.named_attributes() {
        write_name(out, name);
        write_value(out, text);
    }
    if let Some(datacontenttype) = message.datacontenttype() {
        write_name(out, "datacontenttype");
        write_value(out, datacontenttype);
    }
    for (name, value) in message.extensions() {
        write_name(out, name);
        match value {
            Value::Boolean(value) => write_value(out, value),
            Value::Integer(value) => write_value(out, value),
            Value::String(value) => write_value(out, value),
        }
    }
    if let Some(payload) = message.data() {
        write_data(out, message.datacontenttype(), payload);
    }
    out.push(b'}');
}

/// Data that was JSON or text in an envelope is so again. What came as bytes is shown as what its type says, if putting it
/// so gives exactly these bytes back, and as base64 otherwise.
fn write_data(out: &mut Vec<u8>, datacontenttype: Option<&str>, payload: &Payload) {
    let bytes = payload.bytes();
    let declared = |is: fn(&str) -> bool| datacontenttype.is_some_and(is);
    let text = || std::str::from_utf8(bytes).ok();
    match payload.form() {
        Form::Json => write_raw(out, bytes),
        Form::Opaque if declared(media_type::is_json) && is_bare_json(bytes) => {
            write_raw(out, bytes);
        }
        Form::Text | Form::Opaque => match text() {
            Some(text) if payload.form() == Form::Text || declared(media_type::is_text) => {
                write_name(out, "data");
                write_value(out, text);
            }
            _ => {
                write_name(out, "data_base64");
                write_value(out, &STANDARD.encode(bytes));
            }
        },
    }
}

/// Whether these bytes are one JSON value with nothing around it: white space would not come back.
fn is_bare_json(bytes: &[u8]) -> bool {
    fits_envelope(bytes)
        && serde_json::from_slice::<&RawValue>(bytes)
            .is_ok_and(|raw| raw.get().len() == bytes.len())
}

fn write_raw(out: &mut Vec<u8>, json: &[u8]) {
    write_name(out, "data");
    out.extend_from_slice(json);
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    write_value(out, name);
    out.push(b':');
}

fn write_value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("memory takes any string, number or boolean");
}

/// The members of an envelope in their order, repeated ones included; at most [`MEMBERS_MAX`] and one more.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Envelope;
        impl<'de> Visitor<'de> for Envelope {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the attributes of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while members.len() <= MEMBERS_MAX
                    && let Some(member) = map.next_entry()?
                {
                    members.push(member);
                }
                // The rest is still read, so that what is not JSON is called so.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Envelope)
    }
}

/// The elements of a batch, as text; those beyond `kept_max` are read and forgotten.
struct Elements {
    kept_max: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.kept_max
            && let Some(element) = seq.next_element()?
        {
            elements.push(element);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_does_not_count_brackets_in_strings() {
        assert_eq!(depth(br#"{"a":[1,[2]],"b":{}}"#), 3);
        assert_eq!(depth(br#"["[[[", "\"[[", "\\"]"#), 1);
        assert_eq!(depth(b"5"), 0);
        assert_eq!(depth(b"]]]["), 1);
    }

    #[test]
    fn only_json_that_comes_back_byte_for_byte_is_put_in_as_json() {
        assert!(is_bare_json(br#"{"z": 1e400, "a":"\ud800"}"#));
        for other in [&b" 5"[..], b"5\n", b"", b"{", b"5 5", b"\"\xff\""] {
            assert!(!is_bare_json(other), "{other:?}");
        }
        assert!(is_bare_json(nested(DATA_DEPTH_MAX).as_bytes()));
        assert!(!is_bare_json(nested(DATA_DEPTH_MAX + 1).as_bytes()));
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }
}
