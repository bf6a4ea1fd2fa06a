//! What the operator says, and what is made of it once, at the start.

use std::path::PathBuf;

use git::{FetchSettings, Fetcher};
use host::{Env, SettingsError};
use launch::Runners;
use serde::Deserialize;
use url::Url;

use crate::POLICY;

#[derive(Debug, Deserialize)]
struct Settings {
    /// Where runs reach `terraform-state`.
    terraform_state_url: Url,
    /// Whether a job may apply without a decision. Off unless it is `true`.
    #[serde(default)]
    terraform_auto_approve: bool,
    /// Terraform's CLI configuration on the machine of the runs, for example with a mirror of providers; none unless given.
    terraform_cli_config: Option<PathBuf>,
}

/// What all jobs of the process share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) runners: Runners,
    pub(crate) fetcher: Fetcher,
    pub(crate) state_url: Url,
    pub(crate) auto_approve: bool,
    pub(crate) cli_config: PathBuf,
}

impl Worker {
    /// Reads the settings, and clears the scratch folder of what killed processes left there.
    pub(crate) fn new(env: &Env) -> Result<Self, SettingsError> {
        env.require("BLOBS_URL")?;
        let settings: Settings = env.parse()?;
        if !matches!(settings.terraform_state_url.scheme(), "http" | "https") {
            return Err(SettingsError::wrong(
                "TERRAFORM_STATE_URL",
                "it is neither http nor https",
            ));
        }
        let fetcher = env
            .parse::<FetchSettings>()?
            .fetcher(env.tenant_egress()?, POLICY.attempt_time_max)
            .map_err(|error| SettingsError::wrong(error.setting(), error))?;
        Ok(Self {
            runners: cluster::runners(env)?,
            fetcher,
            state_url: settings.terraform_state_url,
            auto_approve: settings.terraform_auto_approve,
            cli_config: settings
                .terraform_cli_config
                .unwrap_or_else(|| "/dev/null".into()),
        })
    }
}
