//! A person's word on a plan that waits for it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use host::Ctx;
use queue::{Decided, decide_own};
use serde::Deserialize;

use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};

/// The plan that was read.
#[derive(Deserialize)]
pub(super) struct Read {
    sha256: String,
}

pub(super) async fn approve(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(read): Posted<Read>,
) -> Result<Response, Problem> {
    decide(&ctx, &signed, &id, true, &read).await
}

pub(super) async fn reject(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(read): Posted<Read>,
) -> Result<Response, Problem> {
    decide(&ctx, &signed, &id, false, &read).await
}

async fn decide(
    ctx: &Ctx,
    signed: &Signed,
    id: &str,
    approve: bool,
    read: &Read,
) -> Result<Response, Problem> {
    let id = rows::job_id(id)?;
    let mut tx = signed.begin(ctx).await?;
    signed.operate()?;
    let decided = decide_own(&mut tx, id, approve, &read.sha256, signed.name()).await?;
    tx.commit().await?;
    let language = signed.visitor.language;
    let why = match decided {
        Decided::Approved | Decided::Rejected => {
            tracing::info!(job.id = %id, tenant.id = %signed.tenant, approve, "a plan was decided on");
            return Ok(Redirect::to(&format!("/jobs/{id}")).into_response());
        }
        Decided::Absent => return Err(Problem::NotFound),
        Decided::Superseded => language.t("decide-superseded"),
        Decided::Expired => language.t("decide-expired"),
        Decided::Before => language.t("decide-before"),
        Decided::NotWaiting => language.t("decide-not-waiting"),
        Decided::OtherPlan => language.t("decide-other-plan"),
        Decided::Moved => language.t("decide-moved"),
        Decided::Untrusted => language.t("decide-untrusted"),
    };
    Err(Problem::Refused(why))
}
