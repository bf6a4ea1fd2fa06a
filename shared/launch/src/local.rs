//! Runners as processes of this machine.
//!
//! A runner is a session of its own and survives whoever started it. It is found by its mark, which stands among its arguments
//! and in the environment of everything that it starts; its id alone would be another's some day.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use exec::{Found, MARK_ARGUMENT, MARK_VARIABLE, Processes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use host::{Env, SettingsError};
use rustix::process::Signal;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Launch, Launcher, Look, RunId, Settings, Stopped};

/// The command of our program that is a runner.
const RUNNER_COMMAND: &str = "runner";
/// How long is waited for a runner that was asked to stop; what takes longer is looked at again.
const STOP_WAIT: Duration = Duration::from_secs(12);
/// How long a runner of an earlier claim has before it is killed with all that it started: the job is somebody else's by now.
const CLEAR_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at a runner that is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between SIGTERM and SIGKILL to what a runner left behind.
const LEFT_TERM: Duration = Duration::from_secs(1);
/// How long what was killed may take to end.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// How long the folder of a run stays whose runner did not remove it: its log says why.
const FOLDER_KEPT: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// How many of the last lines of a runner that died are told, and from how many bytes.
const LAST_LINES: usize = 3;
const LAST_BYTES: u64 = 2 * 1024;
/// Of the environment this is passed on to runners.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "RUST_LOG", "SSL_CERT_FILE"];

/// Starts runners on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    program: PathBuf,
    /// The folder of runs.
    runs: PathBuf,
    data: PathBuf,
    run_as: Option<String>,
    here: Here,
    /// The runners that this process started and nobody waits for yet, by their marks.
    started: Arc<Mutex<HashMap<String, Started>>>,
}

/// A runner that this process started.
#[derive(Debug)]
struct Started {
    child: Child,
    log: PathBuf,
}

/// Which machine, as far as its processes are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Here {
    /// Its name.
    host: String,
    /// Of this start of it.
    boot: String,
    /// Of the processes that see each other.
    pids: String,
}

/// What a run's row says of a runner here.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    local: Known,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    here: Here,
    mark: String,
}

/// Where a run is, seen from here.
enum Seen {
    Here(String),
    /// On this machine, before it was started anew.
    Before,
    /// On the machine of this name.
    Elsewhere(String),
}

impl Local {
    /// Reads its settings: `RUN_DATA`, the folder below which runs have theirs; `RUN_AS`, who their programs run as; and
    /// `RUNNER_PROGRAM`, which is this program unless it is given. Writes down where the callback endpoint is now, for runners that
    /// were started before.
    ///
    /// # Errors
    /// When a setting is missing or the folder cannot be used.
    pub fn new(env: &Env, settings: &Settings) -> Result<Self, SettingsError> {
        let data = PathBuf::from(env.require("RUN_DATA")?);
        let runs = data.join("runs");
        let local = Self {
            // Good for as long as we run, also when the file was replaced by a newer one.
            program: env
                .get("RUNNER_PROGRAM")
                .map_or_else(|| PathBuf::from("/proc/self/exe"), PathBuf::from),
            run_as: env.get("RUN_AS").map(str::to_owned),
            here: Here::found(),
            started: Arc::default(),
            runs,
            data,
        };
        local
            .write_address(settings)
            .map_err(|error| SettingsError::wrong("RUN_DATA", error))?;
        Ok(local)
    }

    fn address_file(&self) -> PathBuf {
        self.runs.join("callback-url")
    }

    fn write_address(&self, settings: &Settings) -> std::io::Result<()> {
        // Programs of runs pass through it as users of their own.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.runs)?;
        let draft = self.runs.join(format!("callback-url.{}", Uuid::new_v4()));
        std::fs::write(&draft, settings.callback_url.as_str())?;
        std::fs::rename(&draft, self.address_file())
    }

    /// What the marks of all runs of a job begin with, also of another installation's on this machine told apart.
    fn mark_of_job(&self, id: RunId) -> String {
        let hash = exec::fnv1a(self.data.as_os_str().as_encoded_bytes());
        format!("{hash:08x}-{}-", id.job.0)
    }

    fn seen(&self, handle: &Value) -> anyhow::Result<Seen> {
        let Handle { local } = serde_json::from_value(handle.clone())
            .context("the handle is not one of a runner on a machine")?;
        Ok(if local.here == self.here {
            Seen::Here(local.mark)
        } else if local.here.host == self.here.host {
            Seen::Before
        } else {
            Seen::Elsewhere(local.here.host)
        })
    }

