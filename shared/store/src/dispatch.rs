//! What dispatch reads and writes: an event with the bindings that look at it, and what they made of it.

use std::time::Duration;

use ::triggers::{Binding, Decision, EndedJob, Event, Target, Trigger};
use model::{BindingId, EventId, JobId, TenantId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use crate::Store;

/// How large the payload of a job that ended may be to be looked at, in bytes of JSON.
const PAYLOAD_BYTES_MAX: i32 = 64 * 1024;

/// Sources of events of ours that tell of a job, or of a workload that one changed.
const JOBS_AND_WORKLOADS: [&str; 2] = ["/switchyard/jobs", "/switchyard/workloads"];

/// The source of events of ours that tell of a line of a log.
const LOGS: &str = "/switchyard/cron-logs";

/// A job, as far as who follows it is concerned.
struct JobOf {
    ended: Option<EndedJob>,
    untrusted: bool,
}

/// What an event of ours says of the job that it tells of. A workload's event need not have one, nor a line of a site's log.
#[derive(Debug, Default, Deserialize)]
struct Told {
    #[serde(default)]
    job: Option<i64>,
    /// By which chain a line was said, where the event begins one of its own.
    #[serde(default)]
    correlation_id: Option<String>,
}

/// An event as dispatch loads it. The message that led here is trusted for nothing but the id.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Whose.
    pub tenant: TenantId,
    /// What happened.
    pub event: Event,
    /// Through which trigger it came; nothing when that is gone.
    pub trigger: Option<Trigger>,
    /// What is bound to the trigger, in order.
    pub bindings: Vec<Binding>,
    /// Whether decisions were made already.
    pub dispatched: bool,
}

/// A binding as look-ups tell it.
#[derive(Debug, Deserialize)]
pub(crate) struct BindingRow {
    id: Uuid,
    filter: Map<String, Value>,
    condition: Option<Value>,
    enabled: bool,
    overrides: Map<String, Value>,
    workload: Option<Uuid>,
    source: Option<String>,
    task: Option<String>,
    payload: Option<Value>,
    queue_name: Option<String>,
    key: Option<String>,
    priority: i32,
}

