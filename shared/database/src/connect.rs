//! How connections are opened and which failures pass by themselves.

use std::str::FromStr;
use std::time::Duration;

use model::DatabaseRole;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::pool::Pool;

/// How long a statement may take. Every statement of ours is bounded by a limit on rows; longer means trouble.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// A transaction that forgot to end is ended by the server.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10s";

/// The server ends what it hears nothing of, as when the client's machine is gone.
const KEEPALIVE_IDLE_SECS: &str = "15";
const KEEPALIVE_INTERVAL_SECS: &str = "5";
const KEEPALIVE_COUNT: &str = "3";

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Connect {
    /// `postgres://user:password@host:port/database`. May be a login that is the role itself or one that may become it.
    pub url: SecretString,
    /// The role to work under.
    pub role: DatabaseRole,
    /// Connections at most.
    pub connections_max: u32,
    /// How long to wait for one before saying that the database is not available: a third of it for a free one while as
    /// many as there may be are in use, the rest for opening one.
    pub acquire_timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be read. It is not repeated: it may hold a password.
    #[error("DATABASE_URL is not of the form postgres://user:password@host:port/database")]
    Url(#[source] sqlx::Error),
}

impl Connect {
    /// A pool that opens connections when they are needed: a database that is down is no reason not to start.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub(crate) fn pool(&self) -> Result<Pool, ConnectError> {
        let options = PgConnectOptions::from_str(self.url.expose_secret())
            .map_err(ConnectError::Url)?
            .application_name(self.role.postgres())
            .options([
                ("role", self.role.postgres()),
                (
                    "statement_timeout",
                    &format!("{}ms", STATEMENT_TIMEOUT.as_millis()),
                ),
                (
                    "idle_in_transaction_session_timeout",
                    IDLE_IN_TRANSACTION_TIMEOUT,
                ),
                ("tcp_keepalives_idle", KEEPALIVE_IDLE_SECS),
                ("tcp_keepalives_interval", KEEPALIVE_INTERVAL_SECS),
                ("tcp_keepalives_count", KEEPALIVE_COUNT),
                ("search_path", "pg_catalog"),
                ("timezone", "UTC"),
            ]);
        Ok(Pool::new(
            options,
            self.connections_max,
            self.acquire_timeout,
        ))
    }
}

/// Whether a failure is expected to pass by itself: the server restarts, a connection broke, two transactions met.
/// What was asked may or may not have happened; it may be asked again if it is idempotent.
#[must_use]
pub fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || matches!(
                    code.as_ref(),
                    // Shutting down, starting, read-only after a failover, lost a race, too many clients, disk full.
                    "57P01"
                        | "57P02"
                        | "57P03"
                        | "25006"
                        | "40001"
                        | "40P01"
                        | "53300"
                        | "53100"
                        | "57014"
                        | "55P03"
                )
        }),
        _ => false,
    }
}

/// Whether the database says that a value is none that it takes, whoever gave it: a text with a NUL, an instant beyond its
/// calendar, a value that breaks a rule of its column. Asked again it says the same.
#[must_use]
pub fn is_about_a_value(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|told| told.code())
        .is_some_and(|code| matches!(code.as_ref(), "22021" | "22P05" | "22008" | "23514"))
}

/// Whether a failure says that the connection broke under the statement, while the database may well be there: what was
/// asked may or may not have happened, and another connection can say.
#[must_use]
pub fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code == "57P01" || code == "57P02"),
        _ => false,
    }
}
