//! From events to headers and a body, for a request or a response.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::media_type::{self, Mode};
use crate::message::{Form, Message, Payload, SPEC_VERSION};
use crate::{header, json};

/// Attributes as `ce-` headers, percent-encoded; data as the body, as it is.
///
/// Data that is itself an event or a batch of them goes in an envelope: in binary mode its content type would make the
/// receiver take it for the event.
#[must_use]
pub fn encode_binary(message: &Message) -> (HeaderMap, Bytes) {
    let implied = message.data().is_some_and(|data| data.form() == Form::Json);
    let content_type = message
        .datacontenttype()
        .or(implied.then_some(media_type::JSON));
    let mode = content_type.map_or(Mode::Binary, media_type::mode);
    if matches!(mode, Mode::Structured | Mode::Batch) {
        return encode_structured(message);
    }

    let mut headers = HeaderMap::new();
    if let Some(content_type) = content_type {
        let value =
            HeaderValue::from_str(content_type).expect("a message's media type is printable ASCII");
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(
        HeaderName::from_static("ce-specversion"),
        HeaderValue::from_static(SPEC_VERSION),
    );
    for (name, text) in message.named_attributes() {
        headers.insert(header_name(name), header::encode(text));
    }
    for (name, value) in message.extensions() {
        headers.insert(header_name(name), header::encode(&value.to_string()));
    }
    let body = message.data().map(Payload::bytes).cloned();
    (headers, body.unwrap_or_default())
}

/// One event as JSON. Data that only base64 can carry grows by a third.
#[must_use]
pub fn encode_structured(message: &Message) -> (HeaderMap, Bytes) {
    let mut body = Vec::new();
    json::write(&mut body, message);
    (content_type(media_type::STRUCTURED), body.into())
}

/// Events as one JSON array. Not to be sent to who did not ask for it.
#[must_use]
pub fn encode_batch(messages: &[Message]) -> (HeaderMap, Bytes) {
    let mut body = vec![b'['];
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        json::write(&mut body, message);
    }
    body.push(b']');
    (content_type(media_type::BATCH), body.into())
}

fn content_type(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])
}

fn header_name(attribute: &str) -> HeaderName {
    HeaderName::try_from(format!("ce-{attribute}"))
        .expect("attribute names are lower-case letters and digits")
}
