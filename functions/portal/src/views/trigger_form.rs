//! The forms of triggers and bindings: fields of the kind, or all of it as JSON. They work without scripts.

use std::collections::BTreeMap;

use maud::{Markup, html};
use model::TriggerKind;
use triggers::{Fault, Why};

use super::layout::{Head, Section, form_token, page};
use super::model::{
    BindingFormPage, ConfigAs, FormFault, NEW_WORKLOAD, PAYLOAD_FIELDS, PAYLOAD_JSON, Reader,
    SchemeAs, TriggerFormPage,
};
use super::parts::{code_block, icon};
use super::payload_fields::{PayloadFields, payload_fields};
use super::triggers::kind_label;
use crate::config_form::{Field, Shape, fields};
use crate::i18n::{Key, Language};

/// A trigger's form.
#[must_use]
pub fn trigger_form(reader: &Reader, view: &TriggerFormPage) -> Markup {
    let language = reader.language;
    let (title, action) = match &view.changes {
        None => (language.t("trigger-new-title"), "/triggers".to_owned()),
        Some((id, name)) => (
            language.with("trigger-edit-title", &[("name", name.as_str().into())]),
            format!("/triggers/{id}"),
        ),
    };
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let form = &view.form;
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/triggers" { (language.t("triggers-title")) }
            @if let Some((id, name)) = &view.changes { a href={ "/triggers/" (id) } { (name) } }
        }
        header class="page-head" { h1 { (title) } }
        (faults(language, &view.wrong))
        @if view.changes.is_none() { (kinds(reader, view.kind)) }
        form class="trigger-form" method="post" action=(action) novalidate {
            (form_token(reader))
            (first_button(language))
            input type="hidden" name="kind" value=(view.kind.as_str());
            section class="panel padded" aria-labelledby="what" {
                h2 id="what" { (language.key(kind_label(view.kind))) }
                div class="fields" {
                    (line(&Line { label: language.t("column-name"), ..Line::of("name", &form.name) }))
                    (line(&Line {
                        label: language.t("field-condition"), hint: Some(language.t("hint-condition")), is_code: true,
                        ..Line::of("condition", &form.condition)
                    }))
                    @if view.kind.takes_webhooks() { (scheme(language, form.scheme_as, &form.scheme_json)) }
                }
            }
            (filter(reader, &Filter {
                known: fields(view.kind), picks: &[], title: language.t("trigger-filter"), lede: None,
                config_as: form.config_as, fields: &form.fields, rest: &form.rest, json: &form.config_json,
            }))
            details class="panel padded more" {
                summary { (language.t("filter-sample")) }
                (code_block(language, &view.sample, &language.t("filter-sample")))
            }
            div class="actions form-end" {
                button class="button primary" type="submit" name="do" value="save" { (icon("check")) (language.t("schedule-save")) }
                a class="button plain" href=(action) { (language.t("schedule-leave")) }
            }
        }
    };
    page(reader, &head, &main)
}

fn kinds(reader: &Reader, chosen: TriggerKind) -> Markup {
    let language = reader.language;
    html! {
        nav class="segments kinds" aria-label=(language.t("trigger-kind")) {
            @for kind in TriggerKind::ALL {
                a href={ "/triggers/new?kind=" (kind.as_str()) } aria-current=[(kind == chosen).then_some("true")] {
                    (language.key(kind_label(kind)))
                }
            }
        }
    }
}

fn scheme(language: Language, chosen: SchemeAs, json: &str) -> Markup {
    let label = |scheme: SchemeAs| {
        language.key(match scheme {
            SchemeAs::Usual => Key("scheme-usual"),
            SchemeAs::Path => Key("scheme-path"),
            SchemeAs::Standard => Key("scheme-standard"),
            SchemeAs::Json => Key("scheme-json"),
        })
    };
    html! {
        div class="field" {
            label for="scheme_as" { (language.t("fact-scheme")) }
            select id="scheme_as" name="scheme_as" {
                @for scheme in SchemeAs::ALL {
                    option value=(scheme.code()) selected[scheme == chosen] { (label(scheme)) }
                }
            }
        }
        (line(&Line {
            label: language.t("scheme-json"), hint: Some(language.t("hint-scheme")), is_code: true,
            ..Line::of("scheme_json", json)
        }))
    }
}

