//! The events that are understood, and by whose word.

use events::EventType;
use model::Vendor;
use webhook::{Tested, With};

const RECORDED_CLOUD: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/bitbucket/testdata/webhooks";
const RECORDED_DATA_CENTER: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/stash/testdata/webhooks";

/// Every event that becomes something.
pub(crate) const TESTED: &[Tested] = &[
    Tested {
        vendor: Vendor::Bitbucket,
        event: "repo:push",
        becomes: &[
            EventType::GitPushed,
            EventType::GitTagged,
            EventType::GitBranchCreated,
            EventType::GitBranchDeleted,
        ],
        with: With::Recorded(RECORDED_CLOUD),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "pullrequest:created",
        becomes: &[EventType::GitChangeOpened],
        with: With::Recorded(RECORDED_CLOUD),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "pullrequest:updated",
        becomes: &[EventType::GitChangeSynchronized],
        with: With::Recorded(RECORDED_CLOUD),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "pullrequest:approved",
        becomes: &[EventType::GitChangeReviewed],
        with: With::Documented(
            "https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Approved",
        ),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "pullrequest:fulfilled",
        becomes: &[EventType::GitChangeMerged],
        with: With::Recorded(RECORDED_CLOUD),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "pullrequest:rejected",
        becomes: &[EventType::GitChangeClosed],
        with: With::Recorded(RECORDED_CLOUD),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "repo:commit_status_created",
        becomes: &[EventType::PipelineFinished],
        with: With::Documented(
            "https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Build-status-created",
        ),
    },
    Tested {
        vendor: Vendor::Bitbucket,
        event: "repo:commit_status_updated",
        becomes: &[EventType::PipelineFinished],
        with: With::Recorded(RECORDED_CLOUD),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "repo:refs_changed",
        becomes: &[
            EventType::GitPushed,
            EventType::GitTagged,
            EventType::GitBranchCreated,
            EventType::GitBranchDeleted,
        ],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:opened",
        becomes: &[EventType::GitChangeOpened],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:from_ref_updated",
        becomes: &[EventType::GitChangeSynchronized],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:modified",
        becomes: &[EventType::GitChangeEdited],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:merged",
        becomes: &[EventType::GitChangeMerged],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:declined",
        becomes: &[EventType::GitChangeClosed],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:deleted",
        becomes: &[EventType::GitChangeClosed],
        with: With::Recorded(RECORDED_DATA_CENTER),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "pr:reviewer:approved",
        becomes: &[EventType::GitChangeReviewed],
        with: With::Documented(
            "https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html",
        ),
    },
    Tested {
        vendor: Vendor::BitbucketDataCenter,
        event: "diagnostics:ping",
        becomes: &[],
        with: With::Documented(
            "https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html",
        ),
    },
];
