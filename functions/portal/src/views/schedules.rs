//! What starts by the clock: the list, and one schedule.

use maud::{Markup, html};
use model::JobId;
use queue::schedules::{Missed, Schedule, Tick, TickOutcome};
use serde_json::Value;

use super::layout::{Head, Section, form_token, page};
use super::model::{FormProblem, Reader, Tone};
use super::parts::{ago, chip, code_block, icon, moment, nothing};
use super::queues::{more_pages, tabs};
use super::wrong::problem_words;
use crate::i18n::Key;

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
    /// Whether the reader may declare one.
    pub may_declare: bool,
    /// Where changes to this page come from.
    pub live_href: String,
}

/// One schedule.
#[derive(Clone, Debug)]
pub struct SchedulePage {
    /// The schedule.
    pub schedule: Schedule,
    /// What is wrong with its rule.
    pub problem: Option<FormProblem>,
    /// Its newest ticks.
    pub ticks: Vec<Tick>,
    /// Whether the reader may pause and run it.
    pub may_operate: bool,
    /// Whether the reader may change and remove it.
    pub may_declare: bool,
    /// Where changes to this page come from.
    pub live_href: String,
}

/// What it is called: by its name, else by its task.
fn name(schedule: &Schedule) -> &str {
    schedule.name.as_deref().unwrap_or(&schedule.task)
}

/// The rule in one line, as it was written.
fn rule(schedule: &Schedule) -> String {
    let info = &schedule.schedule_info;
    match info.get("rule").unwrap_or(info) {
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
        live_href: Some(&view.live_href),
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            @if view.may_declare {
                a class="button primary" href="/schedules/new" { (icon("plus")) (language.t("schedule-new")) }
            }
            p class="lede" { (language.t("schedules-lede")) }
        }
        (tabs(reader, "/schedules"))
        (schedules_content(reader, view))
    };
    page(reader, &head, &main)
}

/// The part with the id `schedules`, which the stream replaces.
#[must_use]
pub fn schedules_content(reader: &Reader, view: &SchedulesPage) -> Markup {
    let language = reader.language;
    let title = language.t("schedules-title");
    html! {
        div id="schedules" {
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
                        tbody { @for schedule in &view.rows { (row(reader, schedule)) } }
                    }
                }
            }
            (more_pages(reader, "/schedules", view.is_first, view.next_href.as_deref()))
        }
    }
}

fn row(reader: &Reader, schedule: &Schedule) -> Markup {
    let language = reader.language;
    html! {
        tr id={ "schedule-" (schedule.id) } data-row="" {
            td class="lead" {
                a class="row-link" href={ "/schedules/" (schedule.id) } { span class="row-name" { (name(schedule)) } }
                span class="row-about" { (schedule.task) }
            }
            td data-label=(language.t("fact-rule")) {
                span { code { (rule(schedule)) } @if let Some(zone) = &schedule.time_zone { " " span class="quiet" { (zone) } } }
            }
            td data-label=(language.t("fact-next-tick")) { span { (next(reader, schedule)) } }
            td data-label=(language.t("fact-last-tick")) {
                span {
                    @if let Some(at) = schedule.last_tick { (ago(reader, at)) } @else { span class="quiet" { (language.t("became-nothing")) } }
                    @if let Some(job) = schedule.last_job { " " (job_link(reader, job)) }
                }
            }
        }
    }
}

fn job_link(reader: &Reader, job: JobId) -> Markup {
    let number = reader
        .language
        .with("job-number", &[("id", job.to_string().into())]);
    html! { a href={ "/jobs/" (job) } { (number) } }
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
    let head = Head {
        title: name(&view.schedule),
        section: Section::Queue,
        live_href: Some(&view.live_href),
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/schedules" { (language.t("schedules-title")) } }
        (schedule_content(reader, view))
    };
    page(reader, &head, &main)
}

