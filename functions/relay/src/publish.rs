//! From rows to events on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use egress::ClusterEgress;
use events::{EventType, Message, Value, encode_binary};
use host::Ctx;
use http::StatusCode;
use model::{JobQueued, JobState};
use serde::Deserialize;
use store::outbox::OutboxEvent;
use url::Url;

use crate::answer::{self, Answer};
use crate::settings::Settings;

/// How much of an answer's body is kept for people, in bytes.
const ANSWER_BYTES_MAX: usize = 1024;

/// Where events go.
#[derive(Clone)]
pub(crate) struct Sink {
    ctx: Ctx,
    http: ClusterEgress,
    url: Url,
    timeout: Duration,
    overrides: BTreeMap<String, String>,
}

/// What became of a post.
#[derive(Debug)]
pub(crate) struct Posted {
    /// What the broker said; nothing when it said nothing.
    pub(crate) status: Option<StatusCode>,
    /// What that means.
    pub(crate) answer: Answer,
}

/// What of an event is counted once it is published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Which one it is.
    pub(crate) ty: EventType,
    /// The task of its job.
    pub(crate) task: String,
    /// What the job is now.
    pub(crate) state: Option<JobState>,
}

#[derive(Default, Deserialize)]
struct Overrides {
    #[serde(default)]
    extensions: BTreeMap<String, String>,
}

impl Sink {
    pub(crate) fn new(ctx: &Ctx, settings: &Settings) -> anyhow::Result<Self> {
        let overrides: Overrides = if settings.k_ce_overrides.is_empty() {
            Overrides::default()
        } else {
            serde_json::from_str(&settings.k_ce_overrides)
                .context("K_CE_OVERRIDES is not {\"extensions\":{\"name\":\"value\"}}")?
        };
        Ok(Self {
            ctx: ctx.clone(),
            http: ctx.http().clone(),
            url: settings.k_sink.clone(),
            timeout: Duration::from_secs(settings.relay_timeout_secs),
            overrides: overrides.extensions,
        })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Posts an event; never fails, but says what became of it.
    pub(crate) fn post(&self, message: Message) -> impl Future<Output = Posted> + Send + 'static {
        let sink = self.clone();
        async move {
            let mut message = message;
            for (name, value) in &sink.overrides {
                message = match message.with_extension(name.as_str(), value.as_str()) {
                    Ok(message) => message,
                    Err(error) => {
                        return Posted {
                            status: None,
                            answer: Answer::Refused(format!(
                                "K_CE_OVERRIDES cannot be applied: {error}"
                            )),
                        };
                    }
                };
            }
            let (headers, body) = encode_binary(&message);
            match sink.http.post(&sink.url, headers, body, sink.timeout).await {
                Ok(response) => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    // A 2xx has taken the event whatever its body; of the others people want to know why.
                    let text = if status.is_success() {
                        String::new()
                    } else {
                        match egress::read_capped(response, ANSWER_BYTES_MAX).await {
                            Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                            Err(error) => format!("(its body could not be read: {error})"),
                        }
                    };
                    Posted {
                        status: Some(status),
                        answer: answer::of(status, &headers, &text, sink.ctx.now()),
                    }
                }
                Err(error) => Posted {
                    status: None,
                    answer: Answer::Later {
                        timed_out: error.is_timeout() && !error.is_connect(),
                        error: format!("{:#}", anyhow::Error::new(error)),
                        after: None,
                    },
                },
            }
        }
    }
}

/// The event of an outbox row. Its data goes out byte for byte.
pub(crate) fn message(event: &OutboxEvent) -> anyhow::Result<Message> {
    let mut message =
        Message::new(&*event.id, &*event.source, &*event.ty)?.with_time_at(event.time);
    if let Some(subject) = &event.subject {
        message = message.with_subject(subject.as_str())?;
    }
    for (name, value) in &event.extensions {
        message = match value {
            serde_json::Value::String(text) => {
                message.with_extension(name.as_str(), text.as_str())?
            }
            serde_json::Value::Bool(flag) => message.with_extension(name.as_str(), *flag)?,
            serde_json::Value::Number(number) => {
                let number = number
                    .as_i64()
                    .and_then(|number| i32::try_from(number).ok())
                    .with_context(|| format!("the extension {name} is no integer of 32 bits"))?;
                message.with_extension(name.as_str(), number)?
            }
            serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => {
                anyhow::bail!("the extension {name} is neither text nor number")
            }
        };
    }
    if let Some(data) = &event.data {
        message = message.with_data("application/json", data.clone().into_bytes())?;
    }
    Ok(message)
}

/// What an event says that is counted; nothing when it is another one.
pub(crate) fn counted(event: &OutboxEvent) -> Option<Counted> {
    #[derive(Deserialize)]
    struct Data {
        task: String,
        state: Option<JobState>,
    }
    let ty = event.ty.parse().ok()?;
    match ty {
        EventType::JobFinished | EventType::JobCancelled | EventType::JobCancelRequested => {
            let data: Data = serde_json::from_str(event.data.as_deref()?).ok()?;
            Some(Counted {
                ty,
                task: data.task,
                state: data.state,
            })
        }
        _ => None,
    }
}

/// "There may be work for this task." Triggers tell our own functions' tasks from other people's by `executor`.
pub(crate) fn wakeup(
    task: &str,
    executor: &str,
    id: impl std::fmt::Display,
) -> anyhow::Result<Message> {
    Ok(EventType::JobQueued
        .message("/switchyard/relay", &[task, &id.to_string()])?
        .with_subject(task)?
        .with_extension("task", Value::from(task))?
        .with_extension("executor", Value::from(executor))?
        .with_json(&JobQueued {
            task: task.to_owned(),
        })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_out_byte_for_byte() {
        let event = OutboxEvent {
            place: 1,
            id: "evt_1".into(),
            ty: "dev.switchyard.git.pushed.v1".into(),
            source: "/switchyard".into(),
            subject: Some("refs/heads/main".into()),
            time: "2026-11-21T12:00:00Z"
                .parse()
                .expect("the test's time is good"),
            extensions: serde_json::from_str(r#"{"tenantid":"t","depth":3}"#)
                .expect("the test's JSON is good"),
            data: Some(r#"{ "z":1, "a": 12345678901234567890123 }"#.into()),
        };
        let (headers, body) = encode_binary(&message(&event).expect("it is an event"));
        assert_eq!(&body[..], event.data.expect("it has data").as_bytes());
        assert_eq!(headers["ce-depth"], "3");
        assert_eq!(headers["ce-subject"], "refs/heads/main");
    }

    #[test]
    fn a_wakeup_names_its_task_where_triggers_filter() {
        let message = wakeup("task-static", "builtin", "1").expect("it is an event");
        assert_eq!(message.attribute("executor"), Some(Value::from("builtin")));
        assert_eq!(message.attribute("task"), Some(Value::from("task-static")));
        assert_eq!(message.ty(), "dev.switchyard.job.queued.v1");
        let data: JobQueued = message.json().expect("it has data");
        assert_eq!(data.task, "task-static");
    }
}
