//! The frame around every function: it makes small functions possible by being explicit about everything else.
//!
//! A function is a [`Function`]: a name, a database role, what it is, and how its routes are made from its settings. Three
//! values cross the seam and nothing else does: the [`Routes`] (an axum router over [`Ctx`]), the [`Ctx`] (queue, store,
//! blobs, clock …) and the [`Env`] (that function's settings). The same function is served by [`main`] on Knative, by
//! `lambda_http` on AWS Lambda, and by the local runtime in one process with all others.
//!
//! Frames for the kinds of function: [`task`], [`task_with_cancel`], [`tasks()`], [`reconciler`],
//! [`subscriber`], [`background`], or a plain router.

mod attempt;
mod background;
mod bodies;
mod cancel;
mod ctx;
mod drain;
mod env;
mod finisher;
mod function;
mod job;
mod keys;
mod leases;
mod log;
pub mod metrics;
mod open_files;
mod pace;
mod presence;
mod process;
mod proxies;
mod pulse;
pub mod ranges;
mod reconciler;
mod serve;
mod subscriber;
mod tasks;
mod telemetry;
mod ticker;
mod trace;

pub use background::background;
pub use bodies::{BodyError, read_body};
pub use cancel::{CancelReport, task_with_cancel};
pub use ctx::{Clock, Ctx, CtxError, Resources};
pub use drain::task;
pub use env::{Env, SettingsError};
pub use function::{Background, Function, Kind, Mounted, Routes, Telling};
pub use job::{Job, Outcome, TaskError};
pub use keys::Keys;
pub use log::{JobLog, LogRoom};
pub use metrics::Metrics;
pub use open_files::raise_open_files;
pub use process::{EXIT_SETTINGS, main};
pub use pulse::Pulse;
pub use reconciler::{pass, reconciler};
pub use serve::{GRACE, Peer, ServeLimits, listen, serve};
pub use subscriber::{EventError, subscriber};
pub use tasks::tasks;
pub use telemetry::{LogFormat, init_telemetry};
pub use ticker::Ticker;
pub use trace::Traceparent;
