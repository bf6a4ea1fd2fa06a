//! What comes in from outside: triggers as webhooks see them, deliveries, rejections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use model::{DeliveryId, EventId, Scheme, TenantId, TriggerId, TriggerKind};
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::group::{EventRow, Row};
use crate::{Keyring, SealedError, Slot, Store};

/// Columns that hold sealed values, by the name that binds a value to its column.
pub(crate) const SECRET: &str = "triggers.secret";
pub(crate) const SECRET_PREVIOUS: &str = "triggers.secret_previous";
/// What is sealed, and opened where there is no secret: as long as one usually is.
const DECOY: [u8; 32] = [0; 32];
/// The column of a delivery's body.
pub const BODY: &str = "deliveries.body";

/// A trigger as the endpoint of its URL needs it.
#[derive(Debug, Clone)]
pub struct InboxTrigger {
    /// The trigger.
    pub id: TriggerId,
    /// Another one after each change.
    pub version: i64,
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

/// Which of a trigger's secrets proved a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvedBy {
    /// The one in use.
    Current,
    /// The one before it.
    Previous,
}

impl ProvedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

/// By what a delivery is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKey<'a> {
    /// The sender's id for it.
    Named(&'a str),
    /// One that was made of its body, and tells repeats for a while only.
    OfBody(&'a str, Duration),
}

impl NewKey<'_> {
    const fn text(&self) -> &str {
        match self {
            Self::Named(text) | Self::OfBody(text, _) => text,
        }
    }

    fn secs(&self) -> Option<i32> {
        match self {
            Self::Named(_) => None,
            Self::OfBody(_, window) => Some(i32::try_from(window.as_secs()).unwrap_or(i32::MAX)),
        }
    }
}

impl NewEvent {
    fn row(&self) -> EventRow {
        EventRow {
            id: self.id.uuid(),
            ty: self.ty,
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
    /// The version of the trigger against which it was verified.
    pub trigger_version: i64,
    /// By which of the trigger's secrets; nothing for a new attempt, which was verified when it first came.
    pub proved_by: Option<ProvedBy>,
    /// The function that takes it.
    pub function: &'static str,
    /// Who sent it.
    pub vendor: &'static str,
    /// The sender's name for what happened.
    pub vendor_event: Option<&'a str>,
    /// By what it is known again.
    pub key: Option<NewKey<'a>>,
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
    /// The delivery of which this is a new attempt.
    pub redelivery_of: Option<DeliveryId>,
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
    /// Nothing was stored: the trigger has changed since the delivery was verified, and has to be read again.
    Changed,
}

/// A request that was not verified.
#[derive(Debug)]
pub struct Rejection<'a> {
    /// Version 7.
    pub id: DeliveryId,
    /// The trigger that its URL names, when there is one.
    pub trigger: Option<(TenantId, TriggerId)>,
    /// The function that refused it.
    pub function: &'a str,
    /// Which endpoint.
    pub vendor: &'a str,
    /// What it claimed to be.
    pub vendor_event: Option<&'a str>,
    /// Why it was not verified; few different ones, they are counted by it.
    pub reason: &'a str,
    /// What is probably wrong, in one of a few words.
    pub cause: &'a str,
    /// Names and values, secrets masked.
    pub headers: serde_json::Value,
    /// How many of a trigger and hour are stored; the others are counted only.
    pub sampled: i32,
}

/// How long a trigger is remembered, and how many are. What was verified against one that has changed is not stored, so that
/// this bounds memory and nothing else.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
const REMEMBERED_MAX: usize = 10_000;

/// Triggers that are looked up at a time, and rejections that are counted: a flood waits here and not for the connections that
/// others need.
const LOOKUPS_MAX: usize = 4;
const REJECTIONS_MAX: usize = 2;

/// What looks found, by when they began.
type Looks = HashMap<TriggerId, (Instant, Option<InboxTrigger>)>;

/// Triggers that were looked up a moment ago. Ids that nobody has are among them, so that who asks for
/// one at the same time as others is answered as fast as where there is a trigger.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    known: Arc<Mutex<Looks>>,
    decoy: Arc<OnceLock<Vec<u8>>>,
    lookups: Arc<Semaphore>,
    rejections: Arc<Semaphore>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            decoy: Arc::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            rejections: Arc::new(Semaphore::new(REJECTIONS_MAX)),
        }
    }
}

