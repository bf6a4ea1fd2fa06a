//! Deliveries once more: handed in again, compared, and all that match replayed.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use model::{BindingId, DeliveryId};
use queue::replays::{ReplayFilter, ask_own_replays};
use serde::Deserialize;
use serde_json::json;
use store::pages::{self, DeliveryDetail};
use store::replays::{DeliveryDeed, note_deed};
use webhook::diff::{self, BodyDiff};
use webhook::{Functions, NotRedelivered, StoredDelivery};

use super::deliveries::{ListQuery, bindings};
use super::problem::Problem;
use super::queues::said;
use super::rows;
use super::session::{Posted, Signed};
use crate::views::again::{
    BodyChange, BulkPage, ChangeRow, DiffPage, bulk as bulk_view, diff as diff_view,
};

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// A delivery with its body, which is on record as read or handed in.
async fn opened(
    ctx: &Ctx,
    signed: &Signed,
    id: DeliveryId,
    deed: DeliveryDeed,
    data: serde_json::Value,
) -> Result<(DeliveryDetail, Vec<u8>), Problem> {
    let mut tx = signed.begin(ctx).await?;
    let found = pages::delivery(&mut tx, id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    note_deed(&mut tx, id, deed, signed.name(), data).await?;
    tx.commit().await?;
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let body = found
        .body(keyring, signed.tenant)
        .map_err(Problem::internal)?;
    let body = body.ok_or_else(|| Problem::Refused("its body is not kept".to_owned()))?;
    Ok((found, body.to_vec()))
}

/// Hands a delivery in again, to be read by today's parser, and goes to the new one.
pub(super) async fn redeliver(
    State(ctx): State<Ctx>,
    Extension(functions): Extension<Functions>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id: DeliveryId = rows::id(&id)?;
    let attempt = ctx.new_id();
    let deed = DeliveryDeed::Redeliver;
    let (found, body) = opened(&ctx, &signed, id, deed, json!({ "attempt": attempt })).await?;
    let function = found.function.as_deref().ok_or_else(|| {
        Problem::Refused("it was taken before it was recorded by which function".to_owned())
    })?;
    let stored = StoredDelivery {
        delivery: id,
        trigger: found.delivery.trigger.id,
        function,
        headers: &found.headers,
        body: body.into(),
        attempt,
    };
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let sent = functions
        .redeliver(ctx.http(), keyring, ctx.now(), stored)
        .await;
    let again = sent.map_err(|error| match error {
        NotRedelivered::NoFunction(_) => Problem::Refused(error.to_string()),
        NotRedelivered::Unreached(error) => {
            tracing::warn!("a delivery was not handed in again: {error}");
            Problem::Unavailable
        }
    })?;
    if again.status == StatusCode::UNAUTHORIZED {
        return Err(Problem::Refused(
            "its trigger takes no webhooks any more".to_owned(),
        ));
    }
    let new = again.told["delivery"].as_str();
    let new: Option<DeliveryId> = new.and_then(|new| new.parse().ok());
    tracing::info!(delivery.id = %id, tenant.id = %signed.tenant, "handed in again");
    Ok(Redirect::to(&rows::delivery_href(new.unwrap_or(id))).into_response())
}

#[derive(Deserialize)]
pub(super) struct With {
    with: String,
}

/// How two deliveries differ.
pub(super) async fn compare(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(With { with }): Query<With>,
) -> Result<Markup, Problem> {
    signed.operate()?;
    let (id, with) = (rows::id(&id)?, rows::id(with.trim())?);
    let deed = DeliveryDeed::ReadBody;
    let (first, before) = opened(&ctx, &signed, id, deed, json!({})).await?;
    let (second, after) = opened(&ctx, &signed, with, deed, json!({})).await?;
    let row = |change: diff::Change| ChangeRow {
        at: change.at,
        before: change.before,
        after: change.after,
    };
    let headers = diff::headers(&first.headers, &second.headers);
    let view = DiffPage {
        first: (first.delivery.id, first.delivery.received_at),
        second: (second.delivery.id, second.delivery.received_at),
        headers: headers.into_iter().map(row).collect(),
        body: match diff::bodies(&before, &after) {
            BodyDiff::Same => BodyChange::Same,
            BodyDiff::Json { changes, more } => {
                BodyChange::Json(changes.into_iter().map(row).collect(), more)
            }
            BodyDiff::Bytes { first } => BodyChange::Bytes(first),
        },
    };
    Ok(diff_view(&signed.reader(), &view))
}

/// The question before all that match are replayed.
pub(super) async fn ask_all(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Problem> {
    signed.operate()?;
    let mut tx = signed.begin(&ctx).await?;
    let search = query.search(&mut tx).await?;
    let bindings = match search.trigger {
        Some(trigger) => bindings(&mut tx, signed.visitor.language, trigger).await?,
        None => Vec::new(),
    };
    tx.commit().await?;
    let view = BulkPage {
        said: query.said(),
        action: query.href("/deliveries/replay", None),
        back_href: query.href("/deliveries", None),
        bindings,
    };
    Ok(bulk_view(&signed.reader(), &view))
}

#[derive(Deserialize)]
pub(super) struct ToWhom {
    #[serde(default)]
    binding: String,
}

/// Adds the job that replays them, and goes to its page, where it tells how far it is.
pub(super) async fn all(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<ListQuery>,
    Posted(ToWhom { binding }): Posted<ToWhom>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let binding: Option<BindingId> = said(&binding).map(rows::id).transpose()?;
    let mut tx = signed.begin(&ctx).await?;
    let search = query.search(&mut tx).await?;
    let filter = ReplayFilter {
        verdict: search.verdict.map(|verdict| verdict.as_str().to_owned()),
        trigger: search.trigger,
        vendor: search.vendor,
        event: search.event,
        since: search.since,
        until: search.until,
    };
    let job = ask_own_replays(&mut tx, &filter, binding, signed.name()).await?;
    tx.commit().await?;
    tracing::info!(job.id = %job, tenant.id = %signed.tenant, "asked to replay all deliveries that match");
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}
