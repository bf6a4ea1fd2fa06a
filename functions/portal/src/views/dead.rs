//! Dead jobs: the list, and the question before something is done to all of it.

use maud::{Markup, html};
use queue::dead::{DeadDeed, DeadFilter, DeadJob};

use super::layout::{Head, Section, form_token, page};
use super::model::{Count, Reader};
use super::parts::{ago, count, icon, nothing};
use super::queues::tabs;

/// A page of dead jobs.
#[derive(Clone, Debug)]
pub struct DeadPage {
    /// What the list is asked for.
    pub filter: DeadFilter,
    /// The jobs, newest death first.
    pub rows: Vec<DeadJob>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// The page after it.
    pub next_href: Option<String>,
    /// Where all that match are replayed, if the reader may.
    pub replay_all_href: Option<String>,
    /// Where all that match are purged, if the reader may.
    pub purge_all_href: Option<String>,
    /// Whether the reader may replay.
    pub may_operate: bool,
    /// Whether the reader may purge.
    pub may_purge: bool,
}

/// The question before something is done to all that match.
#[derive(Clone, Debug)]
pub struct AllPage {
    /// What is done.
    pub deed: DeadDeed,
    /// To which.
    pub filter: DeadFilter,
    /// How many there are.
    pub count: Count,
    /// Where the answer yes goes.
    pub action: String,
    /// Back to the list.
    pub back_href: String,
}

/// The list.
#[must_use]
pub fn dead(reader: &Reader, view: &DeadPage) -> Markup {
    let language = reader.language;
    let title = language.t("dead-title");
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: None,
    };
    let filtered = view.filter != DeadFilter::default();
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("dead-lede")) }
        }
        (tabs(reader, "/dead"))
        (filter(reader, &view.filter))
        @if view.replay_all_href.is_some() || view.purge_all_href.is_some() {
            div class="actions bulk" {
                @if let Some(href) = &view.replay_all_href {
                    a class="button" href=(href) { (icon("retry")) (language.t("dead-replay-all")) }
                }
                @if let Some(href) = &view.purge_all_href {
                    a class="button danger" href=(href) { (icon("cross")) (language.t("dead-purge-all")) }
                }
            }
        }
        section class="panel" aria-label=(title) {
            @if !view.rows.is_empty() { (rows(reader, view)) }
            @else if filtered {
                div class="nothing" {
                    p { (language.t("dead-no-match")) }
                    a class="button" href="/dead" { (language.t("filter-clear")) }
                }
            } @else { (nothing(&language.t("dead-none"))) }
        }
        nav class="pages" aria-label=(language.t("pages-label")) {
            @if !view.is_first { a class="button" href="/dead" { (icon("left")) (language.t("pages-first")) } }
            @if let Some(href) = &view.next_href {
                a class="button" rel="next" href=(href) { (language.t("pages-next")) (icon("right")) }
            }
        }
    };
    page(reader, &head, &main)
}

fn filter(reader: &Reader, filter: &DeadFilter) -> Markup {
    let language = reader.language;
    let field = |name: &str, label: String, value: Option<&str>| {
        html! {
            label { span { (label) } input type="text" name=(name) value=[value] autocomplete="off"; }
        }
    };
    html! {
        form class="filter" method="get" action="/dead" role="search" {
            (field("task", language.t("fact-task"), filter.task.as_deref()))
            (field("queue", language.t("fact-queue"), filter.queue.as_deref()))
            (field("key", language.t("fact-key"), filter.key.as_deref()))
            (field("reason", language.t("fact-reason"), filter.reason.as_deref()))
            @if let Some(since) = filter.since { input type="hidden" name="since" value=(since.to_rfc3339()); }
            button class="button" type="submit" { (icon("filter")) (language.t("filter-apply")) }
            @if *filter != DeadFilter::default() { a class="button plain" href="/dead" { (language.t("filter-clear")) } }
        }
    }
}

fn rows(reader: &Reader, view: &DeadPage) -> Markup {
    let language = reader.language;
    html! {
        ul class="job-rows" {
            @for job in &view.rows {
                li id={ "job-" (job.id) } data-row="" {
                    div class="job-row-main" {
                        a class="row-link" href={ "/jobs/" (job.id) } {
                            span class="row-name" { (job.task) }
                            span class="number" { (language.with("job-number", &[("id", job.id.to_string().into())])) }
                        }
                        @if let Some(queue) = &job.queue { span class="tag" { (queue) } }
                        @if let Some(key) = &job.key { code class="quiet" { (key) } }
                        span class="quiet" {
                            (language.with("attempts-of", &[
                                ("used", job.attempts.to_string().into()), ("max", job.attempts_max.to_string().into()),
                            ]))
                        }
                        @if let Some(reason) = &job.reason { span class="row-error" { (reason) } }
                        div class="actions" {
                            @if view.may_operate { (deed(reader, job, "replay", "retry", &language.t("dead-replay"))) }
                            @if view.may_purge { (deed(reader, job, "purge", "cross", &language.t("dead-purge"))) }
                        }
                    }
                    div class="quiet end" { (ago(reader, job.finished_at)) }
                }
            }
        }
    }
}

fn deed(reader: &Reader, job: &DeadJob, path: &str, symbol: &str, label: &str) -> Markup {
    html! {
        form method="post" action={ "/dead/" (job.id) "/" (path) } {
            (form_token(reader))
            button class="button small" type="submit" { (icon(symbol)) (label) }
        }
    }
}

/// The question.
#[must_use]
pub fn all(reader: &Reader, view: &AllPage) -> Markup {
    let language = reader.language;
    let number = count(language, view.count);
    let (title, text) = match view.deed {
        DeadDeed::Replay => (
            language.with("dead-replay-question", &[("count", number.into())]),
            language.t("dead-replay-text"),
        ),
        DeadDeed::Purge => (
            language.with("dead-purge-question", &[("count", number.into())]),
            language.t("dead-purge-text"),
        ),
    };
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: None,
    };
    let facts = [
        (language.t("fact-task"), &view.filter.task),
        (language.t("fact-queue"), &view.filter.queue),
        (language.t("fact-key"), &view.filter.key),
        (language.t("fact-reason"), &view.filter.reason),
    ];
    let main = html! {
        section class="card narrow" {
            h1 { (title) }
            p { (text) }
            dl class="facts" {
                @for (label, value) in &facts {
                    @if let Some(value) = value { dt { (label) } dd { (value) } }
                }
            }
            form class="actions" method="post" action=(view.action) {
                (form_token(reader))
                @match view.deed {
                    DeadDeed::Replay => button class="button primary" type="submit" { (icon("retry")) (language.t("dead-replay-all")) },
                    DeadDeed::Purge => button class="button danger" type="submit" { (icon("cross")) (language.t("dead-purge-all")) },
                }
                a class="button" href=(view.back_href) { (language.t("dead-keep")) }
            }
        }
    };
    page(reader, &head, &main)
}
