//! The three brokers. Events flow one way through them (`inbound` → `work` → `observed`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which broker an event goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broker {
    /// Facts that may start work; `dispatch` listens.
    Inbound,
    /// "There may be work for this task"; the tasks listen.
    Work,
    /// What became of it; nobody who listens here may start anything.
    Observed,
}

impl Broker {
    /// All of them, in the order in which events flow.
    pub const ALL: [Self; 3] = [Self::Inbound, Self::Work, Self::Observed];

    /// The name in the database, in `knative/` and in a broker's URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Work => "work",
            Self::Observed => "observed",
        }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Broker {
    type Err = UnknownBroker;

    fn from_str(text: &str) -> Result<Self, UnknownBroker> {
        Self::ALL
            .into_iter()
            .find(|broker| broker.as_str() == text)
            .ok_or_else(|| UnknownBroker(text.to_owned()))
    }
}

/// A text that names none of the brokers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a broker; there are inbound, work and observed")]
pub struct UnknownBroker(String);
