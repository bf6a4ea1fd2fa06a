//! Terraform's states: what is in them, masked, their history, and their locks.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use serde::Deserialize;
use store::terraform::{self as states, Promoted, ReadError, StateRow, Unlocked};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};
use crate::views::states::{
    StatePage, StatesPage, difference as difference_view, state, states as states_view,
};

/// States and versions that are listed at a time.
const ROWS: usize = 50;

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error.into(),
            ReadError::Sealed(error) => Self::internal(error),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(after): Query<After>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let rows = states::list(&mut tx, after.after.as_deref(), ROWS).await?;
    tx.commit().await?;
    let next = rows.last().filter(|_| rows.len() == ROWS);
    let next = next.map(|row| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("after", &row.name);
        format!("/states?{}", query.finish())
    });
    Ok(states_view(
        &signed.reader(),
        &StatesPage {
            rows,
            next_href: next,
        },
    ))
}

async fn found(tx: &mut TenantTx, id: &str) -> Result<StateRow, Problem> {
    states::find(tx, rows::id::<Uuid>(id)?)
        .await?
        .ok_or(Problem::NotFound)
}

async fn whole(
    tx: &mut TenantTx,
    ctx: &Ctx,
    signed: &Signed,
    id: Uuid,
    number: i64,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let found = states::version_state(tx, signed.tenant, keyring, id, number).await?;
    found.ok_or(Problem::NotFound)
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let row = found(&mut tx, &id).await?;
    let versions = states::versions(&mut tx, row.id, None, ROWS).await?;
    let inside = match row.current {
        Some(number) => Some(whole(&mut tx, &ctx, &signed, row.id, number).await?),
        None => None,
    };
    tx.commit().await?;
    let inside = inside
        .map(|inside| terraform::State::read(&inside))
        .transpose();
    let view = StatePage {
        row,
        versions,
        inside: inside.map_err(Problem::internal)?,
        may_administer: signed.may_administer(),
    };
    Ok(state(&signed.reader(), &view))
}

/// Which two versions.
#[derive(Debug, Deserialize)]
pub(super) struct Two {
    from: i64,
    to: i64,
}

pub(super) async fn difference(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(two): Query<Two>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let row = found(&mut tx, &id).await?;
    let earlier = whole(&mut tx, &ctx, &signed, row.id, two.from).await?;
    let later = whole(&mut tx, &ctx, &signed, row.id, two.to).await?;
    tx.commit().await?;
    let found = terraform::difference(&earlier, &later).map_err(Problem::internal)?;
    Ok(difference_view(
        &signed.reader(),
        &row,
        two.from,
        two.to,
        &found,
    ))
}

/// Which lock is taken away: the one that was seen.
#[derive(Debug, Deserialize)]
pub(super) struct Lock {
    lock: String,
    #[serde(default)]
    why: String,
}

pub(super) async fn unlock(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(lock): Posted<Lock>,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let row = found(&mut tx, &id).await?;
    signed.operate()?;
    let why = Some(lock.why.trim()).filter(|why| !why.is_empty());
    let unlocked = states::unlock(&mut tx, row.id, &lock.lock, signed.name(), why).await?;
    tx.commit().await?;
    match unlocked {
        Unlocked::Done => Ok(Redirect::to(&format!("/states/{}", row.id)).into_response()),
        Unlocked::Other => Err(Problem::Refused(
            signed.visitor.language.t("state-other-lock"),
        )),
        Unlocked::Absent => Err(Problem::NotFound),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Promote {
    /// A form has texts alone.
    number: String,
}

pub(super) async fn promote(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(promote): Posted<Promote>,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let row = found(&mut tx, &id).await?;
    signed.administer()?;
    let number = promote.number.parse().map_err(|_| Problem::Unreadable)?;
    let promoted = states::promote(&mut tx, row.id, number, signed.name()).await?;
    tx.commit().await?;
    match promoted {
        Promoted::Done | Promoted::Same => {
            Ok(Redirect::to(&format!("/states/{}", row.id)).into_response())
        }
        Promoted::Held => Err(Problem::Refused(signed.visitor.language.t("state-held"))),
        Promoted::Absent => Err(Problem::NotFound),
    }
}
