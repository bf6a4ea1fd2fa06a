//! One module for each row of the table.

pub mod broker;
pub mod ingest;
mod latency;
pub mod pickup;
mod served;
pub mod started;
pub mod up;
