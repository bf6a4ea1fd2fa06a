//! An event as others will see it: its attributes by name, and its data.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::Message;
use model::Vendor;
use model::webhook::WebhookReceived;
use serde_json::Value;
use webhook::{ParseError, read_json, without_nul};

/// The whole event. Data that says that it is JSON must be; without a type it is when it can be.
pub(crate) fn whole(event: &Message, vendor: Vendor) -> Result<WebhookReceived, ParseError> {
    let (data, data_base64) = data(event)?;
    Ok(WebhookReceived {
        vendor,
        attributes: attributes(event)?,
        data,
        data_base64,
    })
}

fn attributes(event: &Message) -> Result<BTreeMap<String, Value>, ParseError> {
    let required = [
        ("specversion", Some("1.0")),
        ("id", Some(event.id())),
        ("source", Some(event.source())),
        ("type", Some(event.ty())),
        ("subject", event.subject()),
        ("time", event.time().map(events::Time::as_str)),
        ("dataschema", event.dataschema()),
        ("datacontenttype", event.datacontenttype()),
    ];
    let known = required
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    let extensions = event.extensions().iter().map(|(name, value)| {
        let value = match value {
            events::Value::Boolean(it) => Value::from(*it),
            events::Value::Integer(it) => Value::from(*it),
            events::Value::String(it) => Value::from(it.as_str()),
        };
        (name.clone(), value)
    });
    known
        .chain(extensions)
        .map(|(name, value)| {
            without_nul(&value, &name)?;
            Ok((name, value))
        })
        .collect()
}

fn data(event: &Message) -> Result<(Value, Option<String>), ParseError> {
    let Some(payload) = event.data() else {
        return Ok((Value::Null, None));
    };
    let bytes = payload.bytes();
    let read = || -> Result<Value, ParseError> {
        let data: Value = read_json(bytes)?;
        without_nul(&data, "data")?;
        Ok(data)
    };
    let media_type = event.datacontenttype().map(essence);
    match media_type.as_deref() {
        Some(media_type) if is_json(media_type) => Ok((read()?, None)),
        None => Ok(read().map_or_else(|_| text_or_base64(bytes, ""), |data| (data, None))),
        Some(media_type) => Ok(text_or_base64(bytes, media_type)),
    }
}

fn text_or_base64(bytes: &[u8], media_type: &str) -> (Value, Option<String>) {
    let readable = media_type.starts_with("text/") || media_type.ends_with("xml");
    match str::from_utf8(bytes) {
        Ok(text) if readable && !text.contains('\0') => (Value::from(text), None),
        Ok(_) | Err(_) => (Value::Null, Some(STANDARD.encode(bytes))),
    }
}

fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}
