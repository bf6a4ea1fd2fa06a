//! Network labs without a network: topologies of containerlab and netlab are read, checked, turned into what a cluster takes, compared
//! and drawn. Nothing here does I/O.

pub mod clabernetes;
mod files;
mod graph;
mod names;
pub mod netlab;
mod policy;
mod problem;
mod schema;
mod topology;
pub mod yaml;

pub use files::{
    FilesError, LAB_BYTES_MAX, LAB_FILE_BYTES_MAX, LAB_FILES_MAX, LabFile, LabFiles, content_hash,
};
pub use graph::{DRAWN_NODES_MAX, Graph, GraphEdge, GraphNode, TOPOLOGY_ARTIFACT, svg};
pub use names::{Names, lab_name};
pub use policy::{PathKind, Policy, PolicyError, path_kind};
pub use problem::{Problem, Problems};
pub use schema::{ClabSchema, SchemaError};
pub use topology::{
    End, LAB_LINKS_MAX, LAB_NODES_MAX, LabNode, Link, Placed, Topology, TopologyError,
};
