//! Fires the schedules whose time has come, and computes the ticks of those that have none. Ends the time of secrets that were
//! replaced.
//!
//! Any number may run at once: a tick is fired by the one whose statement comes first. What has come is told by the
//! database's clock, so the clock of the machine that this runs on may be wrong.

use std::time::Duration;

use anyhow::Context as _;
use database::is_passing;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use host::{Ctx, Function, Kind};
use model::DatabaseRole;
use queue::Queue;
use queue::schedules::{Due, DueSchedule};
use serde::Serialize;
use tokio::time::Instant;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes: |_| Ok(host::reconciler(reconcile)),
};

/// Schedules that are looked at in one statement, of each sort.
const BATCH: i32 = 200;
/// Statements under way at once: commits share a flush of the log.
const CONCURRENCY: usize = 8;
/// How long a pass goes on while there is more. The next second goes on where it ended.
const PASS: Duration = Duration::from_secs(10);

/// What a tick changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Ticks that added a job, or an event of their trigger.
    fired: i32,
    /// Jobs that the queue did not take; their ticks say why.
    refused: i32,
    /// Ticks that came too late and were left out.
    missed: i32,
    /// Schedules whose ticks were computed.
    planned: i32,
    /// Schedules of which no ticks can be computed; they say why.
    problems: i32,
    /// Triggers whose secret before the present one is not good any more.
    secrets_dropped: i32,
}

impl Report {
    fn with(self, other: &Self) -> Self {
        Self {
            fired: self.fired + other.fired,
            refused: self.refused + other.refused,
            missed: self.missed + other.missed,
            planned: self.planned + other.planned,
            problems: self.problems + other.problems,
            secrets_dropped: self.secrets_dropped + other.secrets_dropped,
        }
    }
}

async fn reconcile(ctx: Ctx) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let dropped = ctx.store().drop_old_secrets(BATCH).await;
    let mut report = Report {
        secrets_dropped: dropped.context("could not end the time of secrets")?,
        ..Report::default()
    };
    loop {
        let found = ctx
            .queue()
            .due_schedules(BATCH)
            .await
            .context("could not look for schedules that are due")?;
        let full = found.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        let round = look(ctx.queue(), found).await?;
        // Where nothing changed all were somebody else's: another look would find the same.
        let more = full && round != Report::default() && begun.elapsed() < PASS;
        report = report.with(&round);
        if !more {
            return Ok(report);
        }
    }
}

async fn look(queue: &Queue, found: Vec<DueSchedule>) -> anyhow::Result<Report> {
    stream::iter(found)
        .map(|due| one(queue, due))
        .buffer_unordered(CONCURRENCY)
        .try_fold(Report::default(), async |sum, one| Ok(sum.with(&one)))
        .await
}

/// A schedule that cannot be served must not keep the others waiting; a database that does not answer keeps them all.
async fn one(queue: &Queue, due: DueSchedule) -> anyhow::Result<Report> {
    match serve(queue, &due).await {
        Ok(report) => Ok(report),
        Err(error) if is_passing(&error) => {
            Err(error).with_context(|| format!("could not serve schedule {}", due.id))
        }
        Err(error) => {
            tracing::error!(
                schedule.id = due.id.0,
                error = &error as &dyn std::error::Error,
                "a schedule could not be served"
            );
            Ok(Report::default())
        }
    }
}

async fn serve(queue: &Queue, due: &DueSchedule) -> Result<Report, sqlx::Error> {
    match due.what() {
        Due::Fire(firing) => {
            let fired = queue.fire_schedule(due, &firing).await?;
            Ok(fired.map_or_else(Report::default, |fired| Report {
                fired: fired.fired,
                refused: fired.refused,
                missed: firing.missed,
                ..Report::default()
            }))
        }
        Due::Plan(plan) => Ok(Report {
            planned: i32::from(queue.plan_schedule(due, Ok(&plan)).await?),
            ..Report::default()
        }),
        Due::Refuse(wrong) => Ok(Report {
            problems: i32::from(queue.plan_schedule(due, Err(&wrong)).await?),
            ..Report::default()
        }),
    }
}

#[cfg(test)]
mod tests;
