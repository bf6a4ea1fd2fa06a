//! A containerlab topology: what of it we act on, typed; the rest as it was written.

use std::collections::BTreeSet;

use crate::policy::{self, Policy};
use crate::problem::Problems;
use crate::variables::with_defaults;
use crate::yaml::{self, Entry, Node, Position, Value, YamlError};

/// The most nodes of one lab.
pub const LAB_NODES_MAX: usize = 500;
/// The most links of one lab.
pub const LAB_LINKS_MAX: usize = 5_000;
/// The longest name of a lab or node, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Why a topology is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// It is no YAML, or would cost too much.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It is no topology, or asks for what is not allowed.
    #[error(transparent)]
    Refused(#[from] Problems),
}

/// A topology that was looked through.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The lab's name.
    pub name: String,
    /// Where the name stands.
    pub name_at: Position,
    /// Its nodes, in the order in which they were written.
    pub nodes: Vec<LabNode>,
    /// Its links.
    pub links: Vec<Link>,
    /// The whole.
    pub(crate) root: Node,
}

/// A node with what it inherits from its group, its kind and the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct LabNode {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub at: Position,
    /// What it is, in containerlab's words: `linux`, `ceos` ….
    pub kind: Option<String>,
    /// The image that it runs.
    pub image: Option<Placed>,
    /// The address that was chosen for it in the management network.
    pub mgmt_ipv4: Option<String>,
    /// The same for IPv6.
    pub mgmt_ipv6: Option<String>,
    /// Its configuration when it starts: a path, or the text itself when it has several lines.
    pub startup_config: Option<Placed>,
    /// The path of its license.
    pub license: Option<Placed>,
    /// `source:target[:options]`, those it inherits first.
    pub binds: Vec<Placed>,
    /// The paths of other files that it reads: of its environment, and what only its kind has.
    pub beside: Vec<Placed>,
}

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The text.
    pub text: String,
    /// Where.
    pub at: Position,
}

/// A link between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it stands.
    pub at: Position,
    /// Its ends: two, or one where it ends outside the lab.
    pub ends: Vec<End>,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The node.
    pub node: String,
    /// Its interface.
    pub interface: String,
}

impl Topology {
    /// Reads a topology and looks through what it asks for.
    ///
    /// # Errors
    /// Says everything that is wrong with it, with the lines.
    pub fn read(text: &str, policy: &Policy) -> Result<Self, TopologyError> {
        let text = with_defaults(text)?;
        let root = yaml::parse(&text).map_err(|error| policy::no_yaml(&text, error))?;
        let mut problems = Problems::default();
        let topology = shape(&root, &mut problems);
        policy::check_templates(&root, &mut problems);
        for config in configs(&root) {
            policy.check_config(config, &mut problems);
        }
        if let Some(settings) = root.get("settings") {
            Policy::check_settings(settings, &mut problems);
        }
        for link in root
            .get("topology")
            .and_then(|t| t.get("links"))
            .map_or(&[][..], Node::items)
        {
            policy.check_link(link, &mut problems);
        }
        problems.none()?;
        Ok(Self { root, ..topology })
    }

    /// The same lab under another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The images that its nodes run, each once.
    #[must_use]
    pub fn images(&self) -> BTreeSet<&str> {
        let images = self.nodes.iter().filter_map(|node| node.image.as_ref());
        images.map(|image| image.text.as_str()).collect()
    }
}

/// Every configuration of a node and every one that nodes inherit.
fn configs(root: &Node) -> impl Iterator<Item = &Node> {
    let topology = root.get("topology");
    let lists = ["nodes", "kinds", "groups"].into_iter();
    let listed = lists
        .filter_map(move |key| topology.and_then(|t| t.get(key)))
        .flat_map(Node::entries)
        .map(|entry| &entry.node);
    listed.chain(topology.and_then(|t| t.get("defaults")))
}

/// What stands between the names of a lab or of a node.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._|".contains(&b))
}

fn known_keys(node: &Node, what: &str, known: &[&str], problems: &mut Problems) {
    if !matches!(node.value, Value::Map(_)) {
        problems.push(node.at, format!("{what} is a mapping, not {}", node.noun()));
    }
    for entry in node
        .entries()
        .iter()
        .filter(|e| !known.contains(&e.key.as_str()))
    {
        let known = known.join(", ");
        problems.push(
            entry.at,
            format!("{what} has no `{}`; it has {known}", entry.key),
        );
    }
}

