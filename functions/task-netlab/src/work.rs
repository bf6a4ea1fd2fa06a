//! One job.

use anyhow::anyhow;
use artifacts::Artifacts;
use host::{Ctx, Job, Outcome, TaskError};
use lab_source::{Gathered, SourceError, gather};
use labs::netlab;
use runs::netlab::{Payload, TOPOLOGY};
use serde_json::Value;

use crate::by_api::by_api;
use crate::lab_host::{self, Host};
use crate::settings::Worker;
use crate::spec::{self, Before};

/// What netlab writes itself: given, it would be taken for what netlab wrote.
const OUTPUTS: [&str; 4] = [
    "clab.yml",
    "topology.json",
    "content.sha256",
    "netlab.snapshot.pickle",
];

pub(crate) async fn run(ctx: Ctx, worker: Worker, job: Job<Value>) -> Result<Outcome, TaskError> {
    let payload: Payload = runs::read(&job.spec).map_err(TaskError::fail)?;
    payload.check().map_err(TaskError::fail)?;
    let gathered = if payload.source.has_files() {
        let gathered = gather(&ctx, worker.fetcher(), &job, &payload.source, TOPOLOGY)
            .await
            .map_err(source)?;
        check(&gathered, &worker).map_err(TaskError::fail)?;
        Some(gathered)
    } else {
        None
    };
    let spec = match (payload.host, &gathered) {
        (Some(id), gathered) => {
            match lab_host::find(&ctx, worker.guard(), worker.authorities(), job.tenant, id).await?
            {
                Host::Ssh(host) => {
                    payload.check_over_ssh().map_err(TaskError::fail)?;
                    spec::on_host(&payload, job.tenant, gathered.as_ref(), &host)
                }
                Host::Api(host) => by_api(&payload, &host)?,
            }
        }
        (None, Some(gathered)) => {
            let before = before(&ctx, &job, &payload).await?;
            spec::local(&payload, gathered, before.as_ref())
        }
        (None, None) => {
            return Err(TaskError::fail(anyhow!(
                "the job says neither a host nor a source"
            )));
        }
    };
    launch::start(&ctx, &job, worker.runners(), spec).await
}

fn source(error: SourceError) -> TaskError {
    if error.is_passing() {
        TaskError::retry(error)
    } else {
        TaskError::fail(error)
    }
}

/// Looks through everything that netlab would read.
fn check(gathered: &Gathered, worker: &Worker) -> anyhow::Result<()> {
    for (path, file) in gathered.files.iter() {
        if OUTPUTS.contains(&path) || path.starts_with("node_files/") {
            return Err(anyhow!(
                "{path} is netlab's own to write: take it out of the lab's files"
            ));
        }
        // Defaults beside the topology say as much as the topology does.
        let is_yaml = path.ends_with(".yml") || path.ends_with(".yaml");
        if path == gathered.topology || is_yaml {
            let text = String::from_utf8_lossy(&file.bytes);
            netlab::check(&text, &gathered.files, worker.policy())
                .map_err(|error| anyhow!("{path}: {error}"))?;
        }
    }
    Ok(())
}

/// The lab as the last run made it, to say whether it is unchanged. That is a kindness: where it cannot be read, nothing is said.
async fn before(
    ctx: &Ctx,
    job: &Job<Value>,
    payload: &Payload,
) -> Result<Option<Before>, TaskError> {
    let name = spec::content_name(payload);
    let found = ctx
        .store()
        .last_artifact(job.tenant, &name)
        .await
        .map_err(TaskError::retry)?;
    let Some((found, made_by)) = found.and_then(|it| it.job.map(|job| (it, job))) else {
        return Ok(None);
    };
    let kept = Artifacts::of(ctx).map_err(TaskError::fail)?;
    match kept.bytes(job.tenant, &found).await {
        Ok(bytes) => Ok(Some(Before {
            job: made_by.to_string(),
            content: String::from_utf8_lossy(&bytes).trim().to_owned(),
        })),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the hash of the lab as it was cannot be read"
            );
            Ok(None)
        }
    }
}
