//! Endpoints, rules and messages as a tenant's people set and see them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::TenantId;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{ENDPOINTS_MAX, RULES_MAX, SECRET};
use crate::{Keyring, Slot};

/// An endpoint, without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct Endpoint {
    /// Which.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Where messages go.
    pub url: String,
    /// What they look like: `standard` or `slack`.
    pub format: String,
    /// Whether messages are sent.
    pub enabled: bool,
    /// Why it was switched off by itself.
    pub disabled_why: Option<String>,
    /// When that was.
    pub disabled_at: Option<DateTime<Utc>>,
    /// The first failure since the last message that arrived.
    pub failing_since: Option<DateTime<Utc>>,
    /// When a message last arrived, to the minute.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Until when messages are signed with the secret before, too.
    pub secret_previous_until: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An endpoint as people set it.
#[derive(Debug, Clone)]
pub struct WantedEndpoint<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Where messages go.
    pub url: &'a str,
    /// What they look like.
    pub format: &'a str,
    /// Whether messages are sent.
    pub enabled: bool,
}

/// What became of an endpoint or rule that somebody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is so.
    Done(Uuid),
    /// There is none of this id.
    Absent,
    /// Another has its name.
    Taken,
    /// There are as many as may be.
    TooMany,
    /// The rule's endpoint is not the tenant's.
    NoEndpoint,
}

fn sealed(keyring: &Keyring, tenant: TenantId, id: Uuid, secret: &SecretString) -> Vec<u8> {
    let slot = Slot {
        tenant,
        column: SECRET,
        row: id,
    };
    keyring.seal(slot, secret.expose_secret().as_bytes())
}

/// The tenant's endpoints by name, or the one of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn endpoints(
    tx: &mut TenantTx,
    only: Option<Uuid>,
) -> Result<Vec<Endpoint>, sqlx::Error> {
    sqlx::query_as!(
        Endpoint,
        r#"
        select id, name, url, format, enabled, disabled_why, disabled_at, failing_since, delivered_at,
            secret_previous_until, created_at
        from switchyard.notification_endpoints
        where database_id = switchyard.current_tenant() and ($1::uuid is null or id = $1)
        order by name
        limit $2
        "#,
        only,
        ENDPOINTS_MAX
    )
    .fetch_all(&mut **tx)
    .await
}

/// Makes an endpoint.
///
/// # Errors
/// When the database does not answer.
pub async fn create_endpoint(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    wanted: &WantedEndpoint<'_>,
    secret: &SecretString,
) -> Result<Written, sqlx::Error> {
    let id = Uuid::now_v7();
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from switchyard.notification_endpoints
        where database_id = switchyard.current_tenant()
        "#
    )
    .fetch_one(&mut **tx)
    .await?;
    if count >= ENDPOINTS_MAX {
        return Ok(Written::TooMany);
    }
    let done = sqlx::query!(
        r#"
        insert into switchyard.notification_endpoints (id, database_id, name, url, format, secret, enabled)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict do nothing
        "#,
        id,
        tenant.uuid(),
        wanted.name,
        wanted.url,
        wanted.format,
        sealed(keyring, tenant, id, secret),
        wanted.enabled
    )
    .execute(&mut **tx)
    .await?;
    Ok(if done.rows_affected() == 1 {
        Written::Done(id)
    } else {
        Written::Taken
    })
}

