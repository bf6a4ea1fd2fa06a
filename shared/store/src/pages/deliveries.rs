//! Deliveries: the list, and one with all that is known of it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{DeliveryId, EventId, JobId, JobState, TenantId, TriggerId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Named, rows, word};
use crate::inbox::BODY;
use crate::{Keyring, SealedError, Slot};

/// Repeats of a delivery that are listed, at most.
const REPEATS_MAX: i64 = 50;

/// What a request that came in turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryVerdict {
    /// Verified, and at least one event came of it.
    Accepted,
    /// Verified, of a kind that starts nothing.
    Ignored,
    /// Verified; the sender only tries the connection.
    Ping,
    /// Verified, and its id was here before with the same body.
    Duplicate,
    /// Verified, and its id was here before with another body.
    Conflict,
    /// Verified, and not what its sender's documents say.
    Malformed,
    /// Not verified.
    Rejected,
}

impl DeliveryVerdict {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Ignored,
        Self::Ping,
        Self::Duplicate,
        Self::Conflict,
        Self::Malformed,
        Self::Rejected,
    ];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Ping => "ping",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Malformed => "malformed",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for DeliveryVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryVerdict {
    type Err = UnknownVerdict;

    fn from_str(text: &str) -> Result<Self, UnknownVerdict> {
        Self::ALL
            .into_iter()
            .find(|verdict| verdict.as_str() == text)
            .ok_or_else(|| UnknownVerdict(text.to_owned()))
    }
}

/// A text that names no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a verdict of a delivery")]
pub struct UnknownVerdict(String);

/// Which deliveries are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryFilter {
    /// Only those with this verdict.
    pub verdict: Option<DeliveryVerdict>,
    /// Only those that came through this trigger.
    pub trigger: Option<TriggerId>,
}

/// A delivery in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// The delivery.
    pub id: DeliveryId,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
    /// Who sent it.
    pub vendor: String,
    /// The sender's word for what happened.
    pub vendor_event: Option<String>,
    /// Through which trigger it came.
    pub trigger: Named<TriggerId>,
    /// What it turned out to be.
    pub verdict: DeliveryVerdict,
    /// Why it was not accepted.
    pub reason: Option<String>,
    /// What came of it.
    pub events: Vec<DeliveryEvent>,
}

/// An event that a delivery made.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryEvent {
    /// The event.
    pub id: EventId,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub ty: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// For people: repository, branch and commit, where it has them.
    pub about: Option<String>,
    /// Whether its bindings were asked.
    pub dispatched: bool,
    /// The jobs it made, in the order of the bindings.
    pub jobs: Vec<BecameJob>,
}

/// A job that came of an event.
#[derive(Debug, Clone, Serialize)]
pub struct BecameJob {
    /// The job.
    pub id: JobId,
    /// Its state; nothing when it is not kept any more.
    pub state: Option<JobState>,
    /// The workload that it works on.
    pub subject: Option<String>,
}

/// One delivery.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryDetail {
    /// What the list has.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The sender's id for it.
    pub key: Option<String>,
    /// The first delivery with its id, when this one repeats it.
    pub first: Option<DeliveryId>,
    /// The delivery of which this is a new attempt.
    pub redelivery_of: Option<DeliveryId>,
    /// When its id came again: the oldest first.
    pub repeats: Vec<DateTime<Utc>>,
    /// What came of it later: repeats and new attempts, the oldest first.
    pub later: Vec<LaterDelivery>,
    /// The function that took it and can read it again; nothing where that was not recorded.
    pub function: Option<String>,
    /// Names and values, secrets masked.
    pub headers: Value,
    /// How long its body is, in bytes.
    pub body_bytes: i64,
    /// SHA-256 of its body, as hexadecimal digits; nothing of what was not verified.
    pub body_sha256: Option<String>,
    /// Whether its body is still here.
    pub body_kept: bool,
    /// When its body was let go, which is before its row is.
    pub body_dropped_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    sealed_body: Option<Vec<u8>>,
}

