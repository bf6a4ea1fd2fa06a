//! Drops the days of history that are past keeping, forgets what people did long ago, deliveries, their bodies and ids, runs and
//! what they left behind, and keys that protect nothing any more, and has the planner look at what is left.
//!
//! A day goes as a whole, with its partition: nothing is deleted row by row but what missed its day. Dropping locks the
//! table for a moment; whoever finishes a job then waits for half a second at most, and a day that somebody reads just now
//! is left for the next time.

use std::time::Duration;

use anyhow::Context as _;
use host::{Ctx, Env, Function, Kind, SettingsError};
use model::DatabaseRole;
use queue::{History, Queue};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes: |env| {
        let settings = Settings::of(env)?;
        // Where artifacts are.
        env.require("BLOBS_URL")?;
        Ok(host::reconciler(move |ctx| {
            reconcile(ctx, settings.clone())
        }))
    },
};

/// How long a pass begins anything. The next hour goes on where it ended.
const PASS: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days of one table that are dropped in one pass.
const DAYS_MAX: usize = 40;
/// How often a table that somebody holds is tried in one pass.
const TRIES: usize = 3;
/// Rows deleted, and keys and deeds forgotten, by one statement.
const BATCH: i32 = 10_000;
/// Bodies, and what runners were told, let go by one statement: each is a row written anew.
const BATCH_BODIES: i32 = 2000;
/// How many such statements one pass makes of each sort.
const BATCHES_MAX: usize = 20;
/// Places in the store of artifacts that are cleared at a time.
const BATCH_UPLOADS: i64 = 200;
/// How long an artifact that is on its way may rest: its runner may go on with it for so long.
const UPLOAD_IDLE: Duration = Duration::from_secs(24 * 3600);
/// How long a key is remembered that nobody uses: no event is dispatched so late.
const KEY_UNUSED: Duration = Duration::from_secs(2 * 24 * 3600);
/// How often a table is analysed. Its partitions are by autovacuum; what the planner knows of the whole changes slowly.
const ANALYSE_EVERY: Duration = Duration::from_secs(6 * 3600);

#[derive(Debug, Clone, Deserialize)]
struct Settings {
    /// How many days finished jobs are kept, with what happened to them.
    #[serde(default = "jobs_kept_days")]
    jobs_kept_days: u32,
    /// How many days logs are kept.
    #[serde(default = "logs_kept_days")]
    logs_kept_days: u32,
    /// How many days it is kept what became of the ticks of schedules.
    #[serde(default = "ticks_kept_days")]
    ticks_kept_days: u32,
    /// How many days the log of events is kept.
    #[serde(default = "event_log_kept_days")]
    event_log_kept_days: u32,
    /// How many days it is kept what people did to the queue, and why.
    #[serde(default = "deeds_kept_days")]
    deeds_kept_days: u32,
    /// How many days the bodies of deliveries are kept, which may be read and delivered again for so long.
    #[serde(default = "delivery_bodies_kept_days")]
    delivery_bodies_kept_days: u32,
    /// How many days deliveries are kept, and counts of what did not verify.
    #[serde(default = "deliveries_kept_days")]
    deliveries_kept_days: u32,
    /// How many days the ids of senders are kept, by which a repeat is told.
    #[serde(default = "delivery_ids_kept_days")]
    delivery_ids_kept_days: u32,
    /// How many days artifacts of jobs are kept that have ended; those on the shelf stay until somebody deletes them.
    #[serde(default = "artifacts_kept_days")]
    artifacts_kept_days: u32,
}

/// Senders that are told nothing come again for days.
const DELIVERY_IDS_KEPT_DAYS_MIN: u32 = 8;

const fn delivery_bodies_kept_days() -> u32 {
    14
}

const fn deliveries_kept_days() -> u32 {
    90
}

const fn delivery_ids_kept_days() -> u32 {
    30
}

const fn artifacts_kept_days() -> u32 {
    30
}

const fn jobs_kept_days() -> u32 {
    30
}

const fn logs_kept_days() -> u32 {
    30
}

const fn ticks_kept_days() -> u32 {
    7
}

const fn event_log_kept_days() -> u32 {
    90
}

