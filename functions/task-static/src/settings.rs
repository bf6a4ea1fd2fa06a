//! What the operator says, and what is made of it once, at the start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use egress::TenantEgress;
use git::{FetchLimits, FetchSettings, FetchSettingsError, Fetcher};
use host::{Env, SettingsError};
use model::TenantId;
use secrecy::SecretString;
use serde::Deserialize;

use crate::POLICY;
use crate::config::Source;

#[derive(Debug, Deserialize)]
struct Settings {
    /// A folder or URL for files. The host opens it; here it must be given.
    #[serde(rename = "blobs_url")]
    _blobs_url: String,
    /// Folders, joined by colons, below which a workload may name a local repository; none unless given.
    static_local_roots: Option<String>,
    /// How long one fetch may take, in seconds.
    fetch_time_max_secs: Option<u64>,
    /// How much a provider may send for one commit, in bytes.
    fetch_download_bytes_max: Option<u64>,
    /// How many files a site may have.
    site_files_max: Option<usize>,
    /// How large one file of a site may be, in bytes.
    site_file_bytes_max: Option<u64>,
    /// Where repositories are kept while they are read. Made if it is missing.
    #[serde(default = "scratch_dir")]
    scratch_dir: PathBuf,
    /// For tests: see [`Worker::pause_before_finish`]. Off unless given.
    switchyard_pause_before_finish: Option<PathBuf>,
}

fn scratch_dir() -> PathBuf {
    "/tmp".into()
}

/// What all jobs of the process share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) fetcher: Fetcher,
    pub(crate) tokens: Arc<Tokens>,
    pause: Option<Arc<Path>>,
}

impl Worker {
    /// Reads the settings, and clears the scratch folder of what killed processes left there.
    pub(crate) fn new(env: &Env) -> Result<Self, SettingsError> {
        let settings: Settings = env.parse()?;
        Ok(Self {
            fetcher: settings.fetcher(env.tenant_egress()?)?,
            tokens: Arc::new(Tokens::new(env)?),
            pause: settings.switchyard_pause_before_finish.map(Arc::from),
        })
    }

