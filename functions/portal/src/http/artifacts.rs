//! What work left behind, downloaded.

use ::artifacts::{ArtifactError, Artifacts};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use host::Ctx;
use http::HeaderMap;
use maud::Markup;
use serde::Deserialize;
use store::artifacts::{Artifact, ArtifactFilter, artifact, artifacts, note_own_read};
use store::pages::ROWS_MAX;

use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};
use crate::views::topology::topology as topology_view;

impl From<ArtifactError> for Problem {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Database(error) => error.into(),
            ArtifactError::Store(error) => {
                tracing::warn!("the store of artifacts does not answer: {error}");
                Self::Unavailable
            }
            error => Self::internal(error),
        }
    }
}

async fn found(ctx: &Ctx, signed: &Signed, id: &str) -> Result<Artifact, Problem> {
    let mut tx = signed.begin(ctx).await?;
    let found = artifact(&mut tx, rows::id(id)?).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)
}

async fn sent(
    ctx: &Ctx,
    signed: &Signed,
    artifact: &Artifact,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let kept = Artifacts::of(ctx).map_err(Problem::internal)?;
    let download = kept.download(signed.tenant, artifact, headers);
    Ok(download.await?.into_response())
}

/// The largest topology that is read, in bytes: that of the largest lab has less.
const TOPOLOGY_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// The lab that a job made, as its topology artifact tells it.
pub(super) async fn topology(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let job = rows::job_id(&id)?;
    let filter = ArtifactFilter {
        job: Some(job),
        name: Some(labs::TOPOLOGY_ARTIFACT.to_owned()),
        ..ArtifactFilter::default()
    };
    let mut tx = signed.begin(&ctx).await?;
    let found = artifacts(&mut tx, &filter, None, ROWS_MAX).await?;
    tx.commit().await?;
    let found = found.into_iter().find(|artifact| {
        artifact.name == labs::TOPOLOGY_ARTIFACT
            && !artifact.sealed
            && artifact.bytes <= TOPOLOGY_BYTES_MAX
    });
    let artifact = found.ok_or(Problem::NotFound)?;
    let kept = Artifacts::of(&ctx).map_err(Problem::internal)?;
    let bytes = kept.bytes(signed.tenant, &artifact).await?;
    // A person may have brought a file of this name that is none.
    let lab = labs::Graph::read(&bytes).ok_or(Problem::NotFound)?;
    Ok(topology_view(&signed.reader(), job.0, &lab))
}

/// A file that every member may have.
pub(super) async fn open(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let artifact = found(&ctx, &signed, &id).await?;
    if artifact.sealed {
        // It takes a form: what another site can make a browser ask for leaves no record in somebody's name.
        return Err(Problem::Forbidden);
    }
    sent(&ctx, &signed, &artifact, &headers).await
}

#[derive(Deserialize)]
pub(super) struct Asked {}

/// A sealed one, for an admin, on record.
pub(super) async fn sealed(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    headers: HeaderMap,
    Posted(Asked {}): Posted<Asked>,
) -> Result<Response, Problem> {
    let artifact = found(&ctx, &signed, &id).await?;
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    note_own_read(&mut tx, artifact.id, signed.name()).await?;
    tx.commit().await?;
    sent(&ctx, &signed, &artifact, &headers).await
}
