//! What the relay reads and writes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::Broker;
use serde_json::{Map, Value};

use crate::Store;
use crate::dispatch::object;

/// An event to be published, in the words of CloudEvents 1.0.
#[derive(Debug, Clone)]
pub struct OutboxEvent {
    /// The row.
    pub row: i64,
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `type`.
    pub ty: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// CloudEvents `time`.
    pub time: DateTime<Utc>,
    /// Extension attributes.
    pub extensions: Map<String, Value>,
    /// JSON, to be sent byte for byte.
    pub data: Option<String>,
    /// Failed tries so far.
    pub attempts: i32,
}

impl Store {
    /// Rows of a broker that are due, oldest first, without those that are under way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_due(
        &self,
        broker: Broker,
        limit: i64,
        under_way: &[i64],
    ) -> Result<Vec<OutboxEvent>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select id, ce_id, ce_type, ce_source, ce_subject, ce_time, extensions, data::text as data, attempts
            from switchyard.outbox
            where broker = $1::text::switchyard.broker
              and refused_at is null
              and next_at <= clock_timestamp()
              and id <> all ($3)
            order by next_at, id
            limit $2
            "#,
            broker.as_str(),
            limit,
            under_way
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(OutboxEvent {
                    row: row.id,
                    id: row.ce_id,
                    ty: row.ce_type,
                    source: row.ce_source,
                    subject: row.ce_subject,
                    time: row.ce_time,
                    extensions: object(row.extensions)?,
                    data: row.data,
                    attempts: row.attempts,
                })
            })
            .collect()
    }

    /// Forgets rows that the broker has acknowledged.
    ///
    /// # Errors
    /// When the database does not answer; the rows are then published again.
    pub async fn outbox_published(&self, rows: &[i64]) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from switchyard.outbox where id = any ($1)", rows)
            .execute(&mut *self.db.acquire().await?)
            .await
            .map(drop)
    }

    /// Keeps a row for another try after `delay`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_failed(
        &self,
        row: i64,
        error: &str,
        delay: Duration,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            r#"
            update switchyard.outbox
            set attempts = attempts + 1, last_error = $2, next_at = clock_timestamp() + make_interval(secs => $3)
            where id = $1
            "#,
            row,
            error,
            delay.as_secs_f64()
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Sets a row aside that the broker will never take. It stays visible.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_refused(&self, row: i64, error: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            r#"
            update switchyard.outbox
            set attempts = attempts + 1, last_error = $2, refused_at = clock_timestamp()
            where id = $1
            "#,
            row,
            error
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// How long until a row of the broker is due; nothing when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_next(&self, broker: Broker) -> Result<Option<Duration>, sqlx::Error> {
        let seconds = sqlx::query_scalar!(
            r#"
            select extract(epoch from min(next_at) - clock_timestamp())::float8
            from switchyard.outbox
            where broker = $1::text::switchyard.broker and refused_at is null
            "#,
            broker.as_str()
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }

    /// Asks writers to notify. Look again after this, at once and shortly after.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn arm_relay(&self, broker: Broker) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.arm_relay($1::text::switchyard.broker)",
            broker.as_str()
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }
}
