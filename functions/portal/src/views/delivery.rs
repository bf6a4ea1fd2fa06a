//! What came in from outside: the list, and one delivery.

use maud::{Markup, html};

use super::layout::{Head, Section, form_token, page};
use super::lists;
use super::model::{DeliveryList, DeliveryPage, Reader, Verdict};
use super::parts::{
    ago, bytes, code_block, command, icon, moment, nothing, tone_class, verdict_chip,
};

/// The list.
#[must_use]
pub fn deliveries(reader: &Reader, view: &DeliveryList) -> Markup {
    let language = reader.language;
    let title = language.t("deliveries-title");
    let head = Head {
        title: &title,
        section: Section::Deliveries,
        live_href: view.live_href.as_deref(),
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("deliveries-lede")) }
        }
        (filter(reader, view))
        (delivery_rows(reader, view))
        nav class="pages" aria-label=(language.t("pages-label")) {
            @if let Some(href) = &view.newer_href {
                a class="button" rel="prev" href=(href) { (icon("left")) (language.t("pages-newer")) }
            }
            @if let Some(href) = &view.older_href {
                a class="button" rel="next" href=(href) { (language.t("pages-older")) (icon("right")) }
            }
        }
    };
    page(reader, &head, &main)
}

/// The part with the id `delivery-rows`, which the stream replaces.
#[must_use]
pub fn delivery_rows(reader: &Reader, view: &DeliveryList) -> Markup {
    let language = reader.language;
    let filtered = is_filtered(view);
    html! {
        section id="delivery-rows" class="panel" aria-label=(language.t("deliveries-title")) {
            @if !view.rows.is_empty() { (lists::deliveries(reader, &view.rows)) }
            @else if filtered {
                div class="nothing" {
                    p { (language.t("deliveries-no-match")) }
                    a class="button" href="/deliveries" { (language.t("filter-clear")) }
                }
            } @else {
                div class="nothing" {
                    p { (language.t("deliveries-none")) }
                    (command(language, &view.first_command))
                }
            }
        }
    }
}

fn is_filtered(view: &DeliveryList) -> bool {
    let texts = [&view.vendor, &view.event, &view.since];
    view.verdict.is_some() || view.trigger.is_some() || texts.iter().any(|text| !text.is_empty())
}

fn filter(reader: &Reader, view: &DeliveryList) -> Markup {
    let language = reader.language;
    html! {
        form class="filter" method="get" action="/deliveries" role="search" {
            label {
                span { (language.t("filter-verdict")) }
                select name="verdict" data-filter="" {
                    option value="" { (language.t("filter-any")) }
                    @for verdict in Verdict::ALL {
                        option value=(verdict.code()) selected[view.verdict == Some(verdict)] {
                            (language.key(verdict.label()))
                        }
                    }
                }
            }
            label {
                span { (language.t("filter-trigger")) }
                select name="trigger" {
                    option value="" { (language.t("filter-any")) }
                    @for trigger in &view.triggers {
                        option value=(trigger) selected[view.trigger.as_ref() == Some(trigger)] { (trigger) }
                    }
                }
            }
            label {
                span { (language.t("filter-vendor")) }
                input type="text" name="vendor" value=(view.vendor) size="10" autocomplete="off" spellcheck="false";
            }
            label {
                span { (language.t("filter-event")) }
                input type="text" name="event" value=(view.event) size="12" autocomplete="off" spellcheck="false";
            }
            label {
                span { (language.t("filter-since")) }
                input type="date" name="since" value=(view.since);
            }
            button class="button" type="submit" { (icon("filter")) (language.t("filter-apply")) }
            @if is_filtered(view) {
                a class="button plain" href="/deliveries" { (language.t("filter-clear")) }
            }
            @if let Some(href) = &view.replay_href {
                a class="button plain" href=(href) { (icon("retry")) (language.t("bulk-replay")) }
            }
        }
    }
}

/// One delivery.
#[must_use]
pub fn delivery(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    let title = format!("{} {}", row.vendor, row.event);
    let head = Head {
        title: &title,
        section: Section::Deliveries,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/deliveries" { (language.t("deliveries-title")) }
        }
        header class="page-head" {
            h1 { span class="vendor" { (row.vendor) } (row.event) (verdict_chip(language, row.verdict)) }
            @if let Some(about) = &row.about { p class="lede" { (about) } }
            @if view.may_operate && view.body_kept {
                div class="actions" {
                    form method="post" action={ "/deliveries/" (row.id) "/redeliver" } {
                        (form_token(reader))
                        button class="button" type="submit" title=(language.t("redeliver-hint")) { (icon("retry")) (language.t("redeliver")) }
                    }
                    details class="pop" {
                        summary class="button" { (icon("decision")) (language.t("diff-compare")) }
                        form class="stack pop-panel" method="get" action={ "/deliveries/" (row.id) "/diff" } {
                            label {
                                span { (language.t("diff-with")) }
                                input type="text" name="with" value=[view.redelivery_of.map(|id| id.to_string())] autocomplete="off" spellcheck="false";
                            }
                            button class="button small" type="submit" { (language.t("diff-compare")) }
                        }
                    }
                }
            }
        }
        (verdict(reader, view))
        div class="columns" {
            div class="column" {
                (events(reader, view))
                @if view.may_operate { (body(reader, view)) }
                @else { section class="panel" { (nothing(&language.t("delivery-body-operators"))) } }
            }
            div class="column" {
                (facts(reader, view))
                (headers(reader, view))
            }
        }
    };
    page(reader, &head, &main)
}

