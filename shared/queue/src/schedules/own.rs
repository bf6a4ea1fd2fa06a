//! What people do to their tenant's schedules: each call in the caller's transaction, in which the tenant is set. A
//! schedule of another tenant is not there.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{JobId, ScheduleId};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::types::PgInterval;

use super::missed::{Missed, Plan};
use super::missed_of;

/// Schedules of one tenant, at most; the database counts them.
pub const SCHEDULES_MAX: usize = 10_000;

/// A schedule to be, or to become.
#[derive(Debug, Clone)]
pub struct NewSchedule<'a> {
    /// By which people know it; the tenant's only one of that name.
    pub name: &'a str,
    /// The task of its jobs.
    pub task: &'a str,
    /// When, as [`super::Rule`] reads it.
    pub schedule_info: &'a Value,
    /// The zone in which it is read.
    pub time_zone: Option<&'a str>,
    /// What its jobs are to do.
    pub payload: &'a Value,
    /// Their named queue.
    pub queue_name: Option<&'a str>,
    /// Their priority.
    pub priority: i32,
    /// Tries of each of them; the task's number when none is given.
    pub attempts_max: Option<i32>,
    /// Their key: at most one of them is queued and one is worked on.
    pub key: Option<&'a str>,
    /// What becomes of ticks that nobody fired in time.
    pub missed: Missed,
    /// How much later than its tick a job may start, by an amount that the tick decides.
    pub jitter: Duration,
    /// The first ticks.
    pub plan: &'a Plan,
}

/// What became of a declaration or a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// It is so.
    Done(ScheduleId),
    /// The tenant has another schedule of that name or key.
    Taken,
    /// The tenant has [`SCHEDULES_MAX`] already.
    TooMany,
}

/// A schedule as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Schedule {
    /// The schedule.
    pub id: ScheduleId,
    /// By which people know it.
    pub name: Option<String>,
    /// The task of its jobs.
    pub task: String,
    /// When, as it was declared.
    pub schedule_info: Value,
    /// The zone in which it is read.
    pub time_zone: Option<String>,
    /// What its jobs are to do.
    pub payload: Value,
    /// Their named queue.
    pub queue: Option<String>,
    /// Their priority.
    pub priority: i32,
    /// Tries of each of them; nothing for the task's number.
    pub attempts_max: Option<i32>,
    /// Their key.
    pub key: Option<String>,
    /// What becomes of ticks that nobody fired in time.
    pub missed: Missed,
    /// How much later than its tick a job may start, in seconds.
    pub jitter_secs: f64,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub paused_why: Option<String>,
    /// Since when.
    pub paused_at: Option<DateTime<Utc>>,
    /// Its next tick; nothing when it is over, paused before it was planned, or has a problem.
    pub next_at: Option<DateTime<Utc>>,
    /// The ticks after it, as far as they are computed.
    pub later: Vec<DateTime<Utc>>,
    /// Why no tick can be computed.
    pub problem: Option<String>,
    /// Its last tick.
    pub last_tick: Option<DateTime<Utc>>,
    /// When that was fired.
    pub last_fired_at: Option<DateTime<Utc>>,
    /// The job that came of it.
    pub last_job: Option<JobId>,
    /// Ticks that nobody fired, at least.
    pub missed_count: i64,
    /// A scheduler of another system that fires it instead of ours.
    pub fired_by: Option<String>,
    /// Who declared it.
    pub created_by: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When anything of it changed last.
    pub updated_at: DateTime<Utc>,
}

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TickOutcome {
    /// A job came of it.
    Fired,
    /// Nobody fired it in time.
    Missed,
    /// The queue did not take its job.
    Refused,
}

/// A tick that has come.
#[derive(Debug, Clone, Serialize)]
pub struct Tick {
    /// When it was to be.
    pub tick: DateTime<Utc>,
    /// What became of it.
    pub outcome: TickOutcome,
    /// Its job.
    pub job: Option<JobId>,
    /// Why it was refused, or why its job is one that was queued before.
    pub reason: Option<String>,
    /// How many ticks this stands for.
    pub ticks: i32,
    /// When that was decided.
    pub at: DateTime<Utc>,
}