/// Changes an endpoint. One that is switched on forgets why it was switched off.
///
/// # Errors
/// When the database does not answer.
pub async fn change_endpoint(
    tx: &mut TenantTx,
    id: Uuid,
    wanted: &WantedEndpoint<'_>,
) -> Result<Written, sqlx::Error> {
    let taken = sqlx::query_scalar!(
        r#"
        select exists (
            select from switchyard.notification_endpoints
            where database_id = switchyard.current_tenant() and name = $1 and id <> $2
        ) as "taken!"
        "#,
        wanted.name,
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    if taken {
        return Ok(Written::Taken);
    }
    let done = sqlx::query!(
        r#"
        update switchyard.notification_endpoints
        set name = $2, url = $3, format = $4, enabled = $5, changed_at = now(),
            disabled_why = case when $5 then null else disabled_why end,
            disabled_at = case when $5 then null else disabled_at end
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id,
        wanted.name,
        wanted.url,
        wanted.format,
        wanted.enabled
    )
    .execute(&mut **tx)
    .await?;
    Ok(if done.rows_affected() == 1 {
        Written::Done(id)
    } else {
        Written::Absent
    })
}

/// Gives an endpoint another secret. For `overlap` messages are signed with the one before, too. False when there is no such
/// endpoint.
///
/// # Errors
/// When the database does not answer.
pub async fn rotate_secret(
    tx: &mut TenantTx,
    tenant: TenantId,
    keyring: &Keyring,
    id: Uuid,
    secret: &SecretString,
    overlap: Duration,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        select switchyard.rotate_own_endpoint_secret($1, $2, make_interval(secs => $3)) as "done!"
        "#,
        id,
        sealed(keyring, tenant, id, secret),
        overlap.as_secs_f64()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(done.done)
}

/// Removes an endpoint with its rules and messages. False when there is none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_endpoint(tx: &mut TenantTx, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "delete from switchyard.notification_endpoints where database_id = switchyard.current_tenant() and id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationRule {
    /// Which.
    pub id: Uuid,
    /// Whom it tells.
    pub endpoint: Uuid,
    /// What people call it.
    pub name: String,
    /// Types of events; `*` at the end stands for whatever follows.
    pub types: Vec<String>,
    /// At least so bad.
    pub severity: Option<String>,
    /// What the event's source begins with.
    pub source: Option<String>,
    /// What its data holds somewhere, whatever the case.
    pub contains: Option<String>,
    /// What must be true besides: `{"language": "cel", "expression": …}`.
    pub condition: Option<Value>,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// The tenant's rules by name, or the one of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn rules(
    tx: &mut TenantTx,
    only: Option<Uuid>,
) -> Result<Vec<NotificationRule>, sqlx::Error> {
    sqlx::query_as!(
        NotificationRule,
        r#"
        select id, endpoint_id as endpoint, name, types, severity, source, contains, condition, enabled
        from switchyard.notification_rules
        where database_id = switchyard.current_tenant() and ($1::uuid is null or id = $1)
        order by name
        limit $2
        "#,
        only,
        RULES_MAX
    )
    .fetch_all(&mut **tx)
    .await
}

/// Makes a rule of a new id, or changes the one that is there.
///
/// # Errors
/// When the database does not answer.
pub async fn write_rule(
    tx: &mut TenantTx,
    tenant: TenantId,
    rule: &NotificationRule,
    is_new: bool,
) -> Result<Written, sqlx::Error> {
    let there = sqlx::query!(
        r#"
        select
            exists (
                select from switchyard.notification_endpoints
                where database_id = switchyard.current_tenant() and id = $1
            ) as "endpoint!",
            exists (
                select from switchyard.notification_rules
                where database_id = switchyard.current_tenant() and name = $2 and id <> $3
            ) as "taken!",
            exists (
                select from switchyard.notification_rules
                where database_id = switchyard.current_tenant() and id = $3
            ) as "rule!",
            (
                select count(*) from switchyard.notification_rules where database_id = switchyard.current_tenant()
            ) as "rules!"
        "#,
        rule.endpoint,
        rule.name,
        rule.id
    )
    .fetch_one(&mut **tx)
    .await?;
    if !is_new && !there.rule {
        return Ok(Written::Absent);
    }
    if !there.endpoint {
        return Ok(Written::NoEndpoint);
    }
    if there.taken {
        return Ok(Written::Taken);
    }
    if is_new && there.rules >= RULES_MAX {
        return Ok(Written::TooMany);
    }
    sqlx::query!(
        r#"
        insert into switchyard.notification_rules (
            id, database_id, endpoint_id, name, types, severity, source, contains, condition, enabled
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (database_id, id) do update
        set endpoint_id = excluded.endpoint_id, name = excluded.name, types = excluded.types,
            severity = excluded.severity, source = excluded.source, contains = excluded.contains,
            condition = excluded.condition, enabled = excluded.enabled
        "#,
        rule.id,
        tenant.uuid(),
        rule.endpoint,
        rule.name,
        &rule.types,
        rule.severity,
        rule.source,
        rule.contains,
        rule.condition,
        rule.enabled
    )
    .execute(&mut **tx)
    .await?;
    Ok(Written::Done(rule.id))
}

/// Removes a rule. False when there is none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_rule(tx: &mut TenantTx, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "delete from switchyard.notification_rules where database_id = switchyard.current_tenant() and id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A message, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Notification {
    /// Which; newer ones are greater.
    pub id: Uuid,
    /// To whom.
    pub endpoint: Uuid,
    /// What its receiver knows it by.
    pub message_id: String,
    /// By which rule.
    pub rule: Option<Uuid>,
    /// The event that it tells of.
    pub event_id: String,
    /// That event's type.
    pub event_type: String,
    /// The one that it repeats because somebody wanted so.
    pub redelivery_of: Option<Uuid>,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// How many attempts there were.
    pub attempts: i32,
    /// When the next one is, while it is pending.
    pub next_at: Option<DateTime<Utc>>,
    /// When it was written down.
    pub created_at: DateTime<Utc>,
    /// When it came to its end.
    pub ended_at: Option<DateTime<Utc>>,
}

