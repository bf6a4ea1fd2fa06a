//! Bringing a database to this version's schema.

use std::collections::HashSet;

use sqlx::migrate::{Migrate as _, Migrator};
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
    /// Its migrations are not those of this version.
    #[error(
        "the database was made by another version of this program: run that one or a newer one, or name another \
         database (DATABASE_URL) or data folder (--data-dir)"
    )]
    OtherVersion(#[source] sqlx::migrate::MigrateError),
    /// Partitions could not be made.
    #[error("could not make the next days' partitions")]
    Partitions(#[source] sqlx::Error),
}

/// Applies the migrations that are missing and makes the next days' partitions. Safe to run many times at once. Returns
/// what was missing when it began, by description.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(url: &str) -> Result<Vec<&'static str>, MigrateError> {
    let mut conn = PgConnection::connect(url)
        .await
        .map_err(MigrateError::Connect)?;
    let missing = missing(&mut conn).await.map_err(MigrateError::Apply)?;
    MIGRATOR.run(&mut conn).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::VersionMismatch(_)
        | sqlx::migrate::MigrateError::VersionMissing(_) => MigrateError::OtherVersion(error),
        error => MigrateError::Apply(error),
    })?;
    sqlx::query("select switchyard.make_partitions()")
        .execute(&mut conn)
        .await
        .map_err(MigrateError::Partitions)?;
    // What was asked for is done; how the connection ends does not matter.
    conn.close().await.ok();
    Ok(missing)
}

async fn missing(
    conn: &mut PgConnection,
) -> Result<Vec<&'static str>, sqlx::migrate::MigrateError> {
    let table = &MIGRATOR.table_name;
    conn.ensure_migrations_table(table).await?;
    let applied = conn.list_applied_migrations(table).await?;
    let applied: HashSet<i64> = applied.into_iter().map(|it| it.version).collect();
    Ok(MIGRATOR
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(|migration| &*migration.description)
        .collect())
}