const fn deeds_kept_days() -> u32 {
    365
}

impl Settings {
    fn of(env: &Env) -> Result<Self, SettingsError> {
        let settings: Self = env.parse()?;
        for (name, days) in [
            ("JOBS_KEPT_DAYS", settings.jobs_kept_days),
            ("LOGS_KEPT_DAYS", settings.logs_kept_days),
            ("TICKS_KEPT_DAYS", settings.ticks_kept_days),
            ("EVENT_LOG_KEPT_DAYS", settings.event_log_kept_days),
            ("DEEDS_KEPT_DAYS", settings.deeds_kept_days),
            (
                "DELIVERY_BODIES_KEPT_DAYS",
                settings.delivery_bodies_kept_days,
            ),
            ("DELIVERIES_KEPT_DAYS", settings.deliveries_kept_days),
            ("ARTIFACTS_KEPT_DAYS", settings.artifacts_kept_days),
        ] {
            if days == 0 {
                return Err(SettingsError::wrong(name, "a day is the least"));
            }
        }
        if settings.delivery_ids_kept_days < DELIVERY_IDS_KEPT_DAYS_MIN {
            let problem = format!(
                "{DELIVERY_IDS_KEPT_DAYS_MIN} days are the least: senders come again for so long"
            );
            return Err(SettingsError::wrong("DELIVERY_IDS_KEPT_DAYS", problem));
        }
        Ok(settings)
    }

    fn keep(&self, history: History) -> Duration {
        DAY * match history {
            History::Jobs | History::Events => self.jobs_kept_days,
            History::Logs | History::WorkloadLogs => self.logs_kept_days,
            History::Ticks => self.ticks_kept_days,
            History::Recorded => self.event_log_kept_days,
        }
    }
}

/// What a tick changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Partitions that were dropped.
    dropped: Vec<String>,
    /// Tables of which a day is left for the next time, because somebody held them.
    busy: Vec<&'static str>,
    /// Rows that were in no day's partition.
    deleted: i32,
    /// Keys that were forgotten.
    forgotten: i32,
    /// Deeds of people that were forgotten.
    deeds: i32,
    /// Bodies of deliveries that were let go.
    bodies: i32,
    /// Deliveries that were forgotten.
    deliveries: i32,
    /// Ids of deliveries that were forgotten.
    delivery_ids: i32,
    /// Counts of rejected requests that were forgotten.
    rejections: i32,
    /// Runs that were forgotten.
    runs: i32,
    /// Runs that are over and of which it was let go what their runners were told.
    run_specs: i32,
    /// Artifacts that were let go.
    artifacts: i32,
    /// Places in their store that were cleared.
    cleared: i32,
    /// Tables that were analysed.
    analysed: Vec<&'static str>,
}

