use crate::cluster::Cluster;
use crate::credentials::{CREDENTIALS, Credentials};
use crate::lock::FolderLock;
use crate::postmaster::Postmaster;
use crate::superuser::SUPERUSER;
use crate::{Account, Durability, StartError, StopError};
use std::fmt;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The pause before a restart doubles from the first to the last of these while the server keeps dying.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A server that lived this long is worth the shortest pause again.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The folder that holds everything; made when it is not there.
    pub data_dir: &'a Path,
    /// The value of `PATH`, where the programs are looked for first.
    pub path: &'a str,
    /// The database to make when it is not there.
    pub database: &'a str,
    /// Login roles to make when they are not there. Each gets a password of its own.
    pub roles: &'a [&'a str],
    /// Whether commits survive a crash of the machine.
    pub durability: Durability,
    /// Told before each step that can take over a second.
    pub progress: &'a (dyn Fn(Step) + Send + Sync),
}

/// A step of the start that can take over a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetching PostgreSQL, some 15 MB.
    Downloading,
    /// Making the data folder.
    Initialising,
    /// Looking whether the server of an earlier run still answers.
    Adopting,
    /// Stopping the server of an earlier run, which does not answer.
    StoppingOrphan,
    /// Starting the server, which recovers first when it was not stopped properly.
    Starting,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Downloading => "downloading PostgreSQL",
            Self::Initialising => "initialising the database",
            Self::Adopting => "looking for the database server of an earlier run",
            Self::StoppingOrphan => "stopping the database server of an earlier run",
            Self::Starting => "starting the database",
        })
    }
}

/// A running server, watched: when it dies while this lives, it is started again with the same port and passwords.
///
/// Dropping this asks the server to stop and does not wait; when the runtime ends first, the server stays, and the next
/// start adopts it. [`Server::stop`] is the proper end.
pub struct Server {
    port: u16,
    pid: Arc<AtomicI32>,
    superuser_url: String,
    role_urls: Vec<(String, String)>,
    stop: oneshot::Sender<()>,
    watch: JoinHandle<Result<(), StopError>>,
}

/// Without the URLs, which hold passwords.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server
            .field("port", &self.port)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// Nothing to encrypt on loopback, and asking costs each connection a round trip.
fn role_url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

impl Server {
    /// Starts the server of a data folder, or adopts the one that an earlier run of ours left behind, and makes sure
    /// that database and roles are there. Refused while another process uses the folder.
    pub async fn start(options: Options<'_>) -> Result<Self, StartError> {
        let account = Account::for_server()?;
        let data_dir = make_data_dir(options.data_dir)?;
        let lock = FolderLock::take(&data_dir)?;
        check_reachable(&account, &data_dir)?;

        let mut cluster = Cluster::open(&data_dir, account, &options).await?;
        let (postmaster, adopted) = match cluster.adopt_or_stop_orphan(options.progress).await? {
            Some(postmaster) => (postmaster, true),
            None => (cluster.start(options.progress).await?, false),
        };
        if let Err(error) = cluster
            .superuser(cluster.credentials.port)
            .provision(
                options.database,
                options.roles,
                &cluster.credentials.role_passwords,
            )
            .await
        {
            let mut postmaster = postmaster;
            if let Err(stop_error) = postmaster.stop().await {
                tracing::warn!(error = %stop_error, "the database server stays: the next start adopts it");
            }
            return Err(error);
        }
        tracing::info!(
            pid = postmaster.pid(),
            port = cluster.credentials.port,
            version = cluster.installation.version(),
            adopted,
            "the database server is ready"
        );

        let url = |role: &str, password: &str| {
            role_url(role, password, cluster.credentials.port, options.database)
        };
        let superuser_url = url(SUPERUSER, &cluster.credentials.superuser_password);
        let passwords = cluster.credentials.role_passwords.iter();
        let role_urls = passwords
            .map(|(role, password)| (role.clone(), url(role, password)))
            .collect();
        let pid = Arc::new(AtomicI32::new(postmaster.pid()));
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            port: cluster.credentials.port,
            pid: Arc::clone(&pid),
            superuser_url,
            role_urls,
            stop,
            watch: spawn(watch(cluster, postmaster, pid, stopped, lock)),
        })
    }

    /// How to get into the server that another process runs on a data folder, as a login role; `None` for one that was never
    /// asked for there, and where there is no such folder. Whether the server runs is not looked at.
    pub fn url_of(
        data_dir: &Path,
        role: &str,
        database: &str,
    ) -> Result<Option<String>, StartError> {
        let known = Credentials::load(&data_dir.join(CREDENTIALS))?;
        Ok(known.and_then(|known| {
            let password = known.role_passwords.get(role)?;
            Some(role_url(role, password, known.port, database))
        }))
    }

    /// The same for the superuser, who may do everything; `None` where there is no such folder.
    pub fn superuser_url_of(data_dir: &Path, database: &str) -> Result<Option<String>, StartError> {
        let known = Credentials::load(&data_dir.join(CREDENTIALS))?;
        Ok(known.map(|known| role_url(SUPERUSER, &known.superuser_password, known.port, database)))
    }

    /// `postgres://role:password@127.0.0.1:port/database` of a login role; `None` for one that was never asked for.
    pub fn url(&self, role: &str) -> Option<&str> {
        self.role_urls
            .iter()
            .find(|(name, _)| name == role)
            .map(|(_, url)| url.as_str())
    }

    /// The same for the superuser, who runs migrations.
    pub fn superuser_url(&self) -> &str {
        &self.superuser_url
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of its postmaster; another one after a restart.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Stops the server: clients are disconnected, and it writes out what it has. Takes at most half a minute.
    pub async fn stop(self) -> Result<(), StopError> {
        // An error means that the watcher is gone, which awaiting it tells better.
        let _gone = self.stop.send(());
        self.watch
            .await
            .map_err(|source| StopError::Unwatched { source })?
    }
}

