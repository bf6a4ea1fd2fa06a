//! One event as it is on the wire, losing nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attribute::{
    ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, AttributeError, Value, check_extension_name,
    check_filled, check_text, shorten,
};
use crate::{json, media_type};

/// The only version of the specification that is spoken here.
pub(crate) const SPEC_VERSION: &str = "1.0";
/// `specversion`, `id`, `source` and `type`, which no event lacks.
const REQUIRED_ATTRIBUTES: usize = 4;

/// A CloudEvent whose attributes are valid and within their limits, and whose data is bytes.
///
/// `source` and `dataschema` are kept as text: what is not quite a URI is passed on as other brokers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    id: String,
    source: String,
    ty: String,
    subject: Option<String>,
    time: Option<Time>,
    dataschema: Option<String>,
    pub(crate) datacontenttype: Option<String>,
    extensions: BTreeMap<String, Value>,
    pub(crate) data: Option<Payload>,
}

/// A timestamp together with the text that it came as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    text: String,
    at: DateTime<FixedOffset>,
}

impl Time {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The instant, with the offset that was given.
    #[must_use]
    pub fn at(&self) -> DateTime<FixedOffset> {
        self.at
    }
}

/// The data of an event: bytes, which are never written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    form: Form,
}

/// What the bytes are inside a JSON envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON value, without white space around it.
    Json,
    /// UTF-8, which the envelope holds as a string.
    Text,
    /// Whatever was in a body or in `data_base64`.
    Opaque,
}

impl Payload {
    pub(crate) fn new(bytes: Bytes, form: Form) -> Self {
        Self { bytes, form }
    }

    /// JSON without white space around it, which is shown as such in an envelope if it is not too deep for one.
    pub(crate) fn json(bytes: Bytes) -> Self {
        let fits = json::fits_envelope(&bytes);
        Self::new(bytes, if fits { Form::Json } else { Form::Opaque })
    }

    /// The bytes as the sender wrote them.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }
}

/// Data that is not what a handler expects.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The event has none.
    #[error("the event has no data")]
    Absent,
    /// The sender says that it is something else.
    #[error("the data is {datacontenttype:?}, not JSON")]
    NotJson {
        /// What the sender says.
        datacontenttype: String,
    },
    /// It cannot be read as the type that was asked for.
    #[error("the data is not what is expected here")]
    Json(#[source] serde_json::Error),
}

