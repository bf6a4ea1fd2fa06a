//! The manifests of the cluster, read strictly, as what the local runtime runs.
//!
//! The runtime has no configuration of its own for functions, brokers, triggers or clocks: it reads
//! the folders `knative/` and `triggers/`. A kind is *run*, or *cluster-only* (listed at start), or
//! *refused*. In a kind that is run, a field that is not understood is an error with file, line and
//! column: a slip that a cluster would only show by doing nothing is shown here, before anything
//! starts. All faults are reported at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

mod duration;
mod embedded;
mod eventing;
mod files;
mod kinds;
mod metadata;
mod pods;
mod report;
mod schedule;
mod yaml;

pub use kinds::{
    BackoffPolicy, Broker, Container, ContainerSource, Delivery, Destination, EnvValue, EnvVar,
    Format, KeyRef, Mount, MountContent, PingSource, Service, Target, Trigger,
};
pub use pods::gated_flags;
pub use report::{Finding, Place};
use report::{Object, Report, did_you_mean};
pub use schedule::Schedule;
use yaml::{Node, Position, Value};

/// The folders that hold manifests, in the order in which they are read.
const FOLDERS: [&str; 2] = ["knative", "triggers"];

/// What the name of a Broker's file has before the Broker's name.
const BROKER_PREFIX: &str = "broker-";

/// Kinds that only a cluster has a use for.
const CLUSTER_ONLY: &[(&str, &str)] = &[
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "Job"),
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("serving.knative.dev/v1beta1", "DomainMapping"),
    ("v1", "ConfigMap"),
    ("v1", "LimitRange"),
    ("v1", "Namespace"),
    ("v1", "ResourceQuota"),
    ("v1", "ServiceAccount"),
];
/// Kinds that are run.
const RUN: &[(&str, &str)] = &[
    ("eventing.knative.dev/v1", "Broker"),
    ("eventing.knative.dev/v1", "Trigger"),
    ("serving.knative.dev/v1", "Service"),
    ("sources.knative.dev/v1", "ContainerSource"),
    ("sources.knative.dev/v1", "PingSource"),
];

/// Everything that the manifests declare.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// Where they were read: a folder, or `embedded`.
    pub origin: String,
    /// The one namespace that all of it lives in.
    pub namespace: String,
    /// Functions that answer requests.
    pub services: Vec<Service>,
    /// Functions that only send.
    pub container_sources: Vec<ContainerSource>,
    /// Brokers.
    pub brokers: Vec<Broker>,
    /// Triggers.
    pub triggers: Vec<Trigger>,
    /// Clocks.
    pub ping_sources: Vec<PingSource>,
    /// What has no meaning on one machine.
    pub cluster_only: Vec<ClusterOnly>,
}

/// A manifest that only a cluster has a use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOnly {
    /// Its kind.
    pub kind: String,
    /// Its name; empty for a kustomization, which has none.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
}

/// The manifests cannot be run; every reason, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// What is wrong; never empty.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.findings.len();
        write!(
            f,
            "the manifests have {count} error{}",
            if count == 1 { "" } else { "s" }
        )?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

impl Manifests {
    /// Reads the manifests that apply: of `folder` if one is named, else of the current folder if it
    /// has a `knative/`, else those that the binary was built with.
    pub fn find(folder: Option<&Path>) -> Result<Self, Refused> {
        let here = Path::new(".");
        match folder {
            Some(folder) => Self::read(folder),
            None if here.join(FOLDERS[0]).is_dir() => Self::read(here),
            None => Self::embedded(),
        }
    }

    /// Reads `knative/*.yaml` and `triggers/*.yaml` under a folder; both must exist.
    pub fn read(folder: &Path) -> Result<Self, Refused> {
        let mut findings = Vec::new();
        let mut files = Vec::new();
        for name in FOLDERS {
            files::read_folder(folder, name, &mut files, &mut findings);
        }
        Self::assemble(&folder.display().to_string(), &files, findings)
    }

    /// The manifests that the binary was built with.
    pub fn embedded() -> Result<Self, Refused> {
        Self::parse("embedded", embedded::FILES)
    }

