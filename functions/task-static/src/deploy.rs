//! One job: a deploy of what the branch has now, or a way back to an earlier revision.

use anyhow::anyhow;
use blobs::{BlobPath, site::MANIFEST};
use host::{Ctx, Job, Outcome, TaskError};
use model::git::CommitId;
use model::{FinishReport, RevisionId, SourceKind, WorkloadAction, WorkloadJob};
use serde_json::Value;
use store::deploys::{DeployReport, LiveRevision, NewRevision, StoredWorkload};
use tokio::time::Instant;

use crate::config::StaticConfig;
use crate::settings::Worker;
use crate::{BuildError, BuildFrom, build};

pub(crate) async fn run(
    ctx: Ctx,
    worker: Worker,
    job: Job<WorkloadJob>,
) -> Result<Outcome, TaskError> {
    let id = job.spec.workload;
    if job.spec.untrusted {
        return Err(TaskError::fail(anyhow!(
            "this comes from a fork, and a deploy changes what everybody sees; bind changes of forks to a task that only looks"
        )));
    }
    let workload = answered(|| ctx.store().workload(job.tenant, id))
        .await?
        .ok_or_else(|| TaskError::fail(anyhow!("there is no workload {id}: it was removed")))?;
    let ended = match &job.spec.action {
        WorkloadAction::Deploy { asked } => {
            deploy(&ctx, &worker, &job, &workload, asked.as_ref()).await
        }
        WorkloadAction::Rollback { revision } => rollback(&ctx, &job, &workload, *revision).await,
    };
    if let Err(TaskError::Retry { .. } | TaskError::Fail(_)) = &ended {
        job.log
            .line(match &workload.live {
                Some(live) => format!("nothing has changed: revision {} stays live", live.number),
                None => "nothing has changed: no revision is live yet".to_owned(),
            })
            .await;
    }
    ended
}

async fn deploy(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<WorkloadJob>,
    workload: &StoredWorkload,
    asked: Option<&CommitId>,
) -> Result<Outcome, TaskError> {
    let config = config(workload, &job.spec.overrides)?;
    let token = worker
        .tokens
        .of(job.tenant, &config.source)
        .map_err(TaskError::fail)?;
    let blobs = ctx.blobs().map_err(TaskError::fail)?;
    job.log.line(fetching(&config)).await;

    // Also cancelled when this future is dropped: rendering has a thread of its own.
    let cancel = job.cancelled().child_token();
    let _ended = cancel.clone().drop_guard();
    let started = Instant::now();
    let login = token.cloned().map(git::Login::token);
    let from = BuildFrom {
        config: &config,
        login: login.as_ref(),
    };
    let built = build(
        &worker.fetcher,
        blobs,
        &workload.id.to_string(),
        from,
        &cancel,
    )
    .await
    .map_err(not_built)?;

    let (commit, site) = (&built.commit, &built.published);
    job.log
        .line(match asked {
            Some(asked) if asked.as_str() != commit.as_str() => {
                format!(
                    "asked for {}, the branch is at {}",
                    asked.short(),
                    commit.short()
                )
            }
            Some(_) | None => format!("the branch is at {}", commit.short()),
        })
        .await;
    job.log
        .line(format!(
            "fetched, rendered and stored in {:.2} s: {} files, {} bytes",
            started.elapsed().as_secs_f64(),
            site.files,
            site.bytes
        ))
        .await;
    let warnings: Vec<String> = built.warnings.lines().collect();
    for warning in &warnings {
        job.log.line(format!("warning: {warning}")).await;
    }
    // True when it is acted upon: jobs of one workload run one after the other.
    job.log
        .line(match &workload.live {
            Some(LiveRevision {
                number,
                commit: live,
                content_hash,
            }) if live == commit.as_str() && content_hash == site.content.as_str() => {
                format!("already live, as revision {number}")
            }
            Some(_) | None => format!("making it live at `{}`", workload.host),
        })
        .await;
    // The job's end is in the next statement, and nothing is written to its log after that.
    job.log.flush().await;
    worker
        .pause_before_finish()
        .await
        .map_err(TaskError::fail)?;
    if job.cancelled().is_cancelled() {
        return Err(TaskError::Stopped);
    }

    let revision = NewRevision {
        workload: workload.id,
        asked_commit: asked.map(CommitId::as_str),
        commit: commit.as_str(),
        prefix: site.prefix.as_str(),
        content_hash: site.content.as_str(),
        files: usize::try_from(site.files).unwrap_or(usize::MAX),
        bytes: site.bytes,
        warnings: &warnings,
    };
    match answered(|| ctx.store().finish_deploy(job.hold, &revision)).await? {
        DeployReport::Live {
            revision,
            number,
            is_new,
        } => tracing::info!(
            revision.id = %revision,
            revision.number = number,
            revision.is_new = is_new,
            "live"
        ),
        DeployReport::Stale => stale(),
    }
    Ok(Outcome::Recorded)
}