impl Message {
    /// An event with what every event has.
    ///
    /// # Errors
    /// When one of the three is empty, too long or holds a control character.
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        ty: impl Into<String>,
    ) -> Result<Self, AttributeError> {
        let message = Self {
            id: id.into(),
            source: source.into(),
            ty: ty.into(),
            subject: None,
            time: None,
            dataschema: None,
            datacontenttype: None,
            extensions: BTreeMap::new(),
            data: None,
        };
        check_filled("id", &message.id)?;
        check_filled("source", &message.source)?;
        check_filled("type", &message.ty)?;
        message.within_limits()
    }

    /// Unique together with the source: a repeat has the same.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it happened, a URI-reference.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What happened; see [`crate::EventType`] for ours.
    #[must_use]
    pub fn ty(&self) -> &str {
        &self.ty
    }

    /// What it happened to.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Option<&Time> {
        self.time.as_ref()
    }

    /// The schema of the data, a URI.
    #[must_use]
    pub fn dataschema(&self) -> Option<&str> {
        self.dataschema.as_deref()
    }

    /// The media type of the data. JSON that came in an envelope without one has none here either.
    #[must_use]
    pub fn datacontenttype(&self) -> Option<&str> {
        self.datacontenttype.as_deref()
    }

    /// All extensions by name.
    #[must_use]
    pub fn extensions(&self) -> &BTreeMap<String, Value> {
        &self.extensions
    }

    /// One extension.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&Value> {
        self.extensions.get(name)
    }

    /// The data; `None` when there is none, which in binary mode is the same as no bytes.
    #[must_use]
    pub fn data(&self) -> Option<&Payload> {
        self.data.as_ref()
    }

    /// Any attribute by the name that it has on the wire, `specversion` included; `None` when it is not set.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Value> {
        let text = match name {
            "specversion" => Some(SPEC_VERSION),
            "id" => Some(self.id()),
            "source" => Some(self.source()),
            "type" => Some(self.ty()),
            "subject" => self.subject(),
            "time" => self.time().map(Time::as_str),
            "dataschema" => self.dataschema(),
            "datacontenttype" => self.datacontenttype(),
            _ => return self.extensions.get(name).cloned(),
        };
        text.map(Value::from)
    }

    /// The data as a type.
    ///
    /// # Errors
    /// When there is none, when the sender declares another type than JSON, or when it does not fit `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        let payload = self.data.as_ref().ok_or(DataError::Absent)?;
        json_of(self.datacontenttype(), &payload.bytes)
    }

    /// Says what it happened to.
    ///
    /// # Errors
    /// When it is empty, too long or holds a control character.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Result<Self, AttributeError> {
        let subject = subject.into();
        check_filled("subject", &subject)?;
        self.subject = Some(subject);
        self.within_limits()
    }

    /// Says when it happened, by a text that is kept as it is.
    ///
    /// # Errors
    /// When it is not RFC 3339.
    pub fn with_time(mut self, time: impl Into<String>) -> Result<Self, AttributeError> {
        let text = time.into();
        check_filled("time", &text)?;
        let at = DateTime::parse_from_rfc3339(&text).map_err(|source| AttributeError::Time {
            given: shorten(&text),
            source,
        })?;
        self.time = Some(Time { text, at });
        self.within_limits()
    }

    /// Says when it happened.
    #[must_use]
    pub fn with_time_at(mut self, at: DateTime<Utc>) -> Self {
        self.time = Some(Time {
            text: at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            at: at.fixed_offset(),
        });
        self
    }

    /// Says what the data looks like.
    ///
    /// # Errors
    /// When it is empty, too long or holds a control character.
    pub fn with_dataschema(mut self, uri: impl Into<String>) -> Result<Self, AttributeError> {
        let uri = uri.into();
        check_filled("dataschema", &uri)?;
        self.dataschema = Some(uri);
        self.within_limits()
    }

    /// Sets an extension; a second value replaces the first.
    ///
    /// # Errors
    /// When the name is not made of a-z and 0-9 or is reserved, or when the value is not allowed.
    pub fn with_extension(
        mut self,
        name: impl Into<String>,
        value: impl Into<Value>,
    ) -> Result<Self, AttributeError> {
        let (name, value) = (name.into(), value.into());
        check_extension_name(&name)?;
        if let Value::String(text) = &value {
            check_text(&name, text)?;
        }
        self.extensions.insert(name, value);
        self.within_limits()
    }

    /// Leaves an extension out, if it is there.
    #[must_use]
    pub fn without_extension(mut self, name: &str) -> Self {
        self.extensions.remove(name);
        self
    }

    /// Sets data of any type, as bytes.
    ///
    /// # Errors
    /// When the type is not a media type.
    pub fn with_data(
        self,
        datacontenttype: impl Into<String>,
        bytes: impl Into<Bytes>,
    ) -> Result<Self, AttributeError> {
        let mut message = self.with_datacontenttype(datacontenttype)?;
        message.data = Some(Payload::new(bytes.into(), Form::Opaque));
        Ok(message)
    }

    /// Sets data that is a value of ours, as `application/json`.
    ///
    /// # Errors
    /// When the value cannot be JSON, as a map whose keys are no strings.
    pub fn with_json(mut self, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let bytes = serde_json::to_vec(value)?.into();
        self.datacontenttype = Some(media_type::JSON.to_owned());
        self.data = Some(Payload::json(bytes));
        Ok(self)
    }

    pub(crate) fn with_datacontenttype(
        mut self,
        datacontenttype: impl Into<String>,
    ) -> Result<Self, AttributeError> {
        let given = datacontenttype.into();
        check_filled("datacontenttype", &given)?;
        if !media_type::is_valid(&given) {
            return Err(AttributeError::MediaType {
                given: shorten(&given),
            });
        }
        self.datacontenttype = Some(given);
        self.within_limits()
    }

    /// Attributes beside `specversion` and `datacontenttype`, by name, as headers and envelopes carry them.
    pub(crate) fn named_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        [
            ("id", Some(self.id())),
            ("source", Some(self.source())),
            ("type", Some(self.ty())),
            ("subject", self.subject()),
            ("time", self.time().map(Time::as_str)),
            ("dataschema", self.dataschema()),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
    }

    fn within_limits(self) -> Result<Self, AttributeError> {
        let optional = [
            self.subject.is_some(),
            self.time.is_some(),
            self.dataschema.is_some(),
            self.datacontenttype.is_some(),
        ];
        let set = optional.into_iter().filter(|set| *set).count();
        if REQUIRED_ATTRIBUTES + set + self.extensions.len() > ATTRIBUTES_MAX {
            return Err(AttributeError::TooMany);
        }
        let named = self
            .named_attributes()
            .map(|(name, text)| name.len() + text.len());
        let extensions = self.extensions.iter().map(|(name, value)| {
            // A number or a boolean has a few bytes; only text can be large.
            name.len() + value.as_str().map_or(0, str::len)
        });
        if named.sum::<usize>() + extensions.sum::<usize>() > ATTRIBUTES_BYTES_MAX {
            return Err(AttributeError::TooLarge);
        }
        Ok(self)
    }
}

