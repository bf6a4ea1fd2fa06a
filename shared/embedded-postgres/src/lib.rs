//! Finds, initialises, starts, adopts, watches and stops a Postgres server of our own.
//!
//! Everything lives in one data folder:
//!
//! | path | holds |
//! | --- | --- |
//! | `postgres/` | the server's own data (`PGDATA`) |
//! | `postgres.json` | the port and the passwords, readable by us alone |
//! | `postgres.log` | what the server says; begun anew when it is over 16 MiB |
//! | `postgresql/` | the server's programs, only when they had to be downloaded |
//! | `lock` | locked while a process of ours uses the folder; holds that process's id |
//!
//! The server listens on 127.0.0.1 only, and wants a password from everybody. Port and passwords stay the same over
//! restarts, so connection pools heal by themselves. It is started in a process group of its own: a Ctrl-C meant for us
//! must not end the database before we have put our work down.
//!
//! Whatever kills us with no chance to say goodbye leaves the server running; the next [`Server::start`] on the folder
//! adopts it, or stops it when it does not answer.

mod account;
mod cluster;
mod credentials;
mod error;
mod installation;
mod lock;
mod log;
mod port;
mod postmaster;
mod server;
mod settings;
mod superuser;

pub use account::Account;
pub use error::{StartError, StopError};
pub use installation::Installation;
pub use port::free_port;
pub use server::{Options, Server, Step};
pub use settings::{Durability, settings};
