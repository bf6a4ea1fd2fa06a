//! The local runtime: what a cluster does for the functions, in one process, from the same manifests.

pub mod manifests;
