//! Whom people want told of what is observed: endpoints, rules, and the messages with what became of them.

mod own;

use std::time::Duration;

use model::TenantId;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{Keyring, Slot, Store};

pub use own::{
    Attempt, Endpoint, Notification, NotificationRule, WantedEndpoint, Written, change_endpoint,
    create_endpoint, endpoints, notification, notifications, redeliver, remove_endpoint,
    remove_rule, rotate_secret, rules, write_rule,
};

/// Endpoints of one tenant.
pub const ENDPOINTS_MAX: i64 = 50;
/// Rules of one tenant.
pub const RULES_MAX: i64 = 200;

const SECRET: &str = "notification_endpoints.secret";

/// A rule as who listens to `observed` needs it.
#[derive(Debug, Clone, Deserialize)]
pub struct ActiveRule {
    /// Which.
    pub id: Uuid,
    /// Whom it tells.
    pub endpoint: Uuid,
    /// What the endpoint's messages look like.
    pub format: String,
    /// Types of events; `*` at the end stands for whatever follows.
    pub types: Vec<String>,
    /// At least so bad.
    pub severity: Option<String>,
    /// What the event's source begins with.
    pub source: Option<String>,
    /// What its data holds somewhere.
    pub contains: Option<String>,
    /// What must be true besides.
    pub condition: Option<Value>,
}

/// A message to be written down.
#[derive(Debug, Clone, Serialize)]
pub struct NewNotification {
    /// Follows from event and endpoint.
    pub id: Uuid,
    /// To whom.
    pub endpoint: Uuid,
    /// By which rule.
    pub rule: Uuid,
    /// What is sent, as it is.
    pub body: String,
}

/// A message that is to be sent now, by us alone.
#[derive(Debug)]
pub struct DueNotification {
    /// Which.
    pub id: Uuid,
    /// To whom.
    pub endpoint: Uuid,
    /// What its receiver knows it by.
    pub message_id: String,
    /// What is sent.
    pub body: String,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// Where to.
    pub url: String,
    /// What it is signed with: the secret, and the one before it while that is good. None when they cannot be opened.
    pub secrets: Vec<SecretString>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was taken.
    Delivered,
    /// It is to be tried again after this time.
    Again(Duration),
    /// All attempts are used up, or it can never be sent.
    Failed,
    /// Its receiver wants no messages any more.
    Gone,
}

/// An attempt that ended.
#[derive(Debug, Clone)]
pub struct EndedAttempt {
    /// How.
    pub ended: Ended,
    /// What was answered.
    pub status: Option<u16>,
    /// How the answer began.
    pub excerpt: Option<String>,
    /// Why there is none.
    pub problem: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Store {
    /// The tenant's rules that are switched on and whose endpoint is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn notification_rules(
        &self,
        tenant: TenantId,
    ) -> Result<Vec<ActiveRule>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select jsonb_build_object(
                'id', r.id, 'endpoint', e.id, 'format', e.format, 'types', r.types, 'severity', r.severity,
                'source', r.source, 'contains', r.contains, 'condition', r.condition
            ) as "rule!: Json<ActiveRule>"
            from switchyard.notification_rules r
            join switchyard.notification_endpoints e on e.database_id = r.database_id and e.id = r.endpoint_id
            where r.database_id = $1 and r.enabled and e.enabled
            order by e.id, r.id
            "#,
            tenant.uuid()
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows.into_iter().map(|row| row.rule.0).collect())
    }

    /// Writes messages down; one that is there already is left out. Returns how many were written.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write_notifications(
        &self,
        tenant: TenantId,
        event_id: &str,
        event_type: &str,
        messages: &[NewNotification],
    ) -> Result<i32, sqlx::Error> {
        let messages =
            serde_json::to_value(messages).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query_scalar!(
            r#"select switchyard.write_notifications($1, $2, $3, $4) as "written!""#,
            tenant.uuid(),
            event_id,
            event_type,
            messages
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Takes messages that are due, for `time` at the most: up to `limit`, and `per_endpoint` of one endpoint.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_notifications(
        &self,
        keyring: &Keyring,
        time: Duration,
        limit: i32,
        per_endpoint: i32,
    ) -> Result<Vec<DueNotification>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select id as "id!", database_id as "database_id!", endpoint_id as "endpoint_id!",
                message_id as "message_id!", body as "body!", attempt as "attempt!", url as "url!",
                secret as "secret!", secret_previous
            from switchyard.take_notifications(make_interval(secs => $1), $2, $3)
            "#,
            time.as_secs_f64(),
            limit,
            per_endpoint
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        let due = rows.into_iter().map(|row| {
            let slot = Slot {
                tenant: row.database_id.into(),
                column: SECRET,
                row: row.endpoint_id,
            };
            let sealed = [Some(row.secret), row.secret_previous];
            let secrets = sealed.iter().flatten().filter_map(|sealed| {
                let plain = keyring.open(slot, sealed).ok()?;
                Some(SecretString::from(std::str::from_utf8(&plain).ok()?))
            });
            DueNotification {
                id: row.id,
                endpoint: row.endpoint_id,
                message_id: row.message_id,
                body: row.body,
                attempt: row.attempt,
                url: row.url,
                secrets: secrets.collect(),
            }
        });
        Ok(due.collect())
    }

    /// Writes down how an attempt ended. An endpoint that fails for longer than `failing_max` is switched off. False, and
    /// nothing is written, when another attempt began meanwhile.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_notification(
        &self,
        due: &DueNotification,
        attempt: &EndedAttempt,
        failing_max: Duration,
    ) -> Result<bool, sqlx::Error> {
        let (outcome, wait) = match attempt.ended {
            Ended::Delivered => ("delivered", Duration::ZERO),
            Ended::Again(wait) => ("again", wait),
            Ended::Failed => ("failed", Duration::ZERO),
            Ended::Gone => ("gone", Duration::ZERO),
        };
        sqlx::query_scalar!(
            r#"
            select switchyard.end_notification(
                $1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8), make_interval(secs => $9)
            ) as "ended!"
            "#,
            due.id,
            due.attempt,
            attempt.status.map(i32::from),
            attempt.excerpt,
            attempt.problem,
            i32::try_from(attempt.took.as_millis()).unwrap_or(i32::MAX),
            outcome,
            wait.as_secs_f64(),
            failing_max.as_secs_f64()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Forgets up to `limit` messages that ended longer ago than `keep`. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer, or `keep` is less than a day.
    pub async fn forget_notifications(
        &self,
        keep: Duration,
        limit: i32,
    ) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select switchyard.forget_notifications(make_interval(secs => $1), $2) as "forgotten!""#,
            keep.as_secs_f64(),
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
