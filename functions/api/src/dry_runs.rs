//! What would have fired: a trigger tried with an event that is pasted, or with what came in, as it is or as it might be
//! changed. Nothing is saved, nothing starts, and the same code decides.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::Path;
use chrono::{DateTime, Utc};
use model::{BindingId, DeliveryId, EventId, Role, TriggerId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::pages::{self, BindingShown, TriedWith, TriggerShown};
use triggers::{
    Binding, BindingDraft, Decision, Event, Fault, Target, Trigger, TriggerDraft, check_binding,
    check_trigger, decide, joined,
};

use crate::asked::{Asked, Given};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// Deliveries that a trigger is tried with, at most, and when nobody says.
const LAST_MAX: usize = 200;
const LAST_DEFAULT: usize = 20;
/// How many bytes of data are looked at in one dry run.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long one dry run goes on before it is cut.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What to try.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// An event as it would come.
    event: Option<Pasted>,
    /// One delivery, whose events are taken.
    delivery: Option<DeliveryId>,
    /// So many of the last deliveries.
    last: Option<usize>,
    /// The trigger's filter instead of the one that it has.
    config: Option<Map<String, Value>>,
    /// The trigger's condition instead of the one that it has; null for none.
    #[serde(default, deserialize_with = "given")]
    condition: Option<Option<Value>>,
    /// What bindings would have instead of what they have.
    #[serde(default)]
    bindings: HashMap<BindingId, Edited>,
}

/// Tells null from nothing.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<Value>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// An event that somebody pastes.
#[derive(Debug, Deserialize)]
struct Pasted {
    #[serde(rename = "type")]
    ty: String,
    #[serde(default)]
    source: String,
    subject: Option<String>,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    depth: i32,
}

/// What of a binding is tried instead.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edited {
    filter: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    condition: Option<Option<Value>>,
    payload: Option<Value>,
    queue: Option<String>,
    key: Option<String>,
    enabled: Option<bool>,
}

/// What would have become of an event.
#[derive(Debug, Serialize)]
pub(crate) struct Tried {
    /// The event; nothing for one that was pasted.
    event: Option<EventId>,
    #[serde(rename = "type")]
    ty: String,
    subject: Option<String>,
    delivery: Option<DeliveryId>,
    received_at: Option<DateTime<Utc>>,
    decisions: Vec<Decision>,
}

