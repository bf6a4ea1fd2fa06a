//! The events that are understood, and by whose word.

use events::EventType;
use model::Vendor;
use webhook::{OF_A_CHANGE, Tested, With};

const RECORDED_GITEA: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/gitea/testdata/webhooks";
const RECORDED_GOGS: &str =
    "https://github.com/drone/go-scm/tree/master/scm/driver/gogs/testdata/webhooks";
const GITEA_HOOKS: &str = "https://github.com/go-gitea/gitea/blob/main/modules/structs/hook.go";
const FORGEJO_HOOKS: &str = "https://forgejo.org/docs/latest/user/webhooks/";

/// Every event that becomes something.
pub(crate) const TESTED: &[Tested] = &[
    Tested {
        vendor: Vendor::Gitea,
        event: "push",
        becomes: &[EventType::GitPushed, EventType::GitTagged],
        with: With::Recorded(RECORDED_GITEA),
    },
    Tested {
        vendor: Vendor::Gitea,
        event: "create",
        becomes: &[EventType::GitBranchCreated, EventType::GitTagged],
        with: With::Recorded(RECORDED_GITEA),
    },
    Tested {
        vendor: Vendor::Gitea,
        event: "delete",
        becomes: &[EventType::GitBranchDeleted, EventType::GitTagged],
        with: With::Recorded(RECORDED_GITEA),
    },
    Tested {
        vendor: Vendor::Gitea,
        event: "pull_request",
        becomes: OF_A_CHANGE,
        with: With::Recorded(RECORDED_GITEA),
    },
    Tested {
        vendor: Vendor::Gitea,
        event: "pull_request_approved",
        becomes: &[EventType::GitChangeReviewed],
        with: With::Documented(GITEA_HOOKS),
    },
    Tested {
        vendor: Vendor::Gitea,
        event: "release",
        becomes: &[EventType::GitReleased],
        with: With::Documented(GITEA_HOOKS),
    },
    Tested {
        vendor: Vendor::Gitea,
        event: "package",
        becomes: &[EventType::ImagePushed, EventType::ImageDeleted],
        with: With::Documented(
            "https://github.com/go-gitea/gitea/blob/main/modules/structs/package.go",
        ),
    },
    Tested {
        vendor: Vendor::Forgejo,
        event: "push",
        becomes: &[EventType::GitPushed, EventType::GitTagged],
        with: With::Documented(FORGEJO_HOOKS),
    },
    Tested {
        vendor: Vendor::Forgejo,
        event: "create",
        becomes: &[EventType::GitBranchCreated, EventType::GitTagged],
        with: With::Documented(FORGEJO_HOOKS),
    },
    Tested {
        vendor: Vendor::Forgejo,
        event: "delete",
        becomes: &[EventType::GitBranchDeleted, EventType::GitTagged],
        with: With::Documented(FORGEJO_HOOKS),
    },
    Tested {
        vendor: Vendor::Forgejo,
        event: "pull_request",
        becomes: OF_A_CHANGE,
        with: With::Documented(FORGEJO_HOOKS),
    },
    Tested {
        vendor: Vendor::Forgejo,
        event: "release",
        becomes: &[EventType::GitReleased],
        with: With::Documented(FORGEJO_HOOKS),
    },
    Tested {
        vendor: Vendor::Forgejo,
        event: "package",
        becomes: &[EventType::ImagePushed, EventType::ImageDeleted],
        with: With::Documented(FORGEJO_HOOKS),
    },
    Tested {
        vendor: Vendor::Gogs,
        event: "push",
        becomes: &[EventType::GitPushed, EventType::GitTagged],
        with: With::Recorded(RECORDED_GOGS),
    },
    Tested {
        vendor: Vendor::Gogs,
        event: "create",
        becomes: &[EventType::GitBranchCreated, EventType::GitTagged],
        with: With::Recorded(RECORDED_GOGS),
    },
    Tested {
        vendor: Vendor::Gogs,
        event: "delete",
        becomes: &[EventType::GitBranchDeleted, EventType::GitTagged],
        with: With::Recorded(RECORDED_GOGS),
    },
    Tested {
        vendor: Vendor::Gogs,
        event: "pull_request",
        becomes: OF_A_CHANGE,
        with: With::Recorded(RECORDED_GOGS),
    },
    Tested {
        vendor: Vendor::Gogs,
        event: "release",
        becomes: &[EventType::GitReleased],
        with: With::Documented(
            "https://github.com/gogs/docs-api/blob/master/Repositories/Webhooks.md",
        ),
    },
];
