//! What came in from outside: the list, and one delivery.

use maud::{Markup, html};

use super::layout::{Head, Section, page};
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
    let filtered = view.verdict.is_some() || view.trigger.is_some();
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
            button class="button" type="submit" { (icon("filter")) (language.t("filter-apply")) }
            @if view.verdict.is_some() || view.trigger.is_some() {
                a class="button plain" href="/deliveries" { (language.t("filter-clear")) }
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
        }
        (verdict(reader, view))
        div class="columns" {
            div class="column" {
                (events(reader, view))
                (body(reader, view))
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
                    dd { (trigger) }
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
