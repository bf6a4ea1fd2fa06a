//! A lab as its job says it is.

use std::collections::BTreeMap;

use cluster::NodeLook;
use host::{Ctx, Job, TaskError};
use lab_source::{SourceError, gather};
use labs::clabernetes::{ApiFlavor, Objects};
use labs::{Graph, Names, Topology};
use model::TenantId;
use runs::clabernetes::{Payload, TOPOLOGY};
use runs::netlab::ARCHIVE;
use serde_json::Value;

use crate::settings::Worker;

/// A lab that was read and checked.
pub(crate) struct Lab {
    pub(crate) topology: Topology,
    pub(crate) objects: Objects,
}

impl Lab {
    pub(crate) async fn read(
        ctx: &Ctx,
        worker: &Worker,
        job: &Job<Value>,
        payload: &Payload,
        flavor: ApiFlavor,
    ) -> Result<Self, TaskError> {
        let gathered = gather(ctx, worker.fetcher(), job, &payload.source, TOPOLOGY)
            .await
            .map_err(source)?;
        let mut policy = *worker.policy();
        // What a run of netlab wrote was checked before netlab read it, and has commands of netlab's own.
        policy.exec |= made_by_netlab(ctx, job.tenant, &gathered).await?;
        if let Some(schema) = worker.schema() {
            schema.check(&gathered.text).map_err(TaskError::fail)?;
        }
        let topology = Topology::read(&gathered.text, &policy).map_err(TaskError::fail)?;
        let topology = topology.named(&payload.lab);
        let objects = Objects::new(&topology, &gathered.files, flavor, worker.labs())
            .map_err(TaskError::fail)?;
        Ok(Self { topology, objects })
    }

    /// The lab with what is seen of its nodes.
    pub(crate) fn graph(&self, nodes: &BTreeMap<String, NodeLook>) -> Graph {
        let mut graph = Graph::from(&self.topology);
        "clabernetes".clone_into(&mut graph.source);
        let names: &Names = &self.objects.names;
        for node in &mut graph.nodes {
            let look = names.nodes.get(&node.id).and_then(|name| nodes.get(name));
            let look = look.cloned().unwrap_or_default();
            node.mgmt_ip = look.ip;
            node.mgmt_host = look.host;
            node.status = Some(look.status.unwrap_or_else(|| "unknown".to_owned()));
        }
        graph
    }
}

fn source(error: SourceError) -> TaskError {
    if error.is_passing() {
        TaskError::retry(error)
    } else {
        TaskError::fail(error)
    }
}

/// Whether the files are the archive that a run of netlab left. People may not write artifacts of runs.
async fn made_by_netlab(
    ctx: &Ctx,
    tenant: TenantId,
    gathered: &lab_source::Gathered,
) -> Result<bool, TaskError> {
    let Some((id, _)) = gathered.archive else {
        return Ok(false);
    };
    let found = ctx
        .store()
        .artifact(tenant, id)
        .await
        .map_err(TaskError::retry)?;
    Ok(found.is_some_and(|it| it.uploaded_by.is_none() && it.name == ARCHIVE))
}
