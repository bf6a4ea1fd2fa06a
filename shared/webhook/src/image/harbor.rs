//! Harbor: the same data in two envelopes, one of its own and one that is a CloudEvent.
//! <https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/>

use events::Message;
use model::Vendor;
use serde::Deserialize;

use super::{IMAGES_MAX, Named, Reference, When, cloud_data, ignored};
use crate::{Name, Normalised, ParseError, Parsed};

/// What the types of its CloudEvents begin with.
pub const CLOUD_TYPES: &str = "harbor.";

/// Its own envelope. `type` says what happened, in words that older versions write in another way.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: Name<100>,
    #[serde(default)]
    occur_at: When,
    operator: Option<Name<255>>,
    event_data: Option<EventData>,
}

/// What both envelopes hold.
#[derive(Debug, Deserialize)]
struct EventData {
    resources: Option<Vec<Resource>>,
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    tag: Option<Name<255>>,
    digest: Option<Name<255>>,
    resource_url: Option<Name<2_048>>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    repo_full_name: Name<255>,
}

enum Happened {
    Pushed,
    Deleted,
}

impl Envelope {
    /// What happened.
    ///
    /// # Errors
    /// When it says that images were pushed or deleted and does not name them.
    pub fn parsed(self) -> Result<Parsed, ParseError> {
        let happened = match self.kind.as_str() {
            "PUSH_ARTIFACT" | "pushImage" => Happened::Pushed,
            "DELETE_ARTIFACT" | "deleteImage" => Happened::Deleted,
            other => return Ok(nothing(other)),
        };
        let data = self
            .event_data
            .ok_or_else(|| ParseError::malformed("event_data", "is missing"))?;
        let operator = self.operator.and_then(Name::filled);
        data.parsed(&happened, operator.as_deref(), self.occur_at, "event_data")
    }
}

fn nothing(kind: &str) -> Parsed {
    ignored(format!(
        "Harbor's {kind:?} neither pushes nor deletes an image"
    ))
}

/// `what` is its type without `harbor.`.
pub(super) fn of_cloud_event(event: &Message, what: &str) -> Result<Parsed, ParseError> {
    let happened = match what {
        "artifact.pushed" => Happened::Pushed,
        "artifact.deleted" => Happened::Deleted,
        _ => return Ok(nothing(event.ty())),
    };
    let operator = event.extension("operator").and_then(|value| match value {
        events::Value::String(text) => Some(text.clone()),
        events::Value::Boolean(_) | events::Value::Integer(_) => None,
    });
    let at = When(event.time().map(|time| time.at().to_utc()));
    cloud_data::<EventData>(event)?.parsed(&happened, operator.as_deref(), at, "data")
}

impl EventData {
    fn parsed(
        self,
        happened: &Happened,
        operator: Option<&str>,
        occurred_at: When,
        place: &str,
    ) -> Result<Parsed, ParseError> {
        let missing =
            |field: &str| ParseError::malformed(&format!("{place}.{field}"), "is missing");
        let repository = self.repository.ok_or_else(|| missing("repository"))?;
        let repository = repository.repo_full_name.as_str();
        let resources = self.resources.ok_or_else(|| missing("resources"))?;
        if resources.len() > IMAGES_MAX {
            return Err(ParseError::malformed(
                &format!("{place}.resources"),
                &format!("more than {IMAGES_MAX} images"),
            ));
        }
        let facts: Vec<Normalised> = resources
            .into_iter()
            .enumerate()
            .map(|(index, resource)| {
                let at = format!("{place}.resources[{index}]");
                let named = resource.named(repository, &at)?;
                let named = Named {
                    actor: operator.map(str::to_owned),
                    occurred_at: occurred_at.0,
                    ..named
                };
                match happened {
                    Happened::Pushed => named.pushed(&at),
                    Happened::Deleted => named.deleted(&at),
                }
            })
            .collect::<Result<_, _>>()?;
        if facts.is_empty() {
            return Ok(ignored("it names no image"));
        }
        Ok(Parsed::Events(facts))
    }
}

impl Resource {
    /// What it is called. The registry is told by the resource's URL alone, which must be of this repository.
    fn named(self, repository: &str, at: &str) -> Result<Named, ParseError> {
        let text = |name: Option<Name<255>>| name.and_then(Name::filled);
        let mut named = Named {
            tag: text(self.tag),
            digest: text(self.digest),
            ..Named::new(Vendor::Harbor, repository)
        };
        if let Some(url) = self.resource_url.and_then(Name::filled) {
            let url = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let reference = Reference::of_registry(url)
                .filter(|reference| reference.repository == repository)
                .ok_or_else(|| {
                    let problem = format!("is not a URL of the repository {repository:?}");
                    ParseError::malformed(&format!("{at}.resource_url"), &problem)
                })?;
            named.registry = Some(reference.registry);
        }
        Ok(named)
    }
}
