//! The frame of a reconciler: a tick comes, things are made true again, a report says what changed.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::post;
use events::{Received, Reply};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio::time::Instant;

use crate::subscriber::refused;
use crate::{Ctx, EventError, Routes};

/// Works on what is due: takes up to `batch`, works on all of it at once, and goes on while batches are full and `time` is not over.
/// The next tick goes on where it ended. Returns what came of each; what the first error leaves undone is due again.
///
/// # Errors
/// The first that `take` or `one` has.
pub async fn pass<T, R, TakeFut, OneFut>(
    time: Duration,
    batch: i32,
    take: impl Fn() -> TakeFut,
    one: impl Fn(T) -> OneFut,
) -> anyhow::Result<Vec<R>>
where
    TakeFut: Future<Output = anyhow::Result<Vec<T>>>,
    OneFut: Future<Output = anyhow::Result<R>>,
{
    let begun = Instant::now();
    let at_once = usize::try_from(batch).unwrap_or(usize::MAX);
    let mut done = Vec::new();
    while begun.elapsed() < time {
        let due = take().await?;
        let full = due.len() >= at_once;
        let batch: Vec<R> = stream::iter(due)
            .map(&one)
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        done.extend(batch);
        if !full {
            break;
        }
    }
    Ok(done)
}

/// Calls `reconcile` at each tick. It has no input, so that no tick is special and a lost one is no loss; it does not retry,
/// for the next tick does. A report that is not all zeros and empties is logged as information.
pub fn reconciler<F, Fut, R>(reconcile: F) -> Routes
where
    F: Fn(Ctx) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<R>> + Send + 'static,
    R: Serialize + Default + PartialEq + Send,
{
    let handler = move |State(ctx): State<Ctx>, Received(_): Received| {
        let reconcile = reconcile.clone();
        ctx.metrics().received(ctx.function());
        async move {
            match reconcile(ctx).await {
                Ok(report) => {
                    let text = serde_json::to_string(&report).unwrap_or_default();
                    if report == R::default() {
                        tracing::debug!(report = text, "nothing to do");
                    } else {
                        tracing::info!(report = text, "changed something");
                    }
                    Reply::Ack.into_response()
                }
                Err(error) => refused(&EventError::later(error)),
            }
        }
    };
    Router::new().route("/", post(handler)).into()
}