/// Reads JSON data that may have been declared to be something else.
pub(crate) fn json_of<T: DeserializeOwned>(
    datacontenttype: Option<&str>,
    bytes: &[u8],
) -> Result<T, DataError> {
    if let Some(declared) = datacontenttype
        && !media_type::is_json(declared)
    {
        return Err(DataError::NotJson {
            datacontenttype: declared.to_owned(),
        });
    }
    serde_json::from_slice(bytes).map_err(DataError::Json)
}

#[cfg(test)]
mod tests {
    use crate::attribute::ATTRIBUTE_BYTES_MAX;

    use super::*;

    fn message() -> Message {
        Message::new("1", "/here", "com.example.happened").expect("a valid event")
    }

    #[test]
    fn what_every_event_has_may_not_be_empty() {
        for (id, source, ty, name) in [
            ("", "/s", "t", "id"),
            ("1", "", "t", "source"),
            ("1", "/s", "", "type"),
        ] {
            let name = name.to_owned();
            assert_eq!(
                Message::new(id, source, ty),
                Err(AttributeError::Empty { name })
            );
        }
    }

    #[test]
    fn time_keeps_its_text_and_is_an_instant() {
        let text = "2018-04-05T17:31:00.123456789+02:00";
        let message = message().with_time(text).expect("RFC 3339");
        let time = message.time().expect("it was set");
        assert_eq!(time.as_str(), text);
        assert_eq!(
            time.at().timestamp_nanos_opt(),
            Some(1_522_942_260_123_456_789)
        );
        for bad in ["yesterday", "2018-04-05", "2018-04-05T17:31:00"] {
            let refused = message.clone().with_time(bad);
            assert!(matches!(refused, Err(AttributeError::Time { .. })), "{bad}");
        }
    }

    #[test]
    fn reserved_names_are_no_extensions() {
        for name in ["id", "type", "data", "datacontenttype", "specversion"] {
            let refused = message().with_extension(name, "x");
            let name = name.to_owned();
            assert_eq!(refused, Err(AttributeError::Reserved { name }));
        }
    }

    #[test]
    fn attributes_are_found_by_their_wire_names() {
        let message = message()
            .with_extension("depth", 3)
            .and_then(|message| message.with_subject("s"))
            .expect("valid attributes");
        assert_eq!(message.attribute("specversion"), Some("1.0".into()));
        assert_eq!(
            message.attribute("type"),
            Some("com.example.happened".into())
        );
        assert_eq!(message.attribute("subject"), Some("s".into()));
        assert_eq!(message.attribute("depth"), Some(3.into()));
        assert_eq!(message.attribute("time"), None);
        assert_eq!(message.attribute("unheardof"), None);
    }

    #[test]
    fn one_attribute_and_all_together_are_bounded() {
        let refused = message().with_subject("x".repeat(ATTRIBUTE_BYTES_MAX + 1));
        assert!(matches!(refused, Err(AttributeError::TooLong { .. })));

        let mut filled = message();
        let refused = loop {
            let name = format!("e{}", filled.extensions().len());
            match filled.with_extension(name, "x".repeat(ATTRIBUTE_BYTES_MAX)) {
                Ok(more) => filled = more,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, AttributeError::TooLarge);

        let mut filled = message();
        let refused = loop {
            let name = format!("e{}", filled.extensions().len());
            match filled.with_extension(name, true) {
                Ok(more) => filled = more,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, AttributeError::TooMany);
    }

    #[test]
    fn typed_data_says_why_it_cannot_be_had() {
        assert!(matches!(message().json::<u32>(), Err(DataError::Absent)));
        let text = message()
            .with_data("text/plain", "5")
            .expect("a media type");
        assert!(matches!(text.json::<u32>(), Err(DataError::NotJson { .. })));
        let number = message().with_json(&5).expect("a number is JSON");
        assert_eq!(number.json::<u32>().expect("a number"), 5);
        assert!(matches!(number.json::<String>(), Err(DataError::Json(_))));
    }
}
