use crate::credentials::Credentials;
use crate::lock::FolderLock;
use crate::postmaster::{PidFile, Postmaster, is_postmaster_of, process_exists};
use crate::{Account, Durability, Installation, StartError, StopError, port, settings};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::fmt;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const SUPERUSER: &str = "postgres";
/// The database that every server has, for what is not about our own.
const MAINTENANCE_DATABASE: &str = "postgres";

const INITDB_TIMEOUT: Duration = Duration::from_secs(120);
/// Long, because it may have to recover what a crash left; somebody who waits sees [`Step::Starting`].
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const READY_POLL: Duration = Duration::from_millis(20);
/// One attempt to connect and ask.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an orphan has to answer before it is stopped.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between our look at a port and the server's, somebody else may take it.
const PORT_TRIES: u32 = 3;
/// What the server says then; its messages are never translated, because it runs in the C locale.
const NO_SOCKET: &str = "could not create any TCP/IP sockets";

const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LAST_WORDS_BYTES_MAX: u64 = 2048;

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
#[derive(Debug)]
pub struct Server {
    port: u16,
    pid: Arc<AtomicI32>,
    superuser_url: String,
    role_urls: Vec<(String, String)>,
    stop: oneshot::Sender<()>,
    watch: JoinHandle<Result<(), StopError>>,
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
        if let Err(error) = cluster.provision(options.database, options.roles).await {
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
            let (port, database) = (cluster.credentials.port, options.database);
            // Nothing to encrypt on loopback, and asking costs each connection a round trip.
            format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
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
            watch: tokio::spawn(cluster.watch(postmaster, pid, stopped, lock)),
        })
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

/// A data folder and what it takes to run a server on it.
struct Cluster {
    account: Account,
    installation: Installation,
    data_dir: PathBuf,
    pgdata: PathBuf,
    credentials: Credentials,
    durability: Durability,
}

/// What a server said when asked who it is.
enum Answer {
    /// Ours, with our settings.
    Ours,
    /// One that runs on other data or with another durability.
    Other,
    /// It does not take our password.
    PasswordRefused,
    /// It did not answer, or not yet.
    Nothing,
}

impl Cluster {
    /// Finds the programs and makes data and passwords when there are none.
    async fn open(
        data_dir: &Path,
        account: Account,
        options: &Options<'_>,
    ) -> Result<Self, StartError> {
        let pgdata = data_dir.join("postgres");
        let credentials_path = data_dir.join("postgres.json");
        let major = data_major(&pgdata)?;
        let mut credentials = match (Credentials::load(&credentials_path)?, major) {
            (Some(credentials), _) => credentials,
            (None, None) => {
                Credentials::generate().map_err(io_error("find a port for", data_dir))?
            }
            (None, Some(_)) => {
                return Err(StartError::CredentialsMissing {
                    credentials: credentials_path,
                    pgdata,
                });
            }
        };
        credentials.add_roles(options.roles);
        // Before the data: data without passwords could never be opened.
        credentials.save(&credentials_path)?;

        let installation = match Installation::find(options.path, &account, major) {
            Some(installation) => installation,
            None => {
                (options.progress)(Step::Downloading);
                let folder = data_dir.join("postgresql");
                let download = Installation::download(&folder, &account, major).await;
                download.map_err(|source| match major {
                    Some(major) => StartError::VersionNotInstalled {
                        pgdata: pgdata.clone(),
                        major,
                        source,
                    },
                    None => StartError::NotInstalled { source },
                })?
            }
        };
        let cluster = Self {
            account,
            installation,
            data_dir: data_dir.to_owned(),
            pgdata,
            credentials,
            durability: options.durability,
        };
        if major.is_none() {
            (options.progress)(Step::Initialising);
            cluster.initialise().await?;
        }
        Ok(cluster)
    }

    /// Makes the data beside its place and moves it there when it is whole, so that a half-made one is never started.
    async fn initialise(&self) -> Result<(), StartError> {
        let draft = self.data_dir.join("postgres.new");
        let password_file = self.data_dir.join("postgres.password");
        let prepare = || -> io::Result<()> {
            if draft.exists() {
                std::fs::remove_dir_all(&draft)?;
            }
            DirBuilder::new().mode(0o700).create(&draft)?;
            self.account.own(&draft)?;
            let mut options = File::options();
            options
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&password_file)?;
            std::fs::write(&password_file, &self.credentials.superuser_password)?;
            self.account.own(&password_file)
        };
        prepare().map_err(io_error("prepare", &draft))?;

