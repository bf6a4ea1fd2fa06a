//! The only holder of database connections. There is no raw pool: a function gets [`SystemDb`] (single statements under a
//! narrow role, over all tenants) or [`TenantDb`] (one transaction with the tenant set, row level security forced).
//!
//! Which one works is decided by the Postgres role that the process was given, not by this crate: under the role
//! `switchyard_tenant` the queue's functions are refused by the database, whatever the code tries.

mod answered;
mod backoff;
mod connect;
mod guarded;
mod migrate;
mod pool;
mod system;
mod tenant;

pub use answered::{Unanswered, answered, answered_within};
pub use connect::{Connect, ConnectError, is_about_a_value, is_broken, is_passing};
pub use guarded::{Conn, Guarded};
pub use migrate::{MIGRATOR, MigrateError, migrate};
pub use system::SystemDb;
pub use tenant::{TenantDb, TenantTx};