fn shape(root: &Node, problems: &mut Problems) -> Topology {
    const TOP: [&str; 6] = ["name", "prefix", "mgmt", "topology", "settings", "debug"];
    known_keys(root, "a topology", &TOP, problems);
    let name = root.get("name");
    let text = name.and_then(Node::as_text).unwrap_or_default();
    let name_at = name.map_or(root.at, |name| name.at);
    if !is_name(text) {
        problems.push(
            name_at,
            "`name` is missing or none: up to 128 letters, digits, dots, dashes and underscores",
        );
    }
    let mut topology = Topology {
        name: text.to_owned(),
        name_at,
        nodes: Vec::new(),
        links: Vec::new(),
        root: Node::text(""),
    };
    let Some(inner) = root.get("topology") else {
        problems.push(root.at, "`topology` is missing");
        return topology;
    };
    const INNER: [&str; 5] = ["nodes", "kinds", "groups", "defaults", "links"];
    known_keys(inner, "`topology`", &INNER, problems);
    let listed = inner.get("nodes").map_or(&[][..], Node::entries);
    if listed.is_empty() {
        problems.push(inner.at, "`topology.nodes` is missing or empty");
    }
    if listed.len() > LAB_NODES_MAX {
        problems.push(
            inner.at,
            format!("{} nodes are more than {LAB_NODES_MAX}", listed.len()),
        );
        return topology;
    }
    for entry in listed {
        if !is_name(&entry.key) {
            problems.push(entry.at, format!("{:?} is no name for a node", entry.key));
        }
        if !matches!(entry.node.value, Value::Map(_) | Value::Null) {
            problems.push(
                entry.node.at,
                format!("a node is a mapping, not {}", entry.node.noun()),
            );
        }
        topology.nodes.push(lab_node(inner, entry, problems));
    }
    let links = inner.get("links").map_or(&[][..], Node::items);
    if links.len() > LAB_LINKS_MAX {
        problems.push(
            inner.at,
            format!("{} links are more than {LAB_LINKS_MAX}", links.len()),
        );
        return topology;
    }
    let names: BTreeSet<&str> = listed.iter().map(|entry| entry.key.as_str()).collect();
    for link in links {
        let ends = link_ends(link, problems);
        for end in &ends {
            if !names.contains(end.node.as_str()) {
                let node = &end.node;
                problems.push(
                    link.at,
                    format!("a link leads to {node:?}, which is no node of the lab"),
                );
            }
        }
        topology.links.push(Link { at: link.at, ends });
    }
    topology
}

/// A node, after what it inherits: containerlab looks at the node, then its group, then its kind, then the defaults. The kind can
/// be the group's to say, and the group the kind's.
/// <https://github.com/srl-labs/containerlab/blob/main/types/topology.go>
fn lab_node(topology: &Node, entry: &Entry, problems: &mut Problems) -> LabNode {
    let own = &entry.node;
    let named = |list: &str, name: Option<&Node>| {
        let name = name.and_then(Node::as_text)?;
        topology.get(list)?.get(name)
    };
    let defaults = topology.get("defaults");
    let of_defaults = defaults.and_then(|defaults| defaults.get("group"));
    let kind = [
        Some(own),
        named("groups", own.get("group")),
        named("groups", of_defaults),
        defaults,
    ]
    .into_iter()
    .flatten()
    .find_map(|config| config.get("kind"));
    if let Some(kind) = kind.filter(|kind| kind.as_text().is_none() && kind.value != Value::Null) {
        problems.push(kind.at, format!("`kind` is a string, not {}", kind.noun()));
    }
    let of_kind = named("kinds", kind);
    let group = own
        .get("group")
        .or_else(|| of_kind?.get("group"))
        .or(of_defaults);
    let nearest_first: Vec<&Node> = [Some(own), named("groups", group), of_kind, defaults]
        .into_iter()
        .flatten()
        .collect();
    let mut text = |key: &str| {
        let value = nearest_first.iter().find_map(|config| config.get(key))?;
        match &value.value {
            Value::Text(text) if !text.is_empty() => Some(Placed {
                text: text.clone(),
                at: value.at,
            }),
            Value::Text(_) | Value::Null => None,
            Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => {
                problems.push(
                    value.at,
                    format!("`{key}` is a string, not {}", value.noun()),
                );
                None
            }
        }
    };
    let binds = nearest_first
        .iter()
        .rev()
        .filter_map(|config| config.get("binds"))
        .flat_map(Node::items)
        .filter_map(|bind| {
            let text = bind.as_text()?.to_owned();
            Some(Placed { text, at: bind.at })
        });
    let of_environment = nearest_first
        .iter()
        .filter_map(|config| config.get("env-files"));
    let of_kinds = nearest_first
        .iter()
        .filter_map(|config| config.get("extras"))
        .flat_map(Node::entries)
        .map(|extra| &extra.node);
    let beside = of_environment
        .chain(of_kinds)
        .flat_map(Node::items)
        .filter_map(|path| {
            let text = path.as_text()?.to_owned();
            Some(Placed { text, at: path.at })
        });
    LabNode {
        name: entry.key.clone(),
        at: entry.at,
        binds: binds.collect(),
        beside: beside.collect(),
        image: text("image"),
        mgmt_ipv4: text("mgmt-ipv4").map(|placed| placed.text),
        mgmt_ipv6: text("mgmt-ipv6").map(|placed| placed.text),
        startup_config: text("startup-config"),
        license: text("license"),
        kind: kind.and_then(Node::as_text).map(str::to_owned),
    }
}

