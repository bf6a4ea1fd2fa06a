//! The events that are understood, and by whose word.

use events::EventType;
use model::Vendor;
use webhook::{Tested, With};

const RECORDED: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/azure/testdata/webhooks";

/// Every event that becomes something.
pub(crate) const TESTED: &[Tested] = &[
    Tested {
        vendor: Vendor::AzureDevops,
        event: "git.push",
        becomes: &[
            EventType::GitPushed,
            EventType::GitTagged,
            EventType::GitBranchCreated,
            EventType::GitBranchDeleted,
        ],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::AzureDevops,
        event: "git.pullrequest.created",
        becomes: &[EventType::GitChangeOpened],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::AzureDevops,
        event: "git.pullrequest.updated",
        becomes: &[
            EventType::GitChangeSynchronized,
            EventType::GitChangeClosed,
            EventType::GitChangeMerged,
        ],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::AzureDevops,
        event: "git.pullrequest.merged",
        becomes: &[
            EventType::GitChangeEdited,
            EventType::GitChangeClosed,
            EventType::GitChangeMerged,
        ],
        with: With::Recorded(RECORDED),
    },
    Tested {
        vendor: Vendor::AzureDevops,
        event: "build.complete",
        becomes: &[EventType::PipelineFinished],
        with: With::Documented(
            "https://learn.microsoft.com/azure/devops/service-hooks/events#build.complete",
        ),
    },
];
