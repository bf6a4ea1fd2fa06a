//! Triggers: why something starts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// A tick of a clock.
    Schedule,
    /// A person.
    Manual,
    /// A line in a log.
    Log,
    /// A CloudEvent.
    Event,
}

impl TriggerKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Git,
        Self::Registry,
        Self::Webhook,
        Self::Schedule,
        Self::Manual,
        Self::Log,
        Self::Event,
    ];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Registry => "registry",
            Self::Webhook => "webhook",
            Self::Schedule => "schedule",
            Self::Manual => "manual",
            Self::Log => "log",
            Self::Event => "event",
        }
    }

    /// Whether senders outside reach it by a URL.
    #[must_use]
    pub const fn takes_webhooks(self) -> bool {
        match self {
            Self::Git | Self::Registry | Self::Webhook | Self::Event => true,
            Self::Schedule | Self::Manual | Self::Log => false,
        }
    }

    /// The keys at the top level of its filter.
    #[must_use]
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Git => &[
                "repository",
                "branches",
                "tags",
                "paths",
                "ignore_skip",
                "changes",
                "releases",
                "pipelines",
            ],
            Self::Registry => &["image", "tags", "platform"],
            Self::Webhook => &["events", "fields"],
            Self::Schedule => &["rule", "start", "end", "time_zone", "missed"],
            Self::Manual => &[],
            Self::Log => &["rules", "severities"],
            Self::Event => &["exact", "prefix", "suffix"],
        }
    }
}

impl fmt::Display for TriggerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TriggerKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A text that names no kind of trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a kind of trigger: there are git, registry, webhook, schedule, manual, log and event"
)]
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
    /// Nobody: we looked for ourselves.
    Poll,
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
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
