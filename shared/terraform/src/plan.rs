//! A plan for review, from `terraform show -json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::difference::{Attribute, Differences, Shown, Side, path, shown};
use crate::report::Changes;
use crate::secrets::Secrets;
use crate::ui::json_bytes;
use crate::{Error, cut, parse};

/// The largest plan that is read, in bytes of JSON.
pub const PLAN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The largest masked plan, in bytes of JSON: with a [`crate::Report`] and what else a run reports it stays below
/// [`model::run::REPORT_BYTES_MAX`].
const MASKED_BYTES_MAX: usize = 448 * 1024;
const _: () = assert!(
    MASKED_BYTES_MAX + crate::REPORT_BUDGET_BYTES + 32 * 1024 <= model::run::REPORT_BYTES_MAX
);
const TEXT_BYTES_MAX: usize = 512;
/// How many names of variables are told at most, in bytes.
const VARIABLES_BYTES_MAX: usize = 16 * 1024;
/// What is shown of outputs and drift at most, in bytes of JSON.
const OUTPUTS_BYTES_MAX: usize = 64 * 1024;
const DRIFT_BYTES_MAX: usize = 64 * 1024;

/// A plan as people may see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MaskedPlan {
    /// Terraform's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many resources are added, changed, imported, removed. A replaced one is added and removed, as terraform counts.
    pub changes: Changes,
    /// What is done to resources, without those that stay as they are.
    pub resources: Vec<ResourceChange>,
    /// Changes that did not fit.
    #[serde(default)]
    pub resources_left_out: usize,
    /// Resources that somebody else changed since the state was written.
    #[serde(default)]
    pub drift: Vec<ResourceChange>,
    /// Drifts that did not fit.
    #[serde(default)]
    pub drift_left_out: usize,
    /// Outputs that change.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputChange>,
    /// Outputs that did not fit.
    #[serde(default)]
    pub outputs_left_out: usize,
    /// Variables of the root module whose values anybody may see: declared, not marked as sensitive, and not ephemeral. What is not
    /// named here is not known to be of that kind.
    #[serde(default)]
    pub plain_variables: Vec<String>,
    /// Whether everything was planned; terraform may put off a part.
    pub complete: bool,
}

/// What is done to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourceChange {
    /// Its address.
    pub address: String,
    /// Its address before, where it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_address: Option<String>,
    /// Its provider.
    pub provider: String,
    /// `create`, `update`, `delete`, `read`, `forget`; two of them in their order for a replacement.
    pub actions: Vec<String>,
    /// Why, in terraform's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// An object that a replacement left behind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deposed: bool,
    /// It exists already and is imported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// What is different, attribute by attribute.
    pub attributes: Vec<Attribute>,
    /// Attributes that did not fit.
    #[serde(default)]
    pub attributes_left_out: usize,
}

/// An output that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputChange {
    /// `create`, `update`, `delete`.
    pub actions: Vec<String>,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Shown>,
    /// What it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Shown>,
}

/// What is read of terraform's plan.
#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    format_version: Option<String>,
    #[serde(default)]
    terraform_version: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    resource_changes: Vec<Changed>,
    #[serde(default)]
    resource_drift: Vec<Changed>,
    #[serde(default)]
    output_changes: BTreeMap<String, Change>,
    #[serde(default)]
    planned_values: Values,
    #[serde(default)]
    prior_state: Prior,
    #[serde(default)]
    configuration: Configuration,
    #[serde(default)]
    applyable: Option<bool>,
    #[serde(default)]
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct Variable {
    #[serde(default)]
    value: Value,
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    root_module: RootModule,
}

#[derive(Default, Deserialize)]
struct RootModule {
    #[serde(default)]
    variables: BTreeMap<String, Declared>,
}

#[derive(Deserialize)]
struct Declared {
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    default: Value,
}

#[derive(Default, Deserialize)]
struct Prior {
    #[serde(default)]
    values: Values,
}

#[derive(Default, Deserialize)]
struct Values {
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    root_module: Module,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    value: Value,
}

#[derive(Default, Deserialize)]
struct Module {
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    child_modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    values: Value,
    #[serde(default)]
    sensitive_values: Value,
}

