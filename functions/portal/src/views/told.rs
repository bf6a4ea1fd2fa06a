//! What people are told of: endpoints and rules with their messages, rules on lines of logs with what they found.

use maud::{Markup, html};
use store::log_rules::{LogRule, Recorded, RuleCounts};
use store::notifications::{Attempt, Endpoint, Notification, NotificationRule};

use super::layout::{Head, Section, form_token, page};
use super::model::{Reader, Tone};
use super::parts::{ago, chip, clock, code_block, icon, moment, nothing};
use crate::i18n::{Key, Language};
use crate::log_text::LogText;

/// Endpoints, rules, and the latest messages.
#[derive(Clone, Debug)]
pub struct NotificationsPage {
    /// Whom is told.
    pub endpoints: Vec<Endpoint>,
    /// Of what.
    pub rules: Vec<NotificationRule>,
    /// The latest messages.
    pub messages: Vec<Notification>,
    /// Where older ones are.
    pub older_href: Option<String>,
}

/// The page of notifications.
#[must_use]
pub fn notifications(reader: &Reader, view: &NotificationsPage) -> Markup {
    let language = reader.language;
    let title = language.t("notifications-title");
    let head = Head {
        title: &title,
        section: Section::Elsewhere,
        live_href: None,
    };
    let main = html! {
        header class="page-head" { h1 { (title) } a class="button" href="/log-rules" { (language.t("log-rules-title")) } }
        section class="panel" aria-labelledby="endpoints" {
            header class="panel-head" { h2 id="endpoints" { (language.t("endpoints-title")) } }
            @if view.endpoints.is_empty() { (nothing(&language.t("endpoints-none"))) }
            @else { (endpoints(reader, &view.endpoints)) }
        }
        section class="panel" aria-labelledby="rules" {
            header class="panel-head" { h2 id="rules" { (language.t("notification-rules-title")) } }
            @if view.rules.is_empty() { (nothing(&language.t("notification-rules-none"))) }
            @else { (rules(reader, view)) }
        }
        section class="panel" aria-labelledby="messages" {
            header class="panel-head" { h2 id="messages" { (language.t("messages-title")) } }
            @if view.messages.is_empty() { (nothing(&language.t("messages-none"))) }
            @else { (messages(reader, view)) }
            @if let Some(href) = &view.older_href { p class="panel-foot" { a href=(href) { (language.t("runs-older")) } } }
        }
    };
    page(reader, &head, &main)
}

fn on(language: Language, enabled: bool) -> Markup {
    if enabled {
        chip(Tone::Good, "check", &language.t("told-on"))
    } else {
        chip(Tone::Quiet, "minus", &language.t("told-off"))
    }
}

fn endpoints(reader: &Reader, rows: &[Endpoint]) -> Markup {
    let language = reader.language;
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("endpoints-title")) }
            thead { tr { th scope="col" { (language.t("column-name")) } th scope="col" { (language.t("column-state")) } th scope="col" { (language.t("endpoint-delivered")) } } }
            tbody {
                @for row in rows {
                    tr {
                        td class="lead" { span class="row-name" { (row.name) } " " span class="tag" { (row.format) } span class="row-about" { (row.url) } }
                        td data-label=(language.t("column-state")) {
                            (on(language, row.enabled))
                            @if let Some(why) = &row.disabled_why { p class="row-error" { (why) } }
                            @else if let Some(since) = row.failing_since { p class="row-error" { (language.rich("endpoint-failing", &[("when", ago(reader, since))])) } }
                        }
                        td class="quiet" data-label=(language.t("endpoint-delivered")) {
                            @match row.delivered_at { Some(at) => (ago(reader, at)), None => (language.t("told-never")) }
                        }
                    }
                }
            }
        }
    }
}

