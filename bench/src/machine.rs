//! A machine: `switchyard up` as a process of its own, with a database of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use model::{Role, TenantId, TriggerId};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::{Connection as _, PgConnection};
use store::{Keyring, people};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::ground::push_trigger;
use crate::load::Client;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Functions that are asked whether they are ready: what takes deliveries, and what people see.
pub const ASKED: [&str; 2] = ["webhook-github", "portal"];

/// Where a machine keeps what it has; removed when it is dropped.
pub struct Data {
    folder: TempDir,
    program: PathBuf,
}

/// What its Postgres keeps beside its data.
#[derive(Deserialize)]
struct Credentials {
    port: u16,
    superuser_password: String,
}

impl Data {
    /// An empty folder under `parent`.
    pub fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("switchyard-bench-up-")
            .tempdir_in(parent)?;
        // The server's account must be able to pass.
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )?;
        Ok(Self {
            program: std::env::current_exe()?.with_file_name("switchyard"),
            folder,
        })
    }

    /// Starts the machine; returns when it is ready.
    pub async fn start(&self) -> anyhow::Result<Machine> {
        Machine::start(&self.program, self.folder.path()).await
    }

    fn database_url(&self) -> anyhow::Result<String> {
        let text = std::fs::read(self.folder.path().join("postgres.json"))
            .context("the machine was not started yet")?;
        let Credentials {
            port,
            superuser_password,
        } = serde_json::from_slice(&text)?;
        Ok(format!(
            "postgres://postgres:{superuser_password}@127.0.0.1:{port}/switchyard?sslmode=disable"
        ))
    }

    /// A connection to the database of the machine that runs on it.
    pub async fn connection(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.database_url()?).await?)
    }

    /// A tenant with a trigger for pushes that starts nothing.
    pub async fn trigger(&self, slug: &str) -> anyhow::Result<(TenantId, TriggerId)> {
        let mut owner = self.connection().await?;
        let (tenant, _) = people::ensure_member(&mut owner, slug, "Ann", Role::Admin).await?;
        let key = SecretString::from(std::fs::read_to_string(
            self.folder.path().join("master-key"),
        )?);
        let keyring = Keyring::from_base64(&key)?;
        let trigger = push_trigger(&self.database_url()?, &keyring, tenant).await?;
        Ok((tenant, trigger))
    }
}

/// A running `switchyard up`.
pub struct Machine {
    child: Child,
    /// Where its gateway listens.
    pub addr: SocketAddr,
}

impl Machine {
    /// Returns when it is ready.
    async fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(["up", "--port", "0", "--data-dir"])
            .arg(data)
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let output = child.stdout.take().context("its output is piped")?;
        let ready = async {
            let mut lines = BufReader::new(output).lines();
            // `Portal     http://localhost:<port>/` is among the first things that it says.
            let port = loop {
                let line = lines
                    .next_line()
                    .await?
                    .context("it ended before it was ready")?;
                if let Some((_, rest)) = line.split_once("http://localhost:") {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    break digits.parse::<u16>()?;
                }
            };
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut client = Client::connect(addr).await?;
            for function in ASKED {
                let request = Request::get(format!("/{function}/readyz"))
                    .header("host", "localhost")
                    .body(Full::new(Bytes::new()))?;
                let status = client.send(request).await?.status();
                anyhow::ensure!(status == 200, "{function} is not ready: {status}");
            }
            // Whoever reads no more would break its output.
            anyhow::Ok((lines, addr))
        };
        let (mut lines, addr) = tokio::time::timeout(START_TIMEOUT, ready)
            .await
            .context("it was not ready in time")??;
        #[expect(clippy::disallowed_methods, reason = "it ends with the program")]
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, addr })
    }

    /// Its resident set, without Postgres, which is not part of it.
    pub fn memory_mib(&self) -> anyhow::Result<f64> {
        self.memory("VmRSS")
    }

    /// The largest that its resident set has been.
    pub fn memory_max_mib(&self) -> anyhow::Result<f64> {
        self.memory("VmHWM")
    }

    fn memory(&self, what: &str) -> anyhow::Result<f64> {
        memory_mib(self.child.id().context("it has ended")?, what)
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("a process has an id")?;
        kill_process(pid, Signal::INT)?;
        let status = tokio::time::timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .context("it did not stop in time")??;
        anyhow::ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

/// A process's memory, as Linux tells it under this name.
pub fn memory_mib(process: u32, what: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib: f64 = line
        .and_then(|line| line.strip_prefix(':')?.split_whitespace().next())
        .with_context(|| format!("there is no {what}"))?
        .parse()?;
    Ok(kib / 1024.0)
}
