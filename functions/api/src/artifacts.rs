//! What work left behind, and what people put there: listed, downloaded, brought and deleted.

use ::artifacts::{ArtifactError, ArtifactName, Artifacts, Brought};
use axum::Json;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use model::{JobId, Role};
use serde::Serialize;
use store::artifacts::{
    Artifact, ArtifactFilter, Refused, Written, artifact, artifacts, note_own_read, remove_own,
};
use store::pages;
use uuid::Uuid;

use crate::asked::{Asked, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// How large a file may be that a person brings, in bytes; larger ones are made by runs.
const BROUGHT_BYTES_MAX: u64 = 100 * 1024 * 1024;

impl From<ArtifactError> for Problem {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Database(error) => error.into(),
            ArtifactError::Store(error) => Self::store_away(error),
            ArtifactError::Refused(Refused::Unknown) => Self::NotFound,
            ArtifactError::Refused(Refused::TooLarge) | ArtifactError::SealedTooLarge => {
                Self::TooMuch(error.to_string())
            }
            ArtifactError::Refused(_) | ArtifactError::Lost { .. } => {
                Self::Conflict(error.to_string())
            }
            ArtifactError::Name(_) | ArtifactError::Broken => Self::BadBody(error.to_string()),
            error => Self::internal(error),
        }
    }
}

fn kept(asked: &Asked) -> Result<Artifacts, Problem> {
    Artifacts::of(asked.ctx()).map_err(Problem::internal)
}

async fn piece(mut asked: Asked, filter: ArtifactFilter) -> Answer<Piece<Artifact>> {
    let (before, limit) = asked.piece::<Uuid>()?;
    let mut tx = asked.begin().await?;
    let there = match filter.job {
        Some(job) => pages::job(&mut tx, job).await?.is_some(),
        None => true,
    };
    let rows = artifacts(&mut tx, &filter, before, limit).await?;
    tx.commit().await?;
    if !there && rows.is_empty() {
        return Err(Problem::NotFound);
    }
    answer(asked.list(rows, limit, |row| row.id.to_string())?)
}

/// Of all jobs, of one, or of none.
pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Artifact>> {
    let filter = ArtifactFilter {
        job: asked.parsed::<JobId>("job")?,
        shelf: asked.parsed::<bool>("shelf")?.unwrap_or(false),
        name: asked.parsed("name")?,
    };
    if filter.job.is_some() && filter.shelf {
        let why = "say a job, or shelf=true for what belongs to none";
        return Err(Problem::BadQuery(why.to_owned()));
    }
    piece(asked, filter).await
}

pub(crate) async fn of_job(Path(id): Path<String>, asked: Asked) -> Answer<Piece<Artifact>> {
    let filter = ArtifactFilter {
        job: Some(named(&id)?),
        ..ArtifactFilter::default()
    };
    piece(asked, filter).await
}

async fn found(asked: &Asked, id: &str) -> Result<Artifact, Problem> {
    let id: Uuid = named(id)?;
    let mut tx = asked.begin().await?;
    let found = artifact(&mut tx, id).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Artifact> {
    asked.nothing_more()?;
    answer(found(&asked, &id).await?)
}

/// The bytes, to be kept in a file. What is sealed takes an admin, and is on record.
pub(crate) async fn content(
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asked.nothing_more()?;
    let artifact = found(&asked, &id).await?;
    if artifact.sealed {
        let by = asked.may(Role::Admin)?;
        let mut tx = asked.begin().await?;
        note_own_read(&mut tx, artifact.id, by).await?;
        tx.commit().await?;
    }
    let artifacts = kept(&asked)?;
    let download = artifacts.download(asked.tenant(), &artifact, &headers);
    Ok(download.await?)
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let removed = remove_own(&mut tx, id, by).await?;
    tx.commit().await?;
    if removed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::NotFound)
    }
}

pub(crate) async fn bring_to_job(
    Path((id, name)): Path<(String, String)>,
    asked: Asked,
    request: Request,
) -> Result<Response, Problem> {
    let job = named(&id)?;
    bring(asked, Some(job), &name, request).await
}

pub(crate) async fn bring_to_shelf(
    Path(name): Path<String>,
    asked: Asked,
    request: Request,
) -> Result<Response, Problem> {
    bring(asked, None, &name, request).await
}

/// What was brought.
#[derive(Serialize)]
struct There {
    id: Uuid,
    sha256: String,
}

async fn bring(
    mut asked: Asked,
    job: Option<JobId>,
    name: &str,
    request: Request,
) -> Result<Response, Problem> {
    let sealed = asked.parsed::<bool>("sealed")?.unwrap_or(false);
    let by = asked.may(Role::Operator)?;
    let name = ArtifactName::new(name).map_err(|bad| Problem::BadQuery(bad.to_string()))?;
    let headers = request.headers();
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BROUGHT_BYTES_MAX) {
        return Err(Problem::TooMuch(format!(
            "a file that is brought has {BROUGHT_BYTES_MAX} bytes at most"
        )));
    }
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    let media_type = media_type.map(str::to_owned);
    let brought = Brought {
        job,
        name: &name,
        media_type: media_type.as_deref(),
        sealed,
        bytes_max: BROUGHT_BYTES_MAX,
        by,
    };
    let body = request.into_body().into_data_stream();
    let (there, written) = kept(&asked)?.bring(asked.tenant(), brought, body).await?;
    let status = match written {
        Written::Added(_) => StatusCode::CREATED,
        Written::Present(_) => StatusCode::OK,
    };
    let headers = [
        (LOCATION, format!("/artifacts/{}", there.id)),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    let there = There {
        id: there.id,
        sha256: there.sha256,
    };
    Ok((status, headers, Json(there)).into_response())
}
