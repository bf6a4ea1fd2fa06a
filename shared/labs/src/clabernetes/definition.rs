//! The topology as the launchers read it: nodes by their names in the cluster, files where the launchers put them.

use std::collections::BTreeMap;

use super::ObjectsError;
use crate::files::{LabFile, LabFiles};
use crate::names::Names;
use crate::policy::{PathKind, is_whole_folder, path_kind};
use crate::problem::Problems;
use crate::topology::{LabNode, Placed, Topology};
use crate::yaml::{Entry, Node, Position, Value};

/// Where a startup configuration is put that was written into the topology itself. Long texts do not belong into the Topology.
const INLINE_STARTUP: &str = "clabernetes/startup-config";

/// What containerlab writes into the lab's folder by itself when the lab starts.
const MADE_BY_CONTAINERLAB: [&str; 3] = [
    "__clabDir__/.tls",
    "__clabDir__/ansible-inventory.yml",
    "__clabDir__/topology-data.json",
];

pub(super) struct Definition {
    /// As YAML.
    pub(super) text: String,
    /// What each node, by its name in the cluster, gets, by path.
    pub(super) files: BTreeMap<String, BTreeMap<String, LabFile>>,
}

pub(super) fn rewrite(
    topology: &Topology,
    files: &LabFiles,
    names: &Names,
) -> Result<Definition, ObjectsError> {
    let mut problems = Problems::default();
    let mut root = topology.root.clone();
    let mut mounted = BTreeMap::new();
    if let Some(name) = root.get_mut("name") {
        *name = Node::text(&names.lab);
    }
    let Some(inner) = root.get_mut("topology") else {
        return Err(Problems::one("`topology` is missing").into());
    };
    // What nodes inherit of files is written to each of them, so that it stands nowhere else.
    for section in ["kinds", "groups"] {
        let Some(Value::Map(entries)) = inner.get_mut(section).map(|node| &mut node.value) else {
            continue;
        };
        for entry in entries {
            drop_file_keys(&mut entry.node);
        }
    }
    if let Some(defaults) = inner.get_mut("defaults") {
        drop_file_keys(defaults);
    }
    if let Some(Value::Map(entries)) = inner.get_mut("nodes").map(|node| &mut node.value) {
        for (entry, node) in entries.iter_mut().zip(&topology.nodes) {
            let Some(name) = names.nodes.get(&node.name) else {
                return Err(
                    Problems::one(format!("{} has no name in the cluster", node.name)).into(),
                );
            };
            let own = mounted.entry(name.clone()).or_insert_with(BTreeMap::new);
            let mut gather = Gather {
                topology,
                node,
                files,
                own,
                problems: &mut problems,
            };
            gather.rewrite(&mut entry.node);
            entry.key.clone_from(name);
            rename_references(&mut entry.node, names);
        }
    }
    if let Some(Value::List(links)) = inner.get_mut("links").map(|node| &mut node.value) {
        for link in links {
            rename_ends(link, names);
        }
    }
    problems.none()?;
    let text = serde_saphyr::to_string(&root)
        .map_err(|error| Problems::one(format!("the topology cannot be written: {error}")))?;
    Ok(Definition {
        text,
        files: mounted,
    })
}

const FILE_KEYS: [&str; 3] = ["binds", "startup-config", "license"];

fn drop_file_keys(config: &mut Node) {
    if let Value::Map(entries) = &mut config.value {
        entries.retain(|entry| !FILE_KEYS.contains(&entry.key.as_str()));
    }
}

/// Collects what one node needs.
struct Gather<'a> {
    topology: &'a Topology,
    node: &'a LabNode,
    files: &'a LabFiles,
    own: &'a mut BTreeMap<String, LabFile>,
    problems: &'a mut Problems,
}

