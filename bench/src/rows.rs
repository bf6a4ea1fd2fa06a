//! One module for each row of the table.

pub mod broker;
pub mod claims;
pub mod drain;
pub mod enqueue;
pub mod fair;
pub mod flat;
pub mod flood;
pub mod ingest;
mod latency;
pub mod pages;
pub mod pickup;
pub mod runs;
pub mod served;
pub mod slow;
pub mod started;
pub mod timing;
pub mod up;
pub mod xmin;
