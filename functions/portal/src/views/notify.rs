//! Whom people want told of what is observed: endpoints, rules, and what became of the messages.

use chrono::TimeDelta;
use maud::{Markup, html};
use store::credentials::CredentialState;

use super::layout::{Head, Section, form_token, page};
use super::model::{
    CredentialRow, EndpointPage, EndpointRow, EndpointState, MessagePage, MessageRow, MessageState,
    MessagesPage, NotificationRuleRow, NotifyPage, Reader, SendRow, Tone,
};
use super::parts::{ago, chip, code_block, duration, icon, moment, nothing, value};
use super::queues::more_pages;
use super::triggers::{remove_form, tabs};
use crate::i18n::Language;

/// Endpoints and rules.
#[must_use]
pub fn notify(reader: &Reader, view: &NotifyPage) -> Markup {
    let language = reader.language;
    let title = language.t("notify-title");
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("notify-lede")) }
            div class="actions" { a class="button" href="/notifications" { (icon("inbox")) (language.t("messages-title")) } }
        }
        (tabs(reader, "/notification-endpoints"))
        section class="panel" aria-labelledby="endpoints" {
            header class="panel-head" {
                h2 id="endpoints" { (language.t("endpoints-title")) }
                @if view.may_edit {
                    a class="button small" href="/notification-endpoints/new" { (icon("plus")) (language.t("endpoint-new")) }
                }
            }
            @if view.endpoints.is_empty() { (nothing(&language.t("endpoints-none"))) }
            @else { (endpoints(reader, &view.endpoints)) }
        }
        (rules(reader, &view.rules, view.may_edit && !view.endpoints.is_empty()))
    };
    page(reader, &head, &main)
}

fn endpoints(reader: &Reader, rows: &[EndpointRow]) -> Markup {
    let language = reader.language;
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("endpoints-title")) }
            thead { tr {
                th scope="col" { (language.t("column-name")) }
                th scope="col" { (language.t("column-state")) }
                th scope="col" { (language.t("column-delivered")) }
            } }
            tbody {
                @for row in rows {
                    tr data-row="" {
                        td class="lead" {
                            a class="row-link" href={ "/notification-endpoints/" (row.id) } { span class="row-name" { (row.name) } }
                            span class="row-about" { (row.host) " · " (format(language, &row.format)) }
                        }
                        td data-label=(language.t("column-state")) { (endpoint_state(language, &row.state)) }
                        td data-label=(language.t("column-delivered")) {
                            @match row.delivered_at {
                                Some(at) => (ago(reader, at)),
                                None => span class="quiet" { (language.t("endpoint-told-nothing")) },
                            }
                        }
                    }
                }
            }
        }
    }
}

fn format(language: Language, format: &str) -> String {
    match format {
        "slack" => language.t("format-slack"),
        _ => language.t("format-standard"),
    }
}

fn endpoint_state(language: Language, state: &EndpointState) -> Markup {
    match state {
        EndpointState::Well => chip(Tone::Good, "check", &language.t("endpoint-well")),
        EndpointState::Failing(_) => {
            chip(Tone::Warning, "warning", &language.t("endpoint-failing"))
        }
        EndpointState::Off => chip(Tone::Warning, "stopped", &language.t("trigger-off")),
        EndpointState::GivenUp(..) => chip(Tone::Bad, "cross", &language.t("endpoint-given-up")),
    }
}

fn rules(reader: &Reader, rows: &[NotificationRuleRow], may_edit: bool) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-labelledby="rules" {
            header class="panel-head" {
                h2 id="rules" { (language.t("notification-rules-title")) }
                @if may_edit {
                    a class="button small" href="/notification-rules/new" { (icon("plus")) (language.t("notification-rule-new")) }
                }
            }
            @if rows.is_empty() { (nothing(&language.t("notification-rules-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (language.t("notification-rules-title")) }
                    thead { tr {
                        th scope="col" { (language.t("column-name")) }
                        th scope="col" { (language.t("column-tells")) }
                        th scope="col" { (language.t("column-wants")) }
                        @if may_edit { th scope="col" { span class="unseen" { (language.t("schedule-edit")) } } }
                    } }
                    tbody { @for row in rows { (rule_row(reader, row, may_edit)) } }
                }
            }
        }
    }
}

