//! Takes back what dead workers held, makes due what its time has come for, and makes the next days' partitions.
//!
//! The relay does the first two as well, sooner; this is what makes good a relay that is dead.

use anyhow::Context as _;
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

/// What a tick changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    reaped: i32,
    made_due: i32,
    partitions: i32,
}

async fn reconcile(ctx: Ctx) -> anyhow::Result<Report> {
    let queue = ctx.queue();
    Ok(Report {
        reaped: queue
            .reap(BATCH)
            .await
            .context("could not take jobs back")?,
        made_due: queue
            .make_due(BATCH)
            .await
            .context("could not make jobs due")?,
        partitions: queue
            .make_partitions(PARTITION_DAYS)
            .await
            .context("could not make partitions")?,
    })
}
