//! What came in from outside: found, shown with its body, compared, delivered again, and its events handed to bindings again.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use model::{BindingId, DeliveryId, EventId, JobId, Role, TriggerId};
use queue::RuleError;
use queue::replays::{self, ReplayFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::pages::{self, Delivery, DeliveryDetail, DeliverySearch, DeliveryVerdict};
use store::replays::{DeliveryDeed, note_deed, repeat};
use webhook::diff::{self, BodyDiff, Change};
use webhook::{Functions, NotRedelivered, StoredDelivery};
use zeroize::Zeroizing;

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// A piece may be short, or empty, and yet have a next one: only so many deliveries are looked at in one request.
pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Delivery>> {
    let search = DeliverySearch {
        verdict: asked.parsed::<DeliveryVerdict>("verdict")?,
        trigger: asked.parsed::<TriggerId>("trigger")?,
        vendor: asked.parsed("vendor")?,
        event: asked.parsed("event")?,
        since: asked.parsed::<DateTime<Utc>>("since")?,
        until: asked.parsed::<DateTime<Utc>>("until")?,
    };
    let (before, limit) = asked.piece::<DeliveryId>()?;
    let mut tx = asked.begin().await?;
    let found = pages::find_deliveries(&mut tx, &search, before, limit).await?;
    tx.commit().await?;
    let next = found.next.map(|id| asked.cursor(&id.to_string()));
    answer(Piece {
        items: found.deliveries,
        next: next.transpose()?,
    })
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<DeliveryDetail> {
    asked.nothing_more()?;
    let id: DeliveryId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = pages::delivery(&mut tx, id).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

/// A delivery with its body opened; that it was read is on record.
async fn opened(
    asked: &Asked,
    by: &str,
    id: DeliveryId,
    deed: DeliveryDeed,
    data: Value,
) -> Result<(DeliveryDetail, Zeroizing<Vec<u8>>), Problem> {
    let mut tx = asked.begin().await?;
    let found = pages::delivery(&mut tx, id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    note_deed(&mut tx, id, deed, by, data).await?;
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let body = found.body(keyring, asked.tenant());
    let body = body.map_err(Problem::internal)?.ok_or_else(|| {
        Problem::Conflict(match found.body_dropped_at {
            Some(at) => format!("its body was let go at {at}: bodies are kept for a while only"),
            None => "it was not verified, so that nothing of its body was kept".to_owned(),
        })
    })?;
    tx.commit().await?;
    Ok((found, body))
}

/// The body as it came, to be kept in a file: whatever it says it is, no browser shows it here.
pub(crate) async fn body(Path(id): Path<String>, asked: Asked) -> Result<Response, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: DeliveryId = named(&id)?;
    let (found, body) = opened(&asked, by, id, DeliveryDeed::ReadBody, json!({})).await?;
    let said = found.headers["content-type"].as_str();
    let said = said.and_then(|said| HeaderValue::from_str(said).ok());
    let file = format!("attachment; filename=\"{id}.body\"");
    let mut response = body.to_vec().into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        said.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::try_from(file).expect("an id is visible ASCII"),
    );
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// How two deliveries differ.
#[derive(Serialize)]
pub(crate) struct Difference {
    headers: Vec<Change>,
    body: BodyDiff,
}

pub(crate) async fn difference(Path(id): Path<String>, mut asked: Asked) -> Answer<Difference> {
    let id: DeliveryId = named(&id)?;
    let with = asked.parsed::<DeliveryId>("with")?.ok_or_else(|| {
        Problem::BadQuery("say with=<delivery id>, the one to compare it with".to_owned())
    })?;
    let by = asked.may(Role::Operator)?;
    let deed = DeliveryDeed::ReadBody;
    let (first, before) = opened(&asked, by, id, deed, json!({})).await?;
    let (second, after) = opened(&asked, by, with, deed, json!({})).await?;
    answer(Difference {
        headers: diff::headers(&first.headers, &second.headers),
        body: diff::bodies(&before, &after),
    })
}

/// What became of a delivery that was taken again.
#[derive(Serialize)]
pub(crate) struct Again {
    /// What its sender would have been answered.
    status: u16,
    /// The new delivery, where one was stored.
    delivery: Option<DeliveryId>,
    /// The answer itself.
    told: Value,
}

pub(crate) async fn redeliver(
    Path(id): Path<String>,
    Extension(functions): Extension<Functions>,
    asked: Asked,
) -> Answer<Again> {
    let by = asked.may(Role::Operator)?;
    let id: DeliveryId = named(&id)?;
    let ctx = asked.ctx();
    let attempt = ctx.new_id();
    let deed = DeliveryDeed::Redeliver;
    let (found, body) = opened(&asked, by, id, deed, json!({ "attempt": attempt })).await?;
    let Some(function) = &found.function else {
        let why = "it was taken before it was recorded by which function";
        return Err(Problem::Conflict(why.to_owned()));
    };
    let stored = StoredDelivery {
        delivery: id,
        trigger: found.delivery.trigger.id,
        function,
        headers: &found.headers,
        body: body.to_vec().into(),
        attempt,
    };
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let sent = functions.redeliver(ctx.http(), keyring, ctx.now(), stored);
    let again = sent.await.map_err(|error| match error {
        NotRedelivered::NoFunction(_) => Problem::Conflict(error.to_string()),
        NotRedelivered::Unreached(error) => Problem::unreached(error),
    })?;
    if again.status == StatusCode::UNAUTHORIZED {
        let why = "its trigger takes no webhooks any more";
        return Err(Problem::Conflict(why.to_owned()));
    }
    let new = again.told["delivery"].as_str();
    answer(Again {
        status: again.status.as_u16(),
        delivery: new.and_then(|new| new.parse().ok()),
        told: again.told,
    })
}

/// For whom a delivery's events are made again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForWhom {
    binding: Option<BindingId>,
}

/// The events that were made again.
#[derive(Serialize)]
pub(crate) struct Repeated {
    events: Vec<EventId>,
}

pub(crate) async fn replay(
    Path(id): Path<String>,
    asked: Asked,
    Given(whom): Given<ForWhom>,
) -> Answer<Repeated> {
    let by = asked.may(Role::Operator)?;
    let id: DeliveryId = named(&id)?;
    let mut tx = asked.begin().await?;
    if pages::delivery(&mut tx, id).await?.is_none() {
        return Err(Problem::NotFound);
    }
    let request = asked.ctx().new_id();
    let events = repeat(&mut tx, id, whom.binding, request, by).await;
    let events = events.map_err(|error| match &error {
        sqlx::Error::Database(told) if told.is_foreign_key_violation() => {
            Problem::BadBody("binding: the delivery's trigger has no such binding".to_owned())
        }
        _ => error.into(),
    })?;
    if events.is_empty() {
        let why = "no event came of it; deliver it again to have it read anew";
        return Err(Problem::Conflict(why.to_owned()));
    }
    tx.commit().await?;
    answer(Repeated { events })
}

/// Which deliveries are replayed, and for whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    filter: ReplayFilter,
    binding: Option<BindingId>,
}

/// The job that does it.
#[derive(Serialize)]
struct AskedFor {
    job: JobId,
}

pub(crate) async fn replay_all(
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<Response, Problem> {
    let by = asked.may(Role::Operator)?;
    if let Some(verdict) = &wanted.filter.verdict {
        let known = verdict.parse::<DeliveryVerdict>();
        known.map_err(|error| Problem::BadBody(format!("filter.verdict: {error}")))?;
    }
    let mut tx = asked.begin().await?;
    let job = replays::ask_own_replays(&mut tx, &wanted.filter, wanted.binding, by).await;
    let job = job.map_err(|error| match error {
        RuleError::Missing(why) => Problem::BadBody(format!("binding: {why}")),
        other => other.into(),
    })?;
    tx.commit().await?;
    let headers = [
        (LOCATION, format!("/jobs/{job}")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::ACCEPTED, headers, Json(AskedFor { job })).into_response())
}

/// How a trigger's hooks are.
pub(crate) async fn health(Path(id): Path<String>, asked: Asked) -> Answer<pages::TriggerHealth> {
    asked.nothing_more()?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = pages::trigger_health(&mut tx, id).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}
