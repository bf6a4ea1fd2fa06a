//! The manifests: parity with the list of functions, the cluster's own schemas, published tables.

mod conformance;
mod parity;
mod schemas;
