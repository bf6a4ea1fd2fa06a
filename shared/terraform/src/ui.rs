//! Terraform's machine-readable UI, as a stream: one JSON object a line.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cut;
use crate::report::{
    Changes, Diagnostic, Drift, OutputValue, REPORT_BUDGET_BYTES, Report, Resource, ResourceState,
};

/// Resources that are followed; of more only the number is told.
const RESOURCES_MAX: usize = 10_000;
const DRIFTS_MAX: usize = 200;
const OUTPUTS_MAX: usize = 200;
const OUTPUT_BYTES_MAX: usize = 4 * 1024;
const DIAGNOSTICS_MAX: usize = 50;
const DETAIL_BYTES_MAX: usize = 4 * 1024;
const TEXT_BYTES_MAX: usize = 512;
/// What a report has beside its lists, in bytes of JSON: names of fields, numbers, the version.
const HEAD_BYTES: usize = 4 * 1024;
/// Output of a provisioner that is kept of its last line, in bytes.
const PROVISIONER_BYTES_MAX: usize = 200;

/// Follows what terraform says, line by line. One of these serves all steps of a run.
#[derive(Debug, Default)]
pub struct Ui {
    report: Report,
    /// Where each resource is in the report.
    places: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "@message")]
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Address {
    addr: String,
}

#[derive(Deserialize)]
struct Planned {
    resource: Address,
    action: String,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Hook {
    resource: Address,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    id_value: Option<String>,
    #[serde(default)]
    elapsed_seconds: Option<f64>,
    #[serde(default)]
    output: Option<String>,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(flatten)]
    changes: Changes,
    #[serde(default)]
    operation: String,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    value: Option<Value>,
}

#[derive(Deserialize)]
struct Diagnosed {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    range: Option<Range>,
    #[serde(default)]
    snippet: Option<Snippet>,
}

#[derive(Deserialize)]
struct Range {
    filename: String,
    start: Start,
}

#[derive(Deserialize)]
struct Start {
    line: u64,
    column: u64,
}

#[derive(Deserialize)]
struct Snippet {
    #[serde(default)]
    context: Option<String>,
    #[serde(default)]
    code: String,
}

