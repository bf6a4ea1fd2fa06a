//! What each binding makes of an event.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use events::EventType;
use model::webhook::ManualRequested;
use model::{
    Check, Clause, Condition, DEPTH_MAX, SourceKind, TriggerKind, WorkloadAction, WorkloadId,
    WorkloadJob,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cel::{Compiled, Subject};
use crate::checks::{check, decided};
use crate::filter::{self, Filter};
use crate::git::{self, Asked};
use crate::{Binding, Decision, Event, Start, Target, Trigger, other, registry, template};

/// How long the conditions and templates of all bindings together may take for one event. What comes after is not asked.
const TIME_MAX: Duration = Duration::from_secs(3);
/// How long the name of a queue and a key may be, in characters, as the queue takes them.
const QUEUE_CHARS_MAX: usize = 126;
const KEY_CHARS_MAX: usize = 512;
/// The field by which a filter of kind `webhook` asks for what comes from forks, as it can be written.
const FROM_FORK: [&str; 2] = ["from_fork", "/from_fork"];

/// The queue that all jobs of a workload go through, one at a time.
#[must_use]
pub fn workload_queue(workload: WorkloadId) -> String {
    format!("workload:{workload}")
}

/// The key of a workload's deploys: one runs, one waits, the newest wins.
#[must_use]
pub fn deploy_key(workload: WorkloadId) -> String {
    format!("deploy:{workload}")
}

/// One decision for each binding that is asked, in their order.
///
/// The first clause that fails decides. They are tried in the order of [`Clause`]: switches, depth, what the kind looks for,
/// the trigger's condition, the binding's, and last what is to be started. Somebody who asks by hand has decided already:
/// then only switches, depth and what is to be started count, but for a trigger of kind `manual`, whose conditions are
/// about what is asked.
#[must_use]
pub fn decide(event: &Event, trigger: &Trigger, bindings: &[Binding]) -> Vec<Decision> {
    let looked = Looked::at(event);
    bindings
        .iter()
        .filter(|binding| event.only_binding.is_none_or(|only| only == binding.id))
        .map(|binding| {
            let mut held = Vec::new();
            let asked = asked(&looked, trigger, binding, &mut held);
            match asked.and_then(|asked| start(&looked, binding, asked)) {
                Ok(start) => Decision::Matched {
                    binding: binding.id,
                    held,
                    start,
                },
                Err(failed) => Decision::Unmatched {
                    binding: binding.id,
                    held,
                    failed,
                },
            }
        })
        .collect()
}

/// An event with what is made of it once for all bindings.
struct Looked<'a> {
    event: &'a Event,
    ty: Option<EventType>,
    until: Instant,
    view: OnceCell<Result<Value, String>>,
    subject: OnceCell<Result<Subject, String>>,
}

impl<'a> Looked<'a> {
    fn at(event: &'a Event) -> Self {
        Self {
            event,
            ty: event.ty.parse().ok(),
            until: Instant::now() + TIME_MAX,
            view: OnceCell::new(),
            subject: OnceCell::new(),
        }
    }

