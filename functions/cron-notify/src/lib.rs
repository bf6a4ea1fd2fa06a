//! Sends the messages that `notify` wrote down: signed as Standard Webhooks describes, tried again by its schedule, and each
//! attempt kept with what was answered.
//!
//! An endpoint that answers 410, or fails for days, is switched off and its messages wait; who runs it is told on `observed`,
//! by way of other endpoints. A message is taken by one of two that run at once; where one dies the next takes it, and its
//! receiver knows it by its id.

mod send;

use std::time::Duration;

use anyhow::Context as _;
use egress::TenantEgress;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use host::{Ctx, Env, Function, Kind, Routes, SettingsError};
use model::DatabaseRole;
use serde::{Deserialize, Serialize};
use store::notifications::{DueNotification, Ended};
use tokio::time::Instant;

use crate::send::{SEND_MAX, send};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes,
};

/// Messages taken at once.
const BATCH: i32 = 32;
/// Of them, to one endpoint.
const PER_ENDPOINT: i32 = 4;
/// Messages under way at once.
const CONCURRENCY: usize = 16;
/// How long a pass goes on taking messages while there are more. The next tick goes on where it ended.
const PASS: Duration = Duration::from_secs(10);
/// For how long a message is taken: longer than a batch of silent receivers takes.
const TAKEN: Duration = Duration::from_secs(10 * SEND_MAX.as_secs());
/// Messages that are forgotten by one tick.
const FORGET_BATCH: i32 = 500;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Deserialize)]
struct Settings {
    /// After how many days of failures an endpoint is switched off.
    #[serde(default = "notify_failing_days")]
    notify_failing_days: u32,
    /// How many days messages are kept after they came to their end.
    #[serde(default = "notifications_kept_days")]
    notifications_kept_days: u32,
}

const fn notify_failing_days() -> u32 {
    5
}

const fn notifications_kept_days() -> u32 {
    30
}

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    delivered: usize,
    /// Attempts that failed and will be followed by another.
    again: usize,
    /// Messages that are given up.
    failed: usize,
    forgotten: i32,
}

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    // It opens the secrets that messages are signed with.
    env.require("MASTER_KEY_FILE")?;
    let settings: Settings = env.parse()?;
    for (name, days) in [
        ("NOTIFY_FAILING_DAYS", settings.notify_failing_days),
        ("NOTIFICATIONS_KEPT_DAYS", settings.notifications_kept_days),
    ] {
        if days == 0 {
            return Err(SettingsError::wrong(name, "a day is the least"));
        }
    }
    let egress = env.tenant_egress()?;
    Ok(host::reconciler(move |ctx| {
        reconcile(ctx, egress.clone(), settings.clone())
    }))
}

async fn reconcile(ctx: Ctx, egress: TenantEgress, settings: Settings) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let failing_max = DAY * settings.notify_failing_days;
    let mut report = Report::default();
    while begun.elapsed() < PASS {
        let due = ctx
            .store()
            .take_notifications(ctx.keyring()?, TAKEN, BATCH, PER_ENDPOINT)
            .await
            .context("could not look for messages that are due")?;
        if due.is_empty() {
            break;
        }
        let ended: Vec<Option<Ended>> = stream::iter(due)
            .map(|due| one(&ctx, &egress, due, failing_max))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        for ended in ended.into_iter().flatten() {
            match ended {
                Ended::Delivered => report.delivered += 1,
                Ended::Again(_) => report.again += 1,
                Ended::Failed | Ended::Gone => report.failed += 1,
            }
        }
    }
    report.forgotten = ctx
        .store()
        .forget_notifications(DAY * settings.notifications_kept_days, FORGET_BATCH)
        .await
        .context("could not forget old messages")?;
    Ok(report)
}

/// Sends one message. Returns how the attempt ended; nothing when another began meanwhile.
async fn one(
    ctx: &Ctx,
    egress: &TenantEgress,
    due: DueNotification,
    failing_max: Duration,
) -> anyhow::Result<Option<Ended>> {
    let attempt = send(egress, &due, ctx.now()).await;
    tracing::debug!(
        notification.id = %due.id,
        notification.attempt = due.attempt,
        http.status = attempt.status,
        "an attempt ended"
    );
    let kept = ctx
        .store()
        .end_notification(&due, &attempt, failing_max)
        .await
        .context("could not write down how a message fared")?;
    Ok(kept.then_some(attempt.ended))
}

#[cfg(test)]
mod tests;
