//! What the operator says.

use std::path::PathBuf;
use std::sync::Arc;

use cluster::{Cluster, ClusterError, ClusterSettings};
use egress::TenantEgress;
use git::{FetchSettings, Fetcher};
use host::{Env, SettingsError};
use labs::clabernetes::LabSettings;
use labs::{ClabSchema, Policy};
use model::TenantId;
use serde::Deserialize;

use crate::POLICY;

#[derive(Debug, Deserialize)]
struct Settings {
    /// What labs may do beyond their folder, with commas between: exec, host-binds, host-network, privileged.
    lab_allow: Option<String>,
    /// What the namespaces of tenants' labs begin with.
    #[serde(default = "namespace_prefix")]
    lab_namespace_prefix: String,
    /// Secrets of those namespaces with which images are pulled, with commas between.
    lab_pull_secrets: Option<String>,
    /// containerlab's JSON Schema, which topologies are compared with where it is given.
    clab_schema_file: Option<PathBuf>,
}

fn namespace_prefix() -> String {
    "lab".to_owned()
}

/// What all jobs share.
#[derive(Debug, Clone)]
pub(crate) struct Worker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cluster: ClusterSettings,
    open: tokio::sync::OnceCell<Cluster>,
    egress: TenantEgress,
    fetcher: Fetcher,
    policy: Policy,
    labs: LabSettings,
    prefix: String,
    schema: Option<ClabSchema>,
}

impl Worker {
    /// Reads the settings, and clears the scratch folder of what killed processes left there.
    pub(crate) fn new(env: &Env) -> Result<Self, SettingsError> {
        env.require("MASTER_KEY_FILE")?;
        env.require("BLOBS_URL")?;
        let settings: Settings = env.parse()?;
        let policy = settings.lab_allow.as_deref().unwrap_or_default().parse();
        let prefix = settings.lab_namespace_prefix;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !prefix.starts_with(|c: char| c.is_ascii_lowercase())
            || prefix.len() > 20
            || !prefix.chars().all(fits)
        {
            return Err(SettingsError::wrong(
                "LAB_NAMESPACE_PREFIX",
                "it has up to 20 small letters, digits and dashes, a letter first",
            ));
        }
        let secrets = settings.lab_pull_secrets.unwrap_or_default();
        let secrets = secrets
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let egress = env.tenant_egress()?;
        let fetcher = env
            .parse::<FetchSettings>()?
            .fetcher(egress.clone(), POLICY.attempt_time_max)
            .map_err(|error| SettingsError::wrong(error.setting(), error))?;
        Ok(Self(Arc::new(Inner {
            cluster: env.parse()?,
            open: tokio::sync::OnceCell::new(),
            egress,
            fetcher,
            policy: policy.map_err(|error| SettingsError::wrong("LAB_ALLOW", error))?,
            labs: LabSettings {
                pull_secrets: secrets.map(str::to_owned).collect(),
            },
            prefix,
            schema: settings
                .clab_schema_file
                .as_deref()
                .map(schema)
                .transpose()?,
        })))
    }

    /// The cluster; called for the first job, so that a place without one still starts.
    pub(crate) async fn cluster(&self) -> Result<&Cluster, ClusterError> {
        self.0.open.get_or_try_init(|| self.0.cluster.open()).await
    }

    pub(crate) fn egress(&self) -> &TenantEgress {
        &self.0.egress
    }

    /// What reads workspaces.
    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.0.fetcher
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn labs(&self) -> &LabSettings {
        &self.0.labs
    }

    pub(crate) fn schema(&self) -> Option<&ClabSchema> {
        self.0.schema.as_ref()
    }

    /// The namespace of a tenant's labs.
    pub(crate) fn namespace(&self, tenant: TenantId) -> String {
        format!("{}-{}", self.0.prefix, tenant.uuid().simple())
    }
}

fn schema(path: &std::path::Path) -> Result<ClabSchema, SettingsError> {
    let wrong = |error: &dyn std::fmt::Display| {
        SettingsError::wrong("CLAB_SCHEMA_FILE", format!("{}: {error}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    let json = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
    ClabSchema::new(&json).map_err(|error| wrong(&error))
}
