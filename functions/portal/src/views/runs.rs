//! Runs: the latest, what they are started from, and the form that starts one.

use maud::{Markup, html};

use super::layout::{Head, Section, form_token, page};
use super::lists;
use super::model::{JobRow, Reader, RunFormPage, TemplateRow, WorkspacePage, WorkspaceRow};
use super::parts::{ago, commit, icon, nothing};
use super::payload_fields::{PayloadFields, payload_fields};
use super::trigger_form::{Area, area, faults, first_button};

/// The page of all runs.
#[derive(Clone, Debug)]
pub struct RunsPage {
    /// Jobs that runners work or worked on, newest first.
    pub jobs: Vec<JobRow>,
    /// Where older ones are.
    pub older_href: Option<String>,
    /// Whether the reader may start one.
    pub may_start: bool,
    /// Repositories to start from.
    pub workspaces: Vec<WorkspaceRow>,
}

/// The latest runs, and what they are started from.
#[must_use]
pub fn runs(reader: &Reader, view: &RunsPage) -> Markup {
    let language = reader.language;
    let title = language.t("runs-title");
    let head = Head {
        title: &title,
        section: Section::Runs,
        live_href: Some("/live/runs"),
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            a class="button" href="/states" { (icon("lock")) (language.t("states-title")) }
            @if view.may_start {
                a class="button primary" href="/runs/new" { (icon("plus")) (language.t("run-start")) }
            }
        }
        div class="columns" {
            (runs_content(reader, view))
            section class="panel" aria-labelledby="workspaces" {
                header class="panel-head" { h2 id="workspaces" { (language.t("workspaces-title")) } }
                @if view.workspaces.is_empty() { (nothing(&language.t("workspaces-none"))) }
                @else {
                    ul class="plain-list workspaces" {
                        @for workspace in &view.workspaces { li data-row="" { (workspace_row(reader, workspace)) } }
                    }
                }
            }
        }
    };
    page(reader, &head, &main)
}

/// The part with the id `runs`, which the stream replaces.
#[must_use]
pub fn runs_content(reader: &Reader, view: &RunsPage) -> Markup {
    let language = reader.language;
    html! {
        section id="runs" class="panel" aria-labelledby="latest" {
            header class="panel-head" { h2 id="latest" { (language.t("runs-latest")) } }
            @if view.jobs.is_empty() { (nothing(&language.t("runs-none"))) }
            @else { (lists::jobs(reader, &view.jobs)) }
            @if let Some(href) = &view.older_href { p class="panel-foot" { a href=(href) { (language.t("runs-older")) } } }
        }
    }
}

fn workspace_row(reader: &Reader, workspace: &WorkspaceRow) -> Markup {
    let language = reader.language;
    html! {
        a class="row-link" href={ "/workspaces/" (workspace.id) } { span class="row-name" { (workspace.name) } }
        p class="row-about" { (workspace.url) }
        p class="quiet" {
            @match (&workspace.commit, workspace.synced_at) {
                (Some(at), Some(when)) => { (commit(at)) " · " (ago(reader, when)) },
                _ => (language.t("workspace-never")),
            }
        }
        @if let Some(error) = &workspace.error { p class="row-error" { (error) } }
    }
}

/// A workspace with its templates.
#[must_use]
pub fn workspace(reader: &Reader, view: &WorkspacePage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    let head = Head {
        title: &row.name,
        section: Section::Runs,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/runs" { (language.t("runs-title")) } }
        header class="page-head" {
            h1 { (row.name) }
            @if view.may_operate {
                form method="post" action={ "/workspaces/" (row.id) "/sync" } {
                    (form_token(reader))
                    button class="button" type="submit" { (icon("retry")) (language.t("workspace-sync")) }
                }
            }
        }
        @if let Some(error) = &row.error { div class="callout tone-bad" role="status" { (icon("cross")) p { (error) } } }
        dl class="facts" {
            dt { (language.t("workspace-url")) } dd { code { (row.url) } }
            dt { (language.t("workspace-branch")) } dd { code { (view.branch) } }
            @if !view.folder.is_empty() { dt { (language.t("workspace-folder")) } dd { code { (view.folder) } } }
            dt { (language.t("workspace-synced")) }
            dd {
                @match (&row.commit, row.synced_at) {
                    (Some(at), Some(when)) => { (commit(at)) " " (ago(reader, when)) },
                    _ => (language.t("workspace-never")),
                }
            }
            @if let Some(credential) = &view.credential { dt { (language.t("workspace-credential")) } dd { a href="/credentials" { (credential) } } }
        }
        section class="panel" aria-labelledby="templates" {
            header class="panel-head" { h2 id="templates" { (language.t("templates-title")) } }
            @if view.templates.is_empty() { (nothing(&language.t("templates-none"))) }
            @else {
                ul class="plain-list workspaces" { @for template in &view.templates { li data-row="" { (template_row(reader, template, view.may_operate)) } } }
            }
        }
    };
    page(reader, &head, &main)
}

fn template_row(reader: &Reader, template: &TemplateRow, may_start: bool) -> Markup {
    let language = reader.language;
    html! {
        div class="template" {
            div {
                code { @if template.path.is_empty() { "/" } @else { (template.path) } }
                " " span class="tag" { (template.kind) }
                @if let Some(summary) = &template.summary { p class="quiet" { (summary) } }
            }
            @if let Some(href) = template.start_href.as_ref().filter(|_| may_start) {
                a class="button small" href=(href) { (icon("plus")) (language.t("run-start")) }
            }
        }
    }
}

/// The form that starts a run.
#[must_use]
pub fn run_form(reader: &Reader, view: &RunFormPage) -> Markup {
    let language = reader.language;
    let title = language.t("run-start");
    let head = Head {
        title: &title,
        section: Section::Runs,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/runs" { (language.t("runs-title")) } }
        header class="page-head" { h1 { (title) } }
        (faults(language, &view.wrong))
        nav class="tabs segments kinds" aria-label=(language.t("run-kind")) {
            @for (name, title) in &view.kinds {
                a href={ "/runs/new?kind=" (name) } aria-current=[(*name == view.kind).then_some("page")] { (language.run_kind(name, title)) }
            }
        }
        form class="trigger-form" method="post" action="/runs" novalidate {
            (form_token(reader))
            (first_button(language))
            input type="hidden" name="kind" value=(view.kind);
            section class="panel padded" aria-labelledby="payload" {
                header class="panel-head flush" {
                    h2 id="payload" { (language.t("job-payload")) }
                    @match &view.json {
                        None => button class="button small" type="submit" name="do" value="json" { (language.t("config-as-json")) },
                        Some(_) => button class="button small" type="submit" name="do" value="fields" { (language.t("rule-as-fields")) },
                    }
                }
                @match &view.json {
                    Some(json) => {
                        input type="hidden" name="as" value="json";
                        (area(&Area { label: language.t("run-json"), hint: None, rows: 24, ..Area::of("json", json) }))
                    },
                    None => (payload_fields(reader, &PayloadFields {
                        task: &view.kind, fields: &view.fields, written: &view.written, rest: "rest", again: ("do", "fields"),
                    })),
                }
            }
            div class="actions form-end" {
                button class="button primary" type="submit" name="do" value="save" { (icon("check")) (language.t("run-start")) }
                a class="button plain" href="/runs" { (language.t("schedule-leave")) }
            }
        }
    };
    page(reader, &head, &main)
}
