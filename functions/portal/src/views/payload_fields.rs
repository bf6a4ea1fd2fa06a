//! The fields of a payload, by its JSON Schema.

use maud::{Markup, html};

use super::model::Reader;
use super::parts::icon;
use super::trigger_form::{Area, area};
use crate::payload_form::{Field, Shape, Written};

/// A parser drops the first line break of a text area: one of ours is there for it.
const FIRST_BREAK: &str = "\n";

/// A payload in a form.
pub(super) struct PayloadFields<'a> {
    /// The task whose payload it is.
    pub(super) task: &'a str,
    pub(super) fields: &'a [Field],
    pub(super) written: &'a Written,
    /// The name of the text with what no field holds.
    pub(super) rest: &'a str,
    /// Name and value of the button that shows the form again, with one more row.
    pub(super) again: (&'a str, &'a str),
}

pub(super) fn payload_fields(reader: &Reader, form: &PayloadFields<'_>) -> Markup {
    let language = reader.language;
    let rest = &form.written.rest;
    html! {
        div class="fields" {
            @for field in form.fields { (one_field(reader, field, form)) }
            details class="field wide more" open[!rest.is_empty()] {
                summary { (language.t("run-rest")) }
                (area(&Area { label: language.t("run-rest"), hint: Some(language.t("run-rest-hint")), rows: 4, ..Area::of(form.rest, rest) }))
            }
        }
    }
}

fn one_field(reader: &Reader, field: &Field, form: &PayloadFields<'_>) -> Markup {
    let language = reader.language;
    let written = form.written;
    let name = format!("p.{}", field.path);
    let text = written.texts.get(&field.path).map_or("", String::as_str);
    let class = match field.shape {
        Shape::Flag => "field flag",
        Shape::Map | Shape::Json => "field wide",
        Shape::Text | Shape::Number | Shape::Choice(_) => "field",
    };
    let shown = field.default.as_ref().map(ToString::to_string);
    let shown = shown.as_deref().map(|default| default.trim_matches('"'));
    let own_title = language.payload(form.task, &field.path);
    let own_hint = language.payload(form.task, &format!("{}-hint", field.path));
    // What has no words in the reader's language is in the schema's.
    let lang = |own: &Option<String>| own.is_none().then_some("en");
    let title_lang = lang(&own_title);
    let hint_lang = lang(&own_hint);
    let title = own_title.as_ref().unwrap_or(&field.title);
    let hint = own_hint.as_ref().or(field.description.as_ref());
    html! {
        div class=(class) {
            @match &field.shape {
                Shape::Map => {
                    fieldset {
                        legend lang=[title_lang] { (title) }
                        @for (place, row) in written.rows.get(&field.path).into_iter().flatten().enumerate() {
                            div class="map-row" {
                                input type="text" name={ "n." (place) "." (field.path) } value=(row.name) aria-label={ (title) " " (place + 1) } autocomplete="off" spellcheck="false";
                                textarea name={ "v." (place) "." (field.path) } rows=(row.value.lines().count().clamp(1, 16)) aria-label={ (title) " " (place + 1) } spellcheck="false" { (FIRST_BREAK) (row.value) }
                            }
                        }
                        button class="button small" type="submit" name=(form.again.0) value=(form.again.1) { (icon("plus")) (language.t("run-more-rows")) }
                    }
                },
                Shape::Flag => {
                    label {
                        input type="checkbox" name=(name) value="true" checked[text == "true"];
                        span lang=[title_lang] { (title) }
                    }
                },
                Shape::Choice(values) => {
                    label for=(name) lang=[title_lang] { (title) }
                    select id=(name) name=(name) {
                        @if !field.required { option value="" { (shown.unwrap_or("–")) } }
                        @for value in values { option value=(value) selected[value == text] { (value) } }
                    }
                },
                Shape::Json => {
                    label for=(name) lang=[title_lang] { (title) }
                    textarea id=(name) name=(name) rows=(text.lines().count().clamp(2, 16)) spellcheck="false" placeholder="{}" { (FIRST_BREAK) (text) }
                },
                Shape::Text | Shape::Number => {
                    label for=(name) lang=[title_lang] { (title) }
                    input id=(name) type="text" name=(name) value=(text) placeholder=[shown] inputmode=[(field.shape == Shape::Number).then_some("numeric")]
                        required[field.required] autocomplete="off" spellcheck="false";
                },
            }
            @if let Some(hint) = hint { p class="hint" lang=[hint_lang] { (hint) } }
        }
    }
}
