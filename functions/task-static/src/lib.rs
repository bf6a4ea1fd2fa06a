//! Publishes a folder of a Git repository as a static site, and takes a site back to an earlier revision.
//!
//! A deploy follows its branch: what is published is what the branch has when the job starts, whatever commit the event
//! named. Fetching, rendering and storing may be repeated at will; the one thing that counts, which revision is live, is
//! switched in the transaction that finishes the job, under the job's epoch. Until then the last revision stays live.

pub mod config;
mod deploy;
mod markdown;
pub mod publish;
pub mod render;
mod revision;
mod settings;
pub mod source;

use host::{Function, Kind};
use model::{DatabaseRole, TaskPolicy};

pub use revision::{BuildError, BuildFrom, Built, build};

use crate::settings::Worker;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Task(POLICY),
    routes: |env| {
        let worker = Worker::new(env)?;
        Ok(host::task(POLICY, move |ctx, job| {
            deploy::run(ctx, worker.clone(), job)
        }))
    },
};

/// The usual: a fetch may take a minute, and rendering and storing what it brought another one.
const POLICY: TaskPolicy = TaskPolicy::DEFAULT;
