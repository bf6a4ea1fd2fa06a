//! Puts network labs into a cluster by clabernetes, takes them away, and says how they are.
//!
//! A deploy applies the lab once, then gives its job back and looks again until all of the lab runs, it has failed, or its time is over.
//! What is there is the cluster's to say, so any worker goes on where another left off. A tenant's labs have a namespace of
//! their own.

mod images;
mod lab;
mod settings;
mod work;

use host::{Function, Kind};
use model::{DatabaseRole, TaskPolicy};

use crate::settings::Worker;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |env| {
        let worker = Worker::new(env)?;
        Ok(host::task(POLICY, move |ctx, job| {
            work::run(ctx, worker.clone(), job)
        }))
    },
};

/// The usual: a large lab is some hundred calls to the cluster.
const POLICY: TaskPolicy = TaskPolicy::DEFAULT;

#[cfg(test)]
mod tests;