fn make_data_dir(path: &Path) -> Result<PathBuf, StartError> {
    let io = |action| {
        move |source| StartError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    if !path.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(io("create"))?;
        // Whatever the umask: the server's account must be able to pass, nobody needs to read.
        std::fs::set_permissions(path, Permissions::from_mode(0o711)).map_err(io("open"))?;
    }
    path.canonicalize().map_err(io("open"))
}

fn check_reachable(account: &Account, data_dir: &Path) -> Result<(), StartError> {
    let blocked = account
        .blocked_by(data_dir)
        .map_err(|source| StartError::Io {
            action: "look at",
            path: data_dir.to_owned(),
            source,
        })?;
    match blocked {
        None => Ok(()),
        Some(folder) => Err(StartError::Blocked {
            folder,
            data_dir: data_dir.to_owned(),
            user: account.name().to_owned(),
        }),
    }
}

/// Restarts the server whenever it dies, until told to stop it, or until whoever could tell is gone.
async fn watch(
    cluster: Cluster,
    mut postmaster: Postmaster,
    pid: Arc<AtomicI32>,
    mut stop: oneshot::Receiver<()>,
    lock: FolderLock,
) -> Result<(), StopError> {
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let since = Instant::now();
        tokio::select! {
            _ = &mut stop => {
                let result = postmaster.stop().await;
                // Only now: whoever starts next must not find a server that is about to end.
                drop(lock);
                return result;
            }
            () = postmaster.exited() => {}
        }
        if since.elapsed() >= STEADY_AFTER {
            pause = RESTART_PAUSE_MIN;
        }
        tracing::warn!(
            pid = postmaster.pid(),
            pause_ms = pause.as_millis(),
            log = %cluster.log().path().display(),
            "the database server died and is started again"
        );
        tokio::select! {
            _ = &mut stop => return Ok(()),
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
        match cluster.spawn() {
            Ok(restarted) => {
                postmaster = restarted;
                pid.store(postmaster.pid(), Ordering::Relaxed);
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the database server cannot be started again"
            ),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the watcher is waited for by Server::stop, and outlives any request"
)]
fn spawn(
    watch: impl Future<Output = Result<(), StopError>> + Send + 'static,
) -> JoinHandle<Result<(), StopError>> {
    tokio::spawn(watch)
}
