//! Starting a run: the payload in fields of its kind or as JSON. What is wrong comes back with the form, and nothing is added.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use queue::OwnJob;
use runs::Kind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::session::{Posted, Signed};
use super::trigger_form::Deed;
use crate::payload_form::{self, Fault, Field, Written, fields, join, split};
use crate::views::model::{FormFault, RunFormPage};
use crate::views::runs::run_form;

/// What a form is opened for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chosen {
    kind: Option<String>,
    workspace: Option<uuid::Uuid>,
    #[serde(default)]
    folder: String,
    /// The file in it that a lab is made of.
    topology: Option<String>,
}

fn kind_of(name: Option<&str>) -> Result<&'static Kind, Problem> {
    match name {
        Some(name) => runs::kind(name).ok_or(Problem::NotFound),
        None => runs::kinds().first().ok_or(Problem::NotFound),
    }
}

fn form(kind: &Kind, fields: Vec<Field>, written: Written) -> RunFormPage {
    RunFormPage {
        kinds: runs::kinds()
            .iter()
            .map(|kind| (kind.name, kind.title))
            .collect(),
        kind: kind.name.to_owned(),
        fields,
        written,
        json: None,
        wrong: Vec::new(),
    }
}

/// The form with the kind's sample in it, or with what a workspace has.
pub(super) async fn new(signed: Signed, Query(chosen): Query<Chosen>) -> Result<Markup, Problem> {
    signed.operate()?;
    let kind = kind_of(chosen.kind.as_deref())?;
    let mut payload = object((kind.sample)());
    if let Some(workspace) = chosen.workspace {
        let mut source = json!({ "workspace": workspace });
        // A lab's template is its topology, which lies in a folder of it; a configuration is a folder.
        let (folder, topology) = if payload.contains_key("lab") {
            chosen
                .folder
                .rsplit_once('/')
                .unwrap_or(("", &chosen.folder))
        } else {
            (chosen.folder.as_str(), "")
        };
        for (field, value) in [("folder", folder), ("topology", topology)] {
            if !value.is_empty() {
                source[field] = json!(value);
            }
        }
        if let Some(topology) = &chosen.topology {
            source["topology"] = json!(topology);
        }
        payload.insert("source".to_owned(), source);
        payload.remove("variables");
        let name = folder.rsplit('/').next().unwrap_or_default();
        if payload.contains_key("state") && !name.is_empty() {
            payload.insert("state".to_owned(), json!(name));
        }
    }
    let fields = fields(&(kind.schema)());
    let written = split(&fields, &payload);
    Ok(run_form(&signed.reader(), &form(kind, fields, written)))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A form as it is sent: its own names, and those of the kind's fields.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    #[serde(default, rename = "do")]
    deed: Deed,
    kind: String,
    #[serde(default, rename = "as")]
    written_as: String,
    #[serde(default)]
    json: String,
    #[serde(default)]
    rest: String,
    #[serde(flatten)]
    others: BTreeMap<String, String>,
}

/// What cannot be read, as a form says it.
pub(super) fn told(fault: Fault) -> FormFault {
    match fault {
        Fault::NoJson(place, why) => FormFault::NoJson { place, why },
        Fault::NoNumber(title) => FormFault::NoNumber(title),
    }
}

/// Starts it, or goes over to the other way of writing.
pub(super) async fn start(
    State(ctx): State<Ctx>,
    signed: Signed,
    Posted(mut sent): Posted<Sent>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let kind = kind_of(Some(&sent.kind))?;
    let fields = fields(&(kind.schema)());
    let as_json = sent.written_as == "json";
    let rest = std::mem::take(&mut sent.rest);
    let written = payload_form::sent(&fields, &mut sent.others, rest);
    let payload = if as_json {
        serde_json::from_str::<Map<String, Value>>(&sent.json)
            .map_err(|error| vec![Fault::NoJson("JSON".to_owned(), error.to_string())])
    } else {
        join(&fields, &written)
    };
    let mut view = form(kind, fields, written);
    view.json = as_json.then(|| std::mem::take(&mut sent.json));
    let payload = match payload {
        Ok(payload) => payload,
        Err(faults) => {
            view.wrong = faults.into_iter().map(told).collect();
            return Ok(refused(&signed, &view));
        }
    };
    match sent.deed {
        Deed::Json => {
            view.json = Some(format!("{:#}", Value::Object(payload)));
            return Ok(run_form(&signed.reader(), &view).into_response());
        }
        Deed::Fields => {
            view.written = split(&view.fields, &payload);
            view.json = None;
            return Ok(run_form(&signed.reader(), &view).into_response());
        }
        Deed::Save | Deed::Try => {}
    }
    let payload = Value::Object(payload);
    if let Err(runs::Refused(wrong)) = (kind.check)(&payload) {
        let said =
            |wrong: runs::Wrong| FormFault::Said(format!("{}: {}", wrong.field, wrong.problem));
        view.wrong = wrong.into_iter().map(said).collect();
        return Ok(refused(&signed, &view));
    }
    let key = (kind.key)(&payload);
    let job = OwnJob {
        task: kind.name,
        payload: &payload,
        queue_name: None,
        key: key.as_deref(),
        actor: signed.name(),
    };
    let mut tx = signed.begin(&ctx).await?;
    let added = queue::enqueue_own(&mut tx, &job).await?;
    tx.commit().await?;
    let job = added.job();
    tracing::info!(job.id = %job, tenant.id = %signed.tenant, task.type = kind.name, "started by hand");
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}

fn refused(signed: &Signed, view: &RunFormPage) -> Response {
    let page = run_form(&signed.reader(), view);
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}
