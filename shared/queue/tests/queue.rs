//! What the queue promises, tried on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "nobody cancels a test half-way, and its clock is the machine's"
)]

#[path = "queue/cancel.rs"]
mod cancel;
#[path = "queue/concurrency.rs"]
mod concurrency;
#[path = "queue/fairness.rs"]
mod fairness;
#[path = "queue/keys.rs"]
mod keys;
#[path = "queue/lanes.rs"]
mod lanes;
#[path = "queue/measure.rs"]
mod measure;
#[path = "queue/plain.rs"]
mod plain;
#[path = "queue/reasons.rs"]
mod reasons;
#[path = "queue/retention.rs"]
mod retention;
#[path = "queue/runs.rs"]
mod runs;
#[path = "queue/schedules.rs"]
mod schedules;
#[path = "queue/states.rs"]
mod states;
#[path = "queue/wakeups.rs"]
mod wakeups;
#[path = "queue/walk.rs"]
mod walk;
#[path = "queue/world.rs"]
mod world;
