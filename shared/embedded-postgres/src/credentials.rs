use crate::{StartError, port};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// 32 letters and digits: 190 bits, and nothing that a URL or SQL would have to escape.
const PASSWORD_CHARS: usize = 32;

/// The file in the data folder.
pub(crate) const CREDENTIALS: &str = "postgres.json";

/// What `postgres.json` holds. No `Debug`: it would print passwords.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    pub(crate) port: u16,
    pub(crate) superuser_password: String,
    pub(crate) role_passwords: BTreeMap<String, String>,
}

impl Credentials {
    /// A free port and new passwords.
    pub(crate) fn generate() -> io::Result<Self> {
        Ok(Self {
            port: port::free_port()?,
            superuser_password: password(),
            role_passwords: BTreeMap::new(),
        })
    }

    /// `None` when there is no file.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, StartError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StartError::Io {
                    action: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let credentials =
            serde_json::from_slice(&text).map_err(|source| StartError::CredentialsUnreadable {
                credentials: path.to_owned(),
                source,
            })?;
        Ok(Some(credentials))
    }

    /// Gives a password to each role that has none.
    pub(crate) fn add_roles(&mut self, roles: &[&str]) {
        for role in roles {
            self.role_passwords
                .entry((*role).to_owned())
                .or_insert_with(password);
        }
    }

    /// Writes the file whole or not at all, readable by us alone.
    pub(crate) fn save(&self, path: &Path) -> Result<(), StartError> {
        let draft = path.with_extension("json.new");
        let write = || -> io::Result<()> {
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&draft, path)
        };
        write().map_err(|source| StartError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

fn password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_CHARS)
}