    /// Takes manifests as pairs of a path, such as `knative/api.yaml`, and the file's text.
    pub fn parse(origin: &str, files: &[(&str, &str)]) -> Result<Self, Refused> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        Self::assemble(origin, &files, Vec::new())
    }

    fn assemble(
        origin: &str,
        files: &[(String, String)],
        mut findings: Vec<Finding>,
    ) -> Result<Self, Refused> {
        let mut manifests = Self {
            origin: origin.to_owned(),
            namespace: files::namespace(files),
            services: Vec::new(),
            container_sources: Vec::new(),
            brokers: Vec::new(),
            triggers: Vec::new(),
            ping_sources: Vec::new(),
            cluster_only: Vec::new(),
        };
        // What a file with a fault would have declared, by the file's name: a reference to it is not
        // a second fault.
        let mut faulty = Vec::new();
        for (path, text) in files {
            let report = Report::new(path);
            let declared = manifests.declared().count();
            manifests.add_file(&report, path, text);
            if manifests.declared().count() == declared {
                let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
                faulty.extend(stem.map(|stem| stem.strip_prefix(BROKER_PREFIX).unwrap_or(stem)));
            }
            findings.extend(report.into_findings());
        }
        manifests.check_names(&mut findings);
        manifests.check_references(&faulty, &mut findings);
        if findings.is_empty() {
            return Ok(manifests);
        }
        // Stable, so that what was found first at one place is told first.
        findings.sort_by(|a, b| {
            let key = |f: &Finding| (f.place.file.clone(), f.place.line, f.place.column);
            key(a).cmp(&key(b))
        });
        Err(Refused { findings })
    }

    fn add_file(&mut self, report: &Report, path: &str, text: &str) {
        let documents = match yaml::parse(text) {
            Ok(documents) => documents,
            Err((at, message)) => return report.say(at, format!("not valid YAML: {message}")),
        };
        let mut documents = documents
            .iter()
            .filter(|document| !matches!(document.value, Value::Null));
        let Some(first) = documents.next() else {
            return report.say(Position::default(), "the file is empty");
        };
        self.add_document(report, path, first);
        for further in documents {
            report.say(
                further.at,
                "a second document: each manifest is a file of its own",
            );
            self.add_document(report, path, further);
        }
    }

    fn add_document(&mut self, report: &Report, path: &str, document: &Node) {
        let Some(mut root) = report.object(document, "the manifest") else {
            return;
        };
        root.path.clear();
        let version = root.required_text("apiVersion");
        let kind = root.required_text("kind");
        let (Some((version, _)), Some((kind, kind_at))) = (version, kind) else {
            return;
        };
        let namespace = self.namespace.clone();
        // A file is called what it declares; a Broker's name often is also that of a function, so its
        // file says what it is.
        let (stem, place) = match (version, kind) {
            ("serving.knative.dev/v1", "Service") => {
                let Some(service) = pods::service(root, &namespace) else {
                    return;
                };
                self.services.push(service.clone());
                (service.name, service.place)
            }
            ("sources.knative.dev/v1", "ContainerSource") => {
                let Some(source) = pods::container_source(root, &namespace) else {
                    return;
                };
                self.container_sources.push(source.clone());
                (source.name, source.place)
            }
            ("eventing.knative.dev/v1", "Broker") => {
                let Some(broker) = eventing::broker(root, &namespace) else {
                    return;
                };
                self.brokers.push(broker.clone());
                (format!("{BROKER_PREFIX}{}", broker.name), broker.place)
            }
            ("eventing.knative.dev/v1", "Trigger") => {
                let Some(trigger) = eventing::trigger(root, &namespace) else {
                    return;
                };
                self.triggers.push(trigger.clone());
                (trigger.name, trigger.place)
            }
            ("sources.knative.dev/v1", "PingSource") => {
                let Some(source) = eventing::ping_source(root, &namespace) else {
                    return;
                };
                self.ping_sources.push(source.clone());
                (source.name, source.place)
            }
            ("v1", "List") => return self.add_list(report, root),
            _ if CLUSTER_ONLY.contains(&(version, kind)) => {
                return self.add_cluster_only(report, kind, kind_at, root);
            }
            _ => return report.say(kind_at, refusal(version, kind)),
        };
        if Path::new(path)
            .file_stem()
            .is_some_and(|found| found != stem.as_str())
        {
            let at = Position {
                line: place.line,
                column: place.column,
            };
            report.say(
                at,
                format!("the file of this {kind} must be called `{stem}.yaml`"),
            );
        }
    }

    /// A List holds what would be a file of a few lines each, such as service accounts.
    fn add_list(&mut self, report: &Report, mut list: Object<'_>) {
        for item in list.list("items") {
            let Some(mut root) = report.object(item, "items[]") else {
                continue;
            };
            let (version, kind) = (root.required_text("apiVersion"), root.required_text("kind"));
            let (Some((version, _)), Some((kind, kind_at))) = (version, kind) else {
                continue;
            };
            if RUN.contains(&(version, kind)) {
                report.say(
                    kind_at,
                    format!("a {kind} is not taken from a List: give it a file"),
                );
            } else if CLUSTER_ONLY.contains(&(version, kind)) {
                self.add_cluster_only(report, kind, kind_at, root);
            } else {
                report.say(kind_at, refusal(version, kind));
            }
        }
        list.accept(&["metadata"]);
        list.finish();
    }

    fn add_cluster_only(
        &mut self,
        report: &Report,
        kind: &str,
        at: Position,
        mut root: Object<'_>,
    ) {
        let name = if kind == "Kustomization" {
            String::new()
        } else {
            let Some(metadata) = metadata::plain_metadata(&mut root) else {
                return;
            };
            metadata
        };
        self.cluster_only.push(ClusterOnly {
            kind: kind.to_owned(),
            name,
            place: report.place(at),
        });
    }

    /// Two manifests of one kind and name would be one object on a cluster.
    fn check_names(&self, findings: &mut Vec<Finding>) {
        let mut seen = BTreeMap::new();
        for (kind, name, place) in self.declared() {
            if let Some(earlier) = seen.insert((kind, name), place) {
                let message = format!("{kind} `{name}` is also declared in {earlier}");
                findings.push(Finding {
                    place: place.clone(),
                    message,
                });
            }
        }
    }

    fn declared(&self) -> impl Iterator<Item = (&str, &str, &Place)> {
        let services = self
            .services
            .iter()
            .map(|it| ("Service", it.name.as_str(), &it.place));
        let sources = &self.container_sources;
        let sources = sources
            .iter()
            .map(|it| ("ContainerSource", it.name.as_str(), &it.place));
        let brokers = self
            .brokers
            .iter()
            .map(|it| ("Broker", it.name.as_str(), &it.place));
        let triggers = self
            .triggers
            .iter()
            .map(|it| ("Trigger", it.name.as_str(), &it.place));
        let pings = &self.ping_sources;
        let pings = pings
            .iter()
            .map(|it| ("PingSource", it.name.as_str(), &it.place));
        let others = &self.cluster_only;
        let others = others.iter().filter(|it| !it.name.is_empty());
        let others = others.map(|it| (it.kind.as_str(), it.name.as_str(), &it.place));
        services
            .chain(sources)
            .chain(brokers)
            .chain(triggers)
            .chain(pings)
            .chain(others)
    }

    /// What refers to a Broker or Service must find it here.
    fn check_references(&self, faulty: &[&str], findings: &mut Vec<Finding>) {
        let brokers = self
            .triggers
            .iter()
            .map(|it| ("Broker", it.broker.as_str(), &it.place));
        let targets = self
            .destinations()
            .filter_map(|destination| match &destination.target {
                Target::Service { name, .. } => {
                    Some(("Service", name.as_str(), &destination.place))
                }
                Target::Broker { name } => Some(("Broker", name.as_str(), &destination.place)),
                Target::Url(_) => None,
            });
        for (kind, name, place) in brokers.chain(targets) {
            if !faulty.contains(&name) {
                self.check_reference(kind, name, place, findings);
            }
        }
    }

    fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let subscribers = self.triggers.iter().map(|trigger| &trigger.subscriber);
        let of_triggers = self
            .triggers
            .iter()
            .filter_map(|trigger| trigger.delivery.as_ref());
        let of_brokers = self
            .brokers
            .iter()
            .filter_map(|broker| broker.delivery.as_ref());
        let deliveries = of_triggers.chain(of_brokers);
        let dead = deliveries.filter_map(|delivery| delivery.dead_letter_sink.as_ref());
        let pings = self.ping_sources.iter().map(|source| &source.sink);
        let sources = self.container_sources.iter().map(|source| &source.sink);
        subscribers.chain(dead).chain(pings).chain(sources)
    }

    fn check_reference(&self, kind: &str, name: &str, place: &Place, findings: &mut Vec<Finding>) {
        let candidates = || {
            self.declared()
                .filter(|(candidate, _, _)| *candidate == kind)
        };
        if candidates().any(|(_, candidate, _)| candidate == name) {
            return;
        }
        let hint = did_you_mean(name, candidates().map(|(_, candidate, _)| candidate));
        let there: Vec<String> = candidates()
            .map(|(_, name, place)| format!("`{name}` ({})", place.file))
            .collect();
        let there = if there.is_empty() {
            "none".to_owned()
        } else {
            there.join(", ")
        };
        let message = format!("there is no {kind} `{name}`{hint}; there are: {there}");
        findings.push(Finding {
            place: place.clone(),
            message,
        });
    }
}

/// Why a kind is neither run nor passed over.
fn refusal(version: &str, kind: &str) -> String {
    let run: Vec<&str> = RUN.iter().map(|(_, kind)| *kind).collect();
    let known = RUN
        .iter()
        .chain(CLUSTER_ONLY)
        .filter(|(_, known)| *known == kind);
    let hint = match known.map(|(version, _)| *version).next() {
        Some(known) => format!("; did you mean apiVersion {known}?"),
        None => did_you_mean(kind, RUN.iter().chain(CLUSTER_ONLY).map(|(_, kind)| *kind)),
    };
    let run = run.join(", ");
    format!("a {kind} of {version} cannot be run here{hint}; run are: {run}")
}

#[cfg(test)]
mod tests;
