//! A cluster for tests: an API server that keeps objects as a real one does, and the definitions that it checks them against.
//!
//! It knows versions and conflicts, server-side apply with the managers of fields, owners, watches that begin where they are told or
//! are told 410, and what no cluster takes (names, sizes, objects that are not what their definition says). It runs nothing: a test plays
//! the controllers by writing status.

mod crds;
mod fields;
mod objects;
mod path;
mod server;

pub use crds::Crds;
pub use server::Server;