    async fn spawn(&self, launch: &Launch) -> anyhow::Result<()> {
        let Seen::Here(mark) = self.seen(&launch.handle)? else {
            anyhow::bail!("the handle is not of this machine");
        };
        self.sweep();
        let folder = self.runs.join(launch.id.to_string());
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let log_path = folder.join("runner.log");
        let log = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log_path)
            .with_context(|| format!("no log can be written in {}", folder.display()))?;
        let own = Env::of_process();
        let passed_on = PASSED_ON
            .into_iter()
            .filter_map(|name| Some((name, own.get(name)?)));
        let mut command = Command::new(&self.program);
        command
            .args([RUNNER_COMMAND, MARK_ARGUMENT, &mark])
            .env_clear()
            .envs(passed_on)
            .env("CALLBACK_URL", launch.callback.as_str())
            .env("CALLBACK_URL_FILE", self.address_file())
            .env("RUN_TOKEN", launch.token.expose_secret())
            .env("RUN_NAME", launch.id.to_string())
            .env("RUN_DATA", &self.data)
            .env(MARK_VARIABLE, &mark)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(run_as) = &self.run_as {
            command.env("RUN_AS", run_as);
        }
        // It goes on when we do not.
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        tracing::info!(
            job.id = launch.id.job.0,
            pid = child.id(),
            "a runner was started"
        );
        let started = Started {
            child,
            log: log_path,
        };
        self.started().insert(mark, started);
        Ok(())
    }

    fn started(&self) -> MutexGuard<'_, HashMap<String, Started>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self, handle: &Value) -> anyhow::Result<Option<String>> {
        let Seen::Here(mark) = self.seen(handle)? else {
            return Ok(None);
        };
        let started = self.started().remove(&mark);
        let Some(Started { mut child, log }) = started else {
            return Ok(None);
        };
        let status = child.wait().await.context("it cannot be waited for")?;
        if status.success() {
            return Ok(None);
        }
        // Its programs end with it. What they started does not, and would meet the next try.
        Processes::marked(&mark)
            .end(LEFT_TERM, KILL_WAIT)
            .await
            .context("what a runner left behind does not end")?;
        // Who was killed from outside had nothing to say of that.
        let last = status
            .code()
            .map(|_| last_lines(&log))
            .filter(|last| !last.is_empty());
        Ok(Some(match last {
            Some(last) => format!("{status}: {last}"),
            None => status.to_string(),
        }))
    }

    /// Removes folders that nobody removed and nobody will look at any more.
    fn sweep(&self) {
        let entries = std::fs::read_dir(&self.runs);
        for entry in entries.into_iter().flatten().flatten() {
            let old = entry
                .metadata()
                .ok()
                .filter(std::fs::Metadata::is_dir)
                .and_then(|about| about.modified().ok())
                .and_then(|at| SystemTime::now().duration_since(at).ok())
                .is_some_and(|age| age > FOLDER_KEPT);
            if old && !self.is_used(&entry.path()) {
                remove(&entry.path());
            }
        }
    }

    fn is_used(&self, folder: &Path) -> bool {
        let name = folder.file_name().and_then(|name| name.to_str());
        let Some((job, epoch)) = name.and_then(|name| name.split_once('-')) else {
            return false;
        };
        let (Ok(job), Ok(_)) = (job.parse(), epoch.parse::<i64>()) else {
            return false;
        };
        let id = RunId {
            tenant: Uuid::nil().into(),
            job: model::JobId(job),
            epoch: 0,
        };
        !Processes::marked_beginning(&self.mark_of_job(id))
            .find()
            .is_empty()
    }

    async fn ask(&self, mark: &str) -> anyhow::Result<Stopped> {
        let processes = Processes::marked(mark);
        let found = processes.find();
        if ask_runners(&found) && !runners_gone(&processes, STOP_WAIT).await {
            let why = "its runner was asked to stop and is at it".to_owned();
            return Ok(Stopped::NotYet(why));
        }
        // Whoever should have ended these is gone.
        processes
            .end(LEFT_TERM, KILL_WAIT)
            .await
            .context("what a runner left behind does not end")?;
        Ok(Stopped::Gone)
    }

    async fn clear_job(&self, id: RunId) -> anyhow::Result<()> {
        let processes = Processes::marked_beginning(&self.mark_of_job(id));
        let found = processes.find();
        if !found.is_empty() {
            tracing::warn!(
                job.id = id.job.0,
                processes = found.len(),
                "an earlier run of the job left something running; it is ended"
            );
            if ask_runners(&found) {
                runners_gone(&processes, CLEAR_WAIT).await;
            }
            processes.end(LEFT_TERM, KILL_WAIT).await?;
        }
        let earlier = format!("{}-", id.job.0);
        let entries = std::fs::read_dir(&self.runs)?;
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&earlier))
            {
                remove(&entry.path());
            }
        }
        Ok(())
    }
}

