//! What starts by the clock: the list, and one schedule.

use maud::{Markup, html};
use queue::schedules::{Missed, Schedule, Tick, TickOutcome};
use serde_json::Value;

use super::layout::{Head, Section, form_token, page};
use super::model::{Reader, Tone};
use super::parts::{ago, chip, code_block, icon, moment, nothing};
use super::queues::tabs;

/// Next ticks that are shown.
const NEXT_MAX: usize = 5;

/// A page of schedules.
#[derive(Clone, Debug)]
pub struct SchedulesPage {
    /// The schedules, newest first.
    pub rows: Vec<Schedule>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// The page after it.
    pub next_href: Option<String>,
}

/// One schedule.
#[derive(Clone, Debug)]
pub struct SchedulePage {
    /// The schedule.
    pub schedule: Schedule,
    /// Its newest ticks.
    pub ticks: Vec<Tick>,
    /// Whether the reader may pause and run it.
    pub may_operate: bool,
}

/// What it is called: by its name, else by its task.
fn name(schedule: &Schedule) -> &str {
    schedule.name.as_deref().unwrap_or(&schedule.task)
}

/// The rule in one line, as it was written.
fn rule(schedule: &Schedule) -> String {
    match schedule
        .schedule_info
        .get("rule")
        .unwrap_or(&schedule.schedule_info)
    {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The list.
#[must_use]
pub fn schedules(reader: &Reader, view: &SchedulesPage) -> Markup {
    let language = reader.language;
    let title = language.t("schedules-title");
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: None,
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("schedules-lede")) }
        }
        (tabs(reader, "/schedules"))
        section class="panel" aria-label=(title) {
            @if view.rows.is_empty() { (nothing(&language.t("schedules-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (title) }
                    thead {
                        tr {
                            th scope="col" { (language.t("column-name")) }
                            th scope="col" { (language.t("fact-rule")) }
                            th scope="col" { (language.t("fact-next-tick")) }
                            th scope="col" { (language.t("fact-last-tick")) }
                        }
                    }
                    tbody {
                        @for schedule in &view.rows {
                            tr data-row="" {
                                td class="lead" {
                                    a class="row-link" href={ "/schedules/" (schedule.id) } { span class="row-name" { (name(schedule)) } }
                                    span class="row-about" { (schedule.task) }
                                }
                                td data-label=(language.t("fact-rule")) {
                                    span { code { (rule(schedule)) } @if let Some(zone) = &schedule.time_zone { " " span class="quiet" { (zone) } } }
                                }
                                td data-label=(language.t("fact-next-tick")) { (next(reader, schedule)) }
                                td data-label=(language.t("fact-last-tick")) {
                                    span {
                                        @if let Some(at) = schedule.last_tick { (ago(reader, at)) }
                                        @if let Some(job) = schedule.last_job {
                                            " " a href={ "/jobs/" (job) } { (language.with("job-number", &[("id", job.to_string().into())])) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        nav class="pages" aria-label=(language.t("pages-label")) {
            @if !view.is_first { a class="button" href="/schedules" { (icon("left")) (language.t("pages-first")) } }
            @if let Some(href) = &view.next_href {
                a class="button" rel="next" href=(href) { (language.t("pages-next")) (icon("right")) }
            }
        }
    };
    page(reader, &head, &main)
}

/// When it ticks next, or why it does not.
fn next(reader: &Reader, schedule: &Schedule) -> Markup {
    let language = reader.language;
    html! {
        @if schedule.paused_at.is_some() { (chip(Tone::Warning, "stopped", &language.t("pause-paused"))) }
        @else if schedule.problem.is_some() { (chip(Tone::Bad, "cross", &language.t("schedule-problem"))) }
        @else if let Some(at) = schedule.next_at { (ago(reader, at)) }
        @else { span class="quiet" { (language.t("schedule-over")) } }
    }
}

/// One schedule.
#[must_use]
pub fn schedule(reader: &Reader, view: &SchedulePage) -> Markup {
    let language = reader.language;
    let schedule = &view.schedule;
    let title = name(schedule).to_owned();
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/schedules" { (language.t("schedules-title")) } }
        header class="page-head" {
            h1 { (title) (next(reader, schedule)) }
            @if view.may_operate { (actions(reader, schedule)) }
        }
        @if let Some(problem) = &schedule.problem {
            div class="callout tone-bad" { (icon("cross")) p { (problem) } }
        }
        @if let (Some(by), Some(at)) = (&schedule.paused_by, schedule.paused_at) {
            div class="callout tone-warning" {
                (icon("warning"))
                p {
                    (language.rich("pause-by", &[("name", html! { (by) }), ("when", ago(reader, at))]))
                    @if let Some(why) = &schedule.paused_why { ": " (why) }
                }
            }
        }
        div class="columns even" {
            section class="panel padded" aria-labelledby="rule" {
                h2 id="rule" { (language.t("fact-rule")) }
                dl class="facts" {
                    dt { (language.t("fact-rule")) } dd { code { (rule(schedule)) } }
                    dt { (language.t("fact-zone")) } dd { (schedule.time_zone.as_deref().unwrap_or("UTC")) }
                    dt { (language.t("fact-task")) } dd { (schedule.task) }
                    @if let Some(queue) = &schedule.queue { dt { (language.t("fact-queue")) } dd { (queue) } }
                    dt { (language.t("fact-missed")) }
                    dd { (match schedule.missed {
                        Missed::Skip => language.t("missed-skip"),
                        Missed::Last => language.t("missed-last"),
                        Missed::All => language.t("missed-all"),
                    }) }
                    dt { (language.t("fact-next-tick")) }
                    dd {
                        ol class="became" {
                            @for at in schedule.next_at.iter().chain(&schedule.later).take(NEXT_MAX) { li { (moment(*at)) } }
                        }
                    }
                }
                (code_block(language, &format!("{:#}", schedule.payload), &language.t("job-payload")))
            }
            section class="panel padded" aria-labelledby="ticks" {
                h2 id="ticks" { (language.t("ticks-title")) }
                @if view.ticks.is_empty() { (nothing(&language.t("ticks-none"))) }
                @else {
                    ol class="timeline" {
                        @for tick in &view.ticks { (tick_row(reader, tick)) }
                    }
                }
            }
        }
    };
    page(reader, &head, &main)
}

fn tick_row(reader: &Reader, tick: &Tick) -> Markup {
    let language = reader.language;
    let (class, label) = match tick.outcome {
        TickOutcome::Fired => ("tone-good", language.t("tick-fired")),
        TickOutcome::Missed => ("tone-warning", language.t("tick-missed")),
        TickOutcome::Refused => ("tone-bad", language.t("tick-refused")),
    };
    html! {
        li class=(class) {
            span class="timeline-what" { (label) }
            (moment(tick.tick))
            span class="timeline-detail" {
                @if let Some(job) = tick.job {
                    a href={ "/jobs/" (job) } { (language.with("job-number", &[("id", job.to_string().into())])) }
                }
                @if let Some(reason) = &tick.reason { " " (reason) }
            }
        }
    }
}

fn actions(reader: &Reader, schedule: &Schedule) -> Markup {
    let language = reader.language;
    let href = format!("/schedules/{}", schedule.id);
    html! {
        div class="actions" {
            form method="post" action={ (href) "/run" } {
                (form_token(reader))
                button class="button" type="submit" { (icon("running")) (language.t("schedule-run")) }
            }
            @if schedule.paused_at.is_some() {
                form method="post" action={ (href) "/resume" } {
                    (form_token(reader))
                    button class="button" type="submit" { (icon("retry")) (language.t("pause-resume")) }
                }
            } @else {
                details class="more" {
                    summary { (language.t("pause-pause")) }
                    form class="stack" method="post" action={ (href) "/pause" } {
                        (form_token(reader))
                        label { span { (language.t("pause-why")) } input type="text" name="why" maxlength="2000" autocomplete="off"; }
                        button class="button small" type="submit" { (icon("stopped")) (language.t("pause-pause")) }
                    }
                }
            }
        }
    }
}
