//! Terraform's states: a list, one with its history, lock and contents, and what changed between two versions.

use ::terraform::{State, StateDifference};
use maud::{Markup, html};
use model::JobId;
use store::terraform::{Locked, StateRow, Version};

use super::layout::{Head, Section, form_token, page};
use super::model::{Reader, Tone};
use super::parts::{ago, bytes, chip, commit, icon, moment, nothing};
use super::run::{attributes, deed, left_out, shown};
use crate::log_text::LogText;

/// The list.
#[derive(Debug)]
pub struct StatesPage {
    /// The states, by name.
    pub rows: Vec<StateRow>,
    /// Where the next are.
    pub next_href: Option<String>,
}

/// One state.
#[derive(Debug)]
pub struct StatePage {
    /// What the list has.
    pub row: StateRow,
    /// Its latest versions.
    pub versions: Vec<Version>,
    /// What is in the one that counts, masked.
    pub inside: Option<State>,
    /// Whether the reader may make another version count.
    pub may_administer: bool,
}

/// All states.
#[must_use]
pub fn states(reader: &Reader, view: &StatesPage) -> Markup {
    let language = reader.language;
    let title = language.t("states-title");
    let head = Head {
        title: &title,
        section: Section::Runs,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/runs" { (language.t("runs-title")) } }
        header class="page-head" { h1 { (title) } }
        section class="panel" {
            @if view.rows.is_empty() { (nothing(&language.t("states-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (language.t("states-title")) }
                    thead { tr { th scope="col" { (language.t("column-name")) } th scope="col" { (language.t("state-serial")) } th scope="col" { (language.t("state-lock")) } th scope="col" class="end" { (language.t("column-when")) } } }
                    tbody {
                        @for row in &view.rows {
                            tr data-row="" {
                                td class="lead" {
                                    a class="row-link" href={ "/states/" (row.id) } { span class="row-name" { (row.name) } }
                                    @if row.quarantined > 0 { " " (chip(Tone::Warning, "warning", &language.with("state-quarantined-count", &[("count", row.quarantined.into())]))) }
                                }
                                td data-label=(language.t("state-serial")) { @match row.serial { Some(serial) => (serial), None => span class="quiet" { (language.t("state-empty")) } } }
                                td data-label=(language.t("state-lock")) { @match &row.lock { Some(lock) => span { (held(reader, lock)) }, None => span class="quiet" { (language.t("state-free")) } } }
                                td class="end quiet" data-label=(language.t("column-when")) { (ago(reader, row.changed_at.unwrap_or(row.created_at))) }
                            }
                        }
                    }
                }
            }
            @if let Some(href) = &view.next_href { p class="panel-foot" { a href=(href) { (language.t("runs-older")) } } }
        }
    };
    page(reader, &head, &main)
}

/// Whose it is: a job's, by its number, or a person's.
fn who(reader: &Reader, job: Option<JobId>, name: &str) -> String {
    match job {
        Some(job) => reader
            .language
            .with("state-of-job", &[("id", job.to_string().into())]),
        None => name.to_owned(),
    }
}

fn by(reader: &Reader, job: Option<JobId>, name: &str) -> Markup {
    let who = who(reader, job, name);
    html! {
        @match job {
            Some(job) => a href={ "/jobs/" (job) } { (who) },
            None => (who),
        }
    }
}

fn held(reader: &Reader, lock: &Locked) -> Markup {
    html! {
        (chip(Tone::Active, "lock", &who(reader, lock.job, &lock.by))) " "
        span class="quiet" { (ago(reader, lock.since)) }
    }
}

/// One state's page.
#[must_use]
pub fn state(reader: &Reader, view: &StatePage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    let head = Head {
        title: &row.name,
        section: Section::Runs,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/runs" { (language.t("runs-title")) } a href="/states" { (language.t("states-title")) } }
        header class="page-head" { h1 { (row.name) } }
        @if let Some(lock) = &row.lock { (lock_panel(reader, view, lock)) }
        (inside(reader, view))
        section class="panel" aria-labelledby="versions" {
            header class="panel-head" { h2 id="versions" { (language.t("state-versions")) } }
            @if view.versions.is_empty() { (nothing(&language.t("state-empty"))) }
            @else { (versions(reader, view)) }
        }
    };
    page(reader, &head, &main)
}

fn lock_panel(reader: &Reader, view: &StatePage, lock: &Locked) -> Markup {
    let language = reader.language;
    let may = reader
        .person
        .as_ref()
        .is_some_and(|person| person.may_operate);
    html! {
        section class="panel padded" aria-labelledby="lock" {
            h2 id="lock" { (language.t("state-lock")) }
            dl class="facts" {
                dt { (language.t("state-held-by")) } dd { (by(reader, lock.job, &lock.by)) }
                dt { (language.t("state-held-since")) } dd { (moment(lock.since)) " (" (ago(reader, lock.since)) ")" }
                dt { (language.t("state-held-for")) } dd { code { (LogText::parse(&lock.info.operation)) } " " (LogText::parse(&lock.info.who)) }
                dt { (language.t("state-lock-id")) } dd { code { (lock.id) } }
            }
            @if may {
                details class="more" {
                    summary { (language.t("state-unlock")) }
                    form class="stack" method="post" action={ "/states/" (view.row.id) "/unlock" } {
                        (form_token(reader))
                        input type="hidden" name="lock" value=(lock.id);
                        p class="hint" { (language.t("state-unlock-hint")) }
                        label { span { (language.t("field-why")) } input type="text" name="why" maxlength="500"; }
                        button class="button danger" type="submit" { (icon("lock")) (language.t("state-unlock")) }
                    }
                }
            }
        }
    }
}

fn inside(reader: &Reader, view: &StatePage) -> Markup {
    let language = reader.language;
    html! {
        @if let Some(inside) = &view.inside {
            @if !inside.outputs.is_empty() {
                section class="panel padded" aria-labelledby="outputs" {
                    h2 id="outputs" { (language.t("outputs-title")) }
                    dl class="facts" {
                        @for (name, output) in &inside.outputs { dt { code { (LogText::parse(name)) } } dd { (shown(reader, Some(&output.value))) } }
                    }
                    (left_out(reader, inside.outputs_left_out))
                }
            }
            section class="panel" aria-labelledby="instances" {
                header class="panel-head" { h2 id="instances" { (language.t("resources-title")) } span class="quiet" { (inside.instances.len() + inside.instances_left_out) } }
                @if inside.instances.is_empty() { (nothing(&language.t("state-no-resources"))) }
                ul class="resources" {
                    @for instance in &inside.instances {
                        li {
                            span class="step-mark" { (icon("check")) }
                            code { (LogText::parse(&instance.address)) }
                            @if instance.tainted { span class="tag" { (language.t("state-tainted")) } }
                            @if let Some(id) = &instance.id { code class="quiet" { (LogText::parse(id)) } }
                        }
                    }
                }
                (left_out(reader, inside.instances_left_out))
            }
        }
    }
}

fn versions(reader: &Reader, view: &StatePage) -> Markup {
    let language = reader.language;
    let between = |from: i64, to: i64| format!("/states/{}/diff?from={from}&to={to}", view.row.id);
    let earlier = |number: i64| {
        view.versions
            .iter()
            .find(|one| one.number < number && one.quarantined.is_none())
    };
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("state-versions")) }
            thead { tr { th scope="col" { (language.t("state-serial")) } th scope="col" { (language.t("state-by")) } th scope="col" { (language.t("artifact-size")) } th scope="col" class="end" { (language.t("column-when")) } } }
            tbody {
                @for version in &view.versions {
                    tr {
                        td class="lead" {
                            span class="row-name" { (version.serial) } " "
                            @if version.current { (chip(Tone::Good, "check", &language.t("state-current"))) }
                            @if let Some(why) = &version.quarantined {
                                (chip(Tone::Warning, "warning", &language.t("state-quarantined")))
                                p class="row-error" { (why) }
                            }
                            @if let Some(before) = earlier(version.number) {
                                " " a class="quiet-link" href=(between(before.number, version.number)) { (language.t("state-diff")) }
                            }
                            @if view.may_administer && !version.current {
                                form method="post" action={ "/states/" (view.row.id) "/promote" } {
                                    (form_token(reader))
                                    input type="hidden" name="number" value=(version.number);
                                    button class="button small" type="submit" { (icon("rollback")) (language.t("state-promote")) }
                                }
                            }
                        }
                        td data-label=(language.t("state-by")) { (by(reader, version.job, &version.by)) }
                        td data-label=(language.t("artifact-size")) { (bytes(language, u64::try_from(version.bytes).unwrap_or_default())) " " (commit(&version.sha256)) }
                        td class="end quiet" data-label=(language.t("column-when")) { (ago(reader, version.created_at)) }
                    }
                }
            }
        }
    }
}

