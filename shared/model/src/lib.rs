//! The words of the system as types: ids, states, triggers, workloads and the data of events.
//!
//! Only serde is known here: no I/O, no clock, no database. What crosses a border (a request, a row, an event) becomes
//! one of these types there, once; inside, nothing is compared as text.

mod broker;
mod by_name;
mod decision;
mod filter;
pub mod git;
mod glob;
mod id;
pub mod image;
mod job;
mod role;
pub mod run;
pub mod scheme;
mod trigger;
pub mod webhook;
mod workload;

pub use broker::{Broker, UnknownBroker};
pub use by_name::is_only_asked_for;
pub use decision::{Check, Clause};
pub use filter::{
    ChangeFilter, Condition, ConditionLanguage, EventTrigger, GitTrigger, LogTrigger,
    ManualTrigger, PipelineFilter, RegistryTrigger, ReleaseFilter, Scalar, ScheduleTrigger,
    Severity, TagPattern, TagPatternError, Wanted, WebhookTrigger,
};
pub use glob::{Glob, GlobError};
pub use id::{
    BindingId, DeliveryId, EventId, IdError, JobId, PersonId, RevisionId, ScheduleId, TenantId,
    TriggerId, WorkloadId,
};
pub use job::{
    CancelOutcome, DEPTH_MAX, FinishReport, JobCancelRequested, JobQueued, JobState, JobUpdate,
    KeyMode, LogLine, LogStream, TaskPolicy, UnknownState, UnknownWaiting, Waiting, WorkloadAction,
    WorkloadJob,
};
pub use role::{DatabaseRole, Role, UnknownRole};
pub use scheme::Scheme;
pub use trigger::{TriggerKind, UnknownKind, Vendor};
pub use workload::{Host, HostError, RevisionState, SourceKind, UnknownSource};
