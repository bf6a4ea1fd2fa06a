//! What runners did for a job: its runs with their steps and what they said.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::JobId;
use model::run::RunReport;
use serde::Serialize;

use super::rows;

/// Runs of a job that are shown, at most: the newest.
const RUNS_MAX: i64 = 20;
/// Steps of a run that are shown, at most.
const STEPS_MAX: i32 = 100;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The claim that began it.
    pub epoch: i64,
    /// What it was for, as its task names it: `plan`, `apply`, `create` ….
    pub phase: String,
    /// Who started its runner: `local` or `kubernetes`.
    pub launcher: String,
    /// `launching`, `running`, `succeeded`, `failed`, `cancelled` or `lost`.
    pub state: String,
    /// Why it ended as it did, where that needs words.
    pub reason: Option<String>,
    /// What it has to say so far. Masked.
    pub report: Option<RunReport>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When its runner was first heard of.
    pub started_at: Option<DateTime<Utc>>,
    /// When its runner was last heard of.
    pub seen_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its steps, in their order.
    pub steps: Vec<RunStep>,
}

/// One step of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunStep {
    /// Its name: `init`, `plan` ….
    pub name: String,
    /// `waiting`, `running`, `succeeded`, `failed`, `stopped` or `skipped`.
    pub state: String,
    /// Its exit code, when it ended by itself.
    pub exit_code: Option<i32>,
    /// Why, where that needs words.
    pub why: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Jobs that have runs, newest first, before one that is known.
///
/// # Errors
/// When the database does not answer.
pub async fn latest_runs(
    tx: &mut TenantTx,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        select distinct job_id
        from switchyard.runs
        where database_id = switchyard.current_tenant() and job_id < $1
        order by job_id desc
        limit $2
        "#,
        before.map_or(i64::MAX, |job| job.0),
        rows(limit)
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// The variables of a job of terraform that anybody may see: those of which its newest plan says so.
///
/// # Errors
/// When the database does not answer.
pub async fn plain_variables(tx: &mut TenantTx, job: JobId) -> Result<Vec<String>, sqlx::Error> {
    let said = sqlx::query_scalar!(
        r#"
        select report -> 'plan' -> 'plain_variables' as "said!"
        from switchyard.runs
        where database_id = switchyard.current_tenant() and job_id = $1
          and jsonb_typeof(report -> 'plan' -> 'plain_variables') = 'array'
        order by epoch desc
        limit 1
        "#,
        job.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    let names = said.map(serde_json::from_value).transpose();
    Ok(names
        .map_err(|error| sqlx::Error::Decode(error.into()))?
        .unwrap_or_default())
}

/// The runs of a job, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn runs(tx: &mut TenantTx, job: JobId) -> Result<Vec<Run>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select epoch, phase, launcher, state, reason, report, created_at, started_at, seen_at, ended_at
        from switchyard.runs
        where database_id = switchyard.current_tenant() and job_id = $1
        order by epoch desc
        limit $2
        "#,
        job.0,
        RUNS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        let report = row
            .report
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        runs.push(Run {
            epoch: row.epoch,
            phase: row.phase,
            launcher: row.launcher,
            state: row.state,
            reason: row.reason,
            report,
            created_at: row.created_at,
            started_at: row.started_at,
            seen_at: row.seen_at,
            ended_at: row.ended_at,
            steps: Vec::new(),
        });
    }
    let epochs: Vec<_> = runs.iter().map(|run| run.epoch).collect();
    let steps = sqlx::query!(
        r#"
        select epoch, name, state, exit_code, why, started_at, ended_at
        from switchyard.run_steps
        where database_id = switchyard.current_tenant() and job_id = $1 and epoch = any ($2) and step < $3
        order by epoch, step
        "#,
        job.0,
        &epochs,
        STEPS_MAX
    )
    .fetch_all(&mut **tx)
    .await?;
    for row in steps {
        if let Some(run) = runs.iter_mut().find(|run| run.epoch == row.epoch) {
            run.steps.push(RunStep {
                name: row.name,
                state: row.state,
                exit_code: row.exit_code,
                why: row.why,
                started_at: row.started_at,
                ended_at: row.ended_at,
            });
        }
    }
    Ok(runs)
}