/// The present, by the database's clock: from when ticks are computed.
///
/// # Errors
/// When the database does not answer.
pub async fn now(tx: &mut TenantTx) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(r#"select now() as "now!""#)
        .fetch_one(&mut **tx)
        .await
}

/// Schedules, newest first, those before one that is known.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    tx: &mut TenantTx,
    before: Option<ScheduleId>,
    limit: usize,
) -> Result<Vec<Schedule>, sqlx::Error> {
    read(tx, None, before, i64::try_from(limit).unwrap_or(i64::MAX)).await
}

/// One schedule. Nothing when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn find(tx: &mut TenantTx, id: ScheduleId) -> Result<Option<Schedule>, sqlx::Error> {
    Ok(read(tx, Some(id), None, 1).await?.pop())
}

async fn read(
    tx: &mut TenantTx,
    only: Option<ScheduleId>,
    before: Option<ScheduleId>,
    limit: i64,
) -> Result<Vec<Schedule>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select id, name, task, schedule_info, time_zone, payload, queue_name, priority, attempts_max, key,
            missed::text as "missed!", extract(epoch from jitter)::float8 as "jitter_secs!", paused_by, paused_why,
            paused_at, next_at, later, problem, last_tick, last_fired_at, last_job_id, missed_count,
            case when switchyard.is_held_elsewhere(locked_by, locked_at, next_at) then locked_by end as fired_by,
            created_by, created_at, updated_at
        from switchyard.schedules
        where database_id = switchyard.current_tenant()
          and ($1::bigint is null or id = $1)
          and ($2::bigint is null or id < $2)
        order by id desc
        limit $3
        "#,
        only.map(|id| id.0),
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Schedule {
                id: ScheduleId(row.id),
                name: row.name,
                task: row.task,
                schedule_info: row.schedule_info,
                time_zone: row.time_zone,
                payload: row.payload,
                queue: row.queue_name,
                priority: row.priority,
                attempts_max: row.attempts_max,
                key: row.key,
                missed: missed_of(&row.missed)?,
                jitter_secs: row.jitter_secs,
                paused_by: row.paused_by,
                paused_why: row.paused_why,
                paused_at: row.paused_at,
                next_at: row.next_at,
                later: row.later,
                problem: row.problem,
                last_tick: row.last_tick,
                last_fired_at: row.last_fired_at,
                last_job: row.last_job_id.map(JobId),
                missed_count: row.missed_count,
                fired_by: row.fired_by,
                created_by: row.created_by,
                created_at: row.created_at,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

/// The newest ticks of a schedule, those before one that is known.
///
/// # Errors
/// When the database does not answer.
pub async fn ticks(
    tx: &mut TenantTx,
    id: ScheduleId,
    before: Option<DateTime<Utc>>,
    limit: usize,
) -> Result<Vec<Tick>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select tick, outcome::text as "outcome!", job_id, reason, ticks, at
        from switchyard.schedule_ticks
        where database_id = switchyard.current_tenant()
          and schedule_id = $1
          and ($2::timestamptz is null or tick < $2)
        order by tick desc
        limit $3
        "#,
        id.0,
        before,
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Tick {
                tick: row.tick,
                outcome: match row.outcome.as_str() {
                    "fired" => TickOutcome::Fired,
                    "missed" => TickOutcome::Missed,
                    "refused" => TickOutcome::Refused,
                    other => {
                        let what = format!("a tick's outcome is {other:?}");
                        return Err(sqlx::Error::Decode(what.into()));
                    }
                },
                job: row.job_id.map(JobId),
                reason: row.reason,
                ticks: row.ticks,
                at: row.at,
            })
        })
        .collect()
}

