//! What comes in from outside: triggers as webhooks see them, deliveries, rejections.

use std::sync::atomic::{AtomicBool, Ordering};

use model::{DeliveryId, EventId, Scheme, TenantId, TriggerId, TriggerKind};
use secrecy::SecretString;
use uuid::Uuid;

use crate::group::{EventRow, Row};
use crate::{Keyring, SealedError, Slot, Store};

/// Columns that hold sealed values, by the name that binds a value to its column.
pub(crate) const SECRET: &str = "triggers.secret";
pub(crate) const SECRET_PREVIOUS: &str = "triggers.secret_previous";
/// What is sealed where there is no secret to open: as long as one usually is.
const DECOY: [u8; 32] = [0; 32];
/// The column of a delivery's body.
pub const BODY: &str = "deliveries.body";

/// A trigger as the endpoint of its URL needs it.
#[derive(Debug, Clone)]
pub struct InboxTrigger {
    /// The trigger.
    pub id: TriggerId,
    /// Whose.
    pub tenant: TenantId,
    /// What makes it fire.
    pub kind: TriggerKind,
    /// What senders sign with; without one nothing is accepted.
    pub secret: Option<SecretString>,
    /// The secret before it, good for a while after a change.
    pub secret_previous: Option<SecretString>,
    /// How senders prove who they are; without one, as the vendor does whose URL they call.
    pub scheme: Option<Scheme>,
    /// SHA-256 of the secret in the path of its URL.
    pub path_sha256: Option<[u8; 32]>,
    /// SHA-256 of the one before it.
    pub path_sha256_previous: Option<[u8; 32]>,
}

/// Why a trigger could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The database did not answer.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    /// The secret does not open.
    #[error("a trigger's secret cannot be opened")]
    Sealed(#[from] SealedError),
    /// The secret is not text.
    #[error("a trigger's secret is not UTF-8")]
    NotText,
    /// The row holds what this version does not know.
    #[error("a trigger is of a kind that this version does not know")]
    Kind(#[from] model::UnknownKind),
    /// The row holds a scheme that this version does not know.
    #[error("a trigger has a scheme that this version does not know")]
    Scheme(#[from] serde_json::Error),
}

/// What a verified delivery turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Events came of it.
    Events,
    /// It starts nothing.
    Ignored,
    /// The sender only tries the connection.
    Ping,
    /// It is not what its sender's documents say.
    Malformed,
}

impl Accepted {
    const fn verdict(self) -> &'static str {
        match self {
            Self::Events => "accepted",
            Self::Ignored => "ignored",
            Self::Ping => "ping",
            Self::Malformed => "malformed",
        }
    }
}

/// An event of a delivery.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Deterministic: the same delivery gives the same event.
    pub id: EventId,
    /// CloudEvents `type`.
    pub ty: &'static str,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// The data as JSON text.
    pub data: String,
}

impl NewEvent {
    fn row(&self) -> EventRow {
        EventRow {
            id: self.id.uuid(),
            ty: self.ty.to_owned(),
            source: self.source.clone(),
            subject: self.subject.clone(),
            data: self.data.clone(),
        }
    }
}

/// A verified delivery to be stored.
#[derive(Debug)]
pub struct NewDelivery<'a> {
    /// Version 7, so that newer ids are greater.
    pub id: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// Through which trigger.
    pub trigger: TriggerId,
    /// Who sent it.
    pub vendor: &'a str,
    /// The sender's name for what happened.
    pub vendor_event: Option<&'a str>,
    /// The sender's id for the delivery.
    pub key: Option<&'a str>,
    /// What it is.
    pub accepted: Accepted,
    /// Why it starts nothing.
    pub reason: Option<&'a str>,
    /// Names and values, secrets masked.
    pub headers: serde_json::Value,
    /// As it came.
    pub body: &'a [u8],
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// W3C trace context.
    pub traceparent: Option<&'a str>,
    /// What happened, according to it.
    pub events: &'a [NewEvent],
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is recorded as what it was said to be.
    AsGiven,
    /// Its id was here before with the same body: no event was made.
    Duplicate {
        /// The delivery that was first.
        first: DeliveryId,
    },
    /// Its id was here before with another body: no event was made.
    Conflict {
        /// The delivery that was first.
        first: DeliveryId,
    },
}

/// A request that was not verified.
#[derive(Debug)]
pub struct Rejection<'a> {
    /// Version 7.
    pub id: DeliveryId,
    /// The trigger that its URL names, when there is one.
    pub trigger: Option<(TenantId, TriggerId)>,
    /// Which endpoint.
    pub vendor: &'a str,
    /// What it claimed to be.
    pub vendor_event: Option<&'a str>,
    /// Why it was not verified; few different ones, they are counted by it.
    pub reason: &'a str,
    /// Names and values, secrets masked.
    pub headers: serde_json::Value,
}

