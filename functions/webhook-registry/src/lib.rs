//! Takes the webhooks of registries: Docker Hub, Quay, Harbor, Azure Container Registry, Amazon ECR, Google Artifact
//! Registry, CNCF Distribution, JFrog Artifactory and Sonatype Nexus.
//!
//! An image that was pushed or deleted becomes an event; several in one request become several. What else a registry
//! tells (pulls, scans, quotas, charts, layers) is recorded and ignored. Most have no header of their own and are told apart
//! by what their bodies are like; how they prove who they are is the trigger's to say.

mod artifact_registry;
mod distribution;
mod docker_hub;
mod ecr;
mod jfrog;
mod nexus;
mod quay;
mod tested;
mod told;

use host::{Function, Kind};
use model::DatabaseRole;
use webhook::image::{acr, harbor};
use webhook::{
    BadSignature, Delivery, Labels, ParseError, Parsed, Raw, Secrets, Vendor, Verified, Which,
};

/// `POST /<trigger>`, and `POST /<trigger>/<secret>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: webhook::routes::<Registry>,
};

/// Every registry.
#[derive(Debug)]
pub struct Registry;

impl Vendor for Registry {
    const NAME: &'static str = "registry";
    const SENDERS: &'static [model::Vendor] = &[
        model::Vendor::DockerHub,
        model::Vendor::Quay,
        model::Vendor::Harbor,
        model::Vendor::Acr,
        model::Vendor::Ecr,
        model::Vendor::ArtifactRegistry,
        model::Vendor::Distribution,
        model::Vendor::Jfrog,
        model::Vendor::Nexus,
    ];
    const TESTED: &'static [webhook::Tested] = tested::TESTED;

    fn labels(delivery: &Delivery<Verified>) -> Labels {
        told::labels(delivery)
    }

    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature> {
        delivery.check_configured(secrets)
    }

    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError> {
        match told::sender(delivery)? {
            model::Vendor::DockerHub => delivery.json::<docker_hub::Payload>()?.parsed(),
            model::Vendor::Quay => delivery.json::<quay::Payload>()?.parsed(),
            model::Vendor::Harbor => delivery.json::<harbor::Envelope>()?.parsed(),
            model::Vendor::Acr => delivery.json::<acr::Notice>()?.parsed(),
            model::Vendor::Ecr => delivery.json::<ecr::Event>()?.parsed(),
            model::Vendor::ArtifactRegistry => artifact_registry::parsed(delivery),
            model::Vendor::Distribution => delivery.json::<distribution::Envelope>()?.parsed(),
            model::Vendor::Jfrog => delivery.json::<jfrog::Payload>()?.parsed(),
            model::Vendor::Nexus => nexus::parsed(delivery),
            model::Vendor::CloudEvents => told::cloud_events(delivery),
            claimed @ (model::Vendor::Github
            | model::Vendor::Gitea
            | model::Vendor::Forgejo
            | model::Vendor::Gogs
            | model::Vendor::Gitlab
            | model::Vendor::Bitbucket
            | model::Vendor::BitbucketDataCenter
            | model::Vendor::AzureDevops
            | model::Vendor::CdEvents
            | model::Vendor::Generic
            | model::Vendor::Poll) => Err(ParseError::OtherVendor {
                claimed,
                here: Self::NAME,
            }),
        }
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
