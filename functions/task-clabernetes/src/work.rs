//! One job.

use std::time::Duration;

use anyhow::anyhow;
use artifacts::{Artifacts, Given};
use chrono::{DateTime, SecondsFormat, Utc};
use cluster::{Cluster, ClusterError, LabLook};
use host::{Ctx, Job, Outcome, TaskError};
use labs::clabernetes::ApiFlavor;
use labs::{Graph, TOPOLOGY_ARTIFACT};
use runs::clabernetes::{Action, Payload};
use serde_json::{Value, json};

use crate::images;
use crate::lab::Lab;
use crate::settings::Worker;

/// How long is waited before a lab on its way is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long one attempt waits for a lab to be gone; then another attempt waits, and there is a last one.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// How often it looks meanwhile.
const GONE_LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn run(ctx: Ctx, worker: Worker, job: Job<Value>) -> Result<Outcome, TaskError> {
    let payload: Payload = runs::read(&job.spec).map_err(TaskError::fail)?;
    payload.check().map_err(TaskError::fail)?;
    let cluster = worker.cluster().await.map_err(answered)?;
    let place = Place {
        namespace: worker.namespace(job.tenant),
        flavor: cluster.lab_flavor().await.map_err(answered)?,
        cluster,
        lab: labs::lab_name(&payload.lab),
    };
    match payload.action {
        Action::Deploy => place.deploy(&ctx, &worker, &job, &payload).await,
        Action::Destroy => place.destroy(&job).await,
        Action::Status => place.status().await,
    }
}

fn answered(error: ClusterError) -> TaskError {
    if error.is_passing() {
        TaskError::retry(error)
    } else {
        TaskError::fail(error)
    }
}

/// Where a lab is.
struct Place<'a> {
    cluster: &'a Cluster,
    flavor: ApiFlavor,
    namespace: String,
    lab: String,
}

