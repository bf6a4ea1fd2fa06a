//! Keeps workspaces in step with their Git repositories: what the branch has is read when it is somewhere else than it was,
//! and the templates in it are listed.
//!
//! A look is one request where nothing changed. One that fails is repeated ever later, up to an hour, and the workspace says
//! why; what was found before stays. Two at once are safe: a workspace is taken by one of them.

mod sync;
mod templates;

use std::time::Duration;

use anyhow::Context as _;
use git::{FetchSettings, Fetcher};
use host::{Ctx, Env, Function, Kind, Routes, SettingsError};
use model::DatabaseRole;
use serde::Serialize;
use store::workspaces::StoredWorkspace;

use crate::sync::{Failure, Synced};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes,
};

/// Workspaces taken, and looked at, at once.
const BATCH: i32 = 2;
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// How long a pass goes on taking workspaces while there are more. The next tick goes on where it ended.
const PASS: Duration = Duration::from_secs(20);
/// For how long a workspace is taken: longer than a look and its writing take.
const TAKEN: Duration = Duration::from_secs(2 * LOOK_MAX.as_secs());

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Workspaces that were looked at.
    looked: usize,
    /// Of them, those that were somewhere else and were read.
    read: usize,
    /// Of them, those where that failed.
    failed: usize,
}

/// What a look came to.
enum Looked {
    Same,
    Read,
    Failed,
}

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    // It opens credentials.
    env.require("MASTER_KEY_FILE")?;
    let egress = env.tenant_egress()?;
    let fetcher = env
        .parse::<FetchSettings>()?
        .fetcher(egress, LOOK_MAX)
        .map_err(|error| SettingsError::wrong(error.setting(), &error))?;
    Ok(host::reconciler(move |ctx| reconcile(ctx, fetcher.clone())))
}

async fn reconcile(ctx: Ctx, fetcher: Fetcher) -> anyhow::Result<Report> {
    let take = async || {
        ctx.store()
            .take_workspaces(ctx.keyring()?, TAKEN, BATCH)
            .await
            .context("could not look for workspaces that are due")
    };
    let one = |workspace| one(&ctx, &fetcher, workspace);
    let mut report = Report::default();
    for looked in host::pass(PASS, BATCH, take, one).await? {
        report.looked += 1;
        match looked {
            Looked::Same => {}
            Looked::Read => report.read += 1,
            Looked::Failed => report.failed += 1,
        }
    }
    Ok(report)
}

/// Looks at one workspace. A failure of the other side is kept with the workspace.
async fn one(ctx: &Ctx, fetcher: &Fetcher, workspace: StoredWorkspace) -> anyhow::Result<Looked> {
    let store = ctx.store();
    let looked = tokio::time::timeout(LOOK_MAX, sync::sync(fetcher, &workspace)).await;
    let looked = looked.unwrap_or_else(|_| {
        let problem = format!("the look took longer than {} s", LOOK_MAX.as_secs());
        Err(Failure::from(problem))
    });
    match looked {
        Ok(Synced::Same) => {
            store
                .end_idle_sync(&workspace)
                .await
                .context("could not record a look at a workspace")?;
            Ok(Looked::Same)
        }
        Ok(Synced::Read {
            commit,
            templates,
            warnings,
        }) => {
            store
                .end_sync(&workspace, &commit, &templates, &warnings)
                .await
                .context("could not record what a workspace has")?;
            tracing::info!(
                workspace.name = workspace.name,
                commit,
                templates = templates.len(),
                "a workspace is in step"
            );
            Ok(Looked::Read)
        }
        Err(Failure { problem, wait }) => {
            tracing::info!(workspace.name = workspace.name, problem, "a look failed");
            store
                .fail_sync(&workspace, &problem, wait)
                .await
                .context("could not record that a look failed")?;
            Ok(Looked::Failed)
        }
    }
}

#[cfg(test)]
mod tests;
