//! What a trigger would do: the same decisions as for real events, and nothing starts.

use ::triggers::{Binding, Decision, Event, Target, Trigger, decide};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use database::TenantTx;
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use model::{DeliveryId, EventId, TriggerId};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::pages::{self, TriedWith, TriggerShown};
use uuid::Uuid;

use super::events::clauses;
use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};
use super::triggers::target;
use crate::views::dry_run::dry_run;
use crate::views::model::{DryRunPage, FormFault, TriedEvent, TriedRow};

/// How many deliveries are looked at if nothing is said, and at most.
const LAST: usize = 20;
const LAST_MAX: usize = 200;

/// What is tried.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    last: Option<usize>,
    delivery: Option<String>,
}

/// An event that somebody pasted.
#[derive(Debug, Deserialize)]
pub(super) struct Pasted {
    #[serde(default, rename = "type")]
    ty: String,
    #[serde(default)]
    data: String,
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(Asked { last, delivery }): Query<Asked>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = find(&mut tx, &id).await?;
    let delivery: Option<DeliveryId> = delivery.as_deref().map(rows::id).transpose()?;
    let mut view = empty(&signed, &found);
    if last.is_some() || delivery.is_some() {
        let last = last.unwrap_or(LAST).clamp(1, LAST_MAX);
        let stored = pages::tried_with(&mut tx, found.id, delivery, last).await?;
        let ids: Vec<_> = stored.iter().map(|with| with.id).collect();
        let repeats = pages::repeated(&mut tx, &ids).await?;
        let tried = stored.iter().map(|with| {
            let told = repeats.get(&with.id).map(String::as_str);
            tried(&signed, &found, with, told)
        });
        view.events = Some(tried.collect());
        view.last = last;
        view.delivery = delivery;
    }
    tx.commit().await?;
    Ok(dry_run(&signed.reader(), &view))
}

pub(super) async fn paste(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Pasted { ty, data }): Posted<Pasted>,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = find(&mut tx, &id).await?;
    let mut view = empty(&signed, &found);
    match serde_json::from_str::<Value>(&data) {
        Ok(_) => {
            let with = TriedWith {
                id: EventId::from(Uuid::nil()),
                ty: ty.trim().to_owned(),
                source: "/switchyard/dry-run".to_owned(),
                subject: None,
                data: data.clone(),
                correlation_id: String::new(),
                depth: 0,
                delivery: None,
            };
            let told = pages::would_repeat(&mut tx, found.id, &with.ty, &data).await?;
            view.events = Some(vec![tried(&signed, &found, &with, told.as_deref())]);
        }
        Err(error) => view.wrong.push(FormFault::NoJson {
            place: "data".to_owned(),
            why: error.to_string(),
        }),
    }
    tx.commit().await?;
    view.pasted = (ty, data);
    let status = if view.wrong.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    Ok((status, dry_run(&signed.reader(), &view)).into_response())
}

async fn find(tx: &mut TenantTx, id: &str) -> Result<TriggerShown, Problem> {
    let id: TriggerId = rows::id(id)?;
    let found = pages::trigger_shown(tx, id).await?;
    found.ok_or(Problem::NotFound)
}

fn empty(signed: &Signed, found: &TriggerShown) -> DryRunPage {
    DryRunPage {
        trigger: (found.id, found.name.clone()),
        last: LAST,
        delivery: None,
        pasted: ("dev.switchyard.git.pushed.v1".to_owned(), "{}".to_owned()),
        wrong: Vec::new(),
        events: None,
        may_operate: signed.may_operate(),
    }
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// What every binding makes of an event; of one that only repeats what was told before, as dispatch does.
fn tried(
    signed: &Signed,
    found: &TriggerShown,
    with: &TriedWith,
    repeats: Option<&str>,
) -> TriedEvent {
    let language = signed.visitor.language;
    let trigger = Trigger {
        id: found.id,
        kind: found.kind.clone(),
        config: map(&found.config),
        condition: found.condition.clone(),
        enabled: found.enabled,
    };
    let bindings: Vec<Binding> = found
        .bindings
        .iter()
        .map(|binding| Binding {
            id: binding.id,
            filter: map(&binding.filter),
            condition: binding.condition.clone(),
            enabled: binding.enabled,
            target: match &binding.workload {
                Some(workload) => Target::Workload {
                    id: workload.named.id,
                    source: workload.source.clone(),
                    overrides: map(&binding.overrides),
                },
                None => Target::Task {
                    task: binding.task.clone().unwrap_or_default(),
                    payload: binding.payload.clone().unwrap_or_default(),
                    queue_name: binding.queue_name.clone(),
                    key: binding.key.clone(),
                    priority: binding.priority,
                },
            },
        })
        .collect();
    let event = Event {
        id: with.id,
        ty: with.ty.clone(),
        source: with.source.clone(),
        subject: with.subject.clone(),
        data: with.data.clone(),
        correlation_id: with.correlation_id.clone(),
        depth: with.depth,
        only_binding: None,
        // Deliveries tell of no job.
        job: None,
        untrusted: false,
    };
    let rows = decide(&event, &trigger, &bindings)
        .into_iter()
        .map(|decision| match repeats {
            Some(told) => decision.of_a_repeat(told),
            None => decision,
        })
        .filter_map(|decision| {
            let id = decision.binding();
            let at = found.bindings.iter().position(|binding| binding.id == id)?;
            let (held, failed, payload) = match decision {
                Decision::Matched { held, start, .. } => {
                    let payload = signed.payload(&start.task, start.payload);
                    (held, None, Some(format!("{payload:#}")))
                }
                Decision::Unmatched { held, failed, .. } => (held, Some(failed), None),
            };
            Some(TriedRow {
                binding: language.with("binding-number", &[("n", (at + 1).into())]),
                id,
                target: target(&found.bindings[at]),
                matched: failed.is_none(),
                clauses: clauses(language, &held, failed.as_ref()),
                payload,
            })
        })
        .collect();
    TriedEvent {
        kind: rows::event_kind(&with.ty),
        subject: with.subject.clone(),
        delivery: with.delivery,
        rows,
    }
}