impl Here {
    fn found() -> Self {
        let read = |path| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            boot: read("/proc/sys/kernel/random/boot_id"),
            pids: std::fs::read_link("/proc/self/ns/pid")
                .map(|link| link.display().to_string())
                .unwrap_or_default(),
        }
    }
}

/// The end of a runner's own log, as far as it can be read.
fn last_lines(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LAST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Asks the runners among these to stop. Whether there were any.
fn ask_runners(found: &[Found]) -> bool {
    let mut any = false;
    for process in found {
        if process.is_runner {
            process.signal(Signal::TERM);
            any = true;
        }
    }
    any
}

/// Waits until there is no runner any more; what it started may be.
async fn runners_gone(processes: &Processes, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while processes.find().iter().any(|found| found.is_runner) {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!("{} could not be removed: {error}", folder.display());
    }
}

impl Launcher for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn handle(&self, id: RunId) -> Value {
        let random = Uuid::new_v4().simple().to_string();
        let mark = format!("{}{}-{}", self.mark_of_job(id), id.epoch, &random[..8]);
        serde_json::json!({ "local": {
            "host": self.here.host,
            "boot": self.here.boot,
            "pids": self.here.pids,
            "mark": mark,
        }})
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, anyhow::Result<()>> {
        self.spawn(launch).boxed()
    }

    fn gone<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Option<String>>> {
        self.wait(handle).boxed()
    }

    fn stop<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Stopped>> {
        async move {
            match self.seen(handle)? {
                Seen::Here(mark) => self.ask(&mark).await,
                Seen::Before => Ok(Stopped::Gone),
                Seen::Elsewhere(host) => Ok(Stopped::NotYet(format!(
                    "it runs on the machine {host}, which hears of it with its runner's next sign of life"
                ))),
            }
        }
        .boxed()
    }

    fn look<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Look>> {
        async move {
            Ok(match self.seen(handle)? {
                Seen::Here(mark) if Processes::marked(&mark).find().is_empty() => Look::Gone(None),
                Seen::Here(_) => Look::Lives,
                Seen::Before => Look::Gone(None),
                Seen::Elsewhere(_) => Look::Elsewhere,
            })
        }
        .boxed()
    }

    fn clear<'a>(&'a self, id: RunId) -> BoxFuture<'a, anyhow::Result<()>> {
        self.clear_job(id).boxed()
    }
}

#[cfg(test)]
mod tests {
    use model::JobId;
    use secrecy::SecretString;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    struct World {
        folder: TempDir,
        local: Local,
        settings: Settings,
    }

    impl World {
        /// On a machine where runners are this script.
        fn new(script: &str) -> Self {
            let folder = TempDir::new().expect("a folder");
            let program = folder.path().join("program");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a file");
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
                .expect("our file");
            let env = Env::default()
                .with("MASTER_KEY_FILE", "/key")
                .with("RUNNER", "local")
                .with("CALLBACK_URL", "http://127.0.0.1:1/callback")
                .with("RUN_DATA", folder.path().display().to_string())
                .with("RUNNER_PROGRAM", program.display().to_string());
            let settings = Settings::read(&env).expect("they are right");
            let local = Local::new(&env, &settings).expect("they are right");
            Self {
                folder,
                local,
                settings,
            }
        }

        fn id(epoch: i64) -> RunId {
            RunId {
                tenant: Uuid::nil().into(),
                job: JobId(7),
                epoch,
            }
        }

        async fn launch(&self, epoch: i64) -> Value {
            let id = Self::id(epoch);
            let launch = Launch {
                id,
                handle: self.local.handle(id),
                callback: self.settings.callback_url.clone(),
                token: SecretString::from("a-token"),
                time_max: Duration::from_secs(60),
                stop_max: Duration::from_secs(1),
            };
            self.local.launch(&launch).await.expect("it starts");
            launch.handle
        }

