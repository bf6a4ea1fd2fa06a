//! What needs a cluster.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod lab;
mod launcher;
mod place;
