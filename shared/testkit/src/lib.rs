//! A migrated database of its own for each test, and the other things that tests of many crates share.
//!
//! ```no_run
//! # async fn test() {
//! let db = testkit::database().await;
//! let owner = db.pool(None).await;
//! let portal = db.pool(Some("portal")).await;
//! # }
//! ```
//!
//! The first database of a test process starts a server for that process alone, on a copy of a data folder in which the
//! migrations have been applied once. The server ends with the process, however that ends, and takes its copy along.
//! Nothing it writes survives a crash of the machine, and nothing has to.

mod conformance;
mod database;
mod git;
mod git_server;
mod https;
mod netlab_api;
mod proxy;
mod s3;
mod server;
mod sshd;
mod template;
mod tick;

pub use conformance::conformance;
pub use database::{TestDb, database};
pub use git::GitOrigin;
pub use git_server::{GitBehaviour, GitServer};
pub use https::Https;
pub use netlab_api::NetlabApi;
pub use proxy::Proxy;
pub use s3::S3;
pub use sshd::Sshd;
pub use template::data_folder;
pub use tick::tick;
