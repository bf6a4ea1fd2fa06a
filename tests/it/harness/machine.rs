//! One machine: `switchyard up` on a data folder and manifests of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::{Database, Process};
use crate::outside;

/// How long a Postgres may take to end that was told to end at once.
const POSTGRES_END_MAX: Duration = Duration::from_secs(10);

/// A machine. When it is dropped its processes are killed and its folder is removed.
pub(crate) struct Machine {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    options: Vec<String>,
}

/// What our Postgres keeps beside its data.
#[derive(Deserialize)]
struct Credentials {
    port: u16,
    superuser_password: String,
}

impl Machine {
    /// A machine with the manifests of the checkout, on a port that stays the same.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("switchyard-it-")
            .tempdir()
            .expect("a folder");
        // Postgres does not run as root, and must be able to pass.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
        for name in ["knative", "triggers"] {
            let to = folder.path().join("manifests").join(name);
            std::fs::create_dir_all(&to).expect("a folder");
            for entry in std::fs::read_dir(outside::root().join(name)).expect("the manifests") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a file has a name");
                std::fs::copy(&path, to.join(name)).expect("a copy");
            }
        }
        let repositories = folder.path().join("repositories");
        std::fs::create_dir(&repositories).expect("a folder");
        let machine = Self {
            port: free_port(),
            folder,
            process: None,
            options: Vec::new(),
        };
        let roots = repositories.display().to_string();
        machine.set("knative/task-static.yaml", "STATIC_LOCAL_ROOTS", &roots);
        machine
    }

    /// Where repositories are that its sites may be made of.
    pub(crate) fn repositories(&self) -> PathBuf {
        self.folder.path().join("repositories")
    }

    /// A path of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more option for `switchyard up`.
    pub(crate) fn option(&mut self, option: &[&str]) {
        self.options
            .extend(option.iter().map(|&part| part.to_owned()));
    }

    /// Gives a function one more setting, as an operator would: in its manifest.
    pub(crate) fn set(&self, manifest: &str, name: &str, value: &str) {
        let env = "          env:\n";
        let with = format!("{env}            - name: {name}\n              value: {value:?}\n");
        self.edit(manifest, env, &with);
    }

    /// Changes a manifest.
    pub(crate) fn edit(&self, manifest: &str, from: &str, to: &str) {
        let path = self.folder.path().join("manifests").join(manifest);
        let text = std::fs::read_to_string(&path).expect("a manifest");
        assert!(text.contains(from), "{manifest} has no {from:?}");
        std::fs::write(&path, text.replacen(from, to, 1)).expect("a manifest");
    }

    /// The manifests' folder.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    /// `switchyard up`; returns when it is ready.
    pub(crate) async fn start(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let (data, manifests) = (self.data(), self.manifests());
        let port = self.port.to_string();
        let mut arguments = vec!["up", "--port", &port];
        for (option, path) in [("--data-dir", &data), ("--manifests", &manifests)] {
            arguments.extend([option, path.to_str().expect("our folders are text")]);
        }
        arguments.extend(self.options.iter().map(String::as_str));
        let log = [("RUST_LOG".to_owned(), "info".to_owned())];
        let mut process = Process::start(&self.log(), &arguments, log);
        process.says("is running").await;
        self.process = Some(process);
    }

    /// One function as a process of its own, on the machine's database. Returns it and its address when it listens.
    pub(crate) async fn function(
        &self,
        name: &str,
        settings: &[(&str, &str)],
    ) -> (Process, String) {
        let port = free_port().to_string();
        let (key, blobs) = (self.master_key(), self.data().join("blobs"));
        let (key, blobs) = (key.display().to_string(), blobs.display().to_string());
        let url = self.database_url();
        let own = [
            ("DATABASE_URL", url.as_str()),
            ("MASTER_KEY_FILE", &key),
            ("BLOBS_URL", &blobs),
            ("PORT", &port),
            ("HOST_LOOPBACK", "1"),
            ("RUST_LOG", "info"),
        ];
        let settings = own.iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let log = self.path(&format!("{name}-{port}.log"));
        let mut process = Process::start(&log, &[name], settings);
        process.says("serving on").await;
        (process, format!("http://127.0.0.1:{port}/"))
    }

    /// Takes a manifest away.
    pub(crate) fn remove(&self, manifest: &str) {
        std::fs::remove_file(self.manifests().join(manifest)).expect("a manifest");
    }

    /// Lets a Trigger deliver to an address instead of to its Service.
    pub(crate) fn subscribe(&self, trigger: &str, url: &str) {
        let service = format!(
            "    ref:\n      apiVersion: serving.knative.dev/v1\n      kind: Service\n      name: {trigger}\n"
        );
        self.edit(
            &format!("triggers/{trigger}.yaml"),
            &service,
            &format!("    uri: {url}\n"),
        );
    }

    /// Lets a relay send to an address instead of to its Broker.
    pub(crate) fn relay_to(&self, broker: &str, url: &str) {
        let sink = format!(
            "    ref:\n      apiVersion: eventing.knative.dev/v1\n      kind: Broker\n      name: {broker}\n"
        );
        self.edit(
            &format!("knative/relay-{broker}.yaml"),
            &sink,
            &format!("    uri: {url}\n"),
        );
    }

    /// `kill -9` of what was started; Postgres stays.
    pub(crate) fn kill(&mut self) {
        drop(self.process.take());
    }

    /// `kill -9` of the postmaster.
    pub(crate) fn kill_postmaster(&self) {
        if let Some(pid) = self.postmaster() {
            kill_process(pid, Signal::KILL).ok();
        }
    }

    fn postmaster(&self) -> Option<Pid> {
        let file = std::fs::read_to_string(self.data().join("postgres/postmaster.pid")).ok()?;
        let pid = Pid::from_raw(file.lines().next()?.parse().ok()?)?;
        // The id may be another process's by now.
        let command =
            std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        let ours = command.contains(self.folder.path().to_str()?);
        ours.then_some(pid)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What everything that ran on it has said.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The gateway's URL, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The most memory that its process has had at a time, in bytes; without Postgres, which is not part of it.
    pub(crate) fn memory_max(&self) -> u64 {
        let process = self.process.as_ref().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("Linux tells it in kB") * 1024
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where Gitea would send the deliveries of a trigger.
    pub(crate) fn webhook(&self, trigger: impl std::fmt::Display) -> String {
        format!("http://127.0.0.1:{}/webhook-gitea/{trigger}", self.port)
    }

    /// The superuser's URL of its database. It must have been started once.
    pub(crate) fn database_url(&self) -> String {
        let text = std::fs::read(self.data().join("postgres.json")).expect("Postgres was started");
        let credentials: Credentials = serde_json::from_slice(&text).expect("it is ours");
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/switchyard?sslmode=disable",
            credentials.superuser_password, credentials.port
        )
    }

    /// Its database, for whom everything is allowed.
    pub(crate) async fn database(&self) -> Database {
        Database::open(&self.database_url(), &self.master_key()).await
    }

    /// The file with the key that secrets are sealed with.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.data().join("master-key")
    }

    /// Where a Broker takes events: another port after each start, so it is read from what the relay to `observed` says.
    pub(crate) async fn ingress(&mut self, broker: &str) -> String {
        let process = self.process.as_mut().expect("it was started");
        let line = process.says("/switchyard/observed").await;
        let url = line
            .split(|c: char| c.is_whitespace() || "=\"".contains(c))
            .find(|word| word.starts_with("http://"))
            .expect("it names its sink");
        url.replace("/observed", &format!("/{broker}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        if let Some(pid) = self.postmaster() {
            // At once, but with its shared memory put away.
            kill_process(pid, Signal::QUIT).ok();
            let end = Instant::now() + POSTGRES_END_MAX;
            while test_kill_process(pid).is_ok() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            #[expect(clippy::print_stderr, reason = "what a failed test needs")]
            {
                eprintln!("the machine's last words:\n{last}");
            }
        }
    }
}

/// A port that nobody has. Kept over restarts, so that senders find the machine again.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it listens").port()
}