#[derive(Deserialize)]
struct Changed {
    address: String,
    #[serde(default)]
    previous_address: Option<String>,
    #[serde(default)]
    provider_name: String,
    change: Change,
    #[serde(default)]
    action_reason: Option<String>,
    #[serde(default)]
    deposed: Option<String>,
}

#[derive(Deserialize)]
struct Change {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
    #[serde(default)]
    replace_paths: Vec<Vec<Value>>,
    #[serde(default)]
    importing: Option<Value>,
}

impl Change {
    fn is_none(&self) -> bool {
        self.actions.iter().all(|action| action == "no-op") && self.importing.is_none()
    }

    fn does(&self, action: &str) -> bool {
        self.actions.iter().any(|done| done == action)
    }

    fn before(&self) -> Side<'_> {
        Side {
            value: Some(&self.before),
            sensitive: Some(&self.before_sensitive),
            unknown: None,
        }
    }

    fn after(&self) -> Side<'_> {
        Side {
            value: Some(&self.after),
            sensitive: Some(&self.after_sensitive),
            unknown: Some(&self.after_unknown),
        }
    }
}

impl Plan {
    fn read(json: &[u8]) -> Result<Self, Error> {
        let plan: Self = parse("the plan", json, PLAN_BYTES_MAX)?;
        if plan.format_version.is_none() {
            return Err(Error::NotTerraform {
                what: "the plan",
                why: "it has no format_version",
            });
        }
        Ok(plan)
    }

    /// Whether an apply would do anything.
    fn has_changes(&self) -> bool {
        // A newer terraform says it; an older one leaves it to who reads.
        self.applyable.unwrap_or_else(|| {
            let resources = self.resource_changes.iter().map(|changed| &changed.change);
            resources
                .chain(self.output_changes.values())
                .any(|change| !change.is_none() && !change.does("read"))
        })
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        for (name, declared) in &self.configuration.root_module.variables {
            if declared.sensitive {
                secrets.note_all(&declared.default);
                if let Some(given) = self.variables.get(name) {
                    secrets.note_all(&given.value);
                }
            }
        }
        let changed = self.resource_changes.iter().chain(&self.resource_drift);
        for change in changed
            .map(|changed| &changed.change)
            .chain(self.output_changes.values())
        {
            secrets.note(&change.before, &change.before_sensitive);
            secrets.note(&change.after, &change.after_sensitive);
        }
        for values in [&self.planned_values, &self.prior_state.values] {
            for output in values.outputs.values().filter(|output| output.sensitive) {
                secrets.note_all(&output.value);
            }
            note_module(&values.root_module, &mut secrets);
        }
        secrets
    }

    /// Names of variables with values that may be seen. Of an ephemeral one a plan has no value.
    fn plain_variables(&self) -> Vec<String> {
        let mut left = VARIABLES_BYTES_MAX;
        let mut plain = Vec::new();
        for (name, declared) in &self.configuration.root_module.variables {
            if declared.sensitive || !self.variables.contains_key(name) {
                continue;
            }
            match left.checked_sub(name.len()) {
                Some(rest) => left = rest,
                None => break,
            }
            plain.push(name.clone());
        }
        plain
    }

    fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for Changed { change, .. } in &self.resource_changes {
            changes.add += u64::from(change.does("create"));
            changes.change += u64::from(change.does("update"));
            changes.remove += u64::from(change.does("delete"));
            changes.import += u64::from(change.importing.is_some());
        }
        changes
    }
}

fn note_module(module: &Module, secrets: &mut Secrets) {
    for resource in &module.resources {
        secrets.note(&resource.values, &resource.sensitive_values);
    }
    for child in &module.child_modules {
        note_module(child, secrets);
    }
}

