//! Triggers and bindings: in lists, by themselves, and in their forms.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::{BindingId, DeliveryId, TriggerId, TriggerKind};
use serde::Deserialize;
use triggers::Fault;

use super::declared::WatchPanel;
use super::delivery::DeliveryRow;
use super::event::Clause;
use super::reader::Link;
use crate::payload_form::{Field, Written};

/// What is known of how a trigger's senders do.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// When a request was verified last.
    pub verified_at: Option<DateTime<Utc>>,
    /// How many were refused today.
    pub rejected_today: i64,
    /// What most likely is wrong with them.
    pub causes: Vec<CauseRow>,
    /// For how many days nothing came.
    pub silent_days: i64,
    /// When the secret before the current one was used last.
    pub previous_used_at: Option<DateTime<Utc>>,
}

/// Requests that were refused for one reason.
#[derive(Clone, Debug)]
pub struct CauseRow {
    /// How many.
    pub count: i64,
    /// What probably is wrong, in a word.
    pub cause: Option<String>,
    /// What did not hold, in a sentence.
    pub reason: String,
}

/// A trigger in a list.
#[derive(Clone, Debug)]
pub struct TriggerRow {
    /// The trigger.
    pub id: TriggerId,
    /// What people call it.
    pub name: String,
    /// What makes it fire.
    pub kind: TriggerKind,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What it starts: the first few of its bindings.
    pub targets: Vec<String>,
    /// How its senders do, where it has any.
    pub health: Option<Health>,
}

/// The list of triggers.
#[derive(Clone, Debug)]
pub struct TriggersPage {
    /// By name.
    pub rows: Vec<TriggerRow>,
    /// The page after it.
    pub next_href: Option<String>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// Whether the reader may make some.
    pub may_edit: bool,
}

/// A binding on its trigger's page.
#[derive(Clone, Debug)]
pub struct BoundRow {
    /// The binding.
    pub id: BindingId,
    /// Its number among the trigger's.
    pub number: usize,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What it starts.
    pub target: Target,
    /// What of the filter it has of its own, in short.
    pub filter: Option<String>,
    /// What must be true beside.
    pub condition: Option<String>,
}

/// What a binding starts.
#[derive(Clone, Debug)]
pub enum Target {
    /// A workload's deploy.
    Workload(Link),
    /// A task.
    Task(String),
}

/// What was made just now and is shown once.
#[derive(Clone, Debug)]
pub enum Shown {
    /// What senders sign with.
    Secret(String),
    /// The URL with its secret in it.
    Url(String),
}

/// A trigger's page.
#[derive(Clone, Debug)]
pub struct TriggerPage {
    /// The trigger.
    pub id: TriggerId,
    /// What people call it.
    pub name: String,
    /// What makes it fire.
    pub kind: TriggerKind,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Its filter, laid out.
    pub config: String,
    /// What must be true beside it.
    pub condition: Option<String>,
    /// How senders prove who they are; nothing where each does it in its usual way.
    pub scheme: Option<String>,
    /// Where senders send to, where it has senders. A secret in its path is not there.
    pub url: Option<String>,
    /// Until when the secret before is good too.
    pub previous_until: Option<DateTime<Utc>>,
    /// Whether there is a secret before that is still good.
    pub has_previous: bool,
    /// What is shown this once.
    pub shown: Option<Shown>,
    /// How its senders do.
    pub health: Option<Health>,
    /// When it fires next, where a clock fires it.
    pub next: Vec<DateTime<Utc>>,
    /// What it starts.
    pub bindings: Vec<BoundRow>,
    /// What came in lately.
    pub deliveries: Vec<DeliveryRow>,
    /// What is looked at besides, where its kind has a place for that.
    pub watch: Option<WatchPanel>,
    /// What is odd about it.
    pub warnings: Vec<String>,
    /// Whether the reader may run it and switch it.
    pub may_operate: bool,
    /// Whether the reader may change it.
    pub may_edit: bool,
}

/// How a filter is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ConfigAs {
    /// In fields, and JSON for what has none.
    #[default]
    Fields,
    /// All of it as JSON.
    Json,
}

impl ConfigAs {
    /// The value in a form.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fields => "fields",
            Self::Json => "json",
        }
    }
}

/// How senders are to prove who they are, as a form offers it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum SchemeAs {
    /// As each does it by itself.
    #[default]
    Usual,
    /// By a secret in the URL.
    Path,
    /// By Standard Webhooks.
    Standard,
    /// As JSON says.
    Json,
}

impl SchemeAs {
    /// All of them, as they are offered.
    pub const ALL: [Self; 4] = [Self::Usual, Self::Standard, Self::Path, Self::Json];

    /// The value in a form.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Path => "path",
            Self::Standard => "standard",
            Self::Json => "json",
        }
    }
}

