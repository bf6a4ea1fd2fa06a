//! Workloads: in a list, and by themselves, with their revisions.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::job::JobRow;
use super::reader::{Link, Tone};
use crate::i18n::Key;

/// How a workload is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkloadState {
    /// Nothing was deployed yet.
    Empty,
    /// A deploy runs.
    Deploying,
    /// The newest deploy is live.
    Live,
    /// The last deploy failed; what was live before still is.
    Failed,
}

impl WorkloadState {
    /// The message that names the state.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Empty => Key("workload-empty"),
            Self::Deploying => Key("workload-deploying"),
            Self::Live => Key("workload-live"),
            Self::Failed => Key("workload-failed"),
        }
    }

    /// The symbol in the icon sprite.
    #[must_use]
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Empty => "minus",
            Self::Deploying => "running",
            Self::Live => "check",
            Self::Failed => "cross",
        }
    }

    /// How it is doing.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Empty => Tone::Quiet,
            Self::Deploying => Tone::Active,
            Self::Live => Tone::Good,
            Self::Failed => Tone::Bad,
        }
    }
}

/// A workload in a list.
#[derive(Clone, Debug)]
pub struct WorkloadRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its source kind, such as `static`.
    pub kind: String,
    /// How it is doing.
    pub state: WorkloadState,
    /// Where it is served.
    pub url: Option<String>,
    /// The revision that is live.
    pub live: Option<LiveRevision>,
}

/// The revision of a workload that is live.
#[derive(Clone, Debug)]
pub struct LiveRevision {
    /// Its number within the workload.
    pub number: i64,
    /// The commit or digest, whole.
    pub commit: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A deployed state of a workload.
#[derive(Clone, Debug)]
pub struct RevisionRow {
    /// Its number within the workload.
    pub number: i64,
    /// The commit or digest that was deployed, whole.
    pub commit: String,
    /// What was asked for, when that was something else.
    pub asked: Option<String>,
    /// The first line of the commit's message.
    pub message: Option<String>,
    /// When it was first live.
    pub deployed_at: DateTime<Utc>,
    /// The job that made it.
    pub job: Option<i64>,
    /// Whether it is live.
    pub live: bool,
    /// Where to ask for it to be live again; nothing when it is, or the reader may not.
    pub rollback_href: Option<String>,
}

/// A binding in a list.
#[derive(Clone, Debug)]
pub struct BindingRow {
    /// Its name.
    pub name: String,
    /// The trigger it listens to.
    pub trigger: String,
    /// What kind of trigger that is.
    pub trigger_kind: String,
    /// What it filters for, in its own words.
    pub filter: Option<String>,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// A workload's page.
#[derive(Clone, Debug)]
pub struct WorkloadPage {
    /// What the list shows of it.
    pub row: WorkloadRow,
    /// Where it comes from, such as a repository's address.
    pub source: Option<String>,
    /// Its revisions, newest first.
    pub revisions: Vec<RevisionRow>,
    /// What starts it.
    pub bindings: Vec<BindingRow>,
    /// Its newest jobs.
    pub jobs: Vec<JobRow>,
    /// Where to ask for a deploy of what its source says now; nothing when this reader may not.
    pub deploy_href: Option<String>,
    /// Where changes to this page come from.
    pub live_href: String,
}

/// The question before a rollback.
#[derive(Clone, Debug)]
pub struct RollbackPage {
    /// The workload.
    pub workload: Link,
    /// What is live.
    pub from: Option<LiveRevision>,
    /// What would be.
    pub to: RevisionRow,
    /// Where the answer goes.
    pub action: String,
}