fn verdict(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    let verdict = view.row.verdict;
    html! {
        div class={ "callout " (tone_class(verdict.tone())) } {
            (icon(verdict.icon()))
            div {
                p { (language.key(verdict.meaning())) }
                @if let Some(reason) = &view.reason { p { code { (reason) } } }
            }
        }
    }
}

fn events(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-labelledby="events" {
            header class="panel-head" { h2 id="events" { (language.t("delivery-events")) } }
            @if view.events.is_empty() { (nothing(&language.t("delivery-no-events"))) }
            @else {
                ul class="event-rows" {
                    @for event in &view.events {
                        li data-row="" {
                            div {
                                a class="row-link" href={ "/events/" (event.id) } { (icon("event")) (event.kind) }
                                @if let Some(subject) = &event.subject { span class="row-about" { (subject) } }
                            }
                            (lists::became(language, &event.became))
                        }
                    }
                }
                (again(reader, view))
            }
        }
    }
}

/// What may be done with its events once more: looked at without anything starting, or handed to one binding.
fn again(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    let tried = format!(
        "/triggers/{}/dry-run?delivery={}",
        view.trigger, view.row.id
    );
    html! {
        footer class="panel-foot actions" {
            a class="button small" href=(tried) { (icon("decision")) (language.t("delivery-dry-run")) }
            @if !view.bindings.is_empty() {
                details class="pop" {
                    summary class="button small" { (icon("retry")) (language.t("replay-title")) }
                    form class="stack pop-panel" method="post" action={ "/deliveries/" (view.row.id) "/replay" } {
                        (form_token(reader))
                        p { (language.t("replay-lede")) }
                        label {
                            span { (language.t("replay-binding")) }
                            select name="binding" {
                                @for (id, name) in &view.bindings { option value=(id) { (name) } }
                            }
                        }
                        button class="button small" type="submit" { (icon("retry")) (language.t("replay-do")) }
                    }
                }
            }
        }
    }
}

fn body(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    let body = &view.body;
    html! {
        section class="panel padded" aria-labelledby="body" {
            header class="panel-head flush" {
                h2 id="body" { (language.t("delivery-body")) }
                span class="quiet" { (bytes(language, body.bytes)) }
                a href=(body.raw_href) download { (icon("download")) (language.t("download")) }
            }
            @if body.truncated { p class="notice" { (language.t("delivery-body-truncated")) } }
            @if let Some(pretty) = &body.pretty {
                (code_block(language, pretty, &language.t("delivery-body")))
                details class="more" {
                    summary { (language.t("delivery-body-raw")) }
                    (code_block(language, &body.raw, &language.t("delivery-body-raw")))
                }
            } @else if body.raw.is_empty() {
                (nothing(&language.t("delivery-body-empty")))
            } @else {
                (code_block(language, &body.raw, &language.t("delivery-body")))
            }
        }
    }
}

fn facts(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    html! {
        section class="panel padded" aria-labelledby="facts" {
            h2 id="facts" { (language.t("facts")) }
            dl class="facts" {
                dt { (language.t("fact-received")) }
                dd { (moment(view.row.received_at)) }
                dt { (language.t("fact-answered")) }
                dd { code { (view.status) } }
                @if let Some(trigger) = &view.row.trigger {
                    dt { (language.t("fact-trigger")) }
                    dd { a href={ "/triggers/" (view.trigger) } { (trigger) } }
                }
                @if let Some(id) = &view.vendor_id {
                    dt { (language.t("fact-vendor-id")) }
                    dd { code { (id) } }
                }
                dt { (language.t("fact-id")) }
                dd { code { (view.row.id) } }
                dt { (language.t("fact-repeats")) }
                dd {
                    @if view.repeats.is_empty() { (language.t("repeats-none")) }
                    @else {
                        (language.with("repeats-count", &[("count", view.repeats.len().into())]))
                        ul class="plain-list quiet" { @for at in &view.repeats { li { (ago(reader, *at)) } } }
                    }
                }
                @if let Some(first) = &view.redelivery_of {
                    dt { (language.t("fact-first")) }
                    dd { a href={ "/deliveries/" (first) } { code { (first) } } }
                }
                @if !view.later.is_empty() {
                    dt { (language.t("fact-later")) }
                    dd {
                        ul class="plain-list" {
                            @for (id, at, verdict) in &view.later {
                                li { a href={ "/deliveries/" (id) } { (ago(reader, *at)) } " " (verdict_chip(language, *verdict)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn headers(reader: &Reader, view: &DeliveryPage) -> Markup {
    let language = reader.language;
    html! {
        section class="panel padded" aria-labelledby="headers" {
            h2 id="headers" { (language.t("delivery-headers")) }
            dl class="headers" {
                @for header in &view.headers {
                    dt { (header.name) }
                    dd {
                        code { (header.value) }
                        @if header.masked { span class="tag" { (icon("lock")) (language.t("masked")) } }
                    }
                }
            }
        }
    }
}
