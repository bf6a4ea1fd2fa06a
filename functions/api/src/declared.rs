//! What the handlers of things that people declare have in common: few of them, listed whole, shown, removed.

use axum::response::IntoResponse;
use database::TenantTx;
use egress::Guard;
use futures::future::BoxFuture;
use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;
use store::declared::Author;
use url::Url;
use uuid::Uuid;

use crate::asked::Asked;
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// All of them: there are few.
#[derive(Debug, Serialize)]
pub(crate) struct All<T> {
    pub(crate) items: Vec<T>,
}

type Read<'t, T> = BoxFuture<'t, Result<T, sqlx::Error>>;

/// All that there are.
pub(crate) async fn all<T>(
    asked: &Asked,
    read: impl for<'t> FnOnce(&'t mut TenantTx) -> Read<'t, Vec<T>> + Send,
) -> Answer<All<T>> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let items = read(&mut tx).await?;
    tx.commit().await?;
    answer(All { items })
}

/// The one of this id.
pub(crate) async fn one<T>(
    asked: &Asked,
    id: &str,
    read: impl for<'t> FnOnce(&'t mut TenantTx, Uuid) -> Read<'t, Vec<T>> + Send,
) -> Answer<T> {
    asked.nothing_more()?;
    let id: Uuid = named(id)?;
    let mut tx = asked.begin().await?;
    let found = read(&mut tx, id).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

/// Who asks, as it is put on record. Their role is another question.
pub(crate) fn author<'a>(asked: &Asked, name: &'a str) -> Author<'a> {
    Author {
        tenant: asked.tenant(),
        name,
    }
}

/// What a removal answers.
pub(crate) fn removed(done: bool) -> Result<StatusCode, Problem> {
    done.then_some(StatusCode::NO_CONTENT)
        .ok_or(Problem::NotFound)
}

/// What was made, with its place.
pub(crate) fn made<T: Serialize>(
    list: &str,
    id: Uuid,
    shown: T,
) -> Result<impl IntoResponse + use<T>, Problem> {
    let place = [(LOCATION, format!("/{list}/{id}"))];
    Ok((StatusCode::CREATED, place, answer(shown)?))
}

/// Whether calls to a URL would be let through.
pub(crate) fn admits(guard: &Guard) -> impl Fn(&Url) -> Result<(), String> + Sync {
    |url| guard.check_url(url).map_err(|denied| denied.to_string())
}
