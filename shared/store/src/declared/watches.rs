//! What of a trigger is looked at by the clock besides what its hooks tell.

use database::TenantTx;
use model::image::ImageRepository;
use model::{Glob, TriggerId};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Admits, Author, check_url, note, wrong};
use crate::triggers::SaveError;
use crate::watch::PlaceKind;
use crate::watched::{self, NewWatch, WATCHES_MAX, Watched};

const NAMES_MAX: usize = 50;
/// Between two looks, in seconds.
const INTERVAL_DEFAULT: i32 = 300;
const INTERVAL_MIN: i32 = 60;
const INTERVAL_MAX: i32 = 86_400;

/// What is to be looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchWanted {
    /// Of a repository of Git or of a registry.
    pub kind: PlaceKind,
    /// Of the repository where it is Git's, of the registry where it is one.
    pub url: Url,
    /// Within a registry.
    pub repository: Option<ImageRepository>,
    /// What lets us in; nothing where everybody may read.
    pub credential: Option<Uuid>,
    /// Between two looks, in seconds.
    #[serde(default = "interval")]
    pub interval_secs: i32,
    /// Whether what is there at the first look is told as new.
    #[serde(default)]
    pub report_first: bool,
    /// Refs (`refs/heads/**`) or tags; all unless given.
    pub names: Option<Vec<Glob>>,
}

const fn interval() -> i32 {
    INTERVAL_DEFAULT
}

impl WatchWanted {
    /// The URL as it is kept: of a repository without a slash at its end, of a registry without a path.
    fn url(&self, admits: Admits<'_>) -> Result<&str, SaveError> {
        check_url(&self.url, admits)?;
        if self.url.query().is_some() || self.url.fragment().is_some() {
            return wrong("url", "it has no query and no fragment");
        }
        match self.kind {
            PlaceKind::Git if self.url.path() == "/" => wrong(
                "url",
                "it is that of a repository, https://host/owner/name.git",
            ),
            PlaceKind::Registry if self.url.path() != "/" => wrong(
                "url",
                "it is that of a registry, https://host; the rest is its repository",
            ),
            PlaceKind::Git | PlaceKind::Registry => Ok(self.url.as_str().trim_end_matches('/')),
        }
    }

    fn repository(&self) -> Result<&str, SaveError> {
        match (self.kind, &self.repository) {
            (PlaceKind::Git, None) => Ok(""),
            (PlaceKind::Git, Some(_)) => wrong(
                "repository",
                "a repository of Git is named by its url alone",
            ),
            (PlaceKind::Registry, Some(repository)) => Ok(repository.as_str()),
            (PlaceKind::Registry, None) => wrong(
                "repository",
                "it is missing: say which of the registry, such as team/app",
            ),
        }
    }

    fn names(&self) -> Result<Vec<String>, SaveError> {
        let names = match &self.names {
            Some(names) => names.iter().map(|glob| glob.as_str().to_owned()).collect(),
            None => match self.kind {
                PlaceKind::Git => vec!["refs/heads/**".to_owned(), "refs/tags/**".to_owned()],
                PlaceKind::Registry => vec!["*".to_owned()],
            },
        };
        if names.is_empty() || names.len() > NAMES_MAX {
            return wrong("names", format!("there are 1 to {NAMES_MAX}"));
        }
        Ok(names)
    }
}

/// Has a place looked at for a trigger, in place of what was looked at before.
///
/// # Errors
/// When something is wrong with it, there is no such trigger of its kind, there are too many, or the database does not answer.
pub async fn save_watch(
    tx: &mut TenantTx,
    by: Author<'_>,
    trigger: TriggerId,
    wanted: &WatchWanted,
    admits: Admits<'_>,
) -> Result<(), SaveError> {
    if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&wanted.interval_secs) {
        let problem = format!("it is {INTERVAL_MIN} to {INTERVAL_MAX}");
        return wrong("interval_secs", problem);
    }
    let (url, names) = (wanted.url(admits)?, wanted.names()?);
    let new = NewWatch {
        kind: wanted.kind,
        url,
        repository: wanted.repository()?,
        credential: wanted.credential,
        interval_secs: wanted.interval_secs,
        report_first: wanted.report_first,
        names: &names,
        by: by.name,
    };
    match watched::watch(tx, by.tenant, trigger, new).await? {
        Watched::Done => {}
        Watched::NoTrigger => return Err(SaveError::Missing("trigger")),
        Watched::NoCredential => {
            return wrong("credential", "there is none of this id for the url's host");
        }
        Watched::TooMany => {
            return Err(SaveError::Conflict(format!(
                "at most {WATCHES_MAX} triggers of a tenant are watched for"
            )));
        }
    }
    let data = json!({
        "trigger": trigger, "url": url, "repository": wanted.repository, "names": names,
        "interval_secs": wanted.interval_secs, "credential": wanted.credential,
    });
    note(tx, by.name, "watch_change", data).await?;
    Ok(())
}

/// Looks no more. False when nothing was looked at for the trigger.
///
/// # Errors
/// When the database does not answer.
pub async fn end_watch(
    tx: &mut TenantTx,
    by: Author<'_>,
    trigger: TriggerId,
) -> Result<bool, sqlx::Error> {
    let ended = watched::unwatch(tx, trigger).await?;
    if ended {
        note(tx, by.name, "watch_remove", json!({ "trigger": trigger })).await?;
    }
    Ok(ended)
}

/// Has a trigger's place looked at in the next round. False when nothing is looked at for it.
///
/// # Errors
/// When the database does not answer.
pub async fn look_soon(
    tx: &mut TenantTx,
    by: Author<'_>,
    trigger: TriggerId,
) -> Result<bool, sqlx::Error> {
    let done = watched::look_soon(tx, trigger).await?;
    if done {
        note(tx, by.name, "watch_look", json!({ "trigger": trigger })).await?;
    }
    Ok(done)
}
