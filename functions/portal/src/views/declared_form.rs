//! The form of what people declare: fields, or all of it as JSON. It works without scripts.

use log_rules::Trial;
use maud::{Markup, html};
use model::TriggerKind;

use super::layout::{Head, Section, form_token, page};
use super::model::{Declared, DeclaredFormPage, Reader};
use super::parts::icon;
use super::trigger_form::{Area, Filter, area, faults, filter, first_button};
use crate::config_form::{Field, Shape};
use crate::i18n::{Key, Language};

const SEVERITIES: &[(&str, Key)] = &[
    ("error", Key("severity-error")),
    ("warning", Key("severity-warning")),
    ("info", Key("severity-info")),
    ("debug", Key("severity-debug")),
];
const LEAST_SEVERITIES: &[(&str, Key)] = &[
    ("", Key("severity-any")),
    ("error", Key("severity-error")),
    ("warning", Key("severity-warning")),
    ("info", Key("severity-info")),
    ("debug", Key("severity-debug")),
];
const FORMATS: &[(&str, Key)] = &[
    ("standard", Key("format-standard")),
    ("slack", Key("format-slack")),
];

const fn field(key: &'static str, shape: Shape, label: Key, hint: Key) -> Field {
    Field {
        key,
        shape,
        label,
        hint,
    }
}

const NAME: Field = field("name", Shape::Text, Key("column-name"), Key("hint-name"));
const ENABLED: Field = field(
    "enabled",
    Shape::On,
    Key("binding-enabled"),
    Key("hint-enabled"),
);

const PATTERN: Field = field(
    "pattern",
    Shape::Text,
    Key("field-pattern"),
    Key("hint-pattern"),
);
const SEVERITY: Field = field(
    "severity",
    Shape::Choice(SEVERITIES),
    Key("field-severity"),
    Key("hint-rule-severity"),
);
const STREAMS: Field = field(
    "streams",
    Shape::Lines,
    Key("field-streams"),
    Key("hint-streams"),
);
const COOLDOWN: Field = field(
    "cooldown_secs",
    Shape::Number,
    Key("field-cooldown"),
    Key("hint-cooldown"),
);
const WORKLOAD: Field = field(
    "workload",
    Shape::Picked,
    Key("field-rule-workload"),
    Key("hint-rule-workload"),
);
const FIRES: Field = field(
    "trigger",
    Shape::Picked,
    Key("field-rule-trigger"),
    Key("hint-rule-trigger"),
);

const LOG_RULE: &[Field] = &[
    NAME, PATTERN, SEVERITY, STREAMS, COOLDOWN, WORKLOAD, FIRES, ENABLED,
];
/// Of one that is there: its workload stays.
const KNOWN_LOG_RULE: &[Field] = &[NAME, PATTERN, SEVERITY, STREAMS, COOLDOWN, FIRES, ENABLED];

const ENDPOINT: &[Field] = &[
    NAME,
    field(
        "url",
        Shape::Text,
        Key("field-url"),
        Key("hint-endpoint-url"),
    ),
    field(
        "format",
        Shape::Choice(FORMATS),
        Key("field-format"),
        Key("hint-format"),
    ),
    ENABLED,
];

const NOTIFICATION_RULE: &[Field] = &[
    NAME,
    field(
        "endpoint",
        Shape::Picked,
        Key("field-endpoint"),
        Key("hint-endpoint"),
    ),
    field("types", Shape::Lines, Key("field-types"), Key("hint-types")),
    field(
        "severity",
        Shape::Choice(LEAST_SEVERITIES),
        Key("field-least-severity"),
        Key("hint-least-severity"),
    ),
    field(
        "source",
        Shape::Text,
        Key("field-source"),
        Key("hint-source"),
    ),
    field(
        "contains",
        Shape::Text,
        Key("field-contains"),
        Key("hint-contains"),
    ),
    field(
        "condition",
        Shape::Condition,
        Key("field-condition"),
        Key("hint-condition"),
    ),
    ENABLED,
];

const CREDENTIAL: Field = field(
    "credential",
    Shape::Picked,
    Key("field-credential"),
    Key("hint-credential"),
);
const INTERVAL: Field = field(
    "interval_secs",
    Shape::Number,
    Key("field-interval"),
    Key("hint-interval"),
);
const REPORT_FIRST: Field = field(
    "report_first",
    Shape::Flag,
    Key("field-report-first"),
    Key("hint-report-first"),
);

const WATCH_GIT: &[Field] = &[
    field("url", Shape::Text, Key("field-url"), Key("hint-git-url")),
    field("names", Shape::Lines, Key("field-refs"), Key("hint-refs")),
    CREDENTIAL,
    INTERVAL,
    REPORT_FIRST,
];

