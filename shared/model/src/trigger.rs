//! Triggers: why something starts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Glob;

/// What makes a trigger fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// A push or a tag of a Git repository.
    Git,
    /// An image in a registry.
    Registry,
    /// Anything that somebody posts.
    Webhook,
    /// A CloudEvent.
    Event,
    /// A person.
    Manual,
}

impl TriggerKind {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Registry => "registry",
            Self::Webhook => "webhook",
            Self::Event => "event",
            Self::Manual => "manual",
        }
    }
}

impl FromStr for TriggerKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        [
            Self::Git,
            Self::Registry,
            Self::Webhook,
            Self::Event,
            Self::Manual,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A text that names no kind of trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of trigger")]
pub struct UnknownKind(String);

/// Who sends a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// GitHub, github.com or Enterprise.
    Github,
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
    /// Gogs.
    Gogs,
    /// GitLab, gitlab.com or self-managed.
    Gitlab,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Data Center and Server.
    BitbucketDataCenter,
    /// Azure DevOps Services and Server.
    AzureDevops,
    /// Docker Hub.
    DockerHub,
    /// Quay.
    Quay,
    /// Harbor.
    Harbor,
    /// Azure Container Registry, by its own hooks or by Event Grid.
    Acr,
    /// Amazon Elastic Container Registry, by EventBridge.
    Ecr,
    /// Google Artifact Registry, by Pub/Sub.
    ArtifactRegistry,
    /// CNCF Distribution, and who speaks as it does.
    Distribution,
    /// JFrog Artifactory.
    Jfrog,
    /// Sonatype Nexus Repository.
    Nexus,
    /// Whoever sends CloudEvents.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// Whoever sends CDEvents.
    #[serde(rename = "cdevents")]
    CdEvents,
    /// Anybody else.
    Generic,
}

impl Vendor {
    /// The name in the database and in URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::Gogs => "gogs",
            Self::Gitlab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::BitbucketDataCenter => "bitbucket_data_center",
            Self::AzureDevops => "azure_devops",
            Self::DockerHub => "docker_hub",
            Self::Quay => "quay",
            Self::Harbor => "harbor",
            Self::Acr => "acr",
            Self::Ecr => "ecr",
            Self::ArtifactRegistry => "artifact_registry",
            Self::Distribution => "distribution",
            Self::Jfrog => "jfrog",
            Self::Nexus => "nexus",
            Self::CloudEvents => "cloudevents",
            Self::CdEvents => "cdevents",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A `git` trigger's filter. A list that is empty filters nothing, except that tags match only where `tags` is given.
///
/// A binding overrides it key by key at the top level.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitTrigger {
    /// `owner/name` of the repository; a pattern may span segments with `**`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Glob>,
    /// Branches whose pushes match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Glob>,
    /// Tags that match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Glob>,
    /// Paths of which at least one must have changed. A push that does not say what changed passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Glob>,
}
