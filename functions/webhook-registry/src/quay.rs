//! Quay, quay.io or one's own. It signs nothing: its trigger has a secret in the path of its URL.
//! <https://docs.quay.io/guides/notifications.html>

use model::Vendor;
use serde::Deserialize;
use webhook::image::{IMAGES_MAX, Named, Reference, ignored};
use webhook::{Name, ParseError, Parsed};

/// A notification. Only that of a push lists tags that were updated; those of builds, scans and mirrors have other fields.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    docker_url: Name<2_048>,
    repository: Name<255>,
    updated_tags: Option<Vec<Name<255>>>,
}

impl Payload {
    /// One event for each tag. No digest is named, so that a deploy asks the registry.
    pub(crate) fn parsed(self) -> Result<Parsed, ParseError> {
        let Some(tags) = self.updated_tags else {
            return Ok(ignored("Quay tells of something else than a push"));
        };
        if tags.is_empty() {
            return Ok(ignored("the push updated no tag"));
        }
        if tags.len() > IMAGES_MAX {
            let problem = format!("more than {IMAGES_MAX} tags");
            return Err(ParseError::malformed("updated_tags", &problem));
        }
        let repository = self.repository.as_str();
        let reference = Reference::of_registry(self.docker_url.as_str())
            .filter(|reference| reference.repository == repository)
            .ok_or_else(|| {
                let problem = format!("is not an address of the repository {repository:?}");
                ParseError::malformed("docker_url", &problem)
            })?;
        let facts = tags.into_iter().enumerate().map(|(index, tag)| {
            let named = Named {
                registry: Some(reference.registry.clone()),
                tag: tag.filled(),
                ..Named::new(Vendor::Quay, repository)
            };
            named.pushed(&format!("updated_tags[{index}]"))
        });
        Ok(Parsed::Events(facts.collect::<Result<_, _>>()?))
    }
}
