//! Every function in one binary, and the runtime that joins them on one machine.

pub mod cli;
mod demo;
pub mod functions;
pub mod local;
