//! Jobs: in a list, and by themselves.

use chrono::{DateTime, TimeDelta, Utc};
use queue::reasons::Reason;

use super::event::ChainNode;
use super::reader::{Link, Tone};
use super::run::{RunPanel, StopView};
use crate::i18n::Key;
use crate::log_text::LogText;

/// The state of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the states of the queue")]
pub enum JobState {
    Queued,
    Running,
    Waiting,
    Cancelling,
    Succeeded,
    Dead,
    Cancelled,
    Superseded,
}

impl JobState {
    /// The message that names the state.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Queued => Key("state-queued"),
            Self::Running => Key("state-running"),
            Self::Waiting => Key("state-waiting"),
            Self::Cancelling => Key("state-cancelling"),
            Self::Succeeded => Key("state-succeeded"),
            Self::Dead => Key("state-dead"),
            Self::Cancelled => Key("state-cancelled"),
            Self::Superseded => Key("state-superseded"),
        }
    }

    /// The symbol in the icon sprite.
    #[must_use]
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Cancelling => "stopping",
            Self::Succeeded => "check",
            Self::Dead => "cross",
            Self::Cancelled => "stopped",
            Self::Superseded => "superseded",
        }
    }

    /// How it is doing.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Queued => Tone::Waiting,
            Self::Running => Tone::Active,
            Self::Waiting => Tone::Waiting,
            Self::Cancelling => Tone::Warning,
            Self::Succeeded => Tone::Good,
            Self::Dead => Tone::Bad,
            Self::Cancelled | Self::Superseded => Tone::Quiet,
        }
    }

    /// Whether it changes no more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Waiting | Self::Cancelling => false,
            Self::Succeeded | Self::Dead | Self::Cancelled | Self::Superseded => true,
        }
    }
}

/// A job in a list.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Its number.
    pub id: i64,
    /// The kind of work.
    pub task: String,
    /// The workload that it works on.
    pub workload: Option<Link>,
    /// How it is doing.
    pub state: JobState,
    /// Why it does not go on, or who works on it; nearest first. None when it has ended.
    pub reasons: Vec<Reason>,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// When it came into this state.
    pub since: DateTime<Utc>,
}

/// One attempt of a job.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which, from 1.
    pub number: i32,
    /// Who held it, as far as it is known.
    pub worker: Option<String>,
    /// When it began, as far as it is known.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; nothing while it runs.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What went wrong.
    pub error: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the outcomes of an attempt")]
pub enum AttemptOutcome {
    Running,
    Succeeded,
    Failed,
    Released,
    Lost,
    Cancelled,
}

impl AttemptOutcome {
    /// The message that names it.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Running => Key("attempt-running"),
            Self::Succeeded => Key("attempt-succeeded"),
            Self::Failed => Key("attempt-failed"),
            Self::Released => Key("attempt-released"),
            Self::Lost => Key("attempt-lost"),
            Self::Cancelled => Key("attempt-cancelled"),
        }
    }

    /// The symbol in the icon sprite.
    #[must_use]
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "check",
            Self::Failed => "cross",
            Self::Released => "minus",
            Self::Lost => "warning",
            Self::Cancelled => "stopped",
        }
    }

    /// How it went.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Running => Tone::Active,
            Self::Succeeded => Tone::Good,
            Self::Failed => Tone::Bad,
            Self::Released | Self::Cancelled => Tone::Quiet,
            Self::Lost => Tone::Warning,
        }
    }
}

/// One thing that happened to a job.
#[derive(Clone, Debug)]
pub struct JobEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: JobEventKind,
    /// More about it, as it was recorded.
    pub detail: Option<String>,
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the moves of the queue")]
pub enum JobEventKind {
    Queued,
    Started,
    Retrying,
    Waiting,
    Resumed,
    LeaseLost,
    CancelRequested,
    Cancelled,
    Succeeded,
    Dead,
    Superseded,
    Released,
    StaleRefused,
    CancelTooLate,
    CancelAcknowledged,
    CancelTried,
    CancelCannot,
    CalledBack,
    Refused,
    Approved,
    Rejected,
    Snoozed,
    ByHand,
    Other,
}

