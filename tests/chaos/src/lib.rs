//! Faults, and what must be true after them: processes of their own on a Postgres server of their own, a broker's place taken
//! by the test, and a ledger of everything that was done, which is compared with what is on record.
//!
//! Each fault is a function over [`Setup`], whose [`Times`] say how long an outage lasts: the tests run it with one or two
//! leases of three seconds, measurements with the times that the promise names.

mod board;
mod cluster;
pub mod faults;
mod feeder;
mod hook;
mod ledger;
mod outside;
mod process;
mod task;

use std::path::PathBuf;
use std::time::Duration;

use host::Function;

pub use cluster::Cluster;
pub use hook::Hook;
pub use ledger::{Books, Effect, Ledger, What};
pub use process::Process;
pub use task::{Act, FUNCTION};

/// What the program serves: those functions of the system that faults are done to, and [`FUNCTION`].
pub const FUNCTIONS: [Function; 9] = [
    callback::FUNCTION,
    FUNCTION,
    cron_reap::FUNCTION,
    cron_republish::FUNCTION,
    cron_schedules::FUNCTION,
    dispatch::FUNCTION,
    relay::FUNCTION,
    task_http::FUNCTION,
    webhook_github::FUNCTION,
];

/// With what a fault is tried.
#[derive(Debug, Clone)]
pub struct Setup {
    /// A program whose first argument names the function that it serves, of [`FUNCTIONS`].
    pub program: PathBuf,
    /// The value of `PATH`, where Postgres is looked for.
    pub path: String,
    /// How long everything takes.
    pub times: Times,
}

/// How long everything takes.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Of a job.
    pub lease: Duration,
    /// Of a worker.
    pub heartbeat: Duration,
    /// Of a drain.
    pub slice: Duration,
    /// Between two ticks of the reconcilers.
    pub tick: Duration,
    /// Of whatever is away.
    pub outage: Duration,
    /// How long there is load where a fault comes again and again.
    pub load: Duration,
    /// Jobs a second under load.
    pub rate: u32,
    /// Jobs of a tenant that floods.
    pub flood: u32,
    /// Output of a job that does not stop talking, in MiB.
    pub output_mib: u32,
    /// Workers that are replaced one after the other.
    pub replaced: usize,
    /// What a busy machine may take longer than was promised. Where there is none, figures are held to; elsewhere order and
    /// loss alone.
    pub slack: Duration,
    /// How long may take what nothing is promised of: a process's first work, the end of jobs that run.
    pub patience: Duration,
}

impl Times {
    /// Short enough for every run of the tests.
    pub const SHORT: Self = Self {
        lease: Duration::from_secs(3),
        heartbeat: Duration::from_secs(1),
        slice: Duration::from_secs(5),
        tick: Duration::from_secs(1),
        outage: Duration::from_secs(6),
        load: Duration::from_secs(6),
        rate: 50,
        flood: 5_000,
        output_mib: 32,
        replaced: 3,
        slack: Duration::from_secs(10),
        patience: Duration::from_secs(30),
    };
    /// As the promise has it.
    pub const LONG: Self = Self {
        lease: Duration::from_secs(30),
        heartbeat: Duration::from_secs(10),
        slice: Duration::from_secs(25),
        tick: Duration::from_secs(15),
        outage: Duration::from_secs(60),
        load: Duration::from_secs(60),
        rate: 200,
        flood: 1_000_000,
        output_mib: 1024,
        replaced: 20,
        slack: Duration::ZERO,
        patience: Duration::from_secs(120),
    };

    /// From a worker's death until its jobs run again: its lease and a tick.
    #[must_use]
    pub fn taken_over(&self) -> Duration {
        self.lease + self.tick + self.slack
    }

    /// Whether figures are held to, and not order and loss alone.
    #[must_use]
    pub const fn are_promised(&self) -> bool {
        self.slack.is_zero()
    }
}
