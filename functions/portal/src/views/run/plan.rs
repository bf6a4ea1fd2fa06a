//! A plan for review: what it does to each resource, attribute by attribute, and the two buttons.

use ::terraform::{Attribute, ResourceChange, Shown};
use maud::{Markup, html};

use super::super::layout::form_token;
use super::super::model::{JobPage, PlanDecision, PlanView, Reader, Tone};
use super::super::parts::{ago, commit, icon, moment, nothing, tone_class};
use super::terraform::{changes, left_out, sensitive};
use crate::i18n::{Key, Language};
use crate::log_text::LogText;

/// How many resources are open when the page is: those that somebody surely reads.
const OPEN_MAX: usize = 10;

/// The part with the id `job-plan`, which the stream replaces.
#[must_use]
pub fn job_plan(reader: &Reader, view: &JobPage) -> Markup {
    html! {
        div id="job-plan" {
            @if let Some(plan) = &view.run.plan { (review(reader, plan)) }
        }
    }
}

fn review(reader: &Reader, view: &PlanView) -> Markup {
    let language = reader.language;
    let plan = &view.plan;
    html! {
        section class="panel plan" aria-labelledby="plan" {
            header class="panel-head" {
                h2 id="plan" { (language.t("plan-title")) }
                span { (changes(reader, &plan.changes)) }
                @if let Some(sha256) = &view.sha256 { span class="quiet" { (language.rich("plan-sha256", &[("sha256", commit(sha256))])) } }
            }
            (decision(reader, view))
            @if !plan.complete { p class="log-note" { (icon("warning")) (language.t("plan-incomplete")) } }
            @if plan.resources.is_empty() && plan.outputs.is_empty() { (nothing(&language.t("plan-no-changes"))) }
            @for (place, resource) in plan.resources.iter().enumerate() {
                (one_resource(reader, resource, place < OPEN_MAX))
            }
            (left_out(reader, plan.resources_left_out))
            @if !plan.outputs.is_empty() {
                details class="plan-resource" open {
                    summary { strong { (language.t("plan-outputs")) } }
                    table class="rows diff" {
                        (diff_head(reader))
                        tbody {
                            @for (name, change) in &plan.outputs {
                                tr {
                                    td class="lead" { code { (LogText::parse(name)) } }
                                    td data-label=(language.t("plan-before")) { (shown(reader, change.before.as_ref())) }
                                    td data-label=(language.t("plan-after")) { (shown(reader, change.after.as_ref())) }
                                }
                            }
                        }
                    }
                }
                (left_out(reader, plan.outputs_left_out))
            }
            @if !plan.drift.is_empty() {
                h3 { (language.t("drift-title")) }
                @for resource in &plan.drift { (one_resource(reader, resource, false)) }
                (left_out(reader, plan.drift_left_out))
            }
        }
    }
}

fn decision(reader: &Reader, view: &PlanView) -> Markup {
    let language = reader.language;
    let told = |tone, symbol: &str, text: &Markup| html! { p class={ "callout " (tone_class(tone)) } role="status" { (icon(symbol)) p { (text) } } };
    let by = |name: &Option<String>| html! { (name.as_deref().unwrap_or("–")) };
    match &view.decision {
        PlanDecision::NotAsked => html! {},
        PlanDecision::Waiting(deadline) => html! {
            div class={ "callout " (tone_class(Tone::Warning)) } role="status" {
                (icon("waiting"))
                div {
                    p { (language.rich("plan-waits", &[("deadline", ago(reader, *deadline))])) }
                    @match (&view.decide_href, &view.sha256) {
                        (Some(href), Some(sha256)) => {
                            div class="actions" {
                                form method="post" action={ (href) "/approve" } {
                                    (form_token(reader))
                                    input type="hidden" name="sha256" value=(sha256);
                                    button class="button primary" type="submit" { (icon("check")) (language.t("plan-approve")) }
                                }
                                form method="post" action={ (href) "/reject" } {
                                    (form_token(reader))
                                    input type="hidden" name="sha256" value=(sha256);
                                    button class="button danger" type="submit" { (icon("cross")) (language.t("plan-reject")) }
                                }
                            }
                        },
                        (Some(_), None) => p { (language.t("plan-no-sha256")) },
                        (None, _) => p { (language.t("plan-not-yours")) },
                    }
                }
            }
        },
        PlanDecision::Approved(name, at) => told(
            Tone::Good,
            "check",
            &language.rich(
                "plan-approved",
                &[("name", by(name)), ("when", moment(*at))],
            ),
        ),
        PlanDecision::Rejected(name, at) => told(
            Tone::Bad,
            "cross",
            &language.rich(
                "plan-rejected",
                &[("name", by(name)), ("when", moment(*at))],
            ),
        ),
        PlanDecision::Expired => told(Tone::Bad, "clock", &html! { (language.t("plan-expired")) }),
        PlanDecision::Superseded => told(
            Tone::Quiet,
            "superseded",
            &html! { (language.t("plan-superseded")) },
        ),
    }
}

