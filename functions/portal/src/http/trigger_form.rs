//! Making and changing triggers and bindings: what is written becomes one, or comes back with what is wrong and nothing
//! stored.

use std::collections::BTreeMap;

use ::triggers::Target;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::Duration;
use database::TenantTx;
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use model::{BindingId, Scheme, TriggerId, TriggerKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::bindings::{self, BindingWanted};
use store::pages::{self, TriggerShown};
use store::triggers::{self, SaveError, TriggerWanted};

use super::problem::Problem;
use super::queues::said;
use super::rows;
use super::session::{Posted, Signed};
use super::triggers::{expression, give_secret, kind, read};
use crate::config_form::{Field, fields, join, split};
use crate::views::model::{
    BindingForm, BindingFormPage, ConfigAs, FormFault, SchemeAs, TriggerForm, TriggerFormPage,
};
use crate::views::trigger_form::{binding_form, trigger_form};
use crate::views::triggers::trigger as trigger_view;

/// Workloads to choose from.
const WORKLOADS: usize = 100;

/// Which button was pressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    #[default]
    Save,
    /// Write the filter in fields.
    Fields,
    /// Write the filter as JSON.
    Json,
    /// Try what is written, and save nothing.
    Try,
}

/// A form as it is sent.
#[derive(Debug, Deserialize)]
pub(super) struct Sent<Form> {
    #[serde(default, rename = "do")]
    pub(super) deed: Deed,
    #[serde(flatten)]
    pub(super) form: Form,
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    kind: Option<String>,
}

/// The filter of a form, in whichever way it is written.
pub(super) struct Filter<'a> {
    /// What it has fields for.
    pub(super) known: &'static [Field],
    pub(super) config_as: &'a mut ConfigAs,
    pub(super) fields: &'a mut BTreeMap<String, String>,
    pub(super) rest: &'a mut String,
    pub(super) json: &'a mut String,
}

impl Filter<'_> {
    pub(super) fn read(&self) -> Result<Map<String, Value>, FormFault> {
        match *self.config_as {
            ConfigAs::Json => object("JSON", self.json),
            ConfigAs::Fields => {
                let rest = object("JSON", self.rest)?;
                let text = |key: &str| self.fields.get(&format!("config.{key}")).cloned();
                Ok(join(self.known, text, &rest))
            }
        }
    }

    pub(super) fn write(&mut self, config: &Map<String, Value>, config_as: ConfigAs) {
        *self.config_as = config_as;
        match config_as {
            ConfigAs::Json => *self.json = format!("{:#}", Value::Object(config.clone())),
            ConfigAs::Fields => {
                let written = split(self.known, config);
                let named = |(key, text): (&str, String)| (format!("config.{key}"), text);
                *self.fields = written.fields.into_iter().map(named).collect();
                *self.rest = if written.rest.is_empty() {
                    String::new()
                } else {
                    format!("{:#}", Value::Object(written.rest))
                };
            }
        }
    }

    /// Goes over to the other way of writing; what cannot be read stays as it is.
    fn turn(&mut self, config_as: ConfigAs) -> Vec<FormFault> {
        match self.read() {
            Ok(config) => {
                self.write(&config, config_as);
                Vec::new()
            }
            Err(fault) => vec![fault],
        }
    }
}

/// A JSON object; nothing written is an empty one.
fn object(place: &str, text: &str) -> Result<Map<String, Value>, FormFault> {
    let Some(text) = said(text) else {
        return Ok(Map::new());
    };
    serde_json::from_str(text).map_err(|error| FormFault::NoJson {
        place: place.to_owned(),
        why: error.to_string(),
    })
}

fn condition(text: &str) -> Option<Value> {
    said(text).map(|text| json!({ "language": "cel", "expression": text }))
}

/// What a refusal has to say; what is no refusal is a problem.
pub(super) fn faults(error: SaveError) -> Result<Vec<FormFault>, Problem> {
    match error {
        SaveError::Wrong(list) => Ok(list.into_iter().map(FormFault::Said).collect()),
        SaveError::Conflict(text) => Ok(vec![FormFault::Said(text)]),
        error @ (SaveError::Missing(_) | SaveError::Database(_)) => Err(error.into()),
    }
}

fn of_trigger(form: &mut TriggerForm, kind: TriggerKind) -> Filter<'_> {
    Filter {
        known: fields(kind),
        config_as: &mut form.config_as,
        fields: &mut form.fields,
        rest: &mut form.rest,
        json: &mut form.config_json,
    }
}

fn of_binding(form: &mut BindingForm, kind: TriggerKind) -> Filter<'_> {
    Filter {
        known: fields(kind),
        config_as: &mut form.config_as,
        fields: &mut form.fields,
        rest: &mut form.rest,
        json: &mut form.config_json,
    }
}

