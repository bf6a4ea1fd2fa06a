//! Network labs without a network: topologies of containerlab and netlab are read, checked, turned into what a cluster takes, compared
//! and drawn. Nothing here does I/O.

pub mod clabernetes;
mod draw;
mod files;
mod graph;
mod layout;
mod names;
pub mod netlab;
mod policy;
mod problem;
mod schema;
mod topology;
mod variables;
pub mod yaml;

pub use draw::{DRAWN_NODES_MAX, svg};
pub use files::{
    FilesError, LAB_BYTES_MAX, LAB_FILE_BYTES_MAX, LAB_FILES_MAX, LabFile, LabFiles, content_hash,
};
pub use graph::{Graph, GraphEdge, GraphNode, TOPOLOGY_ARTIFACT};
pub use names::{Names, lab_name};
pub use policy::{PathKind, Policy, PolicyError, path_kind};
pub use problem::{Problem, Problems};
pub use schema::{ClabSchema, SchemaError};
pub use topology::{
    End, LAB_LINKS_MAX, LAB_NODES_MAX, LabNode, Link, Placed, Topology, TopologyError,
};
