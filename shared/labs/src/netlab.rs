//! netlab: what its topologies may ask for, and what it says. <https://netlab.tools>
//!
//! Its topologies are code in all but name: templates are evaluated, plugins are Python that is imported, files are copied from wherever
//! a path leads. What a tenant may bring is decided here, before a process sees it.

use serde::Deserialize;

use crate::files::LabFiles;
use crate::graph::{Graph, GraphEdge, GraphNode};
use crate::policy::{self, PathKind, Policy, path_kind};
use crate::problem::{Problem, Problems};
use crate::topology::{LAB_NODES_MAX, TopologyError};
use crate::yaml::{self, Entry, Node, Position, Value};

/// Looks through a netlab topology and the files beside it.
///
/// # Errors
/// Says everything that is not allowed, with the lines.
pub fn check(topology: &str, files: &LabFiles, policy: &Policy) -> Result<(), TopologyError> {
    let root = yaml::parse(topology).map_err(|error| policy::no_yaml(topology, error))?;
    let mut problems = Problems::default();
    if !matches!(root.value, Value::Map(_)) {
        problems.push(
            root.at,
            format!("a topology is a mapping, not {}", root.noun()),
        );
    }
    let nodes = root
        .get("nodes")
        .map_or(0, |nodes| nodes.entries().len() + nodes.items().len());
    if nodes > LAB_NODES_MAX {
        problems.push(
            root.at,
            format!("{nodes} nodes are more than {LAB_NODES_MAX}"),
        );
    }
    policy::check_templates(&root, &mut problems);
    walk(&root, &mut Vec::new(), policy, &mut problems);
    for (path, file) in files.iter() {
        check_file(path, &file.bytes, policy, &mut problems);
    }
    Ok(problems.none()?)
}

/// What providers and automation run or remove, below `defaults.providers` and `defaults.automation`.
const COMMANDS: [&str; 6] = ["act_probe", "cleanup", "cmd", "probe", "start", "stop"];
/// What matters also where it is in the middle of a key.
const WHOLE: [&str; 4] = ["_include", "exec", "host_exec", "sources"];

/// Of Ansible's own variables those that only say who signs in to a device. The others choose programs, their arguments, and where
/// they run.
const SIGNING_IN: [&str; 6] = [
    "ansible_become",
    "ansible_become_password",
    "ansible_network_os",
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_user",
];

const NO_EXEC: &str =
    "runs commands when the lab starts, which is not allowed here; ask the operator to allow exec";
const NO_FILES: &str = "reads other files than those of the lab, which is not allowed";

/// `clab.exec` and `clab: {exec: …}` are the same to netlab, and so are `clab.binds./etc` and `clab.binds: {/etc: …}`.
fn walk(node: &Node, above: &mut Vec<String>, policy: &Policy, problems: &mut Problems) {
    for item in node.items() {
        walk(item, above, policy, problems);
    }
    for entry in node.entries() {
        let outer = above.len();
        above.extend(entry.key.split('.').map(str::to_owned));
        check_place(above, outer, entry, policy, problems);
        walk(&entry.node, above, policy, problems);
        above.truncate(outer);
    }
}

/// Looks at an entry by where it is; `outer` of these parts are those of what it is in.
fn check_place(
    place: &[String],
    outer: usize,
    entry: &Entry,
    policy: &Policy,
    problems: &mut Problems,
) {
    let (key, at) = (entry.key.as_str(), entry.at);
    // Whether this entry is the first one that is there.
    let enters = |path: &[&str]| {
        let there = place.len() >= path.len() && outer < path.len();
        there && place.iter().zip(path).all(|(part, known)| part == known)
    };
    if enters(&["defaults", "paths"]) {
        problems.push(at, format!("`{key}` {NO_FILES}"));
    }
    if !policy.exec {
        let of_tools = ["providers", "automation"];
        let settings =
            place.len() > 2 && place[0] == "defaults" && of_tools.contains(&place[1].as_str());
        let commands = settings
            && place[outer.max(2)..]
                .iter()
                .any(|part| COMMANDS.contains(&part.as_str()));
        if commands || enters(&["tools"]) || enters(&["defaults", "tools"]) {
            problems.push(at, format!("`{key}` {NO_EXEC}"));
        }
    }
    let mut own = &place[outer..];
    while let Some((part, more)) = own.split_first() {
        match part.as_str() {
            "binds" if !more.is_empty() => bind_source(&more.join("."), at, policy, problems),
            part if more.is_empty() || WHOLE.contains(&part) => {
                check_key(part, entry, policy, problems);
            }
            _ => {}
        }
        own = more;
    }
}

