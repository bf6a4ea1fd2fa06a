//! What comes in that no vendor's words describe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Vendor;

/// Data of `dev.switchyard.webhook.received.v1`: something came in, and what it means is for triggers to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookReceived {
    /// Who told us.
    pub vendor: Vendor,
    /// What it says about itself by name: the attributes of a CloudEvent, the `type` of a Standard Webhook.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
    /// What it carries, when that is JSON or text.
    #[serde(default)]
    pub data: Value,
    /// What it carries otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

impl WebhookReceived {
    /// What it is about, or else what it says that it is.
    #[must_use]
    pub fn subject(&self) -> &str {
        let named = |name| self.attributes.get(name).and_then(Value::as_str);
        named("subject")
            .or_else(|| named("type"))
            .unwrap_or_else(|| self.vendor.as_str())
    }
}

/// Data of `dev.switchyard.manual.requested.v1`: somebody wants it to run now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualRequested {
    /// Who told us; nothing for a person at the portal or the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Vendor>,
    /// Who asks, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What they say with it, for payloads that are made from it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub inputs: serde_json::Map<String, Value>,
}

/// Data of `dev.switchyard.schedule.fired.v1`: the clock came to a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleFired {
    /// The schedule.
    pub schedule: i64,
    /// When it was to fire; when it did may be later. Nothing where a person fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<chrono::DateTime<chrono::Utc>>,
}
