//! What of a trigger is looked at by the clock besides what its hooks tell.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use egress::Guard;
use http::StatusCode;
use model::{Role, TriggerId};
use store::declared::{self, WatchWanted};
use store::watched::{self, Watching};

use crate::asked::{Asked, Given};
use crate::declared::{admits, author, removed};
use crate::problem::Problem;
use crate::{Answer, answer, named};

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
    Given(wanted): Given<WatchWanted>,
) -> Answer<Watching> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    declared::save_watch(&mut tx, by, id, &wanted, &admits(&guard)).await?;
    let found = watched::watching(&mut tx, id).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn end(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = declared::end_watch(&mut tx, by, id).await?;
    tx.commit().await?;
    removed(done)
}

pub(crate) async fn look(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = author(&asked, asked.may(Role::Operator)?);
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = declared::look_soon(&mut tx, by, id).await?;
    tx.commit().await?;
    done.then_some(StatusCode::ACCEPTED)
        .ok_or(Problem::NotFound)
}
