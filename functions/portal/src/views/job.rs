//! One job: how it is doing and why, what it printed, what happened to it.

use maud::{Markup, html};

use super::chain::chain;
use super::layout::{Head, Section, form_token, page};
use super::model::{JobPage, JobState, Log, LogLine, Reader};
use super::parts::{
    ago, chip, clock, code_block, duration, icon, moment, nothing, state_chip, tone_class,
};
use super::reasons;
use super::run::stop;

pub use super::run::{job_plan, job_run};

/// How many lines a page keeps: what a browser still lays out at once while a program prints much.
pub const LOG_LINES_MAX: usize = 5_000;

/// How many characters of them, for lines may be long.
pub const LOG_CHARS_MAX: usize = 8 * 1024 * 1024;

/// The whole page.
#[must_use]
pub fn job(reader: &Reader, view: &JobPage) -> Markup {
    let language = reader.language;
    let number = language.with("job-number", &[("id", view.row.id.to_string().into())]);
    let title = format!("{} {number}", view.row.task);
    let is_run = !view.run.runs.is_empty();
    let head = Head {
        title: &title,
        section: if is_run {
            Section::Runs
        } else {
            Section::Elsewhere
        },
        live_href: view.live_href.as_deref(),
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            @if let Some(workload) = &view.row.workload { a href=(workload.href) { (workload.name) } }
            @else if is_run { a href="/runs" { (language.t("runs-title")) } }
            @else { a href="/" { (language.t("nav-overview")) } }
        }
        (job_status(reader, view))
        (job_plan(reader, view))
        (job_run(reader, view))
        (log(reader, &view.log, !view.row.state.is_final()))
        (job_history(reader, view))
        div class="columns even" {
            section class="panel padded" aria-labelledby="payload" {
                h2 id="payload" { (language.t("job-payload")) }
                (code_block(language, &view.payload, &language.t("job-payload")))
            }
            (job_result(reader, view))
        }
    };
    page(reader, &head, &main)
}

/// The part with the id `job-result`, which the stream replaces.
#[must_use]
pub fn job_result(reader: &Reader, view: &JobPage) -> Markup {
    let language = reader.language;
    html! {
        section id="job-result" class="panel padded" aria-labelledby="result" {
            h2 id="result" { (language.t("job-result")) }
            @if let Some(result) = &view.result {
                (code_block(language, result, &language.t("job-result")))
            } @else { (nothing(&language.t("job-no-result"))) }
        }
    }
}

/// The part with the id `job-status`, which the stream replaces.
#[must_use]
pub fn job_status(reader: &Reader, view: &JobPage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    html! {
        div id="job-status" {
            header class="page-head" {
                h1 {
                    (row.task)
                    span class="number" { (language.with("job-number", &[("id", row.id.to_string().into())])) }
                    (state_chip(language, row.state))
                }
                @if let Some(href) = &view.cancel_href {
                    form method="post" action=(href) {
                        (form_token(reader))
                        button class="button danger" type="submit" { (icon("stopped")) (language.t("job-cancel")) }
                    }
                }
                @if let Some(href) = &view.replay_href {
                    form method="post" action=(href) {
                        (form_token(reader))
                        button class="button" type="submit" { (icon("retry")) (language.t("dead-replay")) }
                    }
                }
            }
            @for reason in &row.reasons {
                @if let Some(progress) = reasons::progress(reader, reason) { (progress) }
            }
            @if let Some(asked) = &view.stop { (stop(reader, asked)) }
            @if !row.reasons.is_empty() {
                div class={ "callout " (tone_class(row.state.tone())) } role="status" {
                    (icon(row.state.icon()))
                    div {
                        @for (place, reason) in row.reasons.iter().enumerate() {
                            p {
                                @if place == 0 {
                                    strong { (language.t(if row.state == JobState::Running { "job-why-running" } else { "job-why" })) } " "
                                }
                                (reasons::reason(reader, reason))
                            }
                        }
                    }
                }
            }
            @if row.state.is_final() {
                @if let Some(error) = &row.error {
                    div class="callout tone-bad" {
                        (icon("cross"))
                        div {
                            p { strong { (error) } }
                            @if let Some(advice) = &view.advice { p { (advice) } }
                        }
                    }
                }
            }
            @if let Some(outcome) = &view.outcome {
                div class="callout tone-good" { (icon("check")) p { (outcome) } }
            }
            @if !view.chain.is_empty() { (chain(reader, &view.chain)) }
            dl class="strip" {
                div { dt { (language.t("fact-created")) } dd { (moment(view.created_at)) } }
                div {
                    dt { (language.t("fact-attempts")) }
                    dd {
                        (language.with("attempts-of", &[
                            ("used", view.attempts_used.to_string().into()),
                            ("max", view.attempts_max.to_string().into()),
                        ]))
                    }
                }
                @if let Some(length) = view.ran_for {
                    div { dt { (language.t("fact-ran-for")) } dd { (duration(language, length)) } }
                }
                div { dt { (language.t("fact-epoch")) } dd { (view.epoch) } }
            }
        }
    }
}

