//! Rules on what logs say: as people set them, and as `cron-logs` reads logs for them.
//!
//! How far a source was read is told by snapshots of the database, not by times or numbers: a line that is committed after
//! later ones were read is read in the next round.

mod own;

use chrono::{DateTime, Utc};
use model::{JobId, TenantId, TriggerId, WorkloadId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Store;

pub use own::{
    LogRule, Recorded, RecordedFilter, RuleCounts, WantedRule, Written, counts, list, recorded,
    remove, write,
};

/// Rules of one tenant.
pub const RULES_MAX: i64 = 200;
/// Workloads for which one rule is otherwise.
pub const OVERRIDES_MAX: usize = 500;

/// A source of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSource {
    /// What jobs say.
    Jobs,
    /// What workloads say besides: `site`.
    Workloads,
}

impl LogSource {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Jobs, Self::Workloads];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Workloads => "workloads",
        }
    }
}

/// A line that was not read before.
#[derive(Debug, Clone)]
pub struct UnreadLine {
    /// Whose.
    pub tenant: TenantId,
    /// Of which workload, when it is of one.
    pub workload: Option<WorkloadId>,
    /// Which job said it.
    pub job: Option<JobId>,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Where it stands among the lines of its time: with the time, a name of its own.
    pub key: String,
    /// `task`, `stdout`, `stderr` or `site`.
    pub stream: String,
    /// What it says.
    pub text: String,
    /// How many times work led to work on the way to the job.
    pub depth: i32,
    /// What the job's whole chain has in common.
    pub correlation_id: Option<String>,
}

/// What of a source was not read before.
#[derive(Debug)]
pub struct Unread {
    /// Which state of the source's cursor this is.
    pub version: i64,
    /// The lines, in order; none when the round is over.
    pub lines: Vec<UnreadLine>,
}

/// A rule as `cron-logs` needs it.
#[derive(Debug, Clone)]
pub struct ActiveRule {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: Uuid,
    /// Only of this workload.
    pub workload: Option<WorkloadId>,
    /// What people call it.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// How bad a match is.
    pub severity: String,
    /// Which streams are looked at.
    pub streams: Vec<String>,
    /// How long it is quiet after a match, in seconds.
    pub cooldown_secs: i32,
    /// What a match fires.
    pub trigger: Option<TriggerId>,
    /// For which workloads it is otherwise.
    pub overrides: Vec<Override>,
}

/// What of a rule is otherwise for a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// For which.
    pub workload: WorkloadId,
    /// Whether the rule is looked at there.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How bad a match is there; as the rule says unless given.
    #[serde(default)]
    pub severity: Option<String>,
    /// How long it is quiet there after a match, in seconds; as the rule says unless given.
    #[serde(default)]
    pub cooldown_secs: Option<i32>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
struct OverrideRow {
    workload: Uuid,
    enabled: bool,
    severity: Option<String>,
    cooldown_secs: Option<i32>,
}

impl From<OverrideRow> for Override {
    fn from(row: OverrideRow) -> Self {
        Self {
            workload: row.workload.into(),
            enabled: row.enabled,
            severity: row.severity,
            cooldown_secs: row.cooldown_secs,
        }
    }
}

/// A match to be recorded.
#[derive(Debug, Clone, Serialize)]
pub struct LogMatch {
    /// Whose.
    pub database_id: Uuid,
    /// Which rule.
    pub rule: Uuid,
    /// Of which workload.
    pub workload: Option<Uuid>,
    /// Which job said it.
    pub job: Option<i64>,
    /// When the line was written.
    pub at: DateTime<Utc>,
    /// How bad it is.
    pub severity: String,
    /// How long the rule is quiet after it, in seconds.
    pub cooldown_secs: i32,
    /// The rule's trigger.
    pub trigger: Option<Uuid>,
    /// For people.
    pub message: String,
    /// The line and what the pattern took out of it.
    pub data: Value,
    /// What starts work; nothing where the match is only told.
    pub event: Option<MatchEvent>,
}

