//! Puts into the outbox again what was published and not heeded: events that nobody dispatched, ready work that nobody
//! claimed. What makes good a broker that lost something, or a relay that was dead when it mattered.

use std::time::Duration;

use anyhow::Context as _;
use host::metrics::Repair;
use host::{Ctx, Function, Kind};
use model::DatabaseRole;
use serde::{Deserialize, Serialize};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes: |env| {
        let settings: Settings = env.parse()?;
        Ok(host::reconciler(move |ctx| {
            reconcile(ctx, settings.clone())
        }))
    },
};

/// Events put into the outbox by one tick.
const BATCH: i32 = 1000;

#[derive(Debug, Clone, Deserialize)]
struct Settings {
    /// How long something may go unheeded before it is published again, in seconds: two ticks.
    #[serde(default = "republish_after_secs")]
    republish_after_secs: u64,
}

const fn republish_after_secs() -> u64 {
    30
}

/// What a tick changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    events: i32,
    wakeups: i32,
}

async fn reconcile(ctx: Ctx, settings: Settings) -> anyhow::Result<Report> {
    let after = Duration::from_secs(settings.republish_after_secs);
    let report = Report {
        events: ctx
            .store()
            .republish_events(after, BATCH)
            .await
            .context("could not publish events again")?,
        wakeups: ctx
            .queue()
            .republish_wakeups(after)
            .await
            .context("could not publish wake-ups again")?,
    };
    let count = u64::try_from(report.events + report.wakeups).unwrap_or_default();
    ctx.metrics().repaired(Repair::Republished, count);
    Ok(report)
}

#[cfg(test)]
mod tests;