fn rules(reader: &Reader, view: &NotificationsPage) -> Markup {
    let language = reader.language;
    let name = |rule: &NotificationRule| {
        let endpoint = view
            .endpoints
            .iter()
            .find(|endpoint| endpoint.id == rule.endpoint);
        endpoint.map_or_else(
            || rule.endpoint.to_string(),
            |endpoint| endpoint.name.clone(),
        )
    };
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("notification-rules-title")) }
            thead { tr { th scope="col" { (language.t("column-name")) } th scope="col" { (language.t("rule-of")) } th scope="col" { (language.t("rule-tells")) } th scope="col" { (language.t("column-state")) } } }
            tbody {
                @for rule in &view.rules {
                    tr {
                        td class="lead" { span class="row-name" { (rule.name) } }
                        td data-label=(language.t("rule-of")) {
                            @for ty in &rule.types { code { (ty) } " " }
                            @if let Some(severity) = &rule.severity { span class="tag" { (severity) } " " }
                            @for text in [&rule.source, &rule.contains].into_iter().flatten() { code { (text) } " " }
                            @if let Some(condition) = &rule.condition { code { (condition["expression"].as_str().unwrap_or_default()) } }
                        }
                        td data-label=(language.t("rule-tells")) { (name(rule)) }
                        td data-label=(language.t("column-state")) { (on(language, rule.enabled)) }
                    }
                }
            }
        }
    }
}

fn state(language: Language, state: &str) -> Markup {
    match state {
        "delivered" => chip(Tone::Good, "check", &language.t("message-delivered")),
        "failed" => chip(Tone::Bad, "cross", &language.t("message-failed")),
        "pending" => chip(Tone::Waiting, "queued", &language.t("message-pending")),
        other => chip(Tone::Quiet, "minus", other),
    }
}

fn messages(reader: &Reader, view: &NotificationsPage) -> Markup {
    let language = reader.language;
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("messages-title")) }
            thead { tr { th scope="col" { (language.t("message-event")) } th scope="col" { (language.t("rule-tells")) } th scope="col" { (language.t("column-state")) } th scope="col" class="end" { (language.t("column-when")) } } }
            tbody {
                @for row in &view.messages {
                    tr data-row="" {
                        td class="lead" { a class="row-link" href={ "/notifications/" (row.id) } { span class="row-name" { (row.event_type) } } }
                        td data-label=(language.t("rule-tells")) {
                            @match view.endpoints.iter().find(|endpoint| endpoint.id == row.endpoint) {
                                Some(endpoint) => (endpoint.name),
                                None => code { (row.endpoint) },
                            }
                        }
                        td data-label=(language.t("column-state")) {
                            (state(language, &row.state)) " "
                            span class="quiet" { (language.with("message-attempts", &[("count", i64::from(row.attempts).into())])) }
                        }
                        td class="end quiet" data-label=(language.t("column-when")) { (ago(reader, row.created_at)) }
                    }
                }
            }
        }
    }
}

/// One message with its attempts.
#[must_use]
pub fn message(reader: &Reader, view: &Notification, body: &str, attempts: &[Attempt]) -> Markup {
    let language = reader.language;
    let may = reader
        .person
        .as_ref()
        .is_some_and(|person| person.may_operate);
    let head = Head {
        title: &view.event_type,
        section: Section::Elsewhere,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) { a href="/notifications" { (language.t("notifications-title")) } }
        header class="page-head" {
            h1 { (view.event_type) " " (state(language, &view.state)) }
            @if may && view.state != "pending" {
                form method="post" action={ "/notifications/" (view.id) "/redeliver" } {
                    (form_token(reader))
                    button class="button" type="submit" { (icon("retry")) (language.t("message-again")) }
                }
            }
        }
        dl class="facts" {
            dt { (language.t("fact-created")) } dd { (moment(view.created_at)) }
            dt { (language.t("message-event")) } dd { code { (view.event_id) } }
            dt { (language.t("message-id")) } dd { code { (view.message_id) } }
            @if let Some(first) = view.redelivery_of { dt { (language.t("message-repeats")) } dd { a href={ "/notifications/" (first) } { code { (first) } } } }
            @if let Some(next) = view.next_at { dt { (language.t("message-next")) } dd { (ago(reader, next)) } }
        }
        section class="panel padded" aria-labelledby="attempts" {
            h2 id="attempts" { (language.t("job-attempts")) }
            @if attempts.is_empty() { (nothing(&language.t("job-no-attempts"))) }
            ol class="attempts" {
                @for attempt in attempts {
                    li {
                        div class="attempt-head" {
                            strong { (language.with("attempt-number", &[("n", attempt.number.to_string().into())])) }
                            @match attempt.status { Some(status) => span class="tag" { (status) }, None => {} }
                            span class="quiet" { (clock(attempt.at)) " · " (language.with("duration-milliseconds", &[("n", i64::from(attempt.took_ms).into())])) }
                        }
                        @if let Some(problem) = &attempt.problem { p class="row-error" { (problem) } }
                        @if let Some(excerpt) = &attempt.excerpt { pre { code { (LogText::parse(excerpt)) } } }
                    }
                }
            }
        }
        section class="panel padded" aria-labelledby="body" {
            h2 id="body" { (language.t("delivery-body")) }
            (code_block(language, body, &language.t("delivery-body")))
        }
    };
    page(reader, &head, &main)
}