impl Place<'_> {
    async fn deploy(
        &self,
        ctx: &Ctx,
        worker: &Worker,
        job: &Job<Value>,
        payload: &Payload,
    ) -> Result<Outcome, TaskError> {
        let Self {
            cluster,
            flavor,
            namespace,
            lab,
        } = self;
        let by = cluster
            .lab_deployed_by(*flavor, namespace, lab)
            .await
            .map_err(answered)?;
        let since = by.as_deref().and_then(|by| applied_at(by, job));
        let Some(since) = since else {
            self.apply(ctx, worker, job, payload).await?;
            return Ok(again("the lab was applied"));
        };
        match cluster
            .look_at_lab(*flavor, namespace, lab)
            .await
            .map_err(answered)?
        {
            LabLook::Ready => {
                let read = Lab::read(ctx, worker, job, payload, *flavor).await?;
                let nodes = cluster
                    .look_at_nodes(*flavor, namespace, lab)
                    .await
                    .map_err(answered)?;
                let graph = read.graph(&nodes);
                keep(ctx, job, &graph).await?;
                Ok(Outcome::DoneWith(json!({
                    "lab": lab,
                    "namespace": namespace,
                    "api": flavor.group(),
                    "content": read.objects.content,
                    "renamed": read.objects.names.renamed(),
                    "topology": graph,
                })))
            }
            LabLook::Failed(why) => {
                Err(TaskError::fail(anyhow!("the lab will not come up: {why}")))
            }
            LabLook::Missing => Err(TaskError::fail(anyhow!(
                "the lab was taken away while it came up"
            ))),
            LabLook::Deploying(how) => {
                let waited = (now(ctx).await? - since).to_std().unwrap_or_default();
                if waited > Duration::from_secs(payload.wait_secs) {
                    return Err(TaskError::fail(anyhow!(
                        "the lab does not run after {} s: {how}; it stays there as it is, destroy takes it away",
                        payload.wait_secs
                    )));
                }
                Ok(again(&how))
            }
        }
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        worker: &Worker,
        job: &Job<Value>,
        payload: &Payload,
    ) -> Result<(), TaskError> {
        let lab = Lab::read(ctx, worker, job, payload, self.flavor).await?;
        let log = &job.log;
        for unknown in images::check(worker.egress(), &lab.topology)
            .await
            .map_err(TaskError::fail)?
        {
            log.line(unknown).await;
        }
        for (was, is) in lab.objects.names.renamed() {
            log.line(format!("node {was} is called {is} in the cluster"))
                .await;
        }
        if job.cancelled().is_cancelled() {
            return Err(TaskError::Stopped);
        }
        self.cluster
            .lab_namespace(&self.namespace)
            .await
            .map_err(answered)?;
        let by = format!(
            "{}@{}",
            job.id(),
            now(ctx).await?.to_rfc3339_opts(SecondsFormat::Secs, true)
        );
        self.cluster
            .put_lab(self.flavor, &self.namespace, &lab.objects, &by)
            .await
            .map_err(answered)?;
        log.line(format!(
            "{} nodes, {} ConfigMaps, content {}: applied to {} as {}/{}",
            lab.topology.nodes.len(),
            lab.objects.config_maps.len(),
            lab.objects.content,
            self.flavor.group(),
            self.namespace,
            self.lab,
        ))
        .await;
        Ok(())
    }

    async fn destroy(&self, job: &Job<Value>) -> Result<Outcome, TaskError> {
        let mut waited = Duration::ZERO;
        loop {
            let gone = self
                .cluster
                .remove_lab(self.flavor, &self.namespace, &self.lab)
                .await;
            if gone.map_err(answered)? {
                return Ok(Outcome::DoneWith(
                    json!({ "lab": self.lab, "namespace": self.namespace }),
                ));
            }
            if waited >= GONE_WITHIN {
                return Err(TaskError::retry(anyhow!(
                    "something of the lab is still there"
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(GONE_LOOK) => {}
                () = job.cancelled().cancelled() => return Err(TaskError::Stopped),
            }
            waited += GONE_LOOK;
        }
    }

    async fn status(&self) -> Result<Outcome, TaskError> {
        let Self {
            cluster,
            flavor,
            namespace,
            lab,
        } = self;
        let look = cluster
            .look_at_lab(*flavor, namespace, lab)
            .await
            .map_err(answered)?;
        let nodes = cluster
            .look_at_nodes(*flavor, namespace, lab)
            .await
            .map_err(answered)?;
        let (state, why) = match look {
            LabLook::Missing => ("missing", None),
            LabLook::Deploying(how) => ("deploying", Some(how)),
            LabLook::Ready => ("ready", None),
            LabLook::Failed(why) => ("failed", Some(why)),
        };
        let nodes: Vec<Value> = nodes
            .into_iter()
            .map(|(id, node)| json!({ "id": id, "mgmt_ip": node.ip, "mgmt_host": node.host, "status": node.status }))
            .collect();
        Ok(Outcome::DoneWith(json!({
            "lab": lab, "namespace": namespace, "api": flavor.group(), "state": state, "why": why, "nodes": nodes,
        })))
    }
}

fn again(how: &str) -> Outcome {
    Outcome::Snooze {
        delay: LOOK_AGAIN,
        reason: how.to_owned(),
    }
}

/// Who looks at a lab may be on another machine than who applied it: both ask the database what time it is.
async fn now(ctx: &Ctx) -> Result<DateTime<Utc>, TaskError> {
    ctx.queue().now().await.map_err(TaskError::retry)
}

/// When this job applied the lab, if it was this job.
fn applied_at(by: &str, job: &Job<Value>) -> Option<DateTime<Utc>> {
    let (id, at) = by.split_once('@')?;
    (id == job.id().to_string())
        .then(|| at.parse().ok())
        .flatten()
}

async fn keep(ctx: &Ctx, job: &Job<Value>, graph: &Graph) -> Result<(), TaskError> {
    let bytes = serde_json::to_vec_pretty(graph).map_err(TaskError::fail)?;
    let given = Given {
        name: TOPOLOGY_ARTIFACT,
        media_type: Some("application/json"),
        sealed: false,
    };
    let kept = Artifacts::of(ctx).map_err(TaskError::fail)?;
    let kept = kept.add_bytes(job.tenant, job.hold, given, bytes).await;
    kept.map_err(|error| {
        if error.is_passing() {
            TaskError::retry(error)
        } else {
            TaskError::fail(error)
        }
    })?;
    Ok(())
}
