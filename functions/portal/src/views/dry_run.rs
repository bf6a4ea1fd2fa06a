//! What a trigger would do: with what came in, or with an event that somebody pasted. Nothing starts.

use maud::{Markup, html};

use super::event::clauses;
use super::layout::{Head, Section, form_token, page};
use super::model::{DryRunPage, Reader, Tone, TriedEvent, TriedRow};
use super::parts::{ago, chip, code_block, icon, nothing};
use super::trigger_form::faults;
use super::triggers::target;

/// How many of the last deliveries may be looked at.
const LAST: [usize; 4] = [5, 20, 50, 200];

/// The page.
#[must_use]
pub fn dry_run(reader: &Reader, view: &DryRunPage) -> Markup {
    let language = reader.language;
    let (trigger, name) = &view.trigger;
    let title = language.with("dry-run-title", &[("name", name.as_str().into())]);
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let action = format!("/triggers/{trigger}/dry-run");
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/triggers" { (language.t("triggers-title")) }
            a href={ "/triggers/" (trigger) } { (name) }
        }
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("dry-run-lede")) }
        }
        (faults(language, &view.wrong))
        div class="columns even" {
            section class="panel padded" aria-labelledby="stored" {
                h2 id="stored" { (language.t("dry-run-stored")) }
                form class="stack" method="get" action=(action) {
                    label {
                        span { (language.t("dry-run-last")) }
                        select name="last" {
                            @for count in LAST { option value=(count) selected[count == view.last] { (count) } }
                        }
                    }
                    button class="button" type="submit" { (icon("decision")) (language.t("dry-run-try")) }
                }
            }
            section class="panel padded" aria-labelledby="pasted" {
                h2 id="pasted" { (language.t("dry-run-pasted")) }
                form class="stack pasted" method="post" action=(action) {
                    (form_token(reader))
                    label {
                        span { (language.t("dry-run-type")) }
                        input type="text" name="type" value=(view.pasted.0) autocomplete="off" spellcheck="false";
                    }
                    label {
                        span { (language.t("event-data")) }
                        textarea class="code" name="data" rows="6" autocomplete="off" spellcheck="false" { (view.pasted.1) }
                    }
                    button class="button" type="submit" { (icon("decision")) (language.t("dry-run-try")) }
                }
            }
        }
        @if let Some(events) = &view.events {
            div id="tried" {
                @if events.is_empty() { section class="panel" { (nothing(&language.t("dry-run-none"))) } }
                @for event in events { (tried(reader, view, event)) }
            }
        }
    };
    page(reader, &head, &main)
}

fn tried(reader: &Reader, view: &DryRunPage, event: &TriedEvent) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-label=(event.kind) {
            header class="panel-head" {
                h2 {
                    (event.kind)
                    @if let Some(subject) = &event.subject { " " span class="row-about" { (subject) } }
                }
                @if let Some((delivery, at)) = &event.delivery {
                    a href={ "/deliveries/" (delivery) } { (language.t("chain-delivery")) " " (ago(reader, *at)) }
                }
            }
            @if event.rows.is_empty() { (nothing(&language.t("decisions-none"))) }
            @else {
                table class="rows decisions" {
                    caption class="unseen" { (language.t("decisions-title")) }
                    thead {
                        tr {
                            th scope="col" { (language.t("column-binding")) }
                            th scope="col" { (language.t("column-would")) }
                            th scope="col" { (language.t("column-because")) }
                            th scope="col" { (language.t("column-job")) }
                        }
                    }
                    tbody { @for row in &event.rows { (tried_row(reader, view, event, row)) } }
                }
            }
        }
    }
}

fn tried_row(reader: &Reader, view: &DryRunPage, event: &TriedEvent, row: &TriedRow) -> Markup {
    let language = reader.language;
    html! {
        tr data-row="" class=[(!row.matched).then_some("unmatched")] {
            td class="lead" {
                span class="row-name" { (row.binding) }
                span class="row-about" { (target(language, &row.target)) }
            }
            td data-label=(language.t("column-would")) {
                @if row.matched { (chip(Tone::Good, "check", &language.t("would-match"))) }
                @else { (chip(Tone::Quiet, "minus", &language.t("would-not-match"))) }
            }
            td class="clauses-cell" data-label=(language.t("column-because")) { (clauses(reader, &row.clauses)) }
            td data-label=(language.t("column-job")) {
                @if let Some(payload) = &row.payload {
                    details class="more" {
                        summary { (language.t("job-payload")) }
                        (code_block(language, payload, &language.t("job-payload")))
                    }
                    @if let Some((delivery, _)) = event.delivery.as_ref().filter(|_| view.may_operate) {
                        form method="post" action={ "/deliveries/" (delivery) "/replay" } {
                            (form_token(reader))
                            input type="hidden" name="binding" value=(row.id);
                            button class="button small" type="submit" { (icon("retry")) (language.t("replay-here")) }
                        }
                    }
                } @else { span class="quiet" { (language.t("decision-no-job")) } }
            }
        }
    }
}
