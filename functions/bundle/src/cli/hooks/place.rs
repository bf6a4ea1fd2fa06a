//! Where the triggers and deliveries of a command are: the installation's database, and the key that opens its secrets.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use database::{Connect, SystemDb, TenantDb, TenantTx};
use host::Env;
use model::{DatabaseRole, TenantId, TriggerId};
use secrecy::SecretString;
use store::inbox::InboxTrigger;
use store::pages::{self, DeliveryFilter, DeliveryVerdict};
use store::{Keyring, Store};

use crate::cli::operate::{Operator, OperatorArgs};

/// How long the database may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a file with a secret may be, in bytes.
const SECRET_BYTES_MAX: u64 = 8 * 1024;

/// An installation.
pub(super) struct Place {
    store: Store,
    tenants: TenantDb,
    keyring: Option<Keyring>,
    operator: Operator,
}

impl Place {
    /// The one that the arguments and the environment name. Where no master key is to be found, secrets stay shut.
    pub(super) fn new(env: &Env, args: &OperatorArgs) -> anyhow::Result<Self> {
        let connect = |role| -> anyhow::Result<Connect> {
            Ok(Connect {
                url: args.url(env, role)?,
                role,
                connections_max: 1,
                acquire_timeout: CONNECT_TIMEOUT,
            })
        };
        Ok(Self {
            store: Store::new(SystemDb::new(&connect(DatabaseRole::System)?)?),
            tenants: TenantDb::new(&connect(DatabaseRole::Tenant)?)?,
            keyring: args.keyring(env)?,
            operator: Operator::new(env, args.clone())?,
        })
    }

    /// Who asks, and whose things are asked for by name.
    pub(super) fn operator(&self) -> &Operator {
        &self.operator
    }

    /// A transaction of a tenant.
    pub(super) async fn begin(&self, tenant: TenantId) -> anyhow::Result<TenantTx> {
        let begun = self.tenants.begin(tenant).await;
        begun.context("the database does not answer")
    }

    /// Whose trigger it is.
    pub(super) async fn tenant_of(&self, id: TriggerId) -> anyhow::Result<TenantId> {
        let found = self.store.tenant_of_trigger(id).await;
        found
            .context("the database does not answer")?
            .ok_or_else(|| anyhow!("there is no trigger {id}"))
    }

    /// A trigger with its secrets.
    pub(super) async fn trigger(&self, id: TriggerId) -> anyhow::Result<InboxTrigger> {
        let Some(keyring) = &self.keyring else {
            bail!(
                "the trigger's secret cannot be opened without the master key: name its file in MASTER_KEY_FILE, or the \
                 folder of the installation with --data-dir; or give the secret with --secret-file"
            );
        };
        let found = self.store.inbox_trigger(keyring, id).await;
        found
            .context("the trigger cannot be read")?
            .ok_or_else(|| anyhow!("there is no trigger {id}"))
    }

    /// When a trigger was changed last.
    pub(super) async fn changed_at(
        &self,
        tenant: TenantId,
        id: TriggerId,
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        let mut tx = self.begin(tenant).await?;
        let changed = store::hooks::trigger_changed_at(&mut tx, id).await;
        changed.context("the trigger cannot be read")
    }

    /// When a signature did not hold, if none held since.
    pub(super) async fn refused_at(
        &self,
        tenant: TenantId,
        id: TriggerId,
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        let mut tx = self.begin(tenant).await?;
        let filter = DeliveryFilter {
            trigger: Some(id),
            ..DeliveryFilter::default()
        };
        let newest = pages::deliveries(&mut tx, filter, None, 1)
            .await
            .context("the deliveries cannot be read")?;
        let newest = newest.into_iter().next();
        Ok(newest
            .filter(|delivery| delivery.verdict == DeliveryVerdict::Rejected)
            .map(|delivery| delivery.received_at))
    }
}

/// The secret in a file, without the line break that editors put behind it.
pub(super) fn secret_of(file: &Path) -> anyhow::Result<SecretString> {
    let reading = || -> anyhow::Result<String> {
        let bytes = std::fs::metadata(file)?.len();
        if bytes > SECRET_BYTES_MAX {
            bail!("it has {bytes} bytes, which is no secret: at most {SECRET_BYTES_MAX} are read");
        }
        Ok(std::fs::read_to_string(file)?)
    };
    let text = reading().with_context(|| format!("could not read {}", file.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        bail!("{} is empty", file.display());
    }
    Ok(SecretString::from(text))
}
