//! Makes sure that a tenant has what was declared: called twice, there is one of each, as it was declared last.

use database::TenantTx;
use model::{BindingId, GitTrigger, Host, SourceKind, TenantId, TriggerId, WorkloadId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::inbox::SECRET;
use crate::{Keyring, Slot, setup};

/// Makes sure that a workload of this name exists, with this config and host. The source of one that is there stays.
///
/// # Errors
/// When the database does not answer, or another workload has the host.
pub async fn workload(
    tx: &mut TenantTx,
    tenant: TenantId,
    name: &str,
    source: SourceKind,
    config: &Map<String, Value>,
    host: &Host,
) -> Result<WorkloadId, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        insert into switchyard.workloads (id, database_id, name, source, config, host)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (database_id, name) do update set config = excluded.config, host = excluded.host
        returning id
        "#,
        Uuid::now_v7(),
        tenant.uuid(),
        name,
        source.as_str(),
        Value::Object(config.clone()),
        host.as_str()
    )
    .fetch_one(&mut **tx)
    .await
    .map(WorkloadId::from)
}

/// Makes sure that a `git` trigger of this name exists, with this filter and secret. The secret before is forgotten at
/// once: who declares one says what is good now.
///
/// # Errors
/// When the database does not answer.
pub async fn git_trigger(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    name: &str,
    filter: &GitTrigger,
    secret: &SecretString,
) -> Result<TriggerId, sqlx::Error> {
    let known = sqlx::query_scalar!(
        "select id from switchyard.triggers where database_id = $1 and name = $2 and removed_at is null",
        tenant.uuid(),
        name
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(id) = known else {
        return setup::create_git_trigger(tx, tenant, keyring, name, filter, secret).await;
    };
    let config = serde_json::to_value(filter).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id,
    };
    sqlx::query!(
        r#"
        update switchyard.triggers
        set config = $3, secret = $4, secret_previous = null, enabled = true
        where database_id = $1 and id = $2
        "#,
        tenant.uuid(),
        id,
        config,
        keyring.seal(slot, secret.expose_secret().as_bytes())
    )
    .execute(&mut **tx)
    .await?;
    Ok(id.into())
}

/// Makes sure that a trigger is joined to a workload, with this filter and place.
///
/// # Errors
/// When the database does not answer, or the tenant has no such trigger or workload.
pub async fn binding(
    tx: &mut TenantTx,
    tenant: TenantId,
    trigger: TriggerId,
    workload: WorkloadId,
    filter: &Map<String, Value>,
    position: i32,
) -> Result<BindingId, sqlx::Error> {
    let known = sqlx::query_scalar!(
        r#"
        update switchyard.bindings
        set filter = $4, position = $5, enabled = true
        where id = (
            select id from switchyard.bindings
            where database_id = $1 and trigger_id = $2 and workload_id = $3 and removed_at is null
            order by id
            limit 1
        )
        returning id
        "#,
        tenant.uuid(),
        trigger.uuid(),
        workload.uuid(),
        Value::Object(filter.clone()),
        position
    )
    .fetch_optional(&mut **tx)
    .await?;
    match known {
        Some(id) => Ok(id.into()),
        None => setup::create_binding(tx, tenant, trigger, workload, filter, position).await,
    }
}
