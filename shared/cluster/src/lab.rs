//! Labs in a cluster: put there, looked at, taken away.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use labs::clabernetes::{ApiFlavor, LAB_LABEL, MANAGED_BY, Objects};
use serde_json::{Value, json};

use crate::objects::Kind;
use crate::{Cluster, ClusterError};

/// The annotation of a Topology with who put it there, for who comes back to look.
const DEPLOY_ANNOTATION: &str = "switchyard.dev/deploy";

/// What is seen of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabLook {
    /// It is not there.
    Missing,
    /// It is on its way.
    Deploying(String),
    /// All of it runs.
    Ready,
    /// It will not come up, and why.
    Failed(String),
}

/// What is seen of one of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLook {
    /// The address of its pod.
    pub ip: Option<String>,
    /// The name of its Service.
    pub host: Option<String>,
    /// `ready`, `notready`, `unknown`, or what else the controller says.
    pub status: Option<String>,
}

/// The Topologies of a generation.
const fn topologies(flavor: ApiFlavor) -> Kind {
    Kind {
        group: flavor.group(),
        version: ApiFlavor::VERSION,
        kind: "Topology",
        plural: "topologies",
    }
}

/// The nodes of the later generation, which are objects of their own.
const NODES: Kind = Kind {
    group: ApiFlavor::C9sRun.group(),
    version: ApiFlavor::VERSION,
    kind: "Node",
    plural: "nodes",
};

impl Cluster {
    /// Which generation of clabernetes the cluster serves; the later one where it serves both.
    ///
    /// # Errors
    /// When it serves none, or does not answer.
    pub async fn lab_flavor(&self) -> Result<ApiFlavor, ClusterError> {
        let groups = self.groups().await?;
        let served = ApiFlavor::ALL
            .into_iter()
            .find(|flavor| groups.contains(flavor.group()));
        served.ok_or(ClusterError::NoLabs)
    }

    /// Sees to it that a namespace for labs is there. Launchers of labs need rights over their nodes that only such a namespace gives.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer.
    pub async fn lab_namespace(&self, namespace: &str) -> Result<(), ClusterError> {
        let (label, ours) = MANAGED_BY;
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": namespace, "labels": {
                label: ours,
                "pod-security.kubernetes.io/enforce": "privileged",
            }},
        });
        self.apply(Kind::NAMESPACE, None, &object).await?;
        Ok(())
    }

    /// Puts a lab into a namespace: its files first, then the lab, and what earlier forms of it left is taken away. `by` is kept with the lab,
    /// see [`Cluster::lab_deployed_by`]. May be repeated.
    ///
    /// # Errors
    /// When something of its name is somebody else's, the cluster refuses, or it does not answer; then some of it may be there.
    pub async fn put_lab(
        &self,
        flavor: ApiFlavor,
        namespace: &str,
        objects: &Objects,
        by: &str,
    ) -> Result<(), ClusterError> {
        let lab = &objects.names.lab;
        let kind = topologies(flavor);
        self.check_ours(kind, namespace, lab).await?;
        let kept: BTreeSet<String> = self
            .list(Kind::CONFIG_MAP, namespace, &selector(lab))
            .await?
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect();
        let mut wanted = BTreeSet::new();
        for map in &objects.config_maps {
            let name = map["metadata"]["name"].as_str().unwrap_or_default();
            if !kept.contains(name) {
                self.check_ours(Kind::CONFIG_MAP, namespace, name).await?;
            }
            self.apply(Kind::CONFIG_MAP, Some(namespace), map).await?;
            wanted.insert(name.to_owned());
        }
        let mut topology = objects.topology.clone();
        topology["metadata"]["annotations"][DEPLOY_ANNOTATION] = by.into();
        self.apply(kind, Some(namespace), &topology).await?;
        for name in kept.difference(&wanted) {
            self.delete(Kind::CONFIG_MAP, namespace, name).await?;
        }
        Ok(())
    }

    /// Who put a lab there, where it is there.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn lab_deployed_by(
        &self,
        flavor: ApiFlavor,
        namespace: &str,
        lab: &str,
    ) -> Result<Option<String>, ClusterError> {
        let found = self.get(topologies(flavor), Some(namespace), lab).await?;
        Ok(found.and_then(|it| it.annotations().get(DEPLOY_ANNOTATION).cloned()))
    }

    /// Looks at a lab.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn look_at_lab(
        &self,
        flavor: ApiFlavor,
        namespace: &str,
        lab: &str,
    ) -> Result<LabLook, ClusterError> {
        let found = self.get(topologies(flavor), Some(namespace), lab).await?;
        Ok(found.map_or(LabLook::Missing, |topology| look(&topology)))
    }

    /// Looks at the nodes of a lab, by their names in the cluster.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn look_at_nodes(
        &self,
        flavor: ApiFlavor,
        namespace: &str,
        lab: &str,
    ) -> Result<BTreeMap<String, NodeLook>, ClusterError> {
        let prefix = flavor.label_prefix();
        let label = |object: &DynamicObject| {
            object
                .labels()
                .get(&format!("{prefix}/topologyNode"))
                .cloned()
        };
        let owned = format!("{prefix}/topologyOwner={lab}");
        let mut nodes: BTreeMap<String, NodeLook> = BTreeMap::new();
        for pod in self.list(Kind::POD, namespace, &owned).await? {
            let Some(name) = label(&pod) else { continue };
            let status = &pod.data["status"];
            let ready = status["conditions"].as_array().into_iter().flatten();
            let ready = ready
                .filter(|it| it["type"] == "Ready")
                .any(|it| it["status"] == "True");
            let node = nodes.entry(name.clone()).or_default();
            node.ip = text(&status["podIP"]);
            node.host = Some(format!("{lab}-{name}.{namespace}.svc"));
            node.status = Some(if ready { "ready" } else { "notready" }.to_owned());
        }
        // What the controller itself says of a node says more than its pod does.
        match flavor {
            ApiFlavor::Clabernetes06 => {
                let topology = self.get(topologies(flavor), Some(namespace), lab).await?;
                let said = topology.map(|it| it.data["status"]["nodeReadiness"].clone());
                for (name, readiness) in said.iter().filter_map(Value::as_object).flatten() {
                    nodes.entry(name.clone()).or_default().status = text(readiness);
                }
            }
            ApiFlavor::C9sRun => {
                for object in self.list(NODES, namespace, &owned).await? {
                    let Some(name) = label(&object) else { continue };
                    if let Some(said) = text(&object.data["status"]["readiness"]) {
                        nodes.entry(name).or_default().status = Some(said);
                    }
                }
            }
        }
        Ok(nodes)
    }

    /// Takes a lab away; true when nothing of it is there any more. May be repeated until it says so.
    ///
    /// # Errors
    /// When what has its name is somebody else's, the cluster refuses, or it does not answer.
    pub async fn remove_lab(
        &self,
        flavor: ApiFlavor,
        namespace: &str,
        lab: &str,
    ) -> Result<bool, ClusterError> {
        let kind = topologies(flavor);
        self.check_ours(kind, namespace, lab).await?;
        self.delete(kind, namespace, lab).await?;
        for map in self
            .list(Kind::CONFIG_MAP, namespace, &selector(lab))
            .await?
        {
            self.delete(Kind::CONFIG_MAP, namespace, &map.name_any())
                .await?;
        }
        let owned = format!("{}/topologyOwner={lab}", flavor.label_prefix());
        let topology = self.get(kind, Some(namespace), lab).await?;
        let maps = self
            .list(Kind::CONFIG_MAP, namespace, &selector(lab))
            .await?;
        let pods = self.list(Kind::POD, namespace, &owned).await?;
        Ok(topology.is_none() && maps.is_empty() && pods.is_empty())
    }

    /// Refuses to touch what somebody else made.
    async fn check_ours(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<(), ClusterError> {
        let (label, ours) = MANAGED_BY;
        match self.get(kind, Some(namespace), name).await? {
            Some(found) if found.labels().get(label).map(String::as_str) != Some(ours) => {
                let what = format!("{} {namespace}/{name}", kind.kind);
                Err(ClusterError::NotOurs { what })
            }
            _ => Ok(()),
        }
    }
}