/// A delivery that repeats another, or is a new attempt at it.
#[derive(Debug, Clone, Serialize)]
pub struct LaterDelivery {
    /// The later one.
    pub id: DeliveryId,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
    /// What it turned out to be.
    pub verdict: DeliveryVerdict,
    /// Whether somebody here wanted it, and not its sender.
    pub redelivery: bool,
}

impl DeliveryDetail {
    /// Its body as it came. Nothing when it was not kept: what is not verified is not.
    ///
    /// # Errors
    /// When it was sealed under another master key, or changed.
    pub fn body(
        &self,
        keyring: &Keyring,
        tenant: TenantId,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SealedError> {
        let slot = Slot {
            tenant,
            column: BODY,
            row: self.delivery.id.uuid(),
        };
        self.sealed_body
            .as_deref()
            .map(|sealed| keyring.open(slot, sealed))
            .transpose()
    }
}

/// The newest ids with a verdict, of all triggers or of one. A statement for each: a partial index serves only a verdict that
/// stands in the statement.
macro_rules! newest {
    ($tx:expr, $trigger:expr, $before:expr, $limit:expr, $verdict:tt) => {
        match $trigger {
            None => {
                sqlx::query_scalar!(
                    "select id from switchyard.deliveries
                     where database_id = switchyard.current_tenant() and id < $1 and " + $verdict + "
                     order by id desc
                     limit $2",
                    $before,
                    $limit
                )
                .fetch_all(&mut **$tx)
                .await?
            }
            Some(trigger) => {
                sqlx::query_scalar!(
                    "select id from switchyard.deliveries
                     where database_id = switchyard.current_tenant() and trigger_id = $3 and id < $1 and " + $verdict + "
                     order by id desc
                     limit $2",
                    $before,
                    $limit,
                    trigger
                )
                .fetch_all(&mut **$tx)
                .await?
            }
        }
    };
}

/// Deliveries before one that is known, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn deliveries(
    tx: &mut TenantTx,
    filter: DeliveryFilter,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<Delivery>, sqlx::Error> {
    use DeliveryVerdict as V;
    let (before, limit) = (before.map_or(Uuid::max(), DeliveryId::uuid), rows(limit));
    let trigger = filter.trigger.map(TriggerId::uuid);
    if trigger.is_some() {
        // How common the trigger is decides between its own index and the tenant's: the plan is made for this one, not for
        // any (a kept plan for any takes half a second for a rare one among a million).
        sqlx::query!("set local plan_cache_mode = force_custom_plan")
            .execute(&mut **tx)
            .await?;
    }
    let ids: Vec<Uuid> = match filter.verdict {
        None => newest!(tx, trigger, before, limit, "true"),
        Some(V::Accepted) => newest!(tx, trigger, before, limit, "verdict = 'accepted'"),
        Some(V::Ignored) => newest!(tx, trigger, before, limit, "verdict = 'ignored'"),
        Some(V::Ping) => newest!(tx, trigger, before, limit, "verdict = 'ping'"),
        Some(V::Duplicate) => newest!(tx, trigger, before, limit, "verdict = 'duplicate'"),
        Some(V::Conflict) => newest!(tx, trigger, before, limit, "verdict = 'conflict'"),
        Some(V::Malformed) => newest!(tx, trigger, before, limit, "verdict = 'malformed'"),
        Some(V::Rejected) => newest!(tx, trigger, before, limit, "verdict = 'rejected'"),
    };
    read(tx, &ids).await
}

/// One delivery.
///
/// # Errors
/// When the database does not answer.
pub async fn delivery(
    tx: &mut TenantTx,
    id: DeliveryId,
) -> Result<Option<DeliveryDetail>, sqlx::Error> {
    let Some(delivery) = read(tx, &[id.uuid()]).await?.pop() else {
        return Ok(None);
    };
    let row = sqlx::query!(
        r#"
        select delivery_key, first_id, redelivery_of, function, headers, body, body_bytes, body_sha256, body_dropped_at
        from switchyard.deliveries
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    let later = sqlx::query!(
        r#"
        select id as "id!", received_at as "received_at!", verdict::text as "verdict!", redelivery as "redelivery!"
        from (
            (select id, received_at, verdict, false as redelivery
             from switchyard.deliveries
             where database_id = switchyard.current_tenant() and first_id = $1
             order by id
             limit $2)
            union all
            (select id, received_at, verdict, true
             from switchyard.deliveries
             where database_id = switchyard.current_tenant() and redelivery_of = $1
             order by id
             limit $2)
        ) l
        order by id
        "#,
        id.uuid(),
        REPEATS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    let later = later
        .into_iter()
        .map(|row| {
            Ok(LaterDelivery {
                id: row.id.into(),
                received_at: row.received_at,
                verdict: word(&row.verdict)?,
                redelivery: row.redelivery,
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(Some(DeliveryDetail {
        delivery,
        key: row.delivery_key,
        first: row.first_id.map(DeliveryId::from),
        redelivery_of: row.redelivery_of.map(DeliveryId::from),
        repeats: later
            .iter()
            .filter(|later| !later.redelivery)
            .map(|later| later.received_at)
            .collect(),
        later,
        function: row.function,
        headers: row.headers,
        body_bytes: row.body_bytes,
        body_sha256: row.body_sha256.map(hex),
        body_kept: row.body.is_some(),
        body_dropped_at: row.body_dropped_at,
        sealed_body: row.body,
    }))
}

fn hex(bytes: Vec<u8>) -> String {
    use std::fmt::Write as _;
    bytes.into_iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes all that is written to it");
        text
    })
}

pub(super) async fn read(tx: &mut TenantTx, ids: &[Uuid]) -> Result<Vec<Delivery>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select d.id, d.received_at, d.vendor, d.vendor_event, d.verdict::text as "verdict!", d.reason, d.trigger_id,
            t.name as trigger_name
        from switchyard.deliveries d
        join switchyard.triggers t on t.database_id = d.database_id and t.id = d.trigger_id
        where d.database_id = switchyard.current_tenant() and d.id = any ($1)
        order by d.id desc
        "#,
        ids
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut list = found
        .into_iter()
        .map(|row| {
            Ok(Delivery {
                id: row.id.into(),
                received_at: row.received_at,
                vendor: row.vendor,
                vendor_event: row.vendor_event,
                trigger: Named {
                    id: row.trigger_id.into(),
                    name: row.trigger_name,
                },
                verdict: word(&row.verdict)?,
                reason: row.reason,
                events: Vec::new(),
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    for row in sqlx::query_file!("src/pages/sql/became.sql", ids)
        .fetch_all(&mut **tx)
        .await?
    {
        let Some(delivery) = list
            .iter_mut()
            .find(|delivery| Some(delivery.id.uuid()) == row.delivery_id)
        else {
            continue;
        };
        if delivery.events.last().map(|event| event.id.uuid()) != Some(row.event_id) {
            delivery.events.push(DeliveryEvent {
                id: row.event_id.into(),
                ty: row.ty,
                subject: row.subject,
                about: row.about.filter(|about| !about.is_empty()),
                dispatched: row.dispatched,
                jobs: Vec::new(),
            });
        }
        if let (Some(job), Some(event)) = (row.job_id, delivery.events.last_mut()) {
            event.jobs.push(BecameJob {
                id: JobId(job),
                state: row.state.as_deref().map(word).transpose()?,
                subject: row.workload,
            });
        }
    }
    Ok(list)
}

/// The tenant's triggers by name, up to [`super::ROWS_MAX`].
///
/// # Errors
/// When the database does not answer.
pub async fn triggers(tx: &mut TenantTx) -> Result<Vec<Named<TriggerId>>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select id, name
        from switchyard.triggers
        where database_id = switchyard.current_tenant()
        order by name
        limit $1
        "#,
        rows(super::ROWS_MAX)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| Named {
            id: row.id.into(),
            name: row.name,
        })
        .collect())
}
