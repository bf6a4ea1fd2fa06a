//! Dead jobs: the list, and the question before something is done to all of it.

use maud::{Markup, html};
use model::JobId;
use queue::dead::{DeadDeed, DeadFilter, DeadJob};

use super::layout::{Head, Section, form_token, page};
use super::model::{Count, Reader};
use super::parts::{ago, count, icon, nothing};
use super::queues::{more_pages, tabs};

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
    /// Where those that were chosen go.
    pub chosen_href: String,
    /// Where all that match are replayed, if the reader may.
    pub replay_all_href: Option<String>,
    /// Where all that match are purged, if the reader may.
    pub purge_all_href: Option<String>,
    /// Whether the reader may replay.
    pub may_operate: bool,
    /// Whether the reader may purge.
    pub may_purge: bool,
    /// What became of what was asked for before.
    pub outcome: Option<DeadOutcome>,
    /// Where changes to this page come from.
    pub live_href: String,
}

/// What became of jobs that were chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeadOutcome {
    /// None was chosen.
    NoneChosen,
    /// It was done.
    Done {
        /// What.
        deed: DeadDeed,
        /// To so many.
        count: u32,
        /// So many were not there any more.
        missing: u32,
    },
}

/// The question before some that are named are forgotten.
#[derive(Clone, Debug)]
pub struct ChosenPage {
    /// Which they are.
    pub jobs: Vec<JobId>,
    /// Where the answer yes goes.
    pub action: String,
    /// Back to the list.
    pub back_href: String,
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
        live_href: Some(&view.live_href),
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("dead-lede")) }
        }
        (tabs(reader, "/dead"))
        @if let Some(outcome) = view.outcome { (told(reader, outcome)) }
        (filter(reader, &view.filter))
        // Empty: the boxes and buttons of the list name it, so that each row can have a form of its own.
        form id="chosen" method="post" action=(view.chosen_href) { (form_token(reader)) }
        (dead_content(reader, view))
    };
    page(reader, &head, &main)
}

fn told(reader: &Reader, outcome: DeadOutcome) -> Markup {
    let language = reader.language;
    let (class, symbol, text) = match outcome {
        DeadOutcome::NoneChosen => (
            "callout tone-warning",
            "warning",
            language.t("dead-none-chosen"),
        ),
        DeadOutcome::Done {
            deed: DeadDeed::Replay,
            count,
            ..
        } => (
            "callout tone-good",
            "check",
            language.with("dead-replayed", &[("count", count.into())]),
        ),
        DeadOutcome::Done {
            deed: DeadDeed::Purge,
            count,
            ..
        } => (
            "callout tone-good",
            "check",
            language.with("dead-purged", &[("count", count.into())]),
        ),
    };
    let missing = match outcome {
        DeadOutcome::Done { missing, .. } if missing > 0 => {
            Some(language.with("dead-missing", &[("count", missing.into())]))
        }
        DeadOutcome::Done { .. } | DeadOutcome::NoneChosen => None,
    };
    html! {
        div class=(class) role="status" {
            (icon(symbol))
            p { (text) @if let Some(missing) = missing { " " (missing) } }
        }
    }
}

/// The part with the id `dead`, which the stream replaces. What somebody has chosen stays chosen.
#[must_use]
pub fn dead_content(reader: &Reader, view: &DeadPage) -> Markup {
    let language = reader.language;
    html! {
        div id="dead" {
            @if view.may_operate && !view.rows.is_empty() { (bulk(reader, view)) }
            section class="panel" aria-label=(language.t("dead-title")) {
                @if !view.rows.is_empty() { (rows(reader, view)) }
                @else if view.filter != DeadFilter::default() {
                    div class="nothing" {
                        p { (language.t("dead-no-match")) }
                        a class="button" href="/dead" { (language.t("filter-clear")) }
                    }
                } @else { (nothing(&language.t("dead-none"))) }
            }
            (more_pages(reader, "/dead", view.is_first, view.next_href.as_deref()))
        }
    }
}

