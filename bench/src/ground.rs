//! What everything is measured on: a Postgres server of its own in a fresh folder, durable, with one tenant, one trigger,
//! one workload and one binding.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use database::{Connect, SystemDb, TenantDb};
use embedded_postgres::{Durability, Options, Server};
use host::Env;
use model::{DatabaseRole, GitTrigger, Host, Role, SourceKind, TenantId, TriggerId};
use queue::Queue;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Map;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection};
use store::{Keyring, people, setup};
use tempfile::TempDir;

use crate::push::SECRET;

/// The connections of every pool that is measured: what a function has by default.
pub const POOL: u32 = 16;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the disk's flushes are counted.
const FSYNC_TIME: Duration = Duration::from_secs(2);
/// What a page of Postgres has.
const PAGE_BYTES: usize = 8 * 1024;

/// Where grounds are made.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// In which folder, and so on which disk.
    pub folder: &'a Path,
    /// Where the database's programs are looked for.
    pub path: &'a str,
}

impl Place<'_> {
    /// A fresh server.
    pub async fn ground(&self) -> anyhow::Result<Ground> {
        Ground::make(self.folder, self.path).await
    }

    /// The same, with a server that counts what each statement reads.
    pub async fn ground_that_counts(&self) -> anyhow::Result<Ground> {
        let mut ground = self.ground().await?;
        sqlx::raw_sql("alter system set shared_preload_libraries = 'pg_stat_statements'")
            .execute(&mut ground.connection().await?)
            .await?;
        ground.server.stop().await?;
        ground.server = start(ground.folder.path(), self.path).await?;
        sqlx::raw_sql("create extension pg_stat_statements")
            .execute(&mut ground.connection().await?)
            .await?;
        Ok(ground)
    }
}

/// The ground.
pub struct Ground {
    server: Server,
    folder: TempDir,
    /// Whose everything is.
    pub tenant: TenantId,
    /// What pushes are sent to.
    pub trigger: TriggerId,
}

impl Ground {
    /// Makes it, in a new folder under `parent`, which decides on which disk it is.
    async fn make(parent: &Path, path: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("switchyard-bench-")
            .tempdir_in(parent)?;
        // The server's account must be able to pass.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711))?;
        let server = start(folder.path(), path).await?;
        database::migrate(server.superuser_url())
            .await
            .context("could not migrate")?;
        let key = Keyring::generate();
        std::fs::write(folder.path().join("master-key"), key.expose_secret())?;
        let blobs = folder.path().join("blobs");
        std::fs::create_dir(&blobs)?;

        let mut owner = PgConnectOptions::from_str(server.superuser_url())?
            .connect()
            .await?;
        let (tenant, _) = people::ensure_member(&mut owner, "bench", "Ann", Role::Admin).await?;
        sqlx::raw_sql(
            "create schema bench; create table bench.plain (
            id bigint generated always as identity primary key,
            body bytea not null,
            received_at timestamptz not null default now()
        )",
        )
        .execute(&mut owner)
        .await?;
        let trigger = rules(server.superuser_url(), &Keyring::from_base64(&key)?, tenant).await?;
        Ok(Self {
            server,
            folder,
            tenant,
            trigger,
        })
    }

    /// The superuser's URL; functions put their role on top of it.
    pub fn url(&self) -> &str {
        self.server.superuser_url()
    }

    /// The file with the master key.
    pub fn master_key_file(&self) -> PathBuf {
        self.folder.path().join("master-key")
    }

    /// The folder for blobs, as a URL.
    pub fn blobs_url(&self) -> String {
        format!("file://{}", self.folder.path().join("blobs").display())
    }

    /// The folder below which runs have theirs.
    pub fn run_data(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// What a function's manifest would give it.
    pub fn env(&self) -> Env {
        Env::default()
            .with("DATABASE_URL", self.url())
            .with("DATABASE_POOL_MAX", POOL.to_string())
            .with(
                "MASTER_KEY_FILE",
                self.master_key_file().display().to_string(),
            )
    }

    /// A connection of its own.
    pub async fn connection(&self) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(self.url())?;
        Ok(options.connect().await?)
    }

    /// A connection under the role that functions have.
    pub async fn system_connection(&self) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(self.url())?
            .options([("role", DatabaseRole::System.postgres())]);
        Ok(options.connect().await?)
    }

    /// The queue, with a pool as every function has it.
    pub fn queue(&self) -> anyhow::Result<Queue> {
        Ok(Queue::new(SystemDb::new(&Connect {
            url: self.url().into(),
            role: DatabaseRole::System,
            connections_max: POOL,
            acquire_timeout: ACQUIRE_TIMEOUT,
        })?))
    }

    /// More tenants, beside the one that everything else belongs to.
    pub async fn tenants(&self, count: usize) -> anyhow::Result<Vec<TenantId>> {
        let mut owner = self.connection().await?;
        let mut tenants = Vec::with_capacity(count);
        for number in 0..count {
            let slug = format!("tenant-{number}");
            let (tenant, _) = people::ensure_member(&mut owner, &slug, "Ann", Role::Admin).await?;
            tenants.push(tenant);
        }
        Ok(tenants)
    }

    /// Leaves nothing to do that was put off, so that it is not done while something is measured.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let mut owner = self.connection().await?;
        sqlx::raw_sql("vacuum (analyze)")
            .execute(&mut owner)
            .await?;
        sqlx::raw_sql("checkpoint").execute(&mut owner).await?;
        Ok(())
    }

    /// A pool for a baseline, as large and as trusting as those of functions.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        let options = PgPoolOptions::new()
            .max_connections(POOL)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false);
        Ok(options.connect(self.url()).await?)
    }

    /// One number that a statement yields.
    pub async fn count(&self, statement: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(statement)
            .fetch_one(&mut self.connection().await?)
            .await?)
    }

    /// Stops the server and removes the folder.
    pub async fn leave(self) -> anyhow::Result<()> {
        self.server.stop().await?;
        self.folder.close().context("could not remove the folder")
    }

    /// Flushes of one page a second that the disk of the folder takes, one after the other.
    pub fn fsync_rate(&self) -> anyhow::Result<f64> {
        let mut file = tempfile::tempfile_in(self.folder.path())?;
        let page = [0x5a; PAGE_BYTES];
        file.write_all(&page)?;
        file.sync_all()?;
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < FSYNC_TIME {
            std::io::Seek::rewind(&mut file)?;
            file.write_all(&page)?;
            file.sync_data()?;
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    }
}

