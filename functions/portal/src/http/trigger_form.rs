//! Making and changing triggers: what is written becomes one, or comes back with what is wrong and nothing
//! stored.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::Duration;
use database::TenantTx;
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use model::{Scheme, TriggerId, TriggerKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::pages::{self, TriggerShown};
use store::triggers::{self, SaveError, TriggerWanted};

use super::problem::Problem;
use super::queues::said;
use super::rows;
use super::session::{Posted, Signed};
use super::triggers::{expression, give_secret, kind, read};
use crate::config_form::{Field, fields, join, split};
use crate::views::model::{ConfigAs, FormFault, SchemeAs, TriggerForm, TriggerFormPage};
use crate::views::trigger_form::trigger_form;
use crate::views::triggers::trigger as trigger_view;

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
pub(super) fn object(place: &str, text: &str) -> Result<Map<String, Value>, FormFault> {
    let Some(text) = said(text) else {
        return Ok(Map::new());
    };
    serde_json::from_str(text).map_err(|error| FormFault::NoJson {
        place: place.to_owned(),
        why: error.to_string(),
    })
}

pub(super) fn condition(text: &str) -> Option<Value> {
    said(text).map(|text| json!({ "language": "cel", "expression": text }))
}

/// What a refusal has to say; what is no refusal is a problem.
pub(super) fn faults(error: SaveError) -> Result<Vec<FormFault>, Problem> {
    match error {
        SaveError::Wrong(list) => Ok(list.into_iter().map(FormFault::Refused).collect()),
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
