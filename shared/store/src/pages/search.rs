//! Deliveries found by what is known of them.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{DeliveryId, TriggerId};
use uuid::{NoContext, Timestamp, Uuid};

use super::deliveries::{deliveries, read};
use super::{Delivery, DeliveryFilter, DeliveryVerdict, ROWS_MAX, rows};

/// How many deliveries one read looks at, whether they match or not.
const LOOKED_MAX: i64 = 5000;

/// Which deliveries are looked for: those for which all that is said holds.
#[derive(Debug, Clone, Default)]
pub struct DeliverySearch {
    /// What they turned out to be.
    pub verdict: Option<DeliveryVerdict>,
    /// Through which trigger they came.
    pub trigger: Option<TriggerId>,
    /// Who sent them.
    pub vendor: Option<String>,
    /// What their sender calls what happened.
    pub event: Option<String>,
    /// Came in then, or later.
    pub since: Option<DateTime<Utc>>,
    /// Came in before then.
    pub until: Option<DateTime<Utc>>,
}

/// A piece of what was found.
#[derive(Debug, Clone)]
pub struct FoundDeliveries {
    /// Those that match, newest first.
    pub deliveries: Vec<Delivery>,
    /// Behind which one to go on; nothing when there are no more. A piece may be short, or empty, and yet not be the last: only
    /// so many are looked at in one read.
    pub next: Option<DeliveryId>,
}

/// Deliveries before one that is known, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn find_deliveries(
    tx: &mut TenantTx,
    search: &DeliverySearch,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<FoundDeliveries, sqlx::Error> {
    let narrow = search.vendor.is_some()
        || search.event.is_some()
        || search.since.is_some()
        || search.until.is_some();
    if !narrow {
        // By indexes of its own.
        let filter = DeliveryFilter {
            verdict: search.verdict,
            trigger: search.trigger,
        };
        let found = deliveries(tx, filter, before, limit).await?;
        let full = found.len() == limit.min(ROWS_MAX);
        return Ok(FoundDeliveries {
            next: found.last().filter(|_| full).map(|last| last.id),
            deliveries: found,
        });
    }
    // Ids begin with the time at which they were made.
    let before = before.map_or(Uuid::max(), DeliveryId::uuid);
    let until = search.until.map_or(Uuid::max(), first_id);
    let since = search.since.map_or(Uuid::nil(), first_id);
    let limit = rows(limit);
    let by_row = search.verdict.is_some() || search.vendor.is_some() || search.event.is_some();
    let looked_max = if by_row { LOOKED_MAX } else { limit };
    // How common the trigger is decides between its own index and the tenant's.
    sqlx::query!("set local plan_cache_mode = force_custom_plan")
        .execute(&mut **tx)
        .await?;
    let looked = sqlx::query!(
        r#"
        select
            d.id,
            (($4::text is null or d.verdict::text = $4) and ($5::text is null or d.vendor = $5)
                and ($6::text is null or d.vendor_event = $6)) is true as "matches!"
        from switchyard.deliveries d
        where d.database_id = switchyard.current_tenant() and d.id < $1 and d.id >= $2
          and ($3::uuid is null or d.trigger_id = $3)
        order by d.id desc
        limit $7
        "#,
        before.min(until),
        since,
        search.trigger.map(TriggerId::uuid),
        search.verdict.map(DeliveryVerdict::as_str),
        search.vendor,
        search.event,
        looked_max
    )
    .fetch_all(&mut **tx)
    .await?;
    let full = i64::try_from(looked.len()).is_ok_and(|looked| looked >= looked_max);
    let last = looked.last().map(|row| row.id);
    let mut matching: Vec<Uuid> = looked
        .iter()
        .filter(|row| row.matches)
        .map(|row| row.id)
        .collect();
    let most = usize::try_from(limit).expect("a hundred is a size");
    let next = if matching.len() > most {
        matching.truncate(most);
        matching.last().copied()
    } else {
        last.filter(|_| full)
    };
    Ok(FoundDeliveries {
        deliveries: read(tx, &matching).await?,
        next: next.map(DeliveryId::from),
    })
}

/// The least id that can be made at a time.
fn first_id(at: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    let time = Timestamp::from_unix(NoContext, seconds, at.timestamp_subsec_nanos());
    let mut bytes = *Uuid::new_v7(time).as_bytes();
    // Behind the six bytes of the time stand the version, the variant and what is random.
    bytes[6..].fill(0);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_later_times_are_not_less() {
        let at = DateTime::from_timestamp_millis(1_795_284_000_123).expect("a time");
        let made = Uuid::new_v7(Timestamp::from_unix(NoContext, 1_795_284_000, 123_000_000));
        assert!(first_id(at) <= made);
        assert!(first_id(at + chrono::TimeDelta::milliseconds(1)) > made);
    }
}
