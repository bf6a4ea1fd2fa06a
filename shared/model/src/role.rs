//! Who may do what: people in a tenant, functions in the database.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a person may do in a tenant. Each role may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything but secrets.
    Viewer,
    /// Also starts, cancels, rolls back.
    Operator,
    /// Also changes triggers, bindings, workloads and people.
    Admin,
}

impl Role {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// The Postgres role under which a function works. The owner is used by migrations alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseRole {
    /// Webhooks, dispatch, tasks, reconcilers, relay, site: the queue's functions and narrow grants, over all tenants.
    System,
    /// The API and the portal: one tenant at a time, by row level security.
    Tenant,
    /// What listens to `observed`: may read, and may write nothing that could start work.
    Observer,
}

impl DatabaseRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::System, Self::Tenant, Self::Observer];

    /// The role's name in Postgres.
    #[must_use]
    pub const fn postgres(self) -> &'static str {
        match self {
            Self::System => "switchyard_system",
            Self::Tenant => "switchyard_tenant",
            Self::Observer => "switchyard_observer",
        }
    }

    /// The name in manifests: the Secret that holds the role's URL is `database-<name>`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tenant => "tenant",
            Self::Observer => "observer",
        }
    }
}

impl fmt::Display for DatabaseRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role; there are viewer, operator and admin")]
pub struct UnknownRole(String);