impl Gather<'_> {
    fn rewrite(&mut self, config: &mut Node) {
        let binds: Vec<Node> = self
            .node
            .binds
            .iter()
            .map(|bind| Node::text(self.bind(bind)))
            .collect();
        let startup = self.node.startup_config.as_ref().map(|it| self.startup(it));
        let license = self
            .node
            .license
            .as_ref()
            .map(|it| self.file("license", it));
        // These stay where they are written.
        for beside in &self.node.beside {
            self.file("a file", beside);
        }
        drop_file_keys(config);
        if config.value == Value::Null {
            config.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut config.value else {
            return;
        };
        let mut add = |key: &str, node: Node| {
            let at = Position::default();
            entries.push(Entry {
                key: key.to_owned(),
                at,
                node,
            });
        };
        if !binds.is_empty() {
            let value = Value::List(binds);
            add(
                "binds",
                Node {
                    at: Position::default(),
                    value,
                },
            );
        }
        if let Some(path) = startup {
            add("startup-config", Node::text(path));
        }
        if let Some(path) = license {
            add("license", Node::text(path));
        }
    }

    fn bind(&mut self, bind: &Placed) -> String {
        let Some((source, rest)) = bind.text.split_once(':') else {
            return bind.text.clone();
        };
        if MADE_BY_CONTAINERLAB.contains(&source) && self.locate(source).is_none() {
            return bind.text.clone();
        }
        if is_whole_folder(source) {
            let all = self.files.iter();
            self.own
                .extend(all.map(|(path, file)| (path.to_owned(), file.clone())));
            return bind.text.clone();
        }
        let path = self.path(source);
        let PathKind::Inside(path) = path_kind(&path) else {
            return bind.text.clone(); // Of the host, which the policy allowed.
        };
        self.take("the bind", &path, bind.at);
        format!("{path}:{rest}")
    }

    fn startup(&mut self, config: &Placed) -> String {
        if !config.text.contains('\n') {
            return self.file("startup-config", config);
        }
        let bytes = config.text.clone().into_bytes();
        let file = LabFile {
            bytes,
            executable: false,
        };
        self.own.insert(INLINE_STARTUP.to_owned(), file);
        INLINE_STARTUP.to_owned()
    }

    fn file(&mut self, what: &str, placed: &Placed) -> String {
        let path = self.path(&placed.text);
        let PathKind::Inside(path) = path_kind(&path) else {
            self.problems.push(
                placed.at,
                format!("`{what}` {path:?} leads out of the lab's folder"),
            );
            return path;
        };
        self.take(what, &path, placed.at);
        path
    }

    /// Where a path of the topology leads: to what is there, or else to where containerlab would look.
    fn path(&self, written: &str) -> String {
        let found = self.locate(written);
        found.unwrap_or_else(|| {
            let folder = self.folder();
            let of_node = format!("{folder}/{}", self.node.name);
            self.expand(written, &folder, &of_node)
        })
    }

    fn locate(&self, written: &str) -> Option<String> {
        let folder = self.folder();
        let of_node = format!("{folder}/{}", self.node.name);
        // Before its first start a lab has no such folder: clabernetes' own converter takes the topology's for it.
        [(folder.as_str(), of_node.as_str()), (".", &self.node.name)]
            .into_iter()
            .find_map(|(folder, of_node)| {
                let PathKind::Inside(path) = path_kind(&self.expand(written, folder, of_node))
                else {
                    return None;
                };
                let found = self.files.at_or_below(&path).next().is_some();
                found.then_some(path)
            })
    }

    fn folder(&self) -> String {
        format!("clab-{}", self.topology.name)
    }

    /// The names that containerlab replaces in paths.
    fn expand(&self, path: &str, folder: &str, of_node: &str) -> String {
        path.replace("__clabNodeDir__", of_node)
            .replace("__clabNodeName__", &self.node.name)
            .replace("__clabLabName__", &self.folder())
            .replace("__clabDir__", folder)
    }

    fn take(&mut self, what: &str, path: &str, at: Position) {
        let mut found = false;
        for (path, file) in self.files.at_or_below(path) {
            found = true;
            self.own.insert(path.to_owned(), file.clone());
        }
        if !found {
            let node = &self.node.name;
            self.problems.push(
                at,
                format!("{what} of node {node} names {path:?}, which is not among the lab's files"),
            );
        }
    }
}

/// Where a node's configuration names another node.
fn rename_references(config: &mut Node, names: &Names) {
    if let Some(mode) = config.get_mut("network-mode")
        && let Some(new) = mode
            .as_text()
            .and_then(|text| text.strip_prefix("container:"))
            .and_then(|node| names.nodes.get(node))
    {
        *mode = Node::text(format!("container:{new}"));
    }
    let Some(Value::Map(stages)) = config.get_mut("stages").map(|node| &mut node.value) else {
        return;
    };
    for stage in stages {
        let waits = stage.node.get_mut("wait-for").map(|node| &mut node.value);
        let Some(Value::List(waits)) = waits else {
            continue;
        };
        for wait in waits {
            rename_key(wait, "node", names);
        }
    }
}

fn rename_key(map: &mut Node, key: &str, names: &Names) {
    if let Some(node) = map.get_mut(key)
        && let Some(new) = node.as_text().and_then(|text| names.nodes.get(text))
    {
        *node = Node::text(new);
    }
}

fn rename_ends(link: &mut Node, names: &Names) {
    if let Some(end) = link.get_mut("endpoint") {
        rename_end(end, names);
    }
    if let Some(Value::List(ends)) = link.get_mut("endpoints").map(|node| &mut node.value) {
        for end in ends {
            rename_end(end, names);
        }
    }
}

fn rename_end(end: &mut Node, names: &Names) {
    if let Some((node, interface)) = end.as_text().and_then(|text| text.split_once(':')) {
        if let Some(new) = names.nodes.get(node) {
            *end = Node::text(format!("{new}:{interface}"));
        }
        return;
    }
    rename_key(end, "node", names);
}
