//! What a look at a credential needs besides the credential itself, by kind.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Credential, CredentialKind};

/// The longest word of a config, in bytes.
const WORD_BYTES_MAX: usize = 255;
/// The longest URL of a config, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// Public keys of one machine.
const HOST_KEYS_MAX: usize = 5;
/// The longest of them, in bytes.
const HOST_KEY_BYTES_MAX: usize = 700;

/// What is wrong with a config, for who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// What a look needs besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialConfig {
    /// A Git host.
    Git(GitConfig),
    /// A registry needs nothing more.
    Registry,
    /// A bucket.
    S3(S3Config),
    /// A cluster's API needs nothing more.
    Kube,
    /// An account of AWS.
    Aws(AwsConfig),
    /// A directory of Azure.
    Azure(AzureConfig),
    /// A service account of GCP.
    Gcp(GcpConfig),
    /// A machine.
    Ssh(SshConfig),
    /// A machine whose netlab has an API.
    NetlabApi(NetlabApiConfig),
}

/// By what a machine is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshConfig {
    /// Public keys that it may have, as in `known_hosts` without the host: `ssh-ed25519 AAAA…`. None else is ever accepted.
    pub host_keys: Vec<String>,
}

/// Where labs are on a machine whose netlab has an API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetlabApiConfig {
    /// The folder in which each lab has one of its name: an absolute path.
    pub folder: String,
}

/// Which repository a Git credential is tried with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitConfig {
    /// Its URL at the credential's host; those of the workspaces and watches that use it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// Which bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Its name; it is asked for by path.
    pub bucket: String,
    /// Where it is.
    #[serde(default = "region")]
    pub region: String,
}

/// Which region's token service is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// Its name.
    #[serde(default = "region")]
    pub region: String,
}

/// Which directory the client is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureConfig {
    /// The directory's (tenant's) id or domain.
    pub directory: String,
    /// What a token is asked for.
    #[serde(default = "azure_scope")]
    pub scope: String,
}

/// What a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcpConfig {
    /// The scope.
    #[serde(default = "gcp_scope")]
    pub scope: String,
}

/// What of a service account's key file is needed.
#[derive(Debug, Deserialize)]
pub struct GcpKey {
    /// Who it is.
    pub client_email: String,
    /// Which key it is.
    #[serde(default)]
    pub private_key_id: String,
    /// An RSA key, PKCS #8 in PEM.
    pub private_key: SecretString,
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn azure_scope() -> String {
    "https://management.azure.com/.default".to_owned()
}

fn gcp_scope() -> String {
    "https://www.googleapis.com/auth/cloud-platform".to_owned()
}

fn read<T: DeserializeOwned>(config: &Value) -> Result<T, ConfigError> {
    T::deserialize(config).map_err(|error| ConfigError(format!("config: {error}")))
}

impl Credential {
    /// Whether another secret can be one of this credential.
    ///
    /// # Errors
    /// When it cannot, without a word of it.
    pub fn check_secret(&self, secret: &SecretString) -> Result<(), ConfigError> {
        let kind =
            CredentialKind::named(&self.kind).map_err(|error| ConfigError(error.to_string()))?;
        CredentialConfig::read(kind, &self.config)?.check_secret(secret)
    }
}

/// A word that becomes part of a URL or of what is signed.
fn word(name: &str, text: &str) -> Result<(), ConfigError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=WORD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(good)
        && !text.starts_with(['.', '-'])
    {
        return Ok(());
    }
    Err(ConfigError(format!(
        "config.{name}: it has 1 to {WORD_BYTES_MAX} letters, digits, dots, dashes and underscores"
    )))
}

fn scope(text: &str) -> Result<(), ConfigError> {
    if text.starts_with("https://")
        && text.len() <= URL_BYTES_MAX
        && !text.contains(char::is_whitespace)
    {
        return Ok(());
    }
    Err(ConfigError("config.scope: it is one https URL".to_owned()))
}

