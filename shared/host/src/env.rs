//! A function's settings.

use std::collections::BTreeMap;

use blobs::{Blobs, OpenError};
use egress::{EgressSettings, Guard, TenantEgress};
use serde::de::DeserializeOwned;

/// What settings of buckets begin with, as their vendors' own programs read them: `AWS_REGION`, `AWS_ALLOW_HTTP` ….
const BUCKET_SETTINGS: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// A function's settings by name: the process's environment on a cluster, the manifest's `env:` on one machine. Only the
/// host reads the process's environment, so that two functions in one process can have different settings.
#[derive(Debug, Clone, Default)]
pub struct Env {
    values: BTreeMap<String, String>,
}

/// A setting that is missing or wrong. It stops the start with exit code 78.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not given.
    #[error("the setting {name} is missing; set the environment variable of that name")]
    Missing {
        /// The variable.
        name: String,
    },
    /// Given, and not what it should be.
    #[error("the setting {name} is wrong: {problem}")]
    Wrong {
        /// The variable.
        name: String,
        /// What is wrong with it; never its value, which may be a secret.
        problem: String,
    },
}

impl SettingsError {
    /// A setting whose value cannot be used.
    pub fn wrong(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::Wrong {
            name: name.to_owned(),
            problem: problem.to_string(),
        }
    }
}

impl Env {
    /// The process's environment. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the process's environment is read"
        )]
        let values = std::env::vars_os();
        Self {
            values: values
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }

    /// One setting as text. Empty counts as not given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// One setting that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn require(&self, name: &str) -> Result<&str, SettingsError> {
        self.get(name).ok_or_else(|| SettingsError::Missing {
            name: name.to_owned(),
        })
    }

    /// All settings that a flat struct names, read with envy: field `slice_secs` is the variable `SLICE_SECS`.
    ///
    /// # Errors
    /// When one is missing or cannot be read as its field's type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let given = self
            .values
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.clone(), value.clone()));
        envy::from_iter(given).map_err(|error| match error {
            envy::Error::MissingValue(field) => SettingsError::Missing {
                name: field.to_ascii_uppercase(),
            },
            envy::Error::Custom(text) => {
                // envy's texts end in "provided by NAME".
                let name = text.rsplit("provided by ").next().unwrap_or_default();
                let problem = text.split(" while parsing").next().unwrap_or(&text);
                SettingsError::wrong(name, problem)
            }
        })
    }

    /// The same settings with one more, or with another value for one.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// Opens a place for files: a folder, or a bucket by URL with the settings whose names begin with `AWS_`, `AZURE_` or
    /// `GOOGLE_`.
    ///
    /// # Errors
    /// When it is no such place, or the settings are not enough.
    pub fn open_blobs(&self, place: &str) -> Result<Blobs, OpenError> {
        let settings = self
            .iter()
            .filter(|(name, value)| {
                !value.is_empty() && BUCKET_SETTINGS.iter().any(|begin| name.starts_with(begin))
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Blobs::open_with(place, settings)
    }

    /// The client for URLs that tenants gave, as `EGRESS_ALLOW` and `EGRESS_CA_FILE` say.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn tenant_egress(&self) -> Result<TenantEgress, SettingsError> {
        self.parse::<EgressSettings>()?
            .client()
            .map_err(|error| SettingsError::wrong(error.setting(), error))
    }

    /// What that client may call, for who only saves such URLs.
    ///
    /// # Errors
    /// When `EGRESS_ALLOW` cannot be used.
    pub fn tenant_guard(&self) -> Result<Guard, SettingsError> {
        self.parse::<EgressSettings>()?
            .guard()
            .map_err(|error| SettingsError::wrong(error.setting(), error))
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Settings {
        slice_secs: u64,
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = Env::default()
            .parse::<Settings>()
            .expect_err("it is missing");
        assert_eq!(
            error,
            SettingsError::Missing {
                name: "SLICE_SECS".into()
            }
        );
    }

    #[test]
    fn a_wrong_setting_is_named_without_its_value() {
        let env = Env::default().with("SLICE_SECS", "hunter2");
        let error = env.parse::<Settings>().expect_err("it is no number");
        assert!(error.to_string().contains("SLICE_SECS"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let env = env.with("SLICE_SECS", "25");
        assert_eq!(
            env.parse::<Settings>().expect("it is a number").slice_secs,
            25
        );
    }
}