async fn start(data_dir: &Path, path: &str) -> anyhow::Result<Server> {
    Server::start(Options {
        data_dir,
        path,
        database: "switchyard",
        roles: &[],
        durability: Durability::On,
        progress: &|_| {},
    })
    .await
    .context("could not start the database")
}

/// The time of an insert of one row and its commit, in one statement, as every baseline commits.
pub async fn commit(connection: &mut PgConnection) -> anyhow::Result<Duration> {
    let start = Instant::now();
    sqlx::query("insert into bench.plain (body) values ('\\x00')")
        .execute(connection)
        .await?;
    Ok(start.elapsed())
}

/// A trigger for pushes, a workload and what joins them.
async fn rules(url: &str, keyring: &Keyring, tenant: TenantId) -> anyhow::Result<TriggerId> {
    let trigger = push_trigger(url, keyring, tenant).await?;
    let tenants = tenants(url)?;
    let mut tx = tenants.begin(tenant).await?;
    let host: Host = "bench".parse()?;
    let source = SourceKind::Static;
    let workload =
        setup::create_workload(&mut tx, tenant, "bench", source, &Map::new(), &host).await?;
    setup::create_binding(&mut tx, tenant, trigger, workload, &Map::new(), 0).await?;
    tx.commit().await?;
    tenants.close().await;
    Ok(trigger)
}

/// A trigger for pushes alone.
pub async fn push_trigger(
    url: &str,
    keyring: &Keyring,
    tenant: TenantId,
) -> anyhow::Result<TriggerId> {
    let tenants = tenants(url)?;
    let mut tx = tenants.begin(tenant).await?;
    let filter = GitTrigger {
        branches: vec!["main".to_owned().try_into()?],
        ..GitTrigger::default()
    };
    let trigger =
        setup::create_git_trigger(&mut tx, tenant, keyring, "push", &filter, &SECRET.into())
            .await?;
    tx.commit().await?;
    tenants.close().await;
    Ok(trigger)
}

fn tenants(url: &str) -> anyhow::Result<TenantDb> {
    Ok(TenantDb::new(&Connect {
        url: SecretString::from(url),
        role: DatabaseRole::Tenant,
        connections_max: 1,
        acquire_timeout: ACQUIRE_TIMEOUT,
    })?)
}
