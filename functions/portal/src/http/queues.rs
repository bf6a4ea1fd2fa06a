//! What waits, how much of it may go on, and what stands still: named queues and tasks.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use queue::lanes::{self, Lane};
use queue::rules::{self, OwnScope, PauseKind};
use queue::{By, RuleError};
use serde::Deserialize;

use super::problem::Problem;
use super::rows::with_query;
use super::session::{Posted, Signed};
use crate::views::queues::{LanesPage, Which, lanes as view};

/// Rows of a page.
const ROWS: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

pub(super) async fn queues(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<After>,
) -> Result<Markup, Problem> {
    list(&ctx, &signed, Which::Queues, &query).await
}

pub(super) async fn tasks(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<After>,
) -> Result<Markup, Problem> {
    list(&ctx, &signed, Which::Tasks, &query).await
}

async fn list(ctx: &Ctx, signed: &Signed, which: Which, query: &After) -> Result<Markup, Problem> {
    let mut tx = signed.begin(ctx).await?;
    let page = read(&mut tx, signed, which, query).await?;
    tx.commit().await?;
    Ok(view(&signed.reader(), &page))
}

pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    which: Which,
    After { after }: &After,
) -> Result<LanesPage, Problem> {
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    // One more than is shown says whether there is another page.
    let mut rows = match which {
        Which::Queues => lanes::queues(tx, after.as_deref(), limit).await?,
        Which::Tasks => lanes::tasks(tx, after.as_deref(), limit).await?,
    };
    let pauses = rules::own_pauses(tx).await?;
    let limits = match which {
        Which::Queues => Vec::new(),
        Which::Tasks => rules::own_limits(tx).await?,
    };
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let name = |lane: &Lane| lane.queue.clone().unwrap_or_else(|| lane.task.clone());
    let live_href = match which {
        Which::Queues => "/live/queues",
        Which::Tasks => "/live/tasks",
    };
    Ok(LanesPage {
        which,
        next_href: rows
            .last()
            .filter(|_| more)
            .map(|last| with_query(which.href(), &[("after", Some(&name(last)))])),
        is_first: after.is_none(),
        rows,
        pauses,
        limits,
        may_operate: signed.may_operate(),
        live_href: with_query(live_href, &[("after", after.as_deref())]),
    })
}

/// What to let stand still: a task, a queue, or, with neither, everything.
#[derive(Deserialize)]
pub(super) struct Stop {
    kind: PauseKind,
    #[serde(default)]
    task: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    why: String,
}

pub(super) async fn stop(
    State(ctx): State<Ctx>,
    signed: Signed,
    Posted(asked): Posted<Stop>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let (scope, back) = match (&*asked.task, &*asked.queue) {
        ("", "") => (OwnScope::All, Which::Queues),
        (task, "") => (OwnScope::Task(task), Which::Tasks),
        ("", queue) => (OwnScope::Queue(queue), Which::Queues),
        (_, _) => return Err(Problem::Unreadable),
    };
    let by = By {
        name: signed.name(),
        why: said(&asked.why),
    };
    let mut tx = signed.begin(&ctx).await?;
    let id = rules::pause_own(&mut tx, asked.kind, scope, by).await?;
    tx.commit().await?;
    tracing::info!(pause.id = id, tenant.id = %signed.tenant, "paused or drained");
    Ok(Redirect::to(back.href()).into_response())
}

#[derive(Deserialize)]
pub(super) struct GoOn {
    #[serde(default)]
    back: String,
}

pub(super) async fn go_on(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(GoOn { back }): Posted<GoOn>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    let by = By {
        name: signed.name(),
        why: None,
    };
    let mut tx = signed.begin(&ctx).await?;
    let lifted = rules::resume_own(&mut tx, id, by).await;
    tx.commit().await?;
    match lifted {
        // Somebody was quicker: it goes on.
        Ok(_) | Err(RuleError::Missing(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let which = if back == Which::Tasks.href() {
        Which::Tasks
    } else {
        Which::Queues
    };
    Ok(Redirect::to(which.href()).into_response())
}

/// What somebody wrote, if they wrote something.
pub(super) fn said(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}
