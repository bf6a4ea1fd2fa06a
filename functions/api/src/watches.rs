//! What of a trigger is looked at by the clock besides what its hooks tell.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use egress::Guard;
use http::StatusCode;
use model::image::ImageRepository;
use model::{Glob, Role, TriggerId};
use serde::Deserialize;
use store::watch::PlaceKind;
use store::watched::{self, NewWatch, WATCHES_MAX, Watched, Watching};
use url::Url;
use uuid::Uuid;

use crate::asked::{Asked, Given};
use crate::credentials::wrong;
use crate::problem::Problem;
use crate::{Answer, answer, named};

const URL_CHARS_MAX: usize = 2_048;
const NAMES_MAX: usize = 50;
/// Between two looks, in seconds.
const INTERVAL_DEFAULT: i32 = 300;
const INTERVAL_MIN: i32 = 60;
const INTERVAL_MAX: i32 = 86_400;

/// What is to be looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    kind: PlaceKind,
    /// Of the repository where it is Git's, of the registry where it is one.
    url: Url,
    /// Within a registry.
    repository: Option<ImageRepository>,
    credential: Option<Uuid>,
    #[serde(default = "interval")]
    interval_secs: i32,
    /// Whether what is there at the first look is told as new.
    #[serde(default)]
    report_first: bool,
    /// Refs (`refs/heads/**`) or tags; all unless given.
    names: Option<Vec<Glob>>,
}

const fn interval() -> i32 {
    INTERVAL_DEFAULT
}

/// The URL as it is kept: of a repository without a slash at its end, of a registry without a path.
fn url(wanted: &Wanted, guard: &Guard) -> Result<String, Problem> {
    guard
        .check_url(&wanted.url)
        .map_err(|denied| wrong("url", denied))?;
    if wanted.url.query().is_some() || wanted.url.fragment().is_some() {
        return Err(wrong("url", "it has no query and no fragment"));
    }
    if wanted.url.as_str().chars().count() > URL_CHARS_MAX {
        return Err(wrong(
            "url",
            format!("it has at most {URL_CHARS_MAX} characters"),
        ));
    }
    let text = wanted.url.as_str().trim_end_matches('/').to_owned();
    match wanted.kind {
        PlaceKind::Git if wanted.url.path() == "/" => Err(wrong(
            "url",
            "it is that of a repository, https://host/owner/name.git",
        )),
        PlaceKind::Registry if wanted.url.path() != "/" => Err(wrong(
            "url",
            "it is that of a registry, https://host; the rest is its repository",
        )),
        PlaceKind::Git | PlaceKind::Registry => Ok(text),
    }
}

fn repository(wanted: &Wanted) -> Result<&str, Problem> {
    match (wanted.kind, &wanted.repository) {
        (PlaceKind::Git, None) => Ok(""),
        (PlaceKind::Git, Some(_)) => Err(wrong(
            "repository",
            "a repository of Git is named by its url alone",
        )),
        (PlaceKind::Registry, Some(repository)) => Ok(repository.as_str()),
        (PlaceKind::Registry, None) => Err(wrong(
            "repository",
            "it is missing: say which of the registry, such as team/app",
        )),
    }
}

fn names(wanted: &Wanted) -> Result<Vec<String>, Problem> {
    let names = match &wanted.names {
        Some(names) => names.iter().map(|glob| glob.as_str().to_owned()).collect(),
        None => match wanted.kind {
            PlaceKind::Git => vec!["refs/heads/**".to_owned(), "refs/tags/**".to_owned()],
            PlaceKind::Registry => vec!["*".to_owned()],
        },
    };
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(wrong("names", format!("there are 1 to {NAMES_MAX}")));
    }
    Ok(names)
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Watching> {
    asked.nothing_more()?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = watched::watching(&mut tx, id).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn set(
    Path(id): Path<String>,
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Answer<Watching> {
    let by = asked.may(Role::Admin)?;
    let id: TriggerId = named(&id)?;
    if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&wanted.interval_secs) {
        let problem = format!("it is {INTERVAL_MIN} to {INTERVAL_MAX}");
        return Err(wrong("interval_secs", problem));
    }
    let (url, names) = (url(&wanted, &guard)?, names(&wanted)?);
    let new = NewWatch {
        kind: wanted.kind,
        url: &url,
        repository: repository(&wanted)?,
        credential: wanted.credential,
        interval_secs: wanted.interval_secs,
        report_first: wanted.report_first,
        names: &names,
        by,
    };
    let mut tx = asked.begin().await?;
    match watched::watch(&mut tx, asked.tenant(), id, new).await? {
        Watched::Done => {}
        Watched::NoTrigger => return Err(Problem::NotFound),
        Watched::NoCredential => {
            return Err(wrong(
                "credential",
                "there is none of this id for the url's host",
            ));
        }
        Watched::TooMany => {
            return Err(Problem::Conflict(format!(
                "at most {WATCHES_MAX} triggers of a tenant are watched for"
            )));
        }
    }
    let found = watched::watching(&mut tx, id).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn end(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    asked.may(Role::Admin)?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = watched::unwatch(&mut tx, id).await?;
    tx.commit().await?;
    done.then_some(StatusCode::NO_CONTENT)
        .ok_or(Problem::NotFound)
}

pub(crate) async fn look(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    asked.may(Role::Operator)?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = watched::look_soon(&mut tx, id).await?;
    tx.commit().await?;
    done.then_some(StatusCode::ACCEPTED)
        .ok_or(Problem::NotFound)
}
