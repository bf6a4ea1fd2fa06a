//! What dispatch reads and writes: an event with the bindings that look at it, and what they made of it.

use std::time::Duration;

use model::{BindingId, Check, EventId, JobId, TenantId, TriggerId, WorkloadId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use crate::Store;

/// An event as dispatch loads it. The message that led here is trusted for nothing but the id.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The event.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// CloudEvents `type`.
    pub ty: String,
    /// Its data, as text.
    pub data: String,
    /// Through which trigger it came.
    pub trigger: Option<StoredTrigger>,
    /// How often work led to work on the way here.
    pub depth: i32,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Whether decisions were made already.
    pub dispatched: bool,
    /// What is bound to the trigger, in order.
    pub bindings: Vec<StoredBinding>,
}

/// A trigger as dispatch needs it.
#[derive(Debug, Clone)]
pub struct StoredTrigger {
    /// The trigger.
    pub id: TriggerId,
    /// The kind's name.
    pub kind: String,
    /// The kind's filter.
    pub config: Map<String, Value>,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// A binding as dispatch needs it.
#[derive(Debug, Clone)]
pub struct StoredBinding {
    /// The binding.
    pub id: BindingId,
    /// Overrides of the trigger's filter.
    pub filter: Map<String, Value>,
    /// Overrides of the workload's config.
    pub overrides: Map<String, Value>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What it starts.
    pub workload: WorkloadId,
    /// The kind of the workload's source.
    pub source: String,
}

/// A binding as the look-up tells it.
#[derive(Debug, Deserialize)]
struct BindingRow {
    id: Uuid,
    filter: Map<String, Value>,
    overrides: Map<String, Value>,
    enabled: bool,
    workload: Uuid,
    source: String,
}

impl From<BindingRow> for StoredBinding {
    fn from(row: BindingRow) -> Self {
        Self {
            id: row.id.into(),
            filter: row.filter,
            overrides: row.overrides,
            enabled: row.enabled,
            workload: row.workload.into(),
            source: row.source,
        }
    }
}

/// What a binding made of an event.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It starts this.
    Matched {
        /// Which binding.
        binding: BindingId,
        /// The clauses that held.
        held: Vec<Check>,
        /// The task.
        task: &'static str,
        /// What to do.
        payload: Value,
        /// In which named queue.
        queue_name: String,
        /// Under which key: a newer one takes its place.
        key: String,
        /// On what.
        workload: WorkloadId,
    },
    /// It starts nothing.
    Unmatched {
        /// Which binding.
        binding: BindingId,
        /// The clauses that held before.
        held: Vec<Check>,
        /// The clause that failed.
        failed: Check,
    },
}

/// A job that dispatch made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatched {
    /// By which binding.
    pub binding: BindingId,
    /// The job.
    pub job: JobId,
    /// `added`, `superseded` or `kept`.
    pub outcome: String,
}

impl Store {
    /// Loads an event and the bindings of its trigger. Nothing when there is no such event.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event_for_dispatch(
        &self,
        id: EventId,
    ) -> Result<Option<StoredEvent>, sqlx::Error> {
        // One look-up for all of it: an event on its way to its jobs waits for every round trip.
        let event = sqlx::query!(
            r#"
            select e.database_id, e.type as ty, e.data::text as "data!", e.depth, e.traceparent,
                e.dispatched_at is not null as "dispatched!",
                t.id as "trigger_id?", t.kind as "kind?", t.config as "config?", t.enabled as "enabled?",
                b.bindings as "bindings!: Json<Vec<BindingRow>>"
            from switchyard.events e
            left join switchyard.triggers t on t.database_id = e.database_id and t.id = e.trigger_id
            cross join lateral (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'id', b.id, 'filter', b.filter, 'overrides', b.overrides, 'enabled', b.enabled,
                    'workload', b.workload_id, 'source', w.source
                ) order by b.position, b.id), '[]') as bindings
                from switchyard.bindings b
                join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
                where b.database_id = e.database_id and b.trigger_id = e.trigger_id
            ) b
            where e.id = $1
            "#,
            id.uuid()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        let Some(event) = event else { return Ok(None) };
        let trigger = match (event.trigger_id, event.kind, event.config, event.enabled) {
            (Some(id), Some(kind), Some(config), Some(enabled)) => Some(StoredTrigger {
                id: id.into(),
                kind,
                config: object(config)?,
                enabled,
            }),
            _ => None,
        };
        let bindings = event
            .bindings
            .0
            .into_iter()
            .map(StoredBinding::from)
            .collect();
        Ok(Some(StoredEvent {
            id,
            tenant: event.database_id.into(),
            ty: event.ty,
            data: event.data,
            trigger,
            depth: event.depth,
            traceparent: event.traceparent,
            dispatched: event.dispatched,
            bindings,
        }))
    }

    /// Records decisions, adds the jobs and marks the event dispatched, or nothing of it. The second time nothing
    /// happens and no job is returned.
    ///
    /// # Errors
    /// When the database does not answer, or there is no such event.
    pub async fn record_decisions(
        &self,
        event: EventId,
        decisions: &[Decision],
    ) -> Result<Vec<Dispatched>, sqlx::Error> {
        let decisions = Value::Array(decisions.iter().map(row).collect());
        let rows = sqlx::query!(
            r#"
            select binding_id as "binding_id!", job_id as "job_id!", outcome as "outcome!"
            from switchyard.record_decisions($1, $2)
            "#,
            event.uuid(),
            decisions
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Dispatched {
                binding: row.binding_id.into(),
                job: JobId(row.job_id),
                outcome: row.outcome,
            })
            .collect())
    }

    /// Puts up to `limit` events into the outbox again that nobody dispatched within `after`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn republish_events(&self, after: Duration, limit: i32) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.republish_events(make_interval(secs => $1), $2) as "count!""#,
            after.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

fn row(decision: &Decision) -> Value {
    match decision {
        Decision::Matched {
            binding,
            held,
            task,
            payload,
            queue_name,
            key,
            workload,
        } => json!({
            "binding": binding.uuid(),
            "held": held,
            "task": task,
            "payload": payload,
            "queue_name": queue_name,
            "key": key,
            "workload": workload.uuid(),
        }),
        Decision::Unmatched {
            binding,
            held,
            failed,
        } => json!({
            "binding": binding.uuid(),
            "held": held,
            "clause": failed.clause,
            "expected": failed.expected,
            "actual": failed.actual,
        }),
    }
}

/// The columns' CHECKs admit objects only.
pub(crate) fn object(value: Value) -> Result<Map<String, Value>, sqlx::Error> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(sqlx::Error::Decode(
            format!("an object was expected, not {other}").into(),
        )),
    }
}
