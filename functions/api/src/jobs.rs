//! Jobs: what they are, what happened to them, new ones, and asking one to stop.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderName, StatusCode};
use model::{CancelOutcome, JobId, Role, WorkloadId};
use queue::reasons::{self, Reason};
use queue::{Added, OwnJob};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::pages;

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// A job in a list.
#[derive(Serialize)]
pub(crate) struct JobRow {
    #[serde(flatten)]
    job: pages::Job,
    /// Why it does not go on, nearest first; none when it has ended.
    reasons: Vec<Reason>,
}

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<JobRow>> {
    let workload = asked.parsed::<WorkloadId>("workload")?;
    let (before, limit) = asked.piece::<JobId>()?;
    let mut tx = asked.begin().await?;
    let rows = match workload {
        None => Some(pages::latest_jobs(&mut tx, before, limit).await?),
        Some(id) if pages::workload(&mut tx, id).await?.is_some() => {
            Some(pages::workload_jobs(&mut tx, id, before, limit).await?)
        }
        Some(_) => None,
    };
    let rows = rows.ok_or(Problem::NotFound)?;
    let ids: Vec<_> = rows.iter().map(|job| job.id).collect();
    let mut reasons: HashMap<_, _> = reasons::own_reasons(&mut tx, &ids)
        .await?
        .into_iter()
        .collect();
    tx.commit().await?;
    let rows = rows
        .into_iter()
        .map(|job| JobRow {
            reasons: reasons.remove(&job.id).unwrap_or_default(),
            job,
        })
        .collect();
    answer(asked.list(rows, limit, |row| row.job.id.to_string())?)
}

/// A job with what happened to it.
#[derive(Serialize)]
pub(crate) struct Job {
    #[serde(flatten)]
    job: pages::JobDetail,
    /// Why it does not go on, nearest first; none when it has ended.
    reasons: Vec<Reason>,
    events: Vec<pages::JobEvent>,
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Job> {
    asked.nothing_more()?;
    let id: JobId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = pages::job(&mut tx, id).await?;
    let reasons = reasons::own_reasons(&mut tx, &[id]).await?.pop();
    let events = pages::job_events(&mut tx, id).await?;
    let plain = match &found {
        Some(found) if found.job.task == runs::terraform::TASK => {
            pages::plain_variables(&mut tx, id).await?
        }
        Some(_) | None => Vec::new(),
    };
    tx.commit().await?;
    let mut job = found.ok_or(Problem::NotFound)?;
    job.payload = runs::masked(&job.job.task, job.payload, &plain);
    answer(Job {
        job,
        reasons: reasons.map(|(_, reasons)| reasons).unwrap_or_default(),
        events,
    })
}

pub(crate) async fn runs(Path(id): Path<String>, asked: Asked) -> Answer<Piece<pages::Run>> {
    asked.nothing_more()?;
    let id: JobId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = pages::job(&mut tx, id).await?;
    let items = pages::runs(&mut tx, id).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)?;
    answer(Piece { items, next: None })
}

/// A job that somebody wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// The kind of work.
    task: String,
    /// What to do, as the task understands it.
    #[serde(default = "nothing")]
    payload: Value,
    /// A named queue: one job at a time, in order.
    queue: Option<String>,
    /// At most one job with this key is pending and one is worked on; the newest wins. Kinds of runs have one of their own.
    key: Option<String>,
}

fn nothing() -> Value {
    json!({})
}

/// The job that stands for what was wanted.
#[derive(Debug, Serialize)]
pub(crate) struct Created {
    job: JobId,
    /// Whether it is queued, or its key has seen a newer one.
    superseded: bool,
}

pub(crate) async fn create(
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Operator)?;
    let kind = runs::kind(&wanted.task);
    if let Some(kind) = kind {
        (kind.check)(&wanted.payload)
            .map_err(|refused| Problem::BadBody(format!("payload: {refused}")))?;
    }
    // Of runs of one thing the newest counts, unless somebody wants it otherwise.
    let own_key = kind.and_then(|kind| (kind.key)(&wanted.payload));
    let job = OwnJob {
        task: &wanted.task,
        payload: &wanted.payload,
        queue_name: wanted.queue.as_deref(),
        key: wanted.key.as_deref().or(own_key.as_deref()),
        actor: by,
    };
    let mut tx = asked.begin().await?;
    let added = queue::enqueue_own(&mut tx, &job).await?;
    tx.commit().await?;
    let created = Created {
        job: added.job(),
        superseded: matches!(added, Added::Superseded(_)),
    };
    let headers: [(HeaderName, String); 2] = [
        (LOCATION, format!("/jobs/{}", created.job)),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, Json(created)))
}

/// What became of the request to stop.
#[derive(Debug, Serialize)]
pub(crate) struct Stopping {
    /// `cancelled`: nothing was running; `requested`: it will be told; `already_requested`; `too_late`: it had ended.
    outcome: CancelOutcome,
}

pub(crate) async fn cancel(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: JobId = named(&id)?;
    let mut tx = asked.begin().await?;
    let outcome = pages::cancel(&mut tx, id, by).await?;
    tx.commit().await?;
    let outcome = outcome.ok_or(Problem::NotFound)?;
    Ok((
        StatusCode::ACCEPTED,
        [(CACHE_CONTROL, "no-store")],
        Json(Stopping { outcome }),
    ))
}
