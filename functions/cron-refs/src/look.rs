//! One look at a repository, and the events that tell of what changed there.

use std::time::Duration;

use egress::TenantEgress;
use events::EventType;
use git::{Login, RefsError};
use model::Vendor;
use model::git::{ChangedPaths, GitPushed, GitTagged, Repository};
use serde_json::Value;
use store::watch::{Change, Found, Listing, LookEvent, NAMES_MAX, Place, Watch};
use url::Url;

/// How long one look may take.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(20);

/// Why a look failed, for who watches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) problem: String,
    /// When the other side wants to be asked again.
    pub(crate) wait: Option<Duration>,
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self {
            problem,
            wait: None,
        }
    }
}

impl From<RefsError> for Failure {
    fn from(error: RefsError) -> Self {
        Self {
            problem: error.to_string(),
            wait: error.wait(),
        }
    }
}

/// The refs of a repository that anybody watches.
pub(crate) async fn look(
    egress: &TenantEgress,
    place: &Place,
    watches: &[Watch],
) -> Result<Listing, Failure> {
    let url =
        Url::parse(&place.url).map_err(|error| format!("{} is no URL: {error}", place.url))?;
    let login = place.login.as_ref().map_err(ToString::to_string)?;
    let login = match login {
        // It was for this host when it was saved; it goes nowhere else.
        Some(login) if url.authority() != login.host => {
            return Err(format!("the credential is for {}", login.host).into());
        }
        Some(login) => Some(Login {
            username: login.username.clone(),
            secret: login.secret.clone(),
        }),
        None => None,
    };
    let found = git::refs(egress, &url, login.as_ref(), LOOK_MAX).await?;
    let found: Listing = found
        .into_iter()
        .filter(|(name, _)| watches.iter().any(|watch| watch.wants(name)))
        .map(|(name, found)| {
            let found = Found {
                state: found.id,
                also: found.peeled,
            };
            (name, found)
        })
        .collect();
    if found.len() > NAMES_MAX {
        let problem = format!(
            "{} branches and tags are watched, and {NAMES_MAX} may be; watch fewer names",
            found.len()
        );
        return Err(problem.into());
    }
    Ok(found)
}

/// The event that tells of a change, as a hook would have told it.
pub(crate) fn event(place: &Place, change: &Change) -> Result<LookEvent, serde_json::Error> {
    let commit = |state: &Option<String>| state.as_deref().and_then(|state| state.parse().ok());
    let (before, after) = (commit(&change.before), commit(&change.after));
    let repository = repository(&place.url);
    let (ty, data) = match change.name.strip_prefix("refs/tags/") {
        Some(tag) => {
            let tagged = GitTagged {
                vendor: Vendor::Poll,
                repository,
                ref_name: change.name.clone(),
                tag: tag.to_owned(),
                before,
                after,
                commit: commit(&change.also),
                head_unknown: false,
                announced: None,
                pusher: None,
                pusher_name: None,
            };
            (EventType::GitTagged, serde_json::to_value(tagged)?)
        }
        None => {
            let branch = change.name.strip_prefix("refs/heads/");
            let pushed = GitPushed {
                vendor: Vendor::Poll,
                repository,
                ref_name: change.name.clone(),
                branch: branch.unwrap_or(&change.name).to_owned(),
                before,
                after,
                head_unknown: false,
                forced: false,
                changed_paths: ChangedPaths::Unknown {
                    reason: "polled".to_owned(),
                },
                skip_asked: false,
                pusher: None,
                pusher_name: None,
                commits: Vec::new(),
            };
            (EventType::GitPushed, serde_json::to_value(pushed)?)
        }
    };
    Ok(told(ty, change, data))
}

fn told(ty: EventType, change: &Change, data: Value) -> LookEvent {
    LookEvent {
        ty: ty.as_str(),
        source: "/switchyard/cron-refs".to_owned(),
        subject: Some(change.name.clone()),
        data,
    }
}

/// What hooks call the repository: the path of its URL.
fn repository(url: &str) -> Repository {
    let parsed = Url::parse(url).ok();
    let path = parsed.as_ref().map_or(url, |url| url.path());
    let path = path.trim_matches('/');
    Repository {
        host: parsed.as_ref().map(|url| url.authority().to_owned()),
        path: path.strip_suffix(".git").unwrap_or(path).to_owned(),
        clone_urls: vec![url.to_owned()],
        html_url: None,
        default_branch: None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_change_is_told_as_a_hook_would() {
        let place = Place {
            id: Uuid::nil(),
            tenant: Uuid::nil().into(),
            look: 1,
            url: "https://git.example.test:8443/acme/site.git".to_owned(),
            repository: String::new(),
            listing: Listing::new(),
            etag: None,
            login: Ok(None),
        };
        let change = |name: &str, before: Option<&str>, after: Option<&str>| Change {
            trigger: Uuid::nil().into(),
            name: name.to_owned(),
            told_as: name.to_owned(),
            version: 1,
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            also: None,
        };
        let commit = "a".repeat(40);
        let told = event(&place, &change("refs/heads/feature/x", None, Some(&commit)));
        let told = told.expect("it is JSON");
        assert_eq!(told.ty, "dev.switchyard.git.pushed.v1");
        assert_eq!(told.data["branch"], "feature/x");
        assert_eq!(told.data["vendor"], "poll");
        assert_eq!(told.data["repository"]["path"], "acme/site");
        assert_eq!(told.data["repository"]["host"], "git.example.test:8443");
        assert_eq!(told.data["after"], commit.as_str());
        let gone = event(&place, &change("refs/tags/v1", Some(&commit), None)).expect("JSON");
        assert_eq!(gone.ty, "dev.switchyard.git.tagged.v1");
        assert!(gone.data["after"].is_null());
    }
}
