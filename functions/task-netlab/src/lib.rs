//! Runs netlab: checks topologies and makes the files of labs where runners run, and starts, stops and reads labs on hosts that run
//! them, over SSH or by netlab's own API.
//!
//! What a topology may ask for is decided before netlab sees it. The files of a lab are kept as one archive whose bytes depend on
//! nothing else, with a hash by which an unchanged lab is told.

mod by_api;
mod lab_host;
mod settings;
pub mod spec;
mod work;

use host::{Function, Kind};
use model::{DatabaseRole, TaskPolicy};

pub use crate::by_api::by_api;
pub use crate::lab_host::{ApiHost, LabHost};
use crate::settings::Worker;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |env| {
        let worker = Worker::new(env)?;
        let runners = worker.runners().clone();
        Ok(launch::task(POLICY, runners, move |ctx, job| {
            work::run(ctx, worker.clone(), job)
        }))
    },
};

/// The usual: an attempt here only begins a run.
const POLICY: TaskPolicy = TaskPolicy::DEFAULT;