    /// Where tests stop a worker that has done everything but say so: while the file that
    /// `SWITCHYARD_PAUSE_BEFORE_FINISH` names is there, the worker waits, and `<file>.reached` holds its process id.
    pub(crate) async fn pause_before_finish(&self) -> std::io::Result<()> {
        const POLL: Duration = Duration::from_millis(20);
        let Some(file) = &self.pause else {
            return Ok(());
        };
        while tokio::fs::try_exists(file).await? {
            let reached = format!("{}.reached", file.display());
            tokio::fs::write(reached, std::process::id().to_string()).await?;
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Settings {
    fn fetcher(&self, egress: TenantEgress) -> Result<Fetcher, SettingsError> {
        let fetches = FetchSettings {
            git_local_roots: self.static_local_roots.clone(),
            fetch_time_max_secs: self.fetch_time_max_secs,
            fetch_download_bytes_max: self.fetch_download_bytes_max,
            scratch_dir: self.scratch_dir.clone(),
        };
        let mut fetcher = fetches
            .fetcher(egress, POLICY.attempt_time_max)
            .map_err(|error| {
                let setting = match &error {
                    FetchSettingsError::Roots(_) => "STATIC_LOCAL_ROOTS",
                    FetchSettingsError::Scratch(_) | FetchSettingsError::Time(_) => error.setting(),
                };
                SettingsError::wrong(setting, described(&error))
            })?;
        let usual = FetchLimits::default();
        fetcher.limits.files_max = self.site_files_max.unwrap_or(usual.files_max);
        fetcher.limits.file_bytes_max = self.site_file_bytes_max.unwrap_or(usual.file_bytes_max);
        Ok(fetcher)
    }
}

/// An error with what caused it.
fn described(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What the names of the operator's variables with access tokens start with. No other variable is a token, so that no
/// workload can ask for the database's URL.
const TOKEN_PREFIX: &str = "GIT_TOKEN_";

/// Access tokens of private repositories, by variable. Each is for one tenant and one provider: whoever configures a
/// workload chooses where a token is sent, so a token that went anywhere would be everybody's.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<String, Token>);

#[derive(Debug)]
struct Token {
    tenant: TenantId,
    /// Host, with a port unless it is 443.
    provider: String,
    secret: SecretString,
}

/// A workload names a token that is not for it. Whether there is one for others is nobody's business.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no token `{variable}` for {tenant} at {provider}; the operator gives it to task-static as {TOKEN_PREFIX}<NAME>=\"{tenant} {provider} <token>\", and `token_env` names that variable"
)]
pub(crate) struct NoToken {
    variable: String,
    tenant: TenantId,
    provider: String,
}

impl Tokens {
    fn new(env: &Env) -> Result<Self, SettingsError> {
        let tokens = env
            .iter()
            .filter(|(name, value)| name.starts_with(TOKEN_PREFIX) && !value.is_empty())
            .map(|(name, value)| {
                let token = Token::parse(value).ok_or_else(|| {
                    let form = "write the tenant's id, the provider's host and the token, with spaces between";
                    SettingsError::wrong(name, form)
                })?;
                Ok((name.to_owned(), token))
            });
        tokens.collect::<Result<_, _>>().map(Self)
    }

    /// The token that a source names, if it names one.
    pub(crate) fn of(
        &self,
        tenant: TenantId,
        source: &Source,
    ) -> Result<Option<&SecretString>, NoToken> {
        let Source::Provider {
            base_url,
            token_env: Some(variable),
            ..
        } = source
        else {
            return Ok(None);
        };
        let provider = base_url.as_url().authority();
        self.0
            .get(variable.as_str())
            .filter(|token| token.tenant == tenant && token.provider == provider)
            .map(|token| Some(&token.secret))
            .ok_or_else(|| NoToken {
                variable: variable.as_str().to_owned(),
                tenant,
                provider: provider.to_owned(),
            })
    }
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let token = Self {
            tenant: words.next()?.parse().ok()?,
            provider: words.next()?.to_ascii_lowercase(),
            secret: words.next()?.into(),
        };
        words.next().is_none().then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;

    const TENANT: &str = "tnt_018f0000000070008000000000000001";

    fn env() -> Env {
        Env::default().with("BLOBS_URL", "/nowhere")
    }

    fn refused(name: &str, value: &str) -> String {
        let error = Worker::new(&env().with(name, value)).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
        error.to_string()
    }

    #[test]
    fn a_wrong_setting_stops_the_start_by_its_name() {
        refused("EGRESS_ALLOW", "git.example.com");
        refused("STATIC_LOCAL_ROOTS", "/nowhere/at/all");
        refused("SCRATCH_DIR", "/dev/null/scratch");
        refused("FETCH_TIME_MAX_SECS", "120");
        let error = refused("GIT_TOKEN_DOCS", "git.example.com s3cret");
        assert!(!error.contains("s3cret"), "{error}");
        let error = Worker::new(&Env::default()).expect_err("there is no place for files");
        assert!(error.to_string().contains("BLOBS_URL"), "{error}");
    }

    #[test]
    fn a_token_goes_to_its_tenant_and_provider_only() {
        let env = env()
            .with("GIT_TOKEN_DOCS", format!("{TENANT} git.example.com s3cret"))
            .with("DATABASE_URL", format!("{TENANT} git.example.com s3cret"));
        let tokens = Tokens::new(&env).expect("good");
        let asked = |tenant: &str, base_url: &str, variable: &str| {
            let source: Source = serde_json::from_value(json!({
                "kind": "provider", "base_url": base_url, "repository": "o/n", "token_env": variable,
            }))
            .expect("a source");
            let found = tokens.of(tenant.parse().expect("an id"), &source);
            found.map(|token| token.map(|token| token.expose_secret().to_owned()))
        };
        let good = asked(TENANT, "https://git.example.com/forge", "GIT_TOKEN_DOCS");
        assert_eq!(good, Ok(Some("s3cret".to_owned())));
        let other = "tnt_018f0000000070008000000000000002";
        for (tenant, base_url, variable) in [
            (other, "https://git.example.com", "GIT_TOKEN_DOCS"),
            (TENANT, "https://evil.example.com", "GIT_TOKEN_DOCS"),
            (TENANT, "https://git.example.com:8443", "GIT_TOKEN_DOCS"),
            (TENANT, "https://git.example.com", "GIT_TOKEN_OTHER"),
            (TENANT, "https://git.example.com", "DATABASE_URL"),
        ] {
            let error = asked(tenant, base_url, variable).expect_err(variable);
            assert!(error.to_string().contains(variable), "{error}");
        }
    }
}