/// A binding's form.
#[must_use]
pub fn binding_form(reader: &Reader, view: &BindingFormPage) -> Markup {
    let language = reader.language;
    let (trigger, name) = &view.trigger;
    let (title, action) = match view.changes {
        None => (
            language.t("binding-new-title"),
            format!("/triggers/{trigger}/bindings"),
        ),
        Some(id) => (language.t("binding-edit-title"), format!("/bindings/{id}")),
    };
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let form = &view.form;
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/triggers" { (language.t("triggers-title")) }
            a href={ "/triggers/" (trigger) } { (name) }
        }
        header class="page-head" { h1 { (title) } }
        (faults(language, &view.wrong))
        form class="trigger-form" method="post" action=(action) novalidate {
            (form_token(reader))
            (first_button(language))
            section class="panel padded" aria-labelledby="what" {
                h2 id="what" { (language.t("column-starts")) }
                (starts(reader, view))
            }
            @if !matches!(view.kind, TriggerKind::Manual | TriggerKind::Schedule) {
                (filter(reader, &Filter {
                    known: fields(view.kind), picks: &[], title: language.t("column-own-filter"), lede: Some(language.t("binding-filter-lede")),
                    config_as: form.config_as, fields: &form.fields, rest: &form.rest, json: &form.config_json,
                }))
                details class="panel padded more" {
                    summary { (language.t("binding-trigger-filter")) }
                    (code_block(language, &view.config, &language.t("trigger-filter")))
                }
            }
            section class="panel padded" aria-labelledby="beside" {
                h2 id="beside" { (language.t("binding-beside")) }
                div class="fields" {
                    (line(&Line {
                        label: language.t("field-condition"), hint: Some(language.t("hint-condition")), is_code: true,
                        ..Line::of("condition", &form.condition)
                    }))
                    (flag("enabled", &language.t("binding-enabled"), None, !form.enabled.is_empty()))
                }
            }
            div class="actions form-end" {
                button class="button primary" type="submit" name="do" value="save" { (icon("check")) (language.t("schedule-save")) }
                a class="button plain" href={ "/triggers/" (trigger) } { (language.t("schedule-leave")) }
            }
        }
    };
    page(reader, &head, &main)
}

/// What it starts. Of a binding that is there that stays: a workload that workload, a task a task.
fn starts(reader: &Reader, view: &BindingFormPage) -> Markup {
    let language = reader.language;
    let form = &view.form;
    let is_new = view.changes.is_none();
    let is_task = form.workload.is_empty();
    let known = view
        .workloads
        .iter()
        .find(|(id, _)| *id == form.workload)
        .map_or(&form.workload, |(_, name)| name);
    html! {
        div class="fields" {
            @if is_new {
                div class="field" {
                    label for="workload" { (language.t("field-workload")) }
                    select id="workload" name="workload" aria-describedby="workload-hint" {
                        @for (id, name) in &view.workloads {
                            option value=(id) selected[*id == form.workload] { (name) }
                        }
                        option value=(NEW_WORKLOAD) selected[form.workload == NEW_WORKLOAD] { (language.t("binding-new-workload")) }
                        option value="" selected[is_task] { (language.t("binding-a-task")) }
                    }
                    p class="hint" id="workload-hint" { (language.t("hint-workload")) }
                }
            } @else {
                input type="hidden" name="workload" value=(form.workload);
                @if !is_task {
                    div class="field" {
                        p class="hint" { (language.t("field-workload")) }
                        p { strong { (known) } }
                        p class="hint" { (language.t("binding-stays")) }
                    }
                }
            }
            @if is_new || !is_task {
                (area(&Area {
                    label: language.t("field-overrides"), hint: Some(language.t("hint-overrides")), rows: 4,
                    ..Area::of("overrides", &form.overrides)
                }))
            }
        }
        @if is_new {
            details class="more" open[form.workload == NEW_WORKLOAD] {
                summary { (language.t("binding-new-workload")) }
                div class="fields" { (new_workload(language, view)) }
            }
        }
        @if is_new || is_task {
            details class="more" open[is_task] {
                summary { (language.t("binding-a-task")) }
                div class="fields" { (task_fields(reader, view)) }
            }
        }
    }
}

