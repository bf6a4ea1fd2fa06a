//! What starts by the clock: the list, one schedule with its ticks, pausing, resuming, running by hand.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use host::Ctx;
use maud::Markup;
use queue::schedules::{self, Plan, Rule, ScheduleId};
use serde::Deserialize;

use super::problem::Problem;
use super::queues::said;
use super::rows::with_query;
use super::session::{Posted, Signed};
use crate::views::schedules::{
    SchedulePage, SchedulesPage, schedule as view, schedules as list_view,
};

/// Rows of a page.
const ROWS: usize = 50;
/// Ticks of a page, the newest.
const TICKS: usize = 20;

#[derive(Deserialize)]
pub(super) struct Before {
    before: Option<String>,
}

fn named(id: &str) -> Result<ScheduleId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(Before { before }): Query<Before>,
) -> Result<Markup, Problem> {
    let before = before.as_deref().map(named).transpose()?;
    let mut tx = signed.begin(&ctx).await?;
    // One more than is shown says whether there is another page.
    let mut rows = schedules::list(&mut tx, before, ROWS + 1).await?;
    tx.commit().await?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let page = SchedulesPage {
        next_href: rows
            .last()
            .filter(|_| more)
            .map(|last| with_query("/schedules", &[("before", Some(&last.id.to_string()))])),
        is_first: before.is_none(),
        rows,
    };
    Ok(list_view(&signed.reader(), &page))
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let id = named(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = schedules::find(&mut tx, id).await?;
    let ticks = schedules::ticks(&mut tx, id, None, TICKS).await?;
    tx.commit().await?;
    let page = SchedulePage {
        schedule: found.ok_or(Problem::NotFound)?,
        ticks,
        may_operate: signed.may_operate(),
    };
    Ok(view(&signed.reader(), &page))
}

#[derive(Deserialize)]
pub(super) struct Pause {
    #[serde(default)]
    why: String,
}

pub(super) async fn pause(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Pause { why }): Posted<Pause>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id = named(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let paused = schedules::pause(&mut tx, id, signed.name(), said(&why)).await?;
    tx.commit().await?;
    if !paused {
        return Err(Problem::NotFound);
    }
    Ok(Redirect::to(&format!("/schedules/{id}")).into_response())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn resume(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id = named(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = schedules::find(&mut tx, id)
        .await?
        .ok_or(Problem::NotFound)?;
    let rule = Rule::parse(&found.schedule_info, found.time_zone.as_deref())
        .map_err(|error| Problem::Refused(error.to_string()))?;
    let plan = Plan::after(&rule, schedules::now(&mut tx).await?);
    schedules::resume(&mut tx, id, &plan).await?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/schedules/{id}")).into_response())
}

pub(super) async fn run(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id = named(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let job = schedules::run(&mut tx, id, signed.name())
        .await
        .map_err(queue::RuleError::from)?
        .ok_or(Problem::NotFound)?;
    tx.commit().await?;
    tracing::info!(job.id = %job, schedule.id = %id, tenant.id = %signed.tenant, "run by hand");
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}
