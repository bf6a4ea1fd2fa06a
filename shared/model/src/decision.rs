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
    /// The branch is not one of those asked for.
    Branch,
    /// The tag is not one of those asked for.
    Tag,
    /// None of the changed paths is one of those asked for.
    Paths,
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
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Paths => "paths",
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
