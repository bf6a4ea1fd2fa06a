//! Named queues and tasks: how much waits, how much is worked on, what keeps it from going on.

use maud::{Markup, html};
use queue::lanes::Lane;
use queue::rules::{Limit, Pause, PauseKind};

use super::layout::{Head, Section, form_token, page};
use super::model::{Count, Reader, Tone};
use super::parts::{ago, chip, count, icon, nothing};

/// Which lanes a page lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// Those that work on one job at a time.
    Queues,
    /// Those of tasks.
    Tasks,
}

impl Which {
    /// The page's path.
    #[must_use]
    pub const fn href(self) -> &'static str {
        match self {
            Self::Queues => "/queues",
            Self::Tasks => "/tasks",
        }
    }
}

/// A page of lanes.
#[derive(Clone, Debug)]
pub struct LanesPage {
    /// Which they are.
    pub which: Which,
    /// The lanes, by name.
    pub rows: Vec<Lane>,
    /// All that stands still for the tenant.
    pub pauses: Vec<Pause>,
    /// All that bounds the tenant; of the page of tasks.
    pub limits: Vec<Limit>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// The page after it.
    pub next_href: Option<String>,
    /// Whether the reader may pause and resume.
    pub may_operate: bool,
    /// Where changes to this page come from.
    pub live_href: String,
}

/// The page.
#[must_use]
pub fn lanes(reader: &Reader, view: &LanesPage) -> Markup {
    let language = reader.language;
    let (title, lede) = match view.which {
        Which::Queues => (language.t("queues-title"), language.t("queues-lede")),
        Which::Tasks => (language.t("tasks-title"), language.t("tasks-lede")),
    };
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: Some(&view.live_href),
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (lede) }
        }
        (tabs(reader, view.which.href()))
        (lanes_content(reader, view))
    };
    page(reader, &head, &main)
}

/// The part with the id `lanes`, which the stream replaces.
#[must_use]
pub fn lanes_content(reader: &Reader, view: &LanesPage) -> Markup {
    let language = reader.language;
    let title = match view.which {
        Which::Queues => language.t("queues-title"),
        Which::Tasks => language.t("tasks-title"),
    };
    // What stands still beyond the lanes that are listed.
    let everything = view
        .pauses
        .iter()
        .filter(|pause| !view.rows.iter().any(|lane| concerns(pause, lane)));
    html! {
        div id="lanes" {
            @for pause in everything { (standing(reader, view, pause)) }
            section class="panel" aria-label=(title) {
                @if view.rows.is_empty() {
                    (nothing(&match view.which {
                        Which::Queues => language.t("queues-none"),
                        Which::Tasks => language.t("tasks-none"),
                    }))
                } @else { (rows(reader, view, &title)) }
            }
            (more_pages(reader, view.which.href(), view.is_first, view.next_href.as_deref()))
        }
    }
}

/// To the beginning of a list, and further.
pub(super) fn more_pages(
    reader: &Reader,
    first_href: &str,
    is_first: bool,
    next_href: Option<&str>,
) -> Markup {
    let language = reader.language;
    html! {
        @if !is_first || next_href.is_some() {
            nav class="pages" aria-label=(language.t("pages-label")) {
                @if !is_first { a class="button" href=(first_href) { (icon("left")) (language.t("pages-first")) } }
                @if let Some(href) = next_href {
                    a class="button" rel="next" href=(href) { (language.t("pages-next")) (icon("right")) }
                }
            }
        }
    }
}

/// The pages about the queue, beside each other.
pub(super) fn tabs(reader: &Reader, here: &str) -> Markup {
    let language = reader.language;
    let tabs = [
        ("/queues", language.t("queues-title")),
        ("/tasks", language.t("tasks-title")),
        ("/schedules", language.t("schedules-title")),
        ("/dead", language.t("dead-title")),
    ];
    html! {
        nav class="segments tabs" aria-label=(language.t("nav-queue")) {
            @for (href, label) in &tabs {
                a href=(href) aria-current=[(*href == here).then_some("page")] { (label) }
            }
        }
    }
}

fn rows(reader: &Reader, view: &LanesPage, title: &str) -> Markup {
    let language = reader.language;
    html! {
        table class="rows" {
            caption class="unseen" { (title) }
            thead {
                tr {
                    th scope="col" { (language.t("column-name")) }
                    th scope="col" { (language.t("column-ready")) }
                    th scope="col" { (language.t("column-in-flight")) }
                    th scope="col" { (language.t("column-standing")) }
                    @if view.may_operate { th scope="col" class="end" { span class="unseen" { (language.t("column-actions")) } } }
                }
            }
            tbody {
                @for lane in &view.rows {
                    tr id=(row_id(lane)) data-row="" {
                        td class="lead" {
                            span class="row-name" { (lane.queue.as_deref().unwrap_or(&lane.task)) }
                            @if lane.queue.is_some() { " " span class="tag" { (lane.task) } }
                            @if !lane.is_known { " " (chip(Tone::Warning, "warning", &language.t("task-unknown"))) }
                        }
                        td data-label=(language.t("column-ready")) { (ready(reader, lane)) }
                        td data-label=(language.t("column-in-flight")) {
                            span {
                                (in_flight(reader, lane))
                                @if lane.approvals > 0 {
                                    " " span class="quiet" { (language.with("lane-approvals", &[("count", lane.approvals.into())])) }
                                }
                                @if let Some(holder) = lane.holder {
                                    " " a href={ "/jobs/" (holder) } { (language.with("job-number", &[("id", holder.to_string().into())])) }
                                }
                            }
                        }
                        td data-label=(language.t("column-standing")) { (standings(reader, view, lane)) }
                        @if view.may_operate { td class="end" { (actions(reader, lane)) } }
                    }
                }
            }
        }
    }
}

