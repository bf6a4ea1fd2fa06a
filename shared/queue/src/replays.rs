//! The events of many deliveries, made once more by a job.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, JobId, TriggerId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dead::BulkStep;
use crate::{Hold, Queue, RuleError};

/// How many deliveries one job replays.
pub const REPLAYS_MAX: i32 = 10_000;

/// Which deliveries are meant: those for which all that is said holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayFilter {
    /// What they turned out to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Through which trigger they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerId>,
    /// Who sent them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// What their sender calls what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Stored then, or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Stored before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl ReplayFilter {
    fn json(&self) -> Value {
        serde_json::to_value(self).expect("texts and times are always JSON")
    }
}

/// The payload of a job of `task-bulk` that replays deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayJob {
    /// Tells it from other work in bulk.
    #[serde(rename = "do")]
    pub deed: ReplayDeed,
    /// Which; `until` is when it was asked for, or before.
    pub filter: ReplayFilter,
    /// For which binding; without one, for all of each delivery's trigger.
    pub binding: Option<BindingId>,
    /// Who asked for it.
    pub by: String,
}

/// The one thing that is done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayDeed {
    /// Their events are made again.
    ReplayDeliveries,
}

/// Asks for the events of all of the tenant's deliveries that match now to be made again. Returns the job that does it; the
/// same asked again while it is queued is that job.
///
/// # Errors
/// When there is no such binding, the tenant is drained, or the database does not answer.
pub async fn ask_own_replays(
    tx: &mut TenantTx,
    filter: &ReplayFilter,
    binding: Option<BindingId>,
    by: &str,
) -> Result<JobId, RuleError> {
    let job = sqlx::query_scalar!(
        r#"select switchyard.ask_own_replays($1, $2, $3) as "job!""#,
        filter.json(),
        binding.map(BindingId::uuid),
        by
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(JobId(job))
}

impl Queue {
    /// Does the next part of such a job's work: looks at up to `limit` deliveries, and replays those that match.
    ///
    /// # Errors
    /// When the database does not answer: then the part was done or was not, and the next call goes on from there.
    pub async fn replay_step(
        &self,
        hold: Hold,
        job: &ReplayJob,
        limit: i32,
    ) -> Result<BulkStep, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select held as "held!", stop as "stop!", over as "over!", progress
            from switchyard.replay_deliveries_step($1, $2, $3, $4, $5, $6)
            "#,
            hold.job.0,
            hold.epoch,
            job.filter.json(),
            job.binding.map(BindingId::uuid),
            limit,
            REPLAYS_MAX
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        BulkStep::read(row.held, row.stop, row.over, row.progress)
    }
}
