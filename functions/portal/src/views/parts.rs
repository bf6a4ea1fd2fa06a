//! The small pieces that pages are made of.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

use super::model::{Count, JobState, Reader, Tone, Verdict};
use crate::assets;
use crate::i18n::Language;

/// How much of a commit or digest is shown; the whole is in the title.
const COMMIT_CHARS: usize = 7;

pub(super) fn icon(name: &str) -> Markup {
    html! {
        svg class="icon" width="16" height="16" aria-hidden="true" focusable="false" {
            use href={ (assets::href("icons.svg")) "#" (name) } {}
        }
    }
}

pub(super) fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Quiet => "tone-quiet",
        Tone::Active => "tone-active",
        Tone::Waiting => "tone-waiting",
        Tone::Good => "tone-good",
        Tone::Warning => "tone-warning",
        Tone::Bad => "tone-bad",
    }
}

/// A status: colour, icon and word together, so that none of them carries it alone.
pub(super) fn chip(tone: Tone, symbol: &str, label: &str) -> Markup {
    html! {
        span class={ "chip " (tone_class(tone)) } { (icon(symbol)) span { (label) } }
    }
}

pub(super) fn state_chip(language: Language, state: JobState) -> Markup {
    chip(state.tone(), state.icon(), &language.key(state.label()))
}

pub(super) fn verdict_chip(language: Language, verdict: Verdict) -> Markup {
    chip(
        verdict.tone(),
        verdict.icon(),
        &language.key(verdict.label()),
    )
}

fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn utc_text(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago, or how soon. Scripts keep it right and put the reader's own time into the title.
pub(super) fn ago(reader: &Reader, at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(utc(at)) data-time="relative" title=(utc_text(at)) {
            (relative(reader.language, at - reader.now))
        }
    }
}

/// A point in time. Scripts show it in the reader's zone.
pub(super) fn moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(utc(at)) data-time="absolute" title=(utc_text(at)) { (utc_text(at)) } }
}

/// The time of day to the millisecond, for lines that follow each other closely.
pub(super) fn clock(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(utc(at)) data-time="clock" title=(utc_text(at)) { (at.format("%H:%M:%S%.3f")) }
    }
}

/// The largest whole unit of a distance in time; the same choice is made in `times.js`.
pub(super) fn relative(language: Language, distance: TimeDelta) -> String {
    let seconds = distance.num_seconds();
    let (number, past, future) = match seconds.abs() {
        0 => return language.t("time-now"),
        s @ 1..60 => (s, "s-ago", "in-s"),
        s @ 60..3_600 => (s / 60, "m-ago", "in-m"),
        s @ 3_600..86_400 => (s / 3_600, "h-ago", "in-h"),
        s => (s / 86_400, "d-ago", "in-d"),
    };
    time_word(
        language,
        if seconds < 0 { past } else { future },
        &language.number(number as f64),
    )
}

/// The words of relative times by the short names that scripts use too.
pub(super) const TIME_WORDS: [&str; 8] = [
    "s-ago", "m-ago", "h-ago", "d-ago", "in-s", "in-m", "in-h", "in-d",
];

pub(super) fn time_word(language: Language, word: &str, number: &str) -> String {
    let number = [("n", number.into())];
    match word {
        "s-ago" => language.with("time-seconds-ago", &number),
        "m-ago" => language.with("time-minutes-ago", &number),
        "h-ago" => language.with("time-hours-ago", &number),
        "d-ago" => language.with("time-days-ago", &number),
        "in-s" => language.with("time-in-seconds", &number),
        "in-m" => language.with("time-in-minutes", &number),
        "in-h" => language.with("time-in-hours", &number),
        _ => language.with("time-in-days", &number),
    }
}

/// A length of time in its one or two largest units.
pub(super) fn duration(language: Language, length: TimeDelta) -> String {
    let millis = length.num_milliseconds().max(0);
    let seconds = millis / 1_000;
    let number = |n: i64| language.number(n as f64).into();
    match seconds {
        0 => language.with("duration-milliseconds", &[("n", number(millis))]),
        1..10 => {
            let tenths = (millis as f64 / 100.0).round() / 10.0;
            language.with("duration-seconds", &[("n", language.number(tenths).into())])
        }
        10..60 => language.with("duration-seconds", &[("n", number(seconds))]),
        60..3_600 => language.with(
            "duration-minutes",
            &[("m", number(seconds / 60)), ("s", number(seconds % 60))],
        ),
        _ => language.with(
            "duration-hours",
            &[
                ("h", number(seconds / 3_600)),
                ("m", number(seconds / 60 % 60)),
            ],
        ),
    }
}

pub(super) fn bytes(language: Language, bytes: u64) -> String {
    let scaled = |unit: f64| {
        let tenths = (bytes as f64 / unit * 10.0).round() / 10.0;
        [("n", language.number(tenths).into())]
    };
    match bytes {
        0..1_024 => language.with("size-bytes", &scaled(1.0)),
        1_024..1_048_576 => language.with("size-kib", &scaled(1_024.0)),
        _ => language.with("size-mib", &scaled(1_048_576.0)),
    }
}

pub(super) fn count(language: Language, count: Count) -> String {
    match count {
        Count::Exact(number) => language.number(number as f64),
        Count::AtLeast(number) => {
            // Bounds are round: "10k+" reads faster than "10,000+".
            let number = if number >= 1_000 && number.is_multiple_of(1_000) {
                language.with(
                    "count-thousands",
                    &[("n", language.number((number / 1_000) as f64).into())],
                )
            } else {
                language.number(number as f64)
            };
            language.with("count-at-least", &[("n", number.into())])
        }
    }
}

/// A commit or digest, shortened.
pub(super) fn commit(whole: &str) -> Markup {
    let bare = whole.strip_prefix("sha256:").unwrap_or(whole);
    let end = bare
        .char_indices()
        .nth(COMMIT_CHARS)
        .map_or(bare.len(), |(at, _)| at);
    html! { code class="commit" title=(whole) { (bare[..end]) } }
}

/// A command with a button that copies it; without scripts it is text to select.
pub(super) fn command(language: Language, text: &str) -> Markup {
    html! {
        copy-text class="command" {
            code { (text) }
            button type="button" class="button small" data-copied=(language.t("copied")) hidden {
                (icon("copy")) span { (language.t("copy")) }
            }
        }
    }
}

/// A text of one line with a button that copies it.
pub(super) fn value(language: Language, text: &str) -> Markup {
    html! {
        copy-text class="command value" {
            code { (text) }
            button type="button" class="button small" data-copied=(language.t("copied")) hidden {
                (icon("copy")) span { (language.t("copy")) }
            }
        }
    }
}

/// A block of text that keeps its layout, with a button that copies it.
pub(super) fn code_block(language: Language, text: &str, label: &str) -> Markup {
    html! {
        copy-text class="code-block" {
            button type="button" class="button small" data-copied=(language.t("copied")) hidden {
                (icon("copy")) span { (language.t("copy")) }
            }
            pre tabindex="0" role="group" aria-label=(label) { code { (text) } }
        }
    }
}

pub(super) fn outside_link(url: &str) -> Markup {
    let shown = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .unwrap_or(url);
    html! {
        a class="outside" href=(url) rel="noreferrer" { (shown.trim_end_matches('/')) (icon("outside")) }
    }
}

/// What a list says when it is empty.
pub(super) fn nothing(text: &str) -> Markup {
    html! { p class="nothing" { (text) } }
}