async fn rollback(
    ctx: &Ctx,
    job: &Job<WorkloadJob>,
    workload: &StoredWorkload,
    revision: RevisionId,
) -> Result<Outcome, TaskError> {
    let prefix = answered(|| {
        ctx.store()
            .revision_prefix(job.tenant, workload.id, revision)
    })
    .await?
    .ok_or_else(|| {
        let name = &workload.name;
        TaskError::fail(anyhow!(
            "`{name}` has no revision {revision}: choose one of its list"
        ))
    })?;
    // Written last and removed never by itself: a revision that has it is whole.
    let manifest = BlobPath::new(prefix)
        .and_then(|prefix| prefix.join(MANIFEST))
        .map_err(TaskError::fail)?;
    let blobs = ctx.blobs().map_err(TaskError::fail)?;
    if blobs
        .head(&manifest)
        .await
        .map_err(TaskError::retry)?
        .is_none()
    {
        return Err(TaskError::fail(anyhow!(
            "the files of {revision} are not in the store any more (`{manifest}`): push a commit with the same content, or choose another revision"
        )));
    }
    job.log
        .line(format!(
            "making {revision} live again at `{}`",
            workload.host
        ))
        .await;
    job.log.flush().await;
    if job.cancelled().is_cancelled() {
        return Err(TaskError::Stopped);
    }
    match answered(|| ctx.store().finish_rollback(job.hold, workload.id, revision)).await? {
        FinishReport::Applied(_) => tracing::info!(revision.id = %revision, "live again"),
        FinishReport::Stale => stale(),
    }
    Ok(Outcome::Recorded)
}

fn stale() {
    tracing::warn!(
        "the hold is over and nothing was changed: somebody else has the job, or an earlier try to finish it was \
         recorded and its answer lost"
    );
}

/// The workload's config with the binding's overrides, which win at the top level.
fn config(
    workload: &StoredWorkload,
    overrides: &serde_json::Map<String, Value>,
) -> Result<StaticConfig, TaskError> {
    let (name, source) = (&workload.name, &workload.source);
    if source != SourceKind::Static.as_str() {
        return Err(TaskError::fail(anyhow!(
            "`{name}` is of the kind `{source}`, and only static sites are deployed here"
        )));
    }
    let mut merged = workload.config.clone();
    merged.extend(overrides.clone());
    serde_path_to_error::deserialize(Value::Object(merged)).map_err(|error| {
        let path = error.path().to_string();
        let key = path.split(['.', '[']).next().unwrap_or_default();
        let place = if overrides.contains_key(key) {
            format!("the binding's overrides for `{name}`")
        } else {
            format!("the config of `{name}`")
        };
        TaskError::fail(anyhow!(
            "{place} cannot be used, mend it there: {path}: {}",
            error.into_inner()
        ))
    })
}

fn fetching(config: &StaticConfig) -> String {
    let from = config.source.place();
    let folder = match config.folder.to_string() {
        root if root.is_empty() => String::new(),
        folder => format!(", folder {folder}"),
    };
    format!("fetching {from}, branch {}{folder}", config.branch)
}

fn not_built(error: BuildError) -> TaskError {
    if error.is_cancelled() {
        TaskError::Stopped
    } else if error.may_pass() {
        TaskError::retry(error)
    } else {
        TaskError::fail(error)
    }
}

/// What the database answers, asked again while it is away. What is asked changes nothing, or is fenced by the epoch; a
/// lease that ends meanwhile drops this future.
async fn answered<T, F>(ask: impl Fn() -> F) -> Result<T, TaskError>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    database::answered(ask).await.map_err(|error| {
        if database::is_passing(&error) {
            TaskError::retry(anyhow!(error).context("the database does not answer"))
        } else {
            TaskError::fail(anyhow!(error).context("the database refused"))
        }
    })
}

#[cfg(test)]
mod tests;