/// An attempt to send a message.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Which, from 1.
    pub number: i32,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What was answered.
    pub status: Option<i32>,
    /// How the answer began.
    pub excerpt: Option<String>,
    /// Why there is none.
    pub problem: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: i32,
}

/// The newest messages to an endpoint, or to all, before a place.
///
/// # Errors
/// When the database does not answer.
pub async fn notifications(
    tx: &mut TenantTx,
    endpoint: Option<Uuid>,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Notification>, sqlx::Error> {
    let (at, id) = before.unzip();
    sqlx::query_as!(
        Notification,
        r#"
        select id, endpoint_id as endpoint, message_id, rule_id as rule, event_id, event_type, redelivery_of,
            state::text as "state!", attempts, case when state = 'pending' then next_at end as next_at, created_at,
            ended_at
        from switchyard.notifications
        where database_id = switchyard.current_tenant() and ($1::uuid is null or endpoint_id = $1)
          and ($2::timestamptz is null or (created_at, id) < ($2, $3))
        order by created_at desc, id desc
        limit $4
        "#,
        endpoint,
        at,
        id,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

/// A message with its body and its attempts.
///
/// # Errors
/// When the database does not answer.
pub async fn notification(
    tx: &mut TenantTx,
    id: Uuid,
) -> Result<Option<(Notification, String, Vec<Attempt>)>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select id, endpoint_id, message_id, rule_id, event_id, event_type, redelivery_of, state::text as "state!",
            attempts, case when state = 'pending' then next_at end as next_at, created_at, ended_at, body
        from switchyard.notifications
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let attempts = sqlx::query_as!(
        Attempt,
        r#"
        select number, at, status, excerpt, problem, took_ms
        from switchyard.notification_attempts
        where database_id = switchyard.current_tenant() and notification_id = $1
        order by number
        "#,
        id
    )
    .fetch_all(&mut **tx)
    .await?;
    let notification = Notification {
        id: row.id,
        endpoint: row.endpoint_id,
        message_id: row.message_id,
        rule: row.rule_id,
        event_id: row.event_id,
        event_type: row.event_type,
        redelivery_of: row.redelivery_of,
        state: row.state,
        attempts: row.attempts,
        next_at: row.next_at,
        created_at: row.created_at,
        ended_at: row.ended_at,
    };
    Ok(Some((notification, row.body, attempts)))
}

/// Has a message sent once more. Nothing when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn redeliver(tx: &mut TenantTx, id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select switchyard.redeliver_own_notification($1, $2)",
        id,
        Uuid::now_v7()
    )
    .fetch_one(&mut **tx)
    .await
}
