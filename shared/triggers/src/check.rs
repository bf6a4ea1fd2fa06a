//! What is wrong with a trigger or a binding that somebody wants to save.

use model::{Condition, SourceKind, TriggerKind};
use serde_json::{Map, Value};

use crate::cel::Compiled;
use crate::filter::{self, Filter};
use crate::{Fault, Target, Why, kinds, tags, template};

/// How large a binding's overrides may be, each of the two, in bytes of JSON.
pub const OVERRIDES_BYTES_MAX: usize = 8 * 1024;
/// How large a trigger's config may be, in bytes of JSON.
const CONFIG_BYTES_MAX: usize = 32 * 1024;
/// How long the template of a queue or key may be, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// How long the name of a task may be, in characters.
const TASK_CHARS_MAX: usize = 126;
/// A trigger as it is to be saved.
#[derive(Debug, Clone, Copy)]
pub struct TriggerDraft<'a> {
    /// What makes it fire.
    pub kind: TriggerKind,
    /// The kind's filter.
    pub config: &'a Map<String, Value>,
    /// What must be true beside it.
    pub condition: Option<&'a Value>,
}

/// A binding as it is to be saved.
#[derive(Debug, Clone, Copy)]
pub struct BindingDraft<'a> {
    /// Overrides of the trigger's filter.
    pub filter: &'a Map<String, Value>,
    /// What must be true beside it.
    pub condition: Option<&'a Value>,
    /// What it starts.
    pub target: &'a Target,
    /// The config of the workload that it starts.
    pub workload_config: Option<&'a Map<String, Value>>,
}

/// What is to be told to who saves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Why it cannot be saved; nothing when it can.
    pub wrong: Vec<Fault>,
    /// What is odd about it and saved all the same.
    pub warnings: Vec<String>,
}

impl Found {
    fn wrong(&mut self, place: &str, why: Why) {
        self.wrong.push(Fault {
            place: place.to_owned(),
            why,
        });
    }

    fn size(&mut self, place: &str, value: &Map<String, Value>, most: usize) {
        let bytes = serde_json::to_string(value).map_or(usize::MAX, |text| text.len());
        if bytes > most {
            self.wrong(place, Why::TooLarge { most, bytes });
        }
    }

    fn condition(&mut self, condition: Option<&Value>) {
        let Some(condition) = condition else { return };
        match serde_json::from_value::<Condition>(condition.clone()) {
            Err(error) => self.wrong("condition", Why::NoCondition(error.to_string())),
            Ok(condition) => {
                if let Err(error) = Compiled::new(&condition) {
                    self.wrong("condition", Why::Expression(error.to_string()));
                }
            }
        }
    }

    /// A filter, whole: the trigger's, or a binding's merged into it.
    fn filter(&mut self, place: &str, kind: TriggerKind, config: &Map<String, Value>) {
        match filter::read(kind, config) {
            Err(error) => return self.wrong(place, Why::Value(error.actual)),
            Ok(filter) => self.patterns(place, &filter),
        }
        let schema = kinds::schema(kind);
        self.schema(place, &schema, config);
        for key in filter::unknown(kind, config) {
            self.warnings.push(format!(
                "{place}: {key:?} is not known here; it is kept, and not looked at"
            ));
        }
    }

    fn patterns(&mut self, place: &str, filter: &Filter) {
        let patterns: &[_] = match filter {
            Filter::Git(git) => git.releases.as_ref().map_or(&[], |it| &it.tags),
            Filter::Registry(registry) => &registry.tags,
            Filter::Webhook(_)
            | Filter::Schedule
            | Filter::Manual
            | Filter::Log(_)
            | Filter::Event(_) => &[],
        };
        for pattern in patterns {
            if let Err(error) = tags::check(pattern) {
                self.wrong(place, Why::Pattern(error.to_string()));
            }
        }
        if let Filter::Webhook(webhook) = filter {
            for name in webhook.fields.keys().filter(|name| name.is_empty()) {
                self.wrong(place, Why::Value(format!("{name:?} names no value")));
            }
        }
    }