/// The log. It stands outside what the stream replaces: its lines are only ever added to.
fn log(reader: &Reader, log: &Log, grows: bool) -> Markup {
    let language = reader.language;
    let first = log.lines.first().map_or(1, |line| line.number);
    let last = log.lines.last().map_or(0, |line| line.number);
    let whole = log.marked.is_none();
    let grows = grows && whole;
    let raw_href = format!("{}/log", log.href);
    let at = |line: i64| format!("{}?line={line}#L{line}", log.href);
    html! {
        section class="panel log" aria-labelledby="log" {
            log-view data-lines-max=(LOG_LINES_MAX) data-chars-max=(LOG_CHARS_MAX) data-first=(first) data-last=(last)
                data-href=(log.href) data-grows=[grows.then_some("")] data-part=[(!whole).then_some("")] {
                header class="panel-head log-head" {
                    h2 id="log" { (language.t("log-title")) }
                    span class="log-unseen" aria-hidden="true" {}
                    (find(reader, log))
                    div class="log-tools" {
                        @if grows {
                            button type="button" class="button small" data-log="follow" aria-pressed="false" hidden {
                                (icon("follow")) span { (language.t("log-follow")) } kbd { "f" }
                            }
                        }
                        button type="button" class="button small" data-log="wrap" aria-pressed="true" hidden {
                            (icon("wrap")) span { (language.t("log-wrap")) }
                        }
                        button type="button" class="button small" data-log="times" aria-pressed="false" hidden {
                            (icon("waiting")) span { (language.t("log-times")) }
                        }
                        a class="button small" href=(raw_href) download { (icon("download")) span { (language.t("log-raw")) } }
                    }
                }
                @if let Some(finding) = log.finding.as_ref().filter(|finding| finding.none) {
                    p class="log-note" role="status" {
                        (language.with("log-find-none", &[("text", finding.text.clone().into()), ("line", finding.from.to_string().into())]))
                    }
                }
                p class="log-note log-edge" data-log="before" hidden[log.earlier == 0] {
                    a href=(at(first - 1)) { (language.t("log-earlier")) }
                }
                p class="nothing log-empty" hidden[!log.lines.is_empty()] {
                    (language.t(if grows { "log-empty-yet" } else { "log-empty" }))
                }
                div class="log-scroll" tabindex="0" role="log" aria-live="polite" aria-relevant="additions" aria-labelledby="log" {
                    div class="log-lines wrap" { (log_lines(reader, &log.lines)) }
                }
                p class="log-note log-edge" data-log="after" hidden[log.later.is_none()] {
                    a href=(at(last + 1)) { (language.t("log-later")) }
                    " · "
                    a class="log-to-end" href={ (log.href) "#log" } { (language.t("log-to-end")) }
                }
                button type="button" class="button log-more" data-log="resume" data-text=(language.t("log-new-lines")) hidden {
                    (icon("down")) span {}
                }
            }
        }
    }
}

/// A search through all of the log, on the server: a browser holds a part of it at most.
fn find(reader: &Reader, log: &Log) -> Markup {
    let language = reader.language;
    let finding = log.finding.as_ref();
    html! {
        form class="log-find" role="search" method="get" action={ (log.href) "/find" } {
            input type="search" name="find" maxlength="200" data-filter aria-label=(language.t("log-find")) placeholder=(language.t("log-find"))
                value=(finding.map_or("", |finding| finding.text.as_str()));
            @if let Some(finding) = finding { input type="hidden" name="from" value=(finding.from); }
            button type="submit" class="button small" {
                (icon("filter"))
                span { (language.t(if finding.is_some() { "log-find-next" } else { "log-find-first" })) }
            }
        }
    }
}

/// Lines as the stream adds them.
#[must_use]
pub fn log_lines(reader: &Reader, lines: &[LogLine]) -> Markup {
    let language = reader.language;
    html! {
        @for line in lines {
            div class="line" id={ "L" (line.number) } {
                a class="line-number" href={ "#L" (line.number) } { (line.number) }
                span class="line-time" { (clock(line.at)) }
                span class="line-text" {
                    (line.text)
                    @if line.text.cut_bytes > 0 {
                        span class="invisible" {
                            (language.with("log-line-cut", &[
                                ("size", super::parts::bytes(language, line.text.cut_bytes as u64).into()),
                            ]))
                        }
                    }
                }
            }
        }
    }
}

/// The part with the id `job-history`, which the stream replaces.
#[must_use]
pub fn job_history(reader: &Reader, view: &JobPage) -> Markup {
    let language = reader.language;
    html! {
        div id="job-history" class="columns even" {
            section class="panel padded" aria-labelledby="timeline" {
                h2 id="timeline" { (language.t("job-timeline")) }
                ol class="timeline" {
                    @for event in &view.timeline {
                        li class=(tone_class(event.kind.tone())) {
                            span class="timeline-what" { (language.key(event.kind.label())) }
                            (clock(event.at))
                            @if let Some(detail) = &event.detail { span class="timeline-detail" { (detail) } }
                        }
                    }
                }
            }
            section class="panel padded" aria-labelledby="attempts" {
                h2 id="attempts" { (language.t("job-attempts")) }
                @if view.attempts.is_empty() { (nothing(&language.t("job-no-attempts"))) }
                @else {
                    ol class="attempts" reversed {
                        @for attempt in &view.attempts {
                            li {
                                div class="attempt-head" {
                                    strong { (language.with("attempt-number", &[("n", attempt.number.to_string().into())])) }
                                    (chip(attempt.outcome.tone(), attempt.outcome.icon(), &language.key(attempt.outcome.label())))
                                    span class="quiet" {
                                        @match (attempt.started_at, attempt.ended_at) {
                                            (Some(start), Some(end)) => (duration(language, end - start)),
                                            (Some(at), None) | (None, Some(at)) => (ago(reader, at)),
                                            (None, None) => {},
                                        }
                                    }
                                }
                                @if let Some(worker) = &attempt.worker { code class="quiet" { (worker) } }
                                @if let Some(error) = &attempt.error { p class="row-error" { (error) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