impl Ui {
    /// Takes one line, without its end, and gives what the log says in its place, in one or more lines; nothing when there is
    /// nothing to say. What is not terraform's JSON is given back as it is.
    pub fn feed(&mut self, line: &str) -> Option<String> {
        if line.trim().is_empty() {
            return None;
        }
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            return Some(line.to_owned());
        };
        let text = message
            .message
            .as_deref()
            .map(|text| text.trim_matches('\n'));
        let kind = message.kind.as_deref().unwrap_or_default();
        let more = self.take(kind, &message.rest);
        match (text, more) {
            (Some(text), Some(more)) => Some(format!("{text}\n{more}")),
            (Some(text), None) if !text.is_empty() => Some(text.to_owned()),
            (Some(_), None) => None,
            (None, Some(more)) => Some(more),
            (None, None) => Some(line.to_owned()),
        }
    }

    /// What it has come to, at most [`REPORT_BUDGET_BYTES`] as JSON.
    #[must_use]
    pub fn report(&self) -> Value {
        serde_json::to_value(self.bounded()).expect("a report has texts for keys")
    }

    /// The first error, in one line: why the step that said it failed.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let mut all = self.report.diagnostics.iter();
        let first = all.find(|diagnostic| diagnostic.severity == "error")?;
        let summary = first.summary.lines().next().unwrap_or_default();
        Some(
            match first.detail.lines().find(|line| !line.trim().is_empty()) {
                Some(detail) => format!("{summary}: {}", detail.trim()),
                None => summary.to_owned(),
            },
        )
    }

    /// The report that fits: of the resources those that failed, then those in work, then the others, in terraform's order.
    fn bounded(&self) -> Report {
        let all = &self.report;
        let mut left = REPORT_BUDGET_BYTES - HEAD_BYTES;
        let (diagnostics, diagnostics_over) =
            fitting(&all.diagnostics, &mut left, |left| left * 3 / 8);
        let (outputs, outputs_over) = fitting(&all.outputs, &mut left, |left| left / 4);
        let (drift, drift_over) = fitting(&all.drift, &mut left, |left| left / 8);
        let mut order: Vec<_> = all.resources.iter().collect();
        order.sort_by_key(|resource| match resource.state {
            ResourceState::Failed => 0,
            ResourceState::Running => 1,
            ResourceState::Planned | ResourceState::Done => 2,
        });
        let (resources, resources_over) = fitting(order, &mut left, |left| left);
        Report {
            version: all.version.clone(),
            resources: resources.into_iter().cloned().collect(),
            resources_left_out: all.resources_left_out + resources_over,
            planned: all.planned,
            applied: all.applied,
            drift: drift.into_iter().cloned().collect(),
            drift_left_out: all.drift_left_out + drift_over,
            outputs: outputs
                .into_iter()
                .map(|(name, output)| (name.clone(), output.clone()))
                .collect(),
            outputs_left_out: all.outputs_left_out + outputs_over,
            diagnostics: diagnostics.into_iter().cloned().collect(),
            diagnostics_left_out: all.diagnostics_left_out + diagnostics_over,
        }
    }

    /// Notes what a message says, and gives what the log should say beside its text.
    fn take(&mut self, kind: &str, rest: &serde_json::Map<String, Value>) -> Option<String> {
        match kind {
            "version" => {
                self.report.version = rest
                    .get("terraform")
                    .and_then(Value::as_str)
                    .map(|version| cut(version, TEXT_BYTES_MAX));
                None
            }
            "planned_change" => {
                let planned: Planned = part(rest, "change")?;
                let resource = self.resource(&planned.resource.addr)?;
                resource.action = cut(&planned.action, TEXT_BYTES_MAX);
                resource.reason = planned.reason.map(|reason| cut(&reason, TEXT_BYTES_MAX));
                resource.state = ResourceState::Planned;
                None
            }
            "resource_drift" => {
                let drift: Planned = part(rest, "change")?;
                if self.report.drift.len() == DRIFTS_MAX {
                    self.report.drift_left_out += 1;
                    return None;
                }
                self.report.drift.push(Drift {
                    address: cut(&drift.resource.addr, TEXT_BYTES_MAX),
                    action: cut(&drift.action, TEXT_BYTES_MAX),
                });
                None
            }
            "apply_start" | "apply_progress" => {
                self.applies(&part(rest, "hook")?, ResourceState::Running);
                None
            }
            "apply_complete" => {
                self.applies(&part(rest, "hook")?, ResourceState::Done);
                None
            }
            "apply_errored" => {
                self.applies(&part(rest, "hook")?, ResourceState::Failed);
                None
            }
            "provision_progress" => {
                let hook: Hook = part(rest, "hook")?;
                let output = hook.output?;
                self.resource(&hook.resource.addr)?.output =
                    Some(cut(output.trim_end(), PROVISIONER_BYTES_MAX));
                None
            }
            "change_summary" => {
                let summary: Summary = part(rest, "changes")?;
                match summary.operation.as_str() {
                    "plan" => self.report.planned = Some(summary.changes),
                    _ => self.report.applied = Some(summary.changes),
                }
                None
            }
            "outputs" => self.outputs(rest.get("outputs")?.as_object()?),
            "diagnostic" => {
                let text = self.diagnostic(part(rest, "diagnostic")?);
                (!text.is_empty()).then_some(text)
            }
            // Of a newer terraform, or without anything to note: `log`, `init_output`, `refresh_start` ….
            _ => None,
        }
    }

    fn applies(&mut self, hook: &Hook, state: ResourceState) {
        let Some(resource) = self.resource(&hook.resource.addr) else {
            return;
        };
        resource.state = state;
        // A replaced resource is deleted and created: what was planned says it better than each half.
        if let Some(action) = &hook.action
            && resource.action != "replace"
        {
            resource.action = cut(action, TEXT_BYTES_MAX);
        }
        if hook.elapsed_seconds.is_some() {
            resource.elapsed_secs = hook.elapsed_seconds;
        }
        if let Some(id) = &hook.id_value {
            resource.id = Some(cut(id, TEXT_BYTES_MAX));
        }
    }

    /// The resource of this address; nothing when there are too many.
    fn resource(&mut self, address: &str) -> Option<&mut Resource> {
        if let Some(&place) = self.places.get(address) {
            return self.report.resources.get_mut(place);
        }
        if self.report.resources.len() == RESOURCES_MAX {
            // Counted at each message of it; it stands for "more", not for how many.
            self.report.resources_left_out = self.report.resources_left_out.max(1);
            return None;
        }
        self.places
            .insert(address.to_owned(), self.report.resources.len());
        self.report.resources.push(Resource {
            address: cut(address, TEXT_BYTES_MAX),
            action: String::new(),
            reason: None,
            state: ResourceState::Planned,
            elapsed_secs: None,
            id: None,
            output: None,
        });
        self.report.resources.last_mut()
    }

    fn outputs(&mut self, outputs: &serde_json::Map<String, Value>) -> Option<String> {
        let mut lines = Vec::new();
        for (name, output) in outputs {
            let Ok(output) = Output::deserialize(output) else {
                continue;
            };
            if !output.sensitive && output.value.is_none() {
                // A plan tells of outputs only that they will change.
                continue;
            }
            if self.report.outputs.len() >= OUTPUTS_MAX && !self.report.outputs.contains_key(name) {
                self.report.outputs_left_out += 1;
                continue;
            }
            let value = output.value.filter(|_| !output.sensitive);
            let bytes = value.as_ref().map(json_bytes);
            let small = bytes.is_none_or(|bytes| bytes <= OUTPUT_BYTES_MAX);
            lines.push(match (&value, bytes) {
                (Some(value), _) if small => format!("{name} = {value}"),
                (Some(_), Some(bytes)) => format!("{name} = … ({bytes} bytes)"),
                _ => format!("{name} = (sensitive)"),
            });
            self.report.outputs.insert(
                cut(name, TEXT_BYTES_MAX),
                OutputValue {
                    sensitive: output.sensitive,
                    value: value.filter(|_| small),
                    bytes: bytes.filter(|_| !small),
                },
            );
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Notes it, and gives what its message does not say: where it is, the line itself, and the detail.
    fn diagnostic(&mut self, told: Diagnosed) -> String {
        let (file, line, column) = match told.range {
            Some(range) => (
                Some(range.filename),
                Some(range.start.line),
                Some(range.start.column),
            ),
            None => (None, None, None),
        };
        let (context, code) = match told.snippet {
            Some(snippet) => (snippet.context, Some(snippet.code)),
            None => (None, None),
        };
        let diagnostic = Diagnostic {
            severity: cut(&told.severity, TEXT_BYTES_MAX),
            summary: cut(told.summary.trim(), TEXT_BYTES_MAX),
            detail: cut(told.detail.trim(), DETAIL_BYTES_MAX),
            address: told.address.map(|text| cut(&text, TEXT_BYTES_MAX)),
            file: file.map(|text| cut(&text, TEXT_BYTES_MAX)),
            line,
            column,
            context: context.map(|text| cut(&text, TEXT_BYTES_MAX)),
            code: code.map(|text| cut(&text, TEXT_BYTES_MAX)),
        };
        let mut text = Vec::new();
        if let (Some(file), Some(line)) = (&diagnostic.file, diagnostic.line) {
            text.push(match &diagnostic.context {
                Some(context) => format!("  on {file} line {line}, in {context}:"),
                None => format!("  on {file} line {line}:"),
            });
            if let Some(code) = &diagnostic.code {
                text.push(format!("  {line}: {}", code.trim_end()));
            }
        } else if let Some(address) = &diagnostic.address {
            text.push(format!("  with {address}"));
        }
        if !diagnostic.detail.is_empty() {
            text.push(diagnostic.detail.clone());
        }
        // `init` tells some of them twice.
        if !self.report.diagnostics.contains(&diagnostic) {
            if self.report.diagnostics.len() == DIAGNOSTICS_MAX {
                self.report.diagnostics_left_out += 1;
            } else {
                self.report.diagnostics.push(diagnostic);
            }
        }
        text.join("\n")
    }
}

/// A part of a message, when it has the form that we know.
fn part<T: DeserializeOwned>(rest: &serde_json::Map<String, Value>, name: &str) -> Option<T> {
    T::deserialize(rest.get(name)?).ok()
}

/// As many of these as fit into their share of what is left, and how many do not.
fn fitting<T: serde::Serialize>(
    all: impl IntoIterator<Item = T>,
    left: &mut usize,
    share: impl Fn(usize) -> usize,
) -> (Vec<T>, usize) {
    let (mut taken, mut over, mut share) = (Vec::new(), 0, share(*left));
    for one in all {
        // With the comma after it.
        let bytes = json_bytes(&one) + 1;
        if over == 0 && bytes <= share {
            share -= bytes;
            *left -= bytes;
            taken.push(one);
        } else {
            over += 1;
        }
    }
    (taken, over)
}

pub(crate) fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}
