//! Measures what only the database knows (depths, ages, who works, what is stuck), and tells it.
//!
//! A tick measures into one row. `GET /metrics` tells that row in Prometheus's words, and `GET /diag` says in JSON whether
//! all is well or what is not. This function alone tells them: the numbers are the installation's, and each replica that told
//! them as well would only say the same again. It is cluster-local, because they are about all tenants; the local runtime
//! answers both at the root of its gateway. Nobody who asks makes the database count.

mod diagnosis;
mod exposition;

use anyhow::Context as _;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use host::{Ctx, Function, Kind};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use model::DatabaseRole;
use serde::Serialize;

use crate::diagnosis::Diagnosis;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Reconciler,
    routes: |_| {
        Ok(host::reconciler(reconcile)
            .telling(tell)
            .and(Router::new().route("/diag", get(diag))))
    },
};

/// What a tick changed: nothing that anybody has to hear of.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {}

async fn reconcile(ctx: Ctx) -> anyhow::Result<Report> {
    if !ctx.queue().measure().await.context("could not measure")? {
        tracing::debug!("somebody else is measuring");
    }
    Ok(Report {})
}

/// The newest measurement in Prometheus's words; nothing before the first.
async fn tell(ctx: Ctx) -> anyhow::Result<String> {
    let measured = ctx
        .queue()
        .measured()
        .await
        .context("could not read the measurement")?;
    Ok(match measured {
        Some(measured) => exposition::text(&measured)?,
        None => String::new(),
    })
}

/// `GET /diag`. The status says whether there is a diagnosis (200) or not (503), the body what it is: who asks whether a
/// process may get requests must not take it away because a queue is long.
async fn diag(State(ctx): State<Ctx>) -> Response {
    let (status, diagnosis) = match ctx.queue().measured().await {
        Ok(Some(measured)) => (StatusCode::OK, Diagnosis::of(&measured)),
        Ok(None) => (StatusCode::OK, Diagnosis::not_measured()),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no diagnosis could be made"
            );
            (StatusCode::SERVICE_UNAVAILABLE, Diagnosis::no_database())
        }
    };
    (status, [(CACHE_CONTROL, "no-store")], Json(diagnosis)).into_response()
}

#[cfg(test)]
mod tests;
