//! What starts what: the kinds of triggers, what each binding makes of an event and why, conditions and payload templates.
//!
//! Pure: the same code decides for `dispatch`, says in a dry run what would have happened, and refuses at the API what could
//! never be decided. [`decide`] makes the decisions; [`check_trigger`] and [`check_binding`] look at what is to be saved.

pub mod cel;
mod check;
mod checks;
mod decide;
mod fault;
mod filter;
mod git;
mod kinds;
mod other;
mod registry;
pub mod tags;
pub mod template;
mod view;

use model::{BindingId, Check, Clause, EventId, TriggerId, WorkloadId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use check::{
    BindingDraft, Found, OVERRIDES_BYTES_MAX, TriggerDraft, check_binding, check_trigger,
    check_workload,
};
pub use decide::{decide, deploy_key, workload_queue};
pub use fault::{Fault, Why, joined};
pub use kinds::{KindDescription, kinds};
pub use view::{VIEW_BYTES_MAX, view};

/// An event, as those who decide see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event.
    pub id: EventId,
    /// CloudEvents `type`.
    pub ty: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The data as JSON text.
    pub data: String,
    /// What the whole chain has in common.
    pub correlation_id: String,
    /// How many times work led here.
    pub depth: i32,
    /// Only this binding is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_binding: Option<BindingId>,
    /// The job that it tells of, where it is one of ours that ended and is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<EndedJob>,
    /// Whether it tells of work that came from people who may not write here: then so does what it leads to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

/// A job that ended, as those see it whom that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedJob {
    /// What was to be done; null where that is too large to be looked at.
    pub payload: Value,
    /// Its key.
    pub key: Option<String>,
    /// Whether a plan or a look at drift found changes, where it was one.
    pub changes: Option<bool>,
    /// Whether it came from people who may not write here.
    pub untrusted: bool,
}

/// A trigger, as those who decide see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// The trigger.
    pub id: TriggerId,
    /// The kind's name.
    pub kind: String,
    /// The kind's filter.
    pub config: Map<String, Value>,
    /// What must be true beside it: a [`model::Condition`].
    #[serde(default)]
    pub condition: Option<Value>,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// A binding, as those who decide see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The binding.
    pub id: BindingId,
    /// Overrides of the trigger's filter, key by key at the top level; null takes a key away.
    #[serde(default)]
    pub filter: Map<String, Value>,
    /// What must be true beside the filter and the trigger's condition: a [`model::Condition`].
    #[serde(default)]
    pub condition: Option<Value>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What it starts.
    pub target: Target,
}

/// What a binding starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A workload's deploy.
    Workload {
        /// Which.
        id: WorkloadId,
        /// The kind of its source.
        source: String,
        /// Overrides of its config.
        #[serde(default)]
        overrides: Map<String, Value>,
    },
    /// A task.
    Task {
        /// Its name.
        task: String,
        /// JSON whose texts may be templates.
        payload: Value,
        /// A template of the named queue.
        #[serde(default)]
        queue_name: Option<String>,
        /// A template of the key.
        #[serde(default)]
        key: Option<String>,
        /// Higher ones first.
        #[serde(default)]
        priority: i32,
    },
}

/// What a binding made of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It starts this.
    Matched {
        /// Which binding.
        binding: BindingId,
        /// The clauses that held, in the order they were tried.
        held: Vec<Check>,
        /// What it starts.
        start: Start,
    },
    /// It starts nothing.
    Unmatched {
        /// Which binding.
        binding: BindingId,
        /// The clauses that held before.
        held: Vec<Check>,
        /// The clause that failed.
        failed: Check,
    },
}

impl Decision {
    /// The same of an event that only repeats what was told before: what would have started something does not. `told` says who
    /// had told what.
    #[must_use]
    pub fn of_a_repeat(self, told: &str) -> Self {
        match self {
            Self::Matched { binding, held, .. } => Self::Unmatched {
                binding,
                held,
                failed: Check {
                    clause: Clause::Seen,
                    expected: "a state that was not told of before".to_owned(),
                    actual: told.to_owned(),
                },
            },
            Self::Unmatched { .. } => self,
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn binding(&self) -> BindingId {
        match self {
            Self::Matched { binding, .. } | Self::Unmatched { binding, .. } => *binding,
        }
    }
}

/// A job that is to be made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Start {
    /// The task.
    pub task: String,
    /// What to do.
    pub payload: Value,
    /// In which named queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_name: Option<String>,
    /// Under which key: a newer one takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Higher ones first.
    pub priority: i32,
    /// On what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadId>,
}
