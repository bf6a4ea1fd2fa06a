//! Runs of netlab.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::lab_source::{LabSource, check_lab, lab_schema};
use crate::{Kind, Refused, check_environment, read};

/// The task.
pub const TASK: &str = "task-netlab";
/// The topology's path unless it is said.
pub const TOPOLOGY: &str = "topology.yml";

/// The archive of what `create` made: `clab.yml` and `node_files/**`. The same lab gives the same bytes.
pub const ARCHIVE: &str = "netlab.tar";
/// The artifact with netlab's own description of the lab.
pub const DESCRIPTION: &str = "topology.json";

/// How long a run may take, in seconds, unless it is said.
pub const TIME_LIMIT_SECS: u64 = 30 * 60;
const TIME_LIMIT_SECS_MAX: u64 = 6 * 60 * 60;
/// How names of variables begin by which netlab, and what it starts, take settings: what may be set is said in `set`, where it is
/// looked at.
const RESERVED: &[&str] = &["ANSIBLE_", "CLAB_", "NETLAB_"];
/// Settings that one run may change.
const SET_MAX: usize = 50;
/// The longest of them, in bytes.
const SET_BYTES_MAX: usize = 500;

/// The kind.
pub const KIND: Kind = Kind {
    name: TASK,
    title: "netlab",
    schema,
    sample,
    check: |payload| read::<Payload>(payload)?.check(),
    key: |payload| {
        let payload = read::<Payload>(payload).ok()?;
        // What only looks takes nobody's place.
        let what = match payload.action {
            Action::Validate | Action::Status => "netlab-look",
            Action::Create => "netlab-create",
            Action::Up | Action::Down | Action::Collect => "netlab",
        };
        let whose = if payload.untrusted { "untrusted:" } else { "" };
        Some(format!("{whose}{what}:{}", payload.lab))
    },
};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Says what is wrong with the topology.
    Validate,
    /// Makes the files of the lab.
    Create,
    /// Starts the lab on a host.
    Up,
    /// Stops it there.
    Down,
    /// Fetches the configurations of its devices.
    Collect,
    /// Says which labs run on a host.
    Status,
}

impl Action {
    /// Whether it is done on a host that runs labs, and not by the runner itself.
    #[must_use]
    pub const fn is_on_host(self) -> bool {
        match self {
            Self::Validate | Self::Create => false,
            Self::Up | Self::Down | Self::Collect | Self::Status => true,
        }
    }

    /// Whether it needs the topology.
    #[must_use]
    pub const fn needs_source(self) -> bool {
        match self {
            Self::Validate | Self::Create | Self::Up => true,
            Self::Down | Self::Collect | Self::Status => false,
        }
    }
}

/// A job of [`TASK`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// What to do.
    pub action: Action,
    /// The lab's name, whatever its topology says.
    pub lab: String,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "LabSource::is_none")]
    pub source: LabSource,
    /// The host that runs labs: the id of a credential of the kind `ssh`, or of the kind `netlab_api`, whose labs lie on the host
    /// already. For what is done on a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Uuid>,
    /// `key=value`, as `netlab create --set` takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Further environment of netlab.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// How long the run may take, in seconds.
    #[serde(default = "time_limit_secs")]
    pub time_limit_secs: u64,
    /// Whether it comes from people who may not write here, as a change of a fork does: its lab is made, and goes nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

const fn time_limit_secs() -> u64 {
    TIME_LIMIT_SECS
}

impl Payload {
    /// The topology's path.
    #[must_use]
    pub fn topology(&self) -> &str {
        self.source.topology.as_deref().unwrap_or(TOPOLOGY)
    }

