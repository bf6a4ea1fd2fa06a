//! What programs that were written for upstream's schema meet in ours: the statements and parameters that its published
//! packages send, its faults, and what only a database can hold.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "app_jobs/calls.rs"]
mod calls;
#[path = "app_jobs/client.rs"]
mod client;
#[path = "app_jobs/faults.rs"]
mod faults;
#[path = "app_jobs/install.rs"]
mod install;
#[path = "app_jobs/rows.rs"]
mod rows;
#[path = "app_jobs/schedules.rs"]
mod schedules;
#[path = "app_jobs/triggers.rs"]
mod triggers;
