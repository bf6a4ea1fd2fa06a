//! CNCF Distribution, and registries that notify as it does. It waits with everything else until it is answered 2xx, so that
//! whatever is well-formed is.
//! <https://distribution.github.io/distribution/about/notifications/>

use model::Vendor;
use serde::Deserialize;
use webhook::image::{IMAGES_MAX, Named, When, host_of_url, ignored, is_manifest};
use webhook::{Name, Normalised, ParseError, Parsed};

/// Any number of events that need have nothing to do with each other.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    action: Name<64>,
    #[serde(default)]
    timestamp: When,
    target: Target,
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
    url: Option<Name<2_048>>,
}

#[derive(Debug, Deserialize)]
struct Request {
    host: Option<Name<255>>,
}

#[derive(Debug, Deserialize)]
struct Actor {
    name: Option<Name<255>>,
}

enum Happened {
    Pushed,
    Deleted,
}

impl Envelope {
    pub(crate) fn parsed(self) -> Result<Parsed, ParseError> {
        let mut facts = Vec::new();
        for (index, event) in self.events.into_iter().enumerate() {
            if let Some(happened) = event.happened() {
                facts.push(event.fact(&happened, &format!("events[{index}].target"))?);
            }
            if facts.len() > IMAGES_MAX {
                let problem = format!("more than {IMAGES_MAX} images");
                return Err(ParseError::malformed("events", &problem));
            }
        }
        if facts.is_empty() {
            return Ok(ignored(
                "none of its events pushes or deletes an image: they are pulls, mounts or layers",
            ));
        }
        Ok(Parsed::Events(facts))
    }
}

impl Event {
    /// What happened to an image. Layers and configurations come as pushes too, with media types of their own; what is
    /// deleted says neither its type nor, unless it is a tag, anything but its digest.
    fn happened(&self) -> Option<Happened> {
        let is =
            |name: &Option<Name<255>>| name.as_ref().is_some_and(|name| !name.as_str().is_empty());
        let manifest = self
            .target
            .media_type
            .as_ref()
            .is_some_and(|media_type| is_manifest(media_type.as_str()));
        match self.action.as_str() {
            "push" if is(&self.target.tag) || manifest => Some(Happened::Pushed),
            "delete" if is(&self.target.tag) || is(&self.target.digest) => Some(Happened::Deleted),
            _ => None,
        }
    }

    fn fact(self, happened: &Happened, at: &str) -> Result<Normalised, ParseError> {
        let text = |name: Option<Name<255>>| name.and_then(Name::filled);
        let repository = text(self.target.repository)
            .ok_or_else(|| ParseError::malformed(&format!("{at}.repository"), "is missing"))?;
        // What the client called is what others can call; the URL may hold a name that only the registry knows.
        let registry = self
            .request
            .and_then(|request| text(request.host))
            .or_else(|| host_of_url(self.target.url?.as_str()));
        let named = Named {
            registry,
            tag: text(self.target.tag),
            digest: text(self.target.digest),
            media_type: text(self.target.media_type),
            actor: self.actor.and_then(|actor| text(actor.name)),
            occurred_at: self.timestamp.0,
            ..Named::new(Vendor::Distribution, repository)
        };
        match happened {
            Happened::Pushed => named.pushed(at),
            Happened::Deleted => named.deleted(at),
        }
    }
}