    /// Refuses what cannot be right, without a look at anything else.
    ///
    /// # Errors
    /// With everything that was found.
    pub fn check(&self) -> Result<(), Refused> {
        let mut refused = Refused::default();
        check_lab(&self.lab, &mut refused);
        let on_host = match (self.action, self.host) {
            (Action::Up | Action::Down | Action::Collect | Action::Status, None) => {
                let problem =
                    "say on which host: the id of a credential of the kind ssh or netlab_api";
                refused.add("host", problem);
                true
            }
            (Action::Validate, Some(_)) => {
                refused.add("host", "it is for what is done on a host");
                false
            }
            (_, host) => host.is_some(),
        };
        if !self.action.needs_source() {
            if !self.source.is_none() {
                refused.add("source", "it is for the actions validate, create and up");
            }
        } else if self.source.has_files() || !on_host {
            self.source.check(TOPOLOGY, &mut refused);
        } else {
            self.source.check_on_host(TOPOLOGY, &mut refused);
        }
        // Its name becomes an argument.
        if self.topology().starts_with('-') {
            refused.add("source.topology", "a path does not begin with a dash");
        }
        if self.set.len() > SET_MAX {
            refused.add("set", format!("{SET_MAX} are the most"));
        }
        for (at, set) in self.set.iter().enumerate() {
            if let Err(problem) = check_set(set) {
                refused.add(format!("set.{at}"), problem);
            }
        }
        check_environment(&self.environment, RESERVED, &mut refused);
        if !(10..=TIME_LIMIT_SECS_MAX).contains(&self.time_limit_secs) {
            refused.add(
                "time_limit_secs",
                format!("it is 10 to {TIME_LIMIT_SECS_MAX}"),
            );
        }
        if self.untrusted {
            if !self.environment.is_empty() {
                refused.add("environment", "what is untrusted gets none");
            }
            if !matches!(self.action, Action::Validate | Action::Create) || self.host.is_some() {
                refused.add(
                    "action",
                    "what is untrusted is validated and made, and goes to no host",
                );
            }
        }
        refused.nothing()
    }

    /// Refuses what cannot be done on a host that is signed in to: what only netlab's API knows.
    ///
    /// # Errors
    /// With everything that was found.
    pub fn check_over_ssh(&self) -> Result<(), Refused> {
        let mut refused = Refused::default();
        if !self.action.is_on_host() {
            refused.add(
                "host",
                "a lab's files are made by the runner: leave out the host, or name one whose netlab has an API",
            );
        }
        if self.action.needs_source() && !self.source.has_files() {
            refused.add("source", "say one of files, artifact and workspace");
        }
        refused.nothing()
    }
}

/// What may be set: settings of the lab, and nothing that runs programs or reads other files.
fn check_set(set: &str) -> Result<(), &'static str> {
    let (name, value) = set.split_once('=').ok_or("it is key=value")?;
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty()
        || set.len() > SET_BYTES_MAX
        || !name.bytes().all(inner)
        || name.starts_with(['-', '.'])
    {
        return Err(
            "a key has letters, digits, dots, dashes and underscores, and all of it at most 500 bytes",
        );
    }
    if value.chars().any(char::is_control)
        || ["{{", "{%", "../"].iter().any(|bad| value.contains(bad))
    {
        return Err("a value has no templates, and leads nowhere else");
    }
    let refused = [
        "exec",
        "host_exec",
        "plugin",
        "binds",
        "config",
        "startup-config",
        "license",
        "sources",
        "_include",
        "paths",
        "providers",
        "tools",
    ];
    if name == "name" || name.split('.').any(|part| refused.contains(&part)) {
        return Err("this cannot be set: write it into the topology, where it is checked");
    }
    Ok(())
}

