//! What our queue is compared with: raw SQL, and the queues of others in the configuration that their authors recommend for
//! throughput.

pub mod apalis;
pub mod graphile;
pub mod raw;

use std::time::Duration;

/// Whose logs are not written: what a span costs at `info` is no part of their work.
pub const TARGETS: [&str; 2] = ["graphile_worker", "apalis"];

/// How long a drain may take before it counts as stuck.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);
/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(2);
