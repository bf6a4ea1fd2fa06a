//! What is read of GitLab's payloads.
//! <https://docs.gitlab.com/user/project/integrations/webhook_events/>

mod merge_request;
mod pipeline;
mod push;
mod release;

use serde::Deserialize;
use webhook::git::{Place, RepositoryPath, Word};
use webhook::{Name, ParseError};

pub(crate) use merge_request::MergeRequestPayload;
pub(crate) use pipeline::PipelinePayload;
pub(crate) use push::PushPayload;
pub(crate) use release::ReleasePayload;

/// What a payload is. Events about members and groups, and those of system hooks about anything but code, have no
/// `object_kind`.
#[derive(Debug, Deserialize)]
pub(crate) struct KindPayload {
    object_kind: Option<Word>,
    event_name: Option<Word>,
}

impl KindPayload {
    pub(crate) fn named(self) -> Result<Word, ParseError> {
        self.object_kind.or(self.event_name).ok_or_else(|| {
            let problem = "neither object_kind nor event_name says what happened";
            ParseError::malformed("the top level", problem)
        })
    }
}

/// Where it happened.
#[derive(Debug, Deserialize)]
struct Project {
    path_with_namespace: RepositoryPath,
    web_url: Option<Name<2_048>>,
    git_http_url: Option<Name<2_048>>,
    git_ssh_url: Option<Name<2_048>>,
    default_branch: Option<Name<1_024>>,
}

impl Project {
    fn normalised(self) -> model::git::Repository {
        Place {
            path: self.path_with_namespace,
            html_url: self.web_url,
            clone_urls: self
                .git_http_url
                .into_iter()
                .chain(self.git_ssh_url)
                .collect(),
            default_branch: self.default_branch,
        }
        .normalised()
    }
}

/// Who did it.
#[derive(Debug, Deserialize)]
struct User {
    username: Name<255>,
}

impl User {
    fn filled(self) -> Option<String> {
        self.username.filled()
    }
}
