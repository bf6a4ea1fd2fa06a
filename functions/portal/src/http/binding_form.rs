//! Making and changing bindings: what is written becomes one, with the workload that is made for it, or comes back with what is
//! wrong and nothing stored.

use ::triggers::Target;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::{BindingId, Host, SourceKind, TriggerKind};
use serde_json::Value;
use store::bindings::{self, BindingWanted, WorkloadWanted};
use store::pages::{self, TriggerShown};

use super::binding_payload::{self, InFields};
use super::problem::Problem;
use super::queues::said;
use super::rows;
use super::session::{Posted, Signed};
use super::trigger_form::{Filter, Sent, condition, faults, object, status, turned};
use super::triggers::{expression, kind};
use crate::config_form::fields;
use crate::views::model::{BindingForm, BindingFormPage, ConfigAs, FormFault, NEW_WORKLOAD};
use crate::views::trigger_form::binding_form;

/// What the config of a new workload begins with.
const NEW_CONFIG: &str = r#"{
  "source": {
    "kind": "provider",
    "base_url": "https://git.example.com",
    "repository": "owner/name"
  }
}"#;

/// Workloads to choose from.
const WORKLOADS: usize = 100;

fn of_binding(form: &mut BindingForm, kind: TriggerKind) -> Filter<'_> {
    Filter {
        known: fields(kind),
        config_as: &mut form.config_as,
        fields: &mut form.fields,
        rest: &mut form.rest,
        json: &mut form.config_json,
    }
}

async fn binding_page(
    tx: &mut TenantTx,
    trigger: &TriggerShown,
    changes: Option<BindingId>,
    (form, payload): (BindingForm, Option<InFields>),
    wrong: Vec<FormFault>,
) -> Result<BindingFormPage, Problem> {
    let workloads = pages::workloads(tx, None, WORKLOADS).await?;
    Ok(BindingFormPage {
        trigger: (trigger.id, trigger.name.clone()),
        kind: kind(&trigger.kind)?,
        config: format!("{:#}", trigger.config),
        changes,
        form,
        wrong,
        workloads: workloads
            .into_iter()
            .map(|workload| (workload.id.to_string(), workload.name))
            .collect(),
        kinds: runs::kinds()
            .iter()
            .map(|kind| (kind.name, kind.title))
            .collect(),
        payload: payload.map(|payload| (payload.fields, payload.written)),
    })
}

pub(super) async fn new_binding(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::trigger_shown(&mut tx, rows::id(&id)?).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let form = BindingForm {
        enabled: "on".to_owned(),
        workload: NEW_WORKLOAD.to_owned(),
        new_config: NEW_CONFIG.to_owned(),
        ..BindingForm::default()
    };
    let mut view = binding_page(&mut tx, &found, None, (form, None), Vec::new()).await?;
    tx.commit().await?;
    // Most bindings deploy something.
    if let Some((first, _)) = view.workloads.first() {
        view.form.workload.clone_from(first);
    }
    Ok(binding_form(&signed.reader(), &view))
}

pub(super) async fn edit_binding(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let id: BindingId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = trigger_of(&mut tx, id).await?;
    let wanted = bindings::wanted_now(&mut tx, id).await?;
    let written = written_binding(&wanted, kind(&found.kind)?);
    let view = binding_page(&mut tx, &found, Some(id), written, Vec::new()).await?;
    tx.commit().await?;
    Ok(binding_form(&signed.reader(), &view))
}

async fn trigger_of(tx: &mut TenantTx, id: BindingId) -> Result<TriggerShown, Problem> {
    let trigger = pages::trigger_of_binding(tx, id).await?;
    let trigger = trigger.ok_or(Problem::NotFound)?;
    let found = pages::trigger_shown(tx, trigger).await?;
    found.ok_or(Problem::NotFound)
}

/// A binding's form as it is before anything is changed.
fn written_binding(wanted: &BindingWanted, kind: TriggerKind) -> (BindingForm, Option<InFields>) {
    let mut in_fields = None;
    let mut form = BindingForm {
        condition: wanted
            .condition
            .as_ref()
            .map(expression)
            .unwrap_or_default(),
        enabled: if wanted.enabled { "on" } else { "" }.to_owned(),
        ..BindingForm::default()
    };
    match &wanted.target {
        Target::Workload { id, overrides, .. } => {
            form.workload = id.to_string();
            if !overrides.is_empty() {
                form.overrides = format!("{:#}", Value::Object(overrides.clone()));
            }
        }
        Target::Task {
            task,
            payload,
            queue_name,
            key,
            priority,
        } => {
            form.task.clone_from(task);
            in_fields = InFields::stored(&mut form, payload);
            form.queue_name = queue_name.clone().unwrap_or_default();
            form.key = key.clone().unwrap_or_default();
            form.priority = priority.to_string();
        }
    }
    of_binding(&mut form, kind).write(&wanted.filter, ConfigAs::Fields);
    (form, in_fields)
}

