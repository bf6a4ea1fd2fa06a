//! The manifests: parity with the list of functions, the cluster's own schemas, published tables.

mod conformance;
pub(crate) mod parity;
mod schemas;
