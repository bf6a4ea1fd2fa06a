//! The events that are understood, and by whose word.

use events::EventType;
use model::Vendor;
use webhook::{OF_A_CHANGE, Tested, With};

const RECORDED: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/github/testdata/webhooks";

/// Every event that becomes something.
pub(crate) const TESTED: &[Tested] = &[
    Tested {
        vendor: Vendor::Github,
        event: "push",
        becomes: &[EventType::GitPushed, EventType::GitTagged],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "create",
        becomes: &[EventType::GitBranchCreated, EventType::GitTagged],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "delete",
        becomes: &[EventType::GitBranchDeleted, EventType::GitTagged],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "pull_request",
        becomes: OF_A_CHANGE,
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "pull_request_review",
        becomes: &[EventType::GitChangeReviewed],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "release",
        becomes: &[EventType::GitReleased],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "package",
        becomes: &[EventType::ImagePushed],
        with: With::Recorded(
            "https://github.com/octokit/webhooks/tree/main/payload-examples/api.github.com/package",
        ),
    },
    Tested {
        vendor: Vendor::Github,
        event: "registry_package",
        becomes: &[EventType::ImagePushed],
        with: With::Documented(
            "https://docs.github.com/en/webhooks/webhook-events-and-payloads#registry_package",
        ),
    },
    Tested {
        vendor: Vendor::Github,
        event: "workflow_run",
        becomes: &[EventType::PipelineFinished],
        with: With::Documented(
            "https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_run",
        ),
    },
    Tested {
        vendor: Vendor::Github,
        event: "check_run",
        becomes: &[EventType::PipelineFinished],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Github,
        event: "ping",
        becomes: &[],
        with: With::Documented(
            "https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping",
        ),
    },
];
