//! What the pages show: plain owned data, filled by whoever serves them. What the queue says of itself (lanes, schedules,
//! dead jobs, reasons) is shown as the queue's own types.

mod declared;
mod delivery;
mod event;
mod failure;
mod job;
mod overview;
mod reader;
mod run;
mod schedule;
mod trigger;
mod workload;
mod workspace;

pub use declared::{
    CountRow, CredentialRow, Declared, DeclaredForm, DeclaredFormPage, EndpointPage, EndpointRow,
    EndpointState, EventLogPage, LogRulePage, LogRuleRow, LogRulesPage, MessagePage, MessageRow,
    MessageState, MessagesPage, NotificationRuleRow, NotifyPage, OverrideRow, RecordedRow, SeenRow,
    SendRow, WatchPanel, WatchShown,
};
pub use delivery::{Became, Body, DeliveryList, DeliveryPage, DeliveryRow, HeaderRow, Verdict};
pub use event::{ChainKind, ChainNode, Clause, Decision, EventPage, EventRow, JobRef};
pub use failure::Failure;
pub use job::{
    Attempt, AttemptOutcome, Finding, JobEvent, JobEventKind, JobPage, JobRow, JobState, Log,
    LogLine,
};
pub use overview::Overview;
pub use reader::{Count, Link, Person, Reader, Theme, Tone};
pub use run::{
    ArtifactRow, PlanDecision, PlanView, RunPanel, RunView, StepView, StopEnd, StopView,
};
pub use schedule::{FormProblem, Preview, RuleAs, ScheduleForm, ScheduleFormPage, WrongField};
pub use trigger::{
    BindingForm, BindingFormPage, BoundRow, CauseRow, ConfigAs, DryRunPage, FormFault, Health,
    NEW_WORKLOAD, PAYLOAD_FIELDS, PAYLOAD_JSON, SchemeAs, Shown, Target, TriedEvent, TriedRow,
    TriggerForm, TriggerFormPage, TriggerPage, TriggerRow, TriggersPage,
};
pub use workload::{
    BindingRow, LiveRevision, RevisionRow, RollbackPage, WorkloadPage, WorkloadRow, WorkloadState,
};
pub use workspace::{RunFormPage, TemplateRow, WorkspacePage, WorkspaceRow};
