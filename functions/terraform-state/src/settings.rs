//! The keys that tokens may be signed with.

use std::path::PathBuf;
use std::sync::Arc;

use host::{Env, SettingsError};
use secrecy::SecretString;
use serde::Deserialize;
use store::Keyring;

#[derive(Debug, Deserialize)]
struct Settings {
    /// The key before the present one, as a file; given while jobs are outside that were called with it.
    previous_master_key_file: Option<PathBuf>,
}

/// Besides the present key, which the host has.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) previous: Option<Arc<Keyring>>,
}

impl Keys {
    pub(crate) fn read(env: &Env) -> Result<Self, SettingsError> {
        env.require("MASTER_KEY_FILE")?;
        let settings: Settings = env.parse()?;
        let wrong =
            |error: &dyn std::fmt::Display| SettingsError::wrong("PREVIOUS_MASTER_KEY_FILE", error);
        let previous = settings
            .previous_master_key_file
            .map(|path| {
                let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
                Keyring::from_base64(&SecretString::from(text)).map_err(|error| wrong(&error))
            })
            .transpose()?;
        Ok(Self {
            previous: previous.map(Arc::new),
        })
    }
}
