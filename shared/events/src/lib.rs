//! CloudEvents 1.0 over HTTP, the catalogue of our event types, and the filters of Triggers.
//!
//! [`Message`] is what was on the wire and nothing less: the bytes of `data`, the text of `time` and the types of
//! extensions survive any number of hops, so a broker may pass it on. Functions see [`cloudevents::Event`] of the SDK, as
//! anyone in its ecosystem expects; the conversions both ways are here, the SDK's own HTTP binding is not used.
//!
//! What is refused: anything the specification forbids (names, types, control characters, a repeated attribute, another
//! `specversion`) and whatever is over a limit of [`Limits`] or of the `*_MAX` constants, each with a [`DecodeError`] that
//! knows its HTTP status. Nothing is stored or answered in part: a batch with one bad event is a bad batch.

mod attribute;
pub mod catalogue;
mod decode;
mod encode;
pub mod filter;
mod header;
mod http;
mod json;
mod media_type;
mod message;
mod sdk;

pub use attribute::{
    ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX,
    AttributeError, Value,
};
pub use catalogue::{EventType, deterministic_id, deterministic_uuid};
pub use cloudevents::{AttributesReader, Event};
pub use decode::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, DecodeError, Decoded, EVENT_BYTES_MAX, Limits, decode,
};
pub use encode::{encode_batch, encode_binary, encode_structured};
pub use http::{Received, Reply, receive, receive_any};
pub use json::DATA_DEPTH_MAX;
pub use message::{DataError, Message, Payload, Time};
pub use sdk::{DataSchemaNotAbsolute, data};
