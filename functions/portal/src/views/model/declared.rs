//! What people declare beside triggers: rules on logs, whom to tell of what, what is looked at by the clock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use log_rules::Trial;
use model::{JobId, Severity, TriggerId, TriggerKind};
use serde::Deserialize;
use store::credentials::CredentialState;
use uuid::Uuid;

use super::reader::Link;
use super::trigger::{ConfigAs, FormFault};

/// What sort of thing a form makes or changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Declared {
    /// A rule on what logs say. One that is there stays with its workload.
    LogRule {
        /// Whether it is there.
        is_there: bool,
    },
    /// Where messages go.
    Endpoint,
    /// Who is told of what.
    NotificationRule,
    /// What is looked at for a trigger of this kind.
    Watch(TriggerKind),
}

/// What is written in a form, as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the form")]
pub struct DeclaredForm {
    pub config_as: ConfigAs,
    /// What no field holds, as JSON.
    pub rest: String,
    pub config_json: String,
    /// A text to try a pattern on.
    pub sample: String,
    /// The fields, by `config.<key>`.
    #[serde(flatten)]
    pub fields: BTreeMap<String, String>,
}

/// A form.
#[derive(Clone, Debug)]
pub struct DeclaredFormPage {
    /// What it makes or changes.
    pub what: Declared,
    /// What is changed, by its name; nothing when it is to be.
    pub changes: Option<String>,
    /// The pages above this one.
    pub crumbs: Vec<Link>,
    /// Where it is sent.
    pub action: String,
    /// Where who leaves it goes.
    pub leave_href: String,
    /// What there is to choose from, by key.
    pub picks: Vec<(&'static str, Vec<(String, String)>)>,
    /// What is written.
    pub form: DeclaredForm,
    /// What is wrong with it.
    pub wrong: Vec<FormFault>,
    /// What the pattern found, when that was asked.
    pub trial: Option<Trial>,
}

/// A log rule in a list.
#[derive(Clone, Debug)]
pub struct LogRuleRow {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// How bad a match is.
    pub severity: Severity,
    /// Only of this workload.
    pub workload: Option<Link>,
    /// What a match fires.
    pub trigger: Option<Link>,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// The list of log rules.
#[derive(Clone, Debug)]
pub struct LogRulesPage {
    /// By name.
    pub rows: Vec<LogRuleRow>,
    /// Whether the reader may make some.
    pub may_edit: bool,
}

/// A workload for which a log rule is otherwise.
#[derive(Clone, Debug)]
pub struct OverrideRow {
    /// Its id, for a form.
    pub workload_id: String,
    /// The workload.
    pub workload: Link,
    /// Whether the rule is looked at there.
    pub enabled: bool,
    /// How bad a match is there, where it is otherwise.
    pub severity: Option<String>,
    /// How long it is quiet there after a match, where it is otherwise.
    pub cooldown_secs: Option<i32>,
}

/// What became of a rule's matches in the logs of one workload.
#[derive(Clone, Debug)]
pub struct CountRow {
    /// Of which; nothing stands for logs of none.
    pub workload: Option<Link>,
    /// Lines that matched.
    pub matched: i64,
    /// Of them, told.
    pub told: i64,
    /// Of them, left out because the rule had told a moment ago.
    pub cooled: i64,
    /// Of them, left out because the workload had told too much.
    pub dropped: i64,
    /// Of those that were told, how many fired the trigger.
    pub fired: i64,
    /// When a line matched last.
    pub matched_at: Option<DateTime<Utc>>,
}

/// A log rule's page.
#[derive(Clone, Debug)]
pub struct LogRulePage {
    /// The rule.
    pub row: LogRuleRow,
    /// Which streams are looked at.
    pub streams: Vec<String>,
    /// How long it is quiet after a match, in seconds.
    pub cooldown_secs: i32,
    /// For which workloads it is otherwise.
    pub overrides: Vec<OverrideRow>,
    /// Workloads for which it may be otherwise: ids and names.
    pub workloads: Vec<(String, String)>,
    /// What became of its matches.
    pub counts: Vec<CountRow>,
    /// What it found lately.
    pub recorded: Vec<RecordedRow>,
    /// Whether the reader may change it.
    pub may_edit: bool,
}

/// A row of the log of events.
#[derive(Clone, Debug)]
pub struct RecordedRow {
    /// When.
    pub at: DateTime<Utc>,
    /// How bad it is.
    pub severity: Severity,
    /// Which part saw it.
    pub source: String,
    /// For people.
    pub message: String,
    /// By which rule.
    pub rule: Option<Link>,
    /// Of which workload.
    pub workload: Option<Link>,
    /// Of which job.
    pub job: Option<JobId>,
    /// What is known besides, laid out; nothing where nothing is.
    pub data: Option<String>,
}

/// The log of events.
#[derive(Clone, Debug)]
pub struct EventLogPage {
    /// Newest first.
    pub rows: Vec<RecordedRow>,
    /// Rules to choose from: ids and names.
    pub rules: Vec<(String, String)>,
    /// The one that is chosen.
    pub rule: String,
    /// Workloads to choose from: ids and names.
    pub workloads: Vec<(String, String)>,
    /// The one that is chosen.
    pub workload: String,
    /// At least so bad.
    pub severity: String,
    /// The first page, with the same filter.
    pub first_href: String,
    /// Whether this is it.
    pub is_first: bool,
    /// The page after it.
    pub next_href: Option<String>,
}

/// How an endpoint does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EndpointState {
    /// Its last message arrived, or there was none.
    Well,
    /// It has failed since then.
    Failing(DateTime<Utc>),
    /// Somebody switched it off.
    Off,
    /// It was switched off by itself: when, and why.
    GivenUp(Option<DateTime<Utc>>, String),
}

/// An endpoint in a list.
#[derive(Clone, Debug)]
pub struct EndpointRow {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Where messages go: the host of its URL, whose path is a secret at many receivers.
    pub host: String,
    /// What they look like.
    pub format: String,
    /// How it does.
    pub state: EndpointState,
    /// When a message arrived last.
    pub delivered_at: Option<DateTime<Utc>>,
}

/// A notification rule in a list.
#[derive(Clone, Debug)]
pub struct NotificationRuleRow {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Whom it tells.
    pub endpoint: Link,
    /// What it wants, in its own words.
    pub wants: Vec<String>,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// A message in a list.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// Which.
    pub id: Uuid,
    /// When it was written down.
    pub created_at: DateTime<Utc>,
    /// To whom.
    pub endpoint: Link,
    /// The type of the event that it tells of.
    pub event: String,
    /// How far it is.
    pub state: MessageState,
    /// How many attempts there were.
    pub attempts: i32,
    /// When the next one is.
    pub next_at: Option<DateTime<Utc>>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageState {
    /// It is to be sent.
    Pending,
    /// It arrived.
    Delivered,
    /// It did not, and will not.
    Failed,
}

/// Endpoints and rules.
#[derive(Clone, Debug)]
pub struct NotifyPage {
    /// Endpoints by name.
    pub endpoints: Vec<EndpointRow>,
    /// Rules by name.
    pub rules: Vec<NotificationRuleRow>,
    /// Whether the reader may make some.
    pub may_edit: bool,
}

/// An endpoint's page.
#[derive(Clone, Debug)]
pub struct EndpointPage {
    /// The endpoint.
    pub row: EndpointRow,
    /// Until when messages are signed with the secret before, too.
    pub previous_until: Option<DateTime<Utc>>,
    /// A secret that was made just now, shown this once.
    pub shown: Option<String>,
    /// Who tells it of what.
    pub rules: Vec<NotificationRuleRow>,
    /// What it was told lately.
    pub messages: Vec<MessageRow>,
    /// Whether the reader may change it.
    pub may_edit: bool,
}

/// The messages to an endpoint, or to all.
#[derive(Clone, Debug)]
pub struct MessagesPage {
    /// Newest first.
    pub rows: Vec<MessageRow>,
    /// Endpoints to choose from: ids and names.
    pub endpoints: Vec<(String, String)>,
    /// The one that is chosen.
    pub endpoint: String,
    /// The first page, with the same filter.
    pub first_href: String,
    /// Whether this is it.
    pub is_first: bool,
    /// The page after it.
    pub next_href: Option<String>,
}

/// An attempt to send a message.
#[derive(Clone, Debug)]
pub struct SendRow {
    /// Which, from 1.
    pub number: i32,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What was answered.
    pub status: Option<i32>,
    /// How the answer began, or why there is none.
    pub said: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: i32,
}

/// A message's page.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// The message.
    pub row: MessageRow,
    /// What its receiver knows it by.
    pub message_id: String,
    /// The id of the event.
    pub event_id: String,
    /// By which rule.
    pub rule: Option<String>,
    /// The one that it repeats.
    pub repeats: Option<Uuid>,
    /// What is sent, laid out.
    pub body: String,
    /// The attempts.
    pub attempts: Vec<SendRow>,
    /// Whether the reader may have it sent once more.
    pub may_operate: bool,
}

/// A state that hooks or looks told of.
#[derive(Clone, Debug)]
pub struct SeenRow {
    /// A ref or a tag.
    pub name: String,
    /// A commit or a digest.
    pub state: String,
    /// Whether a look told it; else a hook did.
    pub by_look: bool,
    /// When.
    pub at: DateTime<Utc>,
    /// When a hook should have told it and had not.
    pub silent_at: Option<DateTime<Utc>>,
}

/// What is looked at for a trigger.
#[derive(Clone, Debug)]
pub struct WatchShown {
    /// Where.
    pub place: String,
    /// What lets us in.
    pub credential: Option<String>,
    /// Between two looks, in seconds.
    pub interval_secs: i32,
    /// Which names.
    pub names: Vec<String>,
    /// When it was looked at last.
    pub looked_at: Option<DateTime<Utc>>,
    /// When it is looked at next.
    pub next_at: DateTime<Utc>,
    /// Why the last look failed, and how many in a row.
    pub problem: Option<(String, i32)>,
    /// How many states were found by looking.
    pub found: i64,
    /// The newest states.
    pub seen: Vec<SeenRow>,
}

/// What is looked at for a trigger, as its page has it.
#[derive(Clone, Debug)]
pub struct WatchPanel {
    /// The trigger.
    pub trigger: TriggerId,
    /// What is looked at, if something is.
    pub watch: Option<WatchShown>,
}

/// A credential in a list.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// What people call it.
    pub name: String,
    /// What it is for, in a word.
    pub kind: String,
    /// The host that it is for.
    pub host: String,
    /// The name that goes with it.
    pub username: String,
    /// What the last look at it found.
    pub state: CredentialState,
    /// Why it does not.
    pub problem: Option<String>,
    /// When that was looked at.
    pub checked_at: Option<DateTime<Utc>>,
    /// When it ends by itself.
    pub ends_at: Option<DateTime<Utc>>,
    /// What would fail without it.
    pub uses: Vec<String>,
}
