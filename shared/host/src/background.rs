//! The frame of a function that works by itself.

use axum::Router;

use crate::{Ctx, Routes};

/// Runs `work` from the function's start until it is asked to stop; it must then return. When it returns before, with or
/// without an error, the host starts it again after a moment.
pub fn background<F, Fut>(work: F) -> Routes
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Routes::from(Router::new()).beside(work)
}
