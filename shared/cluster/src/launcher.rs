//! Runners as Jobs of a cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use host::{Env, SettingsError};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use labs::clabernetes::MANAGED_BY;
use launch::{Launch, Launcher, Local, Look, RunId, Runners, Settings, Stopped, Where};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::job::{self, JOB_LABEL, RUN_LABEL};
use crate::objects::{Created, Kind};
use crate::{Cluster, ClusterError, ClusterSettings};

/// How long a stop waits for a runner to be gone before it says that it is not; the next try waits again.
const GONE_WITHIN: Duration = Duration::from_secs(8);
/// How often it looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the first look waits for the watch to have seen all Jobs.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// For how long a pod must have been unable to start before that counts: what a registry refuses once it may give a moment later.
const STUCK_FOR: Duration = Duration::from_secs(20);
/// How often such a pod is looked at.
const STUCK_LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many of a runner's last lines are told when it died without a word.
const LAST_LINES: i64 = 20;

/// What an operator says of runners in a cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct RunnerSettings {
    /// The image with `switchyard` and the tools that runs need (`RUNNER_IMAGE`).
    #[serde(rename = "runner_image")]
    pub image: String,
    /// The namespace that they run in (`RUNNER_NAMESPACE`).
    #[serde(rename = "runner_namespace")]
    pub namespace: String,
    /// Their service account (`RUNNER_SERVICE_ACCOUNT`). Its token is not given to them.
    #[serde(rename = "runner_service_account")]
    pub service_account: Option<String>,
    /// The memory of one, as Kubernetes writes it (`RUNNER_MEMORY`).
    #[serde(rename = "runner_memory", default = "memory")]
    pub memory: String,
    /// The disk of one (`RUNNER_DISK`).
    #[serde(rename = "runner_disk", default = "disk")]
    pub disk: String,
}

fn memory() -> String {
    "2Gi".to_owned()
}

fn disk() -> String {
    "8Gi".to_owned()
}

/// By what a run is found: kept in its row.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    namespace: String,
    name: String,
    run: String,
}

/// Starts runners as Jobs.
#[derive(Debug)]
pub struct KubernetesLauncher {
    cluster: ClusterSettings,
    settings: RunnerSettings,
    open: tokio::sync::OnceCell<Open>,
}

