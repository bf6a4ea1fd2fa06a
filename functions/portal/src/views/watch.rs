//! What of a trigger is looked at by the clock besides what its hooks tell.

use chrono::TimeDelta;
use maud::{Markup, html};

use super::layout::form_token;
use super::model::{Reader, SeenRow, TriggerPage, WatchPanel, WatchShown};
use super::parts::{ago, commit, duration, icon, nothing};
use super::triggers::remove_form;

/// The part of a trigger's page.
pub(super) fn panel(reader: &Reader, trigger: &TriggerPage, view: &WatchPanel) -> Markup {
    let language = reader.language;
    let href = format!("/triggers/{}/watch", view.trigger);
    html! {
        section class="panel padded" aria-labelledby="watch" {
            div class="panel-head flush" {
                h2 id="watch" { (language.t("watch-title")) }
                @if view.watch.is_some() && trigger.may_operate {
                    form method="post" action={ (href) "/look" } {
                        (form_token(reader))
                        button class="button small" type="submit" { (icon("retry")) (language.t("watch-look")) }
                    }
                }
            }
            @match &view.watch {
                None => p class="hint" { (language.t("watch-none")) },
                Some(watch) => div id="watched" { (shown(reader, watch)) },
            }
            @if trigger.may_edit {
                div class="actions" {
                    a class="button" href={ (href) "/edit" } {
                        (icon("edit"))
                        (if view.watch.is_some() { language.t("schedule-edit") } else { language.t("watch-new") })
                    }
                    @if view.watch.is_some() { (remove_form(reader, &href, &language.t("watch-remove-text"))) }
                }
            }
        }
    }
}

fn shown(reader: &Reader, watch: &WatchShown) -> Markup {
    let language = reader.language;
    let interval = TimeDelta::seconds(watch.interval_secs.into());
    html! {
        @if let Some((problem, count)) = &watch.problem {
            div class="callout tone-bad" {
                (icon("cross"))
                div {
                    p { (language.with("watch-failed", &[("count", (*count).into())])) }
                    p lang="en" { (problem) }
                }
            }
        }
        dl class="facts" {
            dt { (language.t("watch-place")) } dd { code { (watch.place) } }
            dt { (language.t("watch-names")) } dd { @for name in &watch.names { code { (name) } " " } }
            @if let Some(credential) = &watch.credential { dt { (language.t("field-credential")) } dd { (credential) } }
            dt { (language.t("watch-interval")) } dd { (duration(language, interval)) }
            dt { (language.t("watch-looked")) }
            dd {
                @match watch.looked_at {
                    Some(at) => (ago(reader, at)),
                    None => (language.t("watch-not-yet")),
                }
            }
            dt { (language.t("fact-next-tick")) } dd { (ago(reader, watch.next_at)) }
            dt { (language.t("watch-found")) } dd { (language.number(watch.found as f64)) }
        }
        @if watch.seen.iter().any(|row| row.silent_at.is_some()) {
            div class="callout tone-warning" { (icon("warning")) p { (language.t("watch-silent")) } }
        }
        @if watch.seen.is_empty() { (nothing(&language.t("watch-seen-none"))) }
        @else {
            table class="rows" {
                caption class="unseen" { (language.t("watch-title")) }
                thead { tr {
                    th scope="col" { (language.t("column-name")) }
                    th scope="col" { (language.t("column-state")) }
                    th scope="col" { (language.t("column-told-by")) }
                } }
                tbody { @for row in &watch.seen { (seen_row(reader, row)) } }
            }
        }
    }
}

fn seen_row(reader: &Reader, row: &SeenRow) -> Markup {
    let language = reader.language;
    html! {
        tr {
            td class="lead" { code { (row.name) } }
            td data-label=(language.t("column-state")) { (commit(&row.state)) }
            td data-label=(language.t("column-told-by")) {
                span {
                    (if row.by_look { language.t("told-by-look") } else { language.t("told-by-hook") })
                    " " (ago(reader, row.at))
                    @if row.silent_at.is_some() { " · " span class="tone-bad-text" { (language.t("told-silent")) } }
                }
            }
        }
    }
}
