use crate::credentials::{CREDENTIALS, Credentials};
use crate::log::ServerLog;
use crate::postmaster::{PidFile, Postmaster, is_postmaster_of, process_exists};
use crate::superuser::{Answer, SUPERUSER, Superuser};
use crate::{Account, Durability, Installation, Options, StartError, Step, port, settings};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const INITDB_TIMEOUT: Duration = Duration::from_secs(120);
/// Long, because it may have to recover what a crash left; somebody who waits sees [`Step::Starting`].
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const READY_POLL: Duration = Duration::from_millis(20);
/// How long an orphan has to answer before it is stopped.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between our look at a port and the server's, somebody else may take it.
const PORT_TRIES: u32 = 3;
/// What the server says then; its messages are never translated, because it runs in the C locale.
const NO_SOCKET: &str = "could not create any TCP/IP sockets";

/// A data folder and what it takes to run a server on it.
pub(crate) struct Cluster {
    account: Account,
    pub(crate) installation: Installation,
    data_dir: PathBuf,
    pgdata: PathBuf,
    pub(crate) credentials: Credentials,
    durability: Durability,
}

impl Cluster {
    /// Finds the programs and makes data and passwords when there are none.
    pub(crate) async fn open(
        data_dir: &Path,
        account: Account,
        options: &Options<'_>,
    ) -> Result<Self, StartError> {
        let pgdata = data_dir.join("postgres");
        let credentials_path = data_dir.join(CREDENTIALS);
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
    pub(crate) async fn adopt_or_stop_orphan(
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
            match self
                .superuser(port)
                .ask(&self.pgdata, self.durability)
                .await
            {
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
    pub(crate) async fn start(
        &mut self,
        progress: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Postmaster, StartError> {
        progress(Step::Starting);
        self.account
            .own_tree(&self.pgdata)
            .map_err(io_error("take over", &self.pgdata))?;
        let log = self.log();
        log.shorten().map_err(io_error("rename", log.path()))?;
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
            let log_start = log.bytes();
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

    pub(crate) fn spawn(&self) -> Result<Postmaster, StartError> {
        self.remove_stale_pid_file()?;
        let log = self.log();
        let output = log.open().map_err(io_error("open", log.path()))?;
        let program = self.installation.program("postgres");
        let mut command = self.account.command(&program);
        command.arg("-D").arg(&self.pgdata);
        for setting in settings(self.credentials.port, self.durability) {
            command.arg("-c").arg(setting);
        }
        command
            .stdout(Stdio::null())
            .stderr(output)
            .process_group(0);
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
                    log: self.log().path().to_owned(),
                    last_words: self.log().last_words(log_start),
                });
            }
            match self
                .superuser(self.credentials.port)
                .ask(&self.pgdata, self.durability)
                .await
            {
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
            log: self.log().path().to_owned(),
            after_secs: READY_TIMEOUT.as_secs(),
        })
    }

    fn use_port(&mut self, port: u16) -> Result<(), StartError> {
        if self.credentials.port != port {
            self.credentials.port = port;
            self.credentials.save(&self.data_dir.join(CREDENTIALS))?;
        }
        Ok(())
    }

    pub(crate) fn superuser(&self, port: u16) -> Superuser<'_> {
        Superuser {
            port,
            password: &self.credentials.superuser_password,
        }
    }

    pub(crate) fn log(&self) -> ServerLog {
        ServerLog::new(self.data_dir.join("postgres.log"))
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
