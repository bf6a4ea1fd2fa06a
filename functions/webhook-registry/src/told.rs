//! Whose body it is, and what they call it.

use events::{Decoded, Limits, Message};
use model::Vendor;
use serde_json::Value;
use webhook::image::{ignored, of_cloud_event};
use webhook::{Delivery, Labels, ParseError, Parsed, Verified, shape};

use crate::Registry;

/// Whose payload it is: by its headers or, where they do not say, by what its body is like.
pub(crate) fn sender(delivery: &Delivery<Verified>) -> Result<Vendor, ParseError> {
    if let Some(sender) = delivery.sender() {
        return Ok(sender.vendor);
    }
    let body: Value = delivery.json()?;
    let shape = shape(&body).ok_or_else(|| {
        ParseError::malformed(
            "the top level",
            "is like the payload of no registry that is known here",
        )
    })?;
    Ok(shape.vendor)
}

/// What the sender calls the delivery and what happened. What cannot be read has no labels.
pub(crate) fn labels(delivery: &Delivery<Verified>) -> Labels {
    let Ok(vendor) = sender(delivery) else {
        return Labels::default();
    };
    let body: Value = delivery.json().unwrap_or_default();
    let text = |pointer: &str| Some(body.pointer(pointer)?.as_str()?.to_owned());
    let header = |name: &str| delivery.header(name).ok().flatten().map(str::to_owned);
    let (event, key) = match vendor {
        Vendor::DockerHub | Vendor::Quay => (Some("push".to_owned()), None),
        Vendor::Harbor => (text("/type"), None),
        Vendor::Acr => (text("/action"), text("/id")),
        Vendor::Ecr => (text("/detail-type"), text("/id")),
        Vendor::ArtifactRegistry => (None, text("/message/messageId")),
        Vendor::Distribution => (text("/events/0/action"), ids(&body["events"])),
        Vendor::Jfrog => (text("/event_type"), None),
        Vendor::Nexus => (
            header("x-nexus-webhook-id"),
            header("x-nexus-webhook-delivery"),
        ),
        Vendor::CloudEvents => match &body {
            Value::Array(events) => (
                events
                    .first()
                    .and_then(|event| Some(event["type"].as_str()?.to_owned())),
                ids(&body),
            ),
            _ => (text("/type"), text("/id")),
        },
        Vendor::Github
        | Vendor::Gitea
        | Vendor::Forgejo
        | Vendor::Gogs
        | Vendor::Gitlab
        | Vendor::Bitbucket
        | Vendor::BitbucketDataCenter
        | Vendor::AzureDevops
        | Vendor::CdEvents
        | Vendor::Generic
        | Vendor::Poll => return Labels::default(),
    };
    Labels {
        vendor: Some(vendor),
        event,
        key,
    }
}

/// A name made of those of all events in a request; nothing when one of them has none.
fn ids(events: &Value) -> Option<String> {
    let ids: Vec<&str> = events
        .as_array()?
        .iter()
        .map(|event| event["id"].as_str())
        .collect::<Option<_>>()?;
    match &ids[..] {
        [] => None,
        [one] => Some((*one).to_owned()),
        // As long for a thousand as for two.
        many => Some(format!(
            "{} events {}",
            many.len(),
            events::deterministic_id(many)
        )),
    }
}

/// Registries that wrap what they tell in CloudEvents, as Harbor can be told to and Event Grid does for Azure.
pub(crate) fn cloud_events(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
    let decoded = events::decode(
        delivery.headers(),
        delivery.body().clone(),
        &Limits::default(),
    )
    .map_err(|error| ParseError::malformed("the event", &error.to_string()))?;
    let events = match decoded {
        Decoded::One(event) => vec![*event],
        Decoded::Batch(events) => events,
    };
    let mut facts = Vec::new();
    let mut reason = "the batch is empty".to_owned();
    for event in &events {
        match read(event)? {
            Parsed::Events(more) => facts.extend(more),
            Parsed::Ping => reason = "it only tries the connection".to_owned(),
            Parsed::Ignored { reason: why } => reason = why,
        }
    }
    Ok(if facts.is_empty() {
        ignored(reason)
    } else {
        Parsed::Events(facts)
    })
}

fn read(event: &Message) -> Result<Parsed, ParseError> {
    of_cloud_event(event).unwrap_or(Err(ParseError::OtherVendor {
        claimed: Vendor::CloudEvents,
        here: <Registry as webhook::Vendor>::NAME,
    }))
}