        let program = self.installation.program("initdb");
        let mut command = Command::from(self.account.command(&program));
        command
            .arg("--pgdata")
            .arg(&draft)
            .arg("--pwfile")
            .arg(&password_file)
            .args([
                "--username",
                SUPERUSER,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
            ])
            // Sorted by code point, which no update of the system's tables can change under an index; upper and lower
            // case of every alphabet.
            .args(["--locale", "C", "--lc-ctype"])
            .arg(if cfg!(target_os = "macos") {
                "UTF-8"
            } else {
                "C.UTF-8"
            })
            .args(self.durability.initdb())
            .kill_on_drop(true);
        let output = match timeout(INITDB_TIMEOUT, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) => return Err(StartError::Program { program, source }),
            Err(_elapsed) => {
                let output = format!("nothing for {} s", INITDB_TIMEOUT.as_secs());
                return Err(StartError::Initialise {
                    pgdata: self.pgdata.clone(),
                    output,
                });
            }
        };
        std::fs::remove_file(&password_file).map_err(io_error("remove", &password_file))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(StartError::Initialise {
                pgdata: self.pgdata.clone(),
                output,
            });
        }
        let finish = || -> io::Result<()> {
            if self.pgdata.exists() {
                // Only an empty one is there without a version file; anything else stays and is an error.
                std::fs::remove_dir(&self.pgdata)?;
            }
            std::fs::rename(&draft, &self.pgdata)?;
            File::open(&self.data_dir)?.sync_all()
        };
        finish().map_err(io_error("move the new database to", &self.pgdata))
    }

    /// The server that an earlier run left behind, when it answers; otherwise there is none any more afterwards.
    async fn adopt_or_stop_orphan(
        &mut self,
        progress: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Option<Postmaster>, StartError> {
        let pid_path = PidFile::path(&self.pgdata);
        let Some(PidFile { pid, .. }) =
            PidFile::read(&self.pgdata).map_err(io_error("read", &pid_path))?
        else {
            return Ok(None);
        };
        if !is_postmaster_of(pid, &self.pgdata) {
            return Ok(None);
        }

        progress(Step::Adopting);
        let mut postmaster = Postmaster::adopted(pid, &self.pgdata);
        let deadline = Instant::now() + ADOPT_TIMEOUT;
        while postmaster.is_running() && Instant::now() < deadline {
            // Read anew each time: one that was just starting had not written its port.
            let pid_file = PidFile::read(&self.pgdata).map_err(io_error("read", &pid_path))?;
            let Some(port) = pid_file.and_then(|file| file.port) else {
                sleep(READY_POLL).await;
                continue;
            };
            match self.ask(port).await {
                Answer::Ours => {
                    self.use_port(port)?;
                    return Ok(Some(postmaster));
                }
                Answer::Other | Answer::PasswordRefused => break,
                Answer::Nothing => sleep(READY_POLL).await,
            }
        }
        if postmaster.is_running() {
            progress(Step::StoppingOrphan);
            tracing::warn!(pid, "stopping a database server of an earlier run");
            postmaster
                .stop()
                .await
                .map_err(|source| StartError::Orphan { pid, source })?;
        }
        Ok(None)
    }

    /// Starts a server and waits until it answers.
    async fn start(
        &mut self,
        progress: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Postmaster, StartError> {
        progress(Step::Starting);
        self.account
            .own_tree(&self.pgdata)
            .map_err(io_error("take over", &self.pgdata))?;
        self.shorten_log()?;
        let mut tries = 0;
        loop {
            if !port::is_free(self.credentials.port) {
                let port =
                    port::free_port().map_err(io_error("find a port for", &self.data_dir))?;
                tracing::warn!(
                    old_port = self.credentials.port,
                    port,
                    "another program has taken the database's port"
                );
                self.use_port(port)?;
            }
            let log_start = log_bytes(&self.log());
            let mut postmaster = self.spawn()?;
            let result = self.wait_until_ready(&mut postmaster, log_start).await;
            let Err(error) = result else {
                return Ok(postmaster);
            };
            if let Err(stop_error) = postmaster.stop().await {
                tracing::warn!(error = %stop_error, "a database server that was not ready stays");
            }
            tries += 1;
            let lost_its_port = matches!(
                &error,
                StartError::Exited { last_words, .. } if last_words.contains(NO_SOCKET)
            );
            if !lost_its_port || tries == PORT_TRIES {
                return Err(error);
            }
        }
    }

    /// Removes a `postmaster.pid` whose process exists and yet is no server on this data: a stranger who got the id, or
    /// a killed server that nobody has reaped, as in a container without an init. The server would take either for
    /// itself and refuse. When there is no such process, the server sees to the file itself; and whatever the file
    /// says, it refuses while processes of the server before it still use the shared memory.
    fn remove_stale_pid_file(&self) -> Result<(), StartError> {
        let path = PidFile::path(&self.pgdata);
        let stale = PidFile::read(&self.pgdata)
            .map_err(io_error("read", &path))?
            .filter(|file| process_exists(file.pid) && !is_postmaster_of(file.pid, &self.pgdata));
        if let Some(PidFile { pid, .. }) = stale {
            tracing::warn!(pid, "removing the postmaster.pid of a server that is gone");
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Postmaster, StartError> {
        self.remove_stale_pid_file()?;
        let log_path = self.log();
        let mut options = File::options();
        options.create(true).append(true).mode(0o600);
        let log = options
            .open(&log_path)
            .map_err(io_error("open", &log_path))?;
        let program = self.installation.program("postgres");
        let mut command = self.account.command(&program);
        command.arg("-D").arg(&self.pgdata);
        for setting in settings(self.credentials.port, self.durability) {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::null()).stderr(log).process_group(0);
        Command::from(command)
            .spawn()
            .and_then(|child| Postmaster::spawned(child, &self.pgdata))
            .map_err(|source| StartError::Program { program, source })
    }

    async fn wait_until_ready(
        &self,
        postmaster: &mut Postmaster,
        log_start: u64,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            if !postmaster.is_running() {
                return Err(StartError::Exited {
                    log: self.log(),
                    last_words: last_words(&self.log(), log_start),
                });
            }
            match self.ask(self.credentials.port).await {
                Answer::Ours => return Ok(()),
                Answer::PasswordRefused => {
                    return Err(StartError::PasswordRefused {
                        pgdata: self.pgdata.clone(),
                    });
                }
                // A stranger on our port: ours ends in a moment, because it cannot listen.
                Answer::Other | Answer::Nothing => sleep(READY_POLL).await,
            }
        }
        Err(StartError::NotReady {
            log: self.log(),
            after_secs: READY_TIMEOUT.as_secs(),
        })
    }

    /// Asks whoever listens on the port which data it serves.
    async fn ask(&self, port: u16) -> Answer {
        let ask = async {
            let mut connection = self.superuser(port, MAINTENANCE_DATABASE).connect().await?;
            let (data, fsync): (String, String) = sqlx::query_as(
                "select current_setting('data_directory'), current_setting('fsync')",
            )
            .fetch_one(&mut connection)
            .await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>((data, fsync))
        };
        match timeout(PROBE_TIMEOUT, ask).await {
            Ok(Ok((data, fsync)))
                if Path::new(&data) == self.pgdata && fsync == self.durability.fsync() =>
            {
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
    async fn provision(&self, database: &str, roles: &[&str]) -> Result<(), StartError> {
        let error = |what: &str| {
            let what = what.to_owned();
            |source| StartError::Provision { what, source }
        };
        let options = self.superuser(self.credentials.port, MAINTENANCE_DATABASE);
        let mut connection = options.connect().await.map_err(error("a connection"))?;
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
        for (role, password) in &self.credentials.role_passwords {
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

    /// Restarts the server whenever it dies, until told to stop it, or until whoever could tell is gone.
    async fn watch(
        self,
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
                log = %self.log().display(),
                "the database server died and is started again"
            );
            tokio::select! {
                _ = &mut stop => return Ok(()),
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
            match self.spawn() {
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

    fn use_port(&mut self, port: u16) -> Result<(), StartError> {
        if self.credentials.port != port {
            self.credentials.port = port;
            self.credentials
                .save(&self.data_dir.join("postgres.json"))?;
        }
        Ok(())
    }

    fn superuser(&self, port: u16, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username(SUPERUSER)
            .password(&self.credentials.superuser_password)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            // Some of the statements hold passwords.
            .disable_statement_logging()
    }

    fn log(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// Puts a log that has grown too long aside, in place of the one before.
    fn shorten_log(&self) -> Result<(), StartError> {
        let log = self.log();
        if log_bytes(&log) > LOG_BYTES_MAX {
            let old = log.with_extension("log.old");
            std::fs::rename(&log, old).map_err(io_error("rename", &log))?;
        }
        Ok(())
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Io {
        action,
        path,
        source,
    }
}

/// The major version that made the data; `None` when there is none yet.
fn data_major(pgdata: &Path) -> Result<Option<u32>, StartError> {
    let path = pgdata.join("PG_VERSION");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", &path)(source)),
    };
    let major = text.trim().parse().map_err(|error| {
        io_error("understand", &path)(io::Error::new(io::ErrorKind::InvalidData, error))
    })?;
    Ok(Some(major))
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

/// 0 when there is no log, which is all that the callers need to know.
fn log_bytes(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// The end of what was logged since `start`, on one line.
fn last_words(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            start.max(end.saturating_sub(LAST_WORDS_BYTES_MAX)),
        ))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().replace('\n', " | "))
    };
    match read() {
        Ok(words) if words.is_empty() => "none".to_owned(),
        Ok(words) => words,
        Err(error) => format!("cannot be read ({error})"),
    }
}
