//! Events, what bindings made of them, and the way from the wire to what is live.

use chrono::{DateTime, Utc};
use model::BindingId;
use uuid::Uuid;

use super::delivery::Became;
use super::job::JobState;
use super::reader::Tone;
use super::trigger::Target;
use crate::i18n::Key;

/// An event in a list.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// What it led to.
    pub became: Vec<Became>,
}

/// One comparison that a binding made.
#[derive(Clone, Debug)]
pub struct Clause {
    /// What was compared, such as `branch`.
    pub name: String,
    /// What the binding wants.
    pub expected: String,
    /// What the event says; nothing when it does not say.
    pub actual: Option<String>,
    /// Whether it held.
    pub held: bool,
}

/// One binding's look at an event.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The binding.
    pub binding: String,
    /// Its id.
    pub id: BindingId,
    /// What it would start.
    pub target: Target,
    /// Whether it matched.
    pub matched: bool,
    /// What it compared, up to the one that failed.
    pub clauses: Vec<Clause>,
    /// The job it made.
    pub job: Option<JobRef>,
}

/// A job, named elsewhere.
#[derive(Clone, Debug)]
pub struct JobRef {
    /// Its number.
    pub id: i64,
    /// How it is doing; nothing when it is not kept any more.
    pub state: Option<JobState>,
}

/// One step from the wire to what is live.
#[derive(Clone, Debug)]
pub struct ChainNode {
    /// Which step.
    pub kind: ChainKind,
    /// What stands in it.
    pub label: String,
    /// Its page.
    pub href: Option<String>,
    /// When it happened.
    pub at: Option<DateTime<Utc>>,
    /// How it went.
    pub tone: Tone,
}

/// The steps of a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are words of the design")]
pub enum ChainKind {
    Delivery,
    Event,
    Decision,
    Job,
    Revision,
}

impl ChainKind {
    /// The message that names the step.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Delivery => Key("chain-delivery"),
            Self::Event => Key("chain-event"),
            Self::Decision => Key("chain-decision"),
            Self::Job => Key("chain-job"),
            Self::Revision => Key("chain-revision"),
        }
    }

    /// The symbol in the icon sprite.
    #[must_use]
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Delivery => "inbox",
            Self::Event => "event",
            Self::Decision => "decision",
            Self::Job => "job",
            Self::Revision => "revision",
        }
    }
}

/// An event's page.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// Who says so.
    pub source: String,
    /// When it was accepted.
    pub received_at: DateTime<Utc>,
    /// When its bindings were asked; nothing while they have not been.
    pub dispatched_at: Option<DateTime<Utc>>,
    /// The trigger whose bindings were asked.
    pub trigger: Option<String>,
    /// From the wire to what is live.
    pub chain: Vec<ChainNode>,
    /// Every binding of the trigger.
    pub decisions: Vec<Decision>,
    /// Its data, laid out for reading.
    pub data: String,
    /// Where changes to this page come from, while there may be any.
    pub live_href: Option<String>,
}