fn check_key(part: &str, entry: &Entry, policy: &Policy, problems: &mut Problems) {
    let (key, at, value) = (entry.key.as_str(), entry.at, &entry.node);
    match part {
        "exec" | "host_exec" if !policy.exec && value.value != Value::Null => {
            problems.push(at, format!("`{key}` {NO_EXEC}"));
        }
        part if part.starts_with("ansible_") && !SIGNING_IN.contains(&part) && !policy.exec => {
            problems.push(at, format!("`{key}` {NO_EXEC}"));
        }
        "plugin" => {
            let listed = std::iter::once(value).chain(value.items());
            for name in listed.filter(|node| node.as_text().is_some()) {
                let text = name.as_text().unwrap_or_default();
                // In a test it is a call, whose arguments may be prefixes of networks.
                let path = text.contains(['/', '\\']) && !text.contains('(');
                if path || text.starts_with(['/', '~']) || text.contains("..") {
                    problems.push(name.at, format!("the plugin {text:?} is a path; only netlab's own plugins are used, by name"));
                }
            }
        }
        "binds" => {
            for entry in value.entries() {
                bind_source(&entry.key, entry.at, policy, problems);
            }
            for item in value.items() {
                let text = item.as_text().unwrap_or_default();
                bind_source(text.split(':').next().unwrap_or_default(), item.at, policy, problems);
            }
        }
        "startup-config" | "license" | "config_templates" => {
            if let Some(text) = value.as_text()
                && !text.contains('\n')
                && !matches!(path_kind(text), PathKind::Inside(_))
            {
                problems.push(value.at, format!("`{key}` {text:?} leads out of the lab's folder"));
            }
        }
        "config" => {
            let listed = std::iter::once(value).chain(value.items());
            for name in listed.filter_map(|node| Some((node.as_text()?, node.at))) {
                if !matches!(path_kind(name.0), PathKind::Inside(_)) {
                    problems.push(name.1, format!("the template {:?} leads out of the lab's folder", name.0));
                }
            }
        }
        "network-mode" if value.as_text() == Some("host") && !policy.host_network => {
            problems.push(value.at, "`network-mode: host` is not allowed here; ask the operator to allow host-network");
        }
        // Names of kinds of devices, or netlab's settings of them.
        "devices" if !value.items().iter().any(is_path) => {}
        "privileged" | "devices" | "cap-add" if !policy.privileged => problems.push(
            at,
            format!("`{key}` gives rights over the host, which is not allowed here; ask the operator to allow privileged"),
        ),
        "sources" | "_include" => problems.push(at, format!("`{key}` {NO_FILES}")),
        _ => {}
    }
}

fn is_path(node: &Node) -> bool {
    node.as_text().is_none_or(|text| text.contains('/'))
}

fn bind_source(source: &str, at: Position, policy: &Policy, problems: &mut Problems) {
    match path_kind(source) {
        PathKind::Inside(_) => {}
        PathKind::Host if policy.host_binds => {}
        PathKind::Host => problems.push(
            at,
            format!("the bind of {source:?} takes a file of the host, which is not allowed here; ask the operator to allow host-binds"),
        ),
        PathKind::Outside | PathKind::Url => {
            problems.push(at, format!("the bind of {source:?} leads out of the lab's folder"));
        }
    }
}

/// netlab evaluates templates beside a topology without a sandbox: one can do whatever a program can, and no list of words
/// tells those that do from those that do not.
fn check_file(path: &str, bytes: &[u8], policy: &Policy, problems: &mut Problems) {
    if policy.exec {
        return;
    }
    let whole = Position::default();
    if [".py", ".pyc", ".so", ".pickle"]
        .iter()
        .any(|end| path.ends_with(end))
    {
        problems.push(whole, format!("{path} is a program that netlab would load, which is not allowed here; ask the operator to allow exec"));
    }
    for (index, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
        // The last is how Ansible is told of other brackets.
        if ["{{", "{%", "#jinja2:"]
            .iter()
            .any(|mark| line.contains(mark))
        {
            let line = index + 1;
            problems.push(
                whole,
                format!("{path}, line {line}, is a template, which can run anything and is not allowed here; ask the operator to allow exec"),
            );
            break;
        }
    }
}

