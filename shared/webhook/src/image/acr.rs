//! Azure Container Registry: what its own hooks send, which Event Grid puts into CloudEvents.
//! <https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference>,
//! <https://learn.microsoft.com/azure/event-grid/event-schema-container-registry>

use events::Message;
use model::Vendor;
use serde::Deserialize;

use super::{Named, When, cloud_data, ignored};
use crate::{Name, ParseError, Parsed};

/// What the types of Event Grid's events about it begin with.
pub const CLOUD_TYPES: &str = "Microsoft.ContainerRegistry.";

/// A hook's payload, and the data of an event.
#[derive(Debug, Deserialize)]
pub struct Notice {
    /// Its own name for the delivery.
    pub id: Option<Name<200>>,
    /// What happened.
    pub action: Name<100>,
    #[serde(default)]
    timestamp: When,
    target: Option<Target>,
    request: Option<Request>,
    actor: Option<Actor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    media_type: Option<Name<255>>,
    digest: Option<Name<255>>,
    repository: Option<Name<255>>,
    tag: Option<Name<255>>,
}

#[derive(Debug, Deserialize)]
struct Request {
    host: Option<Name<255>>,
}

#[derive(Debug, Deserialize)]
struct Actor {
    name: Option<Name<255>>,
}

impl Notice {
    /// What happened.
    ///
    /// # Errors
    /// When it says that an image was pushed or deleted and does not name it.
    pub fn parsed(self) -> Result<Parsed, ParseError> {
        let action = self.action.as_str().to_owned();
        match action.as_str() {
            "ping" => Ok(Parsed::Ping),
            "push" => Ok(Parsed::Events(vec![self.named("")?.pushed("target")?])),
            "delete" => Ok(Parsed::Events(vec![self.named("")?.deleted("target")?])),
            other => Ok(ignored(format!(
                "{other:?} of an Azure registry neither pushes nor deletes an image that can be run"
            ))),
        }
    }

    fn named(self, place: &str) -> Result<Named, ParseError> {
        let missing = |field: &str| ParseError::malformed(&format!("{place}{field}"), "is missing");
        let target = self.target.ok_or_else(|| missing("target"))?;
        let text = |name: Option<Name<255>>| name.and_then(Name::filled);
        let repository = text(target.repository).ok_or_else(|| missing("target.repository"))?;
        Ok(Named {
            registry: self.request.and_then(|request| text(request.host)),
            tag: text(target.tag),
            digest: text(target.digest),
            media_type: text(target.media_type),
            actor: self.actor.and_then(|actor| text(actor.name)),
            occurred_at: self.timestamp.0,
            ..Named::new(Vendor::Acr, repository)
        })
    }
}

/// `what` is its type without `Microsoft.ContainerRegistry.`.
pub(super) fn of_cloud_event(event: &Message, what: &str) -> Result<Parsed, ParseError> {
    if !matches!(what, "ImagePushed" | "ImageDeleted") {
        return Ok(ignored(format!(
            "{:?} neither pushes nor deletes an image that can be run",
            event.ty()
        )));
    }
    let notice: Notice = cloud_data(event)?;
    let mut named = notice.named("data.")?;
    if named.registry.is_none() {
        named.registry = registry_of(event.source());
    }
    let fact = if what == "ImagePushed" {
        named.pushed("data.target")?
    } else {
        named.deleted("data.target")?
    };
    Ok(Parsed::Events(vec![fact]))
}

/// The host of the registry that a resource id ends with.
fn registry_of(source: &str) -> Option<String> {
    let (_, name) = source.rsplit_once("/registries/")?;
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    named.then(|| format!("{name}.azurecr.io"))
}
