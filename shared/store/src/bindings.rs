//! What a tenant's admin does to bindings: joins a trigger to what it starts, changes how, puts them in order, takes them away.

use ::triggers::{
    Binding, BindingDraft, Found, Target, TriggerDraft, check_binding, check_workload,
};
mod decided;

use database::TenantTx;
use model::{BindingId, Host, SourceKind, TenantId, TriggerId, TriggerKind, WorkloadId};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use decided::{Decided, decisions};

use crate::dispatch::object;
use crate::setup;
use crate::triggers::{SaveError, Saved, called, note};

/// Bindings of one trigger, at most: all of them look at every event of it.
pub const BINDINGS_MAX: usize = 50;

/// A binding as somebody wants it.
#[derive(Debug, Clone)]
pub struct BindingWanted {
    /// Overrides of the trigger's filter.
    pub filter: Map<String, Value>,
    /// What must be true beside it.
    pub condition: Option<Value>,
    /// What it starts. Of a workload the kind of its source is looked up.
    pub target: Target,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// A workload that is made with what starts it.
#[derive(Debug, Clone)]
pub struct WorkloadWanted {
    /// What people call it.
    pub name: String,
    /// What it is made from.
    pub source: SourceKind,
    /// Its config.
    pub config: Map<String, Value>,
    /// The first label of the host name that it is served under.
    pub host: Host,
}

/// A binding with what it is joined to.
#[derive(Debug)]
pub(crate) struct BindingRow {
    pub(crate) binding: Binding,
    pub(crate) workload_config: Option<Map<String, Value>>,
    /// What it starts, for people.
    pub(crate) starts: String,
}

/// What is bound to a trigger, in order.
pub(crate) async fn bound(
    tx: &mut TenantTx,
    trigger: TriggerId,
) -> Result<Vec<BindingRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select b.id, b.filter, b.condition, b.enabled, b.overrides, b.workload_id, b.task, b.payload, b.queue_name, b.key,
            b.priority, w.name as "name?", w.source as "source?", w.config as "config?"
        from switchyard.bindings b
        left join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
        where b.database_id = switchyard.current_tenant() and b.trigger_id = $1 and b.removed_at is null
        order by b.position, b.id
        "#,
        trigger.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let target = match row.workload_id {
                Some(id) => Target::Workload {
                    id: id.into(),
                    source: row.source.unwrap_or_default(),
                    overrides: object(row.overrides)?,
                },
                None => Target::Task {
                    task: row.task.unwrap_or_default(),
                    payload: row.payload.unwrap_or_default(),
                    queue_name: row.queue_name,
                    key: row.key,
                    priority: row.priority,
                },
            };
            Ok(BindingRow {
                starts: called(&target, row.name.as_deref()),
                workload_config: row.config.map(object).transpose()?,
                binding: Binding {
                    id: row.id.into(),
                    filter: object(row.filter)?,
                    condition: row.condition,
                    enabled: row.enabled,
                    target,
                },
            })
        })
        .collect()
}

/// What of a trigger its bindings are looked at with; it stays as it is until the transaction ends.
struct OwnTrigger {
    kind: TriggerKind,
    config: Map<String, Value>,
    condition: Option<Value>,
}

