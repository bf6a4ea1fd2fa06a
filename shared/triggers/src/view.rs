//! An event as conditions and templates see it.

use events::EventType;
use serde_json::{Map, Value};

use crate::Event;

/// How large the data of an event may be that a condition or a template looks at, in bytes of JSON.
pub const VIEW_BYTES_MAX: usize = 256 * 1024;

/// The attributes with `data` beside them. What somebody sent as an event of their own is shown as they sent it, with
/// their `type`, `source` and extensions, and not as the envelope in which it came. Of a job of ours that ended there is `job`.
///
/// # Errors
/// When its data is larger than conditions and templates look at, or no JSON.
pub fn view(event: &Event) -> Result<Value, String> {
    if event.data.len() > VIEW_BYTES_MAX {
        return Err(format!(
            "the event's data has {} bytes; conditions and templates look at {VIEW_BYTES_MAX} at most",
            event.data.len()
        ));
    }
    let data: Value = serde_json::from_str(&event.data)
        .map_err(|error| format!("the event's data cannot be read: {error}"))?;
    let mut view = Map::from_iter([
        ("id".to_owned(), Value::from(event.id.to_string())),
        ("type".to_owned(), Value::from(event.ty.as_str())),
        ("source".to_owned(), Value::from(event.source.as_str())),
        (
            "correlationid".to_owned(),
            Value::from(event.correlation_id.as_str()),
        ),
        ("depth".to_owned(), Value::from(event.depth)),
    ]);
    if let Some(subject) = &event.subject {
        view.insert("subject".to_owned(), Value::from(subject.as_str()));
    }
    let data = match (event.ty.parse(), data) {
        (Ok(EventType::WebhookReceived), Value::Object(mut received)) => {
            if let Some(Value::Object(attributes)) = received.remove("attributes") {
                view.extend(attributes.into_iter().filter(|(name, _)| name != "data"));
            }
            match received.remove("data") {
                Some(Value::Null) | None => {
                    received.remove("data_base64").map_or(Value::Null, |bytes| {
                        view.insert("data_base64".to_owned(), bytes);
                        Value::Null
                    })
                }
                Some(data) => data,
            }
        }
        (_, data) => data,
    };
    view.insert("data".to_owned(), data);
    if let Some(job) = &event.job {
        let job = serde_json::to_value(job)
            .map_err(|error| format!("the job that ended cannot be shown: {error}"))?;
        view.insert("job".to_owned(), job);
    }
    Ok(Value::Object(view))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(ty: &str, data: &Value) -> Event {
        Event {
            id: uuid::Uuid::from_u128(1).into(),
            ty: ty.to_owned(),
            source: "/switchyard/triggers/trg_1".to_owned(),
            subject: None,
            data: data.to_string(),
            correlation_id: "dlv_1".to_owned(),
            depth: 2,
            only_binding: None,
            job: None,
            untrusted: false,
        }
    }

    #[test]
    fn what_others_sent_is_shown_as_they_sent_it() {
        let received = json!({
            "vendor": "cloudevents",
            "attributes": {"type": "com.example.placed", "id": "7", "source": "/shop", "tenant": "x", "data": "no"},
            "data": {"total": 1},
        });
        let seen = view(&event("dev.switchyard.webhook.received.v1", &received)).expect("a view");
        assert_eq!(seen["type"], "com.example.placed");
        assert_eq!(seen["source"], "/shop");
        assert_eq!(seen["tenant"], "x");
        assert_eq!(seen["depth"], 2);
        assert_eq!(seen["data"], json!({"total": 1}));
    }

    #[test]
    fn what_is_our_own_is_shown_as_it_is_stored() {
        let seen = view(&event(
            "dev.switchyard.git.pushed.v1",
            &json!({"branch": "main"}),
        ))
        .expect("a view");
        assert_eq!(seen["type"], "dev.switchyard.git.pushed.v1");
        assert_eq!(seen["data"]["branch"], "main");
    }

    #[test]
    fn what_is_too_large_is_not_looked_at() {
        let large = json!({"text": "x".repeat(VIEW_BYTES_MAX)});
        let error = view(&event("dev.switchyard.git.pushed.v1", &large)).expect_err("too large");
        assert!(error.contains("262144"), "{error}");
    }
}
