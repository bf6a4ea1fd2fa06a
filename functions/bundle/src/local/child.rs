//! Functions as child processes, so that a fault hits one of them alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use host::{Env, GRACE};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child as Process, Command};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What of our own environment a child gets beside its settings: where programs, certificates and scratch space are, and
/// what is logged.
const PASSED_ON: [&str; 8] = [
    "HOME",
    "LANG",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
];
/// From its start until it listens, at most.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether it listens.
const LISTENS_INTERVAL: Duration = Duration::from_millis(20);
/// Before a process that died is started again; it doubles with each death …
const RESTART_WAIT_MIN: Duration = Duration::from_millis(250);
/// … up to this, …
const RESTART_WAIT_MAX: Duration = Duration::from_secs(30);
/// … and is as at first for one that lived this long.
const LIVED: Duration = Duration::from_secs(60);

/// A function that runs as a child process.
pub(super) struct Child {
    pub(super) executable: PathBuf,
    /// The argument that says which function.
    pub(super) function: &'static str,
    /// The manifest that declares it.
    pub(super) owner: String,
    pub(super) env: Env,
    /// Where it listens, while it does.
    pub(super) address: watch::Sender<Option<SocketAddr>>,
}

impl Child {
    /// Keeps the process running until asked to stop; then asks it, and kills it after [`GRACE`].
    pub(super) async fn supervise(self, stop: CancellationToken) {
        let mut wait = RESTART_WAIT_MIN;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let ended = self.live(&stop).await;
            self.address.send_replace(None);
            if stop.is_cancelled() {
                return;
            }
            if begun.elapsed() >= LIVED {
                wait = RESTART_WAIT_MIN;
            }
            let again = wait.as_millis();
            match ended {
                Ok(why) => {
                    tracing::warn!(child = self.owner, "{why}; it starts again in {again} ms");
                }
                Err(error) => tracing::error!(
                    child = self.owner,
                    "{error:#}; it starts again in {again} ms"
                ),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(RESTART_WAIT_MAX);
        }
    }

    async fn live(&self, stop: &CancellationToken) -> anyhow::Result<String> {
        let address = free_address().await.context("there is no free port")?;
        let own = Env::of_process();
        let passed_on = PASSED_ON
            .into_iter()
            .filter_map(|name| Some((name, own.get(name)?)));
        let mut process = Command::new(&self.executable)
            .arg(self.function)
            .env_clear()
            .envs(passed_on)
            .envs(self.env.iter())
            .env("PORT", address.port().to_string())
            .env("HOST_LOOPBACK", "1")
            // Its standard input is a pipe that ends when we do, however we do.
            .env("EXIT_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            // A Ctrl-C at the terminal is ours to pass on.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.executable.display()))?;
        // Taken out, because waiting for the process would close it.
        let _pipe = process.stdin.take();
        let listening = tokio::select! {
            ended = process.wait() => return Ok(format!("the process ended before it listened: {}", ended?)),
            () = stop.cancelled() => None,
            listening = tokio::time::timeout(START_MAX, listens(address)) => Some(listening),
        };
        match listening {
            Some(Ok(())) => {
                tracing::info!(
                    child = self.owner,
                    pid = process.id(),
                    "runs as a process of its own"
                );
                self.address.send_replace(Some(address));
            }
            Some(Err(_)) => anyhow::bail!(
                "the process does not listen after {} s",
                START_MAX.as_secs()
            ),
            None => {}
        }
        tokio::select! {
            ended = process.wait() => Ok(format!("the process ended: {}", ended?)),
            () = stop.cancelled() => end(process).await.map(|()| "the process was stopped".to_owned()),
        }
    }
}

async fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await?
        .local_addr()
}

async fn listens(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(LISTENS_INTERVAL).await;
    }
}

async fn end(mut process: Process) -> anyhow::Result<()> {
    let pid = process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may just have ended by itself.
        kill_process(pid, Signal::TERM).ok();
    }
    // The host gives requests its grace and then needs a moment to leave.
    if tokio::time::timeout(GRACE + Duration::from_secs(2), process.wait())
        .await
        .is_err()
    {
        process
            .kill()
            .await
            .context("the process cannot be killed")?;
    }
    Ok(())
}