/// What is there once the cluster was called for the first time.
struct Open {
    cluster: Cluster,
    namespace: String,
    /// One watch for all runs of this process.
    jobs: Mutex<Option<Arc<Watch>>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The Jobs and pods of runs in the namespace, as the cluster told them.
struct Watch {
    jobs: Store<DynamicObject>,
    pods: Store<DynamicObject>,
    /// Something of them is otherwise than before.
    changed: tokio::sync::watch::Receiver<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KubernetesLauncher {
    /// Runners in this cluster. It is called when the first of them starts.
    #[must_use]
    pub fn new(cluster: ClusterSettings, settings: RunnerSettings) -> Self {
        let open = tokio::sync::OnceCell::new();
        Self {
            cluster,
            settings,
            open,
        }
    }

    async fn open(&self) -> Result<&Open, ClusterError> {
        self.open
            .get_or_try_init(|| async {
                let cluster = self.cluster.open().await?;
                let namespace = self.settings.namespace.clone();
                Ok(Open {
                    cluster,
                    namespace,
                    jobs: Mutex::new(None),
                })
            })
            .await
    }

    async fn start(&self, launch: &Launch) -> anyhow::Result<()> {
        let Open { cluster, .. } = self.open().await?;
        let handle = Handle::read(&launch.handle)?;
        let namespace = handle.namespace.as_str();
        let wanted = job::job(launch, &self.settings);
        let made = match cluster.create(Kind::JOB, namespace, &wanted).await? {
            Created::New(made) => *made,
            Created::Exists => {
                let there = cluster
                    .get(Kind::JOB, Some(namespace), &handle.name)
                    .await?;
                let there = there.context("the run's Job was there, and is gone again")?;
                if there.labels().get(RUN_LABEL) != Some(&handle.run) {
                    bail!(
                        "a Job called {} is in {namespace} already and belongs to nothing here",
                        handle.name
                    );
                }
                there
            }
        };
        let uid = made.uid().context("the cluster gave the Job no id")?;
        // The pod waits for its Secret, so the order is the one in which nothing is left behind.
        let secret = job::secret(launch, &uid);
        if let Err(error) = cluster.apply(Kind::SECRET, Some(namespace), &secret).await {
            cluster.delete(Kind::JOB, namespace, &handle.name).await?;
            return Err(
                anyhow!(error).context("the runner's token could not be put into the cluster")
            );
        }
        Ok(())
    }

    async fn end(&self, handle: &Value) -> anyhow::Result<Stopped> {
        let Open { cluster, .. } = self.open().await?;
        let handle = Handle::read(handle)?;
        cluster
            .delete(Kind::JOB, &handle.namespace, &handle.name)
            .await?;
        let label = format!("{RUN_LABEL}={}", handle.run);
        Ok(match gone(cluster, &handle.namespace, &label).await? {
            None => Stopped::Gone,
            Some(pod) => Stopped::NotYet(format!("the pod {pod} is still stopping")),
        })
    }

    async fn see(&self, handle: &Value) -> anyhow::Result<Look> {
        let Open { cluster, .. } = self.open().await?;
        let handle = Handle::read(handle)?;
        let watch = self.watch().await?;
        // What the watch does not have may be too new for it.
        let job = match watch.job(&handle) {
            Some(job) => Some((*job).clone()),
            None => {
                cluster
                    .get(Kind::JOB, Some(&handle.namespace), &handle.name)
                    .await?
            }
        };
        let label = format!("{RUN_LABEL}={}", handle.run);
        let pods = cluster.list(Kind::POD, &handle.namespace, &label).await?;
        let Some(job) = job else {
            let left = pods.first().map(|pod| pod.name_any());
            return Ok(left.map_or(Look::Gone(None), |_| Look::Lives));
        };
        let Some(why) = finished(&job) else {
            return Ok(Look::Lives);
        };
        let mut last = why;
        for pod in &pods {
            if let Some(reason) = terminated(pod) {
                last = format!("{last}; {reason}");
            }
            if let Some(log) = cluster
                .log_tail(&handle.namespace, &pod.name_any(), LAST_LINES)
                .await
            {
                last = format!("{last}\n{}", log.trim_end());
            }
        }
        Ok(Look::Gone(Some(last)))
    }

    /// Waits for the run's Job to end, to go away, or to be one that cannot start.
    async fn wait(&self, handle: &Value) -> anyhow::Result<String> {
        let named = Handle::read(handle)?;
        let mut stuck_since: Option<Instant> = None;
        loop {
            let watch = self.watch().await?;
            let mut changed = watch.changed.clone();
            changed.mark_unchanged();
            let job = watch.job(&named);
            let ended = job.as_deref().is_some_and(|job| finished(job).is_some());
            // One that the watch does not have may be too new for it.
            if ended || job.is_none() {
                match self.see(handle).await? {
                    Look::Gone(Some(why)) => return Ok(why),
                    Look::Gone(None) => return Ok("its Job was deleted".to_owned()),
                    // It is new, or its pod is still stopping.
                    Look::Lives | Look::Elsewhere => {}
                }
            }
            let stuck = watch.pods(&named).iter().find_map(|pod| stuck(pod));
            match (&stuck, stuck_since) {
                (None, _) => stuck_since = None,
                (Some(_), None) => stuck_since = Some(Instant::now()),
                (Some(why), Some(since)) if since.elapsed() >= STUCK_FOR => {
                    // Whoever mends it must not find that it starts all the same.
                    return match self.end(handle).await? {
                        Stopped::Gone => Ok(format!("its pod cannot start: {why}")),
                        Stopped::NotYet(why) | Stopped::Cannot(why) => Err(anyhow!(why)),
                    };
                }
                (Some(_), Some(_)) => {}
            }
            tokio::select! {
                told = changed.changed() => if told.is_err() {
                    // The watch ended, and is begun again.
                    tokio::time::sleep(LOOK_EVERY).await;
                },
                () = tokio::time::sleep(STUCK_LOOK_EVERY), if stuck.is_some() => {}
            }
        }
    }

    async fn clear_earlier(&self, id: RunId) -> anyhow::Result<()> {
        let Open {
            cluster, namespace, ..
        } = self.open().await?;
        let of_the_job = format!("{JOB_LABEL}={}", id.job);
        for job in cluster.list(Kind::JOB, namespace, &of_the_job).await? {
            if job.labels().get(RUN_LABEL) == Some(&id.to_string()) {
                continue;
            }
            cluster
                .delete(Kind::JOB, namespace, &job.name_any())
                .await?;
        }
        let earlier = format!("{of_the_job},{RUN_LABEL}!={id}");
        match gone(cluster, namespace, &earlier).await? {
            None => Ok(()),
            Some(pod) => bail!("the pod {pod} of an earlier run is still stopping"),
        }
    }

    /// The watch of all Jobs, begun when it is first needed.
    async fn watch(&self) -> anyhow::Result<Arc<Watch>> {
        let open = self.open().await?;
        let watch = {
            let mut held = open.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let lives = held.as_ref().filter(|watch| !watch.task.is_finished());
            let watch = lives.map_or_else(|| Arc::new(begin(open)), Arc::clone);
            *held = Some(Arc::clone(&watch));
            watch
        };
        let seen = async {
            watch.jobs.wait_until_ready().await?;
            watch.pods.wait_until_ready().await
        };
        tokio::time::timeout(SEEN_WITHIN, seen)
            .await
            .context("the cluster does not tell of its Jobs and pods")??;
        Ok(watch)
    }
}

impl Watch {
    fn job(&self, handle: &Handle) -> Option<Arc<DynamicObject>> {
        let resource = Kind::JOB.resource();
        let reference = ObjectRef::new_with(&handle.name, resource).within(&handle.namespace);
        self.jobs.get(&reference)
    }

