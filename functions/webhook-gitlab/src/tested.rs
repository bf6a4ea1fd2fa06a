//! The events that are understood, and by whose word.

use events::EventType;
use model::Vendor;
use webhook::{OF_A_CHANGE, Tested, With};

const RECORDED: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/gitlab/testdata/webhooks";

/// Every event that becomes something.
pub(crate) const TESTED: &[Tested] = &[
    Tested {
        vendor: Vendor::Gitlab,
        event: "Push Hook",
        becomes: &[
            EventType::GitPushed,
            EventType::GitBranchCreated,
            EventType::GitBranchDeleted,
        ],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Gitlab,
        event: "Tag Push Hook",
        becomes: &[EventType::GitTagged],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Gitlab,
        event: "Merge Request Hook",
        becomes: OF_A_CHANGE,
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Gitlab,
        event: "Pipeline Hook",
        becomes: &[EventType::PipelineFinished],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::Gitlab,
        event: "Release Hook",
        becomes: &[EventType::GitReleased],
        with: With::Documented(
            "https://docs.gitlab.com/user/project/integrations/webhook_events/#release-events",
        ),
    },
];
