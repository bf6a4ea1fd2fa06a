//! Work that takes longer than a request: a task begins a run, and a runner does it.
//!
//! A task makes a [`model::run::RunSpec`] and calls [`start`]. The run is recorded with its handle before its runner is
//! started, the job waits, and everything that the runner says comes to the function `callback`. Where runners run is the
//! platform's to say: a [`Launcher`] starts, stops and finds them.

mod begin;
mod launcher;
mod local;
mod settings;
mod task;
mod unstarted;

pub use begin::{Runners, start};
pub use launcher::{Launch, Launcher, Look, RunId, Stopped};
pub use local::Local;
pub use settings::{Settings, Where};
pub use task::task;
