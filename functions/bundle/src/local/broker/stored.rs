//! An accepted event as an HTTP message: what is stored, and what subscribers are sent.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use events::{Decoded, Limits, Message};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Headers beside the event's own that travel with it, by name or by beginning, as on a cluster.
const PASSED_ON: [&str; 2] = ["x-request-id", "retry-after"];
const PASSED_ON_PREFIXES: [&str; 2] = ["knative-", "x-b3-"];

/// One accepted event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: Uuid,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How many brokers a reply may still go through.
    pub(super) ttl: i32,
    /// Fires when it is known whether it is a row. It may be on its way before, its end is recorded after.
    pub(super) written: CancellationToken,
}

impl Event {
    /// In the mode in which it came.
    pub(super) fn new(
        id: Uuid,
        message: &Message,
        structured: bool,
        passed_on: &HeaderMap,
        ttl: i32,
    ) -> Self {
        let (mut headers, body) = if structured {
            events::encode_structured(message)
        } else {
            events::encode_binary(message)
        };
        headers.extend(passed_on.clone());
        Self {
            id,
            headers,
            body,
            ttl,
            written: CancellationToken::new(),
        }
    }

    /// From what [`Event::head_text`] wrote.
    pub(super) fn stored(id: Uuid, head: &str, body: Vec<u8>, ttl: i32) -> Self {
        let headers = head.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                HeaderValue::from_str(value).ok()?,
            ))
        });
        let written = CancellationToken::new();
        written.cancel();
        Self {
            id,
            headers: headers.collect(),
            body: body.into(),
            ttl,
            written,
        }
    }

    /// `name: value` lines. Every value is printable ASCII: attributes are percent-encoded, and of the headers that are
    /// passed on only those that are.
    pub(super) fn head_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.headers {
            if let Ok(value) = value.to_str() {
                text.push_str(name.as_str());
                text.push_str(": ");
                text.push_str(value);
                text.push('\n');
            }
        }
        text
    }

    /// The event itself; `None` never happens, for it was encoded here.
    pub(super) fn message(&self) -> Option<Message> {
        let limits = Limits {
            // An envelope may be a little larger than what came in.
            event_bytes_max: usize::MAX,
            ..Limits::default()
        };
        match events::decode(&self.headers, self.body.clone(), &limits) {
            Ok(Decoded::One(message)) => Some(*message),
            Ok(Decoded::Batch(_)) | Err(_) => None,
        }
    }
}

/// Whether a message has its event in an envelope.
pub(super) fn is_structured(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| {
            text.trim_start()
                .to_ascii_lowercase()
                .starts_with("application/cloudevents+json")
        })
}

/// The headers that travel with an event.
pub(super) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, value)| {
            let name = name.as_str();
            let listed = PASSED_ON.contains(&name)
                || PASSED_ON_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix));
            listed && value.to_str().is_ok()
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new("1 é%", "/here", "t")
            .and_then(|message| message.with_extension("depth", 3))
            .and_then(|message| {
                message.with_data("application/octet-stream", vec![0, 159, 146, 150, b'\n'])
            })
            .expect("an event")
    }

    #[test]
    fn an_event_is_read_from_its_row_byte_for_byte() {
        for structured in [false, true] {
            let sent = HeaderMap::from_iter([(
                HeaderName::from_static("x-request-id"),
                HeaderValue::from_static("r: 1"),
            )]);
            let event = Event::new(Uuid::nil(), &message(), structured, &sent, 16);
            let stored =
                Event::stored(event.id, &event.head_text(), event.body.to_vec(), event.ttl);
            assert_eq!(stored.headers, event.headers);
            assert_eq!(stored.body, event.body);
            let read = stored.message().expect("an event");
            assert_eq!(
                read.data().map(events::Payload::bytes),
                message().data().map(events::Payload::bytes)
            );
            // Headers know text alone.
            let depth: events::Value = if structured { 3.into() } else { "3".into() };
            assert_eq!(read.extension("depth"), Some(&depth));
        }
    }

    #[test]
    fn only_listed_headers_travel_with_an_event() {
        let all = [
            "x-request-id",
            "retry-after",
            "knative-x",
            "x-b3-traceid",
            "foo",
            "authorization",
            "ce-id",
        ];
        let headers =
            all.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("v")));
        let kept = passed_on(&HeaderMap::from_iter(headers));
        let mut names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["knative-x", "retry-after", "x-b3-traceid", "x-request-id"]
        );
    }
}
