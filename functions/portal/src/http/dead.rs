//! Jobs that nothing tries again by itself: found, replayed, purged; one, or all that match.

use std::fmt::{self, Write as _};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use database::TenantTx;
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use model::JobId;
use queue::dead::{self, DeadDeed, DeadFilter, DeadPlace, NAMED_MAX};
use serde::de::value::StrDeserializer;
use serde::de::{Error as _, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;
use super::queues::said;
use super::rows::{self, with_query};
use super::session::{Posted, Signed};
use crate::views::dead::{
    AllPage, ChosenPage, DeadOutcome, DeadPage, all as ask_view, chosen as chosen_view,
    dead as view,
};
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
    Query(told): Query<Told>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let mut page = read(&mut tx, &signed, &query).await?;
    tx.commit().await?;
    page.outcome = told.outcome();
    Ok(view(&signed.reader(), &page))
}

pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    query: &ListQuery,
) -> Result<DeadPage, Problem> {
    let filter = query.filter()?;
    let after = said(&query.after)
        .map(|text| place(text).ok_or(Problem::NotFound))
        .transpose()?;
    let piece = dead::dead(tx, &filter, after, ROWS).await?;
    let next = piece
        .next
        .map(|place| format!("{}-{}", place.at.timestamp_micros(), place.job));
    let operates = signed.may_operate() && !piece.jobs.is_empty();
    let here = ("after", said(&query.after));
    Ok(DeadPage {
        next_href: next
            .as_deref()
            .map(|next| query.href("/dead", ("after", Some(next)))),
        is_first: after.is_none(),
        chosen_href: query.href("/dead/chosen", here),
        replay_all_href: operates.then(|| query.href("/dead/all", ("deed", Some("replay")))),
        purge_all_href: (operates && signed.may_administer())
            .then(|| query.href("/dead/all", ("deed", Some("purge")))),
        may_operate: signed.may_operate(),
        may_purge: signed.may_administer(),
        rows: piece.jobs,
        filter,
        outcome: None,
        live_href: query.href("/live/dead", here),
    })
}

/// What a list says of what was done before it was opened.
#[derive(Deserialize)]
pub(super) struct Told {
    did: Option<DeadDeed>,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    missing: u32,
}

impl Told {
    fn outcome(&self) -> Option<DeadOutcome> {
        let &Self {
            did,
            count,
            missing,
        } = self;
        did.map(|deed| DeadOutcome::Done {
            deed,
            count,
            missing,
        })
    }
}

/// Which jobs were chosen in a list, and for what. A name may stand there many times, which no struct can read.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    deed: Option<DeadDeed>,
    jobs: Vec<JobId>,
    /// Whether the question was answered.
    sure: bool,
}

impl<'de> Deserialize<'de> for Chosen {
    fn deserialize<D: Deserializer<'de>>(fields: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Chosen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the fields of a form")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Chosen, M::Error> {
                let mut chosen = Chosen::default();
                while let Some(name) = fields.next_key::<String>()? {
                    let value: String = fields.next_value()?;
                    match name.as_str() {
                        "job" => chosen.jobs.push(value.parse().map_err(M::Error::custom)?),
                        "sure" => chosen.sure = true,
                        "deed" => {
                            let deed = value.as_str().into_deserializer();
                            chosen.deed = Some(DeadDeed::deserialize::<
                                StrDeserializer<'_, M::Error>,
                            >(deed)?);
                        }
                        // Where the list was: read by itself.
                        _ => {}
                    }
                }
                Ok(chosen)
            }
        }
        fields.deserialize_map(Fields)
    }
}

/// Deals with the jobs that were chosen. Those that are to be forgotten are asked about first.
pub(super) async fn choose(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<ListQuery>,
    Posted(Chosen { deed, jobs, sure }): Posted<Chosen>,
) -> Result<Response, Problem> {
    let deed = deed.ok_or(Problem::Unreadable)?;
    may(&signed, deed)?;
    let here = ("after", said(&query.after));
    if jobs.len() > NAMED_MAX {
        return Err(Problem::Unreadable);
    }
    let mut tx = signed.begin(&ctx).await?;
    if jobs.is_empty() {
        let mut page = read(&mut tx, &signed, &query).await?;
        tx.commit().await?;
        page.outcome = Some(DeadOutcome::NoneChosen);
        let page = view(&signed.reader(), &page);
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let done: Vec<bool> = match deed {
        DeadDeed::Replay => {
            let done = dead::replay_own(&mut tx, &jobs, signed.name()).await?;
            done.into_iter().map(|(_, new)| new.is_some()).collect()
        }
        DeadDeed::Purge if sure => {
            let done = dead::purge_own(&mut tx, &jobs, signed.name()).await?;
            done.into_iter().map(|(_, purged)| purged).collect()
        }
        DeadDeed::Purge => {
            let mut question = query.href("/dead/chosen", here);
            question.push(if question.contains('?') { '&' } else { '?' });
            question.push_str("deed=purge");
            for job in jobs {
                write!(question, "&job={job}").expect("a string takes all");
            }
            return Ok(Redirect::to(&question).into_response());
        }
    };
    tx.commit().await?;
    let count = done.iter().filter(|done| **done).count();
    tracing::info!(tenant.id = %signed.tenant, deed = deed.as_str(), count, "dealt with chosen dead jobs");
    let mut back = query.href("/dead", ("did", Some(deed.as_str())));
    write!(back, "&count={count}").expect("a string takes all");
    if count < done.len() {
        write!(back, "&missing={}", done.len() - count).expect("a string takes all");
    }
    Ok(Redirect::to(&back).into_response())
}

/// The question before those that were chosen are forgotten.
pub(super) async fn ask_chosen(
    signed: Signed,
    Query(query): Query<ListQuery>,
    Query(Chosen { deed, jobs, .. }): Query<Chosen>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    if deed != Some(DeadDeed::Purge) || jobs.is_empty() || jobs.len() > NAMED_MAX {
        return Err(Problem::NotFound);
    }
    let page = ChosenPage {
        jobs,
        action: query.href("/dead/chosen", ("after", said(&query.after))),
        back_href: query.href("/dead", ("after", said(&query.after))),
    };
    Ok(chosen_view(&signed.reader(), &page))
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
        DeadDeed::Purge => signed.administer(),
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