    fn schema(&mut self, place: &str, schema: &Value, config: &Map<String, Value>) {
        let validator = match jsonschema::validator_for(schema) {
            Ok(validator) => validator,
            Err(error) => return self.wrong(place, Why::Said(error.to_string())),
        };
        let config = Value::Object(config.clone());
        for error in validator.iter_errors(&config).take(10) {
            let place = format!("{place}{}", error.instance_path());
            self.wrong(&place, Why::Value(error.to_string()));
        }
    }
}

/// Looks at a trigger. Whether a schedule's rule is one is for the queue to say, which has the clock.
#[must_use]
pub fn check_trigger(draft: TriggerDraft<'_>) -> Found {
    let mut found = Found::default();
    found.size("config", draft.config, CONFIG_BYTES_MAX);
    found.filter("config", draft.kind, draft.config);
    found.condition(draft.condition);
    found
}

/// Looks at a binding with the trigger and workload that it joins, merged as they will be.
#[must_use]
pub fn check_binding(trigger: TriggerDraft<'_>, draft: BindingDraft<'_>) -> Found {
    let mut found = Found::default();
    found.size("filter", draft.filter, OVERRIDES_BYTES_MAX);
    match trigger.kind {
        TriggerKind::Schedule | TriggerKind::Manual if !draft.filter.is_empty() => {
            found.wrong("filter", Why::NothingToOverride(trigger.kind));
        }
        _ => {
            if let Some((key, near)) = filter::typos(trigger.kind, draft.filter).first() {
                let (key, near) = (key.to_string(), near.to_string());
                found.wrong("filter", Why::NoKey { key, near });
            } else {
                let merged = filter::merged(trigger.config, draft.filter);
                found.filter("filter", trigger.kind, &merged);
            }
        }
    }
    found.condition(draft.condition);
    match draft.target {
        Target::Workload {
            source, overrides, ..
        } => {
            found.size("overrides", overrides, OVERRIDES_BYTES_MAX);
            match source.parse::<SourceKind>() {
                Err(error) => found.wrong("workload", Why::Said(error.to_string())),
                Ok(source) => {
                    let config = draft.workload_config.cloned().unwrap_or_default();
                    workload(
                        &mut found,
                        "overrides",
                        source,
                        &filter::merged(&config, overrides),
                    );
                }
            }
        }
        Target::Task {
            task,
            payload,
            queue_name,
            key,
            ..
        } => {
            let of_a_workload = SourceKind::ALL.iter().find(|it| it.task() == task);
            if let Some(source) = of_a_workload {
                let why = Why::OfWorkloads {
                    task: task.clone(),
                    source_kind: *source,
                };
                found.wrong("task", why);
            } else if model::is_only_asked_for(task) {
                let task = task.clone();
                found.wrong("task", Why::OnlyAskedFor { task });
            }
            let most = TASK_CHARS_MAX;
            if task.is_empty() || task.chars().count() > most || task.contains(char::is_control) {
                found.wrong("task", Why::TaskName { most });
            }
            if let Err(error) = template::check(payload) {
                found.wrong("payload", Why::Template(error.to_string()));
            } else if let Some(kind) = runs::kind(task).filter(|_| !template::depends(payload)) {
                // Nothing in it depends on the event, so that it can be looked at as the task will.
                for wrong in (kind.check)(payload).err().into_iter().flat_map(|it| it.0) {
                    let place = format!("payload.{}", wrong.field);
                    found.wrong(&place, Why::Said(wrong.problem));
                }
            }
            for (place, text) in [("queue", queue_name), ("key", key)] {
                let Some(text) = text else { continue };
                if text.is_empty() || text.len() > NAME_BYTES_MAX {
                    let most = NAME_BYTES_MAX;
                    found.wrong(place, Why::Length { most });
                } else if let Err(error) = template::check_text(text) {
                    found.wrong(place, Why::Template(error.to_string()));
                }
            }
        }
    }
    found
}

/// Looks at a workload's config by the schema of its kind.
#[must_use]
pub fn check_workload(source: SourceKind, config: &Map<String, Value>) -> Found {
    let mut found = Found::default();
    workload(&mut found, "config", source, config);
    found
}

