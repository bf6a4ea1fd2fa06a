//! What a relay is told.

use host::SettingsError;
use model::Broker;
use serde::Deserialize;

/// Settings of a relay.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// Which broker it serves: inbound, work or observed.
    pub(crate) relay_broker: Broker,
    /// Where that broker takes events; Knative sets it.
    pub(crate) k_sink: url::Url,
    /// Attributes that every event gets; Knative sets it: `{"extensions":{"name":"value"}}`.
    #[serde(default)]
    pub(crate) k_ce_overrides: String,
    /// Events that are being published at a time.
    #[serde(default = "relay_concurrency")]
    pub(crate) relay_concurrency: usize,
    /// How long a broker may take to answer, in seconds. The in-memory channel answers when all subscribers have.
    #[serde(default = "relay_timeout_secs")]
    pub(crate) relay_timeout_secs: u64,
}

const fn relay_concurrency() -> usize {
    64
}

const fn relay_timeout_secs() -> u64 {
    30
}

impl Settings {
    /// What a type does not say.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if !matches!(self.k_sink.scheme(), "http" | "https") {
            return Err(SettingsError::wrong(
                "K_SINK",
                "it must be an http or https URL",
            ));
        }
        if self.relay_concurrency == 0 {
            return Err(SettingsError::wrong(
                "RELAY_CONCURRENCY",
                "it must be at least 1",
            ));
        }
        if self.relay_timeout_secs == 0 {
            return Err(SettingsError::wrong(
                "RELAY_TIMEOUT_SECS",
                "it must be at least 1",
            ));
        }
        Ok(())
    }
}
