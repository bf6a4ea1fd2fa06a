//! What terraform says while it works: resources, outputs, problems.

use ::terraform::{Changes, Diagnostic, OutputValue, Report, Resource, ResourceState};
use chrono::TimeDelta;
use maud::{Markup, html};

use super::super::model::{Reader, Tone};
use super::super::parts::{chip, duration, icon, tone_class};
use crate::i18n::{Key, Language};
use crate::log_text::LogText;

pub(super) fn report(reader: &Reader, report: &Report) -> Markup {
    html! {
        @if !report.diagnostics.is_empty() { (diagnostics(reader, report)) }
        @if !report.resources.is_empty() { (resources(reader, report)) }
        @if !report.drift.is_empty() { (drift(reader, report)) }
        @if !report.outputs.is_empty() { (outputs(reader, report)) }
    }
}

/// How many there are of each change, in one line.
pub(super) fn changes(reader: &Reader, changes: &Changes) -> String {
    let number = |n: u64| n.to_string().into();
    reader.language.with(
        "plan-summary",
        &[
            ("add", number(changes.add)),
            ("change", number(changes.change)),
            ("remove", number(changes.remove)),
        ],
    )
}

fn resources(reader: &Reader, report: &Report) -> Markup {
    let language = reader.language;
    let counts = report.applied.as_ref().or(report.planned.as_ref());
    html! {
        section class="panel" aria-labelledby="resources" {
            header class="panel-head" {
                h2 id="resources" { (language.t("resources-title")) }
                @if let Some(counts) = counts { span class="quiet" { (changes(reader, counts)) } }
            }
            ul class="resources" {
                @for resource in &report.resources { (one_resource(reader, resource)) }
            }
            (left_out(reader, report.resources_left_out))
        }
    }
}

fn one_resource(reader: &Reader, resource: &Resource) -> Markup {
    let language = reader.language;
    let (tone, symbol, label) = match resource.state {
        ResourceState::Planned => (Tone::Waiting, "queued", Key("resource-planned")),
        ResourceState::Running => (Tone::Active, "running", Key("resource-running")),
        ResourceState::Done => (Tone::Good, "check", Key("resource-done")),
        ResourceState::Failed => (Tone::Bad, "cross", Key("resource-failed")),
    };
    let took = resource.elapsed_secs.and_then(|secs| {
        let millis = (secs * 1_000.0).clamp(0.0, 1e15) as i64;
        (millis > 0).then(|| duration(language, TimeDelta::milliseconds(millis)))
    });
    html! {
        li class=(tone_class(tone)) {
            span class="step-mark" { (icon(symbol)) }
            code { (LogText::parse(&resource.address)) }
            span class="tag" { (deed(language, &resource.action)) }
            span class="quiet" { (language.key(label)) @if let Some(took) = took { " · " (took) } }
            @if let Some(output) = &resource.output { code class="resource-output quiet" { (LogText::parse(output)) } }
        }
    }
}

/// What terraform does to a resource, in a word.
pub(in crate::views) fn deed(language: Language, action: &str) -> Markup {
    let key = match action {
        "create" => Key("deed-create"),
        "update" => Key("deed-update"),
        "delete" => Key("deed-delete"),
        "replace" => Key("deed-replace"),
        "read" => Key("deed-read"),
        "import" => Key("deed-import"),
        "move" => Key("deed-move"),
        "forget" | "remove" => Key("deed-forget"),
        "noop" | "no-op" => Key("deed-nothing"),
        other => return html! { span lang="en" { (LogText::parse(other)) } },
    };
    html! { (language.key(key)) }
}

fn drift(reader: &Reader, report: &Report) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-labelledby="drift" {
            header class="panel-head" { h2 id="drift" { (language.t("drift-title")) } }
            ul class="resources" {
                @for drift in &report.drift {
                    li class=(tone_class(Tone::Warning)) {
                        span class="step-mark" { (icon("warning")) }
                        code { (LogText::parse(&drift.address)) }
                        span class="tag" { (deed(reader.language, &drift.action)) }
                    }
                }
            }
            (left_out(reader, report.drift_left_out))
        }
    }
}

fn outputs(reader: &Reader, report: &Report) -> Markup {
    let language = reader.language;
    html! {
        section class="panel padded" aria-labelledby="outputs" {
            h2 id="outputs" { (language.t("outputs-title")) }
            dl class="facts" {
                @for (name, output) in &report.outputs {
                    dt { code { (LogText::parse(name)) } }
                    dd { (value(reader, output)) }
                }
            }
            (left_out(reader, report.outputs_left_out))
        }
    }
}

fn value(reader: &Reader, output: &OutputValue) -> Markup {
    let language = reader.language;
    html! {
        @if output.sensitive { (sensitive(reader)) }
        @else if let Some(value) = &output.value {
            @match value.as_str() {
                Some(text) => code { (LogText::parse(text)) },
                None => code { (LogText::parse(&value.to_string())) },
            }
        } @else {
            span class="quiet" {
                (language.with("output-large", &[("size", super::super::parts::bytes(language, output.bytes.unwrap_or_default() as u64).into())]))
            }
        }
    }
}

/// What stands for a value that is not to be seen.
pub(super) fn sensitive(reader: &Reader) -> Markup {
    html! { span class="invisible" { (icon("lock")) (reader.language.t("value-sensitive")) } }
}

fn diagnostics(reader: &Reader, report: &Report) -> Markup {
    let language = reader.language;
    html! {
        section class="panel padded" aria-labelledby="diagnostics" {
            h2 id="diagnostics" { (language.t("diagnostics-title")) }
            ul class="diagnostics" { @for diagnostic in &report.diagnostics { (one_diagnostic(reader, diagnostic)) } }
            (left_out(reader, report.diagnostics_left_out))
        }
    }
}

fn one_diagnostic(reader: &Reader, diagnostic: &Diagnostic) -> Markup {
    let language = reader.language;
    let error = diagnostic.severity == "error";
    let (tone, symbol, label) = if error {
        (Tone::Bad, "cross", Key("diagnostic-error"))
    } else {
        (Tone::Warning, "warning", Key("diagnostic-warning"))
    };
    html! {
        li {
            p { (chip(tone, symbol, &language.key(label))) " " strong { (diagnostic.summary) } }
            @if let Some(address) = &diagnostic.address { p class="quiet" { code { (address) } } }
            @if let Some(file) = &diagnostic.file {
                p class="quiet" {
                    code { (file) @if let Some(line) = diagnostic.line { ":" (line) } }
                    @if let Some(context) = &diagnostic.context { " " (context) }
                }
            }
            @if let Some(code) = &diagnostic.code { pre { code { (code) } } }
            @if !diagnostic.detail.is_empty() { p class="diagnostic-detail" { (diagnostic.detail) } }
        }
    }
}

/// How many more there are than are shown.
pub(in crate::views) fn left_out(reader: &Reader, count: usize) -> Markup {
    html! {
        @if count > 0 {
            p class="hint" { (reader.language.with("plan-left-out", &[("count", (count as u64).into())])) }
        }
    }
}
