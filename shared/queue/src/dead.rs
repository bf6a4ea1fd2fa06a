//! Dead jobs: finding, replaying and purging them, one, many, or all that match.
//!
//! A dead job is replayed once: it then names the job that took over and is found no more. All that match are dealt with by
//! a job of `task-bulk` ([`ask_own`]), part by part ([`Queue::bulk_step`]); each part and the record of how far it came are
//! one transaction, so that nothing is done or counted twice whoever dies when.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{EventId, JobId, TenantId, WorkloadId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::refused::RuleError;
use crate::{By, Hold, Queue};

/// How many dead jobs one read looks at, at most, whether they match or not.
const LOOKED_MAX: i64 = 5000;
/// How many jobs can be named at a time.
pub const NAMED_MAX: usize = 100;

/// Which dead jobs. Nothing said means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadFilter {
    /// Of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Of this named queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// With this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// That died then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// That died before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// With this in the reason, in capitals or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl DeadFilter {
    /// As the database's functions take it.
    fn json(&self) -> Value {
        serde_json::to_value(self).expect("texts and times are JSON")
    }
}

/// What is done to dead jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadDeed {
    /// Each starts again, as a new job.
    Replay,
    /// Each is forgotten.
    Purge,
}

impl DeadDeed {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Purge => "purge",
        }
    }
}

/// The payload of a job of `task-bulk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkJob {
    /// What to do.
    #[serde(rename = "do")]
    pub deed: DeadDeed,
    /// To which dead jobs; `until` is when it was asked for, or before.
    pub filter: DeadFilter,
    /// Who asked for it.
    pub by: String,
}

/// Where a list of dead jobs goes on: behind the one that died then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadPlace {
    /// When it died.
    pub at: DateTime<Utc>,
    /// Which it is, among those that died then.
    pub job: JobId,
}

/// A dead job in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadJob {
    /// The job.
    pub id: JobId,
    /// Its task.
    pub task: String,
    /// Its named queue.
    pub queue: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Why it died.
    pub reason: Option<String>,
    /// Tries that counted.
    pub attempts: i32,
    /// How many there could have been.
    pub attempts_max: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it died.
    pub finished_at: DateTime<Utc>,
    /// The event that made it.
    pub event: Option<EventId>,
    /// What it worked on.
    pub workload: Option<WorkloadId>,
}

/// A piece of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadPiece {
    /// Those that match, the latest death first.
    pub jobs: Vec<DeadJob>,
    /// Where to go on; nothing when there are no more. A piece may be short, or empty, and yet not be the last: only so many
    /// are looked at in one read.
    pub next: Option<DeadPlace>,
}

/// What one part of a bulk job's work came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkStep {
    /// Somebody else holds the job: stop, and write nothing.
    Stale,
    /// Somebody asked the job to stop: nothing more was done.
    Stop,
    /// So far it is, and there may be more.
    More(BulkProgress),
    /// Nothing is left.
    Over(BulkProgress),
}

impl BulkStep {
    /// Reads what a part of the work came to.
    pub(crate) fn read(
        held: bool,
        stop: bool,
        over: bool,
        progress: Option<serde_json::Value>,
    ) -> Result<Self, sqlx::Error> {
        if !held {
            return Ok(Self::Stale);
        }
        if stop {
            return Ok(Self::Stop);
        }
        let progress = serde_json::from_value(progress.unwrap_or_default())
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(if over {
            Self::Over(progress)
        } else {
            Self::More(progress)
        })
    }
}

/// How far a bulk job is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct BulkProgress {
    /// Jobs that were dealt with.
    pub done: i64,
    /// How many there were to deal with when it began; a million stands for more.
    pub of: i64,
    /// Those to which it was done.
    pub did: i64,
    /// Those whose task, queue or tenant is drained: nothing may be added.
    pub refused: i64,
    /// Those that somebody else replayed or purged first.
    pub skipped: i64,
    /// The same for people.
    pub message: String,
}