impl Remembered {
    fn all(&self) -> MutexGuard<'_, Looks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, began: Instant, id: TriggerId, found: Option<InboxTrigger>) {
        let mut all = self.all();
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        all.insert(id, (began, found));
    }

    /// What a look that began after this time found, be it that there is none.
    fn since(&self, asked: Instant, id: TriggerId) -> Option<Option<InboxTrigger>> {
        let all = self.all();
        let (_, found) = all.get(&id).filter(|(began, _)| *began >= asked)?;
        Some(found.clone())
    }

    /// A sealed value that is no secret of anybody, with its place. It is opened where there is no secret.
    fn decoy(&self, keyring: &Keyring) -> (Slot, &[u8]) {
        let slot = Slot {
            tenant: TenantId::from(Uuid::nil()),
            column: SECRET,
            row: Uuid::nil(),
        };
        let sealed = self.decoy.get_or_init(|| keyring.seal(slot, &DECOY));
        (slot, sealed)
    }
}

impl Store {
    /// What [`Store::inbox_trigger`] found a moment ago, if it looked then: the trigger, or that there is none. It may be otherwise
    /// since.
    #[must_use]
    pub fn remembered_trigger(&self, id: TriggerId) -> Option<Option<InboxTrigger>> {
        let mut all = self.triggers.all();
        match all.get(&id) {
            Some((at, found)) if at.elapsed() < REMEMBERED_FOR => Some(found.clone()),
            Some(_) => {
                all.remove(&id);
                None
            }
            None => None,
        }
    }

    /// The trigger is known to have changed.
    pub fn forget_trigger(&self, id: TriggerId) {
        self.triggers.all().remove(&id);
    }

