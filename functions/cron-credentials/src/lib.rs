//! Looks by the clock whether credentials still open what they are for, so that people are told before work fails.
//!
//! Each is shown to the host that it is for, by the least request that needs it, and nowhere else. What was refused, or ends
//! soon, is told once, with what will fail without it; who does not answer is asked again, ever later. Two at once are safe: a
//! credential is taken by one of them.

mod check;

use std::time::Duration;

use anyhow::Context as _;
use egress::TenantEgress;
use host::{Ctx, Env, Function, Kind, Routes, SettingsError};
use model::DatabaseRole;
use serde::Serialize;
use store::credentials::{CredentialChecked, CredentialState, DueCredential};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes,
};

/// Credentials taken at once, and looked at at once.
const BATCH: i32 = 4;
/// How long one look may take.
const CHECK_MAX: Duration = Duration::from_secs(20);
/// Between two looks at one credential.
const AGAIN: Duration = Duration::from_secs(3_600);
/// How long a pass goes on taking credentials while there are more. The next tick goes on where it ended.
const PASS: Duration = Duration::from_secs(20);
/// For how long a credential is taken: longer than a look and its writing take.
const TAKEN: Duration = Duration::from_secs(2 * CHECK_MAX.as_secs());

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Credentials that were looked at.
    looked: usize,
    /// Of them, those that were refused, or end soon.
    bad: usize,
    /// Of them, those of which people were told something.
    told: usize,
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
            .take_credentials(ctx.keyring()?, TAKEN, BATCH)
            .await
            .context("could not look for credentials that are due")
    };
    let mut report = Report::default();
    for (state, told) in host::pass(PASS, BATCH, take, |due| one(&ctx, &egress, due)).await? {
        report.looked += 1;
        let bad = matches!(state, CredentialState::Bad | CredentialState::Ending);
        report.bad += usize::from(bad);
        report.told += usize::from(told);
    }
    Ok(report)
}

/// Looks at one credential, and whether people were told of it.
async fn one(
    ctx: &Ctx,
    egress: &TenantEgress,
    due: DueCredential,
) -> anyhow::Result<(CredentialState, bool)> {
    let looked = tokio::time::timeout(CHECK_MAX, check::check(egress, &due, ctx.now())).await;
    let found = looked.unwrap_or_else(|_| CredentialChecked {
        state: CredentialState::Unsure,
        problem: Some(format!("no answer within {} s", CHECK_MAX.as_secs())),
        ends_at: None,
    });
    let told = ctx
        .store()
        .end_credential_check(&due, &found, AGAIN)
        .await
        .context("could not record what a look at a credential found")?;
    if told {
        tracing::info!(
            credential.name = due.name,
            state = found.state.as_str(),
            problem = found.problem,
            "a credential is otherwise than before"
        );
    }
    Ok((found.state, told))
}

#[cfg(test)]
mod tests;