/// Public keys of a machine.
fn host_keys(keys: &[String]) -> Result<(), ConfigError> {
    let is_key = |key: &String| {
        let mut words = key.split(' ');
        let kind = words.next().unwrap_or_default();
        let data = words.next().unwrap_or_default();
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        (kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-"))
            && data.starts_with("AAAA")
            && data.bytes().all(base64)
            && key.len() <= HOST_KEY_BYTES_MAX
            && !key.chars().any(char::is_control)
    };
    if (1..=HOST_KEYS_MAX).contains(&keys.len()) && keys.iter().all(is_key) {
        return Ok(());
    }
    Err(ConfigError(format!(
        "config.host_keys: 1 to {HOST_KEYS_MAX} public keys of the host, such as `ssh-ed25519 AAAA…`; ssh-keyscan shows them, and they are \
         compared with the host's own before they are saved"
    )))
}

/// A folder of a machine, as netlab's API is told it: nothing in it means another.
fn folder(path: &str) -> Result<(), ConfigError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let parts = path
        .strip_prefix('/')
        .into_iter()
        .flat_map(|path| path.split('/'));
    if (2..=WORD_BYTES_MAX).contains(&path.len())
        && path.starts_with('/')
        && path.bytes().all(good)
        && parts
            .into_iter()
            .all(|part| !matches!(part, "" | "." | ".."))
    {
        return Ok(());
    }
    Err(ConfigError(
        "config.folder: it is the absolute path of the folder in which labs are on that machine, such as /srv/labs".to_owned(),
    ))
}

impl CredentialConfig {
    /// Reads a config of this kind.
    ///
    /// # Errors
    /// When it says what cannot be.
    pub fn read(kind: CredentialKind, config: &Value) -> Result<Self, ConfigError> {
        match kind {
            CredentialKind::Git => Ok(Self::Git(read(config)?)),
            CredentialKind::Registry | CredentialKind::Kube => {
                if config.as_object().is_some_and(serde_json::Map::is_empty) {
                    return Ok(if kind == CredentialKind::Kube {
                        Self::Kube
                    } else {
                        Self::Registry
                    });
                }
                let problem = format!("config: a credential of kind {} has none", kind.as_str());
                Err(ConfigError(problem))
            }
            CredentialKind::S3 => {
                let config: S3Config = read(config)?;
                word("bucket", &config.bucket)?;
                word("region", &config.region)?;
                Ok(Self::S3(config))
            }
            CredentialKind::Aws => {
                let config: AwsConfig = read(config)?;
                word("region", &config.region)?;
                Ok(Self::Aws(config))
            }
            CredentialKind::Azure => {
                let config: AzureConfig = read(config)?;
                word("directory", &config.directory)?;
                scope(&config.scope)?;
                Ok(Self::Azure(config))
            }
            CredentialKind::Gcp => {
                let config: GcpConfig = read(config)?;
                scope(&config.scope)?;
                Ok(Self::Gcp(config))
            }
            CredentialKind::Ssh => {
                let config: SshConfig = read(config)?;
                host_keys(&config.host_keys)?;
                Ok(Self::Ssh(config))
            }
            CredentialKind::NetlabApi => {
                let config: NetlabApiConfig = read(config)?;
                folder(&config.folder)?;
                Ok(Self::NetlabApi(config))
            }
        }
    }