/// What would have fired, the newest first. What only repeats what a hook or a look had told before starts nothing, as in
/// earnest: a stored event if it did when it came, a pasted one if it would now.
#[derive(Debug, Serialize)]
pub(crate) struct Would {
    tried: Vec<Tried>,
    /// How many jobs would have been made.
    jobs: usize,
    /// Whether there was more than is looked at in one go.
    cut: bool,
    /// What is odd about what was tried.
    warnings: Vec<String>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn binding(shown: BindingShown, edited: Option<Edited>) -> (Binding, Option<Map<String, Value>>) {
    let config = shown.workload.as_ref().map(|it| object(it.config.clone()));
    let target = match shown.workload {
        Some(workload) => Target::Workload {
            id: workload.named.id,
            source: workload.source,
            overrides: object(shown.overrides),
        },
        None => Target::Task {
            task: shown.task.unwrap_or_default(),
            payload: shown.payload.unwrap_or_default(),
            queue_name: shown.queue_name,
            key: shown.key,
            priority: shown.priority,
        },
    };
    let mut binding = Binding {
        id: shown.id,
        filter: object(shown.filter),
        condition: shown.condition,
        enabled: shown.enabled,
        target,
    };
    if let Some(edited) = edited {
        binding.filter = edited.filter.unwrap_or(binding.filter);
        binding.condition = edited.condition.unwrap_or(binding.condition);
        binding.enabled = edited.enabled.unwrap_or(binding.enabled);
        if let Target::Task {
            payload,
            queue_name,
            key,
            ..
        } = &mut binding.target
        {
            if let Some(edited) = edited.payload {
                *payload = edited;
            }
            *queue_name = edited.queue.or(queue_name.take());
            *key = edited.key.or(key.take());
        }
    }
    (binding, config)
}

/// The trigger and its bindings as they are to be tried. What could not be saved is not tried either.
fn edited(
    shown: TriggerShown,
    wanted: &mut Wanted,
) -> Result<(Trigger, Vec<Binding>, Vec<String>), Problem> {
    let kind = shown
        .kind
        .parse()
        .map_err(|error: model::UnknownKind| Problem::Conflict(error.to_string()))?;
    let trigger = Trigger {
        id: shown.id,
        kind: shown.kind,
        config: wanted.config.take().unwrap_or_else(|| object(shown.config)),
        condition: wanted.condition.take().unwrap_or(shown.condition),
        enabled: shown.enabled,
    };
    let draft = TriggerDraft {
        kind,
        config: &trigger.config,
        condition: trigger.condition.as_ref(),
    };
    let mut found = check_trigger(draft);
    let mut bindings = Vec::new();
    for shown in shown.bindings {
        let edits = wanted.bindings.remove(&shown.id);
        let was_edited = edits.is_some();
        let (binding, config) = binding(shown, edits);
        let of_it = check_binding(
            draft,
            BindingDraft {
                filter: &binding.filter,
                condition: binding.condition.as_ref(),
                target: &binding.target,
                workload_config: config.as_ref(),
            },
        );
        let name = format!("bindings.{}", binding.id);
        let wrong = of_it.wrong.into_iter().map(|wrong| wrong.within(&name));
        if was_edited {
            found.wrong.extend(wrong);
        } else {
            // The trigger's change would break it: that is told, and its decision says so too.
            found.warnings.extend(wrong.map(|wrong| wrong.to_string()));
        }
        bindings.push(binding);
    }
    if let Some(id) = wanted.bindings.keys().next() {
        found.wrong.push(Fault::said(
            &format!("bindings.{id}"),
            "the trigger has no such binding",
        ));
    }
    if !found.wrong.is_empty() {
        return Err(Problem::BadBody(joined(&found.wrong)));
    }
    Ok((trigger, bindings, found.warnings))
}

pub(crate) async fn try_out(
    Path(id): Path<String>,
    asked: Asked,
    Given(mut wanted): Given<Wanted>,
) -> Answer<Would> {
    asked.may(Role::Viewer)?;
    let id: TriggerId = named(&id)?;
    let last = wanted.last.unwrap_or(LAST_DEFAULT);
    if !(1..=LAST_MAX).contains(&last) {
        return Err(Problem::BadBody(format!(
            "last: 1 to {LAST_MAX} are expected"
        )));
    }
    if [
        wanted.event.is_some(),
        wanted.delivery.is_some(),
        wanted.last.is_some(),
    ]
    .iter()
    .filter(|it| **it)
    .count()
        > 1
    {
        return Err(Problem::BadBody(
            "say one of event, delivery and last".to_owned(),
        ));
    }
    let mut tx = asked.begin().await?;
    let shown = pages::trigger_shown(&mut tx, id)
        .await?
        .ok_or(Problem::NotFound)?;
    let stored = match &wanted.event {
        Some(_) => Vec::new(),
        None => pages::tried_with(&mut tx, id, wanted.delivery, last).await?,
    };
    let mut repeats = match &wanted.event {
        Some(pasted) => {
            let data = pasted.data.to_string();
            let told = pages::would_repeat(&mut tx, id, &pasted.ty, &data).await?;
            told.map(|told| (EventId::from(uuid::Uuid::nil()), told))
                .into_iter()
                .collect()
        }
        None => {
            let ids: Vec<_> = stored.iter().map(|it| it.id).collect();
            pages::repeated(&mut tx, &ids).await?
        }
    };
    tx.commit().await?;
    if wanted.delivery.is_some() && stored.is_empty() {
        return Err(Problem::Conflict(
            "no event came of that delivery, or it came through another trigger".to_owned(),
        ));
    }
    let (trigger, bindings, warnings) = edited(shown, &mut wanted)?;
    let events: Vec<_> = match wanted.event {
        Some(pasted) => vec![(pasted.event(), None)],
        None => stored.into_iter().map(stored_event).collect(),
    };
    // What takes long takes it from nobody else.
    let mut would = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut would = Would {
            tried: Vec::new(),
            jobs: 0,
            cut: false,
            warnings,
        };
        let mut bytes = 0;
        for (event, delivery) in events {
            bytes += event.data.len();
            if bytes > BYTES_MAX || begun.elapsed() > TIME_MAX {
                would.cut = true;
                break;
            }
            let mut decisions = decide(&event, &trigger, &bindings);
            if let Some(told) = repeats.remove(&event.id) {
                let again = |it: Decision| it.of_a_repeat(&told);
                decisions = decisions.into_iter().map(again).collect();
            }
            would.add(event, delivery, decisions);
        }
        would
    })
    .await
    .map_err(Problem::internal)?;
    let decisions = would.tried.iter_mut().flat_map(|it| &mut it.decisions);
    for decision in decisions {
        if let Decision::Matched { start, .. } = decision {
            start.payload = asked.payload(&start.task, start.payload.take());
        }
    }
    answer(would)
}

type Delivered = Option<(DeliveryId, DateTime<Utc>)>;

impl Pasted {
    fn event(self) -> Event {
        Event {
            id: EventId::from(uuid::Uuid::nil()),
            ty: self.ty,
            source: self.source,
            subject: self.subject,
            data: self.data.to_string(),
            correlation_id: String::new(),
            depth: self.depth,
            only_binding: None,
            job: None,
            untrusted: false,
        }
    }
}

fn stored_event(it: TriedWith) -> (Event, Delivered) {
    let event = Event {
        id: it.id,
        ty: it.ty,
        source: it.source,
        subject: it.subject,
        data: it.data,
        correlation_id: it.correlation_id,
        depth: it.depth,
        only_binding: None,
        // Deliveries tell of no job.
        job: None,
        untrusted: false,
    };
    (event, it.delivery)
}

impl Would {
    fn add(&mut self, event: Event, delivery: Delivered, decisions: Vec<Decision>) {
        self.jobs += decisions
            .iter()
            .filter(|it| matches!(it, Decision::Matched { .. }))
            .count();
        self.tried.push(Tried {
            event: (!event.id.uuid().is_nil()).then_some(event.id),
            ty: event.ty,
            subject: event.subject,
            delivery: delivery.map(|it| it.0),
            received_at: delivery.map(|it| it.1),
            decisions,
        });
    }
}
