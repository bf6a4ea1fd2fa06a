//! What a message looks like.

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use model::Severity;

use crate::rule;

/// How large a message may be, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// How much of a text Slack is shown, in characters.
const TEXT_CHARS_MAX: usize = 2_500;

/// An event that was observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `type`.
    pub ty: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// CloudEvents `time`.
    pub time: Option<DateTime<Utc>>,
    /// The extension `severity`.
    pub severity: Option<String>,
    /// Its data.
    pub data: Value,
}

/// What an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `{"type", "timestamp", "data"}`, as Standard Webhooks advises, with what is known of the event.
    Standard,
    /// What Slack's incoming webhooks take, and Mattermost's and Discord's (`/slack`) as well.
    /// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/>
    Slack,
}

/// A text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a format: standard or slack")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "standard" => Ok(Self::Standard),
            "slack" => Ok(Self::Slack),
            other => Err(UnknownFormat(other.chars().take(40).collect())),
        }
    }
}

impl Observed {
    /// How bad it is. What does not say so, or in other words, is information.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let said = self
            .severity
            .as_deref()
            .and_then(|text| rule::severity(text).ok());
        said.unwrap_or(Severity::Info)
    }

    /// The message that tells of it. Data that is too large is left out, and the message says so.
    #[must_use]
    pub fn message(&self, format: Format) -> String {
        let whole = self.rendered(format, &self.data);
        if whole.len() <= BODY_BYTES_MAX {
            return whole;
        }
        let note = json!({"left_out": "the data of this event is too large for a message"});
        self.rendered(format, &note)
    }

    fn rendered(&self, format: Format, data: &Value) -> String {
        let time = self
            .time
            .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
        let severity = self.severity().as_str();
        match format {
            Format::Standard => json!({
                "type": self.ty,
                "timestamp": time,
                "data": {
                    "id": self.id,
                    "source": self.source,
                    "subject": self.subject,
                    "severity": severity,
                    "data": data,
                },
            })
            .to_string(),
            Format::Slack => {
                let mark = match self.severity() {
                    Severity::Debug | Severity::Info => ":information_source:",
                    Severity::Warning => ":warning:",
                    Severity::Error => ":rotating_light:",
                };
                let title = self.title();
                let said = data.get("message").and_then(Value::as_str);
                let said = said.map_or_else(|| data.to_string(), str::to_owned);
                let said: String = said.chars().take(TEXT_CHARS_MAX).collect();
                let about = [
                    Some(self.source.as_str()),
                    self.subject.as_deref(),
                    time.as_deref(),
                ];
                let about: Vec<_> = about.into_iter().flatten().map(escape).collect();
                json!({
                    "text": format!("{mark} {}: {}", escape(&title), escape(&said)),
                    "blocks": [
                        {"type": "section", "text": {
                            "type": "mrkdwn", "text": format!("{mark} *{}*\n{}", escape(&title), escape(&said)),
                        }},
                        {"type": "context", "elements": [
                            {"type": "mrkdwn", "text": about.join(" · ")},
                        ]},
                    ],
                })
                .to_string()
            }
        }
    }

    /// The type in words: `dev.switchyard.job.finished.v1` is `job finished`.
    fn title(&self) -> String {
        let ty = self.ty.strip_prefix("dev.switchyard.").unwrap_or(&self.ty);
        let ty = ty.strip_suffix(".v1").unwrap_or(ty);
        ty.replace('.', " ")
    }
}

/// What would mean something to Slack: mentions and links begin with `<`.
/// <https://docs.slack.dev/messaging/formatting-message-text/#escaping>
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: Value) -> Observed {
        Observed {
            id: "log_1".to_owned(),
            ty: "dev.switchyard.log.recorded.v1".to_owned(),
            source: "/switchyard/log-rules".to_owned(),
            subject: Some("wkl_1".to_owned()),
            time: DateTime::from_timestamp(1_700_000_000, 0),
            severity: Some("error".to_owned()),
            data,
        }
    }

    #[test]
    fn the_standard_message_holds_all_that_is_known() {
        let body = event(json!({"message": "it fell over"})).message(Format::Standard);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            body,
            json!({
                "type": "dev.switchyard.log.recorded.v1",
                "timestamp": "2023-11-14T22:13:20.000Z",
                "data": {
                    "id": "log_1", "source": "/switchyard/log-rules", "subject": "wkl_1", "severity": "error",
                    "data": {"message": "it fell over"},
                },
            })
        );
    }

    #[test]
    fn nobody_is_mentioned_to_slack_by_what_a_log_says() {
        let body = event(json!({"message": "<!channel> a & b"})).message(Format::Slack);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let text = body["text"].as_str().expect("a text");
        assert_eq!(
            text,
            ":rotating_light: log recorded: &lt;!channel&gt; a &amp; b"
        );
        assert!(!body.to_string().contains("<!channel>"));
    }

    #[test]
    fn data_that_is_too_large_is_left_out() {
        let large = event(json!({"lines": "x".repeat(BODY_BYTES_MAX)}));
        let body = large.message(Format::Standard);
        assert!(body.len() < 1_000 && body.contains("too large"), "{body}");
    }
}
