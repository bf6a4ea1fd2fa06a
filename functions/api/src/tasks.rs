//! A tenant's tasks: what is ready and in flight in each, and how much may be.

use axum::extract::Path;
use model::Role;
use queue::By;
use queue::lanes::{self, Lane};
use queue::rules::{self, Limit, Limits, Pause, Rate};
use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer};

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Lane>> {
    let (after, limit) = asked.piece::<String>()?;
    let mut tx = asked.begin().await?;
    let rows = lanes::tasks(&mut tx, after.as_deref(), crate::rows(limit)).await?;
    tx.commit().await?;
    answer(asked.list(rows, limit, |row| row.task.clone())?)
}

/// A task with what bounds it and what keeps it from going on.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    lane: Lane,
    limits: Vec<Limit>,
    pauses: Vec<Pause>,
}

pub(crate) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let lane = lanes::task(&mut tx, &name).await?;
    let mut limits = rules::own_limits(&mut tx).await?;
    let mut pauses = rules::own_pauses(&mut tx).await?;
    tx.commit().await?;
    let lane = lane.ok_or(Problem::NotFound)?;
    let concerned = |task: &Option<String>| task.as_ref().is_none_or(|task| *task == lane.task);
    limits.retain(|limit| concerned(&limit.task));
    pauses.retain(|pause| pause.queue.is_none() && concerned(&pause.task));
    answer(Shown {
        lane,
        limits,
        pauses,
    })
}

/// How much may go on; with neither number there is no limit any more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedLimit {
    in_flight_max: Option<i32>,
    rate: Option<Rate>,
    why: Option<String>,
}

/// Whether there is a limit now.
#[derive(Serialize)]
pub(crate) struct Limited {
    limited: bool,
}

pub(crate) async fn limit(
    Path(name): Path<String>,
    asked: Asked,
    Given(wanted): Given<WantedLimit>,
) -> Answer<Limited> {
    let by = By {
        name: asked.may(Role::Admin)?,
        why: wanted.why.as_deref(),
    };
    let limits = Limits {
        in_flight_max: wanted.in_flight_max,
        rate: wanted.rate,
    };
    let mut tx = asked.begin().await?;
    let limited = rules::set_own_limit(&mut tx, &name, limits, by).await?;
    tx.commit().await?;
    answer(Limited { limited })
}

/// How many jobs that are in no named queue may be in flight; nothing for as many as there are workers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedCap {
    cap: Option<i32>,
    why: Option<String>,
}

pub(crate) async fn cap(
    Path(name): Path<String>,
    asked: Asked,
    Given(wanted): Given<WantedCap>,
) -> Answer<Lane> {
    let by = By {
        name: asked.may(Role::Admin)?,
        why: wanted.why.as_deref(),
    };
    let mut tx = asked.begin().await?;
    rules::set_own_cap(&mut tx, &name, wanted.cap, by).await?;
    let lane = lanes::task(&mut tx, &name).await?;
    tx.commit().await?;
    answer(lane.ok_or(Problem::NotFound)?)
}