/// The part with the id `schedule`, which the stream replaces.
#[must_use]
pub fn schedule_content(reader: &Reader, view: &SchedulePage) -> Markup {
    let language = reader.language;
    let schedule = &view.schedule;
    html! {
        div id="schedule" {
            header class="page-head" {
                h1 { (name(schedule)) (standing(reader, schedule)) }
                div class="actions" {
                    @if view.may_operate { (operating(reader, schedule)) }
                    @if view.may_declare { (declaring(reader, schedule)) }
                }
            }
            @if let Some(problem) = &view.problem {
                div class="callout tone-bad" { (icon("cross")) p class="sentence" { (problem_words(language, problem)) } }
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
            @if let Some(system) = &schedule.fired_by {
                div class="callout tone-warning" {
                    (icon("warning"))
                    p { (language.rich("schedule-fired-by", &[("name", html! { code { (system) } })])) }
                }
            }
            div class="columns even" {
                (rule_panel(reader, schedule))
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
            section class="panel padded" aria-labelledby="payload" {
                h2 id="payload" { (language.t("job-payload")) }
                (code_block(language, &format!("{:#}", schedule.payload), &language.t("job-payload")))
            }
        }
    }
}

/// What is out of the ordinary: by itself it ticks.
fn standing(reader: &Reader, schedule: &Schedule) -> Markup {
    html! { @if schedule.paused_at.is_some() || schedule.next_at.is_none() { (next(reader, schedule)) } }
}

fn rule_panel(reader: &Reader, schedule: &Schedule) -> Markup {
    let language = reader.language;
    let edge = |name: &str| {
        let value = schedule.schedule_info.get(name)?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    };
    let facts = [
        (language.t("field-start"), edge("start")),
        (language.t("field-end"), edge("end")),
        (language.t("fact-task"), Some(schedule.task.clone())),
        (language.t("fact-queue"), schedule.queue.clone()),
        (language.t("fact-key"), schedule.key.clone()),
        (
            language.t("field-priority"),
            (schedule.priority != 0).then(|| schedule.priority.to_string()),
        ),
        (
            language.t("fact-attempts"),
            schedule.attempts_max.map(|most| most.to_string()),
        ),
        (
            language.t("fact-missed"),
            Some(language.key(missed_words(schedule.missed))),
        ),
        (
            language.t("field-jitter"),
            (schedule.jitter_secs > 0.0).then(|| {
                let most = schedule.jitter_secs.into();
                language.with("jitter-up-to", &[("secs", most)])
            }),
        ),
    ];
    html! {
        section class="panel padded" aria-labelledby="rule" {
            h2 id="rule" { (language.t("fact-rule")) }
            dl class="facts" {
                dt { (language.t("fact-rule")) } dd { code { (rule(schedule)) } }
                dt { (language.t("fact-zone")) } dd { (schedule.time_zone.as_deref().unwrap_or("UTC")) }
                @for (label, value) in &facts {
                    @if let Some(value) = value { dt { (label) } dd { (value) } }
                }
                dt { (language.t("fact-next-tick")) }
                dd {
                    ol class="became" {
                        @for at in schedule.next_at.iter().chain(&schedule.later).take(NEXT_MAX) { li { (moment(*at)) } }
                    }
                    @if schedule.next_at.is_none() { (next(reader, schedule)) }
                }
            }
        }
    }
}

/// What becomes of missed ticks, in words.
pub(super) const fn missed_words(missed: Missed) -> Key {
    match missed {
        Missed::Skip => Key("missed-skip"),
        Missed::Last => Key("missed-last"),
        Missed::All => Key("missed-all"),
    }
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
                @if let Some(job) = tick.job { (job_link(reader, job)) }
                @if let Some(reason) = &tick.reason { " " (reason) }
            }
        }
    }
}

fn operating(reader: &Reader, schedule: &Schedule) -> Markup {
    let language = reader.language;
    let href = format!("/schedules/{}", schedule.id);
    html! {
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
            details class="pop" {
                summary class="button" { (icon("stopped")) (language.t("pause-pause")) }
                form class="stack pop-panel" method="post" action={ (href) "/pause" } {
                    (form_token(reader))
                    label { span { (language.t("pause-why")) } input type="text" name="why" maxlength="2000" autocomplete="off"; }
                    button class="button small" type="submit" { (icon("stopped")) (language.t("pause-pause")) }
                }
            }
        }
    }
}

fn declaring(reader: &Reader, schedule: &Schedule) -> Markup {
    let language = reader.language;
    let href = format!("/schedules/{}", schedule.id);
    html! {
        a class="button" href={ (href) "/edit" } { (icon("edit")) (language.t("schedule-edit")) }
        details class="pop" {
            summary class="button danger" { (icon("cross")) (language.t("schedule-remove")) }
            form class="stack pop-panel" method="post" action={ (href) "/remove" } {
                (form_token(reader))
                p { (language.t("schedule-remove-text")) }
                button class="button danger small" type="submit" { (icon("cross")) (language.t("schedule-remove")) }
            }
        }
    }
}
