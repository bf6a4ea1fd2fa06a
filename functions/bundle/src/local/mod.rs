//! The local runtime: what a cluster does for the functions, in one process, from the same manifests.
//!
//! [`Runtime::start`] runs every Service in process (or, isolated, as a child process), joins them by a durable broker and
//! the clocks of the PingSources, and answers people through a gateway that routes by host name.

mod broker;
mod child;
mod clock;
mod endpoint;
mod gateway;
mod hosts;
mod inner;
pub mod manifests;
mod runtime;
mod settings;

pub use runtime::{Databases, Runtime, RuntimeError, RuntimeOptions};
