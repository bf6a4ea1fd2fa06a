//! What a lab looks like: its nodes with where they are reached, and its links. Kept as an artifact, drawn, and shown as a table.

use serde::{Deserialize, Serialize};

use crate::topology::Topology;

/// The name of the artifact.
pub const TOPOLOGY_ARTIFACT: &str = "topology.json";

/// The topology artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// The lab.
    pub lab: String,
    /// What it was made from: `netlab`, `containerlab` or `clabernetes`.
    pub source: String,
    /// Its nodes, in the topology's order.
    pub nodes: Vec<GraphNode>,
    /// Its links.
    pub edges: Vec<GraphEdge>,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// Its name in the lab.
    pub id: String,
    /// What it is: `linux`, `ceos`, `frr` ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The image that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its address for management: in the lab's own network before it is deployed, in the cluster's after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgmt_ip: Option<String>,
    /// Its stable name for management.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgmt_host: Option<String>,
    /// How it is: `ready`, `notready`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphEdge {
    /// The node at one end.
    pub source: String,
    /// Its interface.
    pub source_interface: String,
    /// The node at the other.
    pub target: String,
    /// Its interface.
    pub target_interface: String,
}

impl Graph {
    /// Reads a topology artifact: one of ours, or netlab's own description of a lab. Nothing where it is neither.
    #[must_use]
    pub fn read(artifact: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(artifact).ok()?;
        if value.get("edges").is_some() {
            return serde_json::from_value(value).ok();
        }
        crate::netlab::graph(&value)
    }
}

impl From<&Topology> for Graph {
    fn from(topology: &Topology) -> Self {
        let nodes = topology.nodes.iter().map(|node| GraphNode {
            id: node.name.clone(),
            kind: node.kind.clone(),
            image: node.image.as_ref().map(|image| image.text.clone()),
            mgmt_ip: node.mgmt_ipv4.clone().or_else(|| node.mgmt_ipv6.clone()),
            mgmt_host: None,
            status: None,
        });
        let edges = topology
            .links
            .iter()
            .filter_map(|link| match link.ends.as_slice() {
                [a, b] => Some(GraphEdge {
                    source: a.node.clone(),
                    source_interface: a.interface.clone(),
                    target: b.node.clone(),
                    target_interface: b.interface.clone(),
                }),
                _ => None,
            });
        Self {
            lab: topology.name.clone(),
            source: "containerlab".to_owned(),
            nodes: nodes.collect(),
            edges: edges.collect(),
        }
    }
}
