//! Who does the work of which tasks, as a tenant sees it; and where a tenant has its own function, for the tasks that are
//! left to the tenants.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use egress::Guard;
use host::{Env, SettingsError};
use model::Role;
use queue::executors::{self, CompletesBy, Executor, TaskExecutor};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, rows};

/// The longest URL, in characters.
const URL_MAX: usize = 2048;

/// What looks at tenants' URLs before they are saved: the same list of exceptions as when they are called.
pub(crate) fn guard(env: &Env) -> Result<Arc<Guard>, SettingsError> {
    env.tenant_guard().map(Arc::new)
}

/// A task with who runs its jobs. Where the operator's functions are is not a tenant's business.
#[derive(Serialize)]
pub(crate) struct Shown {
    task: String,
    executor: Option<Executor>,
    completes_by: CompletesBy,
    callback_deadline_secs: f64,
    attempt_time_max_secs: f64,
    attempts_max: i32,
    /// Whether each tenant says where its function is.
    left_to_tenants: bool,
    /// Where this one said that it is.
    url: Option<String>,
}

impl From<TaskExecutor> for Shown {
    fn from(task: TaskExecutor) -> Self {
        Self {
            left_to_tenants: task.executor == Some(Executor::Http) && task.url.is_none(),
            task: task.task,
            executor: task.executor,
            completes_by: task.completes_by,
            callback_deadline_secs: task.callback_deadline_secs,
            attempt_time_max_secs: task.attempt_time_max_secs,
            attempts_max: task.attempts_max,
            url: task.own_url,
        }
    }
}

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Shown>> {
    let (after, limit) = asked.piece::<String>()?;
    let mut tx = asked.begin().await?;
    let found = executors::tenant_executors(&mut tx, after.as_deref(), rows(limit)).await?;
    tx.commit().await?;
    let found = found.into_iter().map(Shown::from).collect();
    answer(asked.list(found, limit, |shown| shown.task.clone())?)
}

pub(crate) async fn show(Path(task): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let found = executors::tenant_executor(&mut tx, &task).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?.into())
}

/// Where the tenant's function is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedUrl {
    url: Url,
}

pub(crate) async fn set_url(
    Path(task): Path<String>,
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(wanted): Given<WantedUrl>,
) -> Answer<Shown> {
    let by = asked.may(Role::Admin)?;
    guard
        .check_url(&wanted.url)
        .map_err(|denied| Problem::BadBody(format!("url: {denied}")))?;
    if wanted.url.as_str().chars().count() > URL_MAX {
        return Err(Problem::BadBody(format!(
            "url: it has at most {URL_MAX} characters"
        )));
    }
    let mut tx = asked.begin().await?;
    let set = executors::set_own_url(&mut tx, &task, wanted.url.as_str(), by).await?;
    let found = executors::tenant_executor(&mut tx, &task).await?;
    tx.commit().await?;
    let found = found.ok_or(Problem::NotFound)?;
    if !set {
        return Err(Problem::Conflict(format!(
            "the operator has said where the function of {task} is; ask for the executor http without a URL"
        )));
    }
    answer(found.into())
}

pub(crate) async fn drop_url(Path(task): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.may(Role::Admin)?;
    let mut tx = asked.begin().await?;
    let dropped = executors::drop_own_url(&mut tx, &task).await?;
    let found = executors::tenant_executor(&mut tx, &task).await?;
    tx.commit().await?;
    match found {
        Some(found) if dropped => answer(found.into()),
        Some(_) | None => Err(Problem::NotFound),
    }
}
