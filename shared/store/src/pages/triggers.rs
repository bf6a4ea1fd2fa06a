//! Triggers with what is bound to them, and the events that they are tried with.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, DeliveryId, EventId, TriggerId, WorkloadId};
use serde::Serialize;
use serde_json::Value;

use super::{Named, rows};

/// How many bindings of one trigger are read.
const BINDINGS_MAX: i64 = 200;
/// How many of a trigger's targets are named in a list.
const TARGETS_MAX: i64 = 3;

/// A trigger in a list.
#[derive(Debug, Clone, Serialize)]
pub struct TriggerListed {
    /// The trigger.
    pub id: TriggerId,
    /// What people call it.
    pub name: String,
    /// The kind's name.
    pub kind: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What it starts: workloads and tasks, the first few in the order of their bindings.
    pub targets: Vec<String>,
}

/// The triggers behind a name, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn trigger_list(
    tx: &mut TenantTx,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<TriggerListed>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select t.id, t.name, t.kind, t.enabled,
            array(
                select coalesce(w.name, b.task)
                from switchyard.bindings b
                left join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
                where b.database_id = t.database_id and b.trigger_id = t.id and b.removed_at is null
                order by b.position, b.id
                limit $3
            ) as "targets!: Vec<String>"
        from switchyard.triggers t
        where t.database_id = switchyard.current_tenant() and t.removed_at is null and t.name > $1
        order by t.name
        limit $2
        "#,
        after.unwrap_or_default(),
        rows(limit),
        TARGETS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| TriggerListed {
            id: row.id.into(),
            name: row.name,
            kind: row.kind,
            enabled: row.enabled,
            targets: row.targets,
        })
        .collect())
}

/// One trigger with everything but its secrets.
#[derive(Debug, Clone, Serialize)]
pub struct TriggerShown {
    /// The trigger.
    pub id: TriggerId,
    /// What people call it.
    pub name: String,
    /// The kind's name.
    pub kind: String,
    /// The kind's filter.
    pub config: Value,
    /// What must be true beside it.
    pub condition: Option<Value>,
    /// How senders prove who they are; nothing where each does it in its usual way.
    pub scheme: Option<Value>,
    /// Until when the secret before is good, where a rotation is under way.
    pub secret_previous_until: Option<DateTime<Utc>>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What is bound to it, in order.
    pub bindings: Vec<BindingShown>,
}

/// A binding as its trigger's page has it.
#[derive(Debug, Clone, Serialize)]
pub struct BindingShown {
    /// The binding.
    pub id: BindingId,
    /// Its place among the trigger's.
    pub position: i32,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Overrides of the trigger's filter.
    pub filter: Value,
    /// What must be true beside it.
    pub condition: Option<Value>,
    /// The workload that it deploys.
    pub workload: Option<BoundWorkload>,
    /// Overrides of the workload's config.
    pub overrides: Value,
    /// The task that it starts instead.
    pub task: Option<String>,
    /// The task's payload, with templates.
    pub payload: Option<Value>,
    /// A template of the named queue.
    pub queue_name: Option<String>,
    /// A template of the key.
    pub key: Option<String>,
    /// Higher ones first.
    pub priority: i32,
}

/// A workload that a binding deploys.
#[derive(Debug, Clone, Serialize)]
pub struct BoundWorkload {
    /// Which.
    #[serde(flatten)]
    pub named: Named<WorkloadId>,
    /// The kind of its source.
    pub source: String,
    /// Its config.
    pub config: Value,
}

/// One trigger.
///
/// # Errors
/// When the database does not answer.
pub async fn trigger_shown(
    tx: &mut TenantTx,
    id: TriggerId,
) -> Result<Option<TriggerShown>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select name, kind, config, condition, scheme, secret_previous_until, enabled
        from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(TriggerShown {
        id,
        name: row.name,
        kind: row.kind,
        config: row.config,
        condition: row.condition,
        scheme: row.scheme,
        secret_previous_until: row.secret_previous_until,
        enabled: row.enabled,
        bindings: bindings_of(tx, id).await?,
    }))
}

async fn bindings_of(
    tx: &mut TenantTx,
    trigger: TriggerId,
) -> Result<Vec<BindingShown>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select b.id, b.position, b.enabled, b.filter, b.condition, b.overrides, b.task, b.payload, b.queue_name, b.key,
            b.priority, w.id as "workload?", w.name as "workload_name?", w.source as "source?", w.config as "config?"
        from switchyard.bindings b
        left join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
        where b.database_id = switchyard.current_tenant() and b.trigger_id = $1 and b.removed_at is null
        order by b.position, b.id
        limit $2
        "#,
        trigger.uuid(),
        BINDINGS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| BindingShown {
            id: row.id.into(),
            position: row.position,
            enabled: row.enabled,
            filter: row.filter,
            condition: row.condition,
            workload: match (row.workload, row.workload_name, row.source, row.config) {
                (Some(id), Some(name), Some(source), Some(config)) => Some(BoundWorkload {
                    named: Named {
                        id: id.into(),
                        name,
                    },
                    source,
                    config,
                }),
                _ => None,
            },
            overrides: row.overrides,
            task: row.task,
            payload: row.payload,
            queue_name: row.queue_name,
            key: row.key,
            priority: row.priority,
        })
        .collect())
}

