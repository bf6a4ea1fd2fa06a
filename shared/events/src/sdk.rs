//! To and from the event type of the SDK, which is what functions see.

use std::borrow::Cow;

use cloudevents::event::ExtensionValue;
use cloudevents::{
    AttributesReader as _, AttributesWriter as _, Data, Event, EventBuilder as _, EventBuilderV10,
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::attribute::{AttributeError, Value, shorten};
use crate::media_type;
use crate::message::{DataError, Form, Message, Payload, json_of};

/// A `dataschema` that the SDK has no type for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dataschema {given:?} is not an absolute URL")]
pub struct DataSchemaNotAbsolute {
    given: String,
    source: url::ParseError,
}

/// Data is always [`Data::Binary`], as the SDK has it for every event in binary mode: as a JSON value, large numbers would
/// lose digits. [`data`] reads it as a type. `time` becomes UTC.
impl TryFrom<&Message> for Event {
    type Error = DataSchemaNotAbsolute;

    fn try_from(message: &Message) -> Result<Self, DataSchemaNotAbsolute> {
        let mut event = EventBuilderV10::new()
            .id(message.id())
            .source(message.source())
            .ty(message.ty())
            .build()
            .expect("id, source and type of a message are never empty");
        event.set_subject(message.subject());
        event.set_time(message.time().map(|time| time.at().to_utc()));
        let dataschema = message.dataschema().map(|given| {
            Url::parse(given).map_err(|source| DataSchemaNotAbsolute {
                given: shorten(given),
                source,
            })
        });
        event.set_dataschema(dataschema.transpose()?);
        let implied = message.data().is_some_and(|data| data.form() == Form::Json);
        event.set_datacontenttype(
            message
                .datacontenttype()
                .or(implied.then_some(media_type::JSON)),
        );
        for (name, value) in message.extensions() {
            let value = match value {
                Value::Boolean(value) => ExtensionValue::Boolean(*value),
                Value::Integer(value) => ExtensionValue::Integer((*value).into()),
                Value::String(value) => ExtensionValue::String(value.clone()),
            };
            event.set_extension(name, value);
        }
        if let Some(payload) = message.data() {
            event.set_data_unchecked(payload.bytes().to_vec());
        }
        Ok(event)
    }
}

/// An event of version 0.3 becomes one of 1.0.
impl TryFrom<Event> for Message {
    type Error = AttributeError;

    fn try_from(mut event: Event) -> Result<Self, AttributeError> {
        let mut message = Self::new(event.id(), event.source(), event.ty())?;
        if let Some(subject) = event.subject() {
            message = message.with_subject(subject)?;
        }
        if let Some(time) = event.time() {
            message = message.with_time_at(*time);
        }
        for (name, value) in event.iter_extensions() {
            let value = match value {
                ExtensionValue::Boolean(value) => Value::Boolean(*value),
                ExtensionValue::String(value) => Value::String(value.clone()),
                ExtensionValue::Integer(given) => match i32::try_from(*given) {
                    Ok(value) => Value::Integer(value),
                    Err(_) => {
                        return Err(AttributeError::Integer {
                            name: shorten(name),
                            given: given.to_string(),
                        });
                    }
                },
            };
            message = message.with_extension(name, value)?;
        }
        let (datacontenttype, dataschema, data) = event.take_data();
        if let Some(dataschema) = dataschema {
            message = message.with_dataschema(dataschema)?;
        }
        if let Some(datacontenttype) = datacontenttype {
            message = message.with_datacontenttype(datacontenttype)?;
        }
        let is_json = message.datacontenttype().is_none_or(media_type::is_json);
        message.data = data.map(|data| match data {
            Data::Binary(bytes) => Payload::new(bytes.into(), Form::Opaque),
            Data::Json(value) if is_json => Payload::json(value.to_string().into()),
            Data::Json(value) => Payload::new(value.to_string().into(), Form::Text),
            // With a type of JSON, a string is the text of a document, as the SDK sends it in binary mode.
            Data::String(text) if is_json => Payload::new(text.into(), Form::Opaque),
            Data::String(text) => Payload::new(text.into(), Form::Text),
        });
        Ok(message)
    }
}

/// The data of an event as a type, whichever form it has.
///
/// # Errors
/// When there is none, when the sender declares another type than JSON, or when it does not fit `T`.
pub fn data<T: DeserializeOwned>(event: &Event) -> Result<T, DataError> {
    let bytes: Cow<'_, [u8]> = match event.data().ok_or(DataError::Absent)? {
        Data::Json(value) => return T::deserialize(value).map_err(DataError::Json),
        Data::Binary(bytes) => bytes.into(),
        Data::String(text) => text.as_bytes().into(),
    };
    json_of(event.datacontenttype(), &bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn builder() -> EventBuilderV10 {
        EventBuilderV10::new()
            .id("1")
            .source("/here")
            .ty("com.example.happened")
    }

    #[test]
    fn an_event_keeps_everything_on_its_way_through_a_message() {
        let event = builder()
            .subject("Euro €")
            .time("2018-04-05T17:31:00.5+02:00")
            .extension("flag", true)
            .extension("depth", 3_i64)
            .extension("tenantid", "a")
            .data_with_schema(
                "text/plain",
                "https://example.com/schema",
                b"x\xff".to_vec(),
            )
            .build()
            .expect("a complete event");
        let message = Message::try_from(event.clone()).expect("all of it is allowed");
        assert_eq!(message.attribute("depth"), Some(3.into()));
        assert_eq!(
            message.attribute("time"),
            Some("2018-04-05T15:31:00.500Z".into())
        );
        assert_eq!(Event::try_from(&message), Ok(event));
    }

    #[test]
    fn an_integer_of_64_bits_is_refused() {
        let event = builder().extension("depth", 9_999_999_999_i64).build();
        let refused = Message::try_from(event.expect("the SDK takes it"));
        assert!(matches!(refused, Err(AttributeError::Integer { .. })));
    }

    #[test]
    fn a_name_that_is_not_allowed_is_refused() {
        for name in ["Bad-Name", "foo_bar", "", "data"] {
            let event = builder().extension(name, "x").build();
            assert!(
                Message::try_from(event.expect("the SDK takes it")).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_relative_dataschema_cannot_be_an_event() {
        let message = Message::new("1", "/here", "t").and_then(|m| m.with_dataschema("wow"));
        let refused = Event::try_from(&message.expect("a broker passes it on"));
        assert!(refused.is_err());
    }

    #[test]
    fn data_is_read_as_a_type_in_each_of_its_forms() {
        let value = json!({"n": 1});
        for event in [
            builder().data("application/json", value.clone()),
            builder().data("application/json", value.to_string()),
            builder().data("application/json", value.to_string().into_bytes()),
        ] {
            let event = event.build().expect("a complete event");
            assert_eq!(data::<serde_json::Value>(&event).expect("JSON"), value);
            let message = Message::try_from(event).expect("valid");
            assert_eq!(message.json::<serde_json::Value>().expect("JSON"), value);
        }
        let none = builder().build().expect("a complete event");
        assert!(matches!(data::<u8>(&none), Err(DataError::Absent)));
    }
}
