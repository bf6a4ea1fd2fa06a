//! The events that are understood, and by whose word. What is not here is recorded and ignored.

use events::EventType;
use model::Vendor;
use webhook::{Tested, With};

const PUSHED: &[EventType] = &[EventType::ImagePushed];
const DELETED: &[EventType] = &[EventType::ImageDeleted];
const HARBOR: &str =
    "https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/";
const HARBOR_OLD: &str =
    "https://goharbor.io/docs/1.10/working-with-projects/project-configuration/configure-webhooks/";
const ACR: &str =
    "https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference";
const ECR: &str = "https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html";
const ARTIFACT_REGISTRY: &str =
    "https://cloud.google.com/artifact-registry/docs/configure-notifications";
const DISTRIBUTION: &str = "https://distribution.github.io/distribution/about/notifications/";
const JFROG: &str =
    "https://jfrog.com/help/r/jfrog-platform-administration-documentation/docker-webhook-events";
const NEXUS: &str = "https://help.sonatype.com/en/repository-component-webhook.html";

const fn recorded(
    vendor: Vendor,
    event: &'static str,
    becomes: &'static [EventType],
    source: &'static str,
) -> Tested {
    Tested {
        vendor,
        event,
        becomes,
        with: With::Recorded(source),
    }
}

const fn documented(
    vendor: Vendor,
    event: &'static str,
    becomes: &'static [EventType],
    source: &'static str,
) -> Tested {
    Tested {
        vendor,
        event,
        becomes,
        with: With::Documented(source),
    }
}

/// Every event that becomes something, and every try.
pub(crate) const TESTED: &[Tested] = &[
    recorded(
        Vendor::DockerHub,
        "push",
        PUSHED,
        "https://github.com/go-playground/webhooks/tree/master/testdata/docker",
    ),
    documented(
        Vendor::Quay,
        "push",
        PUSHED,
        "https://docs.quay.io/guides/notifications.html",
    ),
    recorded(Vendor::Harbor, "PUSH_ARTIFACT", PUSHED, HARBOR),
    recorded(Vendor::Harbor, "DELETE_ARTIFACT", DELETED, HARBOR),
    documented(Vendor::Harbor, "pushImage", PUSHED, HARBOR_OLD),
    documented(Vendor::Acr, "push", PUSHED, ACR),
    documented(Vendor::Acr, "delete", DELETED, ACR),
    documented(Vendor::Acr, "ping", &[], ACR),
    recorded(Vendor::Ecr, "ECR Image Action PUSH", PUSHED, ECR),
    documented(Vendor::Ecr, "ECR Image Action DELETE", DELETED, ECR),
    documented(
        Vendor::ArtifactRegistry,
        "INSERT",
        PUSHED,
        ARTIFACT_REGISTRY,
    ),
    documented(
        Vendor::ArtifactRegistry,
        "DELETE",
        DELETED,
        ARTIFACT_REGISTRY,
    ),
    recorded(Vendor::Distribution, "push", PUSHED, DISTRIBUTION),
    documented(Vendor::Distribution, "delete", DELETED, DISTRIBUTION),
    documented(Vendor::Jfrog, "docker pushed", PUSHED, JFROG),
    documented(Vendor::Jfrog, "docker deleted", DELETED, JFROG),
    documented(
        Vendor::Nexus,
        "rm:repository:component CREATED",
        PUSHED,
        NEXUS,
    ),
    documented(
        Vendor::Nexus,
        "rm:repository:component DELETED",
        DELETED,
        NEXUS,
    ),
];
