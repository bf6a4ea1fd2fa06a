//! A tenant's named queues, and what stands still: paused (nothing starts) or drained (nothing is added).

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::LOCATION;
use model::Role;
use queue::By;
use queue::lanes::{self, Lane};
use queue::rules::{self, OwnScope, Pause, PauseKind};
use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer};

/// Where counting what is left in a drain stops.
const LEFT_MAX: i32 = 1000;

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Lane>> {
    let (after, limit) = asked.piece::<String>()?;
    let mut tx = asked.begin().await?;
    let rows = lanes::queues(&mut tx, after.as_deref(), crate::rows(limit)).await?;
    tx.commit().await?;
    answer(asked.list(rows, limit, |row| row.queue.clone().unwrap_or_default())?)
}

/// A queue with what keeps it from going on.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    lane: Lane,
    pauses: Vec<Pause>,
}

pub(crate) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let lane = lanes::queue(&mut tx, &name).await?;
    let mut pauses = rules::own_pauses(&mut tx).await?;
    tx.commit().await?;
    let lane = lane.ok_or(Problem::NotFound)?;
    pauses.retain(|pause| {
        pause
            .queue
            .as_ref()
            .is_none_or(|queue| Some(queue) == lane.queue.as_ref())
            && pause.task.as_ref().is_none_or(|task| *task == lane.task)
    });
    answer(Shown { lane, pauses })
}

/// What stands still for the tenant, of its own will or the installation's.
#[derive(Serialize)]
pub(crate) struct Pauses {
    items: Vec<Pause>,
}

pub(crate) async fn pauses(asked: Asked) -> Answer<Pauses> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let items = rules::own_pauses(&mut tx).await?;
    tx.commit().await?;
    answer(Pauses { items })
}

/// A pause or drain, with how many jobs are left where it is.
#[derive(Serialize)]
pub(crate) struct Standing {
    #[serde(flatten)]
    pause: Pause,
    /// Counted up to a bound; who drains waits for 0.
    left: i32,
    left_more: bool,
}

pub(crate) async fn pause(Path(id): Path<String>, asked: Asked) -> Answer<Standing> {
    asked.nothing_more()?;
    let id: i64 = crate::named(&id)?;
    let mut tx = asked.begin().await?;
    let all = rules::own_pauses(&mut tx).await?;
    let pause = all
        .into_iter()
        .find(|pause| pause.id == id)
        .ok_or(Problem::NotFound)?;
    let scope = match (&pause.task, &pause.queue) {
        (_, Some(queue)) => OwnScope::Queue(queue),
        (Some(task), None) => OwnScope::Task(task),
        (None, None) => OwnScope::All,
    };
    let left = rules::own_left(&mut tx, scope, LEFT_MAX + 1).await?;
    tx.commit().await?;
    answer(Standing {
        pause,
        left: left.min(LEFT_MAX),
        left_more: left > LEFT_MAX,
    })
}

/// What to let stand still: a task, a queue, or, with neither, everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    kind: PauseKind,
    task: Option<String>,
    queue: Option<String>,
    why: Option<String>,
}

#[derive(Serialize)]
struct Made {
    id: i64,
}

pub(crate) async fn stop(
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let by = By {
        name: asked.may(Role::Operator)?,
        why: wanted.why.as_deref(),
    };
    let scope = match (&wanted.task, &wanted.queue) {
        (None, None) => OwnScope::All,
        (Some(task), None) => OwnScope::Task(task),
        (None, Some(queue)) => OwnScope::Queue(queue),
        (Some(_), Some(_)) => {
            return Err(Problem::BadBody(
                "say a task or a queue, not both".to_owned(),
            ));
        }
    };
    let mut tx = asked.begin().await?;
    let id = rules::pause_own(&mut tx, wanted.kind, scope, by).await?;
    tx.commit().await?;
    Ok((
        StatusCode::CREATED,
        [(LOCATION, format!("/pauses/{id}"))],
        Json(Made { id }),
    ))
}

/// Why it goes on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    why: Option<String>,
}

pub(crate) async fn go_on(
    Path(id): Path<String>,
    asked: Asked,
    Given(because): Given<Because>,
) -> Result<StatusCode, Problem> {
    let by = By {
        name: asked.may(Role::Operator)?,
        why: because.why.as_deref(),
    };
    let id: i64 = crate::named(&id)?;
    let mut tx = asked.begin().await?;
    let lifted = rules::resume_own(&mut tx, id, by).await?;
    tx.commit().await?;
    if lifted {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::NotFound)
    }
}
