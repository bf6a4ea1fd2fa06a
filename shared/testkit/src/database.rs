use crate::server::TestServer;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use url::Url;

/// Tests run beside each other, on a server that takes 200 connections.
const POOL_CONNECTIONS_MAX: u32 = 16;
const POOL_TIMEOUT: Duration = Duration::from_secs(20);

/// A database with all migrations applied, for one test. Dropped with this; whoever is still connected is thrown out.
#[derive(Debug)]
pub struct TestDb {
    name: String,
    url: Url,
}

/// Makes a database, and starts the process's server if this is the first.
///
/// # Panics
/// When there is no server to be had, or a migration fails; the message says which.
pub async fn database() -> TestDb {
    let (answer, database) = oneshot::channel();
    KEEPER
        .send(Request::Create(answer))
        .expect("the keeper lives as long as the process");
    match database.await.expect("the keeper answers every request") {
        Ok(database) => database,
        Err(error) => panic!("cannot make a test database: {error}"),
    }
}

impl TestDb {
    /// The URL of a superuser, for what is not about privileges.
    pub fn owner_url(&self) -> String {
        self.url.to_string()
    }

    /// A URL whose sessions have the privileges of `role`, and no others. Logs in as the superuser, so that a role
    /// needs no password: `reset role` would undo it.
    pub fn url(&self, role: &str) -> String {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("options[role]", role);
        url.to_string()
    }

    /// How to connect: with the privileges of a role, or as the superuser.
    pub fn connect_options(&self, role: Option<&str>) -> PgConnectOptions {
        let options = PgConnectOptions::from_str(self.url.as_str())
            .expect("the server's own URL with another path is a URL");
        match role {
            Some(role) => options.options([("role", role)]),
            None => options,
        }
    }

    /// A pool of up to 16 connections: with the privileges of a role, or as the superuser.
    ///
    /// # Panics
    /// When no connection can be made, above all because there is no such role.
    pub async fn pool(&self, role: Option<&str>) -> PgPool {
        PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS_MAX)
            .acquire_timeout(POOL_TIMEOUT)
            .connect_with(self.connect_options(role))
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {} as {role:?}: {error}", self.name))
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        // Fails only when the keeper is gone, and the server with it.
        let _gone = KEEPER.send(Request::Drop(self.name.clone()));
    }
}

enum Request {
    Create(oneshot::Sender<Result<TestDb, String>>),
    Drop(String),
}

/// The thread that has the server. A test's own runtime ends with the test; the server and the connection which makes
/// databases must outlive it.
static KEEPER: LazyLock<mpsc::UnboundedSender<Request>> = LazyLock::new(|| {
    let (sender, requests) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("testkit".to_owned())
        .spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a process that runs tests can make a runtime")
                .block_on(keep(requests));
        })
        .expect("a process that runs tests can start a thread");
    sender
});

async fn keep(mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut keeper = Keeper::start().await.map_err(|error| format!("{error:#}"));
    while let Some(request) = requests.recv().await {
        match (&mut keeper, request) {
            (Ok(keeper), Request::Create(answer)) => {
                let database = keeper.create().await.map_err(|error| error.to_string());
                // A test that was cancelled does not wait for its database any more; dropping it drops the database.
                drop(answer.send(database));
            }
            (Ok(keeper), Request::Drop(name)) => keeper.drop(&name).await,
            (Err(error), Request::Create(answer)) => drop(answer.send(Err(error.clone()))),
            (Err(_), Request::Drop(_)) => {}
        }
    }
}

struct Keeper {
    server: TestServer,
    connection: PgConnection,
    created: u32,
}

impl Keeper {
    async fn start() -> anyhow::Result<Self> {
        let server = TestServer::start().await?;
        let connection = PgConnectOptions::from_str(server.url("postgres").as_str())?;
        let connection = connection.connect().await?;
        Ok(Self {
            server,
            connection,
            created: 0,
        })
    }

    async fn create(&mut self) -> Result<TestDb, sqlx::Error> {
        self.created += 1;
        let name = format!("test_{}", self.created);
        let template = self.server.template_database();
        self.execute(format!("create database {name} template {template}"))
            .await?;
        Ok(TestDb {
            url: self.server.url(&name),
            name,
        })
    }

    async fn drop(&mut self, name: &str) {
        // The whole server goes away with the process; until then a database too many does no harm.
        let _left = self
            .execute(format!("drop database if exists {name} with (force)"))
            .await;
    }

    async fn execute(&mut self, statement: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}