fn bulk(reader: &Reader, view: &DeadPage) -> Markup {
    let language = reader.language;
    html! {
        div class="bulk" {
            div class="actions" {
                label class="choose needs-script" {
                    input type="checkbox" data-choose-all="chosen";
                    span { (language.t("dead-choose-all")) }
                }
                button class="button small" type="submit" form="chosen" name="deed" value=(DeadDeed::Replay.as_str()) {
                    (icon("retry")) (language.t("dead-replay-chosen"))
                }
                @if view.may_purge {
                    button class="button small danger" type="submit" form="chosen" name="deed" value=(DeadDeed::Purge.as_str()) {
                        (icon("cross")) (language.t("dead-purge-chosen"))
                    }
                }
            }
            div class="actions" {
                @if let Some(href) = &view.replay_all_href {
                    a class="button small" href=(href) { (icon("retry")) (language.t("dead-replay-all")) }
                }
                @if let Some(href) = &view.purge_all_href {
                    a class="button small danger" href=(href) { (icon("cross")) (language.t("dead-purge-all")) }
                }
            }
        }
    }
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
        ul class=(if view.may_operate { "job-rows chosen-rows" } else { "job-rows" }) {
            @for job in &view.rows {
                @let number = language.with("job-number", &[("id", job.id.to_string().into())]);
                li id={ "job-" (job.id) } data-row="" {
                    @if view.may_operate {
                        input class="choice" type="checkbox" form="chosen" name="job" value=(job.id)
                            aria-label=(language.with("dead-choose", &[("job", number.as_str().into())]));
                    }
                    div class="job-row-main" {
                        a class="row-link" href={ "/jobs/" (job.id) } {
                            span class="row-name" { (job.task) }
                            span class="number" { (number) }
                        }
                        @if let Some(queue) = &job.queue { span class="tag" { (queue) } }
                        @if let Some(key) = &job.key { code class="quiet" { (key) } }
                        span class="quiet" {
                            (language.with("dead-attempts", &[
                                ("used", job.attempts.to_string().into()), ("max", job.attempts_max.to_string().into()),
                            ]))
                        }
                        @if let Some(reason) = &job.reason { span class="row-error" { (reason) } }
                    }
                    div class="quiet end" { (ago(reader, job.finished_at)) }
                    @if view.may_operate {
                        div class="actions row-actions" {
                            form method="post" action={ "/dead/" (job.id) "/replay" } {
                                (form_token(reader))
                                button class="button small" type="submit" { (icon("retry")) (language.t("dead-replay")) }
                            }
                            @if view.may_purge {
                                a class="button small" href={ "/dead/chosen?deed=purge&job=" (job.id) } { (icon("cross")) (language.t("dead-purge")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The question before some that are named are forgotten.
#[must_use]
pub fn chosen(reader: &Reader, view: &ChosenPage) -> Markup {
    let language = reader.language;
    let number = language.number(view.jobs.len() as f64);
    let title = language.with("dead-purge-question", &[("count", number.into())]);
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: None,
    };
    let main = html! {
        section class="card narrow" {
            h1 { (title) }
            p { (language.t("dead-purge-chosen-text")) }
            ul class="job-numbers" {
                @for job in &view.jobs {
                    li { a href={ "/jobs/" (job) } { (language.with("job-number", &[("id", job.to_string().into())])) } }
                }
            }
            form class="actions" method="post" action=(view.action) {
                (form_token(reader))
                input type="hidden" name="sure" value="yes";
                @for job in &view.jobs { input type="hidden" name="job" value=(job); }
                button class="button danger" type="submit" name="deed" value=(DeadDeed::Purge.as_str()) {
                    (icon("cross")) (language.t("dead-purge"))
                }
                a class="button" href=(view.back_href) { (language.t("dead-keep")) }
            }
        }
    };
    page(reader, &head, &main)
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
                    DeadDeed::Replay => button class="button primary" type="submit" { (icon("retry")) (language.t("dead-replay")) },
                    DeadDeed::Purge => button class="button danger" type="submit" { (icon("cross")) (language.t("dead-purge")) },
                }
                a class="button" href=(view.back_href) { (language.t("dead-keep")) }
            }
        }
    };
    page(reader, &head, &main)
}
