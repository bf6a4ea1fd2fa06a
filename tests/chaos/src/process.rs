//! Processes of the program.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to listen.
const READY_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One function as a process of its own. Killed when it is dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Process {
    /// Starts it, and returns when it listens.
    ///
    /// # Panics
    /// When it does not.
    pub(crate) async fn start(
        program: &std::path::Path,
        function: &str,
        log: PathBuf,
        settings: &[(&str, String)],
    ) -> Self {
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
            free.local_addr().expect("it listens").port()
        };
        let file = File::create(&log).expect("the log can be written");
        let also = file.try_clone().expect("a file can be written twice");
        let child = Command::new(program)
            .arg(function)
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("PORT", port.to_string())
            .env("HOST_LOOPBACK", "1")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(also)
            .spawn()
            .expect("the program starts");
        let mut process = Self {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            log,
        };
        let end = Instant::now() + READY_MAX;
        while !process.said().contains("serving on") {
            let ended = process.ended();
            assert!(
                ended.is_none() && Instant::now() < end,
                "{function} does not start ({ended:?}):\n{}",
                process.said()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        process
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child can be waited for")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        // Both fail only when it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// SIGTERM.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("ids are small"), Signal::TERM).expect("our own process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
