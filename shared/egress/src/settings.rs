//! The client for tenants' URLs as an operator's settings say.

use std::{io, path::PathBuf};

use reqwest::Certificate;
use serde::Deserialize;

use crate::{AllowList, AllowListError, ClientError, Guard, TenantEgress};

/// What an operator may say of calls to tenants' URLs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct EgressSettings {
    /// `EGRESS_ALLOW`: hosts with ports, joined by commas, that are called although they are not public.
    #[serde(rename = "egress_allow")]
    pub allow: Option<String>,
    /// `EGRESS_CA_FILE`: certificates in PEM that are trusted besides the system's.
    #[serde(rename = "egress_ca_file")]
    pub ca_file: Option<PathBuf>,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EgressSettingsError {
    /// The list of hosts.
    #[error(transparent)]
    Allow(#[from] AllowListError),
    /// The file of certificates is not there.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file of certificates holds none.
    #[error("{} holds no certificates in PEM", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
    },
    /// The client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl EgressSettingsError {
    /// The setting that is wrong.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Allow(_) => "EGRESS_ALLOW",
            Self::File { .. } | Self::Certificates { .. } => "EGRESS_CA_FILE",
            Self::Client(_) => "the TLS of the machine",
        }
    }
}

impl EgressSettings {
    /// The guard alone, for who only saves URLs.
    pub fn guard(&self) -> Result<Guard, EgressSettingsError> {
        Ok(Guard::new(
            self.allow
                .as_deref()
                .unwrap_or_default()
                .parse::<AllowList>()?,
        ))
    }

    /// The client.
    pub fn client(&self) -> Result<TenantEgress, EgressSettingsError> {
        let roots = match &self.ca_file {
            None => Vec::new(),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|source| EgressSettingsError::File {
                    path: path.clone(),
                    source,
                })?;
                let roots = Certificate::from_pem_bundle(&pem).unwrap_or_default();
                if roots.is_empty() {
                    return Err(EgressSettingsError::Certificates { path: path.clone() });
                }
                roots
            }
        };
        Ok(TenantEgress::new(self.guard()?, roots)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_told_by_its_name() {
        let list = EgressSettings {
            allow: Some("no-port".to_owned()),
            ca_file: None,
        };
        let error = list.client().expect_err("it has no port");
        assert_eq!(error.setting(), "EGRESS_ALLOW");
        for path in ["/nowhere/at/all", "/dev/null"] {
            let file = EgressSettings {
                allow: None,
                ca_file: Some(path.into()),
            };
            let error = file.client().expect_err("it holds none");
            assert_eq!(error.setting(), "EGRESS_CA_FILE");
        }
        assert!(EgressSettings::default().client().is_ok());
    }
}