fn rule_row(reader: &Reader, row: &NotificationRuleRow, may_edit: bool) -> Markup {
    let language = reader.language;
    let href = format!("/notification-rules/{}", row.id);
    html! {
        tr data-row="" {
            td class="lead" {
                span class="row-name" { (row.name) }
                @if !row.enabled { " " (chip(Tone::Warning, "stopped", &language.t("trigger-off"))) }
            }
            td data-label=(language.t("column-tells")) { a href=(row.endpoint.href) { (row.endpoint.name) } }
            td data-label=(language.t("column-wants")) {
                span { @for (index, want) in row.wants.iter().enumerate() { @if index > 0 { " · " } code { (want) } } }
            }
            @if may_edit {
                td class="row-actions-cell" { div class="row-actions" {
                    a class="button small" href={ (href) "/edit" } { (icon("edit")) (language.t("schedule-edit")) }
                    (remove_form(reader, &href, &language.t("notification-rule-remove-text")))
                } }
            }
        }
    }
}

/// One endpoint.
#[must_use]
pub fn endpoint(reader: &Reader, view: &EndpointPage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    let href = format!("/notification-endpoints/{}", row.id);
    let head = Head {
        title: &row.name,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/notification-endpoints" { (language.t("notify-title")) }
        }
        header class="page-head" {
            h1 { (row.name) (endpoint_state(language, &row.state)) }
            p class="lede" { (row.host) " · " (format(language, &row.format)) }
            @if view.may_edit { div class="actions" { (editing(reader, view, &href)) } }
        }
        @if let Some(secret) = &view.shown {
            div id="shown-once" class="callout tone-good" role="status" {
                (icon("lock"))
                div { p { (language.t("endpoint-secret-once")) } (value(language, secret)) }
            }
        }
        (standing(reader, &row.state))
        section class="panel padded" aria-labelledby="facts" {
            h2 id="facts" { (language.t("facts")) }
            dl class="facts" {
                dt { (language.t("column-delivered")) }
                dd {
                    @match row.delivered_at {
                        Some(at) => (ago(reader, at)),
                        None => (language.t("endpoint-told-nothing")),
                    }
                }
                @if let Some(until) = view.previous_until {
                    dt { (language.t("fact-previous")) }
                    dd { (language.rich("previous-until", &[("when", moment(until))])) }
                }
            }
        }
        (rules(reader, &view.rules, view.may_edit))
        section class="panel" aria-labelledby="messages" {
            header class="panel-head" {
                h2 id="messages" { (language.t("messages-title")) }
                a href={ "/notifications?endpoint=" (row.id) } { (language.t("see-all")) }
            }
            @if view.messages.is_empty() { (nothing(&language.t("messages-none"))) }
            @else { (messages_table(reader, &view.messages)) }
        }
    };
    page(reader, &head, &main)
}

fn standing(reader: &Reader, state: &EndpointState) -> Markup {
    let language = reader.language;
    html! {
        @match state {
            EndpointState::Well | EndpointState::Off => {},
            EndpointState::Failing(since) => {
                div class="callout tone-warning" {
                    (icon("warning"))
                    p { (language.rich("endpoint-failing-since", &[("when", ago(reader, *since))])) }
                }
            },
            EndpointState::GivenUp(at, why) => {
                div class="callout tone-bad" {
                    (icon("cross"))
                    div {
                        p {
                            @match at {
                                Some(at) => (language.rich("endpoint-given-up-at", &[("when", ago(reader, *at))])),
                                None => (language.t("endpoint-given-up")),
                            }
                        }
                        p lang="en" { (why) }
                    }
                }
            },
        }
    }
}

fn editing(reader: &Reader, view: &EndpointPage, href: &str) -> Markup {
    let language = reader.language;
    let is_on = matches!(
        view.row.state,
        EndpointState::Well | EndpointState::Failing(_)
    );
    let (deed, word, symbol) = if is_on {
        ("disable", language.t("trigger-disable"), "stopped")
    } else {
        ("enable", language.t("trigger-enable"), "check")
    };
    html! {
        a class="button" href={ (href) "/edit" } { (icon("edit")) (language.t("schedule-edit")) }
        @if is_on {
            form method="post" action={ (href) "/test" } {
                (form_token(reader))
                button class="button" type="submit" title=(language.t("endpoint-test-hint")) { (icon("event")) (language.t("endpoint-test")) }
            }
        }
        form method="post" action={ (href) "/" (deed) } {
            (form_token(reader))
            button class="button" type="submit" { (icon(symbol)) (word) }
        }
        details class="pop" {
            summary class="button" { (icon("lock")) (language.t("secret-renew")) }
            form class="stack pop-panel" method="post" action={ (href) "/secret" } {
                (form_token(reader))
                p { (language.t("endpoint-secret-text")) }
                button class="button small" type="submit" { (icon("lock")) (language.t("secret-renew")) }
            }
        }
        (remove_form(reader, href, &language.t("endpoint-remove-text")))
    }
}

