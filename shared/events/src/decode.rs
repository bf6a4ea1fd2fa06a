//! From headers and a body to events, refusing whatever is not one.

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use crate::attribute::{ATTRIBUTES_MAX, AttributeError, Value, check_name, shorten};
use crate::header::{self, Fault};
use crate::json::{self, DATA_DEPTH_MAX};
use crate::media_type::{self, Mode};
use crate::message::{Form, Message, Payload, SPEC_VERSION};

/// Bytes in the body of one event unless [`Limits`] say otherwise.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes in the body of a batch unless [`Limits`] say otherwise.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events in one batch unless [`Limits`] say otherwise.
pub const BATCH_EVENTS_MAX: usize = 1000;

/// How much is taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in the body of one event, and in each event of a batch.
    pub event_bytes_max: usize,
    /// Bytes in the body of a batch.
    pub batch_bytes_max: usize,
    /// Events in one batch.
    pub batch_events_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: EVENT_BYTES_MAX,
            batch_bytes_max: BATCH_BYTES_MAX,
            batch_events_max: BATCH_EVENTS_MAX,
        }
    }
}

/// What a request or a response carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// One event, in binary or structured mode.
    One(Box<Message>),
    /// Any number of events, also none.
    Batch(Vec<Message>),
}

/// Why something is not a CloudEvent that we take.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Neither the content type nor a `ce-` header says that there is an event.
    #[error(
        "not a CloudEvent: there is no ce-specversion header and the content type is not \
         application/cloudevents+json"
    )]
    NotACloudEvent,
    /// An event format that we cannot read, and no headers that make it an event in binary mode.
    #[error("cannot read events as {content_type:?}; send application/cloudevents+json")]
    UnknownFormat {
        /// What was sent.
        content_type: String,
    },
    /// JSON that is not UTF-8.
    #[error("cannot read events as {content_type:?}; send them as UTF-8")]
    Charset {
        /// What was sent.
        content_type: String,
    },
    /// A batch where one event is expected.
    #[error("batches are not accepted here; send one event per request")]
    BatchNotAccepted,
    /// The body, or one event of a batch, is over its limit.
    #[error("the event has more than {bytes_max} bytes; send large data by reference")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// More events than are taken at once.
    #[error("the batch has more than {events_max} events; send several smaller ones")]
    BatchTooLong {
        /// The limit.
        events_max: usize,
    },
    /// The body broke off.
    #[error("the body could not be read")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The same header more than once.
    #[error("header {name:?} is there more than once")]
    HeaderRepeated {
        /// The header.
        name: String,
    },
    /// A header whose bytes or escapes are not UTF-8.
    #[error("header {name:?} is not UTF-8 or percent-encoded UTF-8")]
    HeaderText {
        /// The header.
        name: String,
    },
    /// A header that begins with a quote and is not a quoted string.
    #[error("header {name:?} begins with a quote and is not one quoted string; percent-encode it")]
    HeaderQuoting {
        /// The header.
        name: String,
    },
    /// The data's type given as an attribute, which in binary mode is `Content-Type`'s to say.
    #[error("header \"ce-datacontenttype\" must not be there: in binary mode it is Content-Type")]
    HeaderDataContentType,
    /// Another version of the specification.
    #[error("specversion is {given:?}; only {SPEC_VERSION:?} is accepted")]
    SpecVersion {
        /// What was given.
        given: String,
    },
    /// An attribute that every event must have.
    #[error("required attribute {name:?} is missing")]
    Missing {
        /// The attribute.
        name: &'static str,
    },
    /// An attribute that no event may have.
    #[error("an attribute is not allowed")]
    Attribute(#[from] AttributeError),
    /// The body is not JSON of the right shape.
    #[error("the body is not a CloudEvent in JSON")]
    Json(#[source] serde_json::Error),
    /// The body is not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// The data, or something in its place, is nested beyond [`DATA_DEPTH_MAX`].
    #[error("the data is nested deeper than {DATA_DEPTH_MAX} levels")]
    TooDeep,
    /// The same member of the envelope more than once.
    #[error("member {name:?} is there more than once")]
    MemberRepeated {
        /// The member.
        name: String,
    },
    /// A member of the envelope that no attribute can be.
    #[error("member {name:?} must be {expected}")]
    MemberType {
        /// The member.
        name: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Both forms of data.
    #[error("members \"data\" and \"data_base64\" exclude each other")]
    DataTwice,
    /// `data_base64` is not base64.
    #[error("member \"data_base64\" is not base64")]
    Base64(#[source] base64::DecodeError),
    /// An event of a batch.
    #[error("event {index} of the batch, counted from 0, is refused")]
    InBatch {
        /// Its place.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Box<DecodeError>,
    },
}

impl DecodeError {
    /// What a sender is told.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::BatchTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownFormat { .. } | Self::Charset { .. } | Self::BatchNotAccepted => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::NotACloudEvent
            | Self::Body(_)
            | Self::HeaderRepeated { .. }
            | Self::HeaderText { .. }
            | Self::HeaderQuoting { .. }
            | Self::HeaderDataContentType
            | Self::SpecVersion { .. }
            | Self::Missing { .. }
            | Self::Attribute(_)
            | Self::Json(_)
            | Self::NotUtf8(_)
            | Self::TooDeep
            | Self::MemberRepeated { .. }
            | Self::MemberType { .. }
            | Self::DataTwice
            | Self::Base64(_) => StatusCode::BAD_REQUEST,
            Self::InBatch { source, .. } => source.status(),
        }
    }
}

/// Reads the events of a request or a response.
///
/// A body without any sign of an event is [`DecodeError::NotACloudEvent`], also when it is empty. `ce-` headers beside a
/// structured body are not looked at: the body wins.
///
/// # Errors
/// When anything is not as the specification says or is over a limit; see [`DecodeError::status`].
pub fn decode(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Decoded, DecodeError> {
    match mode_of(headers)? {
        Mode::Structured => {
            within(&body, limits.event_bytes_max)?;
            Ok(Decoded::One(Box::new(json::event(&body)?)))
        }
        Mode::Batch => {
            within(&body, limits.batch_bytes_max)?;
            Ok(Decoded::Batch(json::batch(&body, limits)?))
        }
        Mode::Binary | Mode::UnknownFormat => {
            within(&body, limits.event_bytes_max)?;
            Ok(Decoded::One(Box::new(binary(headers, body)?)))
        }
    }
}

/// The mode of a message; an unknown format remains only where the headers make it an event in binary mode, which we may
/// pass on as it is.
pub(crate) fn mode_of(headers: &HeaderMap) -> Result<Mode, DecodeError> {
    let Some(content_type) = single(headers, CONTENT_TYPE.as_str())? else {
        return Ok(Mode::Binary);
    };
    let mode = media_type::mode(&content_type);
    match mode {
        Mode::Structured | Mode::Batch if !media_type::is_utf8(&content_type) => {
            Err(DecodeError::Charset {
                content_type: shorten(&content_type),
            })
        }
        Mode::UnknownFormat if !headers.contains_key("ce-specversion") => {
            Err(DecodeError::UnknownFormat {
                content_type: shorten(&content_type),
            })
        }
        Mode::Binary | Mode::Structured | Mode::Batch | Mode::UnknownFormat => Ok(mode),
    }
}

pub(crate) fn within(body: &[u8], bytes_max: usize) -> Result<(), DecodeError> {
    if body.len() > bytes_max {
        return Err(DecodeError::TooLarge { bytes_max });
    }
    Ok(())
}

/// A header as it is, without percent-decoding.
fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, DecodeError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(DecodeError::HeaderRepeated {
            name: name.to_owned(),
        });
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(DecodeError::HeaderText {
            name: name.to_owned(),
        }),
    }
}