/// What is written as a binding, or all that keeps it from being one.
fn wanted_binding(
    form: &mut BindingForm,
    in_fields: Option<&InFields>,
    kind: TriggerKind,
) -> Result<BindingWanted, Vec<FormFault>> {
    let mut wrong = Vec::new();
    let filter = of_binding(form, kind).read();
    let target = match said(&form.workload) {
        Some(workload) => match (workload.parse(), object("config", &form.overrides)) {
            (Ok(id), Ok(overrides)) => Ok(Target::Workload {
                id,
                // It is looked up.
                source: String::new(),
                overrides,
            }),
            (Err(_), _) => Err(vec![FormFault::Said(
                "workload: there is no such workload".to_owned(),
            )]),
            (_, Err(fault)) => Err(vec![fault]),
        },
        None => binding_payload::read(form, in_fields).and_then(|payload| {
            let priority = said(&form.priority).unwrap_or("0").parse();
            Ok(Target::Task {
                task: form.task.trim().to_owned(),
                payload: Value::Object(payload),
                queue_name: said(&form.queue_name).map(str::to_owned),
                key: said(&form.key).map(str::to_owned),
                priority: priority.map_err(|_| {
                    vec![FormFault::Said(
                        "priority: a whole number is expected".to_owned(),
                    )]
                })?,
            })
        }),
    };
    match (filter, target) {
        (Ok(filter), Ok(target)) => Ok(BindingWanted {
            filter,
            condition: condition(&form.condition),
            target,
            enabled: !form.enabled.is_empty(),
        }),
        (filter, target) => {
            wrong.extend(filter.err());
            wrong.extend(target.err().into_iter().flatten());
            Err(wrong)
        }
    }
}

pub(super) async fn create_binding(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent<BindingForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::trigger_shown(&mut tx, rows::id(&id)?).await?;
    let found = found.ok_or(Problem::NotFound)?;
    answer_binding(&ctx, &signed, tx, &found, None, sent).await
}

pub(super) async fn change_binding(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent<BindingForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: BindingId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = trigger_of(&mut tx, id).await?;
    answer_binding(&ctx, &signed, tx, &found, Some(id), sent).await
}

/// The workload that is to be made with a binding, if one is.
fn new_workload(form: &BindingForm) -> Result<Option<WorkloadWanted>, Vec<FormFault>> {
    if form.workload != NEW_WORKLOAD {
        return Ok(None);
    }
    let config = object("config", &form.new_config);
    let host: Result<Host, _> = form.new_host.trim().parse();
    let host = host.map_err(|error| FormFault::Said(format!("host: {error}")));
    match (config, host) {
        (Ok(config), Ok(host)) => Ok(Some(WorkloadWanted {
            name: form.new_name.trim().to_owned(),
            source: SourceKind::Static,
            config,
            host,
        })),
        (config, host) => Err(config.err().into_iter().chain(host.err()).collect()),
    }
}

/// Makes or changes a binding, with the workload that is made with it: both or nothing.
async fn save_binding(
    tx: &mut TenantTx,
    signed: &Signed,
    trigger: &TriggerShown,
    changes: Option<BindingId>,
    (form, in_fields): (&mut BindingForm, Option<&InFields>),
) -> Result<Result<BindingId, Vec<FormFault>>, Problem> {
    let kind = kind(&trigger.kind)?;
    let new = match new_workload(form) {
        Ok(new) => new,
        Err(wrong) => return Ok(Err(wrong)),
    };
    if let Some(new) = new {
        match bindings::create_workload(tx, signed.tenant, &new).await {
            Ok(made) => form.workload = made.to_string(),
            Err(error) => return Ok(Err(faults(error)?)),
        }
    }
    let wanted = match wanted_binding(form, in_fields, kind) {
        Ok(wanted) => wanted,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let saved = match changes {
        None => bindings::create(tx, signed.tenant, trigger.id, &wanted, signed.name()).await,
        Some(id) => bindings::change(tx, id, &wanted, signed.name()).await,
    };
    match saved {
        Ok(saved) => Ok(Ok(saved.id)),
        Err(error) => Ok(Err(faults(error)?)),
    }
}

async fn answer_binding(
    ctx: &Ctx,
    signed: &Signed,
    mut tx: TenantTx,
    trigger: &TriggerShown,
    changes: Option<BindingId>,
    Sent { deed, mut form }: Sent<BindingForm>,
) -> Result<Response, Problem> {
    let kind = kind(&trigger.kind)?;
    let mut payload = InFields::sent(&mut form);
    let workspaces = store::workspaces::list(&mut tx).await?;
    let workspace = workspaces.first().map(|workspace| workspace.name.as_str());
    let turned = binding_payload::turn(&mut form, &mut payload, kind, workspace)
        .or_else(|| turned(deed, of_binding(&mut form, kind)));
    let wrong = match turned {
        Some(wrong) => wrong,
        None => {
            let chosen = form.workload.clone();
            let written = (&mut form, payload.as_ref());
            match save_binding(&mut tx, signed, trigger, changes, written).await? {
                Ok(saved) => {
                    tx.commit().await?;
                    tracing::info!(binding.id = %saved, tenant.id = %signed.tenant, "saved a binding");
                    let page = format!("/triggers/{}", trigger.id);
                    return Ok(Redirect::to(&page).into_response());
                }
                Err(wrong) => {
                    // Nothing is there, the new workload neither.
                    form.workload = chosen;
                    wrong
                }
            }
        }
    };
    // What was refused may have ended its transaction.
    drop(tx);
    let mut tx = signed.begin(ctx).await?;
    let view = binding_page(&mut tx, trigger, changes, (form, payload), wrong).await?;
    tx.commit().await?;
    Ok((status(&view.wrong), binding_form(&signed.reader(), &view)).into_response())
}
