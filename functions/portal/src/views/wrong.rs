//! What is wrong with what somebody wrote, in the reader's language. The English words are those of the error itself, which
//! programs get: a test compares them.

use queue::schedules::{WrongRule, WrongValue};

use super::model::FormProblem;
use crate::i18n::{Key, Language};

/// What is wrong with a field of a form.
pub(super) fn problem_words(language: Language, problem: &FormProblem) -> String {
    match problem {
        FormProblem::Value(wrong) => value_words(language, wrong),
        FormProblem::NoNumber => language.t("wrong-number"),
        FormProblem::NoJson { line, column } => language.with(
            "wrong-json",
            &[
                ("line", line.to_string().into()),
                ("column", column.to_string().into()),
            ],
        ),
        FormProblem::OnlyJson => language.t("wrong-only-json"),
        FormProblem::Taken { name } => {
            language.with("wrong-taken", &[("name", format!("{name:?}").into())])
        }
        FormProblem::TooMany { most } => {
            language.with("wrong-too-many", &[("most", most.to_string().into())])
        }
    }
}

fn value_words(language: Language, wrong: &WrongValue) -> String {
    match wrong {
        WrongValue::Length { max } => {
            language.with("wrong-length", &[("max", max.to_string().into())])
        }
        WrongValue::Nul => language.t("wrong-nul"),
        WrongValue::OnlyAskedFor { task } => {
            language.with("wrong-only-asked-for", &[("task", task.as_str().into())])
        }
        WrongValue::Large => language.t("wrong-large"),
        WrongValue::Tries => language.t("wrong-tries"),
        WrongValue::Jitter { max_secs } => {
            language.with("wrong-jitter", &[("max", max_secs.to_string().into())])
        }
        WrongValue::Rule(wrong) => rule_words(language, wrong),
    }
}

fn rule_words(language: Language, wrong: &WrongRule) -> String {
    match wrong {
        WrongRule::NoRule(kind) => {
            let kind = match *kind {
                "null" => language.t("rule-kind-null"),
                "a list" => language.t("rule-kind-list"),
                _ => language.t("rule-kind-bool"),
            };
            language.with("wrong-rule-kind", &[("kind", kind.into())])
        }
        WrongRule::FieldCount { text, count } => language.with(
            "wrong-rule-count",
            &[
                ("text", format!("{text:?}").into()),
                ("number", count.to_string().into()),
            ],
        ),
        WrongRule::Field { field, text, .. } => {
            let (name, range) = cron_field(field);
            language.with(
                "wrong-rule-field",
                &[
                    ("field", language.key(name).into()),
                    ("text", format!("{text:?}").into()),
                    ("range", language.key(range).into()),
                ],
            )
        }
        WrongRule::Text { text, problem } => language.with(
            "wrong-rule-text",
            &[
                ("text", format!("{text:?}").into()),
                ("problem", problem.as_str().into()),
            ],
        ),
        WrongRule::TooLong => language.t("wrong-rule-long"),
        WrongRule::Value {
            field,
            value,
            min,
            max,
        } => language.with(
            "wrong-rule-value",
            &[
                ("field", (*field).into()),
                ("value", value.as_str().into()),
                ("min", min.to_string().into()),
                ("max", max.to_string().into()),
            ],
        ),
        WrongRule::Unknown(name) => language.with(
            "wrong-rule-unknown",
            &[("name", format!("{name:?}").into())],
        ),
        WrongRule::Instant { name, value } => {
            let name = match *name {
                "start" => language.t("edge-start"),
                "end" => language.t("edge-end"),
                _ => language.t("edge-rule"),
            };
            language.with(
                "wrong-rule-instant",
                &[("name", name.into()), ("value", value.as_str().into())],
            )
        }
        WrongRule::Zone(name) => {
            language.with("wrong-rule-zone", &[("name", format!("{name:?}").into())])
        }
        WrongRule::TwoZones { rule, schedule } => language.with(
            "wrong-rule-zones",
            &[
                ("rule", format!("{rule:?}").into()),
                ("schedule", format!("{schedule:?}").into()),
            ],
        ),
        WrongRule::Never => language.t("wrong-rule-never"),
    }
}

/// The name of a cron text's field, and what it may say.
fn cron_field(name: &str) -> (Key, Key) {
    match name {
        "second" => (Key("cron-second"), Key("cron-second-range")),
        "minute" => (Key("cron-minute"), Key("cron-minute-range")),
        "hour" => (Key("cron-hour"), Key("cron-hour-range")),
        "day of the month" => (Key("cron-day"), Key("cron-day-range")),
        "month" => (Key("cron-month"), Key("cron-month-range")),
        _ => (Key("cron-weekday"), Key("cron-weekday-range")),
    }
}

#[cfg(test)]
mod tests {
    use queue::schedules::{Declaration, Missed, WrongValue};
    use serde_json::{Value, json};

    use super::problem_words;
    use crate::i18n::Language;
    use crate::views::model::FormProblem;

    /// What is wrong with a schedule of this rule.
    fn wrong(schedule_info: Value, time_zone: &str) -> Vec<WrongValue> {
        let declaration = Declaration {
            name: "a".repeat(201),
            task: "a\0".into(),
            schedule_info,
            time_zone: Some(time_zone.into()),
            payload: json!({}),
            queue: None,
            priority: 0,
            attempts_max: Some(0),
            key: None,
            missed: Missed::Last,
            jitter_secs: 100_000,
        };
        let now = "2026-06-01T12:00:00Z".parse().expect("an instant");
        let wrong = declaration.plan(now).expect_err("it is wrong");
        wrong.into_iter().map(|wrong| wrong.why).collect()
    }

    #[test]
    fn english_has_the_words_of_the_errors_and_russian_its_own() {
        let mut rules = vec![
            json!({"rule": [1]}),
            json!({"rule": true}),
            json!(null),
            json!("a b"),
            json!("0 0 L-40 * *"),
            json!("* ".repeat(300)),
            json!({"hour": 25}),
            json!({"hours": 1}),
            json!("2026-13-01T00:00:00Z"),
            json!({"rule": "0 0 * * *", "start": "soon"}),
            json!({"rule": "0 0 * * *", "end": "late"}),
            json!({"rule": "0 0 * * *", "tz": "Europe/Paris"}),
            json!("2020-01-01T00:00:00Z"),
            json!({"rule": {"hour": vec![1; 10_000]}}),
        ];
        let fields = ["61", "61", "25", "32", "13", "8"];
        for at in 0..6 {
            let mut text = ["*"; 6];
            text[at] = fields[at];
            rules.push(json!(text.join(" ")));
        }
        let mut all: Vec<_> = rules
            .into_iter()
            .flat_map(|rule| wrong(rule, "UTC"))
            .collect();
        all.extend(wrong(json!("0 0 * * *"), "Paris"));
        let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
        for (what, text) in all.into_iter().zip(texts) {
            let problem = FormProblem::Value(what);
            assert_eq!(problem_words(Language::English, &problem), text);
            let russian = problem_words(Language::Russian, &problem);
            assert!(
                russian.chars().any(|c| ('а'..='я').contains(&c)),
                "{russian}"
            );
        }
    }
}