/// The trigger of a binding. Nothing when the tenant has no such binding.
///
/// # Errors
/// When the database does not answer.
pub async fn trigger_of_binding(
    tx: &mut TenantTx,
    binding: BindingId,
) -> Result<Option<TriggerId>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"
        select trigger_id
        from switchyard.bindings
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        binding.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(TriggerId::from))
}

/// A stored event, as a trigger is tried with it.
#[derive(Debug, Clone)]
pub struct TriedWith {
    /// The event.
    pub id: EventId,
    /// CloudEvents `type`.
    pub ty: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// The data as JSON text.
    pub data: String,
    /// What the whole chain has in common.
    pub correlation_id: String,
    /// How many times work led here.
    pub depth: i32,
    /// The delivery that told of it.
    pub delivery: Option<(DeliveryId, DateTime<Utc>)>,
}

/// The events that a trigger is tried with: those of one delivery, else those of its last deliveries, the newest first. What
/// repeats an event for a binding is left out.
///
/// # Errors
/// When the database does not answer.
pub async fn tried_with(
    tx: &mut TenantTx,
    trigger: TriggerId,
    delivery: Option<DeliveryId>,
    last: usize,
) -> Result<Vec<TriedWith>, sqlx::Error> {
    // Two hundred at most are asked for: more than a page of a list.
    let last = i64::try_from(last).unwrap_or(i64::MAX);
    let found = sqlx::query!(
        r#"
        select e.id, e.type as ty, e.source, e.subject, e.data::text as "data!", e.correlation_id, e.depth,
            d.id as "delivery_id!", d.received_at
        from (
            select database_id, id, received_at, first_id
            from switchyard.deliveries
            where database_id = switchyard.current_tenant() and trigger_id = $1 and verdict <> 'rejected'
                and (id = $2 or $2 is null)
            order by id desc
            limit $3
        ) d
        join switchyard.events e on e.database_id = d.database_id and e.delivery_id = coalesce(
            case when $2::uuid is not null then d.first_id end, d.id
        )
        where e.replays is null
        order by e.seq desc
        limit $3
        "#,
        trigger.uuid(),
        delivery.map(DeliveryId::uuid),
        last
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| TriedWith {
            id: row.id.into(),
            ty: row.ty,
            source: row.source,
            subject: row.subject,
            data: row.data,
            correlation_id: row.correlation_id,
            depth: row.depth,
            delivery: Some((row.delivery_id.into(), row.received_at)),
        })
        .collect())
}

/// Which of these stored events only repeated what the other kind of reporter, hook or look, had told before: what was recorded
/// of that when they were dispatched.
///
/// # Errors
/// When the database does not answer.
pub async fn repeated(
    tx: &mut TenantTx,
    events: &[EventId],
) -> Result<HashMap<EventId, String>, sqlx::Error> {
    let ids: Vec<_> = events.iter().map(|id| id.uuid()).collect();
    let found = sqlx::query!(
        r#"
        select event_id, min(actual) as "actual!"
        from switchyard.decisions
        where database_id = switchyard.current_tenant() and event_id = any ($1) and clause = 'seen'
        group by event_id
        "#,
        &ids
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| (row.event_id.into(), row.actual))
        .collect())
}

/// What an event would repeat if it came now: the state that the other kind of reporter told last. Nothing when it tells
/// something new, nothing of a ref or tag, or its trigger is not watched for.
///
/// # Errors
/// When the database does not answer, or the data is no JSON.
pub async fn would_repeat(
    tx: &mut TenantTx,
    trigger: TriggerId,
    ty: &str,
    data: &str,
) -> Result<Option<String>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"
        select case told.told_by when 'look' then 'a hook told of ' else 'a look found ' end
            || case told.state when '?' then s.state else told.state end as "said!"
        from switchyard.told_state($2, $3::text::json) told
        join switchyard.seen s
            on s.database_id = switchyard.current_tenant() and s.trigger_id = $1 and s.name = told.name
        join switchyard.watches w on w.database_id = s.database_id and w.trigger_id = s.trigger_id
        where (told.state = s.state or '?' in (told.state, s.state))
          and (s.told_by = 'look' and told.told_by = 'hook' or s.told_by = 'hook' and told.told_by = 'look')
        "#,
        trigger.uuid(),
        ty,
        data
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found)
}
