//! Runs of terraform.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::environment::shown;
use crate::workspace::{InWorkspace, properties};
use crate::{Files, Kind, Refused, check_environment, check_files, is_secret_name, read};

/// The task.
pub const TASK: &str = "task-terraform";

pub use ::terraform::VARIABLES_FILE;

/// The file that says where the state is, where the configuration does not.
pub const BACKEND_FILE: &str = "switchyard_backend_override.tf";

/// How long a plan waits for a decision, in seconds, unless it is said.
pub const APPROVE_WITHIN_SECS: u64 = 24 * 60 * 60;
const APPROVE_WITHIN_SECS_MAX: u64 = 30 * 24 * 60 * 60;
/// How long a run may take, in seconds, unless it is said.
pub const TIME_LIMIT_SECS: u64 = 60 * 60;
const TIME_LIMIT_SECS_MAX: u64 = 24 * 60 * 60;
/// How long terraform may take to stop, in seconds, unless it is said: it saves its state in that time.
pub const STOP_GRACE_SECS: u64 = 60;
const STOP_GRACE_SECS_MAX: u64 = 600;
/// All variables together, in bytes of JSON.
const VARIABLES_BYTES_MAX: usize = 128 * 1024;

/// The kind.
pub const KIND: Kind = Kind {
    name: TASK,
    title: "Terraform",
    schema,
    sample,
    check: |payload| read::<Payload>(payload)?.check(),
    key: |payload| Some(read::<Payload>(payload).ok()?.key()),
};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Plans. Where there are changes, a person decides, and an approval lets the job go on to apply that very plan.
    Plan,
    /// The same; with `auto_approve`, where the installation allows it, nobody is asked.
    Apply,
    /// As plan and apply, to destroy everything.
    Destroy,
    /// Says whether the world is as the state and the configuration say. Nothing is locked, written or asked.
    Drift,
}

/// A job of [`TASK`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// What to do.
    pub action: Action,
    /// The state's name. States belong to a tenant.
    pub state: String,
    /// Where the configuration comes from.
    pub source: Source,
    /// Variables of the root module, any JSON.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// Further environment of terraform, its providers and provisioners.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Applies without a decision. Only where the installation allows it.
    #[serde(default)]
    pub auto_approve: bool,
    /// Seconds until a plan that nobody decided on counts as rejected; 0: nobody is asked, the plan is all.
    #[serde(default = "approve_within_secs")]
    pub approve_within_secs: u64,
    /// How long a run may take, in seconds: each of planning and applying.
    #[serde(default = "time_limit_secs")]
    pub time_limit_secs: u64,
    /// How long terraform may take to stop when it is asked to, in seconds.
    #[serde(default = "stop_grace_secs")]
    pub stop_grace_secs: u64,
    /// Whether it comes from people who may not write here, as a change of a fork does: it gets no secrets and no state, writes
    /// none, and asks for no approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

/// Where a configuration comes from: a workspace, or with the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A workspace, by its name or its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// A folder below the workspace's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// This commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What this branch has when the job starts; unless said, the workspace's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The files themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<Inline>,
}

/// A configuration that comes with the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inline {
    /// Its files, by path.
    pub files: Files,
}

const fn approve_within_secs() -> u64 {
    APPROVE_WITHIN_SECS
}

const fn time_limit_secs() -> u64 {
    TIME_LIMIT_SECS
}

const fn stop_grace_secs() -> u64 {
    STOP_GRACE_SECS
}