fn new_workload(language: Language, view: &BindingFormPage) -> Markup {
    let form = &view.form;
    html! {
        (line(&Line {
            label: language.t("column-name"), hint: Some(language.t("hint-name")),
            ..Line::of("new_name", &form.new_name)
        }))
        (line(&Line {
            label: language.t("field-host"), hint: Some(language.t("hint-host")), is_code: true,
            ..Line::of("new_host", &form.new_host)
        }))
        (area(&Area {
            label: language.t("field-new-config"), hint: Some(language.t("hint-new-config")), rows: 6,
            ..Area::of("new_config", &form.new_config)
        }))
    }
}

fn task_fields(reader: &Reader, view: &BindingFormPage) -> Markup {
    let language = reader.language;
    let form = &view.form;
    html! {
        (line(&Line {
            label: language.t("fact-task"), hint: Some(language.t("hint-task")),
            ..Line::of("task", &form.task)
        }))
        (task_payload(reader, view))
        (line(&Line {
            label: language.t("fact-queue"), hint: Some(language.t("hint-task-queue")),
            ..Line::of("queue_name", &form.queue_name)
        }))
        (line(&Line {
            label: language.t("fact-key"), hint: Some(language.t("hint-task-key")),
            ..Line::of("key", &form.key)
        }))
        (line(&Line {
            label: language.t("field-priority"), hint: Some(language.t("hint-priority")), is_number: true,
            ..Line::of("priority", &form.priority)
        }))
    }
}

/// The payload: in the fields of a kind of run, or as JSON; and what fills in a sample.
fn task_payload(reader: &Reader, view: &BindingFormPage) -> Markup {
    let language = reader.language;
    let form = &view.form;
    let has_fields = view.kinds.iter().any(|(name, _)| *name == form.task);
    html! {
        fieldset class="field wide task-payload" {
            legend { (language.t("field-payload-template")) }
            div class="actions" role="group" aria-label=(language.t("payload-samples")) {
                span class="hint" { (language.t("payload-samples")) }
                @for (name, title) in &view.kinds {
                    button class="button small" type="submit" name="payload_do" value=(name) { (language.run_kind(name, title)) }
                }
                @if view.payload.is_some() {
                    button class="button small" type="submit" name="payload_do" value=(PAYLOAD_JSON) { (language.t("config-as-json")) }
                } @else if has_fields {
                    button class="button small" type="submit" name="payload_do" value=(PAYLOAD_FIELDS) { (language.t("rule-as-fields")) }
                }
            }
            input type="hidden" name="payload_of" value=(form.payload_of);
            @match &view.payload {
                Some((fields, written)) => {
                    p class="hint" { (language.t("hint-payload-fields")) }
                    (payload_fields(reader, &PayloadFields { task: &form.payload_of, fields, written, rest: "payload", again: ("payload_do", PAYLOAD_FIELDS) }))
                },
                None => (area(&Area {
                    label: language.t("job-payload"), hint: Some(language.t("hint-payload-template")), rows: 8,
                    ..Area::of("payload", &form.payload)
                })),
            }
        }
    }
}

/// The first button is the one that the Enter key presses.
pub(super) fn first_button(language: Language) -> Markup {
    html! {
        button class="unseen" type="submit" name="do" value="save" tabindex="-1" aria-hidden="true" { (language.t("schedule-save")) }
    }
}

/// What is wrong, above a form.
pub(super) fn faults(language: Language, wrong: &[FormFault]) -> Markup {
    html! {
        @if !wrong.is_empty() {
            div class="callout tone-bad" role="alert" {
                (icon("cross"))
                div {
                    p { (language.t("form-not-saved")) }
                    ul class="faults" { @for fault in wrong { li { (fault_words(language, fault)) } } }
                }
            }
        }
    }
}

fn fault_words(language: Language, fault: &FormFault) -> Markup {
    html! {
        @match fault {
            FormFault::NoName => (language.t("fault-no-name")),
            FormFault::Taken => (language.t("fault-taken")),
            FormFault::NoJson { place, why } => {
                (language.with("fault-no-json", &[("place", place.as_str().into()), ("why", why.as_str().into())]))
            },
            FormFault::NoNumber(title) => (language.with("fault-no-number", &[("title", title.as_str().into())])),
            FormFault::Refused(fault) => (refused(language, fault)),
            FormFault::Said(text) => span lang="en" { (text) },
        }
    }
}

