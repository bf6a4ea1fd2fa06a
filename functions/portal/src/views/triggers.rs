//! Why things start: the list of triggers, and one with its bindings.

use maud::{Markup, html};
use model::TriggerKind;

use super::layout::{Head, Section, form_token, page};
use super::lists;
use super::model::{
    BoundRow, CauseRow, Health, Reader, Shown, Target, Tone, TriggerPage, TriggerRow, TriggersPage,
};
use super::parts::{ago, chip, code_block, icon, moment, nothing, value};
use super::queues::more_pages;
use super::watch;
use crate::i18n::{Key, Language};

/// The list.
#[must_use]
pub fn triggers(reader: &Reader, view: &TriggersPage) -> Markup {
    let language = reader.language;
    let title = language.t("triggers-title");
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("triggers-lede")) }
            @if view.may_edit {
                div class="actions" {
                    a class="button primary" href="/triggers/new" { (icon("plus")) (language.t("trigger-new")) }
                }
            }
        }
        (tabs(reader, "/triggers"))
        section class="panel" aria-label=(title) {
            @if view.rows.is_empty() { (nothing(&language.t("triggers-none"))) }
            @else {
                table class="rows triggers" {
                    caption class="unseen" { (title) }
                    thead {
                        tr {
                            th scope="col" { (language.t("column-name")) }
                            th scope="col" { (language.t("column-starts")) }
                            th scope="col" { (language.t("column-health")) }
                        }
                    }
                    tbody { @for row in &view.rows { (trigger_row(reader, row)) } }
                }
            }
        }
        (more_pages(reader, "/triggers", view.is_first, view.next_href.as_deref()))
    };
    page(reader, &head, &main)
}

/// The pages about what is heard and told, beside each other.
pub(super) fn tabs(reader: &Reader, here: &str) -> Markup {
    let language = reader.language;
    let tabs = [
        ("/triggers", language.t("triggers-title")),
        ("/log-rules", language.t("log-rules-title")),
        ("/event-log", language.t("event-log-title")),
        ("/notification-endpoints", language.t("notify-title")),
        ("/credentials", language.t("credentials-title")),
    ];
    html! {
        nav class="segments tabs" aria-label=(language.t("nav-triggers")) {
            @for (href, label) in &tabs {
                a href=(href) aria-current=[(*href == here).then_some("page")] { (label) }
            }
        }
    }
}

