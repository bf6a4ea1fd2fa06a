//! The database that everything works on: the one that `DATABASE_URL` names, else a server of our own.

use anyhow::Context as _;
use embedded_postgres::{Durability, Options, Server};
use host::Env;
use model::DatabaseRole;
use secrecy::SecretString;
use url::Url;

use super::data_dir::DataDir;
use super::failure::WrongSetting;
use super::progress::Progress;
use crate::local::Databases;

/// The database's name in our own server.
pub(crate) const NAME: &str = "switchyard";

/// A database that answers.
pub(crate) struct Database {
    server: Option<Server>,
    /// How each role gets in.
    pub(crate) urls: Databases,
    /// What it is, for people; without passwords.
    pub(crate) shown: String,
}

impl Database {
    /// Takes the database of `DATABASE_URL`, or starts our own server in the data folder.
    pub(crate) async fn open(
        data: &DataDir,
        env: &Env,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        match env.get("DATABASE_URL") {
            Some(url) => Self::given(url),
            None => Self::own(data, env, progress).await,
        }
    }

    /// One login for everybody: each connection takes the role that its function has.
    pub(crate) fn given(text: &str) -> anyhow::Result<Self> {
        let form = "postgres://user:password@host:port/database";
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "postgres" | "postgresql"))
            .ok_or_else(|| WrongSetting(format!("DATABASE_URL is not of the form {form}")))?;
        let host = url.host_str().unwrap_or("localhost");
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let secret = || SecretString::from(text);
        Ok(Self {
            server: None,
            shown: format!("{host}{port}{} (DATABASE_URL)", url.path()),
            urls: Databases {
                system_url: secret(),
                tenant_url: secret(),
                observer_url: secret(),
                owner_url: secret(),
            },
        })
    }

    /// A server whose logins are the roles themselves, so that not even a stolen URL of one does what another may.
    async fn own(data: &DataDir, env: &Env, progress: &Progress) -> anyhow::Result<Self> {
        let options = Options {
            data_dir: data.path(),
            path: env.get("PATH").unwrap_or_default(),
            database: NAME,
            // Before the migrations, which make those that are missing, without a login.
            roles: &DatabaseRole::ALL.map(DatabaseRole::postgres),
            durability: Durability::On,
            progress: &|step| progress.now(step.to_string()),
        };
        let server = progress
            .step("starting the database", Server::start(options))
            .await
            .context("the database cannot be started")?;
        let url = |role: DatabaseRole| {
            let url = server.url(role.postgres());
            url.map(SecretString::from)
                .with_context(|| format!("the database server has no login for {role}"))
        };
        let urls = Databases {
            system_url: url(DatabaseRole::System)?,
            tenant_url: url(DatabaseRole::Tenant)?,
            observer_url: url(DatabaseRole::Observer)?,
            owner_url: SecretString::from(server.superuser_url()),
        };
        Ok(Self {
            shown: format!("its own PostgreSQL, on port {}", server.port()),
            urls,
            server: Some(server),
        })
    }

    /// Stops the server if it is ours.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        match self.server {
            Some(server) => server
                .stop()
                .await
                .context("the database could not be stopped"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_database_is_shown_without_its_password() -> anyhow::Result<()> {
        let database =
            Database::given("postgres://ann:hunter2@db.example.test:6432/yard?sslmode=require")?;
        assert_eq!(database.shown, "db.example.test:6432/yard (DATABASE_URL)");
        Ok(())
    }

    #[test]
    fn a_url_of_something_else_is_refused_without_repeating_it() {
        for text in ["mysql://ann:hunter2@db/yard", "hunter2"] {
            let Err(error) = Database::given(text) else {
                panic!("{text} was taken");
            };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