fn sample() -> Value {
    json!({
        "action": "create",
        "lab": "triangle",
        "source": {"files": {
            "topology.yml": "provider: clab\ndefaults.device: frr\nmodule: [ospf]\nnodes: [r1, r2, r3]\nlinks: [r1-r2, r2-r3, r1-r3]\n"
        }},
    })
}

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of netlab",
        "type": "object",
        "additionalProperties": false,
        "required": ["action", "lab"],
        "properties": {
            "action": {
                "title": "Action",
                "description": "validate: says what is wrong with the topology. create: makes the lab's files. up, down, collect and status are done on a host that runs labs.",
                "enum": ["validate", "create", "up", "down", "collect", "status"],
                "default": "create",
            },
            "lab": lab_schema(),
            "source": LabSource::schema(TOPOLOGY),
            "host": {
                "title": "Host",
                "description": "For up, down, collect and status: the id of a credential of the kind ssh or netlab_api. The labs of the latter lie on the host already: create and up leave out the source.",
                "type": "string",
                "format": "uuid",
            },
            "set": {
                "title": "Settings",
                "description": "key=value, as netlab create --set takes it.",
                "type": "array",
                "maxItems": SET_MAX,
                "items": { "type": "string", "maxLength": SET_BYTES_MAX },
            },
            "environment": {
                "title": "Environment",
                "description": "Further variables of netlab and what it starts.",
                "type": "object",
                "additionalProperties": { "type": "string" },
            },
            "time_limit_secs": {
                "title": "Time limit",
                "description": "How long the run may take, in seconds.",
                "type": "integer",
                "minimum": 10,
                "maximum": TIME_LIMIT_SECS_MAX,
                "default": TIME_LIMIT_SECS,
            },
            "untrusted": {
                "title": "Untrusted",
                "description": "Set by the platform for changes of forks: the lab is made, and goes to no host.",
                "type": "boolean",
                "default": false,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Value)) -> String {
        let mut payload = sample();
        change(&mut payload);
        (KIND.check)(&payload).expect_err("it is wrong").to_string()
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_its_place() {
        assert!(problem(|it| it["action"] = "up".into()).starts_with("host: "));
        assert!(problem(|it| it["source"]["topology"] = "-x.yml".into()).contains("dash"));
        assert!(
            problem(|it| it["source"]["topology"] = "http://host/x".into())
                .contains("source.topology")
        );
        for set in [
            "x",
            "-x=1",
            "nodes.r1.clab.exec=id",
            "name=other",
            "a={{ 7 }}",
            "a=../x",
            "plugin=x",
            "nodes._include=x",
            "defaults.paths.plugin=x",
            "defaults.providers.clab.start=id",
        ] {
            assert!(
                problem(|it| it["set"] = json!([set])).starts_with("set.0: "),
                "{set}"
            );
        }
        for name in ["LD_PRELOAD", "NETLAB_PATHS_PLUGIN", "netlab_plugin"] {
            let wrong = problem(|it| it["environment"] = json!({ name: "x" }));
            assert!(wrong.starts_with("environment"), "{name}: {wrong}");
        }
        for untrusted in [
            json!({"action": "status", "lab": "a", "host": Uuid::nil(), "untrusted": true}),
            json!({"action": "validate", "lab": "a", "source": {"workspace": "w"}, "environment": {"A": "b"}, "untrusted": true}),
        ] {
            let refused = (KIND.check)(&untrusted).expect_err("it is wrong");
            assert!(refused.to_string().contains("untrusted"), "{refused}");
        }
        let untrusted = json!({"action": "create", "lab": "a", "source": {"workspace": "w"}, "untrusted": true});
        (KIND.check)(&untrusted).expect("it is right");
        assert_eq!(
            (KIND.key)(&untrusted).as_deref(),
            Some("untrusted:netlab-create:a")
        );
        let there = json!({"action": "up", "lab": "a", "host": Uuid::nil(), "source": {"topology": "b.yml"}});
        (KIND.check)(&there).expect("it may lie on the host already");
        let there: Payload = serde_json::from_value(there).expect("a payload");
        let over_ssh = there.check_over_ssh().expect_err("there it does not");
        assert!(over_ssh.to_string().starts_with("source: "), "{over_ssh}");
        let create = json!({"action": "create", "lab": "a", "host": Uuid::nil()});
        let create: Payload = serde_json::from_value(create).expect("a payload");
        create.check().expect("netlab's API may do it");
        let over_ssh = create.check_over_ssh().expect_err("nobody else");
        assert!(over_ssh.to_string().starts_with("host: "), "{over_ssh}");
        let down = json!({"action": "down", "lab": "a", "host": Uuid::nil(), "source": {"artifact": Uuid::nil()}});
        assert!((KIND.check)(&down).is_err());
        for (source, field) in [
            (
                json!({"workspace": "labs", "artifact": Uuid::nil()}),
                "source: ",
            ),
            (json!({"workspace": ""}), "source.workspace: "),
            (
                json!({"workspace": "labs", "folder": "../x"}),
                "source.folder: ",
            ),
            (
                json!({"workspace": "labs", "commit": "main"}),
                "source.commit: ",
            ),
            (
                json!({"workspace": "labs", "branch": "--x"}),
                "source.branch: ",
            ),
            (json!({"artifact": Uuid::nil(), "folder": "x"}), "source: "),
        ] {
            let problem = problem(|it| it["source"] = source.clone());
            assert!(problem.starts_with(field), "{source}: {problem}");
        }
        let blueprint = json!({"workspace": "blueprints", "folder": "bgp", "branch": "main", "topology": "clos.yml"});
        let blueprint = json!({"action": "create", "lab": "a", "source": blueprint});
        (KIND.check)(&blueprint).expect("it is right");
        let status = json!({"action": "status", "lab": "a", "host": Uuid::nil()});
        (KIND.check)(&status).expect("it is right");
    }
}
