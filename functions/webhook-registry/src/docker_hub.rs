//! Docker Hub. It signs nothing and sends no header of its own: its trigger has a secret in the path of its URL.
//! <https://docs.docker.com/docker-hub/repos/manage/webhooks/>

use model::Vendor;
use serde::Deserialize;
use webhook::image::{Named, When};
use webhook::{Name, ParseError, Parsed};

/// Docker Hub as images are named after it.
const REGISTRY: &str = "docker.io";

/// A push. It names no digest, so that a deploy asks the registry.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    push_data: Push,
    repository: Repository,
}

#[derive(Debug, Deserialize)]
struct Push {
    tag: Name<255>,
    #[serde(default)]
    pushed_at: When,
    pusher: Option<Name<255>>,
    media_type: Option<Name<255>>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    repo_name: Name<255>,
}

impl Payload {
    pub(crate) fn parsed(self) -> Result<Parsed, ParseError> {
        let name = self.repository.repo_name.as_str();
        // Official images have no owner in their name, and one in their address.
        let repository = if name.contains('/') {
            name.to_owned()
        } else {
            format!("library/{name}")
        };
        let fact = Named {
            registry: Some(REGISTRY.to_owned()),
            tag: self.push_data.tag.filled(),
            media_type: self.push_data.media_type.and_then(Name::filled),
            actor: self.push_data.pusher.and_then(Name::filled),
            occurred_at: self.push_data.pushed_at.0,
            ..Named::new(Vendor::DockerHub, repository)
        };
        Ok(Parsed::Events(vec![fact.pushed("push_data")?]))
    }
}