impl From<BindingRow> for Binding {
    fn from(row: BindingRow) -> Self {
        let target = match row.workload {
            Some(id) => Target::Workload {
                id: id.into(),
                source: row.source.unwrap_or_default(),
                overrides: row.overrides,
            },
            // A CHECK says that there is a task where there is no workload, with its payload.
            None => Target::Task {
                task: row.task.unwrap_or_default(),
                payload: row.payload.unwrap_or_default(),
                queue_name: row.queue_name,
                key: row.key,
                priority: row.priority,
            },
        };
        Self {
            id: row.id.into(),
            filter: row.filter,
            condition: row.condition,
            enabled: row.enabled,
            target,
        }
    }
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
            select e.database_id, e.type as ty, e.source, e.subject, e.data::text as "data!", e.correlation_id, e.depth,
                e.only_binding_id, e.dispatched_at is not null as "dispatched!",
                t.id as "trigger_id?", t.kind as "kind?", t.config as "config?", t.condition as "condition?",
                t.enabled as "enabled?",
                b.bindings as "bindings!: Json<Vec<BindingRow>>"
            from switchyard.events e
            left join switchyard.triggers t on t.database_id = e.database_id and t.id = e.trigger_id
            cross join lateral (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'id', b.id, 'filter', b.filter, 'condition', b.condition, 'enabled', b.enabled,
                    'overrides', b.overrides, 'workload', b.workload_id, 'source', w.source,
                    'task', b.task, 'payload', b.payload, 'queue_name', b.queue_name, 'key', b.key,
                    'priority', b.priority
                ) order by b.position, b.id), '[]') as bindings
                from switchyard.bindings b
                left join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
                where b.database_id = e.database_id and b.trigger_id = e.trigger_id and b.removed_at is null
            ) b
            where e.id = $1
            "#,
            id.uuid()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        let Some(event) = event else { return Ok(None) };
        let trigger = match (event.trigger_id, event.kind, event.config, event.enabled) {
            (Some(id), Some(kind), Some(config), Some(enabled)) => Some(Trigger {
                id: id.into(),
                kind,
                config: object(config)?,
                condition: event.condition,
                enabled,
            }),
            _ => None,
        };
        let bindings = event.bindings.0.into_iter().map(Binding::from).collect();
        let ours = JOBS_AND_WORKLOADS.contains(&event.source.as_str());
        let (job, untrusted) = if ours || event.source == LOGS {
            let told: Told = serde_json::from_str(&event.data).unwrap_or_default();
            match self.job_of(event.database_id, told.job).await? {
                Some(job) => (job.ended.filter(|_| ours), job.untrusted),
                // Its history is not kept, or not any more: then what led there tells.
                None => {
                    let from = told.correlation_id.as_ref();
                    let from = from.unwrap_or(&event.correlation_id);
                    (None, self.began_untrusted(event.database_id, from).await?)
                }
            }
        } else {
            (None, false)
        };
        Ok(Some(StoredEvent {
            tenant: event.database_id.into(),
            event: Event {
                id,
                ty: event.ty,
                source: event.source,
                subject: event.subject,
                data: event.data,
                correlation_id: event.correlation_id,
                depth: event.depth,
                only_binding: event.only_binding_id.map(BindingId::from),
                job,
                untrusted,
            },
            trigger,
            bindings,
            dispatched: event.dispatched,
        }))
    }

    /// The job that an event of ours tells of, live or ended. Nothing when its history is not kept.
    async fn job_of(&self, tenant: Uuid, job: Option<i64>) -> Result<Option<JobOf>, sqlx::Error> {
        let Some(job) = job else { return Ok(None) };
        let row = sqlx::query!(
            r#"
            select case when octet_length(payload::text) <= $3 then payload end as payload, key,
                case when jsonb_typeof(result -> 'changes') = 'boolean' then (result -> 'changes')::boolean end as changes,
                coalesce(payload @> '{"untrusted": true}', false) as "untrusted!", ended as "ended!"
            from (
                select payload, key, result, finished_at, true as ended from switchyard.jobs_archive
                where database_id = $1 and id = $2
                union all
                select payload, key, null, 'infinity', false from switchyard.jobs
                where database_id = $1 and id = $2
            ) job
            order by finished_at desc
            limit 1
            "#,
            tenant,
            job,
            PAYLOAD_BYTES_MAX
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(|row| JobOf {
            ended: row.ended.then(|| EndedJob {
                payload: row.payload.unwrap_or_default(),
                key: row.key,
                changes: row.changes,
                untrusted: row.untrusted,
            }),
            untrusted: row.untrusted,
        }))
    }

    /// Whether what a chain began with came from people who may not write here.
    async fn began_untrusted(
        &self,
        tenant: Uuid,
        correlation_id: &str,
    ) -> Result<bool, sqlx::Error> {
        // A chain is called after the delivery or the event that it began with.
        let first = correlation_id.split_once('_').map(|(_, id)| id.parse());
        let Some(Ok(first)) = first else {
            return Ok(false);
        };
        let first: Uuid = first;
        sqlx::query_scalar!(
            r#"
            select exists (
                select from switchyard.events
                where database_id = $1 and (id = $2 or delivery_id = $2) and data ->> 'from_fork' = 'true'
            ) as "untrusted!"
            "#,
            tenant,
            first
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Records decisions, adds the jobs and marks the event dispatched, or nothing of it. The second time nothing
    /// happens and no job is returned. Where the event only repeats what a hook or a look told of before, what would
    /// have started something is recorded with that clause and starts nothing.
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
            from switchyard.record_decisions_once($1, $2)
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
            start,
        } => json!({
            "binding": binding.uuid(),
            "held": held,
            "task": start.task,
            "payload": start.payload,
            "queue_name": start.queue_name,
            "key": start.key,
            "priority": start.priority,
            "workload": start.workload.map(model::WorkloadId::uuid),
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
