//! What the operator says.

use std::sync::Arc;

use egress::Guard;
use host::{Env, SettingsError};
use labs::Policy;
use launch::Runners;
use serde::Deserialize;

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
    policy: Policy,
    guard: Guard,
}

impl Worker {
    pub(crate) fn new(env: &Env) -> Result<Self, SettingsError> {
        env.require("BLOBS_URL")?;
        let settings: Settings = env.parse()?;
        let policy = settings.lab_allow.as_deref().unwrap_or_default().parse();
        Ok(Self(Arc::new(Inner {
            runners: cluster::runners(env)?,
            guard: env.tenant_guard()?,
            policy: policy.map_err(|error| SettingsError::wrong("LAB_ALLOW", error))?,
        })))
    }

    pub(crate) fn runners(&self) -> &Runners {
        &self.0.runners
    }

    /// Which addresses a host may have.
    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }
}