/// Declares a schedule. Where its name is taken the transaction is over: roll it back.
///
/// # Errors
/// When the database does not answer or refuses a value that is too long.
pub async fn declare(
    tx: &mut TenantTx,
    schedule: &NewSchedule<'_>,
    by: &str,
) -> Result<Declared, sqlx::Error> {
    let id = sqlx::query_scalar!(
        r#"
        select switchyard.declare_own_schedule(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::switchyard.missed, $11, $12, $13, $14
        ) as "id!"
        "#,
        schedule.name,
        schedule.task,
        schedule.schedule_info,
        schedule.time_zone,
        schedule.payload,
        schedule.queue_name,
        schedule.priority,
        schedule.attempts_max,
        schedule.key,
        schedule.missed.as_str(),
        interval(schedule.jitter)?,
        schedule.plan.next,
        &schedule.plan.later,
        by,
    )
    .fetch_one(&mut **tx)
    .await;
    match id {
        Ok(id) => Ok(Declared::Done(ScheduleId(id))),
        Err(error) => refusal(error),
    }
}

/// Changes all of a schedule that is declared. Its ticks stay where its rule does. Nothing when the tenant has none of this
/// id; where its new name is taken the transaction is over: roll it back.
///
/// # Errors
/// When the database does not answer or refuses a value that is too long.
pub async fn change(
    tx: &mut TenantTx,
    id: ScheduleId,
    schedule: &NewSchedule<'_>,
) -> Result<Option<Declared>, sqlx::Error> {
    let changed = sqlx::query_scalar!(
        r#"
        select switchyard.change_own_schedule(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::switchyard.missed, $12, $13, $14
        ) as "changed!"
        "#,
        id.0,
        schedule.name,
        schedule.task,
        schedule.schedule_info,
        schedule.time_zone,
        schedule.payload,
        schedule.queue_name,
        schedule.priority,
        schedule.attempts_max,
        schedule.key,
        schedule.missed.as_str(),
        interval(schedule.jitter)?,
        schedule.plan.next,
        &schedule.plan.later,
    )
    .fetch_one(&mut **tx)
    .await;
    match changed {
        Ok(true) => Ok(Some(Declared::Done(id))),
        Ok(false) => Ok(None),
        Err(error) => refusal(error).map(Some),
    }
}

/// What a refusal of the database means to the one who declares.
fn refusal(error: sqlx::Error) -> Result<Declared, sqlx::Error> {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("23505") => Ok(Declared::Taken),
        Some("53400") => Ok(Declared::TooMany),
        Some(_) | None => Err(error),
    }
}

fn interval(duration: Duration) -> Result<PgInterval, sqlx::Error> {
    duration.try_into().map_err(sqlx::Error::Encode)
}

/// Stops a schedule until it is resumed; who paused it first stays. False when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn pause(
    tx: &mut TenantTx,
    id: ScheduleId,
    by: &str,
    why: Option<&str>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.pause_own_schedule($1, $2, $3) as "paused!""#,
        id.0,
        by,
        why
    )
    .fetch_one(&mut **tx)
    .await
}

/// Lets a schedule go on with the ticks of a plan. False when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(tx: &mut TenantTx, id: ScheduleId, plan: &Plan) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.resume_own_schedule($1, $2, $3) as "resumed!""#,
        id.0,
        plan.next,
        &plan.later,
    )
    .fetch_one(&mut **tx)
    .await
}

/// Removes a schedule; its jobs stay. False when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(tx: &mut TenantTx, id: ScheduleId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select switchyard.remove_own_schedule($1) as "removed!""#,
        id.0
    )
    .fetch_one(&mut **tx)
    .await
}

/// Adds a schedule's job now. Nothing when the tenant has none of this id.
///
/// # Errors
/// When the database does not answer, or the queue does not take the job.
pub async fn run(
    tx: &mut TenantTx,
    id: ScheduleId,
    by: &str,
) -> Result<Option<JobId>, sqlx::Error> {
    let job = sqlx::query_scalar!("select switchyard.run_own_schedule($1, $2)", id.0, by)
        .fetch_one(&mut **tx)
        .await?;
    Ok(job.map(JobId))
}
