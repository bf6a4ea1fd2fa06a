//! What a function is.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use model::{DatabaseRole, TaskPolicy};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{Ctx, CtxError, Env, Resources, SettingsError, metrics, trace};

/// One function, as a constant: the whole of what the rest of the system knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// The crate's, the Service's, the manifests' and the argument's name.
    pub name: &'static str,
    /// The Postgres role it works under.
    pub role: DatabaseRole,
    /// What it is; decides which manifests it needs.
    pub kind: Kind,
    /// Makes its routes from its settings. Called once, at the start.
    pub routes: fn(&Env) -> Result<Routes, SettingsError>,
}

/// What a function is to the rest of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers requests of people or of other systems: has a Service.
    Service,
    /// Takes events of `inbound` or `observed`: has a Service and a Trigger.
    Subscriber,
    /// Works on jobs: has a Service, and a Trigger on `work` for its wake-ups.
    Task(TaskPolicy),
    /// Makes true again what should be: has a Service and a PingSource.
    Reconciler,
    /// Publishes: has a ContainerSource for each broker.
    Relay,
}

/// Work beside the requests: starts with the function, ends when it is asked to stop.
pub type Background =
    Arc<dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// What a function tells at `/metrics` besides what the host counts: OpenMetrics text without the mark of the end.
pub type Telling =
    Arc<dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = anyhow::Result<String>> + Send>> + Send + Sync>;

/// What a function answers and does.
#[derive(Clone)]
pub struct Routes {
    pub(crate) router: Router<Ctx>,
    pub(crate) background: Option<Background>,
    pub(crate) telling: Option<Telling>,
}

impl Routes {
    /// The same, with more to tell at `/metrics`.
    #[must_use]
    pub fn telling<F, Fut>(mut self, tell: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<String>> + Send + 'static,
    {
        self.telling = Some(Arc::new(move |ctx| Box::pin(tell(ctx))));
        self
    }

    /// The same, with work beside the requests, as [`crate::background`] does it.
    #[must_use]
    pub fn beside<F, Fut>(mut self, work: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.background = Some(Arc::new(move |ctx| Box::pin(work(ctx))));
        self
    }

    /// The same, with more routes.
    ///
    /// # Panics
    /// When one of them is there already.
    #[must_use]
    pub fn and(mut self, more: Router<Ctx>) -> Self {
        self.router = self.router.merge(more);
        self
    }
}

impl From<Router<Ctx>> for Routes {
    fn from(router: Router<Ctx>) -> Self {
        Self {
            router,
            background: None,
            telling: None,
        }
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes")
            .field("background", &self.background.is_some())
            .finish_non_exhaustive()
    }
}

/// A function that is ready to be served: its settings were good.
#[derive(Clone)]
pub struct Mounted {
    /// Answers requests, `/healthz`, `/readyz` and `/metrics` included.
    pub router: Router,
    /// Its context, to stop it with.
    pub ctx: Ctx,
    /// What it does beside the requests.
    pub background: Option<Background>,
}

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mounted")
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}

impl Function {
    /// Makes the function ready with these settings.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    pub fn mount(&self, env: &Env, resources: &Resources) -> Result<Mounted, CtxError> {
        let routes = (self.routes)(env)?;
        let ctx = Ctx::new(self, env, resources)?;
        match self.kind {
            Kind::Task(policy) => {
                ctx.metrics().know_task(self.name);
                ctx.metrics().know_pool(self.name, policy.slots);
                ctx.metrics().know_function(self.name);
            }
            Kind::Subscriber | Kind::Reconciler => ctx.metrics().know_function(self.name),
            Kind::Service | Kind::Relay => {}
        }
        let router = routes
            .router
            .route("/healthz", get(StatusCode::OK))
            .route("/readyz", get(crate::serve::readiness))
            .with_state(ctx.clone())
            .layer(axum::middleware::from_fn_with_state(
                (ctx.clone(), self.kind, routes.telling),
                metrics::answer,
            ))
            .layer(CatchPanicLayer::custom(crate::serve::panicked))
            .layer(axum::middleware::from_fn_with_state(
                ctx.clone(),
                trace::span,
            ));
        Ok(Mounted {
            router,
            ctx,
            background: routes.background,
        })
    }
}
