//! How a trigger's hooks are: when something last came in, what does not verify and why, and which secret is in use.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::TriggerId;
use serde::Serialize;

/// How many reasons are told, those of the most requests.
const REASONS_MAX: i64 = 5;

/// A trigger's health.
#[derive(Debug, Clone, Serialize)]
pub struct TriggerHealth {
    /// The trigger.
    pub trigger: TriggerId,
    /// Whether it is switched on.
    pub enabled: bool,
    /// When a delivery last verified, to the minute; nothing when none ever did.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Which of its secrets proved that one.
    pub secret_used: Option<SecretUsed>,
    /// When the secret before the one in use last proved one: somebody still has it.
    pub previous_secret_at: Option<DateTime<Utc>>,
    /// For how many whole days nothing verified, since the last one or since the trigger was made.
    pub silent_days: i64,
    /// Requests that did not verify since midnight (UTC).
    pub rejected_today: i64,
    /// Why, the most frequent first.
    pub rejections: Vec<RejectedFor>,
}

/// Which of a trigger's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretUsed {
    /// The one in use.
    Current,
    /// The one before it.
    Previous,
}

/// Requests of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedFor {
    /// What did not hold, in a sentence.
    pub reason: String,
    /// What is probably wrong, in one of a few words: `other_secret`, `not_signed`, `other_scheme`, `clock`, `other_url`,
    /// `no_address`, `address`, `identity`.
    pub cause: Option<String>,
    /// How many.
    pub count: i64,
}

/// A trigger's health; nothing when the tenant has no such trigger.
///
/// # Errors
/// When the database does not answer.
pub async fn trigger_health(
    tx: &mut TenantTx,
    id: TriggerId,
) -> Result<Option<TriggerHealth>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select
            t.enabled,
            h.current_at as "current_at?",
            h.previous_at as "previous_at?",
            floor(extract(epoch from now() - coalesce(greatest(h.current_at, h.previous_at), t.created_at)) / 86400)::bigint
                as "silent_days!"
        from switchyard.triggers t
        left join switchyard.trigger_health h on h.database_id = t.database_id and h.trigger_id = t.id
        where t.database_id = switchyard.current_tenant() and t.id = $1
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let reasons = sqlx::query!(
        r#"
        select reason, min(cause) as cause, sum(count)::bigint as "count!", (sum(sum(count)) over ())::bigint as "all!"
        from switchyard.rejections
        where database_id = switchyard.current_tenant() and trigger_id = $1 and hour >= date_trunc('day', now(), 'UTC')
        group by reason
        order by 3 desc, 1
        limit $2
        "#,
        id.uuid(),
        REASONS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    let last = row.current_at.max(row.previous_at);
    Ok(Some(TriggerHealth {
        trigger: id,
        enabled: row.enabled,
        last_verified_at: last,
        secret_used: last.map(|last| {
            if row.current_at == Some(last) {
                SecretUsed::Current
            } else {
                SecretUsed::Previous
            }
        }),
        previous_secret_at: row.previous_at,
        silent_days: row.silent_days,
        rejected_today: reasons.first().map_or(0, |row| row.all),
        rejections: reasons
            .into_iter()
            .map(|row| RejectedFor {
                reason: row.reason,
                cause: row.cause,
                count: row.count,
            })
            .collect(),
    }))
}
