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

/// Who did it. The first versions of Gogs called the login of who pushed `username`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "UserParts")]
struct User {
    login: Name<255>,
}

#[derive(Debug, Deserialize)]
struct UserParts {
    login: Option<Name<255>>,
    username: Option<Name<255>>,
}

impl TryFrom<UserParts> for User {
    type Error = &'static str;

    fn try_from(parts: UserParts) -> Result<Self, Self::Error> {
        let login = parts.login.or(parts.username);
        login
            .map(|login| Self { login })
            .ok_or("missing field `login`")
    }
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