fn message_state(language: Language, state: MessageState) -> Markup {
    match state {
        MessageState::Pending => chip(Tone::Waiting, "waiting", &language.t("message-pending")),
        MessageState::Delivered => chip(Tone::Good, "check", &language.t("message-delivered")),
        MessageState::Failed => chip(Tone::Bad, "cross", &language.t("message-failed")),
    }
}

fn messages_table(reader: &Reader, rows: &[MessageRow]) -> Markup {
    let language = reader.language;
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("messages-title")) }
            thead { tr {
                th scope="col" { (language.t("column-message")) }
                th scope="col" { (language.t("column-state")) }
                th scope="col" { (language.t("column-tells")) }
                th scope="col" { (language.t("column-when")) }
            } }
            tbody {
                @for row in rows {
                    tr data-row="" {
                        td class="lead" {
                            a class="row-link" href={ "/notifications/" (row.id) } { span class="row-name" { (row.event) } }
                        }
                        td data-label=(language.t("column-state")) {
                            span {
                                (message_state(language, row.state))
                                " " (language.with("message-attempts", &[("count", row.attempts.into())]))
                                @if let Some(at) = row.next_at { ", " (language.rich("message-next", &[("when", ago(reader, at))])) }
                            }
                        }
                        td data-label=(language.t("column-tells")) { a href=(row.endpoint.href) { (row.endpoint.name) } }
                        td data-label=(language.t("column-when")) { (ago(reader, row.created_at)) }
                    }
                }
            }
        }
    }
}

/// The messages to an endpoint, or to all.
#[must_use]
pub fn messages(reader: &Reader, view: &MessagesPage) -> Markup {
    let language = reader.language;
    let title = language.t("messages-title");
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/notification-endpoints" { (language.t("notify-title")) }
        }
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("messages-lede")) }
        }
        form class="filter" method="get" action="/notifications" {
            label {
                span { (language.t("field-endpoint")) }
                select name="endpoint" {
                    option value="" selected[view.endpoint.is_empty()] { (language.t("severity-any")) }
                    @for (id, name) in &view.endpoints { option value=(id) selected[*id == view.endpoint] { (name) } }
                }
            }
            button class="button" type="submit" { (icon("filter")) (language.t("filter-apply")) }
        }
        section class="panel" aria-label=(title) {
            @if view.rows.is_empty() { (nothing(&language.t("messages-none"))) }
            @else { (messages_table(reader, &view.rows)) }
        }
        (more_pages(reader, &view.first_href, view.is_first, view.next_href.as_deref()))
    };
    page(reader, &head, &main)
}

/// One message.
#[must_use]
pub fn message(reader: &Reader, view: &MessagePage) -> Markup {
    let language = reader.language;
    let row = &view.row;
    let head = Head {
        title: &row.event,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/notification-endpoints" { (language.t("notify-title")) }
            a href={ "/notifications?endpoint=" (row.endpoint.href.rsplit('/').next().unwrap_or_default()) } { (language.t("messages-title")) }
        }
        header class="page-head" {
            h1 { (row.event) (message_state(language, row.state)) }
            @if view.may_operate {
                div class="actions" {
                    form method="post" action={ "/notifications/" (row.id) "/redeliver" } {
                        (form_token(reader))
                        button class="button" type="submit" title=(language.t("message-redeliver-hint")) { (icon("retry")) (language.t("redeliver")) }
                    }
                }
            }
        }
        div class="columns even" {
            section class="panel padded" aria-labelledby="facts" {
                h2 id="facts" { (language.t("facts")) }
                dl class="facts" {
                    dt { (language.t("column-tells")) } dd { a href=(row.endpoint.href) { (row.endpoint.name) } }
                    dt { (language.t("fact-message-id")) } dd { code { (view.message_id) } }
                    dt { (language.t("fact-event-id")) } dd { code { (view.event_id) } }
                    @if let Some(rule) = &view.rule { dt { (language.t("column-rule")) } dd { (rule) } }
                    @if let Some(first) = view.repeats {
                        dt { (language.t("fact-message-repeats")) } dd { a href={ "/notifications/" (first) } { code { (first) } } }
                    }
                    dt { (language.t("fact-created")) } dd { (moment(row.created_at)) }
                    @if let Some(at) = row.next_at { dt { (language.t("fact-next-attempt")) } dd { (moment(at)) } }
                }
            }
            section class="panel padded" aria-labelledby="sends" {
                h2 id="sends" { (language.t("fact-attempts")) }
                @if view.attempts.is_empty() { (nothing(&language.t("message-attempts-none"))) }
                @else { ol class="timeline" { @for row in &view.attempts { (send_row(language, row)) } } }
            }
        }
        section class="panel padded" aria-labelledby="body" {
            h2 id="body" { (language.t("message-body")) }
            (code_block(language, &view.body, &language.t("message-body")))
        }
    };
    page(reader, &head, &main)
}

