//! What the operator says.

use std::sync::Arc;

use egress::{EgressSettings, Guard};
use git::{FetchSettings, Fetcher};
use host::{Env, SettingsError};
use labs::Policy;
use launch::Runners;
use serde::Deserialize;

use crate::POLICY;

#[derive(Debug, Deserialize)]
struct Settings {
    /// What labs may do beyond their folder, with commas between: exec, host-binds, host-network, privileged.
    lab_allow: Option<String>,
}

/// What all jobs share.
#[derive(Debug, Clone)]
pub(crate) struct Worker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runners: Runners,
    fetcher: Fetcher,
    policy: Policy,
    guard: Guard,
    authorities: String,
}

impl Worker {
    /// Reads the settings, and clears the scratch folder of what killed processes left there.
    pub(crate) fn new(env: &Env) -> Result<Self, SettingsError> {
        env.require("BLOBS_URL")?;
        let settings: Settings = env.parse()?;
        let policy = settings.lab_allow.as_deref().unwrap_or_default().parse();
        let fetcher = env
            .parse::<FetchSettings>()?
            .fetcher(env.tenant_egress()?, POLICY.attempt_time_max)
            .map_err(|error| SettingsError::wrong(error.setting(), error))?;
        Ok(Self(Arc::new(Inner {
            runners: cluster::runners(env)?,
            fetcher,
            guard: env.tenant_guard()?,
            authorities: authorities(env)?,
            policy: policy.map_err(|error| SettingsError::wrong("LAB_ALLOW", error))?,
        })))
    }

    pub(crate) fn runners(&self) -> &Runners {
        &self.0.runners
    }

    /// What reads workspaces.
    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.0.fetcher
    }

    /// Which addresses a host may have.
    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Certificates in PEM that runners trust besides the system's.
    pub(crate) fn authorities(&self) -> &str {
        &self.0.authorities
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }
}

/// What `EGRESS_CA_FILE` holds, for runners, which have no such setting.
fn authorities(env: &Env) -> Result<String, SettingsError> {
    let Some(path) = env.parse::<EgressSettings>()?.ca_file else {
        return Ok(String::new());
    };
    std::fs::read_to_string(&path).map_err(|error| {
        SettingsError::wrong("EGRESS_CA_FILE", format!("{}: {error}", path.display()))
    })
}
