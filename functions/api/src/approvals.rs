//! What a person decides of a job that waits for it, having read what it wants to do.

use axum::extract::Path;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use model::{JobId, Role};
use queue::Decided;
use serde::Deserialize;
use serde_json::json;

use crate::asked::{Asked, Given};
use crate::named;
use crate::problem::Problem;

/// What was read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// The SHA-256 of the plan, in hex, as the job's run reports it.
    plan: String,
}

pub(crate) async fn approve(
    id: Path<String>,
    asked: Asked,
    given: Given<Decision>,
) -> Result<impl IntoResponse, Problem> {
    decide(id, asked, given, true).await
}

pub(crate) async fn reject(
    id: Path<String>,
    asked: Asked,
    given: Given<Decision>,
) -> Result<impl IntoResponse, Problem> {
    decide(id, asked, given, false).await
}

async fn decide(
    Path(id): Path<String>,
    asked: Asked,
    Given(decision): Given<Decision>,
    approve: bool,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: JobId = named(&id)?;
    let plan = decision.plan.to_ascii_lowercase();
    if plan.len() != 64 || !plan.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(Problem::BadBody(
            "plan: it is a SHA-256, 64 hexadecimal digits".to_owned(),
        ));
    }
    let mut tx = asked.begin().await?;
    let decided = queue::decide_own(&mut tx, id, approve, &plan, by).await?;
    tx.commit().await?;
    let outcome = match decided {
        Decided::Approved => "approved",
        Decided::Rejected => "rejected",
        Decided::Absent => return Err(Problem::NotFound),
        other => return Err(Problem::Conflict(why_not(other).to_owned())),
    };
    Ok((
        [(CACHE_CONTROL, "no-store")],
        axum::Json(json!({ "outcome": outcome })),
    ))
}

const fn why_not(decided: Decided) -> &'static str {
    match decided {
        Decided::Superseded => "superseded: a newer plan took its place; decide on that one",
        Decided::Expired => "expired: nobody decided in time, and it counts as rejected",
        Decided::Before => "decided: somebody decided before",
        Decided::OtherPlan => "other_plan: what waits is another plan than the one that was named",
        Decided::Moved => {
            "moved: the state has changed since the plan was made; start the run again for a new plan"
        }
        Decided::Untrusted => {
            "untrusted: what comes from a fork is planned and never applied; start a run of the merged change"
        }
        Decided::NotWaiting | Decided::Approved | Decided::Rejected | Decided::Absent => {
            "not_waiting: the job does not wait for a decision"
        }
    }
}
