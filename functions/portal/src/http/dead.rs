//! Jobs that nothing tries again by itself: found, replayed, purged; one, or all that match.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use host::Ctx;
use maud::Markup;
use model::{JobId, Role};
use queue::dead::{self, DeadDeed, DeadFilter, DeadPlace};
use serde::Deserialize;

use super::problem::Problem;
use super::queues::said;
use super::rows::{self, with_query};
use super::session::{Posted, Signed};
use crate::views::dead::{AllPage, DeadPage, all as ask_view, dead as view};
use crate::views::model::Count;

/// Rows of a page.
const ROWS: i64 = 50;

/// What a list is asked for. Empty texts ask for nothing.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    task: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    after: String,
}

impl ListQuery {
    fn filter(&self) -> Result<DeadFilter, Problem> {
        let text = |text: &str| said(text).map(str::to_owned);
        let since = said(&self.since)
            .map(|text| text.parse::<DateTime<Utc>>())
            .transpose()
            .map_err(|_| Problem::NotFound)?;
        Ok(DeadFilter {
            task: text(&self.task),
            queue: text(&self.queue),
            key: text(&self.key),
            since,
            until: None,
            reason: text(&self.reason),
        })
    }

    fn href(&self, path: &str, more: (&str, Option<&str>)) -> String {
        with_query(
            path,
            &[
                ("task", said(&self.task)),
                ("queue", said(&self.queue)),
                ("key", said(&self.key)),
                ("reason", said(&self.reason)),
                ("since", said(&self.since)),
                more,
            ],
        )
    }
}

/// A place as text: microseconds since 1970, and the job.
fn place(text: &str) -> Option<DeadPlace> {
    let (at, job) = text.split_once('-')?;
    Some(DeadPlace {
        at: DateTime::from_timestamp_micros(at.parse().ok()?)?,
        job: job.parse().ok()?,
    })
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Problem> {
    let filter = query.filter()?;
    let after = said(&query.after)
        .map(|text| place(text).ok_or(Problem::NotFound))
        .transpose()?;
    let mut tx = signed.begin(&ctx).await?;
    let piece = dead::dead(&mut tx, &filter, after, ROWS).await?;
    tx.commit().await?;
    let next = piece
        .next
        .map(|place| format!("{}-{}", place.at.timestamp_micros(), place.job));
    let operates = signed.may_operate() && !piece.jobs.is_empty();
    let page = DeadPage {
        next_href: next
            .as_deref()
            .map(|next| query.href("/dead", ("after", Some(next)))),
        is_first: after.is_none(),
        replay_all_href: operates.then(|| query.href("/dead/all", ("deed", Some("replay")))),
        purge_all_href: (operates && signed.role == Role::Admin)
            .then(|| query.href("/dead/all", ("deed", Some("purge")))),
        may_operate: signed.may_operate(),
        may_purge: signed.role == Role::Admin,
        rows: piece.jobs,
        filter,
    };
    Ok(view(&signed.reader(), &page))
}

pub(super) async fn replay(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id: JobId = rows::job_id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let done = dead::replay_own(&mut tx, &[id], signed.name()).await?;
    tx.commit().await?;
    let new = done.into_iter().find_map(|(_, new)| new);
    let new = new.ok_or(Problem::NotFound)?;
    tracing::info!(job.id = %new, replay.of = %id, tenant.id = %signed.tenant, "replayed");
    Ok(Redirect::to(&format!("/jobs/{new}")).into_response())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn purge(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    administer(&signed)?;
    let id: JobId = rows::job_id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let done = dead::purge_own(&mut tx, &[id], signed.name()).await?;
    tx.commit().await?;
    if !done.into_iter().any(|(_, purged)| purged) {
        return Err(Problem::NotFound);
    }
    tracing::info!(job.id = %id, tenant.id = %signed.tenant, "purged");
    Ok(Redirect::to("/dead").into_response())
}

fn administer(signed: &Signed) -> Result<(), Problem> {
    match signed.role {
        Role::Admin => Ok(()),
        Role::Viewer | Role::Operator => Err(Problem::Forbidden),
    }
}

/// What is done to all, and to which.
#[derive(Deserialize)]
pub(super) struct AllQuery {
    deed: DeadDeed,
}

/// The question before it: how many there are, as far as a look tells.
pub(super) async fn ask_all(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(AllQuery { deed }): Query<AllQuery>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Problem> {
    may(&signed, deed)?;
    let filter = query.filter()?;
    let mut tx = signed.begin(&ctx).await?;
    let piece = dead::dead(&mut tx, &filter, None, ROWS).await?;
    tx.commit().await?;
    let found = piece.jobs.len() as u64;
    let page = AllPage {
        deed,
        filter,
        count: if piece.next.is_some() {
            Count::AtLeast(found)
        } else {
            Count::Exact(found)
        },
        action: query.href("/dead/all", ("deed", Some(deed.as_str()))),
        back_href: query.href("/dead", ("after", None)),
    };
    Ok(ask_view(&signed.reader(), &page))
}

fn may(signed: &Signed, deed: DeadDeed) -> Result<(), Problem> {
    match deed {
        DeadDeed::Replay => signed.operate(),
        DeadDeed::Purge => administer(signed),
    }
}

/// Adds the job that does it, and goes to its page, where it tells how far it is.
pub(super) async fn all(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(AllQuery { deed }): Query<AllQuery>,
    Query(query): Query<ListQuery>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    may(&signed, deed)?;
    let filter = query.filter()?;
    let mut tx = signed.begin(&ctx).await?;
    let job = dead::ask_own(&mut tx, deed, &filter, signed.name()).await?;
    tx.commit().await?;
    tracing::info!(job.id = %job, tenant.id = %signed.tenant, "asked to deal with all dead jobs that match");
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}
