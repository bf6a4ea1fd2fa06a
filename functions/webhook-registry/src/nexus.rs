//! Sonatype Nexus Repository. It signs with HMAC-SHA1 and nothing else, which is why that is taken under its header and under
//! no other.
//! <https://help.sonatype.com/en/webhooks.html>

use model::Vendor;
use serde::Deserialize;
use webhook::image::{Named, When, ignored};
use webhook::{Delivery, Name, ParseError, Parsed, Verified};

/// What happened to a component: an image, a package, anything that a repository holds.
#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(default)]
    timestamp: When,
    initiator: Option<Name<255>>,
    action: Name<64>,
    component: Component,
}

#[derive(Debug, Deserialize)]
struct Component {
    format: Name<64>,
    name: Option<Name<255>>,
    version: Option<Name<255>>,
}

pub(crate) fn parsed(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
    match delivery.event()? {
        (_, "rm:repository:component") => delivery.json::<Payload>()?.parsed(),
        (_, event) => delivery.unhandled(event),
    }
}

impl Payload {
    fn parsed(self) -> Result<Parsed, ParseError> {
        let format = self.component.format.as_str();
        if format != "docker" {
            return Ok(ignored(format!("a component of {format:?} is no image")));
        }
        let text = |name: Option<Name<255>>| name.and_then(Name::filled);
        let repository = text(self.component.name)
            .ok_or_else(|| ParseError::malformed("component.name", "is missing"))?;
        let named = Named {
            tag: text(self.component.version),
            actor: self.initiator.and_then(Name::filled),
            occurred_at: self.timestamp.0,
            // It tells neither its host nor the port of the repository.
            ..Named::new(Vendor::Nexus, repository)
        };
        match self.action.as_str() {
            "CREATED" | "UPDATED" => Ok(Parsed::Events(vec![named.pushed("component")?])),
            "DELETED" | "PURGED" => Ok(Parsed::Events(vec![named.deleted("component")?])),
            other => Ok(ignored(format!(
                "{other:?} neither pushes nor deletes an image"
            ))),
        }
    }
}
