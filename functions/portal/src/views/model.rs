//! What the pages show: plain owned data, filled by whoever serves them.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::i18n::{Key, Language};
use crate::log_text::LogText;

/// Who reads a page, and how they like it.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The language of every word on the page.
    pub language: Language,
    /// Light, dark, or as the system says.
    pub theme: Theme,
    /// Whoever is signed in; nobody on the sign-in page and on some error pages.
    pub person: Option<Person>,
    /// The token that a form of this session must carry.
    pub csrf: String,
    /// The instant from which relative times are counted.
    pub now: DateTime<Utc>,
    /// The path and query of this page, to come back to after a change of preferences.
    pub path: String,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their name, as they want to be called.
    pub name: String,
    /// The tenant whose rows they see.
    pub tenant: String,
    /// Whether their role lets them start, stop and roll back.
    pub may_operate: bool,
}

/// The colours of the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Theme {
    /// As the system says.
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Theme {
    /// Every theme, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The value in the cookie and on the page's root.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme with this code; anything else is as the system says.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|theme| theme.code() == code)
            .unwrap_or(Self::Auto)
    }

    /// The message that names it.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Auto => Key("theme-auto"),
            Self::Light => Key("theme-light"),
            Self::Dark => Key("theme-dark"),
        }
    }
}

/// A count that was bounded when it was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Count {
    /// Exactly so many.
    Exact(u64),
    /// So many or more: counting stopped there.
    AtLeast(u64),
}

/// Something that has a page.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it is called.
    pub name: String,
    /// Where its page is.
    pub href: String,
}

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

/// How something is doing: chooses the colour and the icon, never the word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// Nothing to worry about and nothing to do.
    Quiet,
    /// Work is going on.
    Active,
    /// It waits for something.
    Waiting,
    /// It ended well.
    Good,
    /// Somebody should look.
    Warning,
    /// It ended badly.
    Bad,
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

/// Why a job that is not finished does not run, or what it is doing.
#[derive(Clone, Debug)]
pub enum Why {
    /// It may start at once and waits for a worker.
    Ready {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// It was asked for later.
    Due {
        /// When it may start.
        at: DateTime<Utc>,
    },
    /// Its last attempt failed and it will be tried again.
    Retry {
        /// When it may start again.
        at: DateTime<Utc>,
        /// What went wrong.
        error: String,
    },
    /// Its named queue lets one job run at a time.
    QueueBusy {
        /// The queue.
        queue: String,
        /// The job that holds it.
        job: i64,
    },
    /// An older job about the same is still worked on.
    KeyBusy {
        /// That job.
        job: i64,
    },
    /// Somebody paused its queue.
    QueuePaused {
        /// The queue.
        queue: String,
    },
    /// As many jobs of its tenant or task run as are allowed.
    AtCap {
        /// How many run.
        running: u64,
    },
    /// Nobody takes this kind of work.
    NoExecutor {
        /// The task.
        task: String,
    },
    /// It runs, and is let go if its worker falls silent.
    Leased {
        /// The worker.
        worker: String,
        /// When the lease ends unless it is renewed.
        until: DateTime<Utc>,
    },
    /// A runner or somebody's callback has to finish it.
    Outside {
        /// What works on it.
        runner: String,
        /// When it is given up.
        deadline: DateTime<Utc>,
    },
    /// A person has to approve it.
    Approval {
        /// When it is given up.
        deadline: DateTime<Utc>,
    },
    /// It was asked to stop and has not confirmed.
    Stopping {
        /// When it was asked.
        asked_at: DateTime<Utc>,
    },
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
    /// Why it waits; only when it is not finished.
    pub why: Option<Why>,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// When it came into this state.
    pub since: DateTime<Utc>,
}

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

/// The first page.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Deliveries of the last 24 hours.
    pub deliveries_today: Count,
    /// Of those, how many were rejected or conflicting.
    pub rejected_today: Count,
    /// Jobs that run.
    pub running: Count,
    /// Jobs that are queued or wait.
    pub waiting: Count,
    /// Jobs that failed for good in the last 24 hours.
    pub dead: Count,
    /// The newest deliveries.
    pub deliveries: Vec<DeliveryRow>,
    /// Jobs that run, wait, or failed lately.
    pub jobs: Vec<JobRow>,
    /// The workloads that changed last.
    pub workloads: Vec<WorkloadRow>,
    /// What to run when there is nothing yet.
    pub first_command: String,
    /// Where changes to this page come from.
    pub live_href: String,
}

impl Overview {
    /// Whether nothing ever happened here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.jobs.is_empty() && self.workloads.is_empty()
    }
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
}

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
    /// What it would start.
    pub target: Link,
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

/// The end of a job's log.
#[derive(Clone, Debug)]
pub struct Log {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// How many lines come before the first one shown.
    pub earlier: u64,
    /// The whole log as text.
    pub raw_href: String,
}

/// A job's page.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// What the list shows of it.
    pub row: JobRow,
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
    /// Why it does not go on, or who works on it; nearest first.
    pub reasons: Vec<queue::reasons::Reason>,
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
    /// Where changes to this page come from, while there may be any.
    pub live_href: Option<String>,
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

/// Why a page cannot be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// There is no such page, or it is not the reader's to know of.
    NotFound,
    /// The request did not come from our own page, or the role does not allow it.
    Forbidden,
    /// Something is wrong on our side.
    Internal,
    /// The database does not answer.
    Unavailable,
}
