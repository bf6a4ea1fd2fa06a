//! How many files and connections a process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the connections of a server at their most, with room for pools and files.
const OPEN_FILES: u64 = 65_536;

/// Raises what this process may have open, as far as it may by itself: many shells give a thousand, of which a burst of senders
/// leaves nothing.
pub fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if now.current.is_none_or(|current| current >= most) {
        return;
    }
    let wanted = Rlimit {
        current: Some(most),
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!("the limit of open files stays {:?}: {error}", now.current);
    }
}
