//! Serves static workloads to the public: a host name leads to a live revision, and [`Sites::serve`] answers from it.

mod cache;
mod negotiate;
mod resolve;
mod serve;

pub use serve::{ServeError, Sites};
