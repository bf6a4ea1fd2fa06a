//! Takes back what dead workers held, makes due what its time has come for, tells again what is to
//! be stopped, frees the locks of terraform's states that dead runs held, and makes the next days' partitions.
//!
//! The relay does the first two as well, sooner; this is what makes good a relay that is dead.

use anyhow::Context as _;
use host::metrics::Repair;
use host::{Ctx, Function, Kind};
use model::DatabaseRole;
use serde::Serialize;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes: |_| Ok(host::reconciler(reconcile)),
};

/// Jobs changed by one tick, of each sort.
const BATCH: i32 = 1000;
/// How far ahead there are partitions.
const PARTITION_DAYS: i32 = 7;
/// Locks of states that one tick takes from runs that are over.
const LOCKS_MAX: i32 = 100;

/// What a tick changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    reaped: i32,
    made_due: i32,
    /// Lanes without work.
    rested: i32,
    /// Cancels that nobody took up, or that are to be tried again.
    cancels: i32,
    partitions: i32,
    /// Locks of terraform's states that runs held which are over.
    state_locks: i32,
}

async fn reconcile(ctx: Ctx) -> anyhow::Result<Report> {
    let queue = ctx.queue();
    let swept = queue
        .sweep(BATCH)
        .await
        .context("could not take jobs back or make them due")?;
    ctx.metrics().repaired(
        Repair::LeaseExpired,
        u64::try_from(swept.reaped).unwrap_or_default(),
    );
    Ok(Report {
        reaped: swept.reaped,
        made_due: swept.made_due,
        rested: swept.rested,
        cancels: queue
            .republish_cancels(BATCH)
            .await
            .context("could not tell again what is to be stopped")?,
        partitions: queue
            .make_partitions(PARTITION_DAYS)
            .await
            .context("could not make partitions")?,
        state_locks: ctx
            .store()
            .free_ended_terraform_locks(LOCKS_MAX)
            .await
            .context("could not free locks of states")?,
    })
}

#[cfg(test)]
mod tests;
