//! What a person does with one delivery that is stored: reads its body, has it taken again, or hands its events to a binding.

use database::TenantTx;
use model::{BindingId, DeliveryId, EventId};
use serde_json::Value;
use uuid::Uuid;

/// What is on record of a delivery besides what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryDeed {
    /// Somebody read its body.
    ReadBody,
    /// Somebody wanted it taken again.
    Redeliver,
}

impl DeliveryDeed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ReadBody => "read_body",
            Self::Redeliver => "redeliver",
        }
    }
}

/// Puts it on record. False when the tenant has no such delivery.
///
/// # Errors
/// When the database does not answer.
pub async fn note_deed(
    tx: &mut TenantTx,
    delivery: DeliveryId,
    deed: DeliveryDeed,
    by: &str,
    data: Value,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.note_own_delivery_deed($1, $2, $3, $4) as "noted!""#,
        delivery.uuid(),
        deed.as_str(),
        by,
        data
    )
    .fetch_one(&mut **tx)
    .await
}

/// Makes a delivery's events once more, linked to the first ones: for one binding of its trigger, or for all. A repeat of a
/// delivery stands for the one that it repeats. `request` tells this wish from others: the same twice is once. Returns the new
/// events; none when the delivery made none.
///
/// # Errors
/// When the trigger has no such binding (a foreign key violation), or the database does not answer.
pub async fn repeat(
    tx: &mut TenantTx,
    delivery: DeliveryId,
    binding: Option<BindingId>,
    request: Uuid,
    by: &str,
) -> Result<Vec<EventId>, sqlx::Error> {
    let events = sqlx::query_scalar!(
        r#"select r.event_id as "id!" from switchyard.repeat_own_delivery($1, $2, $3, $4) r"#,
        delivery.uuid(),
        binding.map(BindingId::uuid),
        request.to_string(),
        by
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(events.into_iter().map(EventId::from).collect())
}
