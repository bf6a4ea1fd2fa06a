//! `switchyard up` on a database that is there: how long until it is ready, and what it takes while it idles.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::load::Client;
use crate::report::Figure;
use crate::stats::Samples;

/// Starts that are timed.
const STARTS: usize = 7;
/// How long it idles before its memory is read.
const IDLE: Duration = Duration::from_secs(10);
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Functions that are asked whether they are ready: what takes deliveries, and what people see.
const ASKED: [&str; 2] = ["webhook-github", "portal"];

/// Measures it.
pub async fn measure(folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let data = tempfile::Builder::new()
        .prefix("switchyard-bench-up-")
        .tempdir_in(folder)?;
    std::fs::set_permissions(
        data.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o711),
    )?;
    let program = std::env::current_exe()?.with_file_name("switchyard");
    // The first makes the database.
    Up::start(&program, data.path()).await?.stop().await?;
    let mut starts = Vec::with_capacity(STARTS);
    let mut memory = Vec::with_capacity(STARTS);
    for at in 0..STARTS {
        let begun = Instant::now();
        let up = Up::start(&program, data.path()).await?;
        starts.push(begun.elapsed());
        // The first and the last of them idle for a while.
        if at == 0 || at + 1 == STARTS {
            tokio::time::sleep(IDLE).await;
            memory.push(up.memory_mib()?);
        }
        up.stop().await?;
    }
    let starts = Samples::new(starts)?;
    let seconds = starts.p50().as_secs_f64();
    let most = memory.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::at_most("up", "`switchyard up` on an existing database → ready, seconds", seconds, 1.5)
            .showing(format!("{seconds:.2} s"), "-")
            .noting(format!(
                "the median of {STARTS} starts, Postgres stopped before each and started by it; the slowest took {:.2} s; \
                 ready is when it says so and {} answer /readyz, which asks the database",
                starts.percentile(100.0).as_secs_f64(),
                ASKED.join(" and ")
            )),
        Figure::at_most("up", "idle memory without Postgres, MiB", most, 80.0)
            .showing(format!("{most:.1} MiB"), "-")
            .noting(format!(
                "resident set {} s after it was ready; the larger of {}",
                IDLE.as_secs(),
                memory.iter().map(|it| format!("{it:.1}")).collect::<Vec<_>>().join(" and ")
            )),
    ])
}

/// A running `switchyard up`.
struct Up {
    child: Child,
}

impl Up {
    /// Returns when it is ready.
    async fn start(program: &PathBuf, data: &Path) -> anyhow::Result<Self> {
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
            let mut client = Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
            for function in ASKED {
                let request = Request::get(format!("/{function}/readyz"))
                    .header("host", "localhost")
                    .body(Full::new(Bytes::new()))?;
                let status = client.send(request).await?.status();
                anyhow::ensure!(status == 200, "{function} is not ready: {status}");
            }
            // Whoever reads no more would break its output.
            anyhow::Ok(lines)
        };
        let mut lines = tokio::time::timeout(START_TIMEOUT, ready)
            .await
            .context("it was not ready in time")??;
        #[expect(clippy::disallowed_methods, reason = "it ends with the program")]
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child })
    }

    /// Its resident set.
    fn memory_mib(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("there is no VmRSS")?
            .parse()?;
        Ok(kib / 1024.0)
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has.
    async fn stop(mut self) -> anyhow::Result<()> {
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
