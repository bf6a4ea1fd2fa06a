//! Deliveries: in a list, and by themselves.

use chrono::{DateTime, Utc};
use model::{BindingId, DeliveryId, TriggerId};
use uuid::Uuid;

use super::event::EventRow;
use super::job::JobState;
use super::reader::Tone;
use crate::i18n::Key;

/// What we made of a request that came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Its signature was right and it told us something.
    Accepted,
    /// Its signature was right, but it says nothing that we act on.
    Ignored,
    /// It could not be trusted or read.
    Rejected,
    /// Its id was used before, by another body.
    Conflict,
    /// Its signature was right, and it only tried the connection.
    Ping,
    /// Its id was used before, by the same body.
    Duplicate,
    /// Its signature was right, but it cannot be read.
    Malformed,
}

impl Verdict {
    /// Every verdict, in the order in which they are offered.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Ignored,
        Self::Ping,
        Self::Duplicate,
        Self::Rejected,
        Self::Malformed,
        Self::Conflict,
    ];

    /// The value in a filter.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Ping => "ping",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
        }
    }

    /// The message that names it.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Accepted => Key("verdict-accepted"),
            Self::Ignored => Key("verdict-ignored"),
            Self::Rejected => Key("verdict-rejected"),
            Self::Conflict => Key("verdict-conflict"),
            Self::Ping => Key("verdict-ping"),
            Self::Duplicate => Key("verdict-duplicate"),
            Self::Malformed => Key("verdict-malformed"),
        }
    }

    /// The message that says what it means.
    #[must_use]
    pub const fn meaning(self) -> Key {
        match self {
            Self::Accepted => Key("verdict-accepted-meaning"),
            Self::Ignored => Key("verdict-ignored-meaning"),
            Self::Rejected => Key("verdict-rejected-meaning"),
            Self::Conflict => Key("verdict-conflict-meaning"),
            Self::Ping => Key("verdict-ping-meaning"),
            Self::Duplicate => Key("verdict-duplicate-meaning"),
            Self::Malformed => Key("verdict-malformed-meaning"),
        }
    }

    /// The symbol in the icon sprite.
    #[must_use]
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Accepted => "check",
            Self::Ignored | Self::Ping | Self::Duplicate => "minus",
            Self::Rejected | Self::Malformed => "cross",
            Self::Conflict => "warning",
        }
    }

    /// How it is doing.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Accepted => Tone::Good,
            Self::Ignored | Self::Ping | Self::Duplicate => Tone::Quiet,
            Self::Rejected | Self::Malformed => Tone::Bad,
            Self::Conflict => Tone::Warning,
        }
    }
}

/// What a delivery led to.
#[derive(Clone, Debug)]
pub enum Became {
    /// Its event has not been looked at yet.
    Pending,
    /// No binding matched; the event's page says why.
    NoMatch {
        /// The event that did nothing.
        event: Uuid,
    },
    /// A job.
    Job {
        /// Its number.
        id: i64,
        /// How it is doing.
        state: JobState,
        /// The workload that it works on, or the task when there is none.
        subject: String,
    },
    /// A job that is not kept any more.
    Forgotten {
        /// Its number.
        id: i64,
    },
}

/// A delivery in a list.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// Our id of it.
    pub id: Uuid,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
    /// Who sent it, such as `github`.
    pub vendor: String,
    /// The vendor's word for what happened, such as `push`.
    pub event: String,
    /// What it is about, in short: a repository and a branch.
    pub about: Option<String>,
    /// The trigger it was sent to.
    pub trigger: Option<String>,
    /// What we made of it.
    pub verdict: Verdict,
    /// What it led to; empty when the verdict ended it.
    pub became: Vec<Became>,
}

/// A page of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryList {
    /// The rows, newest first.
    pub rows: Vec<DeliveryRow>,
    /// The verdict that is filtered for.
    pub verdict: Option<Verdict>,
    /// The trigger that is filtered for, by name.
    pub trigger: Option<String>,
    /// The sender that is filtered for.
    pub vendor: String,
    /// The event that is filtered for.
    pub event: String,
    /// Since when.
    pub since: String,
    /// Where all that match are replayed, if the reader may.
    pub replay_href: Option<String>,
    /// The triggers to choose from.
    pub triggers: Vec<String>,
    /// The page of newer rows.
    pub newer_href: Option<String>,
    /// The page of older rows.
    pub older_href: Option<String>,
    /// What to run when nothing ever arrived.
    pub first_command: String,
    /// Where changes to this page come from; only the first page changes.
    pub live_href: Option<String>,
}

/// One header of a delivery.
#[derive(Clone, Debug)]
pub struct HeaderRow {
    /// Its name.
    pub name: String,
    /// Its value, or what may be shown of it.
    pub value: String,
    /// Whether something was hidden.
    pub masked: bool,
}

/// The body of a delivery.
#[derive(Clone, Debug)]
pub struct Body {
    /// Laid out for reading, if it is JSON.
    pub pretty: Option<String>,
    /// As it came; bytes that are not UTF-8 are replaced.
    pub raw: String,
    /// How long it was, in bytes.
    pub bytes: u64,
    /// Whether `pretty` and `raw` are only its beginning.
    pub truncated: bool,
    /// The whole of it, as a download.
    pub raw_href: String,
}

/// A delivery's page.
#[derive(Clone, Debug)]
pub struct DeliveryPage {
    /// What the list shows of it.
    pub row: DeliveryRow,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
    /// The status we answered.
    pub status: u16,
    /// Why the verdict is what it is, for those who can change it.
    pub reason: Option<String>,
    /// When the vendor sent the same again.
    pub repeats: Vec<DateTime<Utc>>,
    /// Its headers, secrets masked.
    pub headers: Vec<HeaderRow>,
    /// Its body.
    pub body: Body,
    /// The events it made.
    pub events: Vec<EventRow>,
    /// The trigger, for a dry run.
    pub trigger: TriggerId,
    /// The bindings of the trigger, to which its events may be replayed: ids and names. None where the reader may not.
    pub bindings: Vec<(BindingId, String)>,
    /// Whether the reader may read its body and have it again.
    pub may_operate: bool,
    /// Whether its body is still here.
    pub body_kept: bool,
    /// What came of it later: repeats and new attempts.
    pub later: Vec<(DeliveryId, DateTime<Utc>, Verdict)>,
    /// The one that it repeats, or is a new attempt at.
    pub redelivery_of: Option<DeliveryId>,
}