/// What `terraform show -json` says of a plan, masked and bounded, and whether the plan has changes.
///
/// # Errors
/// When it is not JSON, not a plan, or larger than [`PLAN_BYTES_MAX`].
pub fn masked_plan(json: &[u8]) -> Result<(MaskedPlan, bool), Error> {
    let plan = Plan::read(json)?;
    let secrets = plan.secrets();
    let mut masked = MaskedPlan {
        version: plan
            .terraform_version
            .as_deref()
            .map(|version| cut(version, TEXT_BYTES_MAX)),
        changes: plan.changes(),
        plain_variables: plan.plain_variables(),
        complete: plan.complete.unwrap_or(true),
        ..MaskedPlan::default()
    };
    for (name, change) in &plan.output_changes {
        if change.is_none() {
            continue;
        }
        let output = output_change(change, &secrets);
        if json_bytes(&masked.outputs) + json_bytes(&output) > OUTPUTS_BYTES_MAX {
            masked.outputs_left_out += 1;
        } else {
            masked.outputs.insert(cut(name, TEXT_BYTES_MAX), output);
        }
    }
    (masked.drift, masked.drift_left_out) =
        resource_changes(&plan.resource_drift, &secrets, DRIFT_BYTES_MAX);
    let left = MASKED_BYTES_MAX.saturating_sub(json_bytes(&masked));
    (masked.resources, masked.resources_left_out) =
        resource_changes(&plan.resource_changes, &secrets, left);
    Ok((masked, plan.has_changes()))
}

/// The values that a plan marks as sensitive, and those of the `given` variables that are ephemeral, which a plan does not have: so
/// that whoever applies it can keep them out of what the apply says. Terraform quotes them, for example, in the error of a
/// provisioner's command.
///
/// # Errors
/// As [`masked_plan`].
pub fn sensitive_values(json: &[u8], given: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let plan = Plan::read(json)?;
    let mut secrets = plan.secrets();
    for (name, value) in given {
        let is_declared = plan.configuration.root_module.variables.contains_key(name);
        if is_declared && !plan.variables.contains_key(name) {
            secrets.note_all(value);
        }
    }
    Ok(secrets.into_values())
}

fn output_change(change: &Change, secrets: &Secrets) -> OutputChange {
    let sensitive = [&change.before_sensitive, &change.after_sensitive]
        .into_iter()
        .any(|mask| *mask == Value::Bool(true));
    let show = |value: &Value, mask: &Value| match value {
        Value::Null => None,
        _ if sensitive => Some(Shown::Sensitive),
        value => Some(shown(value, Some(mask), secrets)),
    };
    let after = match &change.after_unknown {
        Value::Null | Value::Bool(false) => show(&change.after, &change.after_sensitive),
        // Of one that is known in parts it is told what is known when it is.
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => Some(Shown::Unknown),
        Value::Number(_) | Value::String(_) => None,
    };
    OutputChange {
        actions: change.actions.clone(),
        before: show(&change.before, &change.before_sensitive),
        after,
    }
}

/// What fits of the changes: a resource without its attributes when these are too many.
fn resource_changes(
    changed: &[Changed],
    secrets: &Secrets,
    bytes_max: usize,
) -> (Vec<ResourceChange>, usize) {
    let (mut taken, mut left_out, mut left) = (Vec::new(), 0, bytes_max);
    for changed in changed.iter().filter(|changed| !changed.change.is_none()) {
        let mut resource = resource_change(changed, secrets);
        if json_bytes(&resource) >= left {
            resource.attributes_left_out += resource.attributes.len();
            resource.attributes.clear();
        }
        match left.checked_sub(json_bytes(&resource) + 1) {
            Some(rest) => {
                left = rest;
                taken.push(resource);
            }
            None => left_out += 1,
        }
    }
    (taken, left_out)
}

fn resource_change(changed: &Changed, secrets: &Secrets) -> ResourceChange {
    let change = &changed.change;
    let replace_paths: Vec<_> = change
        .replace_paths
        .iter()
        .map(|steps| path(steps))
        .collect();
    let found = Differences::between(change.before(), change.after(), secrets, &replace_paths);
    ResourceChange {
        address: cut(&changed.address, TEXT_BYTES_MAX),
        previous_address: changed
            .previous_address
            .as_deref()
            .map(|address| cut(address, TEXT_BYTES_MAX)),
        provider: cut(&changed.provider_name, TEXT_BYTES_MAX),
        actions: change.actions.clone(),
        reason: changed
            .action_reason
            .as_deref()
            .map(|reason| cut(reason, TEXT_BYTES_MAX)),
        deposed: changed.deposed.is_some(),
        imported: change.importing.is_some(),
        attributes: found.attributes,
        attributes_left_out: found.left_out,
    }
}
