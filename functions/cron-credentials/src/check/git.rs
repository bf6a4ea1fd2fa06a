//! A Git host: which branches a repository has, as a fetch would ask first.

use git::RefsError;
use store::credentials::GitConfig;
use url::Url;

use super::{Asked, CALL_MAX, Verdict};

pub(crate) async fn check(asked: &Asked<'_>, config: &GitConfig, used: &[String]) -> Verdict {
    let named = config.repository.iter().chain(used);
    let repositories: Vec<Url> = named
        .filter_map(|url| Url::parse(url).ok())
        .filter(|url| url.scheme() == "https" && url.authority() == asked.login.host)
        .collect();
    if repositories.is_empty() {
        return Verdict::Nothing(
            "nothing is read with it, and its config names no repository to try it with".to_owned(),
        );
    }
    let login = git::Login {
        username: asked.login.username.clone(),
        secret: asked.login.secret.clone(),
    };
    let mut unsure = None;
    for url in &repositories {
        match git::refs(asked.egress, url, Some(&login), CALL_MAX).await {
            Ok(_) => {}
            Err(
                error @ (RefsError::Denied(_)
                | RefsError::Credentials { .. }
                | RefsError::NoRepository { .. }
                | RefsError::Moved { .. }),
            ) => return Verdict::Bad(error.to_string()),
            Err(
                error @ (RefsError::Unreachable { .. }
                | RefsError::Status { .. }
                | RefsError::NotGit { .. }
                | RefsError::Body(_)),
            ) => unsure = Some(Verdict::Unsure(error.to_string())),
        }
    }
    unsure.unwrap_or(Verdict::Good)
}
