use crate::{Durability, StartError};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// The superuser's name, and that of the database every server has for what is not about our own.
pub(crate) const SUPERUSER: &str = "postgres";
const MAINTENANCE_DATABASE: &str = "postgres";
/// One attempt to connect and ask.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// How to talk to the server of a port as its superuser.
#[derive(Clone, Copy)]
pub(crate) struct Superuser<'a> {
    pub(crate) port: u16,
    pub(crate) password: &'a str,
}

/// What a server said when asked who it is.
pub(crate) enum Answer {
    /// Ours, with our settings.
    Ours,
    /// One that runs on other data or with another durability.
    Other,
    /// It does not take our password.
    PasswordRefused,
    /// It did not answer, or not yet.
    Nothing,
}

impl Superuser<'_> {
    /// Asks whoever listens on the port which data it serves.
    pub(crate) async fn ask(&self, pgdata: &Path, durability: Durability) -> Answer {
        let ask = async {
            let mut connection = self.connect().await?;
            let (data, fsync): (String, String) = sqlx::query_as(
                "select current_setting('data_directory'), current_setting('fsync')",
            )
            .fetch_one(&mut connection)
            .await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>((data, fsync))
        };
        match timeout(ASK_TIMEOUT, ask).await {
            Ok(Ok((data, fsync))) if Path::new(&data) == pgdata && fsync == durability.fsync() => {
                Answer::Ours
            }
            Ok(Ok(_)) => Answer::Other,
            // invalid_password, invalid_authorization_specification
            Ok(Err(sqlx::Error::Database(error)))
                if matches!(error.code().as_deref(), Some("28P01" | "28000")) =>
            {
                Answer::PasswordRefused
            }
            // Refused, or still starting up, or already shutting down: the caller looks at the process.
            Ok(Err(_)) | Err(_) => Answer::Nothing,
        }
    }

    /// Makes the database and the login roles, or only sets the roles' passwords.
    pub(crate) async fn provision(
        &self,
        database: &str,
        roles: &[&str],
        passwords: &BTreeMap<String, String>,
    ) -> Result<(), StartError> {
        let error = |what: &str| {
            let what = what.to_owned();
            |source| StartError::Provision { what, source }
        };
        let mut connection = self.connect().await.map_err(error("a connection"))?;
        let exists: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(database)
                .fetch_one(&mut connection)
                .await
                .map_err(error(database))?;
        if !exists {
            let create = format!("create database {}", quote(database));
            execute(&mut connection, create)
                .await
                .map_err(error(database))?;
        }
        for (role, password) in passwords {
            let exists: bool =
                sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
                    .bind(role)
                    .fetch_one(&mut connection)
                    .await
                    .map_err(error(role))?;
            if !exists && !roles.contains(&role.as_str()) {
                // One that an earlier version asked for, and whose role has been dropped since.
                continue;
            }
            let verb = if exists { "alter" } else { "create" };
            let statement = format!("{verb} role {} login password '{password}'", quote(role));
            execute(&mut connection, statement)
                .await
                .map_err(error(role))?;
        }
        connection.close().await.map_err(error("a connection"))
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(SUPERUSER)
            .password(self.password)
            .database(MAINTENANCE_DATABASE)
            .ssl_mode(PgSslMode::Disable)
            // Some of the statements hold passwords.
            .disable_statement_logging()
            .connect()
            .await
    }
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    // Utility statements take no parameters. Names are quoted, passwords are letters and digits of our own making.
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