/// Rules on lines of logs.
#[derive(Clone, Debug)]
pub struct LogRulesPage {
    /// The rules, with what each found.
    pub rules: Vec<(LogRule, Vec<RuleCounts>)>,
    /// What was recorded, the latest.
    pub recorded: Vec<Recorded>,
}

/// The page of rules on lines.
#[must_use]
pub fn log_rules(reader: &Reader, view: &LogRulesPage) -> Markup {
    let language = reader.language;
    let title = language.t("log-rules-title");
    let head = Head {
        title: &title,
        section: Section::Elsewhere,
        live_href: None,
    };
    let main = html! {
        header class="page-head" { h1 { (title) } a class="button" href="/notifications" { (language.t("notifications-title")) } }
        section class="panel" aria-labelledby="rules" {
            header class="panel-head" { h2 id="rules" { (language.t("log-rules-title")) } }
            @if view.rules.is_empty() { (nothing(&language.t("log-rules-none"))) }
            @else { (patterns(reader, view)) }
        }
        section class="panel" aria-labelledby="recorded" {
            header class="panel-head" { h2 id="recorded" { (language.t("event-log-title")) } }
            @if view.recorded.is_empty() { (nothing(&language.t("event-log-none"))) }
            @else { (recorded(reader, &view.recorded)) }
        }
    };
    page(reader, &head, &main)
}

fn patterns(reader: &Reader, view: &LogRulesPage) -> Markup {
    let language = reader.language;
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("log-rules-title")) }
            thead { tr { th scope="col" { (language.t("column-name")) } th scope="col" { (language.t("log-rule-found")) } th scope="col" { (language.t("column-state")) } } }
            tbody {
                @for (rule, counts) in &view.rules {
                    tr {
                        td class="lead" {
                            span class="row-name" { (rule.name) } " " span class="tag" { (rule.severity) }
                            span class="row-about" { code { (rule.pattern) } }
                        }
                        td data-label=(language.t("log-rule-found")) {
                            (language.with("log-rule-counts", &[
                                ("matched", counts.iter().map(|one| one.matched).sum::<i64>().into()),
                                ("told", counts.iter().map(|one| one.told).sum::<i64>().into()),
                            ]))
                            @if let Some(at) = counts.iter().filter_map(|one| one.matched_at).max() { " · " span class="quiet" { (ago(reader, at)) } }
                        }
                        td data-label=(language.t("column-state")) { (on(language, rule.enabled)) }
                    }
                }
            }
        }
    }
}

fn recorded(reader: &Reader, rows: &[Recorded]) -> Markup {
    let language = reader.language;
    let tone = |severity: &str| match severity {
        "error" => (Tone::Bad, "cross", Key("severity-error")),
        "warning" => (Tone::Warning, "warning", Key("severity-warning")),
        _ => (Tone::Quiet, "minus", Key("severity-info")),
    };
    html! {
        table class="rows" {
            caption class="unseen" { (language.t("event-log-title")) }
            thead { tr { th scope="col" { (language.t("message-event")) } th scope="col" { (language.t("column-state")) } th scope="col" class="end" { (language.t("column-when")) } } }
            tbody {
                @for row in rows {
                    @let (tone, symbol, label) = tone(&row.severity);
                    tr {
                        td class="lead" {
                            (LogText::parse(&row.message))
                            span class="row-about" {
                                (row.source)
                                @if let Some(job) = row.job { " · " a href={ "/jobs/" (job) } { (language.with("job-number", &[("id", job.to_string().into())])) } }
                            }
                        }
                        td data-label=(language.t("column-state")) { (chip(tone, symbol, &language.key(label))) }
                        td class="end quiet" data-label=(language.t("column-when")) { (ago(reader, row.at)) }
                    }
                }
            }
        }
    }
}