    fn pods(&self, handle: &Handle) -> Vec<Arc<DynamicObject>> {
        let mut pods = self.pods.state();
        pods.retain(|pod| pod.labels().get(RUN_LABEL) == Some(&handle.run));
        pods
    }
}

fn begin(open: &Open) -> Watch {
    let (jobs, of_jobs) = told(open, Kind::JOB);
    let (pods, of_pods) = told(open, Kind::POD);
    let (change, changed) = tokio::sync::watch::channel(());
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the launcher, which is no request's"
    )]
    let task = tokio::spawn(async move {
        let mut events = std::pin::pin!(futures::stream::select(of_jobs, of_pods));
        while let Some(event) = events.next().await {
            if let Err(error) = event {
                tracing::warn!("the watch of the cluster's Jobs and pods was interrupted: {error}");
            }
            change.send_replace(());
        }
    });
    Watch {
        jobs,
        pods,
        changed,
        task,
    }
}

/// What the cluster tells of objects of a kind that belong to runs. A watch that breaks off or is told that it is too old begins
/// again by itself, with a growing wait.
fn told(
    open: &Open,
    kind: Kind,
) -> (
    Store<DynamicObject>,
    impl Stream<Item = Result<(), watcher::Error>> + Send + use<>,
) {
    let writer = Writer::new(kind.resource());
    let there = writer.as_reader();
    let (label, ours) = MANAGED_BY;
    let config = watcher::Config::default().labels(&format!("{label}={ours},{RUN_LABEL}"));
    let api = open.cluster.api(kind, Some(&open.namespace));
    let events = reflector(writer, watcher(api, config).default_backoff());
    (there, events.map(|event| event.map(drop)))
}

