//! Which cluster.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;

use crate::{Cluster, ClusterError};

/// What an operator says of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ClusterSettings {
    /// `CLUSTER_KUBECONFIG`: a file that says where the cluster is and who we are there. Without it the cluster is the one that the
    /// process runs in.
    pub cluster_kubeconfig: Option<PathBuf>,
    /// `CLUSTER_URL`: an API server that asks nobody who he is, as a proxy on the same machine does.
    pub cluster_url: Option<String>,
}

impl ClusterSettings {
    /// Whether a cluster is named, or the process runs in one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.cluster_kubeconfig.is_some()
            || self.cluster_url.is_some()
            || Config::incluster().is_ok()
    }

    /// A client of it. Nothing is called yet.
    ///
    /// # Errors
    /// When the settings name no cluster that could be called.
    pub async fn open(&self) -> Result<Cluster, ClusterError> {
        let wrong = |error: &dyn std::error::Error| ClusterError::Settings(error.to_string());
        let config = if let Some(path) = &self.cluster_kubeconfig {
            let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| wrong(&error))?
        } else if let Some(url) = &self.cluster_url {
            Config::new(
                url.parse()
                    .map_err(|error: http::uri::InvalidUri| wrong(&error))?,
            )
        } else {
            Config::incluster().map_err(|error| wrong(&error))?
        };
        let client = Client::try_from(config).map_err(|error| wrong(&error))?;
        Ok(Cluster::new(client))
    }
}