    /// The trigger that a webhook's URL names, with its secrets opened. Also one that is switched off: what it was sent
    /// is kept, and dispatch says why nothing started. Nothing when there is none, in the time that one takes: then a decoy
    /// comes from the database in its place, is opened and is remembered as it would be.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn inbox_trigger(
        &self,
        keyring: &Keyring,
        id: TriggerId,
    ) -> Result<Option<InboxTrigger>, InboxError> {
        let asked_at = Instant::now();
        let closed = |_| sqlx::Error::PoolClosed;
        let _place = self.triggers.lookups.acquire().await.map_err(closed)?;
        // Of many that ask at once for one trigger, few look.
        if let Some(found) = self.triggers.since(asked_at, id) {
            return Ok(found);
        }
        let began = Instant::now();
        let (decoy_slot, decoy) = self.triggers.decoy(keyring);
        // One row in any case. A secret that is not there is the decoy, which is as long.
        let asked = self.db.reconnected(|| async {
            sqlx::query!(
                r#"
                select
                    t.id is not null as "found!",
                    coalesce(t.database_id, $2) as "database_id!",
                    coalesce(t.version, 0) as "version!",
                    coalesce(t.kind, 'webhook') as "kind!",
                    t.secret is not null as "has_secret!",
                    coalesce(t.secret, $3) as "secret!",
                    t.secret_previous is not null as "has_secret_previous!",
                    coalesce(t.secret_previous, $3) as "secret_previous!",
                    t.scheme,
                    t.path_sha256,
                    t.path_sha256_previous
                from (values (1)) as always
                left join (
                    select
                        t.id, t.database_id, t.xmin::text::bigint as version, t.kind, t.secret, t.scheme, t.path_sha256,
                        -- Those before are good until their time, whoever has or has not cleared them away.
                        case when is_over then null else t.secret_previous end as secret_previous,
                        case when is_over then null else t.path_sha256_previous end as path_sha256_previous
                    from switchyard.triggers t
                    cross join lateral (select coalesce(t.secret_previous_until <= now(), false) as is_over) o
                    where t.id = $1 and t.removed_at is null
                ) t on true
                "#,
                id.uuid(),
                Uuid::nil(),
                decoy
            )
            .fetch_one(&mut *self.db.acquire().await?)
            .await
        });
        let row = asked.await?;
        let slot = |column| Slot {
            tenant: TenantId::from(row.database_id),
            column,
            row: id.uuid(),
        };
        let opened = |slot, sealed: &[u8]| -> Result<_, InboxError> {
            let plain = keyring.open(slot, sealed)?;
            let text = std::str::from_utf8(&plain).map_err(|_| InboxError::NotText)?;
            Ok(SecretString::from(text))
        };
        // Opened in any case, so that the time does not tell which triggers and secrets exist. What comes of the decoy, and
        // whether it is of this keyring, says nothing.
        let secret = if row.has_secret {
            Some(opened(slot(SECRET), &row.secret)?)
        } else {
            drop(opened(decoy_slot, &row.secret));
            None
        };
        let secret_previous = if row.has_secret_previous {
            // One that was rotated is the sealed value as it stood in the other column.
            let opened_here = opened(slot(SECRET_PREVIOUS), &row.secret_previous);
            Some(opened_here.or_else(|_| opened(slot(SECRET), &row.secret_previous))?)
        } else {
            drop(opened(decoy_slot, &row.secret_previous));
            None
        };
        // The column's CHECK says how long they are.
        let hash = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| bytes.try_into().ok());
        let trigger = InboxTrigger {
            id,
            version: row.version,
            tenant: TenantId::from(row.database_id),
            kind: row.kind.parse()?,
            secret,
            secret_previous,
            scheme: row.scheme.map(serde_json::from_value).transpose()?,
            path_sha256: hash(row.path_sha256),
            path_sha256_previous: hash(row.path_sha256_previous),
        };
        let found = row.found.then_some(trigger);
        self.triggers.put(began, id, found.clone());
        Ok(found)
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
            trigger_version: delivery.trigger_version,
            secret: delivery.proved_by.map(ProvedBy::as_str),
            function: delivery.function,
            vendor: delivery.vendor,
            vendor_event: delivery.vendor_event.map(str::to_owned),
            key: delivery.key.map(|key| key.text().to_owned()),
            key_secs: delivery.key.and_then(|key| key.secs()),
            verdict: delivery.accepted.verdict(),
            reason: delivery.reason.map(str::to_owned),
            headers: sqlx::types::Json(delivery.headers.clone()),
            body: keyring.seal_packed(slot, delivery.body),
            body_bytes: i64::try_from(delivery.body.len()).unwrap_or(i64::MAX),
            body_sha256: delivery.body_sha256.to_vec(),
            traceparent: delivery.traceparent.map(str::to_owned),
            redelivery_of: delivery.redelivery_of.map(DeliveryId::uuid),
            events: delivery.events.iter().map(NewEvent::row).collect(),
        };
        self.deliveries.store(&self.db, row).await
    }

    /// Counts a request that was not verified; the first few of an hour are stored as well, without a body. One whose
    /// connection broke meanwhile may be counted twice, but is stored once. A crash of the server may forget the last counts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_rejection(&self, rejection: &Rejection<'_>) -> Result<(), sqlx::Error> {
        let closed = |_| sqlx::Error::PoolClosed;
        let _place = self.triggers.rejections.acquire().await.map_err(closed)?;
        let (tenant, trigger) = rejection.trigger.unzip();
        let again = AtomicBool::new(false);
        let counted = self.db.reconnected(|| async {
            let again = again.swap(true, Ordering::Relaxed);
            let counted = sqlx::query_scalar!(
                r#"select switchyard.note_rejection($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as "count!""#,
                rejection.id.uuid(),
                tenant.map(TenantId::uuid),
                trigger.map(TriggerId::uuid),
                rejection.function,
                rejection.vendor,
                rejection.vendor_event,
                rejection.reason,
                rejection.cause,
                rejection.headers,
                rejection.sampled,
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