        async fn is_ready(&self) {
            while !self.folder.path().join("ready").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_runner_gets_what_it_needs_and_nothing_else() {
        let world = World::new(
            "env > \"$RUN_DATA/ready.new\"; mv \"$RUN_DATA/ready.new\" \"$RUN_DATA/ready\"",
        );
        world.launch(1).await;
        world.is_ready().await;
        let environment =
            std::fs::read_to_string(world.folder.path().join("ready")).expect("a file");
        for line in [
            "CALLBACK_URL=http://127.0.0.1:1/callback",
            "RUN_TOKEN=a-token",
            "RUN_NAME=7-1",
        ] {
            assert!(environment.lines().any(|it| it == line), "{environment}");
        }
        assert!(!environment.contains("CARGO"), "{environment}");
        let file = environment
            .lines()
            .find_map(|line| line.strip_prefix("CALLBACK_URL_FILE="))
            .expect("it is told");
        let address = std::fs::read_to_string(file).expect("a file");
        assert_eq!(address, "http://127.0.0.1:1/callback");
    }

    #[tokio::test]
    async fn a_run_is_stopped_by_its_handle_and_what_is_left_of_it_too() {
        let world = World::new(
            "trap 'exit 0' TERM; sh -c \"trap '' TERM; while :; do sleep 0.1; done\" & touch \"$RUN_DATA/ready\"; while :; do sleep 0.1; done",
        );
        let handle = world.launch(1).await;
        world.is_ready().await;
        assert_eq!(world.local.look(&handle).await.expect("here"), Look::Lives);
        // The first time the runner ends, and leaves something behind that the second one finds.
        for _ in 0..2 {
            match world.local.stop(&handle).await.expect("it is known") {
                Stopped::Gone => break,
                Stopped::NotYet(_) => {}
                Stopped::Cannot(why) => panic!("{why}"),
            }
        }
        assert_eq!(
            world.local.look(&handle).await.expect("here"),
            Look::Gone(None)
        );
    }

    #[tokio::test]
    async fn a_run_that_never_started_is_gone() {
        let world = World::new("exit 1");
        let handle = world.local.handle(World::id(1));
        assert!(matches!(world.local.stop(&handle).await, Ok(Stopped::Gone)));
    }

    #[tokio::test]
    async fn a_retry_meets_nothing_of_an_earlier_run() {
        let world = World::new(
            "trap 'exit 0' TERM; sh -c \"trap '' TERM; while :; do sleep 0.1; done\" & touch \"$RUN_DATA/ready\"; while :; do sleep 0.1; done",
        );
        let earlier = world.launch(1).await;
        world.is_ready().await;
        assert!(world.folder.path().join("runs/7-1/runner.log").exists());
        world
            .local
            .clear(World::id(2))
            .await
            .expect("it can be ended");
        assert_eq!(
            world.local.look(&earlier).await.expect("here"),
            Look::Gone(None)
        );
        assert!(!world.folder.path().join("runs/7-1").exists());
    }

    #[tokio::test]
    async fn a_runner_that_died_is_told_of_at_once_with_what_it_said_last() {
        let world = World::new("echo one; echo two; echo 'RUN_AS names nobody'; exit 78");
        let handle = world.launch(1).await;
        let how = world.local.gone(&handle).await.expect("it can be seen");
        assert_eq!(
            how.as_deref(),
            Some("exit status: 78: one\ntwo\nRUN_AS names nobody")
        );
        // Nobody waits for it twice, and one that was started by others is told of by its lease.
        assert_eq!(world.local.gone(&handle).await.expect("it is known"), None);

        let world = World::new("exit 0");
        let handle = world.launch(1).await;
        assert_eq!(world.local.gone(&handle).await.expect("it is known"), None);
    }

    #[tokio::test]
    async fn a_runner_that_was_killed_leaves_nothing_when_it_is_told_of() {
        let world = World::new(
            "setsid sh -c \"trap '' TERM; touch \\\"$RUN_DATA/ready\\\"; while :; do sleep 0.1; done\" & while :; do sleep 0.1; done",
        );
        let handle = world.launch(1).await;
        world.is_ready().await;
        let Seen::Here(mark) = world.local.seen(&handle).expect("ours") else {
            panic!("it is here");
        };
        for found in Processes::marked(&mark).find() {
            if found.is_runner {
                found.signal(Signal::KILL);
            }
        }
        let how = world.local.gone(&handle).await.expect("it can be seen");
        assert_eq!(how.as_deref(), Some("signal: 9 (SIGKILL)"));
        assert!(Processes::marked(&mark).find().is_empty());
    }

    #[tokio::test]
    async fn a_run_on_another_machine_is_not_stopped_from_here() {
        let world = World::new("exit 0");
        let mut handle = world.local.handle(World::id(1));
        handle["local"]["boot"] = json!("an earlier start");
        assert!(matches!(world.local.stop(&handle).await, Ok(Stopped::Gone)));
        handle["local"]["host"] = json!("elsewhere");
        let stopped = world.local.stop(&handle).await.expect("it is known");
        assert!(matches!(stopped, Stopped::NotYet(why) if why.contains("elsewhere")));
        assert_eq!(
            world.local.look(&handle).await.expect("it is known"),
            Look::Elsewhere
        );
        assert!(world.local.stop(&json!({"job": "x"})).await.is_err());
    }
}
