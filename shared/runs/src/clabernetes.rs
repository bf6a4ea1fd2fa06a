//! Labs in a cluster.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lab_source::{LabSource, check_lab, lab_schema};
use crate::{Kind, Refused, read};

/// The task.
pub const TASK: &str = "task-clabernetes";
/// The topology's path unless it is said.
pub const TOPOLOGY: &str = "clab.yml";

/// How long a lab may take to come up or go, in seconds, unless it is said.
pub const WAIT_SECS: u64 = 15 * 60;
const WAIT_SECS_MAX: u64 = 2 * 60 * 60;

/// The kind.
pub const KIND: Kind = Kind {
    name: TASK,
    title: "Lab in a cluster",
    schema,
    sample,
    check: |payload| read::<Payload>(payload)?.check(),
    key: |payload| {
        let payload = read::<Payload>(payload).ok()?;
        // What only looks takes nobody's place: a deploy that waits for its lab stays.
        let what = match payload.action {
            Action::Deploy | Action::Destroy => "clabernetes",
            Action::Status => "clabernetes-look",
        };
        Some(format!("{what}:{}", payload.lab))
    },
};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Puts the lab there, or changes it, and waits until all of it runs.
    Deploy,
    /// Takes it away, and waits until nothing of it is left.
    Destroy,
    /// Says how it is.
    Status,
}

/// A job of [`TASK`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// What to do.
    pub action: Action,
    /// The lab's name, whatever its topology says.
    pub lab: String,
    /// What it is made of; for deploy alone.
    #[serde(default, skip_serializing_if = "LabSource::is_none")]
    pub source: LabSource,
    /// How long it may take to come up or go, in seconds.
    #[serde(default = "wait_secs")]
    pub wait_secs: u64,
    /// Whether it comes from people who may not write here, as a change of a fork does: that is refused, for a lab in a cluster is
    /// theirs to use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

const fn wait_secs() -> u64 {
    WAIT_SECS
}

impl Payload {
    /// Refuses what cannot be right, without a look at anything else.
    ///
    /// # Errors
    /// With everything that was found.
    pub fn check(&self) -> Result<(), Refused> {
        let mut refused = Refused::default();
        check_lab(&self.lab, &mut refused);
        match self.action {
            Action::Deploy => self.source.check(TOPOLOGY, &mut refused),
            Action::Destroy | Action::Status if !self.source.is_none() => {
                refused.add("source", "it is for the action deploy alone");
            }
            Action::Destroy | Action::Status => {}
        }
        if !(10..=WAIT_SECS_MAX).contains(&self.wait_secs) {
            refused.add("wait_secs", format!("it is 10 to {WAIT_SECS_MAX}"));
        }
        if self.untrusted {
            refused.add("untrusted", "what is untrusted is not put into a cluster");
        }
        refused.nothing()
    }
}

fn sample() -> Value {
    json!({
        "action": "deploy",
        "lab": "two-routers",
        "source": {"files": {
            "clab.yml": "name: two-routers\ntopology:\n  nodes:\n    r1: {kind: linux, image: \"quay.io/frrouting/frr:10.7.1\"}\n    r2: {kind: linux, image: \"quay.io/frrouting/frr:10.7.1\"}\n  links:\n    - endpoints: [\"r1:eth1\", \"r2:eth1\"]\n"
        }},
    })
}

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A lab in a cluster",
        "type": "object",
        "additionalProperties": false,
        "required": ["action", "lab"],
        "properties": {
            "action": {
                "title": "Action",
                "description": "deploy: puts the lab there, or changes it, and waits until all of it runs. destroy: takes it away. status: says how it is.",
                "enum": ["deploy", "destroy", "status"],
                "default": "deploy",
            },
            "lab": lab_schema(),
            "source": LabSource::schema(TOPOLOGY),
            "wait_secs": {
                "title": "Wait",
                "description": "How long it may take to come up or go, in seconds.",
                "type": "integer",
                "minimum": 10,
                "maximum": WAIT_SECS_MAX,
                "default": WAIT_SECS,
            },
            "untrusted": {
                "title": "Untrusted",
                "description": "Set by the platform for changes of forks: they are refused.",
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
        assert!(problem(|it| it["lab"] = "R1".into()).starts_with("lab: "));
        assert!(problem(|it| it["action"] = "destroy".into()).starts_with("source: "));
        assert!(problem(|it| it["wait_secs"] = 1.into()).starts_with("wait_secs: "));
        assert!(
            problem(|it| it["source"]["topology"] = "other.yml".into())
                .starts_with("source.files: ")
        );
        assert!(problem(|it| it["source"] = json!({})).starts_with("source: "));
        assert!(problem(|it| it["untrusted"] = true.into()).starts_with("untrusted: "));
        assert!(problem(|it| it["namespace"] = "kube-system".into()).contains("namespace"));
    }
}
