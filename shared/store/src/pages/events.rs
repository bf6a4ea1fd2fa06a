//! One event with what each binding made of it.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, Check, DeliveryId, EventId, JobId, JobState, TriggerId, WorkloadId};
use serde::Serialize;

use super::{Named, word};

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// The event.
    pub id: EventId,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub ty: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// When it was accepted.
    pub accepted_at: DateTime<Utc>,
    /// When its bindings were asked; nothing while they have not been.
    pub dispatched_at: Option<DateTime<Utc>>,
    /// The trigger whose bindings were asked.
    pub trigger: Option<Named<TriggerId>>,
    /// The delivery that told of it.
    pub delivery: Option<EventDelivery>,
    /// What each binding made of it, in their order.
    pub decisions: Vec<EventDecision>,
}

/// The delivery that an event came from.
#[derive(Debug, Clone, Serialize)]
pub struct EventDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// Who sent it.
    pub vendor: String,
    /// The sender's word for what happened.
    pub vendor_event: Option<String>,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
}

/// What one binding made of the event.
#[derive(Debug, Clone, Serialize)]
pub struct EventDecision {
    /// The binding.
    pub binding: BindingId,
    /// Its place among the trigger's bindings.
    pub position: i32,
    /// The workload that it would deploy.
    pub workload: Option<Named<WorkloadId>>,
    /// The task that it would start instead.
    pub task: Option<String>,
    /// Whether every clause held.
    pub matched: bool,
    /// Those that held, in the order they were tried.
    pub held: Vec<Check>,
    /// The clause that failed.
    pub clause: Option<String>,
    /// What it asks for.
    pub expected: Option<String>,
    /// What the event says.
    pub actual: Option<String>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// The job that it made.
    pub job: Option<JobId>,
    /// The job's state now; nothing when it is not kept any more.
    pub job_state: Option<JobState>,
}

/// One event.
///
/// # Errors
/// When the database does not answer.
pub async fn event(tx: &mut TenantTx, id: EventId) -> Result<Option<Event>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select e.type as ty, e.source, e.subject, e.accepted_at, e.dispatched_at,
            t.id as "trigger_id?", t.name as "trigger_name?",
            d.id as "delivery_id?", d.vendor as "vendor?", d.vendor_event, d.received_at as "received_at?"
        from switchyard.events e
        left join switchyard.triggers t on t.database_id = e.database_id and t.id = e.trigger_id
        left join switchyard.deliveries d on d.database_id = e.database_id and d.id = e.delivery_id
        where e.database_id = switchyard.current_tenant() and e.id = $1
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let decisions = sqlx::query_file!("src/pages/sql/decisions.sql", id.uuid())
        .fetch_all(&mut **tx)
        .await?
        .into_iter()
        .map(|row| {
            Ok(EventDecision {
                binding: row.binding_id.into(),
                position: row.position,
                workload: row.workload_id.zip(row.workload).map(|(id, name)| Named {
                    id: id.into(),
                    name,
                }),
                task: row.task,
                matched: row.matched,
                held: serde_json::from_value(row.held)
                    .map_err(|error| sqlx::Error::Decode(error.into()))?,
                clause: row.clause,
                expected: row.expected,
                actual: row.actual,
                decided_at: row.decided_at,
                job: row.job_id.map(JobId),
                job_state: row.state.as_deref().map(word).transpose()?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Some(Event {
        id,
        ty: row.ty,
        source: row.source,
        subject: row.subject,
        accepted_at: row.accepted_at,
        dispatched_at: row.dispatched_at,
        trigger: row
            .trigger_id
            .zip(row.trigger_name)
            .map(|(id, name)| Named {
                id: id.into(),
                name,
            }),
        delivery: match (row.delivery_id, row.vendor, row.received_at) {
            (Some(id), Some(vendor), Some(received_at)) => Some(EventDelivery {
                id: id.into(),
                vendor,
                vendor_event: row.vendor_event,
                received_at,
            }),
            _ => None,
        },
        decisions,
    }))
}

/// The data of an event as JSON text, as it was written.
///
/// # Errors
/// When the database does not answer.
pub async fn event_data(tx: &mut TenantTx, id: EventId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select data::text as "data!"
        from switchyard.events
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}
