//! What runs there are, for forms and for who writes the payload of a job or a binding.

use serde::Serialize;
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::declared::All;
use crate::{Answer, answer};

/// A kind of run.
#[derive(Debug, Serialize)]
pub(crate) struct RunKind {
    /// The task.
    task: &'static str,
    title: &'static str,
    /// JSON Schema of a job's payload.
    schema: Value,
    /// A payload that works.
    sample: Value,
    /// The binding of a trigger that starts it with that payload.
    binding: Value,
}

pub(crate) async fn list(asked: Asked) -> Answer<All<RunKind>> {
    asked.nothing_more()?;
    let kinds = runs::kinds().iter().map(|kind| {
        let sample = (kind.sample)();
        RunKind {
            task: kind.name,
            title: kind.title,
            schema: (kind.schema)(),
            binding: json!({"task": kind.name, "payload": sample}),
            sample,
        }
    });
    answer(All {
        items: kinds.collect(),
    })
}
