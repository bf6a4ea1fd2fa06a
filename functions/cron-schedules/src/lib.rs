//! Fires the schedules whose time has come.

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

/// What a tick changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {}

async fn reconcile(_ctx: Ctx) -> anyhow::Result<Report> {
    Ok(Report::default())
}
