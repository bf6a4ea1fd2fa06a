//! The keys that tokens may be signed with.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;
use store::Keyring;

use crate::{Env, SettingsError};

#[derive(Debug, Deserialize)]
struct Settings {
    /// The key before the present one, as a file; given while tokens are outside that were signed with it.
    previous_master_key_file: Option<PathBuf>,
}

/// For who verifies what was signed a while ago: besides the present key, which [`crate::Ctx::keyring`] has.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The key before the present one (`PREVIOUS_MASTER_KEY_FILE`).
    pub previous: Option<Arc<Keyring>>,
}

impl Keys {
    /// Reads them.
    ///
    /// # Errors
    /// When there is no present key, or the one before it is given and cannot be used.
    pub fn read(env: &Env) -> Result<Self, SettingsError> {
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