fn binary(headers: &HeaderMap, body: Bytes) -> Result<Message, DecodeError> {
    let mut draft = Draft::default();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix("ce-") else {
            continue;
        };
        if name == "datacontenttype" {
            return Err(DecodeError::HeaderDataContentType);
        }
        let text = header::decode(value).map_err(|fault| {
            let name = shorten(header.as_str());
            match fault {
                Fault::NotText | Fault::Escapes => DecodeError::HeaderText { name },
                Fault::Quoting => DecodeError::HeaderQuoting { name },
            }
        })?;
        if !draft.insert(name.to_owned(), Some(Value::String(text)))? {
            return Err(DecodeError::HeaderRepeated {
                name: shorten(header.as_str()),
            });
        }
    }
    if draft.attributes.is_empty() {
        return Err(DecodeError::NotACloudEvent);
    }
    if let Some(content_type) = single(headers, CONTENT_TYPE.as_str())? {
        draft.insert("datacontenttype".to_owned(), Some(content_type.into()))?;
    }
    let mut message = draft.finish()?;
    message.data = (!body.is_empty()).then(|| Payload::new(body, Form::Opaque));
    Ok(message)
}

/// Attributes as they come in, before it is known that they make an event.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// What is given as JSON's null is there, but not set.
    attributes: BTreeMap<String, Option<Value>>,
}

impl Draft {
    /// Takes one attribute; false when its name was there before.
    pub(crate) fn insert(
        &mut self,
        name: String,
        value: Option<Value>,
    ) -> Result<bool, AttributeError> {
        check_name(&name)?;
        if self.attributes.len() == ATTRIBUTES_MAX {
            return Err(AttributeError::TooMany);
        }
        Ok(self.attributes.insert(name, value).is_none())
    }

    /// The version comes first: what is wrong with an event of another one is its version.
    pub(crate) fn finish(mut self) -> Result<Message, DecodeError> {
        let version = self.required("specversion")?;
        if version != SPEC_VERSION {
            return Err(DecodeError::SpecVersion {
                given: shorten(&version),
            });
        }
        let (id, source) = (self.required("id")?, self.required("source")?);
        let mut message = Message::new(id, source, self.required("type")?)?;
        if let Some(subject) = self.text("subject")? {
            message = message.with_subject(subject)?;
        }
        if let Some(time) = self.text("time")? {
            message = message.with_time(time)?;
        }
        if let Some(dataschema) = self.text("dataschema")? {
            message = message.with_dataschema(dataschema)?;
        }
        if let Some(datacontenttype) = self.text("datacontenttype")? {
            message = message.with_datacontenttype(datacontenttype)?;
        }
        for (name, value) in self.attributes {
            if let Some(value) = value {
                message = message.with_extension(name, value)?;
            }
        }
        Ok(message)
    }

    fn required(&mut self, name: &'static str) -> Result<String, DecodeError> {
        self.text(name)?.ok_or(DecodeError::Missing { name })
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, DecodeError> {
        match self.attributes.remove(name).flatten() {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Boolean(_) | Value::Integer(_)) => Err(DecodeError::MemberType {
                name: name.to_owned(),
                expected: "a string",
            }),
        }
    }
}
