//! What people say when they start a run: the payload of each kind of task, its JSON Schema, a sample, and what is refused.
//!
//! Pure: the API and the portal ask before a job is added, the task asks again before it believes its job.

pub mod clabernetes;
mod environment;
mod files;
mod lab_source;
pub mod netlab;
pub mod terraform;
mod workspace;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use environment::{ENVIRONMENT_BYTES_MAX, check_environment, is_secret_name, told_apart};
pub use files::{Files, check_files, check_folder};
pub use lab_source::LabSource;
pub use workspace::InWorkspace;

/// A kind of task whose work a runner does.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The task's name.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What its payload is, as JSON Schema (2020-12).
    pub schema: fn() -> Value,
    /// A payload that works.
    pub sample: fn() -> Value,
    /// What is wrong with a payload, as far as it can be said without a look at anything else.
    pub check: fn(&Value) -> Result<(), Refused>,
    /// The key that a job with this payload has unless somebody says another: of those with the same key the newest counts.
    pub key: fn(&Value) -> Option<String>,
}

/// The kinds, by name.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// The kind of a task, if it is one of these.
#[must_use]
pub fn kind(task: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == task)
}

const KINDS: &[Kind] = &[clabernetes::KIND, netlab::KIND, terraform::KIND];

/// A job's payload as people see it: without those values of a run's environment and variables that must not be seen. `plain` are
/// the variables of which terraform said that anybody may see them: before it has said so nobody knows.
#[must_use]
pub fn masked(task: &str, mut payload: Value, plain: &[String]) -> Value {
    if kind(task).is_none() {
        return payload;
    }
    for field in ["environment", "variables"] {
        let Some(Value::Object(values)) = payload.get_mut(field) else {
            continue;
        };
        for (name, value) in values {
            let unknown = field == "variables" && !plain.contains(name);
            if unknown || is_secret_name(name) {
                *value = "***".into();
            }
        }
    }
    payload
}

/// One thing that is wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Where: `variables.cidr`.
    pub field: String,
    /// What, and what would be right.
    pub problem: String,
}

/// Why a payload is refused: everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refused(pub Vec<Wrong>);

impl Refused {
    /// One more.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Wrong {
            field: field.into(),
            problem: problem.into(),
        });
    }

    /// Whether nothing was found.
    ///
    /// # Errors
    /// With what was.
    pub fn nothing(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Wrong { field, problem }) in self.0.iter().enumerate() {
            let before = if at == 0 { "" } else { "; " };
            write!(f, "{before}{field}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// A payload as its kind's type.
///
/// # Errors
/// With the place that is not as it should be.
pub fn read<T: DeserializeOwned>(payload: &Value) -> Result<T, Refused> {
    serde_path_to_error::deserialize(payload).map_err(|error| {
        let mut refused = Refused::default();
        let field = match error.path().to_string() {
            whole if whole == "." => "payload".to_owned(),
            path => path,
        };
        refused.add(field, error.into_inner().to_string());
        refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_good_by_its_schema_and_by_its_kind() {
        for kind in kinds() {
            let schema = jsonschema::validator_for(&(kind.schema)()).expect("a schema");
            let sample = (kind.sample)();
            if let Err(error) = schema.validate(&sample) {
                panic!("{}: {error}", kind.name);
            }
            (kind.check)(&sample).expect("a good sample");
            assert!((kind.key)(&sample).is_some_and(|key| key.len() <= 255));
        }
    }

    #[test]
    fn what_must_not_be_seen_of_an_environment_is_masked_where_a_payload_is_shown() {
        let payload = serde_json::json!({"state": "x", "environment": {"AWS_REGION": "r", "AWS_SECRET_ACCESS_KEY": "s3cret"}});
        let shown = masked(terraform::TASK, payload.clone(), &[]);
        assert_eq!(
            shown["environment"],
            serde_json::json!({"AWS_REGION": "r", "AWS_SECRET_ACCESS_KEY": "***"})
        );
        assert_eq!(shown["state"], "x");
        // What other tasks understand by it is theirs to say.
        assert_eq!(masked("task-unheard-of", payload.clone(), &[]), payload);
        assert_eq!(masked(terraform::TASK, Value::Null, &[]), Value::Null);
    }

    #[test]
    fn variables_are_shown_when_terraform_said_that_they_may_be() {
        let payload = serde_json::json!({"variables": {"cidr": "10.0.0.0/24", "pin": {"a": 1}, "db_password": "x"}});
        let shown = |plain: &[&str]| {
            let plain: Vec<String> = plain.iter().map(|name| (*name).to_owned()).collect();
            masked(terraform::TASK, payload.clone(), &plain)["variables"].take()
        };
        let hidden = serde_json::json!({"cidr": "***", "pin": "***", "db_password": "***"});
        assert_eq!(shown(&[]), hidden);
        assert_eq!(
            shown(&["cidr", "db_password"]),
            serde_json::json!({"cidr": "10.0.0.0/24", "pin": "***", "db_password": "***"})
        );
    }

    #[test]
    fn kinds_are_in_order_and_found_by_name() {
        assert!(kinds().is_sorted_by_key(|kind| kind.name));
        for kind in kinds() {
            assert_eq!(
                super::kind(kind.name).map(|kind| kind.title),
                Some(kind.title)
            );
        }
        assert!(super::kind("task-unheard-of").is_none());
    }
}