async fn trigger(tx: &mut TenantTx, id: TriggerId) -> Result<OwnTrigger, SaveError> {
    let row = sqlx::query!(
        r#"
        select kind, config, condition from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        for no key update
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(SaveError::Missing("trigger"))?;
    Ok(OwnTrigger {
        kind: row.kind.parse().map_err(|error: model::UnknownKind| {
            SaveError::Conflict(format!("{error}; a newer version made it"))
        })?,
        config: object(row.config)?,
        condition: row.condition,
    })
}

/// Looks at a binding as it will be merged; its target comes back with the kind of its workload's source.
async fn checked(
    tx: &mut TenantTx,
    trigger: &OwnTrigger,
    wanted: &BindingWanted,
) -> Result<(Target, Vec<String>), SaveError> {
    let mut target = wanted.target.clone();
    let mut config = None;
    if let Target::Workload { id, source, .. } = &mut target {
        let row = sqlx::query!(
            r#"
            select source, config from switchyard.workloads
            where database_id = switchyard.current_tenant() and id = $1
            "#,
            id.uuid()
        )
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(SaveError::Missing("workload"))?;
        *source = row.source;
        config = Some(object(row.config)?);
    }
    let Found { wrong, warnings } = check_binding(
        TriggerDraft {
            kind: trigger.kind,
            config: &trigger.config,
            condition: trigger.condition.as_ref(),
        },
        BindingDraft {
            filter: &wanted.filter,
            condition: wanted.condition.as_ref(),
            target: &target,
            workload_config: config.as_ref(),
        },
    );
    if wrong.is_empty() {
        Ok((target, warnings))
    } else {
        Err(SaveError::Wrong(wrong))
    }
}

/// What stands in the row of a target.
struct Columns {
    workload: Option<Uuid>,
    overrides: Value,
    task: Option<String>,
    payload: Option<Value>,
    queue_name: Option<String>,
    key: Option<String>,
    priority: i32,
}

impl From<Target> for Columns {
    fn from(target: Target) -> Self {
        match target {
            Target::Workload { id, overrides, .. } => Self {
                workload: Some(id.uuid()),
                overrides: Value::Object(overrides),
                task: None,
                payload: None,
                queue_name: None,
                key: None,
                priority: 0,
            },
            Target::Task {
                task,
                payload,
                queue_name,
                key,
                priority,
            } => Self {
                workload: None,
                overrides: Value::Object(Map::new()),
                task: Some(task),
                payload: Some(payload),
                queue_name,
                key,
                priority,
            },
        }
    }
}

/// Makes a workload with the config of its kind, to be bound in the same transaction.
///
/// # Errors
/// When something is wrong with it, its name or host is taken, or the database does not answer.
pub async fn create_workload(
    tx: &mut TenantTx,
    tenant: TenantId,
    wanted: &WorkloadWanted,
) -> Result<WorkloadId, SaveError> {
    let found = check_workload(wanted.source, &wanted.config);
    if !found.wrong.is_empty() {
        return Err(SaveError::Wrong(found.wrong));
    }
    if !(1..=63).contains(&wanted.name.chars().count()) {
        return Err(SaveError::wrong("name", "1 to 63 characters are expected"));
    }
    setup::create_workload(
        tx,
        tenant,
        &wanted.name,
        wanted.source,
        &wanted.config,
        &wanted.host,
    )
    .await
    .map_err(|error| match error.as_database_error() {
        Some(told) if told.code().as_deref() == Some("23505") => SaveError::Conflict(format!(
            "the name {:?} or the host {} is taken; take another",
            wanted.name, wanted.host
        )),
        _ => error.into(),
    })
}

/// Joins a trigger to what it starts, after what it starts already.
///
/// # Errors
/// When something is wrong with it as it would be merged, there is no such trigger or workload, there are too many, or the
/// database does not answer.
pub async fn create(
    tx: &mut TenantTx,
    tenant: TenantId,
    trigger_id: TriggerId,
    wanted: &BindingWanted,
    by: &str,
) -> Result<Saved<BindingId>, SaveError> {
    let trigger = trigger(tx, trigger_id).await?;
    let (target, warnings) = checked(tx, &trigger, wanted).await?;
    let before = bound(tx, trigger_id).await?.len();
    if before >= BINDINGS_MAX {
        return Err(SaveError::Conflict(format!(
            "a trigger has at most {BINDINGS_MAX} bindings; make another trigger"
        )));
    }
    let id = BindingId::from(Uuid::now_v7());
    let to = Columns::from(target);
    sqlx::query!(
        r#"
        insert into switchyard.bindings (
            id, database_id, trigger_id, workload_id, filter, overrides, condition, task, payload, queue_name, key,
            priority, enabled, position
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, (
            select coalesce(max(position) + 1, 0) from switchyard.bindings
            where database_id = $2 and trigger_id = $3
        ))
        "#,
        id.uuid(),
        tenant.uuid(),
        trigger_id.uuid(),
        to.workload as _,
        Value::Object(wanted.filter.clone()),
        to.overrides,
        wanted.condition as _,
        to.task as _,
        to.payload as _,
        to.queue_name as _,
        to.key as _,
        to.priority,
        wanted.enabled
    )
    .execute(&mut **tx)
    .await?;
    note(
        tx,
        trigger_id,
        "binding_create",
        by,
        json!({ "binding": id }),
    )
    .await?;
    Ok(Saved { id, warnings })
}

/// The trigger of a binding that is there.
async fn own_trigger(tx: &mut TenantTx, id: BindingId) -> Result<TriggerId, SaveError> {
    let found = sqlx::query_scalar!(
        r#"
        select trigger_id from switchyard.bindings
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.ok_or(SaveError::Missing("binding"))?.into())
}

/// A binding as it is, ready to be changed in part.
///
/// # Errors
/// When there is no such binding, or the database does not answer.
pub async fn wanted_now(tx: &mut TenantTx, id: BindingId) -> Result<BindingWanted, SaveError> {
    let trigger = own_trigger(tx, id).await?;
    let found = bound(tx, trigger).await?;
    let row = found.into_iter().find(|row| row.binding.id == id);
    let binding = row.ok_or(SaveError::Missing("binding"))?.binding;
    Ok(BindingWanted {
        filter: binding.filter,
        condition: binding.condition,
        target: binding.target,
        enabled: binding.enabled,
    })
}

/// Changes a binding. What it starts stays the same workload, or a task; to start something else make another.
///
/// # Errors
/// As [`create`], and when it would start something else.
pub async fn change(
    tx: &mut TenantTx,
    id: BindingId,
    wanted: &BindingWanted,
    by: &str,
) -> Result<Saved<BindingId>, SaveError> {
    let trigger_id = own_trigger(tx, id).await?;
    let trigger = trigger(tx, trigger_id).await?;
    let now = wanted_now(tx, id).await?;
    let same = match (&now.target, &wanted.target) {
        (Target::Workload { id: now, .. }, Target::Workload { id: wanted, .. }) => now == wanted,
        (Target::Task { .. }, Target::Task { .. }) => true,
        (Target::Workload { .. }, Target::Task { .. })
        | (Target::Task { .. }, Target::Workload { .. }) => false,
    };
    if !same {
        return Err(SaveError::wrong(
            "target",
            "a binding goes on starting what it starts; make another and remove this one",
        ));
    }
    let (target, warnings) = checked(tx, &trigger, wanted).await?;
    let to = Columns::from(target);
    sqlx::query!(
        r#"
        update switchyard.bindings
        set filter = $2, overrides = $3, condition = $4, task = $5, payload = $6, queue_name = $7, key = $8, priority = $9,
            enabled = $10, updated_at = now()
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid(),
        Value::Object(wanted.filter.clone()),
        to.overrides,
        wanted.condition as _,
        to.task as _,
        to.payload as _,
        to.queue_name as _,
        to.key as _,
        to.priority,
        wanted.enabled
    )
    .execute(&mut **tx)
    .await?;
    let data = json!({ "binding": id, "filter": wanted.filter, "enabled": wanted.enabled });
    note(tx, trigger_id, "binding_change", by, data).await?;
    Ok(Saved { id, warnings })
}

/// Takes a binding away. What it once started stays told.
///
/// # Errors
/// When there is no such binding, or the database does not answer.
pub async fn remove(tx: &mut TenantTx, id: BindingId, by: &str) -> Result<(), SaveError> {
    let trigger_id = own_trigger(tx, id).await?;
    sqlx::query!(
        r#"
        update switchyard.bindings set enabled = false, removed_at = now(), updated_at = now()
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(note(
        tx,
        trigger_id,
        "binding_remove",
        by,
        json!({ "binding": id }),
    )
    .await?)
}

/// Puts the bindings of a trigger in this order, which names each of them once.
///
/// # Errors
/// When it does not, there is no such trigger, or the database does not answer.
pub async fn order(
    tx: &mut TenantTx,
    trigger_id: TriggerId,
    ids: &[BindingId],
    by: &str,
) -> Result<(), SaveError> {
    trigger(tx, trigger_id).await?;
    let mut now: Vec<_> = bound(tx, trigger_id)
        .await?
        .iter()
        .map(|row| row.binding.id)
        .collect();
    let mut wanted = ids.to_vec();
    now.sort_unstable();
    wanted.sort_unstable();
    if now != wanted {
        return Err(SaveError::wrong(
            "bindings",
            "each binding of the trigger is named once, and no other",
        ));
    }
    let data = json!({ "bindings": ids });
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        r#"
        update switchyard.bindings b
        set position = o.place, updated_at = now()
        from unnest($1::uuid[]) with ordinality as o (id, place)
        where b.database_id = switchyard.current_tenant() and b.id = o.id and b.position <> o.place
        "#,
        &ids
    )
    .execute(&mut **tx)
    .await?;
    Ok(note(tx, trigger_id, "binding_order", by, data).await?)
}

/// Changes a workload's config. What is bound to it must still be right with it.
///
/// # Errors
/// When something is wrong with it, a binding would be no longer right, there is no such workload, or the database does not
/// answer.
pub async fn change_workload(
    tx: &mut TenantTx,
    id: WorkloadId,
    config: &Map<String, Value>,
) -> Result<(), SaveError> {
    let source = sqlx::query_scalar!(
        r#"
        select source from switchyard.workloads
        where database_id = switchyard.current_tenant() and id = $1
        for no key update
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(SaveError::Missing("workload"))?;
    let source: SourceKind = source
        .parse()
        .map_err(|error: model::UnknownSource| SaveError::Conflict(error.to_string()))?;
    let mut wrong = check_workload(source, config).wrong;
    let bound = sqlx::query!(
        r#"
        select b.id, b.overrides, t.name
        from switchyard.bindings b
        join switchyard.triggers t on t.database_id = b.database_id and t.id = b.trigger_id
        where b.database_id = switchyard.current_tenant() and b.workload_id = $1 and b.removed_at is null
        order by b.id
        "#,
        id.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    if wrong.is_empty() {
        for row in bound {
            let mut merged = config.clone();
            for (key, value) in object(row.overrides)? {
                if value.is_null() {
                    merged.remove(&key);
                } else {
                    merged.insert(key, value);
                }
            }
            let name = format!("binding {} of {}", BindingId::from(row.id), row.name);
            let found = check_workload(source, &merged).wrong;
            wrong.extend(found.into_iter().map(|wrong| wrong.within(&name)));
        }
    }
    if !wrong.is_empty() {
        return Err(SaveError::Wrong(wrong));
    }
    sqlx::query!(
        r#"
        update switchyard.workloads set config = $2
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid(),
        Value::Object(config.clone())
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