/// What is refused, with its place. What a library says of a text stays in its own words, behind ours.
fn refused(language: Language, fault: &Fault) -> Markup {
    let number = |number: usize| language.number(number as f64).into();
    let own = |words: String, said: &str| {
        html! { (words) " " span lang="en" { (said) } }
    };
    let words = match &fault.why {
        Why::TooLarge { most, bytes } => html! {
            (language.with("fault-too-large", &[("most", number(*most)), ("bytes", number(*bytes))]))
        },
        Why::Length { most } => {
            html! { (language.with("fault-length", &[("most", number(*most))])) }
        }
        Why::Name { most } => html! { (language.with("fault-name", &[("most", number(*most))])) },
        Why::TaskName { most } => {
            html! { (language.with("fault-task-name", &[("most", number(*most))])) }
        }
        Why::NoKey { key, near } => html! {
            (language.with("fault-no-key", &[("key", key.as_str().into()), ("near", near.as_str().into())]))
        },
        Why::NothingToOverride(kind) => html! {
            (language.with("fault-nothing-to-override", &[("kind", language.key(kind_label(*kind)).into())]))
        },
        Why::NoSenders(kind) => html! {
            (language.with("fault-no-senders", &[("kind", language.key(kind_label(*kind)).into())]))
        },
        Why::OfWorkloads { task, source_kind } => html! {
            (language.with("fault-of-workloads", &[("task", task.as_str().into()), ("kind", source_kind.as_str().into())]))
        },
        Why::OnlyAskedFor { task } => html! {
            (language.with("fault-only-asked-for", &[("task", task.as_str().into())]))
        },
        Why::NoCondition(said) => own(language.t("fault-no-condition"), said),
        Why::Expression(said) => own(language.t("fault-expression"), said),
        Why::Template(said) => own(language.t("fault-template"), said),
        Why::Pattern(said) => own(language.t("fault-pattern"), said),
        Why::Value(said) => own(language.t("fault-value"), said),
        Why::Said(said) => html! { span lang="en" { (said) } },
    };
    html! { @if !fault.place.is_empty() { code { (fault.place) } ": " } (words) }
}

/// An object in fields or as JSON.
pub(super) struct Filter<'a> {
    pub(super) known: &'static [Field],
    /// What there is to choose from, by key: values and what they are called.
    pub(super) picks: &'a [(&'static str, Vec<(String, String)>)],
    pub(super) title: String,
    pub(super) lede: Option<String>,
    pub(super) config_as: ConfigAs,
    pub(super) fields: &'a BTreeMap<String, String>,
    pub(super) rest: &'a str,
    pub(super) json: &'a str,
}

pub(super) fn filter(reader: &Reader, filter: &Filter<'_>) -> Markup {
    let language = reader.language;
    let choice = |choice: ConfigAs, label: String| {
        html! {
            button type="submit" name="do" value=(choice.code()) aria-pressed=(if choice == filter.config_as { "true" } else { "false" }) { (label) }
        }
    };
    let text = |field: &Field| {
        filter
            .fields
            .get(&format!("config.{}", field.key))
            .map_or("", String::as_str)
    };
    html! {
        section class="panel padded" aria-labelledby="config" {
            div class="panel-head flush" {
                h2 id="config" { (filter.title) }
                div class="segments" role="group" aria-label=(language.t("config-as")) {
                    (choice(ConfigAs::Fields, language.t("rule-as-fields")))
                    (choice(ConfigAs::Json, language.t("config-as-json")))
                }
            }
            @if let Some(lede) = &filter.lede { p class="hint" { (lede) } }
            input type="hidden" name="config_as" value=(filter.config_as.code());
            div class="fields" {
                @match filter.config_as {
                    ConfigAs::Fields => {
                        @for field in filter.known { (kind_field(language, field, text(field), filter.picks)) }
                        (area(&Area {
                            label: language.t("filter-rest"), hint: Some(language.t("hint-filter-rest")), rows: 3,
                            ..Area::of("rest", filter.rest)
                        }))
                    },
                    ConfigAs::Json => (area(&Area {
                        label: language.t("config-as-json"), hint: Some(language.t("hint-config-json")), rows: 12,
                        ..Area::of("config_json", filter.json)
                    })),
                }
            }
        }
    }
}

