//! Files of a run: those that it was told of, and those that it leaves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifacts::{Announced, ArtifactError, ArtifactName, Artifacts, Sent};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use host::Ctx;
use model::run::{ARTIFACT_PART_BYTES, FileContent, RunSpec};
use queue::Hold;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use super::refusal::RunRefusal;
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

/// What is to come, where the runner says so.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Coming {
    bytes: u64,
    sealed: bool,
}

/// Artifacts that are put together at a time. Each holds up to 128 MiB while it is sealed.
const AT_A_TIME: usize = 2;

/// What is being put together in this process: each once, and not too much at a time.
#[derive(Debug)]
pub(super) struct Together {
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<HashSet<Key>>>,
}

/// An artifact of a claim of a job.
type Key = (i64, i64, ArtifactName);

/// That one is being put together.
struct Place {
    under_way: Arc<Mutex<HashSet<Key>>>,
    key: Key,
    _permit: OwnedSemaphorePermit,
}

impl Default for Together {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            under_way: Arc::default(),
        }
    }
}

impl Together {
    /// A place for an artifact; none while the same is under way, or all are taken for as long as a request is held.
    async fn begin(&self, hold: Hold, name: &ArtifactName) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned();
        let permit = tokio::time::timeout(TRY_FOR, permit).await.ok()?.ok()?;
        let key = (hold.job.0, hold.epoch, name.clone());
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.insert(key.clone()).then(|| Place {
            under_way: Arc::clone(&self.under_way),
            key,
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.key);
    }
}

fn artifacts(ctx: &Ctx) -> Result<Artifacts, RunRefusal> {
    Artifacts::of(ctx).map_err(RunRefusal::internal)
}

fn named(name: String) -> Result<ArtifactName, RunRefusal> {
    ArtifactName::new(name).map_err(|error| RunRefusal::Wrong(error.to_string()))
}

/// Does something again while the database is away, for as long as a request is held.
async fn held<T, F>(ctx: &Ctx, again: impl Fn() -> F) -> Result<T, RunRefusal>
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
            Err(error) => {
                if matches!(error, ArtifactError::Store(_)) {
                    ctx.metrics().store_failed();
                }
                return Err(error.into());
            }
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
    let bytes = host::read_body(request.into_body(), ARTIFACT_PART_BYTES).await?;
    let artifacts = artifacts(&ctx)?;
    held(&ctx, || {
        artifacts.put_part(caller.tenant, caller.hold, &name, part, bytes.clone())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn parts(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    Path(name): Path<String>,
    Query(Coming { bytes, sealed }): Query<Coming>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let name = named(name)?;
    let artifacts = artifacts(&ctx)?;
    let parts = held(&ctx, || {
        artifacts.parts(caller.tenant, caller.hold, &name, bytes, sealed)
    })
    .await?;
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
    let Some(place) = runs.together.begin(caller.hold, &name).await else {
        return Err(RunRefusal::Busy);
    };
    let artifacts = artifacts(&ctx)?;
    let counted = ctx.clone();
    // Goes on when nobody waits for the answer any more: who asks again finds it done.
    let work = ctx.spawn(async move {
        let _place = place;
        let announced = Announced {
            bytes: said.bytes,
            sha256: &said.sha256,
            media_type: said.media_type.as_deref(),
            sealed: said.sealed,
            from,
        };
        let kept = held(&counted, || {
            artifacts.put_together(caller.tenant, caller.hold, &name, &announced)
        });
        let kept = kept.await?;
        tracing::info!(
            job.id = caller.hold.job.0,
            artifact.name = %name,
            artifact.bytes = said.bytes,
            "a run left an artifact"
        );
        Ok(answer(&kept))
    });
    work.await.map_err(RunRefusal::internal)?
}

fn answer(kept: &artifacts::Kept) -> Response {
    axum::Json(json!({ "id": kept.id, "sha256": kept.sha256 })).into_response()
}
