//! What is read of the payloads of Gitea, Forgejo and Gogs.
//! <https://github.com/go-gitea/gitea/blob/main/modules/structs/hook.go>

mod change;
mod package;
mod push;
mod refs;
mod release;

use serde::Deserialize;
use webhook::Name;
use webhook::git::Word;

pub(crate) use change::{ChangePayload, CommentPayload, GogsChangePayload};
pub(crate) use package::PackagePayload;
pub(crate) use push::PushPayload;
pub(crate) use refs::RefPayload;
pub(crate) use release::ReleasePayload;

/// Who did it.
#[derive(Debug, Deserialize)]
struct User {
    login: Name<255>,
}

impl User {
    fn filled(self) -> Option<String> {
        self.login.filled()
    }
}

/// An event that nothing here acts on: it must still be one of these senders', whose actions are words.
#[derive(Debug, Deserialize)]
pub(crate) struct OtherPayload {
    #[serde(
        rename = "action",
        default,
        deserialize_with = "webhook::git::word_if_filled"
    )]
    _action: Option<Word>,
}
