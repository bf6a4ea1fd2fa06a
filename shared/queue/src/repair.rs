//! Repair by hand: for when something stands still that should go on by itself. Each call says what was considered and what
//! was done to it, and changes nothing when asked to only look.

use database::TenantTx;
use model::{JobId, JobState, TenantId};
use serde::{Deserialize, Serialize};

use crate::refused::RuleError;
use crate::{By, Queue};

/// How many jobs or tasks are repaired at a time, at most.
pub const REPAIRED_MAX: i32 = 1000;

/// What is done to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobRepair {
    /// Takes them back from whoever has them, as if the lease were over: the attempt counts.
    Reap,
    /// Makes them ready now, the attempt uncounted: what waits for its time or its retry, what somebody has, and, where it is
    /// named, what is dead (as a new job).
    Requeue,
}

impl JobRepair {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reap => "reap",
            Self::Requeue => "requeue",
        }
    }
}

/// Which jobs; what is said holds for each. At least one of ids, task and worker must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// With these ids.
    pub jobs: Option<&'a [JobId]>,
    /// Of this task.
    pub task: Option<&'a str>,
    /// Held by this worker.
    pub worker: Option<&'a str>,
}

/// Whether to do it, or only to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Do it.
    Real,
    /// Say what would be done.
    Dry,
}

/// What became of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairedJob {
    /// The job.
    pub job: JobId,
    /// Whose it is; nothing where there is no such job.
    #[serde(skip)]
    pub tenant: Option<TenantId>,
    /// Its task.
    pub task: Option<String>,
    /// Its state before.
    pub state: Option<JobState>,
    /// requeued, `made_ready`, replayed, dead, cancelled, superseded, or skipped.
    pub did: String,
    /// Why it was skipped, or what took over.
    pub note: Option<String>,
}

/// What became of one task's wake-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToldTask {
    /// The task.
    pub task: String,
    /// Its ready jobs, counted up to 1000.
    pub jobs: i32,
    /// told, or skipped.
    pub did: String,
    /// Why it was skipped.
    pub note: Option<String>,
}

/// What was considered and done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report<T> {
    /// How many were looked at.
    pub considered: usize,
    /// How many were changed, or would be.
    pub done: usize,
    /// Whether as many were looked at as may be at a time: there may be more.
    pub more: bool,
    /// Each of them.
    pub items: Vec<T>,
}

impl<T> Report<T> {
    fn of(items: Vec<T>, limit: i32, did: impl Fn(&T) -> &str) -> Self {
        let skipped = items.iter().filter(|item| did(item) == "skipped").count();
        Self {
            considered: items.len(),
            done: items.len() - skipped,
            more: i32::try_from(items.len()).is_ok_and(|count| count >= limit),
            items,
        }
    }
}

impl Queue {
    /// Repairs up to `limit` jobs, of one tenant or of all.
    ///
    /// # Errors
    /// When nothing is chosen, the limit is not 1 to [`REPAIRED_MAX`], or the database does not answer.
    pub async fn repair_jobs(
        &self,
        repair: JobRepair,
        tenant: Option<TenantId>,
        chosen: &Chosen<'_>,
        limit: i32,
        run: Run,
        by: By<'_>,
    ) -> Result<Report<RepairedJob>, RuleError> {
        let ids = chosen.ids();
        let rows = sqlx::query_as!(
            Row,
            r#"
            select job_id as "job_id!", database_id, task, state::text, did as "did!", note
            from switchyard.repair_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9)
            "#,
            repair.as_str(),
            tenant.map(TenantId::uuid),
            ids.as_deref(),
            chosen.task,
            chosen.worker,
            limit,
            run == Run::Dry,
            by.name,
            by.why,
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        repaired(rows, limit)
    }

    /// Tells those who work on tasks with ready jobs that there is work, again: up to `limit` tasks, or the one that is named.
    ///
    /// # Errors
    /// When the limit is not 1 to [`REPAIRED_MAX`], or the database does not answer.
    pub async fn repair_wakeups(
        &self,
        tenant: Option<TenantId>,
        task: Option<&str>,
        limit: i32,
        run: Run,
        by: By<'_>,
    ) -> Result<Report<ToldTask>, RuleError> {
        let rows = sqlx::query_as!(
            ToldTask,
            r#"
            select task as "task!", jobs as "jobs!", did as "did!", note
            from switchyard.repair_wakeups($1, $2, $3, $4, $5, $6)
            "#,
            tenant.map(TenantId::uuid),
            task,
            limit,
            run == Run::Dry,
            by.name,
            by.why,
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(Report::of(rows, limit, |told| &told.did))
    }
}

/// As [`Queue::repair_jobs`], of the tenant.
///
/// # Errors
/// As there.
pub async fn repair_own_jobs(
    tx: &mut TenantTx,
    repair: JobRepair,
    chosen: &Chosen<'_>,
    limit: i32,
    run: Run,
    by: By<'_>,
) -> Result<Report<RepairedJob>, RuleError> {
    let ids = chosen.ids();
    let rows = sqlx::query_as!(
        Row,
        r#"
        select job_id as "job_id!", database_id, task, state::text, did as "did!", note
        from switchyard.repair_own_jobs($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        repair.as_str(),
        ids.as_deref(),
        chosen.task,
        chosen.worker,
        limit,
        run == Run::Dry,
        by.name,
        by.why,
    )
    .fetch_all(&mut **tx)
    .await?;
    repaired(rows, limit)
}

/// As [`Queue::repair_wakeups`], of the tasks in which the tenant has ready jobs.
///
/// # Errors
/// As there.
pub async fn repair_own_wakeups(
    tx: &mut TenantTx,
    task: Option<&str>,
    limit: i32,
    run: Run,
    by: By<'_>,
) -> Result<Report<ToldTask>, RuleError> {
    let rows = sqlx::query_as!(
        ToldTask,
        r#"
        select task as "task!", jobs as "jobs!", did as "did!", note
        from switchyard.repair_own_wakeups($1, $2, $3, $4, $5)
        "#,
        task,
        limit,
        run == Run::Dry,
        by.name,
        by.why,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(Report::of(rows, limit, |told| &told.did))
}

struct Row {
    job_id: i64,
    database_id: Option<uuid::Uuid>,
    task: Option<String>,
    state: Option<String>,
    did: String,
    note: Option<String>,
}

impl Chosen<'_> {
    fn ids(&self) -> Option<Vec<i64>> {
        self.jobs.map(|jobs| jobs.iter().map(|job| job.0).collect())
    }
}

fn repaired(rows: Vec<Row>, limit: i32) -> Result<Report<RepairedJob>, RuleError> {
    let items = rows
        .into_iter()
        .map(|row| {
            let state = row
                .state
                .map(|state| state.parse())
                .transpose()
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok(RepairedJob {
                job: JobId(row.job_id),
                tenant: row.database_id.map(TenantId::from),
                task: row.task,
                state,
                did: row.did,
                note: row.note,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Report::of(items, limit, |item| &item.did))
}