const WATCH_REGISTRY: &[Field] = &[
    field(
        "url",
        Shape::Text,
        Key("field-url"),
        Key("hint-registry-url"),
    ),
    field(
        "repository",
        Shape::Text,
        Key("filter-repository"),
        Key("hint-registry-repository"),
    ),
    field(
        "names",
        Shape::Lines,
        Key("filter-tags"),
        Key("hint-filter-image-tags"),
    ),
    CREDENTIAL,
    INTERVAL,
    REPORT_FIRST,
];

/// The fields of a form, in their order. A log rule that is there stays with its workload.
#[must_use]
pub fn fields(what: Declared) -> &'static [Field] {
    match what {
        Declared::LogRule { is_there: false } => LOG_RULE,
        Declared::LogRule { is_there: true } => KNOWN_LOG_RULE,
        Declared::Endpoint => ENDPOINT,
        Declared::NotificationRule => NOTIFICATION_RULE,
        Declared::Watch(TriggerKind::Registry) => WATCH_REGISTRY,
        Declared::Watch(_) => WATCH_GIT,
    }
}

fn title(language: Language, view: &DeclaredFormPage) -> String {
    match (&view.changes, view.what) {
        (Some(name), _) => language.with("trigger-edit-title", &[("name", name.as_str().into())]),
        (None, Declared::LogRule { .. }) => language.t("log-rule-new"),
        (None, Declared::Endpoint) => language.t("endpoint-new"),
        (None, Declared::NotificationRule) => language.t("notification-rule-new"),
        (None, Declared::Watch(_)) => language.t("watch-new"),
    }
}

/// What a form makes or changes, in a sentence.
fn lede(language: Language, what: Declared) -> String {
    match what {
        Declared::LogRule { .. } => language.t("log-rules-lede"),
        Declared::Endpoint => language.t("endpoint-lede"),
        Declared::NotificationRule => language.t("notification-rule-lede"),
        Declared::Watch(_) => language.t("watch-lede"),
    }
}

/// The form.
#[must_use]
pub fn declared_form(reader: &Reader, view: &DeclaredFormPage) -> Markup {
    let language = reader.language;
    let title = title(language, view);
    let head = Head {
        title: &title,
        section: Section::Triggers,
        live_href: None,
    };
    let form = &view.form;
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            @for crumb in &view.crumbs { a href=(crumb.href) { (crumb.name) } }
        }
        header class="page-head" { h1 { (title) } }
        (faults(language, &view.wrong))
        form class="trigger-form" method="post" action=(view.action) novalidate {
            (form_token(reader))
            (first_button(language))
            (filter(reader, &Filter {
                known: fields(view.what), picks: &view.picks, title: language.t("facts"), lede: Some(lede(language, view.what)),
                config_as: form.config_as, fields: &form.fields, rest: &form.rest, json: &form.config_json,
            }))
            @if matches!(view.what, Declared::LogRule { .. }) { (trying(reader, view)) }
            div class="actions form-end" {
                button class="button primary" type="submit" name="do" value="save" { (icon("check")) (language.t("schedule-save")) }
                a class="button plain" href=(view.leave_href) { (language.t("schedule-leave")) }
            }
        }
    };
    page(reader, &head, &main)
}

fn trying(reader: &Reader, view: &DeclaredFormPage) -> Markup {
    let language = reader.language;
    html! {
        section class="panel padded" aria-labelledby="trial" {
            h2 id="trial" { (language.t("trial-title")) }
            div class="fields" {
                (area(&Area {
                    label: language.t("trial-text"), hint: Some(language.t("hint-trial")), rows: 5,
                    ..Area::of("sample", &view.form.sample)
                }))
            }
            button class="button" type="submit" name="do" value="try" { (icon("decision")) (language.t("dry-run-try")) }
            @if let Some(trial) = &view.trial { (found(language, trial)) }
        }
    }
}

fn found(language: Language, trial: &Trial) -> Markup {
    html! {
        div id="trial-found" role="status" {
            p {
                (language.with("trial-found", &[("matched", trial.matched.into()), ("lines", trial.lines.into())]))
                @if trial.cut { " " (language.t("trial-cut")) }
            }
            @if !trial.matches.is_empty() {
                table class="rows" {
                    caption class="unseen" { (language.t("trial-title")) }
                    thead { tr {
                        th scope="col" { (language.t("column-line")) }
                        th scope="col" { (language.t("column-text")) }
                        th scope="col" { (language.t("column-groups")) }
                    } }
                    tbody {
                        @for found in &trial.matches {
                            tr {
                                td data-label=(language.t("column-line")) { (found.line) }
                                td data-label=(language.t("column-text")) { code { (found.text) } }
                                td data-label=(language.t("column-groups")) {
                                    span {
                                        @for (name, text) in &found.groups { code { (name) " = " (text) } " " }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
