//! Takes whatever else can post: plain CI jobs, and services that send Standard Webhooks.
//!
//! The trigger says how the sender proves who it is. A verified request without a body asks for a run by hand; one with
//! `image` at the top level names an image that was pushed, one with `ref` a branch or a tag. Every other body becomes an
//! event that carries it, for triggers to make sense of. What has the headers of a vendor is refused: it has a URL of its
//! own.

mod simple;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::EventType;
use host::{Function, Kind};
use model::DatabaseRole;
use model::webhook::{ManualRequested, WebhookReceived};
use serde_json::Value;
use webhook::{
    BadSignature, Delivery, Labels, Normalised, ParseError, Parsed, Raw, Secrets, Tested, Vendor,
    Verified, Which, With, read_json, without_nul,
};

/// How many bytes of a body an event may carry.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// `POST /<trigger>`, and `POST /<trigger>/<secret>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Generic>,
};

/// The bodies that are understood. Those of plain jobs are documented here and nowhere else.
const TESTED: &[Tested] = &[
    ours("image", &[EventType::ImagePushed]),
    ours("ref", &[EventType::GitPushed, EventType::GitTagged]),
    ours("no body", &[EventType::ManualRequested]),
    Tested {
        vendor: model::Vendor::Generic,
        event: "a Standard Webhook",
        becomes: &[EventType::WebhookReceived],
        with: With::Documented(
            "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        ),
    },
];

const fn ours(event: &'static str, becomes: &'static [EventType]) -> Tested {
    Tested {
        vendor: model::Vendor::Generic,
        event,
        becomes,
        with: With::Documented("docs/webhooks.md"),
    }
}

/// Anybody.
#[derive(Debug)]
pub struct Generic;

impl Vendor for Generic {
    const NAME: &'static str = "generic";
    const SENDERS: &'static [model::Vendor] = &[model::Vendor::Generic];
    const TESTED: &'static [Tested] = TESTED;

    fn labels(delivery: &Delivery<Verified>) -> Labels {
        let header = |name: &str| {
            let value = delivery.header(name).ok().flatten();
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let event = match body(delivery) {
            Ok(Body::Json(body)) => body["type"].as_str().map(str::to_owned),
            Ok(Body::Empty | Body::Other(..)) | Err(_) => None,
        };
        Labels {
            vendor: Some(model::Vendor::Generic),
            event,
            // Standard Webhooks sign the first; others can name a delivery by the second.
            key: header("webhook-id").or_else(|| header("idempotency-key")),
        }
    }

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_configured(secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        let fact = match body(delivery)? {
            Body::Empty => Normalised::ManualRequested(ManualRequested {
                vendor: Some(model::Vendor::Generic),
                actor: None,
                inputs: serde_json::Map::new(),
            }),
            Body::Json(body) => match simple::Simple::of(&body) {
                Some(simple) => simple.fact()?,
                None => {
                    without_nul(&body, "the body")?;
                    Normalised::Received(received(body, None))
                }
            },
            Body::Other(text, base64) => Normalised::Received(received(text, base64)),
        };
        Ok(Parsed::Events(vec![fact]))
    }
}

/// What a body is, by itself: `curl -d` calls JSON a form.
enum Body {
    Empty,
    Json(Value),
    /// Text or, where it is none, base64.
    Other(Value, Option<String>),
}

fn body(delivery: &Delivery<Verified>) -> Result<Body, ParseError> {
    delivery.uncompressed()?;
    let bytes = delivery.body();
    if bytes.is_empty() {
        return Ok(Body::Empty);
    }
    if bytes.len() > BODY_BYTES_MAX {
        return Err(ParseError::TooLarge(format!(
            "the body has more than {BODY_BYTES_MAX} bytes, which is what an event carries"
        )));
    }
    let said = delivery.header("content-type").ok().flatten();
    let essence = said
        .and_then(|said| said.split(';').next())
        .unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let json = read_json(bytes);
    let must = essence == "application/json" || essence.ends_with("+json");
    match json {
        Ok(json) => Ok(Body::Json(json)),
        // What looks like an object is meant to be one, whatever it is called.
        Err(error) if must || bytes.trim_ascii_start().starts_with(b"{") => Err(error),
        Err(_) => Ok(match str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Body::Other(Value::from(text), None),
            Ok(_) | Err(_) => Body::Other(Value::Null, Some(STANDARD.encode(bytes))),
        }),
    }
}

fn received(data: Value, data_base64: Option<String>) -> WebhookReceived {
    let named = ["type", "timestamp"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), Value::from(data[name].as_str()?))));
    WebhookReceived {
        vendor: model::Vendor::Generic,
        attributes: named.collect(),
        data,
        data_base64,
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
