//! Reads what logs say and tells of what rules look for: each match is a row of the log of events, which is told on
//! `observed`, and starts work only where its rule says so.
//!
//! What started from a match starts nothing again, however its log matches; and what this function and `notify` do themselves
//! is in no log that is read here. Lines are read by snapshots, so none is left out because it was committed late, and none is
//! read twice: of two that read the same lines one's reading counts.

mod engine;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use host::{Ctx, Function, Kind};
use model::{DatabaseRole, TenantId};
use serde::Serialize;
use store::log_rules::{LogSource, Unread};
use tokio::time::Instant;

use crate::engine::Engine;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes: |_| Ok(host::reconciler(reconcile)),
};

/// Lines that are read by one statement.
const BATCH: i32 = 500;
/// How long a pass goes on while there is more. The next tick goes on where it ended.
const PASS: Duration = Duration::from_secs(15);

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Lines that matched a rule, once for each.
    matched: usize,
    /// Of them, those that were told.
    told: i32,
}

async fn reconcile(ctx: Ctx) -> anyhow::Result<Report> {
    let begun = Instant::now();
    // Rules as they were when the tick began: a change is seen by the next one.
    let mut engine = Engine::default();
    let mut report = Report::default();
    for source in LogSource::ALL {
        while begun.elapsed() < PASS {
            let unread = ctx
                .store()
                .unread_lines(source, BATCH)
                .await
                .context("could not read logs")?;
            let Some(unread) = unread else { break };
            learn(&ctx, &mut engine, &unread).await?;
            let matches = engine.matches(source, &unread.lines);
            let told = ctx
                .store()
                .record_log_matches(source, &unread, &matches)
                .await
                .context("could not record what matched")?;
            // Another reads as well; what it recorded is not ours to count.
            let Some(told) = told else { break };
            report.matched += matches.len();
            report.told += told;
            if unread.lines.is_empty() {
                break;
            }
        }
    }
    Ok(report)
}

/// Reads the rules of tenants that were not met before in this tick.
async fn learn(ctx: &Ctx, engine: &mut Engine, unread: &Unread) -> anyhow::Result<()> {
    let strangers: BTreeSet<TenantId> = unread
        .lines
        .iter()
        .map(|line| line.tenant)
        .filter(|tenant| !engine.knows(*tenant))
        .collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let strangers: Vec<TenantId> = strangers.into_iter().collect();
    let mut rules = ctx
        .store()
        .log_rules_of(&strangers)
        .await
        .context("could not read the rules")?;
    for tenant in strangers {
        let own = rules.extract_if(.., |rule| rule.tenant == tenant);
        engine.add(tenant, own);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
