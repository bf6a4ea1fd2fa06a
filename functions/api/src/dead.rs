//! A tenant's dead jobs: found, replayed, purged. Some are named and dealt with at once; all that match are dealt with by a
//! job, whose progress is that job's.

use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use http::StatusCode;
use http::header::{CACHE_CONTROL, LOCATION};
use model::{JobId, Role};
use queue::dead::{self, DeadDeed, DeadFilter, DeadJob, DeadPlace, NAMED_MAX};
use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer};

/// A place in the list as text: microseconds since 1970, and the job.
struct Place(DeadPlace);

/// A text that is no place.
struct NotAPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.at.timestamp_micros(), self.0.job)
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (at, job) = text.split_once(':').ok_or(NotAPlace)?;
        let micros = at.parse().map_err(|_| NotAPlace)?;
        Ok(Self(DeadPlace {
            at: DateTime::from_timestamp_micros(micros).ok_or(NotAPlace)?,
            job: job.parse().map_err(|_| NotAPlace)?,
        }))
    }
}

/// A piece may be short, or empty, and yet have a next one: only so many jobs are looked at in one request.
pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<DeadJob>> {
    let filter = DeadFilter {
        task: asked.parsed("task")?,
        queue: asked.parsed("queue")?,
        key: asked.parsed("key")?,
        since: asked.parsed("since")?,
        until: asked.parsed("until")?,
        reason: asked.parsed("reason")?,
    };
    let (after, limit) = asked.piece::<Place>()?;
    let mut tx = asked.begin().await?;
    let piece = dead::dead(
        &mut tx,
        &filter,
        after.map(|place| place.0),
        crate::rows(limit),
    )
    .await?;
    tx.commit().await?;
    let next = piece
        .next
        .map(|place| asked.cursor(&Place(place).to_string()))
        .transpose()?;
    answer(Piece {
        items: piece.jobs,
        next,
    })
}

/// Which dead jobs: these, or all that match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meant {
    jobs: Option<Vec<JobId>>,
    filter: Option<DeadFilter>,
}

enum Which {
    Named(Vec<JobId>),
    Matching(DeadFilter),
}

impl Meant {
    fn which(self) -> Result<Which, Problem> {
        match (self.jobs, self.filter) {
            (Some(jobs), None) if (1..=NAMED_MAX).contains(&jobs.len()) => Ok(Which::Named(jobs)),
            (None, Some(filter)) => Ok(Which::Matching(filter)),
            _ => Err(Problem::BadBody(format!(
                "say which: {{\"jobs\": [1 to {NAMED_MAX} ids]}}, or {{\"filter\": {{...}}}} for all that match"
            ))),
        }
    }
}

/// A dead job and the one that took over.
#[derive(Serialize)]
struct Replayed {
    job: JobId,
    #[serde(rename = "as")]
    new: JobId,
}

#[derive(Serialize)]
struct AllReplayed {
    replayed: Vec<Replayed>,
    missing: Vec<JobId>,
}

pub(crate) async fn replay(asked: Asked, Given(meant): Given<Meant>) -> Result<Response, Problem> {
    let by = asked.may(Role::Operator)?;
    let jobs = match meant.which()? {
        Which::Named(jobs) => jobs,
        Which::Matching(filter) => return ask(&asked, DeadDeed::Replay, &filter, by).await,
    };
    let mut tx = asked.begin().await?;
    let done = dead::replay_own(&mut tx, &jobs, by).await?;
    tx.commit().await?;
    let mut all = AllReplayed {
        replayed: Vec::new(),
        missing: Vec::new(),
    };
    for (job, new) in done {
        match new {
            Some(new) => all.replayed.push(Replayed { job, new }),
            None => all.missing.push(job),
        }
    }
    Ok(answer(all).into_response())
}

#[derive(Serialize)]
struct AllPurged {
    purged: Vec<JobId>,
    missing: Vec<JobId>,
}

pub(crate) async fn purge(asked: Asked, Given(meant): Given<Meant>) -> Result<Response, Problem> {
    let by = asked.may(Role::Admin)?;
    let jobs = match meant.which()? {
        Which::Named(jobs) => jobs,
        Which::Matching(filter) => return ask(&asked, DeadDeed::Purge, &filter, by).await,
    };
    let mut tx = asked.begin().await?;
    let done = dead::purge_own(&mut tx, &jobs, by).await?;
    tx.commit().await?;
    let (purged, missing): (Vec<_>, Vec<_>) = done.into_iter().partition(|(_, purged)| *purged);
    let ids = |rows: Vec<(JobId, bool)>| rows.into_iter().map(|(job, _)| job).collect();
    Ok(answer(AllPurged {
        purged: ids(purged),
        missing: ids(missing),
    })
    .into_response())
}

/// The job that does it.
#[derive(Serialize)]
struct AskedFor {
    job: JobId,
}

async fn ask(
    asked: &Asked,
    deed: DeadDeed,
    filter: &DeadFilter,
    by: &str,
) -> Result<Response, Problem> {
    let mut tx = asked.begin().await?;
    let job = dead::ask_own(&mut tx, deed, filter, by).await?;
    tx.commit().await?;
    let headers = [
        (LOCATION, format!("/jobs/{job}")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::ACCEPTED, headers, Json(AskedFor { job })).into_response())
}
