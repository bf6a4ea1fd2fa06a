//! The form in which a schedule is declared or changed. All of it works without scripts: with them the next ticks follow
//! what is written.

use chrono::{DateTime, Datelike as _, FixedOffset, Utc, Weekday};
use maud::{Markup, html};
use queue::schedules::{Field, Missed, zones};

use super::layout::{Head, Section, form_token, page};
use super::model::{FormProblem, Preview, Reader, RuleAs, ScheduleForm, ScheduleFormPage};
use super::parts::{ago, duration, icon};
use super::schedules::missed_words;
use super::wrong::problem_words;
use crate::i18n::{Key, Language};

/// Where a form asks when it would tick.
const PREVIEW_HREF: &str = "/schedules/preview";

/// The page.
#[must_use]
pub fn schedule_form(reader: &Reader, view: &ScheduleFormPage) -> Markup {
    let language = reader.language;
    let (title, action, back) = match &view.changes {
        None => (
            language.t("schedule-new-title"),
            "/schedules".to_owned(),
            "/schedules".to_owned(),
        ),
        Some((id, name)) => (
            language.with("schedule-edit-title", &[("name", name.as_str().into())]),
            format!("/schedules/{id}"),
            format!("/schedules/{id}"),
        ),
    };
    let head = Head {
        title: &title,
        section: Section::Queue,
        live_href: None,
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/schedules" { (language.t("schedules-title")) }
            @if let Some((id, name)) = &view.changes { a href={ "/schedules/" (id) } { (name) } }
        }
        header class="page-head" { h1 { (title) } }
        @if !view.wrong.is_empty() {
            div class="callout tone-bad" role="alert" { (icon("cross")) p { (language.t("form-wrong")) } }
        }
        form class="schedule-form" method="post" action=(action) novalidate
            hx-post=(PREVIEW_HREF) hx-trigger="input delay:300ms" hx-target="#preview" hx-swap="outerMorph" hx-sync="replace" {
            (form_token(reader))
            // The first button is the one that the Enter key presses.
            button class="unseen" type="submit" name="do" value="save" tabindex="-1" aria-hidden="true" { (language.t("schedule-save")) }
            input type="hidden" name="rule_as" value=(rule_as(view.form.rule_as));
            (what(reader, view))
            (when(reader, view))
            (preview(reader, &view.preview))
            div class="actions form-end" {
                button class="button primary" type="submit" name="do" value="save" { (icon("check")) (language.t("schedule-save")) }
                button class="button" type="submit" name="do" value="check" { (icon("clock")) (language.t("schedule-check")) }
                a class="button plain" href=(back) { (language.t("schedule-leave")) }
            }
        }
    };
    page(reader, &head, &main)
}

const fn rule_as(rule_as: RuleAs) -> &'static str {
    match rule_as {
        RuleAs::Fields => "fields",
        RuleAs::Json => "json",
    }
}

fn what(reader: &Reader, view: &ScheduleFormPage) -> Markup {
    let language = reader.language;
    let form = &view.form;
    html! {
        section class="panel padded form-what" aria-labelledby="what" {
            h2 id="what" { (language.t("form-what")) }
            div class="fields" {
                (line(reader, view, &Line::of(Field::Name, language.t("column-name"), &form.name)))
                (line(reader, view, &Line {
                    list: Some("tasks"),
                    ..Line::of(Field::Task, language.t("fact-task"), &form.task)
                }))
                datalist id="tasks" { @for task in &view.tasks { option value=(task) {} } }
                (line(reader, view, &Line {
                    hint: Some(language.t("hint-queue")),
                    ..Line::of(Field::Queue, language.t("fact-queue"), &form.queue)
                }))
                (line(reader, view, &Line {
                    hint: Some(language.t("hint-key")),
                    ..Line::of(Field::Key, language.t("fact-key"), &form.key)
                }))
                (line(reader, view, &Line {
                    hint: Some(language.t("hint-priority")), is_number: true,
                    ..Line::of(Field::Priority, language.t("field-priority"), &form.priority)
                }))
                (line(reader, view, &Line {
                    hint: Some(language.t("hint-attempts")), is_number: true,
                    ..Line::of(Field::AttemptsMax, language.t("fact-attempts"), &form.attempts_max)
                }))
                (text_area(reader, view, Field::Payload, &language.t("job-payload"), &language.t("hint-payload"), &form.payload))
            }
        }
    }
}