fn trigger_row(reader: &Reader, row: &TriggerRow) -> Markup {
    let language = reader.language;
    html! {
        tr data-row="" {
            td class="lead" {
                a class="row-link" href={ "/triggers/" (row.id) } { span class="row-name" { (row.name) } }
                span class="row-about" { (language.key(kind_label(row.kind))) }
            }
            td data-label=(language.t("column-starts")) {
                @if row.targets.is_empty() { span class="quiet" { (language.t("starts-nothing")) } }
                @else { span { (row.targets.join(", ")) } }
            }
            td data-label=(language.t("column-health")) {
                @if !row.enabled { (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
                @else if let Some(health) = &row.health { span { (health_line(reader, health)) } }
                @else { span class="quiet" { (language.t("became-nothing")) } }
            }
        }
    }
}

/// What a kind is called.
pub(super) const fn kind_label(kind: TriggerKind) -> Key {
    match kind {
        TriggerKind::Git => Key("kind-git"),
        TriggerKind::Registry => Key("kind-registry"),
        TriggerKind::Webhook => Key("kind-webhook"),
        TriggerKind::Schedule => Key("kind-schedule"),
        TriggerKind::Manual => Key("kind-manual"),
        TriggerKind::Log => Key("kind-log"),
        TriggerKind::Event => Key("kind-event"),
    }
}

/// How its senders do, in a line.
fn health_line(reader: &Reader, health: &Health) -> Markup {
    let language = reader.language;
    html! {
        @match health.verified_at {
            Some(at) => (language.rich("health-verified", &[("when", ago(reader, at))])),
            None => span class="quiet" { (language.t("health-never")) },
        }
        @if health.rejected_today > 0 {
            " · "
            span class="tone-bad-text" { (language.with("health-rejected", &[("count", health.rejected_today.into())])) }
        }
    }
}

/// One trigger.
#[must_use]
pub fn trigger(reader: &Reader, view: &TriggerPage) -> Markup {
    let language = reader.language;
    let head = Head {
        title: &view.name,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/triggers" { (language.t("triggers-title")) } }
        header class="page-head" {
            h1 {
                (view.name)
                @if !view.enabled { (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
            }
            p class="lede" { (language.key(kind_label(view.kind))) }
            div class="actions" {
                a class="button" href={ "/triggers/" (view.id) "/dry-run" } { (icon("decision")) (language.t("dry-run")) }
                @if view.may_operate { (operating(reader, view)) }
                @if view.may_edit { (editing(reader, view)) }
            }
        }
        @if let Some(shown) = &view.shown { (shown_once(reader, shown)) }
        @for warning in &view.warnings {
            div class="callout tone-warning" { (icon("warning")) p lang="en" { (warning) } }
        }
        @if let Some(health) = &view.health { (health_callout(reader, health)) }
        (bindings(reader, view))
        div class="columns even" {
            div class="column" {
                section class="panel padded" aria-labelledby="filter" {
                    h2 id="filter" { (language.t("trigger-filter")) }
                    (code_block(language, &view.config, &language.t("trigger-filter")))
                    @if let Some(condition) = &view.condition {
                        dl class="facts" { dt { (language.t("field-condition")) } dd { code { (condition) } } }
                    }
                }
                @if !view.next.is_empty() {
                    section class="panel padded" aria-labelledby="next" {
                        h2 id="next" { (language.t("fact-next-tick")) }
                        ol class="became" { @for at in &view.next { li { (moment(*at)) } } }
                    }
                }
            }
            @if let Some(url) = &view.url { div class="column" { (senders(reader, view, url)) } }
        }
        @if let Some(watch) = &view.watch { (watch::panel(reader, view, watch)) }
        @if view.kind.takes_webhooks() {
            section class="panel" aria-labelledby="deliveries" {
                header class="panel-head" {
                    h2 id="deliveries" { (language.t("overview-deliveries")) }
                    a href={ "/deliveries?trigger=" (view.name) } { (language.t("see-all")) }
                }
                @if view.deliveries.is_empty() { (nothing(&language.t("deliveries-none"))) }
                @else { (lists::deliveries(reader, &view.deliveries)) }
            }
        }
    };
    page(reader, &head, &main)
}

fn shown_once(reader: &Reader, shown: &Shown) -> Markup {
    let language = reader.language;
    let (said, text) = match shown {
        Shown::Secret(text) => (language.t("secret-once"), text),
        Shown::Url(text) => (language.t("url-once"), text),
    };
    html! {
        div id="shown-once" class="callout tone-good" role="status" {
            (icon("lock"))
            div { p { (said) } (value(language, text)) }
        }
    }
}

fn health_callout(reader: &Reader, health: &Health) -> Markup {
    let language = reader.language;
    let tone = match (health.rejected_today, health.verified_at) {
        (1.., _) => "tone-warning",
        (_, Some(_)) => "tone-good",
        (_, None) => "tone-quiet",
    };
    html! {
        div id="health" class={ "callout " (tone) } {
            (icon(if tone == "tone-warning" { "warning" } else { "inbox" }))
            div {
                p { (health_line(reader, health)) }
                @for cause in &health.causes { p { (cause_words(language, cause)) } }
                @if health.silent_days > 0 {
                    p { (language.with("health-silent", &[("count", health.silent_days.into())])) }
                }
                @if let Some(at) = health.previous_used_at {
                    p { (language.rich("health-previous", &[("when", ago(reader, at))])) }
                }
            }
        }
    }
}

/// What is probably wrong, with what did not hold as the title; what is not known by a word is told as it was recorded.
fn cause_words(language: Language, cause: &CauseRow) -> Markup {
    let count = [("count", cause.count.into())];
    let words = match cause.cause.as_deref() {
        Some("other_secret") => language.with("cause-other-secret", &count),
        Some("not_signed") => language.with("cause-not-signed", &count),
        Some("other_scheme") => language.with("cause-other-scheme", &count),
        Some("clock") => language.with("cause-clock", &count),
        Some("other_url") => language.with("cause-other-url", &count),
        Some("no_address") => language.with("cause-no-address", &count),
        Some("address") => language.with("cause-address", &count),
        Some("identity") => language.with("cause-identity", &count),
        Some(_) | None => {
            let number = language.number(cause.count as f64);
            return html! { (number) " × " span lang="en" { (cause.reason) } };
        }
    };
    html! { span title=(cause.reason) { (words) } }
}

fn operating(reader: &Reader, view: &TriggerPage) -> Markup {
    let language = reader.language;
    html! {
        @if view.enabled && matches!(view.kind, TriggerKind::Manual | TriggerKind::Schedule) {
            form method="post" action={ "/triggers/" (view.id) "/run" } {
                (form_token(reader))
                button class="button" type="submit" { (icon("running")) (language.t("schedule-run")) }
            }
        }
    }
}

fn editing(reader: &Reader, view: &TriggerPage) -> Markup {
    let language = reader.language;
    let href = format!("/triggers/{}", view.id);
    let (deed, word, symbol) = if view.enabled {
        ("disable", language.t("trigger-disable"), "stopped")
    } else {
        ("enable", language.t("trigger-enable"), "check")
    };
    html! {
        a class="button" href={ (href) "/edit" } { (icon("edit")) (language.t("schedule-edit")) }
        form method="post" action={ (href) "/" (deed) } {
            (form_token(reader))
            button class="button" type="submit" { (icon(symbol)) (word) }
        }
        (remove_form(reader, &href, &language.t("trigger-remove-text")))
    }
}

/// A button that removes, after it has said what that means.
pub(super) fn remove_form(reader: &Reader, href: &str, text: &str) -> Markup {
    let language = reader.language;
    html! {
        details class="pop" {
            summary class="button danger" { (icon("cross")) (language.t("schedule-remove")) }
            form class="stack pop-panel" method="post" action={ (href) "/remove" } {
                (form_token(reader))
                p { (text) }
                button class="button danger small" type="submit" { (icon("cross")) (language.t("schedule-remove")) }
            }
        }
    }
}

fn senders(reader: &Reader, view: &TriggerPage, url: &str) -> Markup {
    let language = reader.language;
    let href = format!("/triggers/{}", view.id);
    html! {
        section class="panel padded" aria-labelledby="senders" {
            h2 id="senders" { (language.t("trigger-senders")) }
            p class="hint" { (language.t("trigger-url-hint")) }
            (value(language, url))
            dl class="facts" {
                dt { (language.t("fact-scheme")) }
                dd {
                    @match &view.scheme {
                        Some(scheme) => code { (scheme) },
                        None => (language.t("scheme-usual")),
                    }
                }
                @if view.has_previous {
                    dt { (language.t("fact-previous")) }
                    dd {
                        @match view.previous_until {
                            Some(at) => (language.rich("previous-until", &[("when", moment(at))])),
                            None => (language.t("previous-stands")),
                        }
                    }
                }
            }
            @if view.may_edit {
                div class="actions" {
                    details class="pop" {
                        summary class="button" { (icon("lock")) (language.t("secret-renew")) }
                        form class="stack pop-panel" method="post" action={ (href) "/secret" } {
                            (form_token(reader))
                            p { (language.t("secret-renew-text")) }
                            label {
                                span { (language.t("secret-own")) }
                                input type="text" class="code" name="secret" maxlength="1024" autocomplete="off" spellcheck="false";
                            }
                            button class="button small" type="submit" { (icon("lock")) (language.t("secret-renew")) }
                        }
                    }
                    @if view.has_previous {
                        form method="post" action={ (href) "/secret/drop" } {
                            (form_token(reader))
                            button class="button" type="submit" { (icon("cross")) (language.t("secret-drop")) }
                        }
                    }
                }
            }
        }
    }
}

fn bindings(reader: &Reader, view: &TriggerPage) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-labelledby="bindings" {
            header class="panel-head" {
                h2 id="bindings" { (language.t("trigger-bindings")) }
                @if view.may_edit {
                    a class="button small" href={ "/triggers/" (view.id) "/bindings/new" } { (icon("plus")) (language.t("binding-new")) }
                }
            }
            @if view.bindings.is_empty() { (nothing(&language.t("trigger-bindings-none"))) }
            @else {
                table class="rows bindings" {
                    caption class="unseen" { (language.t("trigger-bindings")) }
                    thead {
                        tr {
                            th scope="col" { (language.t("column-binding")) }
                            th scope="col" { (language.t("column-starts")) }
                            th scope="col" { (language.t("column-own-filter")) }
                            @if view.may_edit { th scope="col" { span class="unseen" { (language.t("schedule-edit")) } } }
                        }
                    }
                    tbody { @for row in &view.bindings { (bound_row(reader, row, view.may_edit)) } }
                }
            }
        }
    }
}

/// What a binding starts.
pub(super) fn target(language: Language, target: &Target) -> Markup {
    html! {
        @match target {
            Target::Workload(link) => a href=(link.href) { (link.name) },
            Target::Task(task) => span { (language.with("starts-task", &[("task", task.as_str().into())])) },
        }
    }
}

fn bound_row(reader: &Reader, row: &BoundRow, may_edit: bool) -> Markup {
    let language = reader.language;
    html! {
        tr data-row="" {
            td class="lead" {
                span class="row-name" { (language.with("binding-number", &[("n", row.number.into())])) }
                @if !row.enabled { " " (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
            }
            td data-label=(language.t("column-starts")) { (target(language, &row.target)) }
            td data-label=(language.t("column-own-filter")) {
                span {
                    @match &row.filter {
                        Some(filter) => code { (filter) },
                        None => span class="quiet" { (language.t("binding-as-trigger")) },
                    }
                    @if let Some(condition) = &row.condition { " · " code { (condition) } }
                }
            }
            @if may_edit {
                td class="row-actions-cell" { div class="row-actions" {
                    @if row.number > 1 {
                        form method="post" action={ "/bindings/" (row.id) "/up" } {
                            (form_token(reader))
                            button class="button small" type="submit" title=(language.t("binding-up")) aria-label=(language.t("binding-up")) { (icon("up")) }
                        }
                    }
                    a class="button small" href={ "/bindings/" (row.id) "/edit" } { (icon("edit")) (language.t("schedule-edit")) }
                    details class="pop" {
                        summary class="button small danger" { (icon("cross")) (language.t("schedule-remove")) }
                        form class="stack pop-panel" method="post" action={ "/bindings/" (row.id) "/remove" } {
                            (form_token(reader))
                            p { (language.t("binding-remove-text")) }
                            button class="button danger small" type="submit" { (icon("cross")) (language.t("schedule-remove")) }
                        }
                    }
                } }
            }
        }
    }
}
