//! Transactions of one tenant.

use std::ops::{Deref, DerefMut};

use model::TenantId;
use sqlx::Executor;

use crate::guarded::Guarded;
use crate::pool::Pool;
use crate::{Conn, Connect, ConnectError};

/// The database as the API and the portal see it: one tenant at a time. Row level security is forced for the role, so
/// that a statement which forgets the tenant finds nothing rather than everything.
#[derive(Debug, Clone)]
pub struct TenantDb {
    pool: Pool,
}

impl TenantDb {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(connect: &Connect) -> Result<Self, ConnectError> {
        Ok(Self {
            pool: connect.pool()?,
        })
    }

    /// Begins a transaction in which the tenant is set.
    ///
    /// # Errors
    /// When the database is not available.
    pub async fn begin(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        // The guard exists before BEGIN is sent: when this future is dropped half-way, the connection goes with it and
        // never returns to the pool inside a transaction, as it may with `Pool::begin`.
        let mut tx = TenantTx {
            conn: Some(self.pool.acquire().await?),
        };
        // An id is hexadecimal digits and hyphens, so that it needs no quoting; one round trip instead of two.
        let begin = format!(
            "begin; select set_config('switchyard.tenant', '{}', true)",
            tenant.uuid()
        );
        (*tx)
            .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(begin)))
            .await?;
        Ok(tx)
    }

    /// A connection without a tenant: sees no tenant's rows, reaches sessions through their functions.
    ///
    /// # Errors
    /// When the database is not available.
    pub async fn anonymous(&self) -> Result<Conn, sqlx::Error> {
        self.pool.acquire().await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        sqlx::Connection::ping(&mut **conn).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A tenant's transaction. Dropped without [`TenantTx::commit`] it is rolled back, at the cost of its connection.
#[derive(Debug)]
pub struct TenantTx {
    conn: Option<Conn>,
}

impl TenantTx {
    /// Ends the transaction; the connection goes back to the pool.
    ///
    /// # Errors
    /// When the database does not confirm; then nothing may be assumed.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        (*self).execute(sqlx::raw_sql("commit")).await?;
        drop(self.conn.take());
        Ok(())
    }
}

impl Deref for TenantTx {
    type Target = Guarded;

    fn deref(&self) -> &Guarded {
        self.conn.as_deref().expect("taken only when it ends")
    }
}

impl DerefMut for TenantTx {
    fn deref_mut(&mut self) -> &mut Guarded {
        self.conn.as_deref_mut().expect("taken only when it ends")
    }
}

impl Drop for TenantTx {
    fn drop(&mut self) {
        if let Some(conn) = &mut self.conn {
            conn.close_when_dropped();
        }
    }
}
