//! The frame around every page: head, bar, menu, shortcuts.

use maud::{DOCTYPE, Markup, html};

use super::model::{Reader, Theme};
use super::parts::{TIME_WORDS, icon, time_word};
use crate::assets;
use crate::i18n::Language;

/// How much of a long name goes into the title of a tab, in characters.
pub const REDUCED_TITLE_CHARS_MAX: usize = 80;

/// Where in the portal a page belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Section {
    Overview,
    Deliveries,
    Triggers,
    Workloads,
    Runs,
    Queue,
    Elsewhere,
}

/// What a page is, for the frame.
pub(super) struct Head<'a> {
    pub(super) title: &'a str,
    pub(super) section: Section,
    /// Where changes come from, if the page changes.
    pub(super) live_href: Option<&'a str>,
}

/// No inline indicator style, no evaluation, no history of our own: links are links. Only the stream extension may load. What
/// somebody has opened to write in stays as it is while the stream changes what is around it; a page that says what failed is
/// never put into a part of another.
const HTMX_CONFIG: &str = r#"{"includeIndicatorCSS":false,"history":false,"extensions":"sse","defaultSwap":"none","morphSkip":"details[open]","noSwap":["204","304","4xx","5xx"]}"#;

pub(super) fn page(reader: &Reader, head: &Head<'_>, main: &Markup) -> Markup {
    let language = reader.language;
    let title: String = head.title.chars().take(REDUCED_TITLE_CHARS_MAX).collect();
    html! {
        (DOCTYPE)
        html lang=(language.code()) data-theme=(reader.theme.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { (title) " · " (language.t("product")) }
                link rel="icon" href=(assets::href("favicon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::href("portal.css"));
                // Deferred scripts run in this order, and htmx connects the stream as soon as it has run: whoever
                // listens to the stream stands before it.
                script src=(assets::href("portal.js")) type="module" {}
                script src=(assets::href("vendor/htmx.min.js")) defer {}
                script src=(assets::href("vendor/hx-sse.min.js")) defer {}
            }
            body {
                a class="skip" href="#main" { (language.t("skip-to-content")) }
                (bar(reader, head))
                main id="main" tabindex="-1" { (main) }
                @if let Some(href) = head.live_href {
                    div id="live-source" hx-sse:connect=(href) hx-target="this" hx-swap="none" hidden {}
                }
                (time_words(language))
                @if reader.person.is_some() { (shortcuts(language)) }
                div id="announcer" class="unseen" role="status" aria-live="polite" {}
            }
        }
    }
}

fn bar(reader: &Reader, head: &Head<'_>) -> Markup {
    let language = reader.language;
    let item = |section: Section, href: &str, symbol: &str, label: String| {
        html! {
            a href=(href) aria-current=[(head.section == section).then_some("page")] {
                (icon(symbol)) span { (label) }
            }
        }
    };
    html! {
        header class="bar" {
            a class="brand" href="/" aria-label=(language.t("product")) { (logo()) span { (language.t("product")) } }
            @if reader.person.is_some() {
                nav aria-label=(language.t("nav-label")) {
                    (item(Section::Overview, "/", "overview", language.t("nav-overview")))
                    (item(Section::Deliveries, "/deliveries", "inbox", language.t("nav-deliveries")))
                    (item(Section::Triggers, "/triggers", "trigger", language.t("nav-triggers")))
                    (item(Section::Workloads, "/workloads", "workload", language.t("nav-workloads")))
                    (item(Section::Runs, "/runs", "running", language.t("nav-runs")))
                    (item(Section::Queue, "/queues", "queued", language.t("nav-queue")))
                }
            }
            div class="bar-end" {
                @if head.live_href.is_some() { (live_badge(language)) }
                (menu(reader))
            }
        }
    }
}

/// A line that leaves another: two tracks and the blade between them.
fn logo() -> Markup {
    html! {
        svg class="logo" width="22" height="22" viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
            path class="logo-main" d="M3 17h18" {}
            path class="logo-branch" d="M3 17h4.5c3 0 4-1.5 5.5-5s2.5-5 5.5-5H21" {}
            circle class="logo-point" cx="7.5" cy="17" r="2.1" {}
        }
    }
}

/// Says how fresh the page is, and pauses it. Its name is what it says; what it does is the title.
///
/// Without scripts nothing is live, so it stays hidden.
fn live_badge(language: Language) -> Markup {
    html! {
        button id="live-badge" class="live-badge" type="button" data-state="connecting" hidden title=(language.t("live-toggle")) {
            span class="live-dot" aria-hidden="true" {}
            span data-when="connecting" { (language.t("live-connecting")) }
            span data-when="live" { (language.t("live-on")) }
            span data-when="reconnecting" { (language.t("live-reconnecting")) }
            span data-when="paused" { (language.t("live-paused")) }
        }
    }
}

