//! The host that runs labs.

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use egress::{Guard, PlaceError};
use host::{Ctx, TaskError};
use model::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use store::credentials::CredentialConfig;
use url::Url;
use uuid::Uuid;

/// A host, looked up and checked: what is dialled is what was checked.
#[derive(Debug, Clone)]
pub struct LabHost {
    /// Its address.
    pub address: SocketAddr,
    /// Whom to be there.
    pub user: String,
    /// The private key.
    pub key: SecretString,
    /// What it may show of itself.
    pub host_keys: Vec<String>,
}

/// A host whose netlab has an API.
#[derive(Debug, Clone)]
pub struct ApiHost {
    /// Where that listens.
    pub url: Url,
    /// Its address.
    pub address: SocketAddr,
    /// Whom to be there.
    pub user: String,
    /// The password.
    pub password: SecretString,
    /// The folder in which each lab has one of its name.
    pub folder: String,
    /// Certificates in PEM that are trusted besides the system's.
    pub authorities: String,
}

/// One of the two.
#[derive(Debug, Clone)]
pub(crate) enum Host {
    Ssh(LabHost),
    Api(ApiHost),
}

/// Finds the host of a credential, and where it is. Addresses that are not public need the operator's word.
pub(crate) async fn find(
    ctx: &Ctx,
    guard: &Guard,
    authorities: &str,
    tenant: TenantId,
    id: Uuid,
) -> Result<Host, TaskError> {
    let keyring = ctx.keyring().map_err(TaskError::fail)?;
    let found = ctx
        .store()
        .lab_host(keyring, tenant, id)
        .await
        .map_err(TaskError::retry)?;
    let found = found.ok_or_else(|| {
        TaskError::fail(anyhow!(
            "there is no credential {id} of the kind ssh or netlab_api"
        ))
    })?;
    match found.config {
        CredentialConfig::Ssh(config) => Ok(Host::Ssh(LabHost {
            address: guard.ssh_address(&found.host).await.map_err(place)?,
            user: found.user,
            key: found.secret,
            host_keys: config.host_keys,
        })),
        CredentialConfig::NetlabApi(config) => {
            let url = Url::parse(&format!("https://{}/", found.host))
                .with_context(|| format!("{} is no host", found.host))
                .map_err(TaskError::fail)?;
            Ok(Host::Api(ApiHost {
                address: guard.url_address(&url).await.map_err(place)?,
                url,
                user: found.user,
                password: found.secret,
                folder: config.folder,
                authorities: authorities.to_owned(),
            }))
        }
        CredentialConfig::Git(_)
        | CredentialConfig::Registry
        | CredentialConfig::S3(_)
        | CredentialConfig::Kube
        | CredentialConfig::Aws(_)
        | CredentialConfig::Azure(_)
        | CredentialConfig::Gcp(_) => Err(TaskError::fail(anyhow!(
            "the credential {id} is of no host that runs labs"
        ))),
    }
}

fn place(error: PlaceError) -> TaskError {
    if error.is_passing() {
        TaskError::retry(error)
    } else {
        TaskError::fail(error)
    }
}

impl LabHost {
    /// The key, for the runner alone.
    pub(crate) fn secret(&self) -> String {
        self.key.expose_secret().to_owned()
    }
}

impl ApiHost {
    /// The password, for the runner alone.
    pub(crate) fn secret(&self) -> String {
        self.password.expose_secret().to_owned()
    }
}
