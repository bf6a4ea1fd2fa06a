//! What a topology may ask of the machine that its lab runs on.

use std::str::FromStr;

use crate::problem::Problems;
use crate::topology::{TopologyError, is_outside, link_type};
use crate::yaml::{Node, Position, Value, YamlError};

/// What is allowed beyond the lab's own folder and containers. Nothing, unless an operator says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// `exec:` and what else runs commands when the lab starts.
    pub exec: bool,
    /// Files of the host, by absolute paths.
    pub host_binds: bool,
    /// The host's network, its bridges and its interfaces.
    pub host_network: bool,
    /// Rights over the host: devices, capabilities, namespaces.
    pub privileged: bool,
}

/// A word that allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of exec, host-binds, host-network, privileged")]
pub struct PolicyError(String);

impl FromStr for Policy {
    type Err = PolicyError;

    /// What is allowed, with commas between: `exec,host-binds`.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            match word {
                "exec" => policy.exec = true,
                "host-binds" => policy.host_binds = true,
                "host-network" => policy.host_network = true,
                "privileged" => policy.privileged = true,
                other => return Err(PolicyError(other.to_owned())),
            }
        }
        Ok(policy)
    }
}

/// Where a path of a topology leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathKind {
    /// Below the lab's folder; without `./` and double slashes.
    Inside(String),
    /// Above it.
    Outside,
    /// Anywhere on the host.
    Host,
    /// Elsewhere.
    Url,
}

/// Where a path leads, by its text.
#[must_use]
pub fn path_kind(path: &str) -> PathKind {
    if path.contains("://") {
        return PathKind::Url;
    }
    if path.starts_with(['/', '~']) {
        // `/lab/../etc` is the host's as well, whatever it says.
        return PathKind::Host;
    }
    if path.contains(['\0', '\\']) {
        return PathKind::Outside;
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.is_empty() || parts.contains(&"..") {
        return PathKind::Outside;
    }
    PathKind::Inside(parts.join("/"))
}

/// Keys of a node's configuration that give rights over the host.
const PRIVILEGED: [&str; 10] = [
    "cap-add",
    "cgroup-parent",
    "cgroupns-mode",
    "devices",
    "pid-mode",
    "privileged",
    "runtime",
    "security-opts",
    "sysctls",
    "volumes",
];
/// Kinds of nodes that are a piece of the host.
const HOST_KINDS: [&str; 4] = ["bridge", "ext-container", "host", "ovs-bridge"];
/// Types of links that end on the host or beyond it.
const HOST_LINKS: [&str; 5] = ["host", "macvlan", "mgmt-net", "vxlan", "vxlan-stitch"];

const NO_EXEC: &str = "runs commands when the lab starts, which is not allowed here; put them into the node's configuration, or \
    ask the operator to allow exec";
const NO_NETWORK: &str = "reaches into the host's network, which is not allowed here; ask the operator to allow host-network";

impl Policy {
    /// Looks through the configuration of a node, or what nodes inherit.
    pub(crate) fn check_config(&self, config: &Node, problems: &mut Problems) {
        for entry in config.entries() {
            let (key, value) = (entry.key.as_str(), &entry.node);
            match key {
                "exec" if !self.exec && !is_nothing(value) => {
                    problems.push(entry.at, format!("`exec` {NO_EXEC}"));
                }
                "stages" if !self.exec => self.check_stages(value, problems),
                "binds" => {
                    for bind in value.items() {
                        self.check_bind(bind, problems);
                    }
                }
                "startup-config" => {
                    // A text of several lines is the configuration itself.
                    let inline = value.as_text().is_some_and(|text| text.contains('\n'));
                    if !inline {
                        check_file("startup-config", value, problems);
                    }
                }
                "license" => check_file("license", value, problems),
                "env-files" => {
                    for file in value.items() {
                        check_file("env-files", file, problems);
                    }
                }
                "extras" => check_extras(value, problems),
                "network-mode" => {
                    let mode = value.as_text().unwrap_or_default();
                    if mode.eq_ignore_ascii_case("host") && !self.host_network {
                        problems.push(value.at, format!("`network-mode: host` {NO_NETWORK}"));
                    }
                }
                "kind" => {
                    // Containerlab takes kinds for what they are in small letters.
                    let kind = value.as_text().unwrap_or_default().to_ascii_lowercase();
                    if HOST_KINDS.contains(&&*kind) && !self.host_network {
                        problems.push(
                            value.at,
                            format!("a node of the kind `{kind}` {NO_NETWORK}"),
                        );
                    }
                }
                "credentials" => {
                    if let Some(file) = value.get("identity-file") {
                        check_file("identity-file", file, problems);
                    }
                }
                "privileged" if value.value == Value::Bool(false) => {}
                key if PRIVILEGED.contains(&key) && !self.privileged => {
                    problems.push(
                        entry.at,
                        format!(
                            "`{key}` gives rights over the host, which is not allowed here; ask the operator to allow privileged"
                        ),
                    );
                }
                _ => {}
            }
        }
    }

    fn check_stages(&self, stages: &Node, problems: &mut Problems) {
        for stage in stages.entries() {
            for entry in stage.node.entries().iter().filter(|e| e.key == "exec") {
                problems.push(entry.at, format!("`exec` of a stage {NO_EXEC}"));
            }
        }
    }

    fn check_bind(&self, bind: &Node, problems: &mut Problems) {
        let Some(text) = bind.as_text() else {
            problems.push(bind.at, format!("a bind is a string, not {}", bind.noun()));
            return;
        };
        let Some((source, target)) = text.split_once(':') else {
            return; // A volume without a name, which is the container's own.
        };
        let target = target.split(':').next().unwrap_or_default();
        if !target.starts_with('/') {
            problems.push(
                bind.at,
                format!("the bind {text:?} names no absolute path in the node"),
            );
        }
        let source = without_folders_of_the_lab(source);
        match path_kind(&source) {
            PathKind::Inside(_) => {}
            PathKind::Outside if is_whole_folder(&source) => {}
            PathKind::Host if self.host_binds => {}
            PathKind::Host => problems.push(
                bind.at,
                format!(
                    "the bind {text:?} takes a file of the host, which is not allowed here; take it into the lab's folder, \
                     or ask the operator to allow host-binds"
                ),
            ),
            PathKind::Outside => {
                problems.push(bind.at, format!("the bind {text:?} leads out of the lab's folder"));
            }
            PathKind::Url => problems.push(bind.at, format!("the bind {text:?} is a URL")),
        }
    }

    /// Looks at one link.
    pub(crate) fn check_link(&self, link: &Node, problems: &mut Problems) {
        if self.host_network {
            return;
        }
        let text = link_type(link);
        if let Some(kind) = link.get("type")
            && HOST_LINKS.contains(&&*text)
        {
            problems.push(kind.at, format!("a link of the type `{text}` {NO_NETWORK}"));
        }
        for end in link.get("endpoints").map_or(&[][..], Node::items) {
            let name = end.as_text().and_then(|text| text.split(':').next());
            if let Some(name) = name.filter(|name| is_outside(name)) {
                problems.push(end.at, format!("a link to `{name}` {NO_NETWORK}"));
            }
        }
    }

    /// Looks at what the topology says of the lab as a whole: the files of a certificate authority.
    pub(crate) fn check_settings(settings: &Node, problems: &mut Problems) {
        let Some(authority) = settings.get("certificate-authority") else {
            return;
        };
        for key in ["cert", "key"] {
            if let Some(file) = authority.get(key) {
                check_file(key, file, problems);
            }
        }
    }
}

/// Whether a list is empty; what is no list is something.
fn is_nothing(value: &Node) -> bool {
    match &value.value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => {
            false
        }
    }
}

