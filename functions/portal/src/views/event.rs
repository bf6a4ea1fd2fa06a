//! One event: where it came from, who looked at it, and what each of them decided.

use maud::{Markup, html};

use super::chain::chain;
use super::layout::{Head, Section, page};
use super::model::{Clause, Decision, EventPage, Reader, Tone};
use super::parts::{chip, code_block, duration, icon, moment, state_chip};
use super::triggers::target;
use crate::i18n::Language;

/// The whole page.
#[must_use]
pub fn event(reader: &Reader, view: &EventPage) -> Markup {
    let language = reader.language;
    let head = Head {
        title: &view.kind,
        section: Section::Deliveries,
        live_href: view.live_href.as_deref(),
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/deliveries" { (language.t("deliveries-title")) }
        }
        header class="page-head" {
            h1 { (view.kind) }
            @if let Some(subject) = &view.subject { p class="lede" { (subject) } }
        }
        (event_content(reader, view))
        div class="columns" {
            section class="panel padded" aria-labelledby="data" {
                h2 id="data" { (language.t("event-data")) }
                (code_block(language, &view.data, &language.t("event-data")))
            }
            (facts(language, view))
        }
    };
    page(reader, &head, &main)
}

/// The part with the id `event`, which the stream replaces.
#[must_use]
pub fn event_content(reader: &Reader, view: &EventPage) -> Markup {
    let language = reader.language;
    html! {
        div id="event" {
            (chain(reader, &view.chain))
            section class="panel" aria-labelledby="decisions" {
                header class="panel-head" {
                    h2 id="decisions" { (language.t("decisions-title")) }
                    @if let Some(trigger) = &view.trigger {
                        span class="quiet" {
                            (language.rich("decisions-of", &[("trigger", html! { strong { (trigger) } })]))
                        }
                    }
                }
                @if view.dispatched_at.is_none() { p class="nothing" { (language.t("decisions-pending")) } }
                @else if view.decisions.is_empty() { p class="nothing" { (language.t("decisions-none")) } }
                @else { (decisions(reader, &view.decisions)) }
            }
        }
    }
}

fn facts(language: Language, view: &EventPage) -> Markup {
    html! {
        section class="panel padded" aria-labelledby="facts" {
            h2 id="facts" { (language.t("facts")) }
            dl class="facts" {
                dt { (language.t("fact-received")) }
                dd { (moment(view.received_at)) }
                @if let Some(at) = view.dispatched_at {
                    dt { (language.t("fact-dispatched")) }
                    dd { (moment(at)) " " span class="quiet" { "+" (duration(language, at - view.received_at)) } }
                }
                dt { (language.t("fact-source")) }
                dd { code { (view.source) } }
                dt { (language.t("fact-id")) }
                dd { code { (view.id) } }
            }
        }
    }
}

fn decisions(reader: &Reader, rows: &[Decision]) -> Markup {
    let language = reader.language;
    html! {
        table class="rows decisions" {
            caption class="unseen" { (language.t("decisions-title")) }
            thead {
                tr {
                    th scope="col" { (language.t("column-binding")) }
                    th scope="col" { (language.t("column-decision")) }
                    th scope="col" { (language.t("column-because")) }
                    th scope="col" { (language.t("column-job")) }
                }
            }
            tbody {
                @for row in rows {
                    tr data-row="" class=[(!row.matched).then_some("unmatched")] {
                        td class="lead" {
                            span class="row-name" { (row.binding) }
                            span class="row-about" { (target(language, &row.target)) }
                        }
                        td data-label=(language.t("column-decision")) {
                            @if row.matched { (chip(Tone::Good, "check", &language.t("decision-matched"))) }
                            @else { (chip(Tone::Quiet, "minus", &language.t("decision-not-matched"))) }
                        }
                        td class="clauses-cell" data-label=(language.t("column-because")) { (clauses(reader, &row.clauses)) }
                        td data-label=(language.t("column-job")) {
                            @if let Some(job) = &row.job {
                                div class="job-ref" {
                                    a href={ "/jobs/" (job.id) } {
                                        (language.with("job-number", &[("id", job.id.to_string().into())]))
                                    }
                                    @if let Some(state) = job.state { (state_chip(language, state)) }
                                    @else { span class="quiet" { (language.t("job-forgotten")) } }
                                }
                            } @else { span class="quiet" { (language.t("decision-no-job")) } }
                        }
                    }
                }
            }
        }
    }
}

/// What was compared, up to what failed.
pub(super) fn clauses(reader: &Reader, clauses: &[Clause]) -> Markup {
    html! {
        @if clauses.is_empty() { span class="quiet" { (reader.language.t("clause-none")) } }
        @else {
            ul class="clauses" {
                @for clause in clauses { (self::clause(reader, clause)) }
            }
        }
    }
}

fn clause(reader: &Reader, clause: &Clause) -> Markup {
    let language = reader.language;
    let actual = html! {
        @match &clause.actual {
            Some(actual) => code class="actual" { (actual) },
            None => span class="actual" { (language.t("clause-missing")) },
        }
    };
    let expected = html! { code class="expected" { (clause.expected) } };
    let words = [
        ("name", html! { strong { (clause.name) } }),
        ("actual", actual),
        ("expected", expected),
    ];
    html! {
        li class=(if clause.held { "held" } else { "failed" }) {
            (icon(if clause.held { "check" } else { "cross" }))
            span {
                @if clause.held { (language.rich("clause-held", &words)) }
                @else { (language.rich("clause-failed", &words)) }
            }
        }
    }
}
