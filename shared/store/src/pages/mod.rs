//! What people and programs are shown of one tenant. Each function reads in the caller's transaction, in which the tenant is
//! set; a row of another tenant is not there.
//!
//! Lists are read by key (`before` or `after` the last row that is known), never by offset; counts stop at [`COUNT_MAX`].
//! Row level security filters by tenant. The statements name the tenant as well, so that indexes which begin with it serve
//! them.

mod deliveries;
mod events;
mod health;
mod jobs;
mod logs;
mod overview;
mod runs;
mod search;
mod triggers;
mod workloads;

use serde::Serialize;

pub use deliveries::{
    BecameJob, Delivery, DeliveryDetail, DeliveryEvent, DeliveryFilter, DeliveryVerdict,
    LaterDelivery, deliveries, delivery, triggers,
};
pub use events::{Event, EventDecision, EventDelivery, event, event_data};
pub use health::{RejectedFor, SecretUsed, TriggerHealth, trigger_health};
pub use jobs::{
    Job, JobDetail, JobEvent, attention, cancel, job, job_events, jobs, latest_jobs, workload_jobs,
};
pub use logs::{
    EpochLines, Found, Line, LogCursor, following, log_after, log_before, log_epochs, log_find,
    log_place_before,
};
pub use overview::{Overview, overview};
pub use runs::{Run, RunStep, latest_runs, plain_variables, runs};
pub use search::{DeliverySearch, FoundDeliveries, find_deliveries};
pub use triggers::{
    BindingShown, BoundWorkload, TriedWith, TriggerListed, TriggerShown, repeated, tried_with,
    trigger_list, trigger_of_binding, trigger_shown, would_repeat,
};
pub use workloads::{
    Binding, Revision, Workload, WorkloadDetail, WorkloadState, bindings, revision,
    revision_numbered, revisions, workload, workloads,
};

/// Rows of a list that are read at a time, at most.
pub const ROWS_MAX: usize = 100;

/// Where counting stops.
pub const COUNT_MAX: i64 = 10_000;

/// A count that was bounded when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many; at most [`COUNT_MAX`].
    pub count: i64,
    /// Whether there are more.
    pub more: bool,
}

impl Count {
    /// Of a number that was counted up to one more than the bound.
    fn of(counted: i64) -> Self {
        Self {
            count: counted.min(COUNT_MAX),
            more: counted > COUNT_MAX,
        }
    }
}

/// An id with the name that people gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named<Id> {
    /// The id.
    pub id: Id,
    /// The name.
    pub name: String,
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit.min(ROWS_MAX)).expect("a hundred is a bigint")
}

/// Reads a word that the database only holds when it is one of ours.
fn word<T>(text: &str) -> Result<T, sqlx::Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
