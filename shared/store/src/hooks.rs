//! What an operator asks who looks after the hooks of a trigger.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, DeliveryId, EventId, TenantId, TriggerId};
use uuid::Uuid;

use crate::Store;
use crate::events::{AddedEvent, add_event};

/// How many events of one delivery are replayed, at most; a batch of CloudEvents has no more.
const EVENTS_MAX: i64 = 1000;

impl Store {
    /// Whose trigger it is. Nothing when there is no such trigger.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant_of_trigger(
        &self,
        trigger: TriggerId,
    ) -> Result<Option<TenantId>, sqlx::Error> {
        let found = sqlx::query_scalar!(
            "select database_id from switchyard.triggers where id = $1 and removed_at is null",
            trigger.uuid()
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(found.map(TenantId::from))
    }
}

/// When a trigger was changed last. Nothing when the tenant has no such trigger.
///
/// # Errors
/// When the database does not answer.
pub async fn trigger_changed_at(
    tx: &mut TenantTx,
    trigger: TriggerId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select updated_at
        from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        "#,
        trigger.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}

/// An event that repeats one of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// The one that is repeated.
    pub event: EventId,
    /// The new one.
    pub replay: EventId,
}

/// Lets the events of a delivery be looked at again, as they are stored: by one binding, or by all of their trigger. A
/// delivery that repeats another one has the events of that. Nothing comes of one without events.
///
/// # Errors
/// When the database does not answer, or the trigger has no such binding.
pub async fn replay_delivery(
    tx: &mut TenantTx,
    tenant: TenantId,
    delivery: DeliveryId,
    binding: Option<BindingId>,
) -> Result<Vec<Replayed>, sqlx::Error> {
    let stored = sqlx::query!(
        r#"
        select e.id, e.trigger_id as "trigger_id!", e.type as ty, e.source, e.subject, e.data::text as "data!", e.delivery_id,
            e.correlation_id, e.depth, e.traceparent
        from switchyard.deliveries d
        join switchyard.events e on e.database_id = d.database_id and e.delivery_id = coalesce(d.first_id, d.id)
        where d.database_id = switchyard.current_tenant() and d.id = $1 and e.replays is null and e.trigger_id is not null
        order by e.seq
        limit $2
        "#,
        delivery.uuid(),
        EVENTS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut replayed = Vec::new();
    for row in stored {
        let event = EventId::from(row.id);
        let replay = EventId::from(Uuid::now_v7());
        let added = AddedEvent {
            subject: row.subject,
            delivery: row.delivery_id.map(DeliveryId::from),
            correlation_id: Some(row.correlation_id),
            causation_id: Some(event.to_string()),
            depth: row.depth,
            traceparent: row.traceparent,
            only_binding: binding,
            replays: Some(event),
            ..AddedEvent::new(
                replay,
                tenant,
                row.trigger_id.into(),
                row.ty,
                row.source,
                row.data,
            )
        };
        add_event(tx, &added).await?;
        replayed.push(Replayed { event, replay });
    }
    Ok(replayed)
}
