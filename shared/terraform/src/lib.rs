//! Reads what terraform says: its machine-readable UI while it works, a plan for review, a state for a look inside.
//!
//! Nothing here runs terraform or does any other I/O. What comes out is for people and therefore **masked**: what terraform
//! marks as sensitive is shown as [`Shown::Sensitive`], and the same value is taken out wherever else it appears, because
//! terraform itself forgets the mark on some paths (the `output` of a `terraform_data`, an error that quotes a command).
//! Everything is bounded, with a count of what was left out. What a newer terraform says and we do not know is shown as text
//! or passed over, never an error.

mod difference;
mod plan;
mod report;
mod secrets;
mod state;
mod ui;

pub use difference::{Attribute, Shown};
pub use plan::{
    MaskedPlan, OutputChange, PLAN_BYTES_MAX, ResourceChange, masked_plan, sensitive_values,
};
pub use report::{
    Changes, Diagnostic, Drift, OutputValue, REPORT_BUDGET_BYTES, Report, Resource, ResourceState,
};
pub use state::{
    Instance, Moved, STATE_BYTES_MAX, State, StateDifference, StateHead, StateOutput, difference,
};
pub use ui::Ui;

/// The file that variables are given in. Terraform reads it by its name, after all others.
pub const VARIABLES_FILE: &str = "switchyard.auto.tfvars.json";

/// Why something of terraform's cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON.
    #[error("{what} is not JSON: {why}")]
    NotJson {
        /// What was to be read.
        what: &'static str,
        /// Line and column, and what is wrong there. Nothing of the text itself.
        why: String,
    },
    /// It is JSON, but not what terraform writes.
    #[error("{what} is not one that terraform writes: {why}")]
    NotTerraform {
        /// What was to be read.
        what: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// It is larger than is read.
    #[error("{what} has {bytes} bytes, and at most {max} are read")]
    TooLarge {
        /// What was to be read.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
}

/// JSON text, bounded. The error says where it is wrong and quotes nothing.
fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    json: &[u8],
    max: usize,
) -> Result<T, Error> {
    if json.len() > max {
        return Err(Error::TooLarge {
            what,
            bytes: json.len(),
            max,
        });
    }
    serde_json::from_slice(json).map_err(|error| Error::NotJson {
        what,
        why: format!(
            "line {}, column {}: {:?} error",
            error.line(),
            error.column(),
            error.classify()
        ),
    })
}

/// At most so many bytes of a text, with a mark where it was cut.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max);
    format!("{}… ({} bytes more)", &text[..end], text.len() - end)
}
