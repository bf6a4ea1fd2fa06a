//! What goes on now.

use maud::{Markup, html};

use super::layout::{Head, Section, page};
use super::model::{Overview, Reader, Tone};
use super::parts::{command, count, icon, nothing, tone_class};
use super::{lists, model::Count};

/// The whole page.
#[must_use]
pub fn overview(reader: &Reader, view: &Overview) -> Markup {
    let title = reader.language.t("overview-title");
    let head = Head {
        title: &title,
        section: Section::Overview,
        live_href: Some(&view.live_href),
    };
    page(
        reader,
        &head,
        &html! { h1 class="unseen" { (title) } (overview_content(reader, view)) },
    )
}

/// The part with the id `overview`, which the stream replaces.
#[must_use]
pub fn overview_content(reader: &Reader, view: &Overview) -> Markup {
    html! {
        div id="overview" {
            @if view.is_empty() { (first_steps(reader, view)) }
            @else { (numbers(reader, view)) (panels(reader, view)) }
        }
    }
}

fn numbers(reader: &Reader, view: &Overview) -> Markup {
    let language = reader.language;
    let number = |tone: Tone,
                  symbol: &str,
                  value: Count,
                  label: String,
                  note: Option<String>,
                  href: &str| {
        let tone = if value == Count::Exact(0) {
            Tone::Quiet
        } else {
            tone
        };
        html! {
            a class={ "figure " (tone_class(tone)) } href=(href) {
                span class="figure-label" { (icon(symbol)) (label) }
                span class="figure-value" { (count(language, value)) }
                @if let Some(note) = note { span class="figure-note" { (note) } }
            }
        }
    };
    let rejected = (view.rejected_today != Count::Exact(0)).then(|| {
        language.with(
            "figure-rejected",
            &[("count", count(language, view.rejected_today).into())],
        )
    });
    html! {
        section class="figures" aria-label=(language.t("figures-label")) {
            (number(Tone::Good, "inbox", view.deliveries_today, language.t("figure-deliveries"), rejected, "/deliveries"))
            (number(Tone::Active, "running", view.running, language.t("figure-running"), None, "#jobs"))
            (number(Tone::Waiting, "waiting", view.waiting, language.t("figure-waiting"), None, "#jobs"))
            (number(Tone::Bad, "cross", view.dead, language.t("figure-dead"), None, "#jobs"))
        }
    }
}

fn panels(reader: &Reader, view: &Overview) -> Markup {
    let language = reader.language;
    html! {
        div class="columns" {
            div class="column" {
                section class="panel" aria-labelledby="deliveries" {
                    header class="panel-head" {
                        h2 id="deliveries" { (language.t("overview-deliveries")) }
                        a href="/deliveries" { (language.t("see-all")) }
                    }
                    @if view.deliveries.is_empty() { (nothing(&language.t("overview-no-deliveries"))) }
                    @else { (lists::deliveries(reader, &view.deliveries)) }
                }
            }
            div class="column" {
                section class="panel" aria-labelledby="jobs" {
                    header class="panel-head" { h2 id="jobs" { (language.t("overview-jobs")) } }
                    @if view.jobs.is_empty() { (nothing(&language.t("overview-no-jobs"))) }
                    @else { (lists::jobs(reader, &view.jobs)) }
                }
                section class="panel" aria-labelledby="workloads" {
                    header class="panel-head" {
                        h2 id="workloads" { (language.t("overview-workloads")) }
                        a href="/workloads" { (language.t("see-all")) }
                    }
                    @if view.workloads.is_empty() { (nothing(&language.t("overview-no-workloads"))) }
                    @else { (lists::workloads(reader, &view.workloads)) }
                }
            }
        }
    }
}

fn first_steps(reader: &Reader, view: &Overview) -> Markup {
    let language = reader.language;
    html! {
        section class="welcome" {
            h2 { (language.t("first-title")) }
            p { (language.t("first-text")) }
            (command(language, &view.first_command))
            ol class="welcome-steps" {
                li { (icon("inbox")) span { (language.t("first-step-delivery")) } }
                li { (icon("decision")) span { (language.t("first-step-decision")) } }
                li { (icon("workload")) span { (language.t("first-step-live")) } }
            }
        }
    }
}
