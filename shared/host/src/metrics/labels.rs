//! The words by which series are told apart.

use std::fmt;

use model::JobState;
use model::run::StepState;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// How an attempt at a job came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// It did what it was for.
    Succeeded,
    /// It is not tried again.
    Failed,
    /// It is tried again.
    Retried,
    /// It stopped because it was asked to.
    Cancelled,
    /// It was given back uncounted: asked for later, or its worker had to leave.
    PutBack,
    /// It waits for work outside, or for a person.
    Waiting,
    /// Its lease was over, or its end could not be recorded.
    Lost,
}

/// What was made right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repair {
    /// An event or a wake-up was put into the outbox again.
    Republished,
    /// A job whose lease or deadline was over was taken back.
    LeaseExpired,
    /// A job was given back by a person's hand.
    Requeued,
}

/// Whose streams people listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Streamed {
    /// The portal's pages.
    Portal,
    /// The API's logs.
    Api,
}

/// What became of a request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stopped {
    /// The job has stopped.
    Ok,
    /// It could not be stopped; it is tried again.
    Failed,
    /// It had finished first.
    Noop,
}

macro_rules! words {
    ($type:ty { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];

            const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
                EncodeLabelValue::encode(&self.word(), encoder)
            }
        }
    };
}

words!(RunOutcome {
    Succeeded => "succeeded",
    Failed => "failed",
    Retried => "retried",
    Cancelled => "cancelled",
    PutBack => "put_back",
    Waiting => "waiting",
    Lost => "lost",
});
words!(Repair {
    Republished => "republished",
    LeaseExpired => "lease_expired",
    Requeued => "requeued",
});
words!(Streamed { Portal => "portal", Api => "api" });
words!(Stopped { Ok => "ok", Failed => "failed", Noop => "noop" });

/// The states in which jobs end, as the outcomes that are counted.
pub(super) const OUTCOMES: [JobState; 4] = [
    JobState::Succeeded,
    JobState::Dead,
    JobState::Cancelled,
    JobState::Superseded,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Task {
    pub(super) task: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TaskPriority {
    pub(super) task: String,
    pub(super) priority: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TaskOutcome {
    pub(super) task: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TaskRun {
    pub(super) task: String,
    pub(super) outcome: RunOutcome,
}

/// Names of steps that are told apart: those that tasks of ours give.
const STEPS: [&str; 14] = [
    "apply", "collect", "create", "deploy", "destroy", "down", "init", "plan", "prepare", "show",
    "status", "up", "validate", "version",
];

/// The label of a step.
pub(super) fn step(name: &str) -> &'static str {
    STEPS
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or(super::OTHER_TASK)
}

/// The word for how a step ended; none for one that did not, or never began.
pub(super) const fn step_outcome(state: StepState) -> Option<&'static str> {
    match state {
        StepState::Succeeded | StepState::Failed | StepState::Stopped => Some(state.as_str()),
        StepState::Waiting | StepState::Running | StepState::Skipped => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TaskStep {
    pub(super) task: String,
    pub(super) step: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TaskStop {
    pub(super) task: String,
    pub(super) result: Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Pool {
    pub(super) pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RepairKind {
    pub(super) kind: Repair,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ToBroker {
    pub(super) broker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct From {
    pub(super) source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Delivered {
    pub(super) sink: String,
    pub(super) code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Sink {
    pub(super) sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Stream {
    pub(super) stream: Streamed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Version {
    pub(super) version: &'static str,
}

/// What a final state is counted as.
pub(super) const fn outcome(state: JobState) -> Option<&'static str> {
    match state {
        JobState::Succeeded => Some("succeeded"),
        JobState::Dead => Some("failed"),
        JobState::Cancelled => Some("cancelled"),
        JobState::Superseded => Some("superseded"),
        JobState::Queued | JobState::Running | JobState::Waiting | JobState::Cancelling => None,
    }
}
