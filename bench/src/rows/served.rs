//! Servers in this process, and the bare handler that others are compared with.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use host::ServeLimits;
use http::StatusCode;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server in this process.
pub struct Served {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    /// Serves with the host's own server.
    pub async fn start(router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "it is waited for when it stops")]
        let serving = tokio::spawn(host::serve(
            listener,
            router,
            ServeLimits::default(),
            stop.clone(),
        ));
        Ok(Self {
            addr,
            stop,
            serving,
        })
    }

    /// Stops it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.serving.await?)
    }
}

/// The baseline: one row for each request.
pub fn bare(pool: PgPool) -> Router {
    async fn insert(State(pool): State<PgPool>, body: Bytes) -> StatusCode {
        let inserted = sqlx::query("insert into bench.plain (body) values ($1)")
            .bind(&body[..])
            .execute(&pool)
            .await;
        match inserted {
            Ok(_) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
    Router::new().route("/", post(insert)).with_state(pool)
}
