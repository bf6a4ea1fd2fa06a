//! Decisions: what one binding made of one event, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part of a filter that decided. They are tried in this order; the first that fails decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clause {
    /// The trigger or the binding is switched off.
    Enabled,
    /// Work led to this event through too many steps.
    Depth,
    /// This kind of trigger does not look at this kind of event.
    EventType,
    /// The repository is another one.
    Repository,
    /// The branch or tag went away, so there is nothing to deploy.
    Deleted,
    /// Who sent it asks that nothing be started.
    Skip,
    /// The branch is not one of those asked for.
    Branch,
    /// The tag is not one of those asked for.
    Tag,
    /// None of the changed paths is one of those asked for.
    Paths,
    /// What happened to the change or release is not one of the things asked for.
    Action,
    /// The branch that a change is to be merged into is not one of those asked for.
    Base,
    /// It comes from a fork.
    Fork,
    /// It says that it is not ready: a draft or a pre-release.
    Draft,
    /// The pipeline has another name.
    Pipeline,
    /// The pipeline ended in another way.
    Outcome,
    /// The image is another one.
    Image,
    /// The image is for another platform.
    Platform,
    /// The sender calls it by another name.
    EventName,
    /// A value in the body is another one.
    Field,
    /// An attribute of the event is another one.
    Attribute,
    /// Another rule matched.
    Rule,
    /// It is not as bad as what is asked for, or worse.
    Severity,
    /// The condition is not true of it, or cannot be told.
    Condition,
    /// It tells what was told before by the other kind of reporter: a hook and a look found the same.
    Seen,
    /// The payload cannot be made from it.
    Payload,
    /// The binding's merged config is no longer valid.
    Config,
}

impl Clause {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Depth => "depth",
            Self::EventType => "event_type",
            Self::Repository => "repository",
            Self::Deleted => "deleted",
            Self::Skip => "skip",
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Paths => "paths",
            Self::Action => "action",
            Self::Base => "base",
            Self::Fork => "fork",
            Self::Draft => "draft",
            Self::Pipeline => "pipeline",
            Self::Outcome => "outcome",
            Self::Image => "image",
            Self::Platform => "platform",
            Self::EventName => "event_name",
            Self::Field => "field",
            Self::Attribute => "attribute",
            Self::Rule => "rule",
            Self::Severity => "severity",
            Self::Condition => "condition",
            Self::Seen => "seen",
            Self::Payload => "payload",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One clause of a filter and what it compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which clause.
    pub clause: Clause,
    /// What it asks for.
    pub expected: String,
    /// What the event says.
    pub actual: String,
}