/// A name may hold anything; an id no space.
fn row_id(lane: &Lane) -> String {
    let name = lane.queue.as_deref().unwrap_or(&lane.task);
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("lane-{name}")
}

fn ready(reader: &Reader, lane: &Lane) -> Markup {
    let number = u64::try_from(lane.ready).unwrap_or_default();
    let number = if lane.ready_more {
        Count::AtLeast(number)
    } else {
        Count::Exact(number)
    };
    html! { (count(reader.language, number)) }
}

fn in_flight(reader: &Reader, lane: &Lane) -> Markup {
    let language = reader.language;
    html! {
        @if let Some(cap) = lane.cap {
            (language.with("lane-of", &[("running", lane.in_flight.into()), ("cap", cap.into())]))
        } @else { (language.number(lane.in_flight as f64)) }
    }
}

/// Whether a pause is about this lane alone, or about its task.
fn concerns(pause: &Pause, lane: &Lane) -> bool {
    match (&pause.task, &pause.queue) {
        (_, Some(queue)) => lane.queue.as_ref() == Some(queue),
        (Some(task), None) => *task == lane.task,
        (None, None) => false,
    }
}

/// What keeps a lane from going on: pauses, drains, limits.
fn standings(reader: &Reader, view: &LanesPage, lane: &Lane) -> Markup {
    let language = reader.language;
    let pauses = view.pauses.iter().filter(|pause| concerns(pause, lane));
    let limits = view
        .limits
        .iter()
        .filter(|limit| limit.task.as_ref().is_none_or(|task| *task == lane.task));
    let limits: Vec<_> = limits
        .flat_map(|limit| limit_words(reader, limit))
        .collect();
    let pauses: Vec<_> = pauses.collect();
    html! {
        @if pauses.is_empty() && limits.is_empty() { span class="quiet" { (language.t("became-nothing")) } }
        @else {
            ul class="became" {
                @for pause in pauses { li { (stands(reader, view, pause)) } }
                @for limit in limits { li class="quiet" { (limit) } }
            }
        }
    }
}

fn limit_words(reader: &Reader, limit: &Limit) -> impl Iterator<Item = String> {
    let language = reader.language;
    let in_flight = limit.in_flight_max.map(|most| {
        let running = limit.in_flight.unwrap_or_default();
        language.with(
            "limit-in-flight",
            &[("running", running.into()), ("most", most.into())],
        )
    });
    let rate = limit
        .rate
        .map(|rate| language.with("limit-rate", &[("rate", rate.per_second.into())]));
    in_flight.into_iter().chain(rate)
}

fn stands(reader: &Reader, view: &LanesPage, pause: &Pause) -> Markup {
    let language = reader.language;
    let (tone, symbol, label) = match pause.kind {
        PauseKind::Pause => (Tone::Warning, "stopped", language.t("pause-paused")),
        PauseKind::Drain => (Tone::Waiting, "down", language.t("pause-draining")),
    };
    html! {
        (chip(tone, symbol, &label))
        " "
        span class="tag" {
            @if let Some(name) = pause.queue.as_ref().or(pause.task.as_ref()) { (name) } @else { (language.t("scope-tenant")) }
        }
        " "
        span class="quiet" {
            (language.rich("pause-by", &[("name", html! { (pause.by) }), ("when", ago(reader, pause.at))]))
            @if let Some(why) = &pause.why { ": " (why) }
        }
        @if pause.own && view.may_operate {
            form method="post" action={ "/pauses/" (pause.id) "/resume" } {
                (form_token(reader))
                input type="hidden" name="back" value=(view.which.href());
                button class="button small" type="submit" { (icon("retry")) (language.t("pause-resume")) }
            }
        }
    }
}

fn standing(reader: &Reader, view: &LanesPage, pause: &Pause) -> Markup {
    html! { div class="callout tone-warning" { (icon("warning")) div { (stands(reader, view, pause)) } } }
}

fn actions(reader: &Reader, lane: &Lane) -> Markup {
    let language = reader.language;
    html! {
        details class="more" {
            summary { (language.t("column-actions")) }
            form class="stack" method="post" action="/pauses" {
                (form_token(reader))
                @if let Some(queue) = &lane.queue { input type="hidden" name="queue" value=(queue); }
                @else { input type="hidden" name="task" value=(lane.task); }
                label { span { (language.t("pause-why")) } input type="text" name="why" maxlength="2000" autocomplete="off"; }
                div class="actions" {
                    @if !lane.paused {
                        button class="button small" type="submit" name="kind" value="pause" { (icon("stopped")) (language.t("pause-pause")) }
                    }
                    @if !lane.drained {
                        button class="button small" type="submit" name="kind" value="drain" { (icon("down")) (language.t("pause-drain")) }
                    }
                }
            }
        }
    }
}