impl Payload {
    /// Refuses what cannot be right, without a look at anything else.
    ///
    /// # Errors
    /// With everything that was found.
    pub fn check(&self) -> Result<(), Refused> {
        let mut refused = Refused::default();
        if !is_state_name(&self.state) {
            refused.add(
                "state",
                "a name has 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first",
            );
        }
        self.source.check(&mut refused);
        check_variables(&self.variables, &mut refused);
        check_environment(&self.environment, &[], &mut refused);
        if self.auto_approve && self.action != Action::Apply {
            refused.add("auto_approve", "it is for the action apply alone");
        }
        for (field, value, least, most) in [
            (
                "approve_within_secs",
                self.approve_within_secs,
                0,
                APPROVE_WITHIN_SECS_MAX,
            ),
            (
                "time_limit_secs",
                self.time_limit_secs,
                10,
                TIME_LIMIT_SECS_MAX,
            ),
            (
                "stop_grace_secs",
                self.stop_grace_secs,
                1,
                STOP_GRACE_SECS_MAX,
            ),
        ] {
            if !(least..=most).contains(&value) {
                refused.add(field, format!("it is {least} to {most}"));
            }
        }
        if self.untrusted {
            if !self.environment.is_empty() {
                refused.add("environment", "what is untrusted gets none");
            }
            for name in self.variables.keys().filter(|name| is_secret_name(name)) {
                let problem = "by its name it is a secret, and what is untrusted gets none";
                refused.add(format!("variables.{}", shown(name)), problem);
            }
            if !matches!(self.action, Action::Plan | Action::Drift) {
                refused.add("action", "what is untrusted only plans");
            }
        }
        refused.nothing()
    }

    /// Of jobs with the same key the newest counts: a newer plan of a state takes the place of one that waits.
    #[must_use]
    pub fn key(&self) -> String {
        let what = match self.action {
            Action::Plan | Action::Apply | Action::Destroy => "terraform",
            Action::Drift => "terraform-drift",
        };
        let whose = if self.untrusted { "untrusted:" } else { "" };
        format!("{whose}{what}:{}", self.state)
    }
}

impl Source {
    /// The place in a workspace, where it is one.
    #[must_use]
    pub fn place(&self) -> Option<InWorkspace<'_>> {
        Some(InWorkspace {
            workspace: self.workspace.as_deref()?,
            folder: &self.folder,
            commit: self.commit.as_deref(),
            branch: self.branch.as_deref(),
        })
    }

    fn check(&self, refused: &mut Refused) {
        match (self.place(), &self.inline) {
            (Some(place), None) => place.check("source", refused),
            (None, Some(inline)) => {
                if !self.folder.is_empty() || self.commit.is_some() || self.branch.is_some() {
                    refused.add("source", "folder, commit and branch are for a workspace");
                }
                check_files("source.inline.files", &inline.files, refused);
                for path in inline.files.keys() {
                    if path == VARIABLES_FILE || path == BACKEND_FILE {
                        let field = format!("source.inline.files.{path}");
                        refused.add(field, "the platform writes this file: give it another name");
                    }
                }
                if !inline.files.keys().any(|path| is_configuration(path)) {
                    refused.add(
                        "source.inline.files",
                        "none of them is a .tf or .tf.json at the top",
                    );
                }
            }
            (Some(_), Some(_)) | (None, None) => {
                refused.add("source", "say one of workspace and inline");
            }
        }
    }
}

fn is_configuration(path: &str) -> bool {
    !path.contains('/') && (path.ends_with(".tf") || path.ends_with(".tf.json"))
}

fn is_state_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inner)
}

/// Names that terraform keeps for itself.
const RESERVED: &[&str] = &[
    "count",
    "depends_on",
    "for_each",
    "lifecycle",
    "locals",
    "providers",
    "source",
    "version",
];

fn check_variables(variables: &Map<String, Value>, refused: &mut Refused) {
    for name in variables.keys() {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let field = format!("variables.{}", shown(name));
        if name.len() > 128 || !name.starts_with(first) || !name.chars().all(inner) {
            let problem =
                "a name has letters, digits, dashes and underscores, a letter or underscore first";
            refused.add(field, problem);
        } else if RESERVED.contains(&&**name) {
            refused.add(field, "terraform keeps this name for itself");
        }
    }
    let bytes = serde_json::to_vec(variables).map_or(usize::MAX, |json| json.len());
    if bytes > VARIABLES_BYTES_MAX {
        refused.add(
            "variables",
            format!("they have {bytes} bytes, and {VARIABLES_BYTES_MAX} are the most"),
        );
    }
}

