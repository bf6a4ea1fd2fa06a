//! What the relay reads and writes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::Broker;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Store;
use crate::dispatch::object;

/// A row of the outbox: one event, or many of one kind that were written together.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// The row.
    pub row: i64,
    /// Failed tries so far.
    pub attempts: i32,
    /// What is to be sent.
    pub events: Vec<OutboxEvent>,
}

/// An event to be published, in the words of CloudEvents 1.0.
#[derive(Debug, Clone)]
pub struct OutboxEvent {
    /// Its place in the row, from 1.
    pub place: i64,
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
}

/// An element of a row's batch.
#[derive(Deserialize)]
struct Element {
    id: String,
    #[serde(rename = "type")]
    ty: String,
    subject: Option<String>,
    #[serde(default)]
    extensions: Map<String, Value>,
    data: Option<Box<RawValue>>,
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
    ) -> Result<Vec<OutboxRow>, sqlx::Error> {
        let mut conn = self.db.acquire().await?;
        if broker == Broker::Observed {
            // What was written in a hurry: nothing, most of the time.
            sqlx::query!(
                r#"select switchyard.unpack_outbox($1) as "rows!""#,
                i32::try_from(limit).unwrap_or(i32::MAX)
            )
            .fetch_one(&mut *conn)
            .await?;
        }
        let rows = sqlx::query!(
            r#"
            select id, ce_id, ce_type, ce_source, ce_subject, ce_time, extensions, attempts, batch::text as batch,
                -- What came in has its data in its event.
                case when broker = 'inbound' and data is null and not extensions ? 'dataref' then (
                    select e.data::text from switchyard.events e where e.id = substr(ce_id, 5)::uuid
                ) else data::text end as data
            from switchyard.outbox
            where broker = $1::text::switchyard.broker
              and refused_at is null
              and packed is null
              and next_at <= clock_timestamp()
              and id <> all ($3)
            order by next_at, id
            limit $2
            "#,
            broker.as_str(),
            limit,
            under_way
        )
        .fetch_all(&mut *conn)
        .await?;
        rows.into_iter()
            .map(|row| {
                let events = match row.batch {
                    None => vec![OutboxEvent {
                        place: 1,
                        id: row.ce_id,
                        ty: row.ce_type,
                        source: row.ce_source,
                        subject: row.ce_subject,
                        time: row.ce_time,
                        extensions: object(row.extensions)?,
                        data: row.data,
                    }],
                    Some(batch) => elements(&batch)?
                        .into_iter()
                        .zip(1..)
                        .map(|(element, place)| OutboxEvent {
                            place,
                            id: element.id,
                            ty: element.ty,
                            source: row.ce_source.clone(),
                            subject: element.subject,
                            time: row.ce_time,
                            extensions: element.extensions,
                            data: element.data.map(|data| data.get().to_owned()),
                        })
                        .collect(),
                };
                Ok(OutboxRow {
                    row: row.id,
                    attempts: row.attempts,
                    events,
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

    /// Keeps a row for another try after `delay`, without the events at these places, which were sent.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_failed(
        &self,
        row: i64,
        sent: &[i64],
        error: &str,
        delay: Duration,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            r#"
            update switchyard.outbox
            set attempts = attempts + 1, last_error = $2, next_at = clock_timestamp() + make_interval(secs => $3),
                batch = (
                    select jsonb_agg(e.event order by e.place)
                    from jsonb_array_elements(batch) with ordinality as e (event, place)
                    where e.place <> all ($4)
                )
            where id = $1
            "#,
            row,
            error,
            delay.as_secs_f64(),
            sent
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Sets a row aside that the broker will never take, without the events at these places, which were sent. It stays
    /// visible.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_refused(
        &self,
        row: i64,
        sent: &[i64],
        error: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            r#"
            update switchyard.outbox
            set attempts = attempts + 1, last_error = $2, refused_at = clock_timestamp(),
                batch = (
                    select jsonb_agg(e.event order by e.place)
                    from jsonb_array_elements(batch) with ordinality as e (event, place)
                    where e.place <> all ($3)
                )
            where id = $1
            "#,
            row,
            error,
            sent
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

    /// Says that the relay is awake and will look again before it sleeps: writers need not look whether it is to be told.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn relay_heard(&self, broker: Broker) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.relay_heard($1::text::switchyard.broker)",
            broker.as_str()
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// Notifies whoever listens as a relay, to find out whether that arrives.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn test_notify(&self, token: &str) -> Result<(), sqlx::Error> {
        sqlx::query!("select pg_notify('switchyard_relay', $1)", token)
            .execute(&mut *self.db.acquire().await?)
            .await
            .map(drop)
    }

    /// Keeps for people whether notifications reach the relay of a broker.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_hearing(&self, broker: Broker, hears: bool) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.note_hearing($1::text::switchyard.broker, $2)",
            broker.as_str(),
            hears
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }
}

fn elements(batch: &str) -> Result<Vec<Element>, sqlx::Error> {
    serde_json::from_str(batch).map_err(|error| sqlx::Error::Decode(error.into()))
}