impl Handle {
    fn read(value: &Value) -> anyhow::Result<Self> {
        Self::deserialize(value).context("the run's handle is not one of this launcher")
    }
}

/// Waits a little until no pod has these labels; else the name of one that has.
async fn gone(
    cluster: &Cluster,
    namespace: &str,
    labels: &str,
) -> Result<Option<String>, ClusterError> {
    let mut waited = Duration::ZERO;
    loop {
        let pods = cluster.list(Kind::POD, namespace, labels).await?;
        // A pod that has ended runs nothing, whoever still keeps it.
        let running = pods.iter().find(|pod| {
            let phase = pod.data["status"]["phase"].as_str().unwrap_or_default();
            !matches!(phase, "Succeeded" | "Failed")
        });
        let Some(running) = running else {
            return Ok(None);
        };
        if waited >= GONE_WITHIN {
            return Ok(Some(running.name_any()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
}

/// How a Job ended, if it did.
fn finished(job: &DynamicObject) -> Option<String> {
    let conditions = job.data["status"]["conditions"].as_array()?;
    let mut holding = conditions.iter().filter(|it| it["status"] == "True");
    let ended = holding.find(|it| it["type"] == "Failed" || it["type"] == "Complete")?;
    let text = |key: &str| ended[key].as_str().unwrap_or_default();
    if ended["type"] == "Complete" {
        return Some("its Job is complete".to_owned());
    }
    Some(
        format!("its Job failed: {} {}", text("reason"), text("message"))
            .trim_end()
            .to_owned(),
    )
}

/// Why a pod does not start, where it will not without somebody's help. (That its Secret is missing passes: it comes after the Job.)
fn stuck(pod: &DynamicObject) -> Option<String> {
    let waiting = &pod.data["status"]["containerStatuses"][0]["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    let stays = [
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerError",
    ];
    stays.contains(&reason).then(|| {
        let message = waiting["message"].as_str().unwrap_or_default();
        format!("{reason} {message}").trim_end().to_owned()
    })
}

/// How the container of a pod ended.
fn terminated(pod: &DynamicObject) -> Option<String> {
    let state = &pod.data["status"]["containerStatuses"][0]["state"]["terminated"];
    let code = state["exitCode"].as_i64()?;
    let reason = state["reason"].as_str().unwrap_or("ended");
    Some(format!("its container: {reason}, exit code {code}"))
}

impl Launcher for KubernetesLauncher {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn handle(&self, id: RunId) -> Value {
        let namespace = &self.settings.namespace;
        serde_json::json!({ "namespace": namespace, "name": job::name(id), "run": id.to_string() })
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, anyhow::Result<()>> {
        self.start(launch).boxed()
    }

    fn gone<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Option<String>>> {
        async move { self.wait(handle).await.map(Some) }.boxed()
    }

    fn stop<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Stopped>> {
        self.end(handle).boxed()
    }

    fn look<'a>(&'a self, handle: &'a Value) -> BoxFuture<'a, anyhow::Result<Look>> {
        self.see(handle).boxed()
    }

    fn clear<'a>(&'a self, id: RunId) -> BoxFuture<'a, anyhow::Result<()>> {
        self.clear_earlier(id).boxed()
    }
}

/// The runners that the settings choose: processes of this machine, or Jobs of the cluster.
///
/// # Errors
/// When a setting is missing or cannot be.
pub fn runners(env: &Env) -> Result<Runners, SettingsError> {
    let settings = Settings::read(env)?;
    let launcher: Arc<dyn Launcher> = match settings.runner {
        Where::Local => Arc::new(Local::new(env, &settings)?),
        Where::Kubernetes => Arc::new(KubernetesLauncher::new(env.parse()?, env.parse()?)),
    };
    Ok(Runners::new(launcher, settings))
}