impl JobEventKind {
    /// The message that names it.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Queued => Key("job-event-queued"),
            Self::Started => Key("job-event-started"),
            Self::Retrying => Key("job-event-retrying"),
            Self::Waiting => Key("job-event-waiting"),
            Self::Resumed => Key("job-event-resumed"),
            Self::LeaseLost => Key("job-event-lease-lost"),
            Self::CancelRequested => Key("job-event-cancel-requested"),
            Self::Cancelled => Key("job-event-cancelled"),
            Self::Succeeded => Key("job-event-succeeded"),
            Self::Dead => Key("job-event-dead"),
            Self::Superseded => Key("job-event-superseded"),
            Self::Released => Key("job-event-released"),
            Self::StaleRefused => Key("job-event-stale-refused"),
            Self::CancelTooLate => Key("job-event-cancel-too-late"),
            Self::CancelAcknowledged => Key("job-event-cancel-acknowledged"),
            Self::CancelTried => Key("job-event-cancel-tried"),
            Self::CancelCannot => Key("job-event-cancel-cannot"),
            Self::CalledBack => Key("job-event-called-back"),
            Self::Refused => Key("job-event-refused"),
            Self::Approved => Key("job-event-approved"),
            Self::Rejected => Key("job-event-rejected"),
            Self::Snoozed => Key("job-event-snoozed"),
            Self::ByHand => Key("job-event-by-hand"),
            Self::Other => Key("job-event-other"),
        }
    }

    /// How it went.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Queued
            | Self::Released
            | Self::Cancelled
            | Self::Superseded
            | Self::ByHand
            | Self::Other => Tone::Quiet,
            Self::Started | Self::Resumed | Self::CalledBack => Tone::Active,
            Self::Waiting | Self::Snoozed => Tone::Waiting,
            Self::Retrying
            | Self::LeaseLost
            | Self::CancelRequested
            | Self::StaleRefused
            | Self::CancelAcknowledged
            | Self::CancelTried
            | Self::CancelTooLate => Tone::Warning,
            Self::Succeeded | Self::Approved => Tone::Good,
            Self::Dead | Self::Rejected | Self::CancelCannot | Self::Refused => Tone::Bad,
        }
    }
}

/// One line that a job printed.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Its number within the job, from 1.
    pub number: i64,
    /// When it was printed.
    pub at: DateTime<Utc>,
    /// Which attempt printed it.
    pub attempt: i32,
    /// What it says.
    pub text: LogText,
}

/// The end of a job's log, or a part of it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// How many lines come before the first one shown.
    pub earlier: u64,
    /// The number of the line that comes after the last one shown; nothing where that is the end.
    pub later: Option<i64>,
    /// The line that the page was opened at; nothing where it shows the end, to which lines are added.
    pub marked: Option<i64>,
    /// The job's page, below which the rest of the log is found.
    pub href: String,
    /// What was searched for.
    pub finding: Option<Finding>,
}

/// A search of a log.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The text.
    pub text: String,
    /// The line after which the next one is searched.
    pub from: i64,
    /// There is none from there on, as far as was searched.
    pub none: bool,
}

/// A job's page.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// What the list shows of it.
    pub row: JobRow,
    /// What runners did for it.
    pub run: RunPanel,
    /// How far it came that somebody asked it to stop.
    pub stop: Option<StopView>,
    /// How many attempts count, and how many there may be.
    pub attempts_used: i32,
    /// How many attempts it may use.
    pub attempts_max: i32,
    /// Its fencing token.
    pub epoch: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How long it ran in all; nothing before it first started.
    pub ran_for: Option<TimeDelta>,
    /// What was asked for and what was found, such as "asked for a1b2, deployed c3d4".
    pub outcome: Option<String>,
    /// What to do about its failure.
    pub advice: Option<String>,
    /// From the wire to what is live.
    pub chain: Vec<ChainNode>,
    /// Its attempts, newest first.
    pub attempts: Vec<Attempt>,
    /// What happened to it, oldest first.
    pub timeline: Vec<JobEvent>,
    /// The end of its log.
    pub log: Log,
    /// What it was asked to do, laid out for reading.
    pub payload: String,
    /// What came of it, laid out for reading.
    pub result: Option<String>,
    /// Where to ask it to stop; nothing when it cannot be stopped by this reader.
    pub cancel_href: Option<String>,
    /// Where to ask for it once more; nothing when it is not dead, or the reader may not.
    pub replay_href: Option<String>,
    /// Where changes to this page come from, while there may be any.
    pub live_href: Option<String>,
}
