//! Programs on other machines, over SSH, that end when they are told to.
//!
//! An SSH server does not end what a client leaves: closing the channel or the connection leaves the process running, and a signal that the
//! protocol carries is dropped where the user is root. So a program is started apart from its connection, in a session of its own, with
//! its output in files; it is followed from where one was when the connection breaks off, and stopped over a second channel, until nothing
//! of it is there.

mod executes;
mod host_keys;
mod program;
mod script;
mod session;

pub use executes::Ssh;
pub use host_keys::{HostKeys, HostKeysError, check_private_key};
pub use program::{RemoteProgram, run};
pub use session::{Said, Session, SshError, Target};