/// What netlab said was wrong: the lines of its stderr that name an error, with the line of the topology where it says one.
///
/// `IncorrectValue in nodes: attribute …` are errors; `Fatal error in netlab: …` ends them.
#[must_use]
pub fn errors(stderr: &str) -> Vec<Problem> {
    const KINDS: [&str; 9] = [
        "IncorrectAttr",
        "IncorrectType",
        "IncorrectValue",
        "MissingDependency",
        "MissingValue",
        "FatalError",
        "Fatal error",
        "ParserError",
        "Error",
    ];
    let is_error = |line: &&str| {
        KINDS.iter().any(|kind| line.starts_with(kind))
            || line.contains("Error in ")
            || line.starts_with('[') && line.contains("rror")
    };
    let read = |line: &str| Problem {
        at: Position {
            line: line_number(line),
            column: 0,
        },
        what: line.to_owned(),
    };
    stderr
        .lines()
        .map(str::trim)
        .filter(is_error)
        .map(read)
        .collect()
}

/// `… line 12, column 3`, as YAML's own errors say; 0 where there is none.
fn line_number(text: &str) -> u32 {
    let after = text.split("line ").nth(1).unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// What `netlab status --all --format json` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabStatus {
    /// Nothing runs. netlab says so with exit code 1 and a warning, and means no failure.
    NoLabs,
    /// Labs by name, as netlab describes them.
    Labs(serde_json::Value),
    /// It failed.
    Failed(String),
}

/// Reads what `netlab status` said.
#[must_use]
pub fn status(exit_code: i32, stdout: &str, stderr: &str) -> LabStatus {
    #[derive(Deserialize)]
    struct Warning {
        warning: String,
    }
    let no_labs = |text: &str| text.contains("No netlab-managed labs");
    if serde_json::from_str::<Warning>(stdout).is_ok_and(|it| no_labs(&it.warning)) {
        return LabStatus::NoLabs;
    }
    match serde_json::from_str(stdout) {
        Ok(labs) if exit_code == 0 => LabStatus::Labs(labs),
        _ => {
            let said = [stderr, stdout]
                .into_iter()
                .map(str::trim)
                .find(|text| !text.is_empty());
            let said: String = said.unwrap_or("nothing").chars().take(500).collect();
            LabStatus::Failed(format!(
                "netlab status ended with {exit_code} and said {said}"
            ))
        }
    }
}

/// The graph of a lab as `netlab create -o json` describes it; nothing where that is not what the value is.
#[must_use]
pub fn graph(topology: &serde_json::Value) -> Option<Graph> {
    let text = |value: &serde_json::Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let nodes = topology.get("nodes")?.as_object()?;
    let address = |node: &serde_json::Value| {
        let mgmt = node.get("mgmt")?;
        let found = text(mgmt, "ipv4").or_else(|| text(mgmt, "ipv6"))?;
        Some(found.split('/').next()?.to_owned())
    };
    let nodes = nodes.iter().map(|(id, node)| GraphNode {
        id: id.clone(),
        kind: text(node, "device"),
        image: text(node, "box"),
        mgmt_ip: address(node),
        mgmt_host: None,
        status: None,
    });
    let mut edges = Vec::new();
    for link in topology.get("links")?.as_array()? {
        let Some(interfaces) = link.get("interfaces").and_then(|list| list.as_array()) else {
            continue;
        };
        let mut ends = interfaces
            .iter()
            .filter_map(|end| Some((text(end, "node")?, text(end, "ifname")?)));
        // A network of several nodes is a star around the first of them.
        let Some((source, source_interface)) = ends.next() else {
            continue;
        };
        for (target, target_interface) in ends {
            edges.push(GraphEdge {
                source: source.clone(),
                source_interface: source_interface.clone(),
                target,
                target_interface,
            });
        }
    }
    Some(Graph {
        lab: text(topology, "name").unwrap_or_default(),
        source: "netlab".to_owned(),
        nodes: nodes.collect(),
        edges,
    })
}