fn when(reader: &Reader, view: &ScheduleFormPage) -> Markup {
    let language = reader.language;
    let form = &view.form;
    let choice = |choice: RuleAs, label: String| {
        html! {
            button type="submit" name="do" value=(rule_as(choice)) aria-pressed=(form.rule_as == choice) { (label) }
        }
    };
    html! {
        section class="panel padded form-when" aria-labelledby="when" {
            div class="panel-head flush" {
                h2 id="when" { (language.t("form-when")) }
                div class="segments" role="group" aria-label=(language.t("rule-as")) {
                    (choice(RuleAs::Fields, language.t("rule-as-fields")))
                    (choice(RuleAs::Json, language.t("rule-as-json")))
                }
            }
            div class="fields" {
                @match form.rule_as {
                    RuleAs::Fields => (rule_fields(reader, view)),
                    RuleAs::Json => {
                        (text_area(reader, view, Field::Rule, &language.t("fact-rule"), &language.t("hint-rule-json"), &form.rule_json))
                        // What was written in fields is not lost by looking at the other way.
                        input type="hidden" name="rule" value=(form.rule);
                        input type="hidden" name="start" value=(form.start);
                        input type="hidden" name="end" value=(form.end);
                    },
                }
                (line(reader, view, &Line {
                    hint: Some(language.t("hint-zone")), list: Some("zones"),
                    ..Line::of(Field::TimeZone, language.t("fact-zone"), &form.time_zone)
                }))
                datalist id="zones" { @for zone in zones() { option value=(zone) {} } }
                div class="field" {
                    label for="missed" { (language.t("fact-missed")) }
                    select id="missed" name="missed" {
                        @for missed in [Missed::Last, Missed::All, Missed::Skip] {
                            option value=(missed.as_str()) selected[form.missed == missed] { (language.key(missed_words(missed))) }
                        }
                    }
                }
                (line(reader, view, &Line {
                    hint: Some(language.t("hint-jitter")), is_number: true,
                    ..Line::of(Field::JitterSecs, language.t("field-jitter-secs"), &form.jitter_secs)
                }))
            }
        }
    }
}

fn rule_fields(reader: &Reader, view: &ScheduleFormPage) -> Markup {
    let language = reader.language;
    let ScheduleForm {
        rule,
        start,
        end,
        rule_json,
        ..
    } = &view.form;
    html! {
        (line(reader, view, &Line {
            hint: Some(language.t("hint-rule")), is_code: true,
            ..Line::of(Field::Rule, language.t("fact-rule"), rule)
        }))
        (line(reader, view, &Line {
            hint: Some(language.t("hint-edge")),
            ..Line::of(Field::Start, language.t("field-start"), start)
        }))
        (line(reader, view, &Line {
            hint: Some(language.t("hint-edge")),
            ..Line::of(Field::End, language.t("field-end"), end)
        }))
        input type="hidden" name="rule_json" value=(rule_json);
    }
}

/// A field of one line.
struct Line<'a> {
    field: Field,
    label: String,
    text: &'a str,
    hint: Option<String>,
    /// The list of what may be chosen.
    list: Option<&'static str>,
    is_number: bool,
    is_code: bool,
}

impl<'a> Line<'a> {
    fn of(field: Field, label: String, text: &'a str) -> Self {
        Self {
            field,
            label,
            text,
            hint: None,
            list: None,
            is_number: false,
            is_code: false,
        }
    }
}

fn problem(view: &ScheduleFormPage, field: Field) -> Option<&FormProblem> {
    let wrong = view.wrong.iter().find(|wrong| wrong.field == field)?;
    Some(&wrong.problem)
}

/// Whether the reader is taken to this field first.
fn is_first_wrong(view: &ScheduleFormPage, field: Field) -> bool {
    view.wrong.first().is_some_and(|wrong| wrong.field == field)
}