fn trigger_page(
    changes: Option<(TriggerId, String)>,
    kind: TriggerKind,
    form: TriggerForm,
    wrong: Vec<FormFault>,
) -> TriggerFormPage {
    let sample = ::triggers::kinds().into_iter().find(|it| it.kind == kind);
    TriggerFormPage {
        changes,
        kind,
        form,
        wrong,
        sample: sample.map_or_else(String::new, |it| format!("{:#}", it.sample)),
    }
}

pub(super) async fn new(
    signed: Signed,
    Query(Chosen { kind }): Query<Chosen>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let kind = kind.as_deref().unwrap_or("git");
    let kind = kind.parse().map_err(|_| Problem::NotFound)?;
    let view = trigger_page(None, kind, TriggerForm::default(), Vec::new());
    Ok(trigger_form(&signed.reader(), &view))
}

pub(super) async fn edit(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::trigger_shown(&mut tx, rows::id(&id)?).await?;
    tx.commit().await?;
    let found = found.ok_or(Problem::NotFound)?;
    let kind = kind(&found.kind)?;
    let view = trigger_page(
        Some((found.id, found.name.clone())),
        kind,
        written(&found, kind),
        Vec::new(),
    );
    Ok(trigger_form(&signed.reader(), &view))
}

/// A trigger's form as it is before anything is changed.
fn written(found: &TriggerShown, kind: TriggerKind) -> TriggerForm {
    let mut form = TriggerForm {
        name: found.name.clone(),
        condition: found.condition.as_ref().map(expression).unwrap_or_default(),
        ..TriggerForm::default()
    };
    match &found.scheme {
        None => {}
        Some(scheme) if *scheme == json!({ "kind": "path" }) => form.scheme_as = SchemeAs::Path,
        Some(scheme) if *scheme == json!({ "kind": "standard" }) => {
            form.scheme_as = SchemeAs::Standard;
        }
        Some(scheme) => {
            form.scheme_as = SchemeAs::Json;
            form.scheme_json = scheme.to_string();
        }
    }
    let config = found.config.as_object().cloned().unwrap_or_default();
    of_trigger(&mut form, kind).write(&config, ConfigAs::Fields);
    form
}

fn scheme(form: &TriggerForm) -> Result<Option<Scheme>, FormFault> {
    let given = match form.scheme_as {
        SchemeAs::Usual => return Ok(None),
        SchemeAs::Path => Ok(Scheme::Path {}),
        SchemeAs::Standard => Ok(Scheme::Standard(model::scheme::StandardScheme::default())),
        SchemeAs::Json => serde_json::from_str(&form.scheme_json),
    };
    given.map(Some).map_err(|error| FormFault::NoJson {
        place: "scheme".to_owned(),
        why: error.to_string(),
    })
}

/// What is written as a trigger, or all that keeps it from being one.
fn wanted(
    form: &mut TriggerForm,
    kind: TriggerKind,
    enabled: bool,
) -> Result<TriggerWanted, Vec<FormFault>> {
    let mut wrong = Vec::new();
    if form.name.trim().is_empty() {
        wrong.push(FormFault::NoName);
    }
    let config = of_trigger(form, kind).read();
    let scheme = scheme(form);
    match (config, scheme) {
        (Ok(config), Ok(scheme)) if wrong.is_empty() => Ok(TriggerWanted {
            name: form.name.trim().to_owned(),
            kind,
            config,
            condition: condition(&form.condition),
            scheme,
            enabled,
        }),
        (config, scheme) => {
            wrong.extend(config.err());
            wrong.extend(scheme.err());
            Err(wrong)
        }
    }
}

pub(super) async fn create(
    State(ctx): State<Ctx>,
    signed: Signed,
    Posted(Sent { deed, mut form }): Posted<Sent<TriggerForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let kind = form.kind.parse().map_err(|_| Problem::Unreadable)?;
    let wrong = match turned(deed, of_trigger(&mut form, kind)) {
        Some(wrong) => wrong,
        None => match wanted(&mut form, kind, true) {
            Err(wrong) => wrong,
            Ok(wanted) => {
                let mut tx = signed.begin(&ctx).await?;
                match triggers::create(&mut tx, signed.tenant, &wanted, signed.name()).await {
                    Ok(saved) => {
                        let given = made(&ctx, &signed, &mut tx, saved.id, &wanted).await?;
                        let mut view = read(&mut tx, &signed, saved.id).await?;
                        tx.commit().await?;
                        tracing::info!(trigger.id = %saved.id, tenant.id = %signed.tenant, "made a trigger");
                        let Some(shown) = given else {
                            let page = format!("/triggers/{}", saved.id);
                            return Ok(Redirect::to(&page).into_response());
                        };
                        // Not by way of another address: the secret is nowhere but in this answer.
                        view.shown = Some(shown);
                        view.warnings.extend(saved.warnings);
                        let page = trigger_view(&signed.reader(), &view);
                        return Ok((StatusCode::CREATED, page).into_response());
                    }
                    Err(error) => faults(error)?,
                }
            }
        },
    };
    let view = trigger_page(None, kind, form, wrong);
    Ok((status(&view.wrong), trigger_form(&signed.reader(), &view)).into_response())
}

