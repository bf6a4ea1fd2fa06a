//! What starts by the clock: the list, one schedule with its ticks, pausing, resuming, running by hand.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use queue::schedules::{self, Plan, Rule, ScheduleId};
use serde::Deserialize;

use super::problem::Problem;
use super::queues::said;
use super::rows::with_query;
use super::session::{Posted, Signed};
use crate::views::model::FormProblem;
use crate::views::schedules::{
    SchedulePage, SchedulesPage, schedule as view_of, schedules as list_view,
};

/// Rows of a page.
const ROWS: usize = 50;
/// Ticks of a page, the newest.
const TICKS: usize = 20;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Before {
    before: Option<String>,
}

pub(super) fn named(id: &str) -> Result<ScheduleId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<Before>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = read_list(&mut tx, &signed, &query).await?;
    tx.commit().await?;
    Ok(list_view(&signed.reader(), &view))
}

pub(super) async fn read_list(
    tx: &mut TenantTx,
    signed: &Signed,
    Before { before }: &Before,
) -> Result<SchedulesPage, Problem> {
    let from = before.as_deref().map(named).transpose()?;
    // One more than is shown says whether there is another page.
    let mut rows = schedules::list(tx, from, ROWS + 1).await?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    Ok(SchedulesPage {
        next_href: rows
            .last()
            .filter(|_| more)
            .map(|last| with_query("/schedules", &[("before", Some(&last.id.to_string()))])),
        is_first: from.is_none(),
        rows,
        may_declare: signed.may_administer(),
        live_href: with_query("/live/schedules", &[("before", before.as_deref())]),
    })
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let id = named(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let view = read(&mut tx, &signed, id).await?;
    tx.commit().await?;
    Ok(view_of(&signed.reader(), &view.ok_or(Problem::NotFound)?))
}

pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    id: ScheduleId,
) -> Result<Option<SchedulePage>, Problem> {
    let Some(mut schedule) = schedules::find(tx, id).await? else {
        return Ok(None);
    };
    schedule.payload = signed.payload(&schedule.task, schedule.payload);
    let ticks = schedules::ticks(tx, id, None, TICKS).await?;
    // Read again rather than as it was recorded: for its words in the reader's language.
    let problem = Rule::parse(&schedule.schedule_info, schedule.time_zone.as_deref()).err();
    Ok(Some(SchedulePage {
        problem: problem.map(FormProblem::of),
        schedule,
        ticks,
        may_operate: signed.may_operate(),
        may_declare: signed.may_administer(),
        live_href: format!("/live/schedules/{id}"),
    }))
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
