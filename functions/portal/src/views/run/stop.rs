//! The three stages of a request to stop.

use maud::{Markup, html};

use super::super::model::{Reader, StopEnd, StopView, Tone};
use super::super::parts::{clock, icon, tone_class};
use crate::i18n::Key;

/// Requested → heard → applied, or why not, each with its time.
pub(in crate::views) fn stop(reader: &Reader, view: &StopView) -> Markup {
    let language = reader.language;
    let stage = |tone, symbol: &str, name: Key, at: Option<Markup>, note: Option<&str>| {
        html! {
            li class=(tone_class(tone)) {
                span class="step-mark" { (icon(symbol)) }
                span class="step-name" { (language.key(name)) }
                @if let Some(at) = &at { (at) }
                @if let Some(note) = note { span class="quiet" { (note) } }
            }
        }
    };
    let (asked_at, by) = &view.requested;
    let by = by
        .as_ref()
        .map(|name| language.with("job-by-person", &[("name", name.clone().into())]));
    html! {
        ol class="steps stop" aria-label=(language.t("stop-title")) {
            (stage(Tone::Good, "check", Key("stop-requested"), Some(clock(*asked_at)), by.as_deref()))
            @match (&view.heard, &view.end) {
                (Some(at), _) => (stage(Tone::Good, "check", Key("stop-heard"), Some(clock(*at)), None)),
                (None, Some(_)) => (stage(Tone::Quiet, "minus", Key("stop-nobody"), None, None)),
                (None, None) => (stage(Tone::Waiting, "queued", Key("stop-not-heard"), None, None)),
            }
            @match &view.end {
                Some((at, StopEnd::Applied(note))) => (stage(Tone::Good, "check", Key("stop-applied"), Some(clock(*at)), note.as_deref())),
                Some((at, StopEnd::Cannot(why))) => (stage(Tone::Warning, "warning", Key("stop-cannot"), Some(clock(*at)), why.as_deref())),
                Some((at, StopEnd::TooLate)) => (stage(Tone::Quiet, "minus", Key("stop-too-late"), Some(clock(*at)), None)),
                None => (stage(Tone::Waiting, "queued", Key("stop-not-applied"), None, None)),
            }
        }
    }
}