impl Store {
    /// The trigger that a webhook's URL names, with its secrets opened. Also one that is switched off: what it was sent
    /// is kept, and dispatch says why nothing started. Nothing when there is none, in the time that one takes.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn inbox_trigger(
        &self,
        keyring: &Keyring,
        id: TriggerId,
    ) -> Result<Option<InboxTrigger>, InboxError> {
        let asked = self.db.reconnected(|| async {
            sqlx::query!(
                r#"
                select database_id, kind, secret, secret_previous, scheme, path_sha256, path_sha256_previous
                from switchyard.triggers
                where id = $1
                "#,
                id.uuid()
            )
            .fetch_optional(&mut *self.db.acquire().await?)
            .await
        });
        let row = asked.await?;
        let tenant = TenantId::from(row.as_ref().map_or(Uuid::nil(), |row| row.database_id));
        let open = |column, sealed: Option<Vec<u8>>| -> Result<_, InboxError> {
            let slot = Slot {
                tenant,
                column,
                row: id.uuid(),
            };
            let Some(sealed) = sealed else {
                // As much work as opening one, so that the time does not tell which triggers and secrets exist.
                drop(keyring.seal(slot, &DECOY));
                return Ok(None);
            };
            let plain = keyring.open(slot, &sealed)?;
            let text = std::str::from_utf8(&plain).map_err(|_| InboxError::NotText)?;
            Ok(Some(SecretString::from(text)))
        };
        let (secret, secret_previous) = row
            .as_ref()
            .map(|row| (row.secret.clone(), row.secret_previous.clone()))
            .unwrap_or_default();
        let secret = open(SECRET, secret)?;
        let secret_previous = open(SECRET_PREVIOUS, secret_previous)?;
        let Some(row) = row else { return Ok(None) };
        // The column's CHECK says how long they are.
        let hash = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| bytes.try_into().ok());
        Ok(Some(InboxTrigger {
            id,
            tenant,
            kind: row.kind.parse()?,
            secret,
            secret_previous,
            scheme: row.scheme.map(serde_json::from_value).transpose()?,
            path_sha256: hash(row.path_sha256),
            path_sha256_previous: hash(row.path_sha256_previous),
        }))
    }

    /// Stores a verified delivery with its events and their outbox rows, or nothing of it. Those that come at once are
    /// written in groups.
    ///
    /// # Errors
    /// When the database does not answer; then nothing may be acknowledged.
    pub async fn accept_delivery(
        &self,
        keyring: &Keyring,
        delivery: &NewDelivery<'_>,
    ) -> Result<Stored, sqlx::Error> {
        let slot = Slot {
            tenant: delivery.tenant,
            column: BODY,
            row: delivery.id.uuid(),
        };
        let row = Row {
            id: delivery.id.uuid(),
            database_id: delivery.tenant.uuid(),
            trigger_id: delivery.trigger.uuid(),
            vendor: delivery.vendor.to_owned(),
            vendor_event: delivery.vendor_event.map(str::to_owned),
            key: delivery.key.map(str::to_owned),
            verdict: delivery.accepted.verdict(),
            reason: delivery.reason.map(str::to_owned),
            headers: delivery.headers.clone(),
            body: keyring.seal(slot, delivery.body),
            body_bytes: i64::try_from(delivery.body.len()).unwrap_or(i64::MAX),
            body_sha256: delivery.body_sha256.to_vec(),
            traceparent: delivery.traceparent.map(str::to_owned),
            events: delivery.events.iter().map(NewEvent::row).collect(),
        };
        self.deliveries.store(&self.db, row).await
    }

    /// Counts a request that was not verified; the first few of an hour are stored as well, without a body. One whose
    /// connection broke meanwhile may be counted twice, but is stored once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_rejection(&self, rejection: &Rejection<'_>) -> Result<(), sqlx::Error> {
        let (tenant, trigger) = rejection.trigger.unzip();
        let again = AtomicBool::new(false);
        let counted = self.db.reconnected(|| async {
            let again = again.swap(true, Ordering::Relaxed);
            let counted = sqlx::query_scalar!(
                r#"select switchyard.count_rejection($1, $2, $3, $4, $5, $6, $7) as "count!""#,
                rejection.id.uuid(),
                tenant.map(TenantId::uuid),
                trigger.map(TriggerId::uuid),
                rejection.vendor,
                rejection.vendor_event,
                rejection.reason,
                rejection.headers,
            )
            .fetch_one(&mut *self.db.acquire().await?)
            .await;
            match counted {
                // Stored by the try whose answer was lost.
                Err(error) if again && is_there_already(&error) => Ok(()),
                counted => counted.map(drop),
            }
        });
        counted.await
    }
}

/// Whether a row could not be inserted because its id is taken: by an earlier try, where ids are our own.
pub(crate) fn is_there_already(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
