//! Single statements over all tenants.

use sqlx::postgres::PgListener;

use crate::pool::Pool;
use crate::{Conn, Connect, ConnectError};

/// The database as webhooks, dispatch, tasks, reconcilers, relay and site see it: functions that are each one statement
/// and one transaction, and the narrow grants of `switchyard_system`. It cannot begin a transaction.
#[derive(Debug, Clone)]
pub struct SystemDb {
    pool: Pool,
}

impl SystemDb {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(connect: &Connect) -> Result<Self, ConnectError> {
        Ok(Self {
            pool: connect.pool()?,
        })
    }

    /// A connection for one statement after another, each its own transaction. For `queue` and `store`, which hold all
    /// SQL.
    ///
    /// # Errors
    /// When the database is not available within the acquire timeout, or too many wait for it.
    pub async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        self.pool.acquire().await
    }

    /// Whether connections broke a moment ago, so that what cannot be had now may soon be.
    pub(crate) fn recovers(&self) -> bool {
        self.pool.recovers()
    }

    /// A connection that listens, apart from the pool's.
    ///
    /// # Errors
    /// When the database is not available.
    pub async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        self.pool.listener().await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        let mut conn = self.acquire().await?;
        sqlx::Connection::ping(&mut **conn).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