fn selector(lab: &str) -> String {
    let (label, ours) = MANAGED_BY;
    format!("{LAB_LABEL}={lab},{label}={ours}")
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn look(topology: &DynamicObject) -> LabLook {
    let status = &topology.data["status"];
    let ready = status["conditions"].as_array().into_iter().flatten();
    let ready = ready.into_iter().find(|it| it["type"] == "TopologyReady");
    // What is said of an earlier form says nothing of this one.
    let seen = ready
        .and_then(|it| it["observedGeneration"].as_i64())
        .filter(|seen| *seen > 0);
    let current = topology.metadata.generation;
    if let (Some(seen), Some(current)) = (seen, current)
        && seen < current
    {
        return LabLook::Deploying("the controller has not seen it yet".to_owned());
    }
    let state = status["topologyState"].as_str().unwrap_or_default();
    if let Some(error) = text(&status["error"]) {
        return LabLook::Failed(error);
    }
    if state == "deployfailed" {
        let why = ready.and_then(|it| text(&it["message"]));
        return LabLook::Failed(
            why.unwrap_or_else(|| "the controller says that deploying it failed".to_owned()),
        );
    }
    if status["topologyReady"] == true {
        return LabLook::Ready;
    }
    let state = if state.is_empty() {
        "not seen by the controller yet"
    } else {
        state
    };
    let count = status["readyNodeCount"]
        .as_i64()
        .zip(status["nodeCount"].as_i64());
    LabLook::Deploying(match count {
        Some((ready, all)) => format!("{state}, {ready} of {all} nodes ready"),
        None => {
            let nodes: Vec<&Value> = status["nodeReadiness"]
                .as_object()
                .into_iter()
                .flat_map(|map| map.values())
                .collect();
            let ready = nodes.iter().filter(|it| **it == "ready").count();
            if nodes.is_empty() {
                state.to_owned()
            } else {
                format!("{state}, {ready} of {} nodes ready", nodes.len())
            }
        }
    })
}
