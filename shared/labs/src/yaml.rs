//! YAML from strangers, read within a budget.
//!
//! What would cost more than its size says (anchors used without end, nesting without end, tags that name a language's objects,
//! a key that stands twice) is refused before anything is built of it.

pub use ::yaml::{Entry, Node, Position, Value};

/// The largest topology, in bytes of YAML. One of a hundred nodes that netlab wrote has about 100 kB.
pub const TOPOLOGY_BYTES_MAX: usize = 1024 * 1024;
/// The most values in one file, aliases counted once for each use.
const NODES_MAX: usize = 50_000;
/// The deepest nesting.
const DEPTH_MAX: usize = 32;
/// The most that aliases may add to a file, in events of its parser.
const REPLAYED_MAX: usize = 4_000;
/// The most uses of anchors, and the most anchors, in one file.
const ALIASES_MAX: usize = 1_000;

/// Why a text is no YAML that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Too long to be looked at.
    #[error("the file has {bytes} bytes; more than {TOPOLOGY_BYTES_MAX} are not read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Wrong, or beyond the budget.
    #[error("{at}: {message}")]
    Wrong {
        /// Where.
        at: Position,
        /// What is wrong.
        message: String,
    },
}

/// Reads one document.
///
/// # Errors
/// When it is too large, is not YAML, is more than one document, or would cost more than the budget allows.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > TOPOLOGY_BYTES_MAX {
        return Err(YamlError::TooLarge { bytes: text.len() });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_merge_keys: ALIASES_MAX,
            max_documents: 1,
            max_recorded_anchor_events: NODES_MAX,
            max_recorded_anchor_bytes: TOPOLOGY_BYTES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED_MAX,
            max_alias_expansions_per_anchor: ALIASES_MAX,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    ::yaml::one(text, options).map_err(|(at, message)| YamlError::Wrong { at, message })
}
