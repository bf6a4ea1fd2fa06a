//! What a tenant's admin makes: workloads, triggers, bindings; and what an operator starts by hand.

use database::TenantTx;
use model::{
    BindingId, GitTrigger, Host, JobId, Scheme, SourceKind, TenantId, TriggerId, TriggerKind,
    WorkloadAction, WorkloadId, WorkloadJob,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use ::triggers::{deploy_key, workload_queue};

use crate::inbox::SECRET;
use crate::{Keyring, Slot};

/// Makes a workload.
///
/// # Errors
/// When the database does not answer, or the name or host is taken.
pub async fn create_workload(
    tx: &mut TenantTx,
    tenant: TenantId,
    name: &str,
    source: SourceKind,
    config: &Map<String, Value>,
    host: &Host,
) -> Result<WorkloadId, sqlx::Error> {
    let id = Uuid::now_v7();
    sqlx::query!(
        r#"
        insert into switchyard.workloads (id, database_id, name, source, config, host)
        values ($1, $2, $3, $4, $5, $6)
        "#,
        id,
        tenant.uuid(),
        name,
        source.as_str(),
        Value::Object(config.clone()),
        host.as_str()
    )
    .execute(&mut **tx)
    .await?;
    Ok(id.into())
}

/// Makes a `git` trigger with its secret.
///
/// # Errors
/// When the database does not answer, or the name is taken.
pub async fn create_git_trigger(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    name: &str,
    filter: &GitTrigger,
    secret: &SecretString,
) -> Result<TriggerId, sqlx::Error> {
    let id = Uuid::now_v7();
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id,
    };
    let config = serde_json::to_value(filter).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        r#"
        insert into switchyard.triggers (id, database_id, name, kind, config, secret)
        values ($1, $2, $3, 'git', $4, $5)
        "#,
        id,
        tenant.uuid(),
        name,
        config,
        keyring.seal(slot, secret.expose_secret().as_bytes())
    )
    .execute(&mut **tx)
    .await?;
    Ok(id.into())
}

/// A trigger to be made.
#[derive(Debug)]
pub struct NewTrigger<'a> {
    /// What people call it.
    pub name: &'a str,
    /// What makes it fire.
    pub kind: TriggerKind,
    /// The kind's filter.
    pub config: Map<String, Value>,
    /// How its senders prove who they are; without one, as the vendor does whose URL they call.
    pub scheme: Option<&'a Scheme>,
    /// What they sign with, or send as it is.
    pub secret: Option<&'a SecretString>,
    /// SHA-256 of the secret in the path of its URL.
    pub path_sha256: Option<[u8; 32]>,
}

/// Makes a trigger of any kind that takes webhooks.
///
/// # Errors
/// When the database does not answer, or the name is taken.
pub async fn create_trigger(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    new: NewTrigger<'_>,
) -> Result<TriggerId, sqlx::Error> {
    let id = Uuid::now_v7();
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id,
    };
    let scheme = new.scheme.map(serde_json::to_value).transpose();
    let scheme = scheme.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let secret = new
        .secret
        .map(|secret| keyring.seal(slot, secret.expose_secret().as_bytes()));
    sqlx::query!(
        r#"
        insert into switchyard.triggers (id, database_id, name, kind, config, scheme, secret, path_sha256)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        id,
        tenant.uuid(),
        new.name,
        new.kind.as_str(),
        Value::Object(new.config),
        scheme,
        secret,
        new.path_sha256.as_ref().map(<[u8; 32]>::as_slice)
    )
    .execute(&mut **tx)
    .await?;
    Ok(id.into())
}

/// Joins a trigger to a workload.
///
/// # Errors
/// When the database does not answer, or the tenant has no such trigger or workload.
pub async fn create_binding(
    tx: &mut TenantTx,
    tenant: TenantId,
    trigger: TriggerId,
    workload: WorkloadId,
    filter: &Map<String, Value>,
    position: i32,
) -> Result<BindingId, sqlx::Error> {
    let id = Uuid::now_v7();
    sqlx::query!(
        r#"
        insert into switchyard.bindings (id, database_id, trigger_id, workload_id, filter, position)
        values ($1, $2, $3, $4, $5, $6)
        "#,
        id,
        tenant.uuid(),
        trigger.uuid(),
        workload.uuid(),
        Value::Object(filter.clone()),
        position
    )
    .execute(&mut **tx)
    .await?;
    Ok(id.into())
}

/// Starts a job on a workload by a person's hand: a deploy of what its source says now, or a rollback.
///
/// # Errors
/// When the database does not answer, or the tenant has no such workload.
pub async fn start_workload_job(
    tx: &mut TenantTx,
    workload: WorkloadId,
    source: SourceKind,
    action: WorkloadAction,
    actor: &str,
) -> Result<JobId, sqlx::Error> {
    let payload = serde_json::to_value(WorkloadJob {
        workload,
        action,
        overrides: Map::new(),
        untrusted: false,
    })
    .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let job = sqlx::query_scalar!(
        r#"
        select job_id as "job_id!"
        from switchyard.add_own_job($1, $2, $3, $4, $5, $6)
        "#,
        source.task(),
        payload,
        workload_queue(workload),
        deploy_key(workload),
        workload.uuid(),
        actor
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(JobId(job))
}