fn kind_field(
    language: Language,
    field: &Field,
    text: &str,
    picks: &[(&'static str, Vec<(String, String)>)],
) -> Markup {
    let name = format!("config.{}", field.key);
    let (label, hint) = (language.key(field.label), Some(language.key(field.hint)));
    html! {
        @match field.shape {
            Shape::Text | Shape::Condition => (line(&Line { label, hint, is_code: true, ..Line::of(&name, text) })),
            Shape::Lines | Shape::Pairs => (area(&Area { label, hint, rows: 3, is_narrow: true, ..Area::of(&name, text) })),
            Shape::Flag | Shape::On => (flag(&name, &label, hint.as_deref(), !text.is_empty())),
            Shape::Number => (line(&Line { label, hint, is_number: true, ..Line::of(&name, text) })),
            Shape::Choice(choices) => {
                @let offered: Vec<_> = choices.iter().map(|(value, label)| ((*value).to_owned(), language.key(*label))).collect();
                (select(&Select { name: &name, label: &label, hint: hint.as_deref(), text, none: None, offered: &offered }))
            },
            Shape::Picked => {
                @let offered = picks.iter().find(|(key, _)| *key == field.key).map_or(&[][..], |(_, offered)| offered);
                (select(&Select {
                    name: &name, label: &label, hint: hint.as_deref(), text, none: Some(language.t("picked-none")), offered,
                }))
            },
        }
    }
}

/// A field in which one is chosen.
pub(super) struct Select<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) hint: Option<&'a str>,
    pub(super) text: &'a str,
    /// What it says where nothing is chosen, if that may be.
    pub(super) none: Option<String>,
    pub(super) offered: &'a [(String, String)],
}

pub(super) fn select(select: &Select<'_>) -> Markup {
    let hint_id = format!("{}-hint", select.name);
    let is_offered = select.offered.iter().any(|(value, _)| value == select.text);
    html! {
        div class="field" {
            label for=(select.name) { (select.label) }
            select id=(select.name) name=(select.name) aria-describedby=[select.hint.map(|_| &hint_id)] {
                @if let Some(none) = &select.none { option value="" selected[select.text.is_empty()] { (none) } }
                // What is there already stays what it is.
                @if !is_offered && !select.text.is_empty() { option value=(select.text) selected { (select.text) } }
                @for (value, label) in select.offered {
                    option value=(value) selected[value == select.text] { (label) }
                }
            }
            @if let Some(hint) = select.hint { p class="hint" id=(hint_id) { (hint) } }
        }
    }
}

/// A field of one line.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) label: String,
    pub(super) hint: Option<String>,
    pub(super) is_number: bool,
    pub(super) is_code: bool,
}

impl<'a> Line<'a> {
    pub(super) const fn of(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            label: String::new(),
            hint: None,
            is_number: false,
            is_code: false,
        }
    }
}

pub(super) fn line(line: &Line<'_>) -> Markup {
    let hint_id = format!("{}-hint", line.name);
    html! {
        div class="field" {
            label for=(line.name) { (line.label) }
            input id=(line.name) name=(line.name) type="text" value=(line.text) autocomplete="off" spellcheck="false"
                class=[line.is_code.then_some("code")] inputmode=[line.is_number.then_some("numeric")]
                aria-describedby=[line.hint.as_ref().map(|_| &hint_id)];
            @if let Some(hint) = &line.hint { p class="hint" id=(hint_id) { (hint) } }
        }
    }
}

/// A field of many lines.
pub(super) struct Area<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) label: String,
    pub(super) hint: Option<String>,
    pub(super) rows: u8,
    pub(super) is_narrow: bool,
}

impl<'a> Area<'a> {
    pub(super) const fn of(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            label: String::new(),
            hint: None,
            rows: 3,
            is_narrow: false,
        }
    }
}

pub(super) fn area(area: &Area<'_>) -> Markup {
    let hint_id = format!("{}-hint", area.name);
    html! {
        div class=(if area.is_narrow { "field" } else { "field wide" }) {
            label for=(area.name) { (area.label) }
            textarea id=(area.name) name=(area.name) class="code" rows=(area.rows) autocomplete="off" spellcheck="false"
                aria-describedby=[area.hint.as_ref().map(|_| &hint_id)] { (area.text) }
            @if let Some(hint) = &area.hint { p class="hint" id=(hint_id) { (hint) } }
        }
    }
}

pub(super) fn flag(name: &str, label: &str, hint: Option<&str>, on: bool) -> Markup {
    html! {
        div class="field flag" {
            label {
                input type="checkbox" name=(name) value="on" checked[on];
                span { (label) }
            }
            @if let Some(hint) = hint { p class="hint" { (hint) } }
        }
    }
}
