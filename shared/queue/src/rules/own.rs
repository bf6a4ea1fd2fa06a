//! What a tenant rules itself. The tenant is the transaction's.

use database::TenantTx;

use super::{By, Limit, Limits, OwnScope, Pause, PauseKind, kind, rate};
use crate::refused::RuleError;

/// As [`crate::Queue::pause`], by the tenant itself.
///
/// # Errors
/// As there, and when the tenant has a thousand already.
pub async fn pause_own(
    tx: &mut TenantTx,
    kind: PauseKind,
    scope: OwnScope<'_>,
    by: By<'_>,
) -> Result<i64, RuleError> {
    let id = sqlx::query_scalar!(
        r#"select switchyard.pause_own($1::text::switchyard.pause_kind, $2, $3, $4, $5) as "id!""#,
        kind.as_str(),
        scope.task(),
        scope.queue(),
        by.name,
        by.why,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(id)
}

/// Ends one of the tenant's own pauses or drains. False when it has none of this id.
///
/// # Errors
/// When it is one of the installation's, or the database does not answer.
pub async fn resume_own(tx: &mut TenantTx, id: i64, by: By<'_>) -> Result<bool, RuleError> {
    let lifted = sqlx::query_scalar!(
        "select switchyard.resume_own($1, $2, $3)",
        id,
        by.name,
        by.why
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(lifted.unwrap_or(false))
}

/// What stands still or takes nothing for the tenant, the latest first; also what does for all tenants.
///
/// # Errors
/// When the database does not answer.
pub async fn own_pauses(tx: &mut TenantTx) -> Result<Vec<Pause>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select id as "id!", kind::text as "kind!", task, queue_name, by_whom as "by_whom!", why, at as "at!", own as "own!"
        from switchyard.own_pauses()
        "#
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Pause {
                id: row.id,
                kind: kind(&row.kind)?,
                tenant: None,
                task: row.task,
                queue: row.queue_name,
                by: row.by_whom,
                why: row.why,
                at: row.at,
                own: row.own,
            })
        })
        .collect()
}

/// As [`crate::Queue::left`], of the tenant.
///
/// # Errors
/// When the database does not answer.
pub async fn own_left(
    tx: &mut TenantTx,
    scope: OwnScope<'_>,
    most: i32,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.own_left_in($1, $2, $3) as "left!""#,
        scope.task(),
        scope.queue(),
        most
    )
    .fetch_one(&mut **tx)
    .await
}

/// As [`crate::Queue::set_limit`], of one of the tenant's tasks, by the tenant itself.
///
/// # Errors
/// As there, when the installation has set this limit, and when the tenant has a thousand already.
pub async fn set_own_limit(
    tx: &mut TenantTx,
    task: &str,
    limits: Limits,
    by: By<'_>,
) -> Result<bool, RuleError> {
    let limited = sqlx::query_scalar!(
        r#"select switchyard.set_own_limit($1, $2, $3, $4, $5, $6) as "limited!""#,
        task,
        limits.in_flight_max,
        limits.per_second(),
        limits.burst(),
        by.name,
        by.why,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(limited)
}

/// The limits that concern the tenant, also those of tasks for all tenants.
///
/// # Errors
/// When the database does not answer.
pub async fn own_limits(tx: &mut TenantTx) -> Result<Vec<Limit>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select task, in_flight_max, in_flight, rate, burst, set_by, set_at as "set_at!", own as "own!"
        from switchyard.own_limits()
        "#
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Limit {
            tenant: None,
            task: row.task,
            in_flight_max: row.in_flight_max,
            in_flight: row.in_flight,
            rate: rate(row.rate, row.burst),
            by: row.set_by,
            at: row.set_at,
            own: row.own,
        })
        .collect())
}

/// As [`crate::Queue::set_cap`], by the tenant itself.
///
/// # Errors
/// As there.
pub async fn set_own_cap(
    tx: &mut TenantTx,
    task: &str,
    cap: Option<i32>,
    by: By<'_>,
) -> Result<(), RuleError> {
    sqlx::query!(
        "select switchyard.set_own_lane_cap($1, $2, $3, $4)",
        task,
        cap,
        by.name,
        by.why,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
