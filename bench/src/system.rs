//! The whole system in this process, from the project's own manifests, with two functions of ours: in the place of
//! `task-static` one that only says when it was started, and a listener that only counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bundle::functions::FUNCTIONS;
use bundle::local::manifests::Manifests;
use bundle::local::{Databases, Runtime, RuntimeOptions};
use host::{Function, Job, Kind, Outcome};
use model::{DatabaseRole, TaskPolicy};
use secrecy::SecretString;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::ground::Ground;

/// The task whose place the fixture takes.
pub const TASK: &str = "task-static";
/// The listener.
pub const LISTENER: &str = "bench-listener";
/// How long a task may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What the manifests get in addition.
const MORE: [(&str, &str); 3] = [
    (
        "knative/broker-bench.yaml",
        include_str!("../manifests/broker-bench.yaml"),
    ),
    (
        "knative/bench-listener.yaml",
        include_str!("../manifests/bench-listener.yaml"),
    ),
    (
        "triggers/bench-listener.yaml",
        include_str!("../manifests/trigger-bench-listener.yaml"),
    ),
];

/// Who is told that the task was started. A function's routes are a plain `fn`, hence a static.
static STARTED: Mutex<Option<UnboundedSender<Instant>>> = Mutex::new(None);
/// Events that the listener has taken.
static HEARD: AtomicU64 = AtomicU64::new(0);

const FIXTURE_TASK: Function = Function {
    name: TASK,
    role: DatabaseRole::System,
    kind: Kind::Task(TaskPolicy::DEFAULT),
    routes: |_| {
        Ok(host::task(
            TaskPolicy::DEFAULT,
            |_, _: Job<serde_json::Value>| async {
                let now = Instant::now();
                if let Some(started) = &*STARTED.lock().unwrap_or_else(PoisonError::into_inner) {
                    started.send(now).ok();
                }
                Ok(Outcome::Done)
            },
        ))
    },
};

const FIXTURE_LISTENER: Function = Function {
    name: LISTENER,
    role: DatabaseRole::System,
    kind: Kind::Subscriber,
    routes: |_| {
        Ok(host::subscriber(|_, _| async {
            HEARD.fetch_add(1, Ordering::Relaxed);
            Ok(events::Reply::Ack)
        }))
    },
};

/// Everything, running.
pub struct System {
    /// Its addresses.
    pub runtime: Runtime,
    started: UnboundedReceiver<Instant>,
}

impl System {
    /// Starts it on the ground.
    pub async fn start(ground: &Ground) -> anyhow::Result<Self> {
        queue::know_task(&mut ground.connection().await?, TASK, &TaskPolicy::DEFAULT).await?;
        let mut functions: Vec<Function> = FUNCTIONS
            .iter()
            .copied()
            .filter(|function| function.name != TASK)
            .collect();
        functions.extend([FIXTURE_TASK, FIXTURE_LISTENER]);
        let (sender, started) = mpsc::unbounded_channel();
        *STARTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let url = || SecretString::from(ground.url());
        let runtime = Runtime::start(RuntimeOptions {
            manifests: manifests()?,
            functions,
            databases: Databases {
                system_url: url(),
                tenant_url: url(),
                observer_url: url(),
                owner_url: url(),
            },
            master_key_file: ground.master_key_file(),
            blobs_url: ground.blobs_url(),
            run_data: ground.run_data(),
            port: 0,
            isolate: Vec::new(),
            executable: None,
            settings: BTreeMap::new(),
        })
        .await?;
        Ok(Self { runtime, started })
    }

    /// When the task was started next.
    pub async fn next_start(&mut self) -> anyhow::Result<Instant> {
        tokio::time::timeout(START_TIMEOUT, self.started.recv())
            .await
            .context("the task was not started in time")?
            .context("nobody can start the task any more")
    }

    /// How many starts nobody has asked for.
    pub fn unasked_starts(&self) -> usize {
        self.started.len()
    }

    /// Events that the listener has taken since the process began.
    pub fn heard() -> u64 {
        HEARD.load(Ordering::Relaxed)
    }

    /// Stops it.
    pub async fn stop(self) {
        self.runtime.stop().await;
    }
}

/// The project's manifests and the fixtures'.
fn manifests() -> anyhow::Result<Manifests> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["knative", "triggers"] {
        for entry in
            std::fs::read_dir(project.join(folder)).context("could not read the manifests")?
        {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            files.push((name, std::fs::read_to_string(entry.path())?));
        }
    }
    let mut texts: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    texts.extend(MORE);
    texts.sort_unstable();
    Ok(Manifests::parse(
        "the project and its measurements",
        &texts,
    )?)
}
