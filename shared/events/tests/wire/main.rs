//! Events on the wire: what comes in, what goes out, and what is refused with which status.

mod conformance;
mod hostile;
mod probes;
mod replies;
mod round_trip;

use bytes::Bytes;
use events::{DecodeError, Decoded, Limits, Message};
use http::{HeaderMap, HeaderName, HeaderValue};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
/// What an event in binary mode must have.
const REQUIRED: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/here"),
    ("ce-type", "com.example.happened"),
];

fn headers<'a>(pairs: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(name, value);
    }
    headers
}

fn decode(headers: &HeaderMap, body: impl Into<Bytes>) -> Result<Decoded, DecodeError> {
    events::decode(headers, body.into(), &Limits::default())
}

fn one(decoded: Result<Decoded, DecodeError>) -> Result<Message, DecodeError> {
    match decoded? {
        Decoded::One(message) => Ok(*message),
        Decoded::Batch(_) => panic!("one event was sent, not a batch"),
    }
}

fn batch(decoded: Result<Decoded, DecodeError>) -> Result<Vec<Message>, DecodeError> {
    match decoded? {
        Decoded::Batch(messages) => Ok(messages),
        Decoded::One(_) => panic!("a batch was sent, not one event"),
    }
}

/// An event in binary mode with one more header.
fn binary_with(name: &str, value: &str) -> Result<Message, DecodeError> {
    one(decode(
        &headers(REQUIRED.iter().chain([&(name, value)])),
        "",
    ))
}

fn structured(body: impl Into<Bytes>) -> Result<Message, DecodeError> {
    one(decode(&headers(&[STRUCTURED]), body))
}

/// An envelope with more members, each after a comma.
fn envelope(members: &str) -> String {
    let required = r#""specversion":"1.0","id":"1","source":"/here","type":"com.example.happened""#;
    format!("{{{required}{members}}}")
}

fn data_of(message: &Message) -> &[u8] {
    message.data().map_or(&[][..], |data| data.bytes())
}

/// The error with its causes, as a sender reads it.
fn told(error: &DecodeError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
