//! What the operator says of runs.

use std::time::Duration;

use host::{Env, SettingsError};
use serde::Deserialize;
use url::Url;

/// A runner must be able to miss one tick of `cron-reap` (15 s) and to be heard before the next.
const LEASE_SECS_MIN: u64 = 20;
/// Signs of life in a lease.
const HEARTBEATS_A_LEASE: u32 = 5;

/// Where runners run: said by the platform, not by the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// As processes of this machine.
    Local,
    /// As Jobs of the cluster.
    Kubernetes,
}

/// What every task with runs reads from its settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Where runners run (`RUNNER`).
    pub runner: Where,
    /// Where they call back (`CALLBACK_URL`).
    pub callback_url: Url,
    /// For how long a sign of life is good, in seconds (`RUN_LEASE_SECS`).
    #[serde(default = "run_lease_secs")]
    run_lease_secs: u64,
    /// How long a runner may take to its first sign of life, in seconds (`RUN_START_SECS`).
    #[serde(default = "run_start_secs")]
    run_start_secs: u64,
}

const fn run_lease_secs() -> u64 {
    30
}

/// An image may have to be pulled first.
const fn run_start_secs() -> u64 {
    180
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or cannot be.
    pub fn read(env: &Env) -> Result<Self, SettingsError> {
        // What a runner is told is sealed, and its token signed.
        env.require("MASTER_KEY_FILE")?;
        let settings: Self = env.parse()?;
        if settings.run_lease_secs < LEASE_SECS_MIN {
            return Err(SettingsError::wrong(
                "RUN_LEASE_SECS",
                format!("{LEASE_SECS_MIN} is the least, so that a tick of cron-reap fits"),
            ));
        }
        if !matches!(settings.callback_url.scheme(), "http" | "https") {
            return Err(SettingsError::wrong(
                "CALLBACK_URL",
                "it is neither http nor https",
            ));
        }
        Ok(settings)
    }

    /// For how long a sign of life is good.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.run_lease_secs)
    }

    /// How long a runner may take to its first sign of life.
    #[must_use]
    pub fn start_within(&self) -> Duration {
        Duration::from_secs(self.run_start_secs)
    }

    /// How often a runner shows that it lives, where its spec does not say.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.lease() / HEARTBEATS_A_LEASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::default()
            .with("MASTER_KEY_FILE", "/key")
            .with("RUNNER", "local")
            .with("CALLBACK_URL", "http://127.0.0.1:1/callback")
    }

    #[test]
    fn a_lease_leaves_room_for_a_tick() {
        let wrong = Settings::read(&env().with("RUN_LEASE_SECS", "19")).expect_err("it is short");
        assert!(wrong.to_string().contains("20 is the least"), "{wrong}");
        let settings = Settings::read(&env()).expect("they are right");
        assert_eq!(settings.lease(), Duration::from_secs(30));
        assert_eq!(settings.runner, Where::Local);
    }

    #[test]
    fn a_place_for_runners_must_be_known() {
        assert!(Settings::read(&env().with("RUNNER", "lambda")).is_err());
        assert!(Settings::read(&env().with("CALLBACK_URL", "file:///etc")).is_err());
    }
}
