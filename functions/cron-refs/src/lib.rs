//! Looks at Git repositories by the clock, for those whose hooks do not come: what changed there since a hook or a look last
//! told of it becomes the event that a hook would have made.
//!
//! A repository is looked at once for all triggers that watch it. A look is one request; one that fails is repeated ever
//! later, up to an hour, and the watch says why. Two at once are safe: a place is taken by one of them.

mod look;

use std::time::Duration;

use anyhow::Context as _;
use egress::TenantEgress;
use host::{Ctx, Env, Function, Kind, Routes, SettingsError};
use model::DatabaseRole;
use serde::Serialize;
use store::watch::{EndedLook, Place, PlaceKind, compare};

use crate::look::{Failure, LOOK_MAX};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes,
};

/// Places taken, and looked at, at once.
const BATCH: i32 = 8;
/// How long a pass goes on taking places while there are more. The next tick goes on where it ended.
const PASS: Duration = Duration::from_secs(20);
/// For how long a place is taken: longer than a look and its writing take.
const TAKEN: Duration = Duration::from_secs(2 * LOOK_MAX.as_secs());
/// How long a hook may take before what a look found counts as not told by it.
const SILENT_AFTER: Duration = Duration::from_secs(10 * 60);
/// Silent hooks that are written down by one tick.
const SILENT_BATCH: i32 = 100;

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Repositories that were looked at.
    looked: usize,
    /// Of them, those where that failed.
    failed: usize,
    /// Changes that were told.
    told: i32,
    /// Changes that no hook told of.
    silent: i32,
}

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    // It opens credentials.
    env.require("MASTER_KEY_FILE")?;
    let egress = env.tenant_egress()?;
    Ok(host::reconciler(move |ctx| reconcile(ctx, egress.clone())))
}

async fn reconcile(ctx: Ctx, egress: TenantEgress) -> anyhow::Result<Report> {
    let take = async || {
        ctx.store()
            .take_places(ctx.keyring()?, PlaceKind::Git, TAKEN, BATCH)
            .await
            .context("could not look for repositories that are due")
    };
    let looked = host::pass(PASS, BATCH, take, |place| one(&ctx, &egress, place)).await?;
    let silent = ctx
        .store()
        .flag_silent_hooks(SILENT_AFTER, SILENT_BATCH)
        .await
        .context("could not write down which hooks are silent")?;
    Ok(Report {
        looked: looked.len(),
        failed: looked.iter().filter(|told| told.is_none()).count(),
        told: looked.into_iter().flatten().sum(),
        silent,
    })
}

/// Looks at one repository. Returns how many changes were told; nothing when the look failed, which is kept with the place.
async fn one(ctx: &Ctx, egress: &TenantEgress, place: Place) -> anyhow::Result<Option<i32>> {
    let store = ctx.store();
    let watches = store
        .watches_of(&place)
        .await
        .context("could not read who watches a repository")?;
    let looked = tokio::time::timeout(LOOK_MAX, look::look(egress, &place, &watches)).await;
    let looked = looked.unwrap_or_else(|_| {
        let problem = format!("the look took longer than {} s", LOOK_MAX.as_secs());
        Err(Failure::from(problem))
    });
    match looked {
        Ok(listing) => {
            let compared = compare(&watches, &listing, &[], "");
            let events = compared
                .changes
                .iter()
                .map(|change| look::event(&place, change));
            let events = events.collect::<Result<Vec<_>, _>>();
            let ended = EndedLook {
                listing: &listing,
                etag: None,
                compared: &compared,
                events: &events.context("a change could not be written as JSON")?,
            };
            let told = store.end_look(&place, ended).await;
            told.map(Some).context("could not record what a look found")
        }
        Err(Failure { problem, wait }) => {
            tracing::info!(place.url = place.url, problem, "a look failed");
            store
                .fail_look(&place, &problem, wait)
                .await
                .context("could not record that a look failed")?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
