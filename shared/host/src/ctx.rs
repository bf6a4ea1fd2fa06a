//! What a function may use.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use blobs::Blobs;
use chrono::{DateTime, Utc};
use database::{Connect, ConnectError, SystemDb, TenantDb};
use egress::{ClusterEgress, Documents, Guard, TenantEgress};
use model::DatabaseRole;
use queue::Queue;
use secrecy::SecretString;
use serde::Deserialize;
use store::{Keyring, KeyringError, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::proxies::Proxies;
use crate::{Env, Function, Metrics, SettingsError};

/// Where the present comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The machine.
    #[default]
    Machine,
    /// A test.
    Fixed(DateTime<Utc>),
}

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CtxError {
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database's URL.
    #[error("the setting DATABASE_URL is wrong")]
    Database(#[from] ConnectError),
    /// The master key's file.
    #[error("the file that MASTER_KEY_FILE names cannot be read")]
    KeyFile(#[source] std::io::Error),
    /// The master key.
    #[error("the master key is wrong")]
    Key(#[from] KeyringError),
    /// The blob store's place.
    #[error("the setting BLOBS_URL is wrong")]
    Blobs(#[from] blobs::OpenError),
    /// The HTTP client.
    #[error("the HTTP client cannot be made")]
    Client(#[from] egress::ClientError),
}

type Pools = HashMap<(String, DatabaseRole), (SystemDb, TenantDb)>;

/// What functions of one process share: pools by URL and role, the HTTP client, the clock, what they count.
#[derive(Debug, Clone)]
pub struct Resources {
    pools: Arc<Mutex<Pools>>,
    http: ClusterEgress,
    documents: Documents,
    clock: Clock,
    metrics: Metrics,
}

impl Resources {
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new() -> Result<Self, CtxError> {
        Ok(Self {
            pools: Arc::default(),
            http: ClusterEgress::new()?,
            documents: Documents::new(TenantEgress::new(Guard::default(), Vec::new())?),
            clock: Clock::Machine,
            metrics: Metrics::new(),
        })
    }

    /// The same, with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What others publish for everybody.
    #[must_use]
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// What the functions count, and whatever else runs in the process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn databases(
        &self,
        settings: &HostSettings,
        role: DatabaseRole,
    ) -> Result<(SystemDb, TenantDb), CtxError> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (settings.database_url.clone(), role);
        if let Some(known) = pools.get(&key) {
            return Ok(known.clone());
        }
        let connect = Connect {
            url: SecretString::from(settings.database_url.clone()),
            role,
            connections_max: settings.database_pool_max,
            acquire_timeout: Duration::from_secs(settings.database_acquire_timeout_secs),
        };
        let opened = (SystemDb::new(&connect)?, TenantDb::new(&connect)?);
        pools.insert(key, opened.clone());
        Ok(opened)
    }
}

/// Settings that the host reads for every function.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HostSettings {
    /// `postgres://user:password@host:port/database`.
    database_url: String,
    /// Connections at most, of one process under one role.
    #[serde(default = "database_pool_max")]
    database_pool_max: u32,
    /// How long a request waits for a connection before it is answered 503.
    #[serde(default = "database_acquire_timeout_secs")]
    database_acquire_timeout_secs: u64,
    /// A file with the master key; needed by who opens secrets.
    master_key_file: Option<String>,
    /// A folder or URL for files; needed by who stores or serves them.
    blobs_url: Option<String>,
    /// How long a drain claims before it lets the request go.
    #[serde(default = "slice_secs")]
    slice_secs: u64,
    /// How long a worker may be silent before its jobs are taken from it.
    #[serde(default = "lease_secs")]
    lease_secs: u64,
    /// How often a worker says that it is there.
    #[serde(default = "heartbeat_secs")]
    heartbeat_secs: u64,
    /// The networks of the proxies before us, with commas between them; private ones unless it is said.
    trusted_proxies: Option<String>,
    /// The header in which the one gateway before us says where a request came from. Only where nobody else can know its name.
    peer_header: Option<String>,
}

const fn database_pool_max() -> u32 {
    16
}

const fn database_acquire_timeout_secs() -> u64 {
    3
}

const fn slice_secs() -> u64 {
    25
}

const fn lease_secs() -> u64 {
    30
}

const fn heartbeat_secs() -> u64 {
    10
}

/// What a function may use. Cheap to clone.
#[derive(Clone)]
pub struct Ctx(Arc<Inner>);

struct Inner {
    function: &'static str,
    queue: Queue,
    store: Store,
    system: SystemDb,
    tenants: TenantDb,
    keyring: Option<Keyring>,
    blobs: Option<Blobs>,
    http: ClusterEgress,
    documents: Documents,
    proxies: Proxies,
    peer_header: Option<HeaderName>,
    clock: Clock,
    metrics: Metrics,
    worker: Uuid,
    role: DatabaseRole,
    timing: Timing,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Fires when a handler keeps a thread and cannot be ended.
    stuck: CancellationToken,
}

/// How a worker keeps its jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) slice: Duration,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
}

impl Ctx {
    pub(crate) fn new(
        function: &Function,
        env: &Env,
        resources: &Resources,
    ) -> Result<Self, CtxError> {
        let settings: HostSettings = env.parse()?;
        if settings.heartbeat_secs == 0 || settings.heartbeat_secs * 2 > settings.lease_secs {
            return Err(SettingsError::wrong(
                "HEARTBEAT_SECS",
                "a heartbeat must come at least twice in a lease (LEASE_SECS)",
            )
            .into());
        }
        let keyring = settings
            .master_key_file
            .as_ref()
            .map(|path| -> Result<_, CtxError> {
                let text = std::fs::read_to_string(path).map_err(CtxError::KeyFile)?;
                Ok(Keyring::from_base64(&SecretString::from(text))?)
            })
            .transpose()?;
        let blobs = settings
            .blobs_url
            .as_deref()
            .map(|place| env.open_blobs(place))
            .transpose()?;
        let proxies = Proxies::new(settings.trusted_proxies.as_deref())
            .map_err(|error| SettingsError::wrong("TRUSTED_PROXIES", error))?;
        let peer_header = settings
            .peer_header
            .as_deref()
            .map(str::parse::<HeaderName>)
            .transpose()
            .map_err(|error| SettingsError::wrong("PEER_HEADER", error))?;
        let (system, tenants) = resources.databases(&settings, function.role)?;
        Ok(Self(Arc::new(Inner {
            function: function.name,
            queue: Queue::new(system.clone()),
            store: Store::new(system.clone()),
            system,
            tenants,
            keyring,
            blobs,
            http: resources.http.clone(),
            documents: resources.documents.clone(),
            proxies,
            peer_header,
            clock: resources.clock,
            metrics: resources.metrics.clone(),
            worker: Uuid::new_v4(),
            role: function.role,
            timing: Timing {
                slice: Duration::from_secs(settings.slice_secs),
                lease: Duration::from_secs(settings.lease_secs),
                heartbeat: Duration::from_secs(settings.heartbeat_secs),
            },
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            stuck: CancellationToken::new(),
        })))
    }

    /// The function's name.
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.0.function
    }

    /// The job queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// Everything else in the database, over all tenants.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Connections that listen, for the relay.
    #[must_use]
    pub fn system_db(&self) -> &SystemDb {
        &self.0.system
    }

    /// The database, one tenant at a time.
    #[must_use]
    pub fn tenants(&self) -> &TenantDb {
        &self.0.tenants
    }

    /// Opens and seals secrets.
    ///
    /// # Errors
    /// When the function was started without `MASTER_KEY_FILE`.
    pub fn keyring(&self) -> Result<&Keyring, SettingsError> {
        self.0
            .keyring
            .as_ref()
            .ok_or_else(|| SettingsError::Missing {
                name: "MASTER_KEY_FILE".to_owned(),
            })
    }

    /// Files.
    ///
    /// # Errors
    /// When the function was started without `BLOBS_URL`.
    pub fn blobs(&self) -> Result<&Blobs, SettingsError> {
        self.0.blobs.as_ref().ok_or_else(|| SettingsError::Missing {
            name: "BLOBS_URL".to_owned(),
        })
    }

    /// The HTTP client for addresses that the operator gave.
    #[must_use]
    pub fn http(&self) -> &ClusterEgress {
        &self.0.http
    }

    /// What others publish for everybody, such as the keys of an identity provider.
    #[must_use]
    pub fn documents(&self) -> &Documents {
        &self.0.documents
    }

    /// Where a request with these headers came from; nothing when neither the gateway nor a proxy of ours says it.
    #[must_use]
    pub fn sender_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        match &self.0.peer_header {
            Some(name) => headers.get(name)?.to_str().ok()?.parse().ok(),
            None => self.0.proxies.sender(headers),
        }
    }

    /// Counts what the function does.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match self.0.clock {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place where the machine's clock is read"
            )]
            Clock::Machine => Utc::now(),
            Clock::Fixed(at) => at,
        }
    }

    /// A new id; greater than those made before.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            seconds,
            now.timestamp_subsec_nanos(),
        ))
    }

    /// Whether the function was asked to stop: claim nothing new, end streams, leave soon.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Starts something that outlives a request; the host waits for it when it stops, within its grace.
    pub fn spawn<F>(&self, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.tasks.spawn(work)
    }

    /// Asks the function to stop and waits, at most `grace`, for what it started.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                function = self.0.function,
                "what was started did not end within {} s and is left",
                grace.as_secs()
            );
        }
    }

    /// A handler was dropped and does not end: it computes without a pause or waits without yielding, and keeps a thread.
    pub(crate) fn stuck(&self, job: model::JobId) {
        tracing::error!(
            function = self.0.function,
            job.id = job.0,
            "a handler does not come to an end and keeps a thread; only a new process gets it back"
        );
        self.0.stuck.cancel();
    }

    /// Fires when only a new process can help.
    pub(crate) fn wants_new_process(&self) -> &CancellationToken {
        &self.0.stuck
    }

    /// Who this process is to the queue: random, so that no name ever comes back.
    pub(crate) fn worker(&self) -> Uuid {
        self.0.worker
    }

    pub(crate) fn timing(&self) -> Timing {
        self.0.timing
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), sqlx::Error> {
        match self.0.role {
            DatabaseRole::Tenant => self.0.tenants.ping().await,
            DatabaseRole::System | DatabaseRole::Observer => self.0.system.ping().await,
        }
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("function", &self.0.function)
            .finish_non_exhaustive()
    }
}
