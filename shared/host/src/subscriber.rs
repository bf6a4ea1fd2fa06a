//! The frame of a function that takes events.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use events::{Event, Received, Reply};

use crate::{Ctx, Routes};

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It may be taken later: 503, the broker delivers again.
    #[error("{0:#}")]
    Later(anyhow::Error),
    /// It never will: 422, the broker gives up.
    #[error("{0:#}")]
    Never(anyhow::Error),
}

impl EventError {
    /// It may be taken later.
    pub fn later(error: impl Into<anyhow::Error>) -> Self {
        Self::Later(error.into())
    }

    /// It never will be taken.
    pub fn never(error: impl Into<anyhow::Error>) -> Self {
        Self::Never(error.into())
    }
}

/// Calls `handle` for each event. It can answer only [`Reply`]: a broker takes a 2xx with anything else for a failure.
pub fn subscriber<F, Fut>(handle: F) -> Routes
where
    F: Fn(Ctx, Event) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply, EventError>> + Send + 'static,
{
    let handler = move |State(ctx): State<Ctx>, Received(message): Received| {
        let handle = handle.clone();
        ctx.metrics().received(ctx.function());
        async move {
            let event = match Event::try_from(&message) {
                Ok(event) => event,
                Err(error) => return refused(&EventError::never(error)),
            };
            match handle(ctx, event).await {
                Ok(reply) => reply.into_response(),
                Err(error) => refused(&error),
            }
        }
    };
    Router::new().route("/", post(handler)).into()
}

pub(crate) fn refused(error: &EventError) -> Response {
    let status = match error {
        EventError::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
        EventError::Never(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    tracing::warn!(
        http.status = status.as_u16(),
        "the event was not taken: {error}"
    );
    (status, error.to_string()).into_response()
}