/// Whether this is the lab's own folder, with everything in it.
pub(crate) fn is_whole_folder(source: &str) -> bool {
    matches!(source, "." | "./")
}

/// `__clabDir__` and its like stand for folders of the lab.
pub(crate) fn without_folders_of_the_lab(source: &str) -> String {
    let mut text = source.to_owned();
    for name in ["__clabNodeDir__", "__clabDir__", "__clabLabName__"] {
        text = text.replace(name, "clab");
    }
    text
}

fn check_file(key: &str, value: &Node, problems: &mut Problems) {
    let Some(text) = value.as_text() else {
        if value.value != Value::Null {
            problems.push(
                value.at,
                format!("`{key}` is the path of a file, not {}", value.noun()),
            );
        }
        return;
    };
    if text.is_empty() {
        return;
    }
    match path_kind(&without_folders_of_the_lab(text)) {
        PathKind::Inside(_) => {}
        PathKind::Url => problems.push(
            value.at,
            format!("`{key}` is a URL, and nothing is fetched: put the file into the lab's folder"),
        ),
        PathKind::Outside | PathKind::Host => problems.push(
            value.at,
            format!("`{key}` {text:?} leads out of the lab's folder"),
        ),
    }
}

/// Of what only some kinds of nodes have: everything that is a path by its name or its form.
fn check_extras(extras: &Node, problems: &mut Problems) {
    for entry in extras.entries() {
        for value in entry.node.items() {
            check_file(&entry.key, value, problems);
        }
        if entry.node.as_text().is_some() {
            check_file(&entry.key, &entry.node, problems);
        }
    }
}

fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

fn refuse_template(text: &str, at: Position, problems: &mut Problems) {
    let shown: String = text.chars().take(60).collect();
    problems.push(
        at,
        format!("{shown:?} is a template, and templates are not evaluated"),
    );
}

/// What is wrong with a text that is no YAML: where it is a template of YAML, that.
pub(crate) fn no_yaml(text: &str, error: YamlError) -> TopologyError {
    let mut problems = Problems::default();
    if matches!(error, YamlError::Wrong { .. }) {
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| is_template(line))
        {
            let line_number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let at = Position {
                line: line_number,
                column: 1,
            };
            refuse_template(line.trim(), at, &mut problems);
        }
    }
    match problems.none() {
        Ok(()) => error.into(),
        Err(templates) => templates.into(),
    }
}

/// Refuses what a template engine would evaluate: no topology is rendered here, and whoever renders it later would do it with
/// other rights than its author has.
pub(crate) fn check_templates(node: &Node, problems: &mut Problems) {
    let mut look = |text: &str, at: Position| {
        if is_template(text) {
            refuse_template(text, at, problems);
        }
    };
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        match &node.value {
            Value::Text(text) => look(text, node.at),
            Value::List(items) => left.extend(items),
            Value::Map(entries) => {
                for entry in entries {
                    look(&entry.key, entry.at);
                    left.push(&entry.node);
                }
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
        }
    }
}