fn line(reader: &Reader, view: &ScheduleFormPage, line: &Line<'_>) -> Markup {
    let name = line.field.as_str();
    let hint = line.hint.as_deref();
    let wrong = problem(view, line.field);
    html! {
        div class="field" {
            label for=(name) { (line.label) }
            input id=(name) name=(name) type="text" value=(line.text) list=[line.list] autocomplete="off" spellcheck="false"
                class=[line.is_code.then_some("code")] inputmode=[line.is_number.then_some("numeric")]
                aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described(name, hint, wrong)]
                autofocus[is_first_wrong(view, line.field)];
            (below(reader, name, hint, wrong))
        }
    }
}

fn text_area(
    reader: &Reader,
    view: &ScheduleFormPage,
    field: Field,
    label: &str,
    hint: &str,
    text: &str,
) -> Markup {
    // The rule has two names: a text in one, JSON in the other.
    let name = match field {
        Field::Rule => "rule_json",
        other => other.as_str(),
    };
    let wrong = problem(view, field);
    html! {
        div class="field wide" {
            label for=(name) { (label) }
            textarea id=(name) name=(name) class="code" rows="7" autocomplete="off" spellcheck="false"
                aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described(name, Some(hint), wrong)]
                autofocus[is_first_wrong(view, field)] { (text) }
            (below(reader, name, Some(hint), wrong))
        }
    }
}

fn hint_id(name: &str) -> String {
    format!("{name}-hint")
}

fn error_id(name: &str) -> String {
    format!("{name}-error")
}

/// What a field is described by: what is wrong first.
fn described(name: &str, hint: Option<&str>, wrong: Option<&FormProblem>) -> Option<String> {
    match (wrong, hint) {
        (Some(_), _) => Some(error_id(name)),
        (None, Some(_)) => Some(hint_id(name)),
        (None, None) => None,
    }
}

fn below(reader: &Reader, name: &str, hint: Option<&str>, wrong: Option<&FormProblem>) -> Markup {
    html! {
        @if let Some(problem) = wrong {
            p class="field-error" id=(error_id(name)) { (icon("cross")) span { (problem_words(reader.language, problem)) } }
        }
        @if let Some(hint) = hint { p class="hint" id=(hint_id(name)) { (hint) } }
    }
}

/// The part with the id `preview`, which scripts replace as somebody writes.
#[must_use]
pub fn preview(reader: &Reader, preview: &Preview) -> Markup {
    let language = reader.language;
    html! {
        section id="preview" class="panel padded form-preview" aria-labelledby="preview-title" aria-live="polite" {
            h2 id="preview-title" { (language.t("preview-title")) }
            @match preview {
                Preview::Empty => p class="quiet" { (language.t("preview-empty")) },
                Preview::Wrong(problem) => p class="field-error" { (icon("cross")) span { (problem_words(language, problem)) } },
                Preview::Ticks { zone, ticks, shortest } => {
                    p class="quiet" { (language.with("preview-zone", &[("zone", zone.as_str().into())])) }
                    ol class="ticks" { @for tick in ticks { (tick_line(reader, *tick)) } }
                    @if let Some(length) = shortest {
                        p class="hint" { (language.with("preview-shortest", &[("length", duration(language, *length).into())])) }
                    }
                },
            }
        }
    }
}

fn tick_line(reader: &Reader, tick: DateTime<FixedOffset>) -> Markup {
    let day = weekday(reader.language, tick.weekday());
    html! {
        li {
            span class="quiet" { (day) }
            " "
            span class="tick" { (tick.format("%Y-%m-%d %H:%M:%S")) }
            " "
            span class="quiet" { (tick.format("%:z")) }
            " "
            span class="quiet end" { (ago(reader, tick.with_timezone(&Utc))) }
        }
    }
}

fn weekday(language: Language, day: Weekday) -> String {
    language.key(match day {
        Weekday::Mon => Key("day-monday"),
        Weekday::Tue => Key("day-tuesday"),
        Weekday::Wed => Key("day-wednesday"),
        Weekday::Thu => Key("day-thursday"),
        Weekday::Fri => Key("day-friday"),
        Weekday::Sat => Key("day-saturday"),
        Weekday::Sun => Key("day-sunday"),
    })
}
