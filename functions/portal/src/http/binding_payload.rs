//! The payload of a binding's task: as JSON, or in the fields of a kind of run, as the form that starts one has them. Texts may
//! be templates in either.

use model::TriggerKind;
use runs::Kind;
use serde_json::{Map, Value, json};

use super::run_form::told;
use super::trigger_form::object;
use crate::payload_form::{self, Field, Written, fields, join, split};
use crate::views::model::{BindingForm, FormFault, PAYLOAD_FIELDS, PAYLOAD_JSON};

/// A payload that is written in fields.
pub(super) struct InFields {
    pub(super) fields: Vec<Field>,
    pub(super) written: Written,
}

impl InFields {
    fn of(kind: &Kind, payload: &Map<String, Value>) -> Self {
        let fields = fields(&(kind.schema)());
        Self {
            written: split(&fields, payload),
            fields,
        }
    }

    /// What a form has sent in fields, if it has: it is taken out of the form's others.
    pub(super) fn sent(form: &mut BindingForm) -> Option<Self> {
        let Some(kind) = runs::kind(&form.payload_of) else {
            form.payload_of.clear();
            return None;
        };
        let fields = fields(&(kind.schema)());
        let written = payload_form::sent(&fields, &mut form.fields, form.payload.clone());
        Some(Self { fields, written })
    }

    /// The payload of a binding that is there: in fields, where its task is a kind of run.
    pub(super) fn stored(form: &mut BindingForm, payload: &Value) -> Option<Self> {
        let found = runs::kind(&form.task).zip(payload.as_object());
        let Some((kind, payload)) = found else {
            form.payload = format!("{payload:#}");
            return None;
        };
        form.payload_of = kind.name.to_owned();
        Some(Self::of(kind, payload))
    }
}

/// The payload that is written.
pub(super) fn read(
    form: &BindingForm,
    in_fields: Option<&InFields>,
) -> Result<Map<String, Value>, Vec<FormFault>> {
    match in_fields {
        Some(InFields { fields, written }) => {
            join(fields, written).map_err(|faults| faults.into_iter().map(told).collect())
        }
        None => object("payload", &form.payload).map_err(|fault| vec![fault]),
    }
}

/// What a new payload of a kind begins with. Of a push, that is what was pushed.
fn sample(kind: &Kind, trigger: TriggerKind, workspace: Option<&str>) -> Map<String, Value> {
    let mut sample = (kind.sample)();
    let from_workspaces =
        (kind.schema)()["properties"]["source"]["properties"]["workspace"].is_object();
    if let Some(workspace) = workspace.filter(|_| from_workspaces) {
        sample["source"] = json!({ "workspace": workspace });
        if trigger == TriggerKind::Git {
            sample["source"]["commit"] = json!("{{ event.data.after }}");
        }
        if let Some(sample) = sample.as_object_mut() {
            sample.remove("variables");
        }
    }
    match sample {
        Value::Object(sample) => sample,
        _ => Map::new(),
    }
}

/// Does what a button beside the payload says, if one was pressed. What cannot be read stays as it is.
pub(super) fn turn(
    form: &mut BindingForm,
    in_fields: &mut Option<InFields>,
    trigger: TriggerKind,
    workspace: Option<&str>,
) -> Option<Vec<FormFault>> {
    let pressed = std::mem::take(&mut form.payload_do);
    if let Some(kind) = runs::kind(&pressed) {
        form.workload.clear();
        form.task = kind.name.to_owned();
        show(form, in_fields, kind, &sample(kind, trigger, workspace));
        return Some(Vec::new());
    }
    if pressed != PAYLOAD_FIELDS && pressed != PAYLOAD_JSON {
        return None;
    }
    let payload = match read(form, in_fields.as_ref()) {
        Ok(payload) => payload,
        Err(wrong) => return Some(wrong),
    };
    let kind = runs::kind(form.task.trim()).filter(|_| pressed == PAYLOAD_FIELDS);
    match kind {
        Some(kind) => show(form, in_fields, kind, &payload),
        None => {
            form.payload_of.clear();
            form.payload = format!("{:#}", Value::Object(payload));
            *in_fields = None;
        }
    }
    Some(Vec::new())
}

fn show(
    form: &mut BindingForm,
    in_fields: &mut Option<InFields>,
    kind: &Kind,
    payload: &Map<String, Value>,
) {
    form.payload_of = kind.name.to_owned();
    form.payload.clear();
    *in_fields = Some(InFields::of(kind, payload));
}