/// Types of links between two nodes, and those that end outside the lab or nowhere.
const TWO_ENDED: [&str; 2] = ["veth", "veth-stitch"];
const ONE_ENDED: [&str; 6] = [
    "dummy",
    "host",
    "macvlan",
    "mgmt-net",
    "vxlan",
    "vxlan-stitch",
];
/// What is no node in the short form of a link; what they need is the policy's to say.
const OUTSIDE: [&str; 3] = ["host", "macvlan", "mgmt-net"];

/// Whether an end of a link is none of the lab's nodes, in whatever letters: containerlab compares them as small ones.
/// <https://github.com/srl-labs/containerlab/blob/main/links/link.go>
pub(crate) fn is_outside(node: &str) -> bool {
    OUTSIDE.contains(&&*node.trim().to_ascii_lowercase())
}

/// The type of a link as containerlab reads it; empty for the short form, which may also say `brief`.
pub(crate) fn link_type(link: &Node) -> String {
    let Some(kind) = link.get("type") else {
        return String::new();
    };
    match &kind.value {
        Value::Text(text) => match &*text.trim().to_ascii_lowercase() {
            "brief" => String::new(),
            kind => kind.to_owned(),
        },
        Value::Null => String::new(),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            kind.noun().to_owned()
        }
    }
}

/// The ends of a link in the lab. Without a type they are `endpoints: ["r1:eth1", "r2:eth1"]`; with one, two mappings of them, or
/// one `endpoint`.
/// <https://github.com/srl-labs/containerlab/blob/main/schemas/clab.schema.json>
fn link_ends(link: &Node, problems: &mut Problems) -> Vec<End> {
    let named = &*link_type(link);
    let at = link.get("type").map_or(link.at, |kind| kind.at);
    let has_one_end = ONE_ENDED.contains(&named);
    let written: &[Node] = if has_one_end {
        link.get("endpoint").map_or(&[], std::slice::from_ref)
    } else {
        link.get("endpoints").map_or(&[], Node::items)
    };
    if has_one_end {
        if written.is_empty() {
            problems.push(
                at,
                format!("a link of the type `{named}` has one end: endpoint: {{node: r1, interface: eth1}}"),
            );
        }
    } else if !named.is_empty() && !TWO_ENDED.contains(&named) {
        let known = [&TWO_ENDED[..], &ONE_ENDED[..]].concat().join(", ");
        problems.push(
            at,
            format!("a link has no type `{named}`; it is one of {known}"),
        );
    } else if written.len() != 2 {
        problems.push(
            link.at,
            "a link has two ends: endpoints: [\"r1:eth1\", \"r2:eth1\"]",
        );
    }
    let mut ends = Vec::new();
    for end in written {
        match end_of(end) {
            Some((node, _)) if named.is_empty() && is_outside(node) => {}
            Some((node, interface)) => ends.push(End {
                node: node.to_owned(),
                interface: interface.to_owned(),
            }),
            None => problems.push(
                end.at,
                "an end of a link is \"node:interface\", or {node: …, interface: …}",
            ),
        }
    }
    ends
}

fn end_of(end: &Node) -> Option<(&str, &str)> {
    match &end.value {
        Value::Text(text) => text
            .split_once(':')
            .filter(|(node, interface)| !node.is_empty() && !interface.is_empty()),
        Value::Map(_) => end
            .get("node")
            .and_then(Node::as_text)
            .zip(end.get("interface").and_then(Node::as_text)),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::List(_) => None,
    }
}
