//! What is read of the payloads of Azure DevOps.
//! <https://learn.microsoft.com/azure/devops/service-hooks/events>

mod build;
mod change;
mod push;

use model::Vendor;
use serde::Deserialize;
use webhook::git::{Place, Pusher, RepositoryPath, Word};
use webhook::{Labels, Name, ParseError, Parsed};

pub(crate) use build::BuildPayload;
pub(crate) use change::ChangePayload;
pub(crate) use push::PushPayload;

/// The subscription of a try has this id, so that all of them would pass for one delivery.
const NO_SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";

/// What every payload has, whatever its subscription cuts down.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    #[serde(rename = "eventType")]
    event: Word,
    #[serde(rename = "publisherId")]
    _publisher: Word,
    id: Option<Word>,
    #[serde(rename = "subscriptionId")]
    subscription: Option<Word>,
    #[serde(rename = "notificationId")]
    notification: Option<u64>,
}

impl Envelope {
    pub(crate) fn event(&self) -> &str {
        self.event.as_str()
    }

    pub(crate) fn labels(self) -> Labels {
        let subscription = self
            .subscription
            .filter(|it| it.as_str() != NO_SUBSCRIPTION);
        let key = match (subscription, self.notification) {
            (Some(subscription), Some(notification)) => {
                Some(format!("{}:{notification}", subscription.as_str()))
            }
            (Some(_) | None, _) => self.id.map(Word::into_string),
        };
        Labels {
            vendor: Some(Vendor::AzureDevops),
            event: Some(self.event.into_string()),
            key,
        }
    }
}

/// What is said of a payload that has been cut down.
fn too_little() -> Parsed {
    Parsed::Ignored {
        reason:
            "the subscription leaves out what happened: set its \"Resource details to send\" to All"
                .to_owned(),
    }
}

#[derive(Debug, Deserialize)]
struct Repository {
    name: Name<255>,
    project: Project,
    #[serde(rename = "webUrl")]
    web_url: Option<Name<2_048>>,
    #[serde(rename = "remoteUrl")]
    remote_url: Option<Name<2_048>>,
    #[serde(rename = "sshUrl")]
    ssh_url: Option<Name<2_048>>,
    #[serde(rename = "defaultBranch")]
    default_branch: Option<Name<1_024>>,
}

#[derive(Debug, Deserialize)]
struct Project {
    name: Name<255>,
}

impl Repository {
    fn path(&self) -> Result<RepositoryPath, ParseError> {
        RepositoryPath::of(&[self.project.name.as_str(), self.name.as_str()])
            .map_err(|problem| ParseError::malformed("resource.repository", &problem))
    }

    fn normalised(self) -> Result<model::git::Repository, ParseError> {
        let path = self.path()?;
        let mut repository = Place {
            path,
            html_url: self.web_url.or_else(|| self.remote_url.clone()),
            clone_urls: self.remote_url.into_iter().chain(self.ssh_url).collect(),
            default_branch: None,
        }
        .normalised();
        // It names the branch in full.
        let default_branch = self.default_branch.and_then(Name::filled);
        repository.default_branch = default_branch.map(|branch| {
            let short = branch.strip_prefix("refs/heads/");
            short.map(str::to_owned).unwrap_or(branch)
        });
        Ok(repository)
    }
}

/// Who did it, by an id that says nothing to people.
#[derive(Debug, Deserialize)]
struct Person {
    id: Option<Name<255>>,
    #[serde(rename = "displayName")]
    name: Option<Name<255>>,
}

impl Person {
    fn told(self) -> Pusher {
        Pusher {
            id: self.id.and_then(Name::filled),
            name: self.name.and_then(Name::filled),
        }
    }
}
