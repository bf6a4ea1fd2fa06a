//! The kinds that are run, as typed values.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use url::Url;

use super::report::Place;
use super::schedule::Schedule;

/// A function that answers requests: `serving.knative.dev/v1` Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, which is its function's.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// What runs.
    pub container: Container,
    /// A request that takes longer is ended (`timeoutSeconds`).
    pub timeout: Duration,
    /// The most requests at once (`containerConcurrency`); `None` is no limit.
    pub concurrency: Option<NonZeroU32>,
    /// Whether only the cluster may call it (`networking.knative.dev/visibility`).
    pub cluster_local: bool,
    /// Under which account it runs on a cluster.
    pub service_account: Option<String>,
}

/// A process that only sends: `sources.knative.dev/v1` ContainerSource.
#[derive(Clone, Debug)]
pub struct ContainerSource {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// What runs.
    pub container: Container,
    /// Where it sends: the environment variable `K_SINK`.
    pub sink: Destination,
    /// Extension attributes for every event it sends: the variable `K_CE_OVERRIDES`.
    pub extensions: BTreeMap<String, String>,
    /// Under which account it runs on a cluster.
    pub service_account: Option<String>,
}

/// One container of a Service or ContainerSource.
#[derive(Clone, Debug)]
pub struct Container {
    /// The function that it runs: its only argument.
    pub function: String,
    /// Its environment, in the order of the manifest, names once each.
    pub env: Vec<EnvVar>,
    /// What it sees in its file system.
    pub mounts: Vec<Mount>,
}

/// One variable of a function's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
}

/// Where the value of an environment variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// Written in the manifest.
    Literal(String),
    /// A key of a Secret.
    Secret(KeyRef),
    /// A key of a ConfigMap.
    ConfigMap(KeyRef),
}

/// A key of a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// The object's name.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// Whether the function starts without it.
    pub optional: bool,
}

/// A folder in a container's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The absolute path inside the container.
    pub path: String,
    /// What is there.
    pub content: MountContent,
}

/// What a mounted folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountContent {
    /// One file for each key of the Secret of this name.
    Secret(String),
    /// One file for each key of the ConfigMap of this name.
    ConfigMap(String),
    /// Nothing at first; gone with the container.
    Scratch,
}

/// `eventing.knative.dev/v1` Broker.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// How its Triggers deliver that do not say so themselves; `None` is Knative's default.
    pub delivery: Option<Delivery>,
}

/// `eventing.knative.dev/v1` Trigger.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// The Broker that it takes events from.
    pub broker: String,
    /// An event must have every one of these; the value `""` means any that is not empty.
    pub attributes: BTreeMap<String, String>,
    /// Where it delivers.
    pub subscriber: Destination,
    /// How it delivers; `None` is as its Broker says.
    pub delivery: Option<Delivery>,
}

/// How events are delivered, and what happens when they cannot be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Attempts after the first.
    pub retry: Option<u32>,
    /// How the wait grows from one attempt to the next.
    pub backoff_policy: Option<BackoffPolicy>,
    /// What the wait grows from.
    pub backoff_delay: Option<Duration>,
    /// An attempt that takes longer has failed.
    pub timeout: Option<Duration>,
    /// Where an event goes after its last attempt.
    pub dead_letter_sink: Option<Destination>,
    /// The form in which events are sent; `None` is as they came.
    pub format: Option<Format>,
}

/// How the wait between two attempts grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// By the delay each time.
    Linear,
    /// Doubling each time.
    Exponential,
}

/// The form in which an event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Structured mode.
    Json,
    /// Binary mode.
    Binary,
}

/// `sources.knative.dev/v1` PingSource.
#[derive(Clone, Debug)]
pub struct PingSource {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// When it fires.
    pub schedule: Schedule,
    /// The events' `datacontenttype`.
    pub content_type: Option<String>,
    /// The events' data, decoded.
    pub data: Option<Vec<u8>>,
    /// Where it sends.
    pub sink: Destination,
    /// Extension attributes for every event it sends.
    pub extensions: BTreeMap<String, String>,
}

/// Where events are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// What receives them.
    pub target: Target,
    /// Where this is declared.
    pub place: Place,
}

/// What receives events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Service of these manifests, at a path that starts with `/`.
    Service {
        /// The Service's name.
        name: String,
        /// The path of the request.
        path: String,
    },
    /// A Broker of these manifests.
    Broker {
        /// The Broker's name.
        name: String,
    },
    /// Anything that has an address.
    Url(Url),
}