fn menu(reader: &Reader) -> Markup {
    let language = reader.language;
    html! {
        details class="menu" {
            summary aria-label=(language.t("menu-label")) {
                @if let Some(person) = &reader.person {
                    span class="avatar" aria-hidden="true" {
                        (person.name.chars().next().unwrap_or('·').to_uppercase())
                    }
                } @else {
                    (icon("settings"))
                }
            }
            div class="menu-panel" {
                @if reader.person.is_some() {
                    ul class="plain-list" {
                        li { a href="/notification-endpoints" { (language.t("notify-title")) } }
                        li { a href="/log-rules" { (language.t("log-rules-title")) } }
                    }
                }
                @if let Some(person) = &reader.person {
                    p class="menu-who" {
                        strong { (person.name) }
                        span { (person.tenant) }
                    }
                }
                form method="post" action="/preferences" data-preferences="" {
                    (form_token(reader))
                    input type="hidden" name="return_to" value=(reader.path);
                    fieldset {
                        legend { (language.t("menu-theme")) }
                        div class="segments" {
                            @for theme in Theme::ALL {
                                button type="submit" name="theme" value=(theme.code())
                                    aria-pressed=(if theme == reader.theme { "true" } else { "false" }) {
                                    (language.key(theme.label()))
                                }
                            }
                        }
                    }
                }
                p class="menu-legend" { (language.t("menu-language")) }
                div class="segments" {
                    @for choice in Language::ALL {
                        a href=(with_language(&reader.path, choice)) lang=(choice.code()) hreflang=(choice.code())
                            aria-current=[(choice == language).then_some("true")] { (choice.own_name()) }
                    }
                }
                @if reader.person.is_some() {
                    button type="button" class="button plain wide" data-open-shortcuts="" hidden {
                        (icon("keyboard")) span { (language.t("shortcuts-title")) } kbd { "?" }
                    }
                    form method="post" action="/sign-out" {
                        (form_token(reader))
                        button type="submit" class="button plain wide" {
                            (icon("leave")) span { (language.t("sign-out")) }
                        }
                    }
                }
            }
        }
    }
}

/// The session's token: a form without it is refused.
pub(super) fn form_token(reader: &Reader) -> Markup {
    html! { input type="hidden" name="csrf" value=(reader.csrf); }
}

/// The same page in another language.
fn with_language(path: &str, language: Language) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("lang="));
    let mut href = format!("{path}?");
    for pair in kept {
        href.push_str(pair);
        href.push('&');
    }
    href.push_str("lang=");
    href.push_str(language.code());
    href
}

/// The words that scripts need to keep relative times right.
fn time_words(language: Language) -> Markup {
    html! {
        div id="time-words" hidden data-now=(language.t("time-now")) {
            @for word in TIME_WORDS {
                span data-word=(word) { (time_word(language, word, "{n}")) }
            }
        }
    }
}

fn shortcuts(language: Language) -> Markup {
    let rows: [(&[&str], String); 11] = [
        (&["g", "o"], language.t("shortcut-overview")),
        (&["g", "d"], language.t("shortcut-deliveries")),
        (&["g", "t"], language.t("shortcut-triggers")),
        (&["g", "w"], language.t("shortcut-workloads")),
        (&["g", "q"], language.t("shortcut-queue")),
        (&["j"], language.t("shortcut-next")),
        (&["k"], language.t("shortcut-previous")),
        (&["Enter"], language.t("shortcut-open")),
        (&["/"], language.t("shortcut-filter")),
        (&["f"], language.t("shortcut-follow")),
        (&["?"], language.t("shortcut-help")),
    ];
    html! {
        dialog id="shortcuts" aria-labelledby="shortcuts-title" {
            form method="dialog" {
                h2 id="shortcuts-title" { (language.t("shortcuts-title")) }
                dl {
                    @for (keys, what) in &rows {
                        div {
                            dt { @for key in *keys { kbd { (key) } } }
                            dd { (what) }
                        }
                    }
                }
                button class="button" type="submit" { (language.t("close")) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::with_language;
    use crate::i18n::Language;

    #[test]
    fn a_change_of_language_keeps_the_filter() {
        let russian = |path| with_language(path, Language::Russian);
        assert_eq!(russian("/"), "/?lang=ru");
        assert_eq!(
            russian("/deliveries?verdict=rejected&lang=en"),
            "/deliveries?verdict=rejected&lang=ru"
        );
    }
}