    /// The host that is asked when nobody says another.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Git(_) | Self::Registry | Self::Kube | Self::Ssh(_) | Self::NetlabApi(_) => None,
            Self::S3(config) => Some(format!("s3.{}.amazonaws.com", config.region)),
            Self::Aws(config) => Some(format!("sts.{}.amazonaws.com", config.region)),
            Self::Azure(_) => Some("login.microsoftonline.com".to_owned()),
            Self::Gcp(_) => Some("oauth2.googleapis.com".to_owned()),
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let value = match self {
            Self::Git(config) => serde_json::to_value(config),
            Self::Registry | Self::Kube => Ok(Value::Object(serde_json::Map::new())),
            Self::S3(config) => serde_json::to_value(config),
            Self::Aws(config) => serde_json::to_value(config),
            Self::Azure(config) => serde_json::to_value(config),
            Self::Gcp(config) => serde_json::to_value(config),
            Self::Ssh(config) => serde_json::to_value(config),
            Self::NetlabApi(config) => serde_json::to_value(config),
        };
        value.expect("structs of strings are JSON")
    }

    /// Whether a secret can be one of this kind.
    ///
    /// # Errors
    /// When it cannot, without a word of it.
    pub fn check_secret(&self, secret: &SecretString) -> Result<(), ConfigError> {
        match self {
            Self::Gcp(_) => serde_json::from_str::<GcpKey>(secret.expose_secret())
                .map(drop)
                .map_err(|_| {
                    let problem = "secret: it is the JSON key file of a service account, with client_email and private_key";
                    ConfigError(problem.to_owned())
                }),
            Self::Ssh(_) => {
                let text = secret.expose_secret().trim();
                let good = text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")
                    && text.ends_with("-----END OPENSSH PRIVATE KEY-----");
                let problem = "secret: it is a private key in OpenSSH's format, without a passphrase";
                good.then_some(()).ok_or_else(|| ConfigError(problem.to_owned()))
            }
            Self::Git(_)
            | Self::Registry
            | Self::S3(_)
            | Self::Kube
            | Self::Aws(_)
            | Self::Azure(_)
            | Self::NetlabApi(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_config_fits_its_kind() {
        for (kind, config, host) in [
            (CredentialKind::Git, json!({}), None),
            (CredentialKind::Registry, json!({}), None),
            (
                CredentialKind::S3,
                json!({"bucket": "labs"}),
                Some("s3.us-east-1.amazonaws.com"),
            ),
            (
                CredentialKind::Aws,
                json!({"region": "eu-west-1"}),
                Some("sts.eu-west-1.amazonaws.com"),
            ),
            (
                CredentialKind::Azure,
                json!({"directory": "acme.test"}),
                Some("login.microsoftonline.com"),
            ),
            (
                CredentialKind::Gcp,
                json!({}),
                Some("oauth2.googleapis.com"),
            ),
            (
                CredentialKind::NetlabApi,
                json!({"folder": "/srv/labs"}),
                None,
            ),
        ] {
            let read = CredentialConfig::read(kind, &config).expect("good");
            assert_eq!(read.host().as_deref(), host);
            assert_eq!(CredentialConfig::read(kind, &read.to_value()), Ok(read));
        }
        for (kind, config, part) in [
            (CredentialKind::Kube, json!({"x": 1}), "has none"),
            (CredentialKind::S3, json!({}), "bucket"),
            (
                CredentialKind::S3,
                json!({"bucket": "../x"}),
                "config.bucket",
            ),
            (
                CredentialKind::Aws,
                json!({"region": "a/b"}),
                "config.region",
            ),
            (
                CredentialKind::Azure,
                json!({"directory": "a?b"}),
                "config.directory",
            ),
            (
                CredentialKind::Gcp,
                json!({"scope": "http://x"}),
                "config.scope",
            ),
            (CredentialKind::Git, json!({"url": "x"}), "unknown field"),
            (CredentialKind::NetlabApi, json!({}), "folder"),
            (
                CredentialKind::NetlabApi,
                json!({"folder": "srv/labs"}),
                "config.folder",
            ),
            (
                CredentialKind::NetlabApi,
                json!({"folder": "/srv/../etc"}),
                "config.folder",
            ),
        ] {
            let error = CredentialConfig::read(kind, &config).expect_err("bad");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_key_file_is_told_from_other_texts_without_repeating_it() {
        let gcp = CredentialConfig::read(CredentialKind::Gcp, &json!({})).expect("good");
        let error = gcp.check_secret(&"s3cret".into()).expect_err("bad");
        assert!(!error.to_string().contains("s3cret"));
        let key =
            json!({"client_email": "a@b.test", "private_key": "x", "type": "service_account"});
        assert_eq!(gcp.check_secret(&key.to_string().into()), Ok(()));
    }
}
