//! Takes anybody's CloudEvents: one in binary or structured mode, or a batch, and the handshake that comes before them.
//!
//! What registries tell (Harbor's events, and those of Azure Container Registry by Event Grid) becomes events of images;
//! CDEvents are held against their schemas; everything else becomes an event that carries it whole. A batch is taken as a
//! whole or not at all. Events that say that they are ours are refused.

mod cdevents;
mod received;
mod tested;

use events::{DecodeError, Decoded, Limits, Message};
use host::{Env, Function, Kind, Routes, SettingsError};
use model::DatabaseRole;
use webhook::image::{acr, harbor, of_cloud_event};
use webhook::{
    BadSignature, Delivery, Labels, Normalised, ParseError, Parsed, Raw, Secrets, Vendor, Verified,
    Which,
};

/// How many bytes a name for a delivery may have before it is made shorter.
const KEY_BYTES_MAX: usize = 200;
/// What the sources of our own events begin with.
const RESERVED_SOURCES: &str = "/switchyard/";

/// `POST` and `OPTIONS` at `/<trigger>` and `/<trigger>/<secret>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes,
};

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    Ok(webhook::routes::<CloudEvents>(env)?.and(webhook::handshake(webhook::Taking::of(env)?)))
}

/// Whoever sends CloudEvents.
#[derive(Debug)]
pub struct CloudEvents;

impl Vendor for CloudEvents {
    const NAME: &'static str = "cloudevents";
    const SENDERS: &'static [model::Vendor] =
        &[model::Vendor::CloudEvents, model::Vendor::CdEvents];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    fn labels(delivery: &Delivery<Verified>) -> Labels {
        let Ok(events) = decoded(delivery) else {
            return Labels::default();
        };
        let Some(first) = events.first() else {
            return Labels::default();
        };
        Labels {
            vendor: Some(vendor(first)),
            event: Some(first.ty().to_owned()),
            key: Some(key(&events)),
        }
    }

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_configured(secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        let events = decoded(delivery)?;
        if events.is_empty() {
            return Ok(Parsed::Ignored {
                reason: "the batch is empty".to_owned(),
            });
        }
        let mut facts = Vec::new();
        for event in &events {
            facts.extend(read(event)?);
        }
        Ok(Parsed::Events(facts))
    }
}

/// What one event tells.
fn read(event: &Message) -> Result<Vec<Normalised>, ParseError> {
    for (given, reserved) in [
        (event.ty(), events::catalogue::RESERVED_TYPES),
        (event.source(), RESERVED_SOURCES),
    ] {
        if given.starts_with(reserved) {
            return Err(ParseError::Reserved {
                given: given.chars().take(KEY_BYTES_MAX).collect(),
            });
        }
    }
    if let Some(Parsed::Events(facts)) = of_cloud_event(event).transpose()? {
        return Ok(facts);
    }
    let received = received::whole(event, vendor(event))?;
    if cdevents::is_one(event) {
        cdevents::check(event, &received.data)?;
    }
    Ok(vec![Normalised::Received(received)])
}

/// Who it is, by how the types of their events begin.
fn vendor(event: &Message) -> model::Vendor {
    let begins = |types: &str| event.ty().starts_with(types);
    if cdevents::is_one(event) {
        model::Vendor::CdEvents
    } else if begins(harbor::CLOUD_TYPES) {
        model::Vendor::Harbor
    } else if begins(acr::CLOUD_TYPES) {
        model::Vendor::Acr
    } else {
        model::Vendor::CloudEvents
    }
}

/// A name for the delivery: an event is itself by its source and its id.
fn key(events: &[Message]) -> String {
    match events {
        [one] if one.source().len() + one.id().len() < KEY_BYTES_MAX => {
            format!("{} {}", one.source(), one.id())
        }
        many => {
            let parts: Vec<&str> = many
                .iter()
                .flat_map(|event| [event.source(), event.id()])
                .collect();
            format!("{} events {}", many.len(), events::deterministic_id(&parts))
        }
    }
}

fn decoded(delivery: &Delivery<Verified>) -> Result<Vec<Message>, ParseError> {
    delivery.uncompressed()?;
    let body = delivery.body().clone();
    match events::decode(delivery.headers(), body, &Limits::default()) {
        Ok(Decoded::One(event)) => Ok(vec![*event]),
        Ok(Decoded::Batch(events)) => Ok(events),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &DecodeError) -> ParseError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    match error.status().as_u16() {
        413 => ParseError::TooLarge(text),
        415 => ParseError::UnsupportedMedia { given: text },
        _ => ParseError::malformed("the event", &text),
    }
}

#[cfg(test)]
mod tests;