fn sample() -> Value {
    json!({
        "action": "plan",
        "state": "network",
        "source": {"inline": {"files": {
            "main.tf": "variable \"cidr\" {\n  type = string\n}\n\nresource \"terraform_data\" \"network\" {\n  input = var.cidr\n}\n\noutput \"network\" {\n  value = terraform_data.network.output\n}\n"
        }}},
        "variables": {"cidr": "10.0.0.0/24"},
    })
}

fn schema() -> Value {
    let mut source = properties();
    let files = json!({
        "title": "Files",
        "type": "object",
        "additionalProperties": false,
        "required": ["files"],
        "properties": {
            "files": {
                "title": "Files", "type": "object", "maxProperties": 200, "minProperties": 1,
                "additionalProperties": {"type": "string"},
            },
        },
    });
    source.insert("inline".to_owned(), files);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of terraform",
        "type": "object",
        "additionalProperties": false,
        "required": ["action", "state", "source"],
        "properties": {
            "action": {
                "title": "Action",
                "description": "plan and apply: what would change is shown, and an approval applies exactly that. destroy: the same, for everything. drift: says whether the world is as the state says, and changes nothing.",
                "enum": ["plan", "apply", "destroy", "drift"],
                "default": "plan",
            },
            "state": {
                "title": "State",
                "description": "The name under which terraform's state is kept.",
                "type": "string",
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
            },
            "source": {
                "title": "Configuration",
                "type": "object",
                "additionalProperties": false,
                "properties": source,
                "oneOf": [{"required": ["workspace"]}, {"required": ["inline"]}],
            },
            "variables": {
                "title": "Variables", "description": "Of the root module, by name; any JSON.", "type": "object",
            },
            "environment": {
                "title": "Environment",
                "description": "For terraform, its providers and provisioners. Names that change the tools themselves are refused.",
                "type": "object",
                "maxProperties": 200,
                "additionalProperties": {"type": "string"},
            },
            "auto_approve": {
                "title": "Apply without approval",
                "description": "With the action apply, and only where the installation allows it.",
                "type": "boolean",
                "default": false,
            },
            "approve_within_secs": {
                "title": "Approve within (seconds)",
                "description": "Then the plan counts as rejected. 0: nobody is asked, the plan is all.",
                "type": "integer", "minimum": 0, "maximum": APPROVE_WITHIN_SECS_MAX, "default": APPROVE_WITHIN_SECS,
            },
            "time_limit_secs": {
                "title": "Time limit (seconds)",
                "type": "integer", "minimum": 10, "maximum": TIME_LIMIT_SECS_MAX, "default": TIME_LIMIT_SECS,
            },
            "stop_grace_secs": {
                "title": "Time to stop (seconds)",
                "description": "Terraform saves its state in that time when the run is cancelled.",
                "type": "integer", "minimum": 1, "maximum": STOP_GRACE_SECS_MAX, "default": STOP_GRACE_SECS,
            },
            "untrusted": {
                "title": "Untrusted",
                "description": "Set by the platform for changes of forks: no secrets, no state, no approval.",
                "type": "boolean",
                "default": false,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Value)) -> Result<(), Refused> {
        let mut payload = sample();
        change(&mut payload);
        (KIND.check)(&payload)
    }

    /// The field that is refused, when it is one.
    fn field(change: impl FnOnce(&mut Value)) -> String {
        let refused = with(change).expect_err("it is wrong");
        assert_eq!(refused.0.len(), 1, "{refused}");
        refused.0[0].field.clone()
    }

    #[test]
    fn values_of_variables_are_data_whatever_they_say() {
        for value in [
            "\"; rm -rf / #",
            "$(id)",
            "a\nb",
            "-chdir=/",
            "${file(\"/etc/passwd\")}",
            "\u{0}",
        ] {
            assert_eq!(
                with(|payload| payload["variables"]["cidr"] = json!(value)),
                Ok(()),
                "{value:?}"
            );
        }
    }

    #[test]
    fn names_that_would_be_more_than_data_are_refused() {
        for name in [
            "TF_CLI_ARGS",
            "TF_CLI_ARGS_apply",
            "TF_DATA_DIR",
            "LD_PRELOAD",
            "PATH",
            "GIT_SSH",
            "BASH_ENV",
        ] {
            let at = field(|payload| payload["environment"] = json!({ name: "-destroy" }));
            assert_eq!(at, format!("environment.{name}"));
        }
        for name in ["-chdir=/", "a b", "", "count", "a=b", "a\nb", "1a"] {
            let at = field(|payload| payload["variables"][name] = json!("x"));
            assert!(at.starts_with("variables."), "{at}");
        }
        for state in ["../x", "", "-rf", "a/b", ".x", "é"] {
            assert_eq!(field(|payload| payload["state"] = json!(state)), "state");
        }
    }

    #[test]
    fn a_source_is_one_of_two() {
        let workspace = json!({"workspace": "infra", "folder": "net", "branch": "main"});
        assert_eq!(
            with(|payload| payload["source"] = workspace.clone()),
            Ok(())
        );
        assert_eq!(field(|payload| payload["source"] = json!({})), "source");
        assert_eq!(
            field(|payload| payload["source"]["workspace"] = json!("infra")),
            "source"
        );
        for (name, value) in [
            ("branch", "--upload-pack=x"),
            ("branch", "a..b"),
            ("branch", "a b"),
            ("commit", "--output=x"),
            ("commit", "abc"),
            ("folder", "../.."),
            ("folder", "/etc"),
        ] {
            let at =
                field(|payload| payload["source"] = json!({"workspace": "infra", name: value}));
            assert_eq!(at, format!("source.{name}"), "{value}");
        }
        for files in [
            json!({}),
            json!({"README.md": ""}),
            json!({"modules/main.tf": ""}),
            json!({"main.tf": "", "switchyard_backend_override.tf": ""}),
            json!({"main.tf": "", "../x": ""}),
        ] {
            let at = field(|payload| payload["source"]["inline"]["files"] = files);
            assert!(at.starts_with("source.inline.files"), "{at}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_by_its_place() {
        let refused = with(|payload| payload["source"]["inlin"] = json!(1)).expect_err("unknown");
        assert_eq!(refused.0[0].field, "source.inlin");
        assert!(with(|payload| payload["auto_aprove"] = json!(true)).is_err());
        assert!(with(|payload| payload["action"] = json!("nuke")).is_err());
        assert_eq!(
            field(|payload| payload["auto_approve"] = json!(true)),
            "auto_approve"
        );
        assert_eq!(
            field(|payload| payload["time_limit_secs"] = json!(0)),
            "time_limit_secs"
        );
    }

    #[test]
    fn what_is_untrusted_plans_and_nothing_more() {
        assert_eq!(with(|payload| payload["untrusted"] = json!(true)), Ok(()));
        assert_eq!(
            field(|payload| {
                payload["untrusted"] = json!(true);
                payload["action"] = json!("apply");
            }),
            "action"
        );
        assert_eq!(
            field(|payload| {
                payload["untrusted"] = json!(true);
                payload["environment"] = json!({"A": "b"});
            }),
            "environment"
        );
        assert_eq!(
            field(|payload| {
                payload["untrusted"] = json!(true);
                payload["variables"]["db_password"] = json!("x");
            }),
            "variables.db_password"
        );
    }

    #[test]
    fn plans_of_a_state_have_one_key_and_looks_for_drift_another() {
        let key = |action: &str| {
            let mut payload = sample();
            payload["action"] = json!(action);
            (KIND.key)(&payload)
        };
        assert_eq!(key("plan").as_deref(), Some("terraform:network"));
        assert_eq!(key("destroy"), key("apply"));
        assert_eq!(key("drift").as_deref(), Some("terraform-drift:network"));
    }
}
