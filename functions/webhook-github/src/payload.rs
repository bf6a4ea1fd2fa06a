//! What is read of GitHub's payloads.

mod change;
mod package;
mod push;
mod refs;
mod release;
mod run;

use serde::Deserialize;
use webhook::Name;
use webhook::git::Word;

pub(crate) use change::{ChangePayload, ReviewPayload};
pub(crate) use package::{PackagePayload, RegistryPackagePayload};
pub(crate) use push::PushPayload;
pub(crate) use refs::RefPayload;
pub(crate) use release::ReleasePayload;
pub(crate) use run::{CheckRunPayload, WorkflowRunPayload};

/// Who did it.
#[derive(Debug, Deserialize)]
struct Sender {
    login: Name<255>,
}

impl Sender {
    fn filled(self) -> Option<String> {
        self.login.filled()
    }
}

/// An event that nothing here acts on: it must still be one of GitHub's, whose actions are words.
#[derive(Debug, Deserialize)]
pub(crate) struct OtherPayload {
    #[serde(
        rename = "action",
        default,
        deserialize_with = "webhook::git::word_if_filled"
    )]
    _action: Option<Word>,
}
