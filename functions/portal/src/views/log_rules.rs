//! Rules on what logs say, and the log of events.

use maud::{Markup, html};
use model::Severity;

use super::layout::{Head, Section, form_token, page};
use super::model::{
    CountRow, EventLogPage, Link, LogRulePage, LogRuleRow, LogRulesPage, OverrideRow, Reader,
    RecordedRow, Tone,
};
use super::parts::{ago, chip, code_block, icon, moment, nothing};
use super::queues::more_pages;
use super::trigger_form::{Line, Select, flag, line, select};
use super::triggers::{remove_form, tabs};
use crate::i18n::Language;

/// How bad something is, with its colour and its word.
pub(super) fn severity_chip(language: Language, severity: Severity) -> Markup {
    match severity {
        Severity::Debug => chip(Tone::Quiet, "minus", &language.t("severity-debug")),
        Severity::Info => chip(Tone::Quiet, "event", &language.t("severity-info")),
        Severity::Warning => chip(Tone::Warning, "warning", &language.t("severity-warning")),
        Severity::Error => chip(Tone::Bad, "cross", &language.t("severity-error")),
    }
}

fn linked(link: &Link) -> Markup {
    html! { a href=(link.href) { (link.name) } }
}

/// The list of rules.
#[must_use]
pub fn log_rules(reader: &Reader, view: &LogRulesPage) -> Markup {
    let language = reader.language;
    let title = language.t("log-rules-title");
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("log-rules-lede")) }
            @if view.may_edit {
                div class="actions" {
                    a class="button primary" href="/log-rules/new" { (icon("plus")) (language.t("log-rule-new")) }
                }
            }
        }
        (tabs(reader, "/log-rules"))
        section class="panel" aria-label=(title) {
            @if view.rows.is_empty() { (nothing(&language.t("log-rules-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (title) }
                    thead { tr {
                        th scope="col" { (language.t("column-name")) }
                        th scope="col" { (language.t("field-severity")) }
                        th scope="col" { (language.t("field-rule-workload")) }
                        th scope="col" { (language.t("column-starts")) }
                    } }
                    tbody { @for row in &view.rows { (rule_row(reader, row)) } }
                }
            }
        }
    };
    page(reader, &head, &main)
}

