//! Bringing a database to this version's schema.

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

/// The migrations of this version.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Why a database could not be brought to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(
        "could not connect to the database to migrate it; check that it runs and that the URL's login exists"
    )]
    Connect(#[source] sqlx::Error),
    /// A migration failed; it was rolled back.
    #[error(
        "a migration failed and was rolled back; the login must be a superuser or have CREATEROLE and own the database"
    )]
    Apply(#[source] sqlx::migrate::MigrateError),
    /// Partitions could not be made.
    #[error("could not make the next days' partitions")]
    Partitions(#[source] sqlx::Error),
}

/// Applies the migrations that are missing and makes the next days' partitions. Safe to run many times at once.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(url: &str) -> Result<(), MigrateError> {
    let mut conn = PgConnection::connect(url)
        .await
        .map_err(MigrateError::Connect)?;
    MIGRATOR.run(&mut conn).await.map_err(MigrateError::Apply)?;
    sqlx::query("select switchyard.make_partitions()")
        .execute(&mut conn)
        .await
        .map_err(MigrateError::Partitions)?;
    // What was asked for is done; how the connection ends does not matter.
    conn.close().await.ok();
    Ok(())
}
