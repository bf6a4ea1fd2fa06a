//! Files of a run: those that it was told of, and those that it leaves.

use std::sync::Arc;
use std::time::Duration;

use artifacts::{Announced, ArtifactError, ArtifactName, Artifacts, Sent};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use host::Ctx;
use model::run::{ARTIFACT_PART_BYTES, FileContent, RunSpec};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::refusal::{self, RunRefusal};
use super::{Called, Runs, answered, json};
use crate::TRY_FOR;

/// How large the announcement of an artifact may be, in bytes of JSON.
const ANNOUNCEMENT_BYTES_MAX: usize = 16 * 1024;
/// Between two tries while the database is away.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// That an artifact was sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    bytes: u64,
    sha256: String,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    sealed: bool,
    /// In so many parts.
    #[serde(default)]
    parts: Option<u32>,
    /// Or to the place that its spec gave for it.
    #[serde(default)]
    blob: Option<String>,
}

fn artifacts(ctx: &Ctx) -> Result<Artifacts, RunRefusal> {
    Artifacts::of(ctx).map_err(RunRefusal::internal)
}

fn named(name: String) -> Result<ArtifactName, RunRefusal> {
    ArtifactName::new(name).map_err(|error| RunRefusal::Wrong(error.to_string()))
}

/// Does something again while the database is away, for as long as a request is held.
async fn held<T, F>(again: impl Fn() -> F) -> Result<T, RunRefusal>
where
    F: Future<Output = Result<T, ArtifactError>>,
{
    let until = Instant::now() + TRY_FOR;
    loop {
        match again().await {
            Ok(done) => return Ok(done),
            Err(ArtifactError::Database(error))
                if database::is_passing(&error) && Instant::now() < until =>
            {
                tokio::time::sleep(TRY_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The bytes of an artifact of the run's tenant, if its spec names it.
pub(super) async fn read(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let spec = runs.opened(&ctx, caller).await?;
    let spec: RunSpec = serde_json::from_slice(&spec).map_err(RunRefusal::internal)?;
    let id: Uuid = id.parse().map_err(|_| RunRefusal::NotNamed)?;
    let names = spec.files.iter().any(|file| match &file.content {
        FileContent::Text(_) => false,
        FileContent::Artifact { id: named, .. } | FileContent::Archive { id: named, .. } => {
            *named == id
        }
    });
    if !names {
        return Err(RunRefusal::NotNamed);
    }
    let found = answered(|| ctx.store().artifact(caller.tenant, id)).await?;
    let artifact = found.ok_or(RunRefusal::Lost)?;
    let download = artifacts(&ctx)?
        .download(caller.tenant, &artifact, request.headers())
        .await?;
    Ok(download)
}

pub(super) async fn put_part(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    Path((name, part)): Path<(String, String)>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let name = named(name)?;
    let part: u32 = part
        .parse()
        .map_err(|_| RunRefusal::Wrong("a part is a number, from 0".to_owned()))?;
    let bytes = refusal::read(request.into_body(), ARTIFACT_PART_BYTES).await?;
    let artifacts = artifacts(&ctx)?;
    held(|| artifacts.put_part(caller.tenant, caller.hold, &name, part, bytes.clone())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn parts(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let name = named(name)?;
    let artifacts = artifacts(&ctx)?;
    let parts = held(|| artifacts.parts(caller.tenant, caller.hold, &name)).await?;
    Ok(axum::Json(json!({ "parts": parts })).into_response())
}

pub(super) async fn complete(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let name = named(name)?;
    let said: Announcement = json(request.into_body(), ANNOUNCEMENT_BYTES_MAX).await?;
    let from = match (said.parts, said.blob) {
        (Some(parts), None) => Sent::Parts(parts),
        (None, Some(blob)) => Sent::Blob(blob),
        (None, None) | (Some(_), Some(_)) => {
            let why = "say either in how many parts it was sent, or to which blob";
            return Err(RunRefusal::Wrong(why.to_owned()));
        }
    };
    if said.sha256.len() != 64 || !said.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let why = "sha256 is 64 hexadecimal digits";
        return Err(RunRefusal::Wrong(why.to_owned()));
    }
    let announced = Announced {
        bytes: said.bytes,
        sha256: &said.sha256,
        media_type: said.media_type.as_deref(),
        sealed: said.sealed,
        from,
    };
    let place = tokio::time::timeout(TRY_FOR, runs.putting_together.acquire());
    let Ok(Ok(_place)) = place.await else {
        return Err(RunRefusal::Busy);
    };
    let artifacts = artifacts(&ctx)?;
    let kept =
        held(|| artifacts.put_together(caller.tenant, caller.hold, &name, &announced)).await?;
    tracing::info!(
        job.id = caller.hold.job.0,
        artifact.name = %name,
        artifact.bytes = said.bytes,
        "a run left an artifact"
    );
    Ok(answer(&kept))
}

fn answer(kept: &artifacts::Kept) -> Response {
    axum::Json(json!({ "id": kept.id, "sha256": kept.sha256 })).into_response()
}
