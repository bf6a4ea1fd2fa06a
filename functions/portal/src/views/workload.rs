//! What is deployed: the list, one workload with its revisions, and the question before a rollback.

use maud::{Markup, html};

use super::layout::{Head, Section, form_token, page};
use super::lists;
use super::model::{
    BindingRow, Reader, RevisionRow, RollbackPage, Tone, WorkloadPage, WorkloadRow,
};
use super::parts::{ago, chip, command, commit, icon, moment, nothing, outside_link};

/// The list.
#[must_use]
pub fn workloads(reader: &Reader, rows: &[WorkloadRow], first_command: &str) -> Markup {
    let language = reader.language;
    let title = language.t("workloads-title");
    let head = Head {
        title: &title,
        section: Section::Workloads,
        live_href: None,
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("workloads-lede")) }
        }
        section class="panel" aria-label=(title) {
            @if rows.is_empty() {
                div class="nothing" {
                    p { (language.t("overview-no-workloads")) }
                    (command(language, first_command))
                }
            } @else { (lists::workloads(reader, rows)) }
        }
    };
    page(reader, &head, &main)
}

/// One workload.
#[must_use]
pub fn workload(reader: &Reader, view: &WorkloadPage) -> Markup {
    let language = reader.language;
    let head = Head {
        title: &view.row.name,
        section: Section::Workloads,
        live_href: Some(&view.live_href),
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/workloads" { (language.t("workloads-title")) }
        }
        (workload_content(reader, view))
    };
    page(reader, &head, &main)
}

/// The part with the id `workload`, which the stream replaces.
#[must_use]
pub fn workload_content(reader: &Reader, view: &WorkloadPage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    html! {
        div id="workload" {
            header class="page-head" {
                h1 {
                    (row.name)
                    span class="tag" { (row.kind) }
                    (chip(row.state.tone(), row.state.icon(), &language.key(row.state.label())))
                }
                @if let Some(source) = &view.source { p class="lede" { (source) } }
                @if let Some(href) = &view.deploy_href {
                    form method="post" action=(href) {
                        (form_token(reader))
                        button class="button" type="submit" { (icon("retry")) (language.t("workload-deploy")) }
                    }
                }
            }
            (live(reader, view))
            div class="columns" {
                div class="column" {
                    section class="panel" aria-labelledby="revisions" {
                        header class="panel-head" { h2 id="revisions" { (language.t("revisions-title")) } }
                        @if view.revisions.is_empty() { (nothing(&language.t("revisions-none"))) }
                        @else { (revisions(reader, &view.revisions)) }
                    }
                }
                div class="column" {
                    section class="panel" aria-labelledby="bindings" {
                        header class="panel-head" { h2 id="bindings" { (language.t("bindings-title")) } }
                        @if view.bindings.is_empty() { (nothing(&language.t("bindings-none"))) }
                        @else { (bindings(reader, &view.bindings)) }
                    }
                    section class="panel" aria-labelledby="jobs" {
                        header class="panel-head" { h2 id="jobs" { (language.t("workload-jobs")) } }
                        @if view.jobs.is_empty() { (nothing(&language.t("workload-no-jobs"))) }
                        @else { (lists::jobs(reader, &view.jobs)) }
                    }
                }
            }
        }
    }
}

fn live(reader: &Reader, view: &WorkloadPage) -> Markup {
    let language = reader.language;
    html! {
        section class="hero" aria-label=(language.t("workload-live-now")) {
            @if let Some(live) = &view.row.live {
                div class="hero-main" {
                    span class="hero-label" { (language.t("workload-live-now")) }
                    @if let Some(url) = &view.row.url { span class="hero-url" { (outside_link(url)) } }
                }
                div class="hero-facts" {
                    (lists::revision_number(language, live.number))
                    (commit(&live.commit))
                    span class="quiet" { (ago(reader, live.since)) }
                }
            } @else {
                p { (language.t("workload-never")) }
            }
        }
    }
}

fn revisions(reader: &Reader, rows: &[RevisionRow]) -> Markup {
    let language = reader.language;
    html! {
        ol class="revisions" reversed {
            @for row in rows {
                li data-row="" class=[row.live.then_some("live")] {
                    div class="revision-main" {
                        div class="revision-head" {
                            (lists::revision_number(language, row.number))
                            (commit(&row.commit))
                            @if row.live { (chip(Tone::Good, "check", &language.t("revision-live"))) }
                        }
                        @if let Some(message) = &row.message { p class="revision-message" { (message) } }
                        p class="quiet revision-foot" {
                            @if let Some(asked) = &row.asked {
                                span {
                                    (language.rich("revision-asked", &[
                                        ("asked", commit(asked)), ("deployed", commit(&row.commit)),
                                    ]))
                                }
                            }
                            span { (ago(reader, row.deployed_at)) }
                            @if let Some(job) = row.job {
                                a href={ "/jobs/" (job) } {
                                    (language.with("job-number", &[("id", job.to_string().into())]))
                                }
                            }
                        }
                    }
                    @if let Some(href) = &row.rollback_href {
                        a class="button small" href=(href) { (icon("rollback")) (language.t("rollback")) }
                    }
                }
            }
        }
    }
}

fn bindings(reader: &Reader, rows: &[BindingRow]) -> Markup {
    let language = reader.language;
    html! {
        ul class="binding-rows" {
            @for row in rows {
                li {
                    div {
                        span class="row-name" { (row.name) }
                        span class="tag" { (row.trigger_kind) }
                        @if !row.enabled { span class="tag" { (icon("stopped")) (language.t("binding-off")) } }
                    }
                    div class="quiet" {
                        (language.rich("binding-of", &[("trigger", html! { strong { (row.trigger) } })]))
                    }
                    @if let Some(filter) = &row.filter { code { (filter) } }
                }
            }
        }
    }
}

/// The question before a rollback. A page, so that it works without scripts and can be read in peace.
#[must_use]
pub fn rollback(reader: &Reader, view: &RollbackPage) -> Markup {
    let language = reader.language;
    let title = language.with(
        "rollback-title",
        &[("n", view.to.number.to_string().into())],
    );
    let head = Head {
        title: &title,
        section: Section::Workloads,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/workloads" { (language.t("workloads-title")) }
            a href=(view.workload.href) { (view.workload.name) }
        }
        section class="card" {
            h1 { (title) }
            p { (language.rich("rollback-text", &[("workload", html! { strong { (view.workload.name) } })])) }
            dl class="from-to" {
                @if let Some(from) = &view.from {
                    div {
                        dt { (language.t("rollback-from")) }
                        dd { (lists::revision(reader, from)) }
                    }
                }
                div {
                    dt { (language.t("rollback-to")) }
                    dd {
                        (lists::revision_number(language, view.to.number))
                        (commit(&view.to.commit))
                        @if let Some(message) = &view.to.message { span { (message) } }
                        span class="quiet" { (moment(view.to.deployed_at)) }
                    }
                }
            }
            p class="quiet" { (language.t("rollback-note")) }
            form class="actions" method="post" action=(view.action) {
                (form_token(reader))
                button class="button primary" type="submit" { (icon("rollback")) (language.t("rollback-confirm")) }
                a class="button plain" href=(view.workload.href) { (language.t("rollback-keep")) }
            }
        }
    };
    page(reader, &head, &main)
}
