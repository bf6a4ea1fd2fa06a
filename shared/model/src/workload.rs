//! Workloads: things that tasks deploy, reconcile and tear down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a workload is made from. Each kind is one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Files of a Git repository, served as they are or rendered from Markdown.
    Static,
}

impl SourceKind {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Static];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
        }
    }

    /// The JSON Schema of its config. What it lets pass may still break the finer rules of its task.
    #[must_use]
    pub const fn config_schema(self) -> &'static str {
        match self {
            Self::Static => include_str!("static.schema.json"),
        }
    }

    /// The task that does its work.
    #[must_use]
    pub const fn task(self) -> &'static str {
        match self {
            Self::Static => "task-static",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SourceKind {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        if text == Self::Static.as_str() {
            Ok(Self::Static)
        } else {
            Err(UnknownSource(text.to_owned()))
        }
    }
}

/// A text that names no kind of source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of source; there is static")]
pub struct UnknownSource(String);

/// What a revision is to its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionState {
    /// The one that is served.
    Live,
    /// Was live; can be again.
    Past,
}

/// The first label of the host name under which a workload is reached, unique over all tenants: an RFC 1123 label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

/// Labels that name parts of the system, so that no workload can stand in for one.
const RESERVED: [&str; 10] = [
    "api",
    "callback",
    "dispatch",
    "kube-system",
    "localhost",
    "portal",
    "relay",
    "site",
    "switchyard",
    "www",
];

impl Host {
    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let label = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        let shown = || text.chars().take(80).collect();
        if !label {
            return Err(HostError::NotALabel(shown()));
        }
        let function = ["webhook-", "task-", "cron-", "relay-"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
        if function || RESERVED.contains(&text) {
            return Err(HostError::Reserved(shown()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0
    }
}

/// Why a text cannot be a workload's host label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// RFC 1123 §2.1 and RFC 1035 §2.3.4.
    #[error("{0:?} is not a host label: 1 to 63 of a-z, 0-9 and -, not at either end")]
    NotALabel(String),
    /// The name belongs to the system.
    #[error("{0:?} is a name that the system uses itself; choose another")]
    Reserved(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_label_that_names_nothing_of_ours() {
        for good in ["docs", "a", "a-1", "my-site-2"] {
            assert!(good.parse::<Host>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-rf",
            "a-",
            "../../x",
            "a\nb",
            "A",
            "kube-system",
            "portal",
            "webhook-github",
            "xn..",
            "\u{202e}abc",
        ] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(64).parse::<Host>().is_err());
    }
}
