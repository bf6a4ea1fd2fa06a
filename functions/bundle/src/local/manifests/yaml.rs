//! What a manifest may cost to be read.

pub(super) use ::yaml::{Entry, Node, Position, Value};

/// The largest manifest, in bytes. The longest of ours has about four thousand.
pub(super) const FILE_BYTES_MAX: u64 = 256 * 1024;
/// The most values in one file, aliases counted once for each use.
const NODES_MAX: usize = 20_000;
/// The deepest nesting. A pod template needs about a dozen levels.
const DEPTH_MAX: usize = 48;
/// The most uses of an anchor in one file.
const ALIASES_MAX: usize = 200;

/// Parses every document of a file; a fault of syntax is a position and a message.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, (Position, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_aliases: ALIASES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
            max_alias_expansions_per_anchor: ALIASES_MAX,
        },
    };
    ::yaml::all(text, options)
}