/// What is written in a trigger's form, as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of a trigger")]
pub struct TriggerForm {
    pub name: String,
    pub kind: String,
    pub config_as: ConfigAs,
    /// What no field holds, as JSON.
    pub rest: String,
    pub config_json: String,
    pub condition: String,
    pub scheme_as: SchemeAs,
    pub scheme_json: String,
    /// The fields of the filter, by `config.<key>`.
    #[serde(flatten)]
    pub fields: BTreeMap<String, String>,
}

/// What is wrong with what is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FormFault {
    /// A name is missing.
    NoName,
    /// Another one has it.
    Taken,
    /// A text is no JSON object.
    NoJson {
        /// Which text.
        place: String,
        /// Where it ceases to be JSON, and why.
        why: String,
    },
    /// A text is no whole number; which.
    NoNumber(String),
    /// It is not taken; where and why.
    Refused(Fault),
    /// It is not taken; where and why, in words.
    Said(String),
}

/// A trigger's form.
#[derive(Clone, Debug)]
pub struct TriggerFormPage {
    /// The trigger that is changed, with its name; nothing when it is to be.
    pub changes: Option<(TriggerId, String)>,
    /// Its kind, which does not change.
    pub kind: TriggerKind,
    /// What is written.
    pub form: TriggerForm,
    /// What is wrong with it.
    pub wrong: Vec<FormFault>,
    /// A filter with all keys of the kind.
    pub sample: String,
}

/// In place of a workload's id: one that is made with the binding.
pub const NEW_WORKLOAD: &str = "new";

/// What is written in a binding's form, as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of a binding")]
pub struct BindingForm {
    /// A workload's id; [`NEW_WORKLOAD`] for one that is made with it; empty for a task.
    pub workload: String,
    pub new_name: String,
    pub new_host: String,
    pub new_config: String,
    pub task: String,
    pub config_as: ConfigAs,
    /// What no field holds, as JSON.
    pub rest: String,
    pub config_json: String,
    pub overrides: String,
    pub condition: String,
    /// The payload as JSON; where it is written in fields, what no field holds.
    pub payload: String,
    /// The kind of run whose payload is written in fields; empty where it is JSON.
    pub payload_of: String,
    /// The button beside the payload that was pressed, if one was: see [`PAYLOAD_FIELDS`] and [`PAYLOAD_JSON`]; the name of a
    /// kind of run fills its sample in.
    pub payload_do: String,
    pub queue_name: String,
    pub key: String,
    pub priority: String,
    /// Something, if it is switched on.
    pub enabled: String,
    /// The fields of the filter, by `config.<key>`, and those of the payload.
    #[serde(flatten)]
    pub fields: BTreeMap<String, String>,
}

/// The button that writes a payload in fields.
pub const PAYLOAD_FIELDS: &str = "fields";
/// The button that writes it as JSON.
pub const PAYLOAD_JSON: &str = "json";

/// A binding's form.
#[derive(Clone, Debug)]
pub struct BindingFormPage {
    /// The trigger, with its name.
    pub trigger: (TriggerId, String),
    /// The trigger's kind.
    pub kind: TriggerKind,
    /// The trigger's filter, laid out.
    pub config: String,
    /// The binding that is changed; nothing when it is to be.
    pub changes: Option<BindingId>,
    /// What is written.
    pub form: BindingForm,
    /// What is wrong with it.
    pub wrong: Vec<FormFault>,
    /// The workloads to choose from: ids and names.
    pub workloads: Vec<(String, String)>,
    /// The kinds of run whose sample can be filled in: tasks and titles.
    pub kinds: Vec<(&'static str, &'static str)>,
    /// The payload in fields, where it is written so.
    pub payload: Option<(Vec<Field>, Written)>,
}

/// What one binding would make of one event.
#[derive(Clone, Debug)]
pub struct TriedRow {
    /// The binding.
    pub binding: String,
    /// Its id, for a replay.
    pub id: BindingId,
    /// What it would start.
    pub target: Target,
    /// Whether it would.
    pub matched: bool,
    /// What it compares.
    pub clauses: Vec<Clause>,
    /// The payload that the job would have.
    pub payload: Option<String>,
}

/// One event of a dry run.
#[derive(Clone, Debug)]
pub struct TriedEvent {
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// The delivery that it came with.
    pub delivery: Option<(DeliveryId, DateTime<Utc>)>,
    /// What each binding would do.
    pub rows: Vec<TriedRow>,
}

/// A dry run's page.
#[derive(Clone, Debug)]
pub struct DryRunPage {
    /// The trigger, with its name.
    pub trigger: (TriggerId, String),
    /// How many of the last deliveries are looked at.
    pub last: usize,
    /// The one delivery that is looked at.
    pub delivery: Option<DeliveryId>,
    /// The event that was pasted: its type and its data.
    pub pasted: (String, String),
    /// What is wrong with it.
    pub wrong: Vec<FormFault>,
    /// What would be; nothing before something was asked.
    pub events: Option<Vec<TriedEvent>>,
    /// Whether the reader may replay.
    pub may_operate: bool,
}