fn one_resource(reader: &Reader, resource: &ResourceChange, open: bool) -> Markup {
    let language = reader.language;
    let actions: Vec<_> = resource.actions.iter().map(String::as_str).collect();
    let (tone, sign, label) = match actions.as_slice() {
        ["create"] => (Tone::Good, "+", Key("action-create")),
        ["update"] => (Tone::Warning, "~", Key("action-update")),
        ["delete"] => (Tone::Bad, "−", Key("action-delete")),
        ["delete", "create"] => (Tone::Bad, "−/+", Key("action-replace")),
        ["create", "delete"] => (Tone::Bad, "+/−", Key("action-replace-first")),
        ["read"] => (Tone::Quiet, "≤", Key("action-read")),
        ["forget"] => (Tone::Quiet, "·", Key("action-forget")),
        _ => (Tone::Warning, "?", Key("action-other")),
    };
    html! {
        details class={ "plan-resource " (tone_class(tone)) } open[open] {
            summary {
                span class="plan-sign" aria-hidden="true" { (sign) }
                code { (LogText::parse(&resource.address)) }
                span class="quiet" {
                    (language.key(label))
                    @if let Some(reason) = &resource.reason { " · " (why(language, reason)) }
                    @if resource.imported { " · " (language.t("action-imported")) }
                    @if resource.deposed { " · " (language.t("action-deposed")) }
                    @if let Some(before) = &resource.previous_address { " · " (language.rich("action-moved", &[("from", html! { code { (before) } })])) }
                }
            }
            @if !resource.attributes.is_empty() {
                (attributes(reader, &resource.attributes))
            }
            (left_out(reader, resource.attributes_left_out))
        }
    }
}

/// Why terraform does it. What a newer terraform made up is shown in its own words.
fn why(language: Language, reason: &str) -> Markup {
    let key = match reason {
        "replace_because_tainted" => Key("reason-tainted"),
        "replace_because_cannot_update" => Key("reason-cannot-update"),
        "replace_by_request" => Key("reason-by-request"),
        "replace_by_triggers" => Key("reason-by-triggers"),
        "delete_because_no_resource_config" | "delete_because_no_module" => Key("reason-no-config"),
        "delete_because_wrong_repetition"
        | "delete_because_count_index"
        | "delete_because_each_key" => Key("reason-no-instance"),
        "delete_because_no_move_target" => Key("reason-no-move-target"),
        "read_because_config_unknown" | "read_because_dependency_pending" => {
            Key("reason-not-known-yet")
        }
        "read_because_check_nested" => Key("reason-of-check"),
        other => return html! { span lang="en" { (LogText::parse(&other.replace('_', " "))) } },
    };
    html! { (language.key(key)) }
}

/// What is different, attribute by attribute.
pub(in crate::views) fn attributes(reader: &Reader, attributes: &[Attribute]) -> Markup {
    html! {
        table class="rows diff" {
            (diff_head(reader))
            tbody { @for attribute in attributes { (one_attribute(reader, attribute)) } }
        }
    }
}

fn diff_head(reader: &Reader) -> Markup {
    let language = reader.language;
    html! {
        thead {
            tr {
                th scope="col" { (language.t("plan-attribute")) }
                th scope="col" { (language.t("plan-before")) }
                th scope="col" { (language.t("plan-after")) }
            }
        }
    }
}

fn one_attribute(reader: &Reader, attribute: &Attribute) -> Markup {
    let language = reader.language;
    html! {
        tr {
            td class="lead" {
                code { (LogText::parse(&attribute.path)) }
                @if attribute.replaces { " " span class="tag tone-bad" { (language.t("plan-forces")) } }
            }
            td data-label=(language.t("plan-before")) { (shown(reader, attribute.before.as_ref())) }
            td data-label=(language.t("plan-after")) { (shown(reader, attribute.after.as_ref())) }
        }
    }
}

/// A value, or what stands for it.
pub(in crate::views) fn shown(reader: &Reader, value: Option<&Shown>) -> Markup {
    let language = reader.language;
    match value {
        None => html! { span class="quiet" { (language.t("diff-absent")) } },
        Some(Shown::Sensitive) => sensitive(reader),
        Some(Shown::Unknown) => html! { em class="quiet" { (language.t("value-unknown")) } },
        Some(Shown::Value(value)) => html! {
            // Names and values are others': what would deceive the eye is shown by its code point.
            code { (LogText::parse(&value.to_string())) }
        },
    }
}