async fn made(
    ctx: &Ctx,
    signed: &Signed,
    tx: &mut TenantTx,
    id: TriggerId,
    wanted: &TriggerWanted,
) -> Result<Option<crate::views::model::Shown>, Problem> {
    if !wanted.kind.takes_webhooks() {
        return Ok(None);
    }
    give_secret(
        ctx,
        signed,
        tx,
        id,
        wanted.scheme.as_ref(),
        None,
        Duration::zero(),
    )
    .await
}

pub(super) fn turned(deed: Deed, mut filter: Filter<'_>) -> Option<Vec<FormFault>> {
    match deed {
        Deed::Save | Deed::Try => None,
        Deed::Fields => Some(filter.turn(ConfigAs::Fields)),
        Deed::Json => Some(filter.turn(ConfigAs::Json)),
    }
}

pub(super) fn status(wrong: &[FormFault]) -> StatusCode {
    if wrong.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

pub(super) async fn change(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Sent { deed, mut form }): Posted<Sent<TriggerForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::trigger_shown(&mut tx, id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let kind = kind(&found.kind)?;
    let wrong = match turned(deed, of_trigger(&mut form, kind)) {
        Some(wrong) => wrong,
        None => match wanted(&mut form, kind, found.enabled) {
            Err(wrong) => wrong,
            Ok(wanted) => match triggers::change(&mut tx, id, &wanted, signed.name()).await {
                Ok(_) => {
                    tx.commit().await?;
                    return Ok(Redirect::to(&format!("/triggers/{id}")).into_response());
                }
                Err(error) => faults(error)?,
            },
        },
    };
    let view = trigger_page(Some((id, found.name)), kind, form, wrong);
    Ok((status(&view.wrong), trigger_form(&signed.reader(), &view)).into_response())
}

async fn binding_page(
    tx: &mut TenantTx,
    trigger: &TriggerShown,
    changes: Option<BindingId>,
    form: BindingForm,
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
        ..BindingForm::default()
    };
    let mut view = binding_page(&mut tx, &found, None, form, Vec::new()).await?;
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
    let form = written_binding(&wanted, kind(&found.kind)?);
    let view = binding_page(&mut tx, &found, Some(id), form, Vec::new()).await?;
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
fn written_binding(wanted: &BindingWanted, kind: TriggerKind) -> BindingForm {
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
            form.payload = format!("{payload:#}");
            form.queue_name = queue_name.clone().unwrap_or_default();
            form.key = key.clone().unwrap_or_default();
            form.priority = priority.to_string();
        }
    }
    of_binding(&mut form, kind).write(&wanted.filter, ConfigAs::Fields);
    form
}

/// What is written as a binding, or all that keeps it from being one.
fn wanted_binding(
    form: &mut BindingForm,
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
            (Err(_), _) => Err(FormFault::Said(
                "workload: there is no such workload".to_owned(),
            )),
            (_, Err(fault)) => Err(fault),
        },
        None => object("payload", &form.payload).and_then(|payload| {
            let priority = said(&form.priority).unwrap_or("0").parse();
            Ok(Target::Task {
                task: form.task.trim().to_owned(),
                payload: Value::Object(payload),
                queue_name: said(&form.queue_name).map(str::to_owned),
                key: said(&form.key).map(str::to_owned),
                priority: priority.map_err(|_| {
                    FormFault::Said("priority: a whole number is expected".to_owned())
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
            wrong.extend(target.err());
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

async fn answer_binding(
    ctx: &Ctx,
    signed: &Signed,
    mut tx: TenantTx,
    trigger: &TriggerShown,
    changes: Option<BindingId>,
    Sent { deed, mut form }: Sent<BindingForm>,
) -> Result<Response, Problem> {
    let kind = kind(&trigger.kind)?;
    let wrong = match turned(deed, of_binding(&mut form, kind)) {
        Some(wrong) => wrong,
        None => match wanted_binding(&mut form, kind) {
            Err(wrong) => wrong,
            Ok(wanted) => {
                let saved = match changes {
                    None => {
                        bindings::create(&mut tx, signed.tenant, trigger.id, &wanted, signed.name())
                            .await
                    }
                    Some(id) => bindings::change(&mut tx, id, &wanted, signed.name()).await,
                };
                match saved {
                    Ok(saved) => {
                        tx.commit().await?;
                        tracing::info!(binding.id = %saved.id, tenant.id = %signed.tenant, "saved a binding");
                        let page = format!("/triggers/{}", trigger.id);
                        return Ok(Redirect::to(&page).into_response());
                    }
                    Err(error) => faults(error)?,
                }
            }
        },
    };
    // What was refused may have ended its transaction.
    drop(tx);
    let mut tx = signed.begin(ctx).await?;
    let view = binding_page(&mut tx, trigger, changes, form, wrong).await?;
    tx.commit().await?;
    Ok((status(&view.wrong), binding_form(&signed.reader(), &view)).into_response())
}
