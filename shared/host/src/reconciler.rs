//! The frame of a reconciler: a tick comes, things are made true again, a report says what changed.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::post;
use events::{Received, Reply};
use serde::Serialize;

use crate::subscriber::refused;
use crate::{Ctx, EventError, Routes};

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