/// What changed between two versions, masked.
#[must_use]
pub fn difference(
    reader: &Reader,
    row: &StateRow,
    from: i64,
    to: i64,
    view: &StateDifference,
) -> Markup {
    let language = reader.language;
    let title = language.with("state-diff-title", &[("name", row.name.as_str().into())]);
    let head = Head {
        title: &title,
        section: Section::Runs,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/states" { (language.t("states-title")) } a href={ "/states/" (row.id) } { (row.name) } }
        header class="page-head" { h1 { (title) span class="number" { (from) " → " (to) } } }
        section class="panel plan" {
            @if view.instances.is_empty() && view.outputs.is_empty() { (nothing(&language.t("diff-same"))) }
            @for moved in &view.instances {
                details class="plan-resource" open {
                    summary { code { (LogText::parse(&moved.address)) } span class="tag" { (deed(language, &moved.action)) } }
                    (attributes(reader, &moved.attributes))
                    (left_out(reader, moved.attributes_left_out))
                }
            }
            (left_out(reader, view.instances_left_out))
            @if !view.outputs.is_empty() {
                details class="plan-resource" open {
                    summary { strong { (language.t("outputs-title")) } }
                    (attributes(reader, &view.outputs))
                }
            }
        }
    };
    page(reader, &head, &main)
}
