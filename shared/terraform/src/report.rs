//! What a run of terraform has come to, for its page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest report, in bytes of JSON. The plan, which is kept beside it, has a bound of its own.
pub const REPORT_BUDGET_BYTES: usize = 256 * 1024;

/// What terraform said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Terraform's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Resources that something is, was or will be done to: those that failed and those in work first.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// Resources that did not fit.
    #[serde(default)]
    pub resources_left_out: usize,
    /// How many changes the plan has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Changes>,
    /// How many changes were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Changes>,
    /// Resources that are no longer as the state has them.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// Drifts that did not fit.
    #[serde(default)]
    pub drift_left_out: usize,
    /// Outputs after an apply.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputValue>,
    /// Outputs that did not fit.
    #[serde(default)]
    pub outputs_left_out: usize,
    /// Errors and warnings.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
    /// Errors and warnings that did not fit.
    #[serde(default)]
    pub diagnostics_left_out: usize,
}

/// How far terraform is with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceState {
    /// It will be changed.
    Planned,
    /// It is being changed.
    Running,
    /// It was changed.
    Done,
    /// Changing it failed.
    Failed,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its address.
    pub address: String,
    /// What is done to it, in terraform's words: `create`, `update`, `replace`, `delete` ….
    pub action: String,
    /// Why, where terraform says it: `tainted`, `cannot_update` ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far it is.
    pub state: ResourceState,
    /// How long it took so far, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_secs: Option<f64>,
    /// The id that its provider gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The last line of a provisioner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Numbers of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Resources made.
    pub add: u64,
    /// Resources changed in place.
    pub change: u64,
    /// Resources that existed and are now managed.
    pub import: u64,
    /// Resources destroyed.
    pub remove: u64,
}

/// A resource that somebody else changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Its address.
    pub address: String,
    /// What happened to it, in terraform's words: `update`, `delete` ….
    pub action: String,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputValue {
    /// Terraform marks it: there is no value here.
    pub sensitive: bool,
    /// Its value; none when it is sensitive, or too large to be kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Bytes of JSON of a value that is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// In one line.
    pub summary: String,
    /// The whole of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Which block it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The line's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
