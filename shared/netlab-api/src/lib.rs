//! Labs on a host whose `netlab api` is asked, instead of signing in to it.
//!
//! The API does one job after the other, keeps its list of them in memory, takes no files, and has habits of its own that are known here
//! and nowhere else:
//!
//! - A fatal error of netlab ends a job without a word: it stays `running`, with a time of its end and an empty log. That is a failure
//!   ([`RemoteJob::ended`]).
//! - The log is there when the job has ended, and not before.
//! - A job says `running` while it waits for another. Only one that has not begun at all can be cancelled.
//! - What netlab says is caught for the whole process, and each request to read begins its list of errors anew. So nothing but the job is
//!   asked for while one goes on, and a job that says `success` over errors in its log has failed.
//! - After a restart it knows no job.

mod client;
mod order;
mod orders;

pub use client::{Api, ApiError, RemoteJob};
pub use order::{Order, done};
pub use orders::NetlabOrders;