fn workload(found: &mut Found, place: &str, source: SourceKind, config: &Map<String, Value>) {
    match serde_json::from_str(source.config_schema()) {
        Ok(schema) => found.schema(place, &schema, config),
        Err(error) => found.wrong(place, Why::Said(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn trigger(kind: TriggerKind, config: Value) -> Found {
        check_trigger(TriggerDraft {
            kind,
            config: &map(config),
            condition: None,
        })
    }

    /// Nobody hands in a schema; whoever adds a kind with one that refers elsewhere finds it out here.
    #[test]
    fn a_schema_that_refers_elsewhere_fetches_nothing_and_a_slow_one_is_not() {
        let of = |schema: &Value, config: Value| {
            let mut found = Found::default();
            found.schema("config", schema, &map(config));
            found.wrong.len()
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket can");
        let elsewhere = listener.local_addr().expect("an address");
        for reference in [format!("http://{elsewhere}/x"), "file:///etc/passwd".into()] {
            assert_eq!(of(&json!({"$ref": reference}), json!({})), 1, "{reference}");
        }
        let asked = listener.accept().map(drop).map_err(|error| error.kind());
        assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock));

        let list = json!({"properties": {"next": {"$ref": "#"}, "n": {"type": "number"}}});
        assert_eq!(of(&list, json!({"next": {"next": {"n": 1}}})), 0);
        assert_eq!(of(&list, json!({"next": {"next": {"n": "1"}}})), 1);

        let begun = std::time::Instant::now();
        let slow = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
        let text = format!("{}!", "a".repeat(100_000));
        assert_eq!(of(&slow, json!({"a": text})), 1);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn what_can_be_saved_is_and_what_is_new_is_told() {
        assert_eq!(
            trigger(TriggerKind::Git, json!({"branches": ["main"]})),
            Found::default()
        );
        let found = trigger(
            TriggerKind::Git,
            json!({"branches": ["main"], "labels": ["x"]}),
        );
        assert!(found.wrong.is_empty());
        assert!(found.warnings[0].contains("\"labels\""), "{found:?}");
    }

    #[test]
    fn what_can_never_be_decided_is_refused_with_its_place() {
        for (kind, config, part) in [
            (TriggerKind::Git, json!({"branchs": ["main"]}), "branches"),
            (TriggerKind::Git, json!({"branches": "main"}), "branches"),
            (TriggerKind::Git, json!({"branches": [""]}), "empty"),
            (
                TriggerKind::Git,
                json!({"branches": vec!["a"; 101]}),
                "/branches",
            ),
            (
                TriggerKind::Git,
                json!({"changes": {"actions": ["made"]}}),
                "changes.actions",
            ),
            (
                TriggerKind::Git,
                json!({"releases": {"tags": [{"regex": "("}]}}),
                "regular expression",
            ),
            (
                TriggerKind::Registry,
                json!({"tags": [{"regex": "(.{1000}){1000}"}]}),
                "regular expression",
            ),
            (
                TriggerKind::Registry,
                json!({"tags": [{"semver": "newest"}]}),
                "range of versions",
            ),
            (TriggerKind::Schedule, json!({}), "rule"),
            (
                TriggerKind::Schedule,
                json!({"rule": "* * * * *", "missed": "never"}),
                "missed",
            ),
            (TriggerKind::Event, json!({"exact": {"Type": "x"}}), "exact"),
            (TriggerKind::Event, json!({"exact": {"type": 7}}), "exact"),
            (
                TriggerKind::Log,
                json!({"severities": ["bad"]}),
                "severities",
            ),
            (
                TriggerKind::Webhook,
                json!({"fields": {"a": {"b": 1}}}),
                "fields",
            ),
            (
                TriggerKind::Webhook,
                json!({"events": ["x".repeat(40_000)]}),
                "bytes",
            ),
        ] {
            let found = trigger(kind, config.clone());
            assert!(
                found
                    .wrong
                    .iter()
                    .any(|wrong| wrong.to_string().contains(part)),
                "{config}: {found:?}"
            );
        }
    }

    #[test]
    fn a_condition_is_one_of_a_language_that_is_known_and_not_too_large() {
        let config = Map::new();
        for (condition, good) in [
            (
                json!({"language": "cel", "expression": "event.depth == 0"}),
                true,
            ),
            (json!({"language": "cesql", "expression": "x"}), false),
            (json!({"language": "cel", "expression": "event."}), false),
            (
                json!({"language": "cel", "expression": "x".repeat(1025)}),
                false,
            ),
            (
                json!({"language": "cel", "expression": "true", "more": 1}),
                false,
            ),
            (json!("true"), false),
        ] {
            let found = check_trigger(TriggerDraft {
                kind: TriggerKind::Manual,
                config: &config,
                condition: Some(&condition),
            });
            assert_eq!(found.wrong.is_empty(), good, "{condition}: {found:?}");
        }
    }

    fn binding(config: &Value, filter: &Value, target: &Target) -> Found {
        let workload = map(json!({
            "source": {"kind": "provider", "base_url": "https://git.example.com", "repository": "team/site"},
        }));
        check_binding(
            TriggerDraft {
                kind: TriggerKind::Git,
                config: &map(config.clone()),
                condition: None,
            },
            BindingDraft {
                filter: &map(filter.clone()),
                condition: None,
                target,
                workload_config: Some(&workload),
            },
        )
    }

    fn deploy(overrides: Value) -> Target {
        Target::Workload {
            id: uuid::Uuid::from_u128(5).into(),
            source: "static".to_owned(),
            overrides: map(overrides),
        }
    }

    #[test]
    fn a_binding_is_looked_at_as_it_will_be_merged() {
        let config = json!({"branches": ["main"]});
        assert_eq!(
            binding(&config, &json!({}), &deploy(json!({"branch": "next"}))),
            Found::default()
        );
        for (filter, overrides, part) in [
            (json!({"branches": [1]}), json!({}), "branches[0]"),
            (json!({"branchs": ["a"]}), json!({}), "branches"),
            (
                json!({}),
                json!({"branch": "--output=x"}),
                "overrides/branch",
            ),
            (json!({}), json!({"colour": "red"}), "colour"),
            (json!({}), json!({"source": null}), "source"),
        ] {
            let found = binding(&config, &filter, &deploy(overrides.clone()));
            assert!(
                found
                    .wrong
                    .iter()
                    .any(|wrong| wrong.to_string().contains(part)),
                "{filter} {overrides}: {found:?}"
            );
        }
    }

    #[test]
    fn overrides_have_eight_kibibytes_and_not_one_more() {
        let config = json!({});
        let of = |bytes: usize| json!({"branches": ["a".repeat(500)], "x": "y".repeat(bytes)});
        let empty = serde_json::to_string(&of(0)).expect("JSON").len();
        let most = OVERRIDES_BYTES_MAX - empty;
        let target = deploy(json!({}));
        assert!(binding(&config, &of(most), &target).wrong.is_empty());
        let found = binding(&config, &of(most + 1), &target);
        assert!(
            found.wrong[0].to_string().contains("8192 bytes"),
            "{found:?}"
        );
    }

    #[test]
    fn a_task_is_started_by_a_name_and_a_payload_that_can_be_made() {
        let task = |task: &str, payload: Value| Target::Task {
            task: task.to_owned(),
            payload,
            queue_name: Some("q-{{ event.data.branch }}".to_owned()),
            key: None,
            priority: 0,
        };
        let config = json!({});
        assert_eq!(
            binding(
                &config,
                &json!({}),
                &task("build", json!({"at": "{{ event.data.after }}"}))
            ),
            Found::default()
        );
        for (name, payload) in [
            ("task-static", json!({})),
            ("task-bulk", json!({})),
            ("", json!({})),
            ("a\nb", json!({})),
            ("build", json!("{% set a = 1 %}")),
            ("build", json!({"a": "{{ ("})),
        ] {
            assert!(
                !binding(&config, &json!({}), &task(name, payload))
                    .wrong
                    .is_empty(),
                "{name}"
            );
        }
    }
}
