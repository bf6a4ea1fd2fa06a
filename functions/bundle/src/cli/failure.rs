//! How a failure is told, and with which code the process ends.

use std::process::ExitCode;

use host::{CtxError, EXIT_SETTINGS, SettingsError};

use crate::local::RuntimeError;
use crate::local::manifests::Refused;

use super::output::note;

/// The exit code of a process that was interrupted, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// The person asked to stop before it was done. Nothing needs to be said.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// It came to its end, and the end is not what it should be. That has been told already.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub(crate) struct Told;

/// The job that was waited for ended in a way that has a code of its own. That has been told already.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("ended with code {0}")]
pub(crate) struct Exit(u8);

impl Exit {
    /// The job is dead.
    pub(crate) const FAILED: Self = Self(1);
    /// A newer job took its place.
    pub(crate) const SUPERSEDED: Self = Self(3);
    /// It was cancelled.
    pub(crate) const CANCELLED: Self = Self(EXIT_INTERRUPTED);
}

/// A setting of the command line's own is missing or wrong; says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongSetting(pub(crate) String);

/// Tells what failed and why, one cause a line, and with which code to end.
pub(crate) fn told(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        return ExitCode::from(EXIT_INTERRUPTED);
    }
    if let Some(Exit(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    if error.is::<Told>() {
        return ExitCode::FAILURE;
    }
    note(text(error));
    if error.chain().any(is_settings) {
        ExitCode::from(EXIT_SETTINGS)
    } else {
        ExitCode::FAILURE
    }
}

/// The failure and what caused it. Findings in manifests begin their lines, so that editors find their way to them.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = String::from("error: ");
    let mut last = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let told = match cause.downcast_ref::<Refused>() {
            Some(refused) => refused_text(refused),
            None => cause.to_string(),
        };
        // Some libraries repeat their cause's words in their own.
        if depth > 0 && last.ends_with(&told) {
            continue;
        }
        if depth > 0 {
            text.push_str("\n  caused by: ");
        }
        text.push_str(&told);
        last = told;
    }
    text
}

fn refused_text(refused: &Refused) -> String {
    let mut text = String::from("the manifests cannot be run; put these right and start again");
    for finding in &refused.findings {
        text.push_str(&format!("\n{finding}"));
    }
    text
}

fn is_settings(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<Refused>()
        || cause.is::<SettingsError>()
        || cause.is::<CtxError>()
        || cause.is::<WrongSetting>()
        || cause.downcast_ref().is_some_and(|error| match error {
            RuntimeError::NoFunction { .. }
            | RuntimeError::NoIsolated { .. }
            | RuntimeError::Unknown { .. }
            | RuntimeError::Function { .. } => true,
            RuntimeError::Resources(_)
            | RuntimeError::Client(_)
            | RuntimeError::Database(_)
            | RuntimeError::Listen { .. }
            | RuntimeError::Executable(_) => false,
        })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_cause_is_told_once_on_a_line_of_its_own() {
        let error: anyhow::Error = Err::<(), _>(std::io::Error::other("the disk is full"))
            .context("could not write the master key")
            .context("could not start")
            .expect_err("it is an error");
        assert_eq!(
            text(&error),
            "error: could not start\n  caused by: could not write the master key\n  caused by: the disk is full"
        );
    }

    #[test]
    fn a_wrong_setting_is_told_from_other_failures() {
        let setting = anyhow::Error::from(WrongSetting("DATABASE_URL is missing".to_owned()))
            .context("could not migrate");
        assert!(setting.chain().any(is_settings));
        assert!(!anyhow::anyhow!("no").chain().any(is_settings));
    }
}