fn send_row(language: Language, row: &SendRow) -> Markup {
    let is_good = row
        .status
        .is_some_and(|status| (200..300).contains(&status));
    html! {
        li class=(if is_good { "tone-good" } else { "tone-bad" }) {
            span class="timeline-what" {
                @match row.status {
                    Some(status) => (language.with("send-answered", &[("status", status.to_string().into())])),
                    None => (language.t("send-unanswered")),
                }
            }
            (moment(row.at))
            span class="timeline-detail" {
                (duration(language, TimeDelta::milliseconds(row.took_ms.into())))
                @if let Some(said) = &row.said { " · " code { (said) } }
            }
        }
    }
}

/// What other systems let us in with.
#[must_use]
pub fn credentials(reader: &Reader, rows: &[CredentialRow]) -> Markup {
    let language = reader.language;
    let title = language.t("credentials-title");
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let main = html! {
        header class="page-head" {
            h1 { (title) }
            p class="lede" { (language.t("credentials-lede")) }
        }
        (tabs(reader, "/credentials"))
        section class="panel" aria-label=(title) {
            @if rows.is_empty() { (nothing(&language.t("credentials-none"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (title) }
                    thead { tr {
                        th scope="col" { (language.t("column-name")) }
                        th scope="col" { (language.t("column-state")) }
                        th scope="col" { (language.t("column-host")) }
                        th scope="col" { (language.t("column-uses")) }
                    } }
                    tbody { @for row in rows { (credential_row(reader, row)) } }
                }
            }
        }
    };
    page(reader, &head, &main)
}

fn credential_row(reader: &Reader, row: &CredentialRow) -> Markup {
    let language = reader.language;
    html! {
        tr data-row="" {
            td class="lead" {
                span class="row-name" { (row.name) }
                span class="row-about" { (row.kind) @if !row.username.is_empty() { " · " (row.username) } }
            }
            td data-label=(language.t("column-state")) {
                span {
                    (credential_state(language, row.state))
                    @if let Some(at) = row.checked_at { " " (ago(reader, at)) }
                    @if let Some(at) = row.ends_at { " · " (language.rich("credential-ends", &[("when", ago(reader, at))])) }
                    @if let Some(problem) = &row.problem { " · " span lang="en" { (problem) } }
                }
            }
            td data-label=(language.t("column-host")) { code { (row.host) } }
            td data-label=(language.t("column-uses")) {
                @if row.uses.is_empty() { span class="quiet" { (language.t("credential-unused")) } }
                @else { @for (place, used) in row.uses.iter().enumerate() { @if place > 0 { ", " } (used_by(language, used)) } }
            }
        }
    }
}

/// Who needs a credential, as the database says it: `workspace infra`.
fn used_by(language: Language, used: &str) -> String {
    match used.split_once(' ') {
        Some(("workspace", name)) => language.with("used-by-workspace", &[("name", name.into())]),
        Some(("trigger", name)) => language.with("used-by-trigger", &[("name", name.into())]),
        _ => used.to_owned(),
    }
}

fn credential_state(language: Language, state: CredentialState) -> Markup {
    match state {
        CredentialState::Unchecked => {
            chip(Tone::Quiet, "minus", &language.t("credential-unchecked"))
        }
        CredentialState::Good => chip(Tone::Good, "check", &language.t("credential-good")),
        CredentialState::Ending => chip(Tone::Warning, "clock", &language.t("credential-ending")),
        CredentialState::Bad => chip(Tone::Bad, "cross", &language.t("credential-bad")),
        CredentialState::Unsure => chip(Tone::Warning, "warning", &language.t("credential-unsure")),
    }
}
