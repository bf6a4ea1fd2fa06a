//! Names that Kubernetes takes, made from those of a lab, and which became which.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::problem::Problems;
use crate::topology::{Topology, is_outside};

/// What Kubernetes allows for the name of a Service, which `<lab>-<node>` is.
const LABEL_BYTES_MAX: usize = 63;
/// Of that a lab's name may take so much, that its nodes have room.
const LAB_BYTES_MAX: usize = 32;
/// How many digits of a hash stand at the end of a name that was cut.
const HASH_DIGITS: usize = 6;

/// What a lab and its nodes are called in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The lab: the name of its Topology.
    pub lab: String,
    /// Each node by its own name.
    pub nodes: BTreeMap<String, String>,
}

impl Names {
    /// Chooses names: the same for the same topology, whatever else is in the cluster.
    ///
    /// # Errors
    /// When two nodes would have one name: which of them is meant could not be told.
    pub fn choose(topology: &Topology) -> Result<Self, Problems> {
        let lab = lab_name(&topology.name);
        let node_bytes_max = LABEL_BYTES_MAX - lab.len() - 1;
        let mut problems = Problems::default();
        let mut nodes = BTreeMap::new();
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for node in &topology.nodes {
            let name = fit(&node.name, node_bytes_max);
            if name.is_empty() {
                problems.push(
                    node.at,
                    format!(
                        "nothing of {:?} can stand in a name in a cluster",
                        node.name
                    ),
                );
                continue;
            }
            if is_outside(&name) {
                problems.push(
                    node.at,
                    format!(
                        "{:?} would be called {name} in the cluster, which containerlab takes for what is outside of the lab; rename it",
                        node.name
                    ),
                );
            }
            if let Some(other) = taken.insert(name.clone(), &node.name) {
                problems.push(
                    node.at,
                    format!("{:?} and {other:?} would both be called {name} in the cluster; rename one of them", node.name),
                );
            }
            nodes.insert(node.name.clone(), name);
        }
        problems.none()?;
        Ok(Self { lab, nodes })
    }

    /// The nodes that had to be renamed: what they were called and what they are.
    #[must_use]
    pub fn renamed(&self) -> BTreeMap<&str, &str> {
        let changed = self.nodes.iter().filter(|(was, is)| was != is);
        changed
            .map(|(was, is)| (was.as_str(), is.as_str()))
            .collect()
    }
}

/// What a lab is called in a cluster. A Service's name begins with a letter.
#[must_use]
pub fn lab_name(name: &str) -> String {
    let fitted = fit(name, LAB_BYTES_MAX);
    if fitted.starts_with(|c: char| c.is_ascii_lowercase()) {
        return fitted;
    }
    fit(&format!("lab-{name}"), LAB_BYTES_MAX)
}

/// Lower-case letters, digits and dashes, at most so many; what is cut ends with a hash of the whole, so that it stays the only one.
fn fit(name: &str, bytes_max: usize) -> String {
    let lower: String = name
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '-',
        })
        .collect();
    let trimmed = lower.trim_matches('-');
    if trimmed.len() <= bytes_max {
        return trimmed.to_owned();
    }
    let hash = hex::encode(Sha256::digest(name));
    let kept = trimmed[..bytes_max - HASH_DIGITS - 1].trim_end_matches('-');
    format!("{kept}-{}", &hash[..HASH_DIGITS])
}
