//! A plan and outputs for a terminal.

use portal::log_text::LogText;
use serde_json::Value;

use crate::cli::output::Paint;

/// How many resources are shown one by one.
const RESOURCES_MAX: usize = 200;
/// How many attributes of one resource.
const ATTRIBUTES_MAX: usize = 40;
/// How much of a value, in characters.
const VALUE_CHARS_MAX: usize = 120;

/// Which plan it is: the SHA-256 of the file that would be applied.
pub(super) fn sha256(run: &Value) -> Option<&str> {
    let artifacts = run["report"]["artifacts"].as_object()?;
    let plan = artifacts
        .get("plan")
        .or_else(|| artifacts.get("plan.tfplan"));
    plan.and_then(Value::as_str)
}

/// What a plan would do.
pub(super) fn lines(plan: &Value, paint: Paint) -> Vec<String> {
    let mut lines = vec![String::new()];
    let resources = list(&plan["resources"]);
    for resource in resources.iter().take(RESOURCES_MAX) {
        let actions: Vec<_> = list(&resource["actions"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let (sign, action) = told(&actions);
        let reason = resource["reason"].as_str();
        let reason = reason
            .map(|reason| format!(" ({})", reason.replace('_', " ")))
            .unwrap_or_default();
        let address = visible(resource["address"].as_str().unwrap_or("?"));
        lines.push(painted(
            paint,
            sign,
            &format!("{sign:>3} {address} {action}{reason}"),
        ));
        let attributes = list(&resource["attributes"]);
        for attribute in attributes.iter().take(ATTRIBUTES_MAX) {
            let path = visible(attribute["path"].as_str().unwrap_or("?"));
            let (before, after) = (shown(&attribute["before"]), shown(&attribute["after"]));
            let replaces = if attribute["replaces"] == true {
                "  # forces replacement"
            } else {
                ""
            };
            lines.push(match (before, after) {
                (Some(before), Some(after)) => {
                    format!("      {path}: {before} → {after}{replaces}")
                }
                (Some(one), None) | (None, Some(one)) => format!("      {path}: {one}{replaces}"),
                (None, None) => format!("      {path}{replaces}"),
            });
        }
        let left = attributes.len().saturating_sub(ATTRIBUTES_MAX) as u64
            + resource["attributes_left_out"].as_u64().unwrap_or_default();
        if left > 0 {
            lines.push(format!("      … {left} more"));
        }
    }
    let left = resources.len().saturating_sub(RESOURCES_MAX) as u64
        + plan["resources_left_out"].as_u64().unwrap_or_default();
    if left > 0 {
        lines.push(format!("    … {left} more resources, on the job's page"));
    }
    let count = |name: &str| plan["changes"][name].as_u64().unwrap_or_default();
    if resources.is_empty() && left == 0 {
        lines.push(paint.bold("No changes to resources."));
        return lines;
    }
    lines.push(String::new());
    lines.push(paint.bold(format_args!(
        "Plan: {} to add, {} to change, {} to destroy.",
        count("add"),
        count("change"),
        count("remove")
    )));
    lines
}

/// What an apply said.
pub(super) fn outputs(report: &Value, paint: Paint) -> Vec<String> {
    let Some(outputs) = report["outputs"]
        .as_object()
        .filter(|outputs| !outputs.is_empty())
    else {
        return Vec::new();
    };
    let mut lines = vec![String::new(), paint.bold("Outputs:")];
    lines.extend(outputs.iter().map(|(name, output)| {
        let value = match (&output["value"], output["bytes"].as_u64()) {
            _ if output["sensitive"] == true => "(sensitive)".to_owned(),
            // What is large is not in the report.
            (Value::Null, Some(bytes)) => format!("({bytes} bytes, in the state)"),
            (value, _) => short(value),
        };
        format!("  {} = {value}", visible(name))
    }));
    lines
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn told(actions: &[&str]) -> (&'static str, &'static str) {
    match actions {
        ["create"] => ("+", "will be created"),
        ["update"] => ("~", "will be updated in place"),
        ["delete"] => ("-", "will be destroyed"),
        ["delete", "create"] => ("-/+", "will be destroyed, then created"),
        ["create", "delete"] => ("+/-", "will be created, then the old one destroyed"),
        ["read"] => ("<=", "will be read"),
        ["forget"] => (".", "will be forgotten, and stays"),
        _ => ("?", "will be changed"),
    }
}

fn painted(paint: Paint, sign: &str, text: &str) -> String {
    match sign {
        "+" => paint.good(text),
        "-" | "-/+" | "+/-" => paint.bad(text),
        _ => paint.bold(text),
    }
}

/// A value before or after: itself, or that it is not known or not to be seen.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(word) if word == "sensitive" => Some("(sensitive)".to_owned()),
        Value::String(word) if word == "unknown" => Some("(known after apply)".to_owned()),
        Value::Object(one) if one.len() == 1 => one.values().next().map(short),
        other => Some(short(other)),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    let mut cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    visible(&cut)
}

/// What others wrote, without what a terminal would act on.
fn visible(text: &str) -> String {
    LogText::parse(text).terminal(false)
}
