//! What runners did for a job.

use chrono::{DateTime, Utc};
use terraform::{MaskedPlan, Report};

/// The part of a job's page that is about its runs.
#[derive(Clone, Debug, Default)]
pub struct RunPanel {
    /// The runs, newest first.
    pub runs: Vec<RunView>,
    /// What terraform said in the newest that has something to say.
    pub report: Option<Report>,
    /// The newest plan.
    pub plan: Option<PlanView>,
    /// What was kept, newest first.
    pub artifacts: Vec<ArtifactRow>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunView {
    /// What it was for, as its task names it.
    pub phase: String,
    /// How far it is.
    pub state: model::run::RunState,
    /// Why it ended as it did, where that needs words.
    pub reason: Option<String>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When its runner was last heard of.
    pub seen_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its steps, in their order.
    pub steps: Vec<StepView>,
    /// Lines that were not kept because the log was full.
    pub lines_dropped: u64,
}

/// One step of a run.
#[derive(Clone, Debug)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: model::run::StepState,
    /// Its exit code, when it ended by itself.
    pub exit_code: Option<i32>,
    /// Why, where that needs words.
    pub why: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A plan for review.
#[derive(Clone, Debug)]
pub struct PlanView {
    /// What it would do, masked.
    pub plan: MaskedPlan,
    /// The SHA-256 of the file that would be applied: what somebody approves.
    pub sha256: Option<String>,
    /// What became of it.
    pub decision: PlanDecision,
    /// Where it is approved and rejected; nothing for who may not, and where nothing waits.
    pub decide_href: Option<String>,
}

/// What became of a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PlanDecision {
    /// Nobody is asked.
    NotAsked,
    /// Somebody is, until this time.
    Waiting(DateTime<Utc>),
    /// It was approved.
    Approved(Option<String>, DateTime<Utc>),
    /// It was rejected.
    Rejected(Option<String>, DateTime<Utc>),
    /// Nobody decided in time.
    Expired,
    /// A newer plan took its place.
    Superseded,
}

/// How far it came that somebody asked a job to stop.
#[derive(Clone, Debug)]
pub struct StopView {
    /// When it was asked, and by whom.
    pub requested: (DateTime<Utc>, Option<String>),
    /// When who works on it heard.
    pub heard: Option<DateTime<Utc>>,
    /// What came of it.
    pub end: Option<(DateTime<Utc>, StopEnd)>,
}

/// What came of it that somebody asked a job to stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StopEnd {
    /// Nothing of it runs any more.
    Applied(Option<String>),
    /// It cannot be stopped as things are; it is tried again.
    Cannot(Option<String>),
    /// It ended first.
    TooLate,
}

/// A file that was kept.
#[derive(Clone, Debug)]
pub struct ArtifactRow {
    /// Its name.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Encrypted at rest, and downloaded only by an admin, on record.
    pub sealed: bool,
    /// When it was complete.
    pub at: DateTime<Utc>,
    /// Where it is downloaded; nothing for who may not.
    pub href: Option<String>,
}
