//! What commands of an operator have in common: how they reach the database, and who gives them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use database::{Connect, SystemDb};
use embedded_postgres::Server;
use host::Env;
use model::{DatabaseRole, TenantId};
use queue::rules::Scope;
use queue::{By, Queue};
use secrecy::SecretString;
use store::Keyring;

use super::data_dir::{DataDir, MASTER_KEY_FILE};
use super::database::{self as own, Database};
use super::failure::WrongSetting;

/// Whose everything is until somebody makes more tenants.
pub(crate) const TENANT: &str = "default";
/// Why a folder that is there does not let us in.
const CANNOT_READ: &str =
    "the database's password cannot be read: run this as the account that runs `switchyard up`";
/// How long the database may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which installation, and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperatorArgs {
    /// The data folder of a `switchyard up` that runs here, where DATABASE_URL names no database
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Who gives this command; $USER if nothing is said
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl OperatorArgs {
    /// The installation's folder, whether or not it is there.
    pub(crate) fn folder(&self, env: &Env) -> anyhow::Result<PathBuf> {
        DataDir::named(self.data_dir.as_deref(), "switchyard", env)
    }

    /// How the owner gets into the database, who may do everything there.
    pub(crate) fn owner_url(&self, env: &Env) -> anyhow::Result<SecretString> {
        if let Some(url) = env.get("DATABASE_URL") {
            return Ok(Database::given(url)?.urls.owner_url);
        }
        let folder = self.folder(env)?;
        let url = Server::superuser_url_of(&folder, own::NAME).context(CANNOT_READ)?;
        url.map(SecretString::from)
            .ok_or_else(|| nothing_in(&folder))
    }

    /// How a role gets into the database of `DATABASE_URL`, else into that of an installation on this machine.
    pub(crate) fn url(&self, env: &Env, role: DatabaseRole) -> anyhow::Result<SecretString> {
        match env.get("DATABASE_URL") {
            // One login for every role.
            Some(url) => Ok(Database::given(url)?.urls.system_url),
            None => own_url(env, self.data_dir.as_deref(), role),
        }
    }

    /// The key that opens secrets: in the file that `MASTER_KEY_FILE` names, else in the installation's folder. Nothing
    /// where there is no such folder.
    pub(crate) fn keyring(&self, env: &Env) -> anyhow::Result<Option<Keyring>> {
        let file = match env.get("MASTER_KEY_FILE") {
            Some(file) => PathBuf::from(file),
            None => {
                let folder = DataDir::named(self.data_dir.as_deref(), "switchyard", env)?;
                let file = folder.join(MASTER_KEY_FILE);
                if !file.is_file() {
                    return Ok(None);
                }
                file
            }
        };
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("the master key in {} cannot be read", file.display()))?;
        let keyring = Keyring::from_base64(&SecretString::from(text));
        keyring
            .map(Some)
            .with_context(|| format!("{} does not hold the master key", file.display()))
    }
}

/// What to rule.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Of this tenant alone
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// This task
    #[arg(long, value_name = "NAME", conflicts_with = "queue")]
    task: Option<String>,
    /// This named queue of the tenant
    #[arg(long, value_name = "NAME", requires = "tenant")]
    queue: Option<String>,
}

/// An operator at work.
pub(crate) struct Operator {
    /// The queue, over all tenants.
    pub(crate) queue: Queue,
    name: String,
    why: Option<String>,
}

impl Operator {
    /// Reaches the database of `DATABASE_URL`, else that of an installation on this machine.
    pub(crate) fn new(env: &Env, args: OperatorArgs) -> anyhow::Result<Self> {
        let url = args.url(env, DatabaseRole::System)?;
        let db = SystemDb::new(&Connect {
            url,
            role: DatabaseRole::System,
            connections_max: 1,
            acquire_timeout: CONNECT_TIMEOUT,
        })?;
        let name = args
            .by
            .or_else(|| env.get("USER").map(str::to_owned))
            .unwrap_or_else(|| "operator".to_owned());
        Ok(Self {
            queue: Queue::new(db),
            name,
            why: args.why,
        })
    }

    /// Who asks, and why.
    pub(crate) fn by(&self) -> By<'_> {
        By {
            name: &self.name,
            why: self.why.as_deref(),
        }
    }

    /// The tenant of this name.
    pub(crate) async fn tenant(&self, name: &str) -> anyhow::Result<TenantId> {
        self.queue
            .tenant_named(name)
            .await
            .context("the database does not answer")?
            .ok_or_else(|| anyhow!("there is no tenant with the name {name:?}"))
    }

    /// The tenant of this name, if one is named.
    pub(crate) async fn tenant_if_named(
        &self,
        name: Option<&str>,
    ) -> anyhow::Result<Option<TenantId>> {
        match name {
            Some(name) => self.tenant(name).await.map(Some),
            None => Ok(None),
        }
    }

    /// What the arguments name.
    pub(crate) async fn scope<'a>(&self, args: &'a ScopeArgs) -> anyhow::Result<Scope<'a>> {
        let tenant = self.tenant_if_named(args.tenant.as_deref()).await?;
        match (tenant, args.task.as_deref(), args.queue.as_deref()) {
            (Some(tenant), None, Some(queue)) => Ok(Scope::Queue(tenant, queue)),
            (Some(tenant), Some(task), _) => Ok(Scope::TenantTask(tenant, task)),
            (Some(tenant), None, None) => Ok(Scope::Tenant(tenant)),
            (None, Some(task), _) => Ok(Scope::Task(task)),
            (None, None, _) => Err(WrongSetting(
                "say what: --task, --tenant, both, or --tenant with --queue".to_owned(),
            )
            .into()),
        }
    }
}

/// The database that `switchyard up` runs itself.
fn own_url(env: &Env, data_dir: Option<&Path>, role: DatabaseRole) -> anyhow::Result<SecretString> {
    let folder = DataDir::named(data_dir, "switchyard", env)?;
    let url = Server::url_of(&folder, role.postgres(), own::NAME).context(CANNOT_READ)?;
    url.map(SecretString::from)
        .ok_or_else(|| nothing_in(&folder))
}

fn nothing_in(folder: &Path) -> anyhow::Error {
    WrongSetting(format!(
        "there is no installation in {}: set DATABASE_URL to its database, or name its folder with --data-dir",
        folder.display()
    ))
    .into()
}
