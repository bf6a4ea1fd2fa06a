//! The events that are understood, and by whose word. Every other event becomes one that carries it whole.

use events::EventType;
use model::Vendor;
use webhook::{Tested, With};

const HARBOR: &str =
    "https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/";
const EVENT_GRID: &str =
    "https://learn.microsoft.com/azure/event-grid/event-schema-container-registry";

/// Every event that becomes something.
pub(crate) const TESTED: &[Tested] = &[
    Tested {
        vendor: Vendor::CloudEvents,
        event: "any",
        becomes: &[EventType::WebhookReceived],
        with: With::Documented(
            "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md",
        ),
    },
    Tested {
        vendor: Vendor::CdEvents,
        event: "any of 0.5 and 0.6",
        becomes: &[EventType::WebhookReceived],
        with: With::Recorded("https://github.com/cdevents/spec/tree/main/conformance"),
    },
    Tested {
        vendor: Vendor::CdEvents,
        event: "any of 0.4 and before",
        becomes: &[EventType::WebhookReceived],
        with: With::Documented("https://github.com/cdevents/spec/blob/v0.4.1/spec.md"),
    },
    Tested {
        vendor: Vendor::Harbor,
        event: "harbor.artifact.pushed",
        becomes: &[EventType::ImagePushed],
        with: With::Documented(HARBOR),
    },
    Tested {
        vendor: Vendor::Harbor,
        event: "harbor.artifact.deleted",
        becomes: &[EventType::ImageDeleted],
        with: With::Recorded(HARBOR),
    },
    Tested {
        vendor: Vendor::Acr,
        event: "Microsoft.ContainerRegistry.ImagePushed",
        becomes: &[EventType::ImagePushed],
        with: With::Recorded(EVENT_GRID),
    },
    Tested {
        vendor: Vendor::Acr,
        event: "Microsoft.ContainerRegistry.ImageDeleted",
        becomes: &[EventType::ImageDeleted],
        with: With::Documented(EVENT_GRID),
    },
];
