//! Workspaces: folders of templates in Git repositories, as people set them, with what was found there.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Path;
use axum::response::IntoResponse;
use egress::Guard;
use git::{Branch, Folder, Source};
use host::Ticker;
use http::StatusCode;
use model::Role;
use serde::{Deserialize, Serialize};
use store::workspaces::{self, Saved, Template, WORKSPACES_MAX, WantedWorkspace, Workspace};
use uuid::Uuid;

use crate::asked::{Asked, Given};
use crate::credentials::{check_name, wrong};
use crate::declared::{All, all, made, removed};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// Between two looks, in seconds.
const INTERVAL_DEFAULT: i32 = 300;
const INTERVAL_MIN: i32 = 60;
const INTERVAL_MAX: i32 = 86_400;
/// How long who asks for a look waits for its end.
const SYNC_WAIT: Duration = Duration::from_secs(20);

/// A workspace as somebody wants it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    name: String,
    repository: Source,
    #[serde(default)]
    branch: Branch,
    #[serde(default)]
    folder: Folder,
    credential: Option<Uuid>,
    #[serde(default = "interval")]
    interval_secs: i32,
}

const fn interval() -> i32 {
    INTERVAL_DEFAULT
}

/// A workspace with what is in it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    workspace: Workspace,
    /// What a run can be made of.
    #[serde(rename = "found")]
    templates: Vec<Template>,
}

impl Wanted {
    /// Checks what the types do not.
    fn check(&self, guard: &Guard) -> Result<(), Problem> {
        check_name(&self.name)?;
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&self.interval_secs) {
            let problem = format!("it is {INTERVAL_MIN} to {INTERVAL_MAX}");
            return Err(wrong("interval_secs", problem));
        }
        match &self.repository {
            Source::Remote(url) => guard
                .check_url(url)
                .map_err(|denied| wrong("repository", denied)),
            Source::Local(_) if self.credential.is_some() => Err(wrong(
                "credential",
                "a repository of the machine itself needs none",
            )),
            Source::Local(_) => Ok(()),
        }
    }
}

fn saved(saved: Saved, wanted: &Wanted) -> Result<Uuid, Problem> {
    match saved {
        Saved::Done(id) => Ok(id),
        Saved::Absent => Err(Problem::NotFound),
        Saved::NoCredential => Err(wrong(
            "credential",
            "there is none of this id for the repository's host",
        )),
        Saved::Taken => Err(Problem::Conflict(format!(
            "there is another workspace with the name {:?}",
            wanted.name
        ))),
        Saved::TooMany => Err(Problem::Conflict(format!(
            "a tenant has at most {WORKSPACES_MAX} workspaces"
        ))),
    }
}

pub(crate) async fn list(asked: Asked) -> Answer<All<Workspace>> {
    all(&asked, |tx| Box::pin(workspaces::list(tx))).await
}

async fn shown(asked: &Asked, id: Uuid) -> Result<Shown, Problem> {
    let mut tx = asked.begin().await?;
    let found = workspaces::get(&mut tx, id).await?;
    let templates = workspaces::templates(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Shown {
        workspace: found.ok_or(Problem::NotFound)?,
        templates,
    })
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    answer(shown(&asked, named(&id)?).await?)
}

/// Creates it, or changes the one of this id.
async fn save(
    asked: &Asked,
    guard: &Guard,
    id: Option<Uuid>,
    wanted: &Wanted,
) -> Result<Uuid, Problem> {
    let by = asked.may(Role::Admin)?;
    wanted.check(guard)?;
    let host = match &wanted.repository {
        Source::Remote(url) => Some(url.authority()),
        Source::Local(_) => None,
    };
    let words = WantedWorkspace {
        name: &wanted.name,
        repository: &wanted.repository.to_string(),
        host,
        branch: &wanted.branch.to_string(),
        folder: &wanted.folder.to_string(),
        credential: wanted.credential,
        interval_secs: wanted.interval_secs,
    };
    let mut tx = asked.begin().await?;
    let done = match id {
        None => workspaces::create(&mut tx, asked.tenant(), by, &words).await?,
        Some(id) => workspaces::change(&mut tx, id, by, &words).await?,
    };
    let id = saved(done, wanted)?;
    tx.commit().await?;
    Ok(id)
}

pub(crate) async fn create(
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let id = save(&asked, &guard, None, &wanted).await?;
    made("workspaces", id, shown(&asked, id).await?)
}

pub(crate) async fn change(
    Path(id): Path<String>,
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Answer<Shown> {
    let id = save(&asked, &guard, Some(named(&id)?), &wanted).await?;
    answer(shown(&asked, id).await?)
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = workspaces::remove(&mut tx, id, by).await?;
    tx.commit().await?;
    removed(done)
}

/// Looks at the repository now. 200 with what it found, or what it failed with; 202 when that takes longer.
pub(crate) async fn sync(
    Path(id): Path<String>,
    Extension(reader): Extension<Ticker>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    asked.may(Role::Operator)?;
    let id: Uuid = named(&id)?;
    let before = shown(&asked, id).await?;
    let mut tx = asked.begin().await?;
    let known = workspaces::sync_soon(&mut tx, id).await?;
    tx.commit().await?;
    known.ok_or(Problem::NotFound)?;
    reader.tick(asked.ctx(), SYNC_WAIT).await;
    let after = shown(&asked, id).await?;
    let status = if after.workspace.looked_at > before.workspace.looked_at {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, answer(after)?))
}