/// Dead jobs of the tenant behind a place, the latest death first.
///
/// # Errors
/// When the database does not answer.
pub async fn dead(
    tx: &mut TenantTx,
    filter: &DeadFilter,
    after: Option<DeadPlace>,
    limit: i64,
) -> Result<DeadPiece, sqlx::Error> {
    let limit = limit.clamp(1, NAMED_MAX as i64);
    let rows = sqlx::query_file!(
        "src/sql/dead.sql",
        filter.json(),
        filter.since,
        filter.until,
        after.map(|place| place.at),
        after.map(|place| place.job.0),
        LOOKED_MAX,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut jobs = Vec::new();
    let mut next = None;
    for row in rows {
        let place = DeadPlace {
            at: row.finished_at,
            job: JobId(row.id),
        };
        if row.goes_on {
            next = Some(place);
        }
        if row.matches {
            jobs.push(DeadJob {
                id: JobId(row.id),
                task: row.task,
                queue: row.queue_name,
                key: row.key,
                reason: row.reason,
                attempts: row.attempts,
                attempts_max: row.attempts_max,
                created_at: row.created_at,
                finished_at: row.finished_at,
                event: row.event_id.map(EventId::from),
                workload: row.workload_id.map(WorkloadId::from),
            });
        }
    }
    Ok(DeadPiece { jobs, next })
}

/// Replays these dead jobs of the tenant. Says for each, in the order of ids, which job took over; nothing for those that the
/// tenant does not have. All of them or, on an error, none.
///
/// # Errors
/// When something is drained that one of them would be added to, or the database does not answer.
pub async fn replay_own(
    tx: &mut TenantTx,
    jobs: &[JobId],
    by: &str,
) -> Result<Vec<(JobId, Option<JobId>)>, RuleError> {
    let rows = sqlx::query!(
        r#"
        select n.id as "id!", switchyard.replay_own_job(n.id, $2) as new
        from (select distinct id from unnest($1::bigint[]) as u (id) order by id limit $3) n
        order by n.id
        "#,
        &ids(jobs),
        by,
        NAMED_MAX as i64
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (JobId(row.id), row.new.map(JobId)))
        .collect())
}

/// Forgets these dead jobs of the tenant. Says for each, in the order of ids, whether there was one.
///
/// # Errors
/// When the database does not answer.
pub async fn purge_own(
    tx: &mut TenantTx,
    jobs: &[JobId],
    by: &str,
) -> Result<Vec<(JobId, bool)>, RuleError> {
    let rows = sqlx::query!(
        r#"
        select n.id as "id!", switchyard.purge_own_job(n.id, $2) as "purged!"
        from (select distinct id from unnest($1::bigint[]) as u (id) order by id limit $3) n
        order by n.id
        "#,
        &ids(jobs),
        by,
        NAMED_MAX as i64
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (JobId(row.id), row.purged))
        .collect())
}

/// Asks for all of the tenant's dead jobs that match now to be replayed or purged. Returns the job that does it; the same
/// asked again while it is queued is that job.
///
/// # Errors
/// When the tenant is drained, or the database does not answer.
pub async fn ask_own(
    tx: &mut TenantTx,
    deed: DeadDeed,
    filter: &DeadFilter,
    by: &str,
) -> Result<JobId, RuleError> {
    let job = sqlx::query_scalar!(
        r#"select switchyard.ask_own_bulk($1, $2, $3) as "job!""#,
        deed.as_str(),
        filter.json(),
        by
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(JobId(job))
}

impl Queue {
    /// As [`ask_own`], for a tenant.
    ///
    /// # Errors
    /// As there.
    pub async fn ask_bulk(
        &self,
        tenant: TenantId,
        deed: DeadDeed,
        filter: &DeadFilter,
        by: By<'_>,
    ) -> Result<JobId, RuleError> {
        let job = sqlx::query_scalar!(
            r#"select switchyard.ask_bulk($1, $2, $3, $4) as "job!""#,
            tenant.uuid(),
            deed.as_str(),
            filter.json(),
            by.name
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(JobId(job))
    }

    /// Does the next part of a bulk job's work: looks at up to `limit` dead jobs, and does it to those that match.
    ///
    /// # Errors
    /// When the database does not answer: then the part was done or was not, and the next call goes on from there.
    pub async fn bulk_step(
        &self,
        hold: Hold,
        bulk: &BulkJob,
        limit: i32,
    ) -> Result<BulkStep, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select held as "held!", stop as "stop!", over as "over!", progress
            from switchyard.bulk_step($1, $2, $3, $4, $5, $6)
            "#,
            hold.job.0,
            hold.epoch,
            bulk.deed.as_str(),
            bulk.filter.json(),
            bulk.by,
            limit
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        BulkStep::read(row.held, row.stop, row.over, row.progress)
    }
}

fn ids(jobs: &[JobId]) -> Vec<i64> {
    jobs.iter().map(|job| job.0).collect()
}
