//! Terraform's states: what there is, masked; what of it is done by hand; the whole of one for an admin, on record.

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use model::Role;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::terraform::{self as states, Promoted, ReadError, Removed, StateRow, Unlocked, Version};
use terraform::{State, StateDifference};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named};

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error.into(),
            ReadError::Sealed(error) => Self::internal(error),
        }
    }
}

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<StateRow>> {
    let (after, limit) = asked.piece::<String>()?;
    let mut tx = asked.begin().await?;
    let rows = states::list(&mut tx, after.as_deref(), limit).await?;
    tx.commit().await?;
    answer(asked.list(rows, limit, |row| row.name.clone())?)
}

/// A state with what it manages and puts out.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    row: StateRow,
    /// What is in it, masked; none while there is no version.
    state: Option<State>,
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let row = states::find(&mut tx, id).await?.ok_or(Problem::NotFound)?;
    let whole = match row.current {
        Some(number) => Some(whole(&mut tx, &asked, id, number).await?),
        None => None,
    };
    tx.commit().await?;
    let state = whole.map(|whole| State::read(&whole)).transpose();
    answer(Shown {
        row,
        state: state.map_err(Problem::internal)?,
    })
}

pub(crate) async fn versions(Path(id): Path<String>, mut asked: Asked) -> Answer<Piece<Version>> {
    let id: Uuid = named(&id)?;
    let (before, limit) = asked.piece::<i64>()?;
    let mut tx = asked.begin().await?;
    let found = states::find(&mut tx, id).await?;
    let rows = states::versions(&mut tx, id, before, limit).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)?;
    answer(asked.list(rows, limit, |row| row.number.to_string())?)
}

pub(crate) async fn version(
    Path((id, number)): Path<(String, String)>,
    asked: Asked,
) -> Answer<State> {
    asked.nothing_more()?;
    let (id, number): (Uuid, i64) = (named(&id)?, named(&number)?);
    let mut tx = asked.begin().await?;
    let whole = whole(&mut tx, &asked, id, number).await?;
    tx.commit().await?;
    answer(State::read(&whole).map_err(Problem::internal)?)
}

/// What is different in a version from another one: `?from=`, or else the one before it.
pub(crate) async fn difference(
    Path((id, number)): Path<(String, String)>,
    mut asked: Asked,
) -> Answer<StateDifference> {
    let (id, number): (Uuid, i64) = (named(&id)?, named(&number)?);
    let from = asked.parsed::<i64>("from")?;
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let from = match from {
        Some(from) => from,
        None => {
            states::versions(&mut tx, id, Some(number), 1)
                .await?
                .first()
                .ok_or(Problem::NotFound)?
                .number
        }
    };
    let earlier = whole(&mut tx, &asked, id, from).await?;
    let later = whole(&mut tx, &asked, id, number).await?;
    tx.commit().await?;
    answer(terraform::difference(&earlier, &later).map_err(Problem::internal)?)
}

/// The whole of a version, secrets and all. Takes an admin, and is on record before it is sent.
pub(crate) async fn download(
    Path((id, number)): Path<(String, String)>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let (id, number): (Uuid, i64) = (named(&id)?, named(&number)?);
    let mut tx = asked.begin().await?;
    let row = states::find(&mut tx, id).await?.ok_or(Problem::NotFound)?;
    if !states::note_download(&mut tx, id, number, by).await? {
        return Err(Problem::NotFound);
    }
    let whole = whole(&mut tx, &asked, id, number).await?;
    tx.commit().await?;
    // A state's name has nothing in it that would have to be quoted.
    let name = format!("attachment; filename=\"{}-{number}.tfstate\"", row.name);
    let name = HeaderValue::from_str(&name).map_err(Problem::internal)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CONTENT_DISPOSITION, name),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, whole.to_vec()))
}

async fn whole(
    tx: &mut database::TenantTx,
    asked: &Asked,
    id: Uuid,
    number: i64,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    states::version_state(tx, asked.tenant(), keyring, id, number)
        .await?
        .ok_or(Problem::NotFound)
}

/// Which lock is taken away: the one that was seen, and not whichever came after it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unlock {
    /// Its id.
    lock: String,
    /// Why, for the record.
    #[serde(default)]
    why: Option<String>,
}

pub(crate) async fn unlock(
    Path(id): Path<String>,
    asked: Asked,
    Given(wanted): Given<Unlock>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let unlocked = states::unlock(&mut tx, id, &wanted.lock, by, wanted.why.as_deref()).await?;
    tx.commit().await?;
    match unlocked {
        Unlocked::Done => Ok(done()),
        Unlocked::Absent => Err(Problem::NotFound),
        Unlocked::Other => Err(Problem::Conflict(
            "that lock is not held any more; look at the state again".to_owned(),
        )),
    }
}

pub(crate) async fn promote(
    Path((id, number)): Path<(String, String)>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let (id, number): (Uuid, i64) = (named(&id)?, named(&number)?);
    let mut tx = asked.begin().await?;
    let promoted = states::promote(&mut tx, id, number, by).await?;
    tx.commit().await?;
    match promoted {
        Promoted::Done | Promoted::Same => Ok(done()),
        Promoted::Absent => Err(Problem::NotFound),
        Promoted::Held => Err(Problem::Conflict(
            "somebody holds the state's lock; wait for it, or unlock the state".to_owned(),
        )),
    }
}

pub(crate) async fn remove(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let removed = states::remove(&mut tx, id, by).await?;
    tx.commit().await?;
    match removed {
        Removed::Done => Ok((StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")])),
        Removed::Absent => Err(Problem::NotFound),
        Removed::Held => Err(Problem::Conflict(
            "somebody holds the state's lock; wait for it, or unlock the state".to_owned(),
        )),
    }
}

fn done() -> impl IntoResponse + use<> {
    ([(CACHE_CONTROL, "no-store")], Json(json!({ "done": true })))
}