fn rule_row(reader: &Reader, row: &LogRuleRow) -> Markup {
    let language = reader.language;
    html! {
        tr data-row="" {
            td class="lead" {
                a class="row-link" href={ "/log-rules/" (row.id) } { span class="row-name" { (row.name) } }
                span class="row-about" { code { (row.pattern) } }
            }
            td data-label=(language.t("field-severity")) {
                (severity_chip(language, row.severity))
                @if !row.enabled { " " (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
            }
            td data-label=(language.t("field-rule-workload")) { (of_workload(language, row.workload.as_ref())) }
            td data-label=(language.t("column-starts")) { (fires(language, row.trigger.as_ref())) }
        }
    }
}

fn of_workload(language: Language, workload: Option<&Link>) -> Markup {
    html! {
        @match workload {
            Some(link) => (linked(link)),
            None => span class="quiet" { (language.t("log-rule-everywhere")) },
        }
    }
}

fn fires(language: Language, trigger: Option<&Link>) -> Markup {
    html! {
        @match trigger {
            Some(link) => (linked(link)),
            None => span class="quiet" { (language.t("log-rule-only-tells")) },
        }
    }
}

/// One rule.
#[must_use]
pub fn log_rule(reader: &Reader, view: &LogRulePage) -> Markup {
    let language = reader.language;
    let (row, href) = (&view.row, format!("/log-rules/{}", view.row.id));
    let head = Head {
        title: &row.name,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/log-rules" { (language.t("log-rules-title")) } }
        header class="page-head" {
            h1 {
                (row.name)
                @if !row.enabled { (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
            }
            @if view.may_edit {
                div class="actions" {
                    a class="button" href={ (href) "/edit" } { (icon("edit")) (language.t("schedule-edit")) }
                    (remove_form(reader, &href, &language.t("log-rule-remove-text")))
                }
            }
        }
        section class="panel padded" aria-labelledby="facts" {
            h2 id="facts" { (language.t("facts")) }
            dl class="facts" {
                dt { (language.t("field-pattern")) } dd { code { (row.pattern) } }
                dt { (language.t("field-severity")) } dd { (severity_chip(language, row.severity)) }
                dt { (language.t("field-rule-workload")) } dd { (of_workload(language, row.workload.as_ref())) }
                dt { (language.t("field-rule-trigger")) } dd { (fires(language, row.trigger.as_ref())) }
                dt { (language.t("field-streams")) } dd { (view.streams.join(", ")) }
                dt { (language.t("field-cooldown")) } dd { (view.cooldown_secs) }
            }
        }
        (counts(reader, &view.counts))
        @if row.workload.is_none() { (overrides(reader, view, &href)) }
        section class="panel" aria-labelledby="recorded" {
            header class="panel-head" {
                h2 id="recorded" { (language.t("log-rule-found")) }
                a href={ "/event-log?rule=" (row.id) } { (language.t("see-all")) }
            }
            @if view.recorded.is_empty() { (nothing(&language.t("event-log-none"))) }
            @else { (recorded(reader, &view.recorded)) }
        }
    };
    page(reader, &head, &main)
}

fn counts(reader: &Reader, rows: &[CountRow]) -> Markup {
    let language = reader.language;
    let columns = [
        language.t("column-workload"),
        language.t("column-matched"),
        language.t("column-told"),
        language.t("column-cooled"),
        language.t("column-dropped"),
        language.t("column-fired"),
        language.t("column-matched-at"),
    ];
    html! {
        section class="panel" aria-labelledby="counts" {
            header class="panel-head" { h2 id="counts" { (language.t("log-rule-counts")) } }
            @if rows.is_empty() { (nothing(&language.t("log-rule-counts-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (language.t("log-rule-counts")) }
                    thead { tr { @for column in &columns { th scope="col" { (column) } } } }
                    tbody {
                        @for row in rows {
                            tr {
                                td class="lead" {
                                    @match &row.workload {
                                        Some(link) => (linked(link)),
                                        None => span class="quiet" { (language.t("log-rule-no-workload")) },
                                    }
                                }
                                @for (number, column) in [row.matched, row.told, row.cooled, row.dropped, row.fired].iter().zip(&columns[1..]) {
                                    td data-label=(column) { span class="number" { (language.number(*number as f64)) } }
                                }
                                td data-label=(columns[6]) { @if let Some(at) = row.matched_at { (ago(reader, at)) } }
                            }
                        }
                    }
                }
                p class="panel-foot hint" { (language.t("log-rule-counts-hint")) }
            }
        }
    }
}

fn overrides(reader: &Reader, view: &LogRulePage, href: &str) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-labelledby="overrides" {
            header class="panel-head" { h2 id="overrides" { (language.t("overrides-title")) } }
            @if view.overrides.is_empty() { (nothing(&language.t("overrides-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (language.t("overrides-title")) }
                    thead { tr {
                        th scope="col" { (language.t("column-workload")) }
                        th scope="col" { (language.t("field-severity")) }
                        th scope="col" { (language.t("field-cooldown")) }
                        @if view.may_edit { th scope="col" { span class="unseen" { (language.t("schedule-remove")) } } }
                    } }
                    tbody { @for row in &view.overrides { (override_row(reader, row, view.may_edit, href)) } }
                }
            }
            @if view.may_edit && !view.workloads.is_empty() {
                details class="more panel-foot" {
                    summary { (language.t("override-set")) }
                    (override_form(reader, view, href))
                }
            }
        }
    }
}

fn override_row(reader: &Reader, row: &OverrideRow, may_edit: bool, href: &str) -> Markup {
    let language = reader.language;
    let as_rule = || html! { span class="quiet" { (language.t("override-as-rule")) } };
    html! {
        tr {
            td class="lead" {
                (linked(&row.workload))
                @if !row.enabled { " " (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
            }
            td data-label=(language.t("field-severity")) {
                @match &row.severity { Some(severity) => (severity), None => (as_rule()) }
            }
            td data-label=(language.t("field-cooldown")) {
                @match row.cooldown_secs { Some(secs) => (secs), None => (as_rule()) }
            }
            @if may_edit {
                td class="row-actions-cell" { div class="row-actions" {
                    form method="post" action={ (href) "/overrides" } {
                        (form_token(reader))
                        input type="hidden" name="workload" value=(row.workload_id);
                        button class="button small" type="submit" name="do" value="remove" { (icon("cross")) (language.t("schedule-remove")) }
                    }
                } }
            }
        }
    }
}

fn override_form(reader: &Reader, view: &LogRulePage, href: &str) -> Markup {
    let language = reader.language;
    let severities = [
        ("error", language.t("severity-error")),
        ("warning", language.t("severity-warning")),
        ("info", language.t("severity-info")),
        ("debug", language.t("severity-debug")),
    ]
    .map(|(value, label)| (value.to_owned(), label));
    html! {
        form class="trigger-form" method="post" action={ (href) "/overrides" } {
            (form_token(reader))
            div class="fields" {
                (select(&Select {
                    name: "workload", label: &language.t("column-workload"), hint: None, text: "", none: None,
                    offered: &view.workloads,
                }))
                (select(&Select {
                    name: "severity", label: &language.t("field-severity"), hint: None, text: "",
                    none: Some(language.t("override-as-rule")), offered: &severities,
                }))
                (line(&Line {
                    label: language.t("field-cooldown"), hint: Some(language.t("hint-override-cooldown")), is_number: true,
                    ..Line::of("cooldown_secs", "")
                }))
                (flag("enabled", &language.t("override-enabled"), None, true))
            }
            button class="button" type="submit" name="do" value="set" { (icon("check")) (language.t("schedule-save")) }
        }
    }
}

/// Rows of the log of events.
fn recorded(reader: &Reader, rows: &[RecordedRow]) -> Markup {
    let language = reader.language;
    html! {
        table class="rows event-log" {
            caption class="unseen" { (language.t("event-log-title")) }
            thead { tr {
                th scope="col" { (language.t("column-when")) }
                th scope="col" { (language.t("field-severity")) }
                th scope="col" { (language.t("column-text")) }
                th scope="col" { (language.t("column-of")) }
            } }
            tbody {
                @for row in rows {
                    tr data-row="" {
                        td data-label=(language.t("column-when")) { (moment(row.at)) }
                        td data-label=(language.t("field-severity")) { (severity_chip(language, row.severity)) }
                        td class="lead" data-label=(language.t("column-text")) {
                            span class="row-name" { (row.message) }
                            @if let Some(data) = &row.data {
                                details {
                                    summary { (language.t("event-log-data")) }
                                    (code_block(language, data, &language.t("event-log-data")))
                                }
                            }
                        }
                        td data-label=(language.t("column-of")) {
                            span {
                                code { (row.source) }
                                @for link in row.rule.iter().chain(&row.workload) { " · " (linked(link)) }
                                @if let Some(job) = row.job { " · " a href={ "/jobs/" (job) } { (language.t("column-job")) " " (job) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The log of events.
#[must_use]
pub fn event_log(reader: &Reader, view: &EventLogPage) -> Markup {
    let language = reader.language;
    let title = language.t("event-log-title");
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let severities = [
        ("error", language.t("severity-error")),
        ("warning", language.t("severity-warning")),
        ("info", language.t("severity-info")),
    ]
    .map(|(value, label)| (value.to_owned(), label));
    let choice = |name: &str, label: &str, text: &str, offered: &[(String, String)]| {
        html! {
            label {
                span { (label) }
                select name=(name) {
                    option value="" selected[text.is_empty()] { (language.t("severity-any")) }
                    @for (value, label) in offered { option value=(value) selected[value == text] { (label) } }
                }
            }
        }
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("event-log-lede")) }
        }
        (tabs(reader, "/event-log"))
        form class="filter" method="get" action="/event-log" {
            (choice("severity", &language.t("field-least-severity"), &view.severity, &severities))
            (choice("rule", &language.t("column-rule"), &view.rule, &view.rules))
            (choice("workload", &language.t("column-workload"), &view.workload, &view.workloads))
            button class="button" type="submit" { (icon("filter")) (language.t("filter-apply")) }
        }
        section class="panel" aria-label=(title) {
            @if view.rows.is_empty() { (nothing(&language.t("event-log-none"))) }
            @else { (recorded(reader, &view.rows)) }
        }
        (more_pages(reader, &view.first_href, view.is_first, view.next_href.as_deref()))
    };
    page(reader, &head, &main)
}