    fn view(&self) -> Result<&Value, String> {
        self.view
            .get_or_init(|| crate::view(self.event))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn subject(&self) -> Result<&Subject, String> {
        self.subject
            .get_or_init(|| self.view().map(Subject::new))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The event's data as what its type says it is.
    fn data<T: DeserializeOwned>(&self) -> Result<T, Check> {
        serde_json::from_str(&self.event.data).map_err(|error| {
            check(
                Clause::EventType,
                format!("the data of {}", self.event.ty),
                error.to_string(),
            )
        })
    }

    fn in_time(&self) -> Result<(), String> {
        if Instant::now() > self.until {
            return Err(format!(
                "the conditions and templates before it took more than {} s",
                TIME_MAX.as_secs()
            ));
        }
        Ok(())
    }
}

/// Tries the clauses in their order: adds those that hold to `held`, ends with the first that fails.
fn asked(
    looked: &Looked<'_>,
    trigger: &Trigger,
    binding: &Binding,
    held: &mut Vec<Check>,
) -> Result<Asked, Check> {
    if !trigger.enabled {
        return Err(check(Clause::Enabled, "the trigger is on", "it is off"));
    }
    if !binding.enabled {
        return Err(check(Clause::Enabled, "the binding is on", "it is off"));
    }
    if looked.event.depth > DEPTH_MAX {
        return Err(check(
            Clause::Depth,
            format!("at most {DEPTH_MAX} steps from work to work"),
            looked.event.depth.to_string(),
        ));
    }
    let kind: TriggerKind = trigger.kind.parse().map_err(|error: model::UnknownKind| {
        check(Clause::Config, "a kind that is known", error.to_string())
    })?;
    if looked.ty == Some(EventType::ManualRequested) {
        let by = looked.data::<ManualRequested>()?.actor;
        held.push(check(
            Clause::EventType,
            "somebody asks, or what the filter says",
            format!("{} asks", by.as_deref().unwrap_or("the sender")),
        ));
        if kind != TriggerKind::Manual {
            return Ok(Asked::default());
        }
    }
    let config = filter::merged(&trigger.config, &binding.filter);
    let filter = filter::read(kind, &config)?;
    let unknown = filter::unknown(kind, &config);
    if !unknown.is_empty() {
        let unknown = format!(
            "{} is not known here and was not looked at",
            unknown.join(", ")
        );
        held.push(check(Clause::Config, "keys that are known", unknown));
    }
    let asked = of_kind(looked, &filter, kind, held)?;
    for (condition, whose) in [
        (&trigger.condition, "the trigger's"),
        (&binding.condition, "the binding's"),
    ] {
        if let Some(condition) = condition {
            ask(looked, condition, whose, held)?;
        }
    }
    Ok(asked)
}

fn of_kind(
    looked: &Looked<'_>,
    filter: &Filter,
    kind: TriggerKind,
    held: &mut Vec<Check>,
) -> Result<Asked, Check> {
    let unseen = |error: String| check(Clause::EventType, "data that can be looked at", error);
    let other_type =
        |expected: String| Err(check(Clause::EventType, expected, looked.event.ty.clone()));
    match filter {
        Filter::Git(filter) => match looked.ty {
            Some(EventType::GitPushed) => git::pushed(filter, &looked.data()?, held),
            Some(EventType::GitTagged) => git::tagged(filter, &looked.data()?, held),
            Some(ty) if is_change(ty) => git::change(filter, &looked.data()?, held),
            Some(EventType::GitReleased) => git::released(filter, &looked.data()?, held),
            Some(EventType::PipelineFinished) => git::pipeline(filter, &looked.data()?, held),
            _ => other_type(format!("{}, or another event of Git", EventType::GitPushed)),
        },
        Filter::Registry(filter) => match looked.ty {
            Some(EventType::ImagePushed) => {
                let data: Value = looked.data()?;
                registry::pushed(filter, &looked.data()?, &data, held).map(|()| Asked::default())
            }
            Some(EventType::ImageDeleted) => Err(check(
                Clause::Deleted,
                "an image that is there",
                "it was deleted",
            )),
            _ => other_type(EventType::ImagePushed.to_string()),
        },
        Filter::Webhook(filter) => {
            let view = looked.view().map_err(unseen)?;
            other::webhook(filter, view, held)?;
            let wanted = FROM_FORK
                .iter()
                .any(|name| filter.fields.contains_key(*name));
            from_fork(looked.ty, view, wanted, held)
        }
        Filter::Schedule => only(looked, EventType::ScheduleFired, kind),
        Filter::Manual => only(looked, EventType::ManualRequested, kind),
        Filter::Log(filter) => {
            only(looked, EventType::LogMatched, kind)?;
            other::log(filter, looked.view().map_err(unseen)?, held)?;
            Ok(following(looked))
        }
        Filter::Event(filter) => {
            let view = looked.view().map_err(unseen)?;
            other::event(filter, view, held)?;
            // There is nothing here by which somebody could ask for those of forks.
            from_fork(looked.ty, view, false, held).map(|_| following(looked))
        }
    }
}

/// What a fork started leads to nothing that is trusted more.
fn following(looked: &Looked<'_>) -> Asked {
    Asked {
        untrusted: looked.event.untrusted,
        ..Asked::default()
    }
}

const fn is_change(ty: EventType) -> bool {
    matches!(
        ty,
        EventType::GitChangeOpened
            | EventType::GitChangeSynchronized
            | EventType::GitChangeEdited
            | EventType::GitChangeReviewed
            | EventType::GitChangeReopened
            | EventType::GitChangeClosed
            | EventType::GitChangeMerged
    )
}

/// For kinds that look at more than Git: a change of a fork, and a pipeline of one, matches only where that is asked for, and
/// then it is not trusted.
fn from_fork(
    ty: Option<EventType>,
    view: &Value,
    wanted: bool,
    held: &mut Vec<Check>,
) -> Result<Asked, Check> {
    let may_be = ty.is_some_and(|ty| is_change(ty) || ty == EventType::PipelineFinished);
    let untrusted = may_be && view["data"]["from_fork"] == true;
    if untrusted {
        let expected = if wanted {
            "anything, also of forks"
        } else {
            "what does not come from a fork, for nothing here asks for that"
        };
        decided(
            wanted,
            check(Clause::Fork, expected, "it comes from a fork"),
            held,
        )?;
    }
    Ok(Asked {
        untrusted,
        ..Asked::default()
    })
}

fn only(looked: &Looked<'_>, wanted: EventType, kind: TriggerKind) -> Result<Asked, Check> {
    if looked.ty == Some(wanted) {
        return Ok(Asked::default());
    }
    Err(check(
        Clause::EventType,
        format!("{wanted}, for a trigger of kind {kind}"),
        looked.event.ty.clone(),
    ))
}

fn ask(
    looked: &Looked<'_>,
    condition: &Value,
    whose: &str,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    let expected = condition["expression"].as_str().unwrap_or_default();
    let expected = format!("{whose} condition: {expected}");
    let answer = looked
        .in_time()
        .and_then(|()| {
            serde_json::from_value::<Condition>(condition.clone())
                .map_err(|error| format!("it is no condition that is known here: {error}"))
        })
        .and_then(|condition| Compiled::new(&condition).map_err(|error| error.to_string()))
        .and_then(|compiled| compiled.holds(looked.subject()?));
    match answer {
        Ok(truth) => decided(
            truth,
            check(
                Clause::Condition,
                expected,
                if truth { "true" } else { "false" },
            ),
            held,
        ),
        Err(error) => Err(check(Clause::Condition, expected, error)),
    }
}

fn start(looked: &Looked<'_>, binding: &Binding, asked: Asked) -> Result<Start, Check> {
    match &binding.target {
        Target::Workload {
            id,
            source,
            overrides,
        } => {
            let wrong =
                |error: String| check(Clause::Config, "a workload that can be deployed", error);
            let source: SourceKind = source
                .parse()
                .map_err(|error: model::UnknownSource| wrong(error.to_string()))?;
            let payload = serde_json::to_value(WorkloadJob {
                workload: *id,
                action: WorkloadAction::Deploy {
                    asked: asked.commit,
                },
                overrides: overrides.clone(),
                untrusted: asked.untrusted,
            });
            Ok(Start {
                task: source.task().to_owned(),
                payload: payload.map_err(|error| wrong(error.to_string()))?,
                queue_name: Some(workload_queue(*id)),
                key: Some(own_key(deploy_key(*id), asked.untrusted)),
                priority: 0,
                workload: Some(*id),
            })
        }
        Target::Task {
            task,
            payload,
            queue_name,
            key,
            priority,
        } => {
            let made = made(
                looked,
                payload,
                queue_name.as_deref(),
                key.as_deref(),
                asked.untrusted,
            );
            let wrong =
                |error: String| check(Clause::Payload, format!("a payload for {task}"), error);
            let (payload, queue_name, key) = made.map_err(wrong)?;
            let kind = runs::kind(task);
            if let Some(kind) = kind {
                (kind.check)(&payload).map_err(|refused| wrong(refused.to_string()))?;
            }
            // Of runs with the same key the newest counts: a newer plan takes the place of one that nobody has read.
            let key = key.or_else(|| kind.and_then(|kind| (kind.key)(&payload)));
            Ok(Start {
                task: task.clone(),
                payload,
                queue_name,
                key,
                priority: *priority,
                workload: None,
            })
        }
    }
}

/// What is not trusted has a key of its own, so that it never takes the place of what is.
fn own_key(key: String, untrusted: bool) -> String {
    if untrusted {
        format!("untrusted:{key}")
    } else {
        key
    }
}

type Made = (Value, Option<String>, Option<String>);

fn made(
    looked: &Looked<'_>,
    payload: &Value,
    queue_name: Option<&str>,
    key: Option<&str>,
    untrusted: bool,
) -> Result<Made, String> {
    looked.in_time()?;
    let event = looked.view()?;
    let mut payload = template::render(payload, event).map_err(|error| error.to_string())?;
    let text = |what: &str, template: Option<&str>, most: usize| {
        let made = template
            .map(|it| template::render_text(it, event))
            .transpose();
        let made = made.map_err(|error| format!("{what}: {error}"))?;
        // An empty name is none: that is how a template says so.
        let made = made.filter(|text| !text.is_empty());
        match made {
            Some(text) if text.chars().count() > most || text.contains('\0') => Err(format!(
                "{what}: a text of up to {most} characters is expected, not {text:?}"
            )),
            made => Ok(made),
        }
    };
    let queue_name = text("queue", queue_name, QUEUE_CHARS_MAX)?;
    let key = text("key", key, KEY_CHARS_MAX - "untrusted:".len())?;
    if untrusted {
        let Value::Object(map) = &mut payload else {
            return Err(
                "what comes from a fork needs an object, in which it says that it is untrusted"
                    .to_owned(),
            );
        };
        map.insert("untrusted".to_owned(), Value::Bool(true));
    }
    if holds_nul(&payload) {
        return Err("the payload has a character that no database stores (U+0000)".to_owned());
    }
    Ok((payload, queue_name, key.map(|key| own_key(key, untrusted))))
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(holds_nul),
        Value::Object(map) => map
            .iter()
            .any(|(key, it)| key.contains('\0') || holds_nul(it)),
    }
}

#[cfg(test)]
mod tests;