/// The event of a match that starts work.
#[derive(Debug, Clone, Serialize)]
pub struct MatchEvent {
    /// Follows from the line and the rule.
    pub id: Uuid,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// Its data.
    pub data: Value,
    /// By which all that it leads to is known to come from a log.
    pub correlation_id: String,
    /// How many times work led here.
    pub depth: i32,
}

impl Store {
    /// Up to `limit` lines of a source that were not read before, in order. Nothing when no rule asks for them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unread_lines(
        &self,
        source: LogSource,
        limit: i32,
    ) -> Result<Option<Unread>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select version as "version!", place_at, place_key, database_id, workload_id, job_id, stream, line, depth,
                correlation_id
            from switchyard.unread_lines($1, $2)
            "#,
            source.as_str(),
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        let Some(version) = rows.first().map(|row| row.version) else {
            return Ok(None);
        };
        let lines = rows.into_iter().filter_map(|row| {
            Some(UnreadLine {
                tenant: row.database_id?.into(),
                workload: row.workload_id.map(Into::into),
                job: row.job_id.map(JobId),
                at: row.place_at?,
                key: row.place_key?,
                stream: row.stream?,
                text: row.line?,
                depth: row.depth.unwrap_or_default(),
                correlation_id: row.correlation_id,
            })
        });
        Ok(Some(Unread {
            version,
            lines: lines.collect(),
        }))
    }

    /// The rules of these tenants that are switched on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn log_rules_of(&self, tenants: &[TenantId]) -> Result<Vec<ActiveRule>, sqlx::Error> {
        let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
        let rows = sqlx::query!(
            r#"
            select r.database_id, r.id, r.workload_id, r.name, r.pattern, r.severity, r.streams, r.cooldown_secs,
                r.trigger_id,
                (
                    select coalesce(jsonb_agg(jsonb_build_object(
                        'workload', o.workload_id, 'enabled', o.enabled, 'severity', o.severity,
                        'cooldown_secs', o.cooldown_secs
                    )), '[]')
                    from switchyard.log_rule_overrides o
                    where o.database_id = r.database_id and o.rule_id = r.id
                ) as "overrides!: Json<Vec<OverrideRow>>"
            from switchyard.log_rules r
            where r.database_id = any ($1) and r.enabled
            order by r.database_id, r.id
            "#,
            &tenants
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ActiveRule {
                tenant: row.database_id.into(),
                id: row.id,
                workload: row.workload_id.map(Into::into),
                name: row.name,
                pattern: row.pattern,
                severity: row.severity,
                streams: row.streams,
                cooldown_secs: row.cooldown_secs,
                trigger: row.trigger_id.map(Into::into),
                overrides: row.overrides.0.into_iter().map(Override::from).collect(),
            })
            .collect())
    }

    /// Records what matched in the lines that were read, and goes on behind them; without lines the round is over. Nothing
    /// when another did so meanwhile. Returns how many rows of `event_log` were written.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_log_matches(
        &self,
        source: LogSource,
        unread: &Unread,
        matches: &[LogMatch],
    ) -> Result<Option<i32>, sqlx::Error> {
        let matches =
            serde_json::to_value(matches).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let last = unread.lines.last();
        sqlx::query_scalar!(
            "select switchyard.record_log_matches($1, $2, $3, $4, $5)",
            source.as_str(),
            unread.version,
            last.map(|line| line.at),
            last.map(|line| line.key.as_str()),
            matches
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Adds lines of workloads: each is whose it is, and what it says. Lines of workloads that are gone are left out.
    ///
    /// # Errors
    /// When the database does not answer, or a line is too long.
    pub async fn append_site_lines(
        &self,
        lines: &[(TenantId, WorkloadId, String)],
    ) -> Result<i32, sqlx::Error> {
        let tenants: Vec<Uuid> = lines.iter().map(|line| line.0.uuid()).collect();
        let workloads: Vec<Uuid> = lines.iter().map(|line| line.1.uuid()).collect();
        let streams: Vec<String> = lines.iter().map(|_| "site".to_owned()).collect();
        let texts: Vec<String> = lines.iter().map(|line| line.2.clone()).collect();
        sqlx::query_scalar!(
            r#"select switchyard.append_workload_logs($1, $2, $3, $4) as "added!""#,
            &tenants,
            &workloads,
            &streams,
            &texts
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
