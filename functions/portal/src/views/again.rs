//! Two deliveries beside each other, and the question before many are replayed.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use model::{BindingId, DeliveryId};

use super::layout::{Head, Section, form_token, page};
use super::model::Reader;
use super::parts::{icon, moment, nothing};

/// One difference.
#[derive(Clone, Debug)]
pub struct ChangeRow {
    /// Where.
    pub at: String,
    /// What the first one has there.
    pub before: Option<String>,
    /// What the second one has there.
    pub after: Option<String>,
}

/// How two bodies differ.
#[derive(Clone, Debug)]
pub enum BodyChange {
    /// Not at all.
    Same,
    /// Value by value, and whether there are more than these.
    Json(Vec<ChangeRow>, bool),
    /// From this byte on.
    Bytes(usize),
}

/// Two deliveries beside each other.
#[derive(Clone, Debug)]
pub struct DiffPage {
    /// The one that is compared, and when it came.
    pub first: (DeliveryId, DateTime<Utc>),
    /// The one that it is compared with.
    pub second: (DeliveryId, DateTime<Utc>),
    /// What differs between their headers.
    pub headers: Vec<ChangeRow>,
    /// What differs between their bodies.
    pub body: BodyChange,
}

/// The page.
#[must_use]
pub fn diff(reader: &Reader, view: &DiffPage) -> Markup {
    let language = reader.language;
    let title = language.t("diff-title");
    let head = Head {
        title: &title,
        section: Section::Deliveries,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/deliveries" { (language.t("deliveries-title")) }
            a href={ "/deliveries/" (view.first.0) } { (language.t("chain-delivery")) }
        }
        header class="page-head" { h1 { (title) } }
        dl class="facts" {
            @for (id, at) in [&view.first, &view.second] {
                dt { (moment(*at)) }
                dd { a href={ "/deliveries/" (id) } { code { (id) } } }
            }
        }
        section class="panel" aria-labelledby="body" {
            header class="panel-head" { h2 id="body" { (language.t("delivery-body")) } }
            @match &view.body {
                BodyChange::Same => (nothing(&language.t("diff-same"))),
                BodyChange::Bytes(first) => (nothing(&language.with("diff-bytes", &[("at", (*first).into())]))),
                BodyChange::Json(rows, more) => {
                    @if rows.is_empty() { (nothing(&language.t("diff-layout"))) } @else { (changes(reader, rows)) }
                    @if *more { p class="notice" { (language.t("diff-more")) } }
                },
            }
        }
        section class="panel" aria-labelledby="headers" {
            header class="panel-head" { h2 id="headers" { (language.t("delivery-headers")) } }
            @if view.headers.is_empty() { (nothing(&language.t("diff-same"))) } @else { (changes(reader, &view.headers)) }
        }
    };
    page(reader, &head, &main)
}

fn changes(reader: &Reader, rows: &[ChangeRow]) -> Markup {
    let language = reader.language;
    let value = |value: &Option<String>| {
        html! {
            @match value {
                Some(value) => code { (value) },
                None => span class="quiet" { (language.t("diff-absent")) },
            }
        }
    };
    html! {
        table class="rows diff" {
            caption class="unseen" { (language.t("diff-title")) }
            thead {
                tr {
                    th scope="col" { (language.t("diff-at")) }
                    th scope="col" { (language.t("diff-before")) }
                    th scope="col" { (language.t("diff-after")) }
                }
            }
            tbody {
                @for row in rows {
                    tr {
                        td class="lead" { code { (row.at) } }
                        td data-label=(language.t("diff-before")) { (value(&row.before)) }
                        td data-label=(language.t("diff-after")) { (value(&row.after)) }
                    }
                }
            }
        }
    }
}

/// The question before all that match are replayed.
#[derive(Clone, Debug)]
pub struct BulkPage {
    /// What they are filtered for, in words of the address.
    pub said: Vec<String>,
    /// Where the answer yes goes.
    pub action: String,
    /// Where the answer no goes.
    pub back_href: String,
    /// The bindings to choose from, where one trigger is filtered for.
    pub bindings: Vec<(BindingId, String)>,
}

/// The page.
#[must_use]
pub fn bulk(reader: &Reader, view: &BulkPage) -> Markup {
    let language = reader.language;
    let title = language.t("bulk-title");
    let head = Head {
        title: &title,
        section: Section::Deliveries,
        live_href: None,
    };
    let main = html! {
        div class="card" {
            h1 { (title) }
            p { (language.t("bulk-text")) }
            @if !view.said.is_empty() { p { @for said in &view.said { code { (said) } " " } } }
            form class="stack" method="post" action=(view.action) {
                (form_token(reader))
                @if !view.bindings.is_empty() {
                    label {
                        span { (language.t("replay-binding")) }
                        select name="binding" {
                            option value="" { (language.t("bulk-every-binding")) }
                            @for (id, name) in &view.bindings { option value=(id) { (name) } }
                        }
                    }
                }
                div class="actions" {
                    button class="button primary" type="submit" { (icon("retry")) (language.t("replay-do")) }
                    a class="button plain" href=(view.back_href) { (language.t("schedule-leave")) }
                }
            }
        }
    };
    page(reader, &head, &main)
}