async fn reconcile(ctx: Ctx, settings: Settings) -> anyhow::Result<Report> {
    let queue = ctx.queue();
    let begun = Instant::now();
    let time_is_left = || begun.elapsed() < PASS;
    let mut report = Report::default();
    for history in History::ALL {
        let table = history.table();
        let keep = settings.keep(history);
        drop_days(queue, history, keep, &time_is_left, &mut report)
            .await
            .with_context(|| format!("could not drop a day of {table}"))?;
        for _ in 0..BATCHES_MAX {
            let deleted = queue
                .delete_expired_rows(history, keep, BATCH)
                .await
                .with_context(|| format!("could not delete what missed its day in {table}"))?;
            report.deleted += deleted;
            if deleted < BATCH || !time_is_left() {
                break;
            }
        }
    }
    for _ in 0..BATCHES_MAX {
        let forgotten = queue
            .forget_keys(KEY_UNUSED, BATCH)
            .await
            .context("could not forget keys")?;
        report.forgotten += forgotten;
        if forgotten < BATCH || !time_is_left() {
            break;
        }
    }
    for _ in 0..BATCHES_MAX {
        let forgotten = queue
            .forget_deeds(DAY * settings.deeds_kept_days, BATCH)
            .await
            .context("could not forget deeds")?;
        report.deeds += forgotten;
        if forgotten < BATCH || !time_is_left() {
            break;
        }
    }
    let store = ctx.store();
    let (bodies, rows, ids) = (
        DAY * settings.delivery_bodies_kept_days,
        DAY * settings.deliveries_kept_days,
        DAY * settings.delivery_ids_kept_days,
    );
    report.bodies = in_batches(&time_is_left, || store.drop_bodies(bodies, BATCH_BODIES))
        .await
        .context("could not let bodies of deliveries go")?;
    report.deliveries = in_batches(&time_is_left, || store.forget_deliveries(rows, BATCH))
        .await
        .context("could not forget deliveries")?;
    report.delivery_ids = in_batches(&time_is_left, || store.forget_delivery_keys(ids, BATCH))
        .await
        .context("could not forget the ids of deliveries")?;
    report.rejections = in_batches(&time_is_left, || store.forget_rejections(rows, BATCH))
        .await
        .context("could not forget counts of rejected requests")?;
    let jobs = settings.keep(History::Jobs);
    report.runs = in_batches(&time_is_left, || queue.forget_runs(jobs, BATCH))
        .await
        .context("could not forget runs")?;
    report.run_specs = in_batches(&time_is_left, || queue.drop_run_specs(BATCH_BODIES))
        .await
        .context("could not let go of what runners were told")?;
    clear_artifacts(&ctx, &settings, &time_is_left, &mut report).await?;
    for history in History::ALL {
        if !time_is_left() {
            break;
        }
        let table = history.table();
        if queue
            .analyse_history(history, ANALYSE_EVERY)
            .await
            .with_context(|| format!("could not analyse {table}"))?
        {
            report.analysed.push(table);
        }
    }
    Ok(report)
}

/// Lets artifacts go that are past keeping, gives up what nobody sends any more, and clears both in the store.
async fn clear_artifacts(
    ctx: &Ctx,
    settings: &Settings,
    time_is_left: &impl Fn() -> bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let store = ctx.store();
    let keep = DAY * settings.artifacts_kept_days;
    report.artifacts = in_batches(time_is_left, || store.forget_artifacts(keep, BATCH))
        .await
        .context("could not let artifacts go")?;
    in_batches(time_is_left, || store.drop_idle_uploads(UPLOAD_IDLE, BATCH))
        .await
        .context("could not give up what nobody sends any more")?;
    let blobs = ctx.blobs()?;
    while time_is_left() {
        let swept = artifacts::sweep(store, blobs, BATCH_UPLOADS)
            .await
            .context("could not clear what artifacts left in their store")?;
        report.cleared += swept.uploads;
        if swept.uploads == 0 {
            break;
        }
    }
    Ok(())
}

/// Does a part again until there is nothing left to do, the pass is over, or enough was done. Returns how much.
async fn in_batches<F>(
    time_is_left: &impl Fn() -> bool,
    part: impl Fn() -> F,
) -> Result<i32, sqlx::Error>
where
    F: Future<Output = Result<i32, sqlx::Error>>,
{
    let mut all = 0;
    for _ in 0..BATCHES_MAX {
        if !time_is_left() {
            break;
        }
        let done = part().await?;
        all += done;
        if done == 0 {
            break;
        }
    }
    Ok(all)
}

/// Drops days one by one, each in a transaction of its own, so that the table is free between two.
async fn drop_days(
    queue: &Queue,
    history: History,
    keep: Duration,
    time_is_left: &impl Fn() -> bool,
    report: &mut Report,
) -> Result<(), sqlx::Error> {
    let mut tries = 0;
    for _ in 0..DAYS_MAX {
        if !time_is_left() {
            return Ok(());
        }
        match queue.drop_expired_day(history, keep).await {
            Ok(Some(name)) => {
                tracing::info!(partition = name, "dropped");
                report.dropped.push(name);
                tries = 0;
            }
            Ok(None) => return Ok(()),
            Err(error) if is_held(&error) => {
                tries += 1;
                if tries == TRIES {
                    report.busy.push(history.table());
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether somebody held what was to be locked for as long as one waits.
fn is_held(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // lock_not_available, deadlock_detected
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

#[cfg(test)]
mod tests;
