//! What triggers start: made, changed, put in order, removed; and what each made of events.

use axum::extract::Path;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use database::TenantTx;
use http::StatusCode;
use http::header::LOCATION;
use model::{BindingId, Host, Role, SourceKind, TenantId, TriggerId, WorkloadId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::bindings::{self, BindingWanted, Decided, WorkloadWanted};
use store::pages::{self, BindingShown};
use store::triggers::Saved;
use triggers::Target;

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named, rows};

/// A binding as it comes: `workload`, or `new_workload`, or `task`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBinding {
    /// Overrides of the trigger's filter.
    #[serde(default)]
    filter: Map<String, Value>,
    condition: Option<Value>,
    #[serde(default = "on")]
    enabled: bool,
    workload: Option<WorkloadId>,
    new_workload: Option<NewWorkload>,
    /// Overrides of the workload's config.
    #[serde(default)]
    overrides: Map<String, Value>,
    task: Option<String>,
    /// The task's: JSON whose texts may be templates.
    payload: Option<Value>,
    queue: Option<String>,
    key: Option<String>,
    priority: Option<i32>,
}

const fn on() -> bool {
    true
}

/// A workload that is made with its binding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWorkload {
    name: String,
    source: SourceKind,
    config: Map<String, Value>,
    host: Host,
}

/// What comes but for the workload that is to be made.
fn wanted(new: NewBinding, made: Option<WorkloadId>) -> Result<BindingWanted, Problem> {
    let wrong = |text: &str| Err(Problem::BadBody(text.to_owned()));
    let of_a_task =
        new.payload.is_some() || new.queue.is_some() || new.key.is_some() || new.priority.is_some();
    let target = match (new.workload.or(made), new.task) {
        (Some(_), None) if of_a_task => {
            return wrong(
                "payload, queue, key and priority are those of a task; a deploy has its own",
            );
        }
        (Some(id), None) => Target::Workload {
            id,
            source: String::new(),
            overrides: new.overrides,
        },
        (None, Some(_)) if !new.overrides.is_empty() => {
            return wrong("overrides: a task has no config that they could override");
        }
        (None, Some(task)) => Target::Task {
            task,
            payload: new.payload.unwrap_or_else(|| json!({})),
            queue_name: new.queue,
            key: new.key,
            priority: new.priority.unwrap_or_default(),
        },
        (Some(_), Some(_)) | (None, None) => {
            return wrong("a binding starts one thing: say workload, new_workload or task");
        }
    };
    Ok(BindingWanted {
        filter: new.filter,
        condition: new.condition,
        target,
        enabled: new.enabled,
    })
}

/// Makes a binding, and before it the workload that comes with it.
pub(crate) async fn make(
    tx: &mut TenantTx,
    tenant: TenantId,
    trigger: TriggerId,
    mut new: NewBinding,
    by: &str,
) -> Result<Saved<BindingId>, Problem> {
    let made = match new.new_workload.take() {
        Some(_) if new.workload.is_some() => {
            return Err(Problem::BadBody(
                "a binding starts one thing: say workload or new_workload".to_owned(),
            ));
        }
        Some(new) => {
            let wanted = WorkloadWanted {
                name: new.name,
                source: new.source,
                config: new.config,
                host: new.host,
            };
            Some(bindings::create_workload(tx, tenant, &wanted).await?)
        }
        None => None,
    };
    let wanted = wanted(new, made)?;
    Ok(bindings::create(tx, tenant, trigger, &wanted, by).await?)
}

/// A binding that was made or changed.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    binding: BindingShown,
    trigger: TriggerId,
    warnings: Vec<String>,
}

async fn shown(tx: &mut TenantTx, id: BindingId, warnings: Vec<String>) -> Result<Shown, Problem> {
    let trigger = pages::trigger_of_binding(tx, id).await?;
    let trigger = trigger.ok_or(Problem::NotFound)?;
    let found = pages::trigger_shown(tx, trigger)
        .await?
        .ok_or(Problem::NotFound)?;
    let binding = found.bindings.into_iter().find(|binding| binding.id == id);
    Ok(Shown {
        binding: binding.ok_or(Problem::NotFound)?,
        trigger,
        warnings,
    })
}

pub(crate) async fn create(
    Path(trigger): Path<String>,
    asked: Asked,
    Given(new): Given<NewBinding>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let trigger: TriggerId = named(&trigger)?;
    let mut tx = asked.begin().await?;
    let Saved { id, warnings } = make(&mut tx, asked.tenant(), trigger, new, by).await?;
    let shown = shown(&mut tx, id, warnings).await?;
    tx.commit().await?;
    let place = [(LOCATION, format!("/bindings/{id}"))];
    Ok((StatusCode::CREATED, place, answer(shown)?))
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    let id: BindingId = named(&id)?;
    let mut tx = asked.begin().await?;
    let mut found = shown(&mut tx, id, Vec::new()).await?;
    tx.commit().await?;
    asked.hide(&mut found.binding);
    answer(found)
}

pub(crate) async fn change(
    Path(id): Path<String>,
    asked: Asked,
    Given(new): Given<NewBinding>,
) -> Answer<Shown> {
    let by = asked.may(Role::Admin)?;
    let id: BindingId = named(&id)?;
    if new.new_workload.is_some() {
        return Err(Problem::BadBody(
            "new_workload: a binding goes on starting what it starts".to_owned(),
        ));
    }
    let wanted = wanted(new, None)?;
    let mut tx = asked.begin().await?;
    let saved = bindings::change(&mut tx, id, &wanted, by).await?;
    let shown = shown(&mut tx, id, saved.warnings).await?;
    tx.commit().await?;
    answer(shown)
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Admin)?;
    let id: BindingId = named(&id)?;
    let mut tx = asked.begin().await?;
    bindings::remove(&mut tx, id, by).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bindings of a trigger in their order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    bindings: Vec<BindingId>,
}

pub(crate) async fn order(
    Path(trigger): Path<String>,
    asked: Asked,
    Given(order): Given<Order>,
) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Admin)?;
    let trigger: TriggerId = named(&trigger)?;
    let mut tx = asked.begin().await?;
    bindings::order(&mut tx, trigger, &order.bindings, by).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn decisions(Path(id): Path<String>, mut asked: Asked) -> Answer<Piece<Decided>> {
    let id: BindingId = named(&id)?;
    let (before, limit) = asked.piece::<DateTime<Utc>>()?;
    let mut tx = asked.begin().await?;
    let known = pages::trigger_of_binding(&mut tx, id).await?;
    let rows = bindings::decisions(&mut tx, id, before, rows(limit)).await?;
    tx.commit().await?;
    // Those of a binding that was removed stay told with their events.
    known.ok_or(Problem::NotFound)?;
    answer(asked.list(rows, limit, |row| row.decided_at.to_rfc3339())?)
}

/// A workload's config.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    config: Map<String, Value>,
}

/// What is bound to the workload must still be right with it.
pub(crate) async fn change_workload(
    Path(id): Path<String>,
    asked: Asked,
    Given(config): Given<Config>,
) -> Result<StatusCode, Problem> {
    asked.may(Role::Admin)?;
    let id: WorkloadId = named(&id)?;
    let mut tx = asked.begin().await?;
    bindings::change_workload(&mut tx, id, &config.config).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
