//! What runs: Services, ContainerSources and the container in each.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::eventing::{extensions, required_destination};
use super::kinds::{
    Container, ContainerSource, EnvValue, EnvVar, KeyRef, Mount, MountContent, Service,
};
use super::metadata::{
    SERVICE_MARKS, SOURCE_MARKS, TEMPLATE_MARKS, VISIBILITY, check_marks, metadata,
};
use super::report::{Object, did_you_mean};
use super::yaml::Value;

/// What Knative takes when a Service does not say, in seconds.
const TIMEOUT_SECS_DEFAULT: u32 = 300;
/// The longest request that Knative allows unless its operator says otherwise, in seconds.
const TIMEOUT_SECS_MAX: u32 = 600;
/// The highest `containerConcurrency` that Knative allows.
const CONCURRENCY_MAX: u32 = 1_000;

/// Fields of a Service's pod that Knative refuses unless a feature flag, off by default, is set.
const GATED_POD_FIELDS: &[(&str, &str)] = &[
    ("affinity", "kubernetes.podspec-affinity"),
    ("dnsConfig", "kubernetes.podspec-dnsconfig"),
    ("dnsPolicy", "kubernetes.podspec-dnspolicy"),
    ("hostAliases", "kubernetes.podspec-hostaliases"),
    ("hostIPC", "kubernetes.podspec-hostipc"),
    ("hostNetwork", "kubernetes.podspec-hostnetwork"),
    ("hostPID", "kubernetes.podspec-hostpid"),
    ("initContainers", "kubernetes.podspec-init-containers"),
    ("nodeSelector", "kubernetes.podspec-nodeselector"),
    ("priorityClassName", "kubernetes.podspec-priorityclassname"),
    ("runtimeClassName", "kubernetes.podspec-runtimeclassname"),
    ("schedulerName", "kubernetes.podspec-schedulername"),
    ("securityContext", "kubernetes.podspec-securitycontext"),
    (
        "shareProcessNamespace",
        "kubernetes.podspec-shareprocessnamespace",
    ),
    ("tolerations", "kubernetes.podspec-tolerations"),
    (
        "topologySpreadConstraints",
        "kubernetes.podspec-topologyspreadconstraints",
    ),
];
/// Kinds of volume for which the same holds.
const GATED_VOLUMES: &[(&str, &str)] = &[
    ("csi", "kubernetes.podspec-volumes-csi"),
    ("ephemeral", "kubernetes.podspec-volumes-ephemeral"),
    ("hostPath", "kubernetes.podspec-volumes-hostpath"),
    ("image", "kubernetes.podspec-volumes-image"),
    (
        "persistentVolumeClaim",
        "kubernetes.podspec-persistent-volume-claim",
    ),
];
const GATED_FIELD_REF: &str = "kubernetes.podspec-fieldref";
const GATED_CAPABILITIES: &str = "kubernetes.containerspec-addcapabilities";
const GATED_PROPAGATION: &str = "kubernetes.podspec-volumes-mount-propagation";

/// The feature flags of Knative Serving without which a manifest is refused here.
pub fn gated_flags() -> impl Iterator<Item = &'static str> {
    let tables = GATED_POD_FIELDS
        .iter()
        .chain(GATED_VOLUMES)
        .map(|(_, flag)| *flag);
    tables.chain([GATED_FIELD_REF, GATED_CAPABILITIES, GATED_PROPAGATION])
}

/// Which platform runs a container; their rules differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    /// Knative Serving, which allows part of a pod.
    Serving,
    /// A plain Deployment, which allows all of it.
    Deployment,
}

pub(super) fn service(mut root: Object<'_>, namespace: &str) -> Option<Service> {
    let report = root.report;
    let metadata = metadata(&mut root, namespace, &SERVICE_MARKS);
    let spec = root.required_object("spec");
    root.finish();
    let (metadata, mut spec) = (metadata?, spec?);
    let template = spec.required_object("template");
    // On one machine there is one revision.
    spec.accept(&["traffic"]);
    spec.finish();
    let mut template = template?;
    if let Some(mut metadata) = template.object("metadata") {
        check_marks(&mut metadata, &TEMPLATE_MARKS);
        metadata.accept(&["name"]);
        metadata.finish();
    }
    let pod = template.required_object("spec");
    template.finish();
    let mut pod = pod?;
    let timeout = match pod.get("timeoutSeconds") {
        None => Some(TIMEOUT_SECS_DEFAULT),
        Some(_) => pod.integer("timeoutSeconds", 1..=TIMEOUT_SECS_MAX),
    };
    let concurrency = match pod.get("containerConcurrency") {
        None => Some(0),
        Some(_) => pod.integer("containerConcurrency", 0..=CONCURRENCY_MAX),
    };
    pod.accept(&[
        "automountServiceAccountToken",
        "enableServiceLinks",
        "idleTimeoutSeconds",
        "imagePullSecrets",
        "responseStartTimeoutSeconds",
    ]);
    for (field, flag) in GATED_POD_FIELDS {
        pod.refuse(field, &needs(flag));
    }
    let (container, service_account) = container(pod, Host::Serving);
    let container = container?;
    if container.function != metadata.name {
        let (name, function) = (&metadata.name, &container.function);
        let message = format!("Service `{name}` runs the function `{function}`: use one name");
        report.say(metadata.at, message);
    }
    let cluster_local = match metadata.labels.get(VISIBILITY) {
        None => false,
        Some(("cluster-local", _)) => true,
        Some((other, at)) => {
            report.say(
                *at,
                format!("`{VISIBILITY}` can only be `cluster-local`, not `{other}`"),
            );
            false
        }
    };
    Some(Service {
        place: report.place(metadata.at),
        name: metadata.name,
        container,
        timeout: Duration::from_secs(timeout?.into()),
        concurrency: NonZeroU32::new(concurrency?),
        cluster_local,
        service_account,
    })
}

pub(super) fn container_source(mut root: Object<'_>, namespace: &str) -> Option<ContainerSource> {
    let report = root.report;
    let metadata = metadata(&mut root, namespace, &SOURCE_MARKS);
    let spec = root.required_object("spec");
    root.finish();
    let (metadata, mut spec) = (metadata?, spec?);
    let sink = required_destination(&mut spec, "sink", namespace);
    let extensions = extensions(&mut spec);
    let template = spec.required_object("template");
    spec.finish();
    let mut template = template?;
    template.accept(&["metadata"]);
    let pod = template.required_object("spec");
    template.finish();
    let mut pod = pod?;
    pod.accept(&[
        "affinity",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "imagePullSecrets",
        "nodeSelector",
        "priorityClassName",
        "securityContext",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
    ]);
    let (container, service_account) = container(pod, Host::Deployment);
    Some(ContainerSource {
        place: report.place(metadata.at),
        name: metadata.name,
        container: container?,
        sink: sink?,
        extensions,
        service_account,
    })
}

pub(super) fn needs(flag: &str) -> String {
    format!("Knative allows it only with the flag `{flag}`, which is off by default")
}

/// Reads the rest of a pod: its account, volumes and only container.
fn container(mut pod: Object<'_>, host: Host) -> (Option<Container>, Option<String>) {
    let report = pod.report;
    let account = pod.text("serviceAccountName").map(str::to_owned);
    let volumes = volumes(&mut pod, host);
    let containers = pod.required("containers");
    pod.finish();
    let Some(containers) = containers else {
        return (None, account);
    };
    let only = match &containers.value {
        Value::List(nodes) if nodes.len() == 1 => &nodes[0],
        _ => {
            report.say(
                containers.at,
                "containers must be a list of exactly one container",
            );
            return (None, account);
        }
    };
    let Some(mut container) = report.object(only, "containers[0]") else {
        return (None, account);
    };
    container.required_text("image");
    let function = function(&mut container);
    let env = env(&mut container, host);
    let mounts = mounts(&mut container, &volumes, host);
    if host == Host::Serving
        && let Some(mut security) = container.object("securityContext")
        && let Some(mut capabilities) = security.object("capabilities")
    {
        capabilities.refuse("add", &needs(GATED_CAPABILITIES));
    }
    container.refuse(
        "command",
        "it would run another program than the function in `args`",
    );
    container.refuse(
        "envFrom",
        "what it brings is not known here: write each variable in `env`",
    );
    container.accept(&[
        "imagePullPolicy",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resources",
        "securityContext",
        "startupProbe",
        "terminationMessagePath",
        "terminationMessagePolicy",
    ]);
    container.finish();
    (
        function.map(|function| Container {
            function,
            env,
            mounts,
        }),
        account,
    )
}

/// The function that a container runs: its only argument.
fn function(container: &mut Object<'_>) -> Option<String> {
    let report = container.report;
    let args = container.required("args")?;
    match &args.value {
        Value::List(nodes) if nodes.len() == 1 => {
            report.text(&nodes[0], "args[0]").map(str::to_owned)
        }
        _ => {
            report.say(
                args.at,
                "args must be a list of one string: the function that runs",
            );
            None
        }
    }
}

fn env(container: &mut Object<'_>, host: Host) -> Vec<EnvVar> {
    let reserved: &[&str] = match host {
        Host::Serving => &["K_CONFIGURATION", "K_REVISION", "K_SERVICE", "PORT"],
        Host::Deployment => &["K_CA_CERTS", "K_CE_OVERRIDES", "K_SINK"],
    };
    let mut env: Vec<EnvVar> = Vec::new();
    for node in container.list("env") {
        let report = container.report;
        let Some(mut variable) = report.object(node, "env[]") else {
            continue;
        };
        let name = variable.required_text("name");
        let value = env_value(&mut variable);
        variable.finish();
        let Some((name, at)) = name else { continue };
        if reserved.contains(&name) {
            report.say(
                at,
                format!("`{name}` is set by Knative and cannot be set here"),
            );
        }
        if env.iter().any(|earlier| earlier.name == name) {
            report.say(at, format!("`{name}` is set twice"));
        }
        if let Some(value) = value {
            env.push(EnvVar {
                name: name.to_owned(),
                value,
            });
        }
    }
    env
}

fn env_value(variable: &mut Object<'_>) -> Option<EnvValue> {
    let report = variable.report;
    let literal = variable.get("value");
    let Some(mut from) = variable.object("valueFrom") else {
        // A variable without a value is an empty one, as for the API server.
        let Some(literal) = literal else {
            return Some(EnvValue::Literal(String::new()));
        };
        let text = report.text(literal, "value")?;
        if text.contains("$(") {
            report.say(
                literal.at,
                "value: `$(NAME)` is not expanded here: write the value out",
            );
        }
        return Some(EnvValue::Literal(text.to_owned()));
    };
    if let Some(literal) = literal {
        report.say(literal.at, "value and valueFrom cannot both be given");
    }
    for field in ["fieldRef", "resourceFieldRef"] {
        from.refuse(field, &needs(GATED_FIELD_REF));
    }
    let secret = from.object("secretKeyRef").map(key_ref);
    let config_map = from.object("configMapKeyRef").map(key_ref);
    let at = from.at;
    from.finish();
    match (secret, config_map) {
        (Some(key), None) => key.map(EnvValue::Secret),
        (None, Some(key)) => key.map(EnvValue::ConfigMap),
        (None, None) | (Some(_), Some(_)) => {
            report.say(
                at,
                "valueFrom must have one of secretKeyRef and configMapKeyRef",
            );
            None
        }
    }
}

fn key_ref(mut object: Object<'_>) -> Option<KeyRef> {
    let name = object.required_text("name");
    let key = object.required_text("key");
    let optional = object.boolean("optional").unwrap_or(false);
    object.finish();
    let ((name, _), (key, _)) = (name?, key?);
    Some(KeyRef {
        name: name.to_owned(),
        key: key.to_owned(),
        optional,
    })
}

fn volumes<'a>(pod: &mut Object<'a>, host: Host) -> BTreeMap<&'a str, MountContent> {
    let mut volumes = BTreeMap::new();
    for node in pod.list("volumes") {
        let report = pod.report;
        let Some(mut volume) = report.object(node, "volumes[]") else {
            continue;
        };
        let name = volume.required_text("name");
        let mut contents = Vec::new();
        if let Some(mut secret) = volume.object("secret") {
            contents.extend(named(&mut secret, "secretName").map(MountContent::Secret));
            secret.finish();
        }
        if let Some(mut config_map) = volume.object("configMap") {
            contents.extend(named(&mut config_map, "name").map(MountContent::ConfigMap));
            config_map.finish();
        }
        if volume.get("emptyDir").is_some() {
            contents.push(MountContent::Scratch);
        }
        volume.refuse(
            "projected",
            "it is not built here: mount each Secret by itself",
        );
        for (kind, flag) in GATED_VOLUMES {
            let why = match host {
                Host::Serving => needs(flag),
                Host::Deployment => "one machine has no such volume".to_owned(),
            };
            volume.refuse(kind, &why);
        }
        volume.finish();
        let Some((name, at)) = name else { continue };
        match <[MountContent; 1]>::try_from(contents) {
            Ok([content]) => {
                if volumes.insert(name, content).is_some() {
                    report.say(at, format!("there are two volumes `{name}`"));
                }
            }
            Err(_) => {
                report.say(
                    at,
                    format!("volume `{name}` must be a secret, configMap or emptyDir"),
                );
            }
        }
    }
    volumes
}

fn named(volume: &mut Object<'_>, key: &'static str) -> Option<String> {
    volume.refuse(
        "items",
        "every key is a file of its name here: name the keys so",
    );
    volume.accept(&["defaultMode", "optional"]);
    volume.required_text(key).map(|(name, _)| name.to_owned())
}

fn mounts(
    container: &mut Object<'_>,
    volumes: &BTreeMap<&str, MountContent>,
    host: Host,
) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for node in container.list("volumeMounts") {
        let report = container.report;
        let Some(mut mount) = report.object(node, "volumeMounts[]") else {
            continue;
        };
        let name = mount.required_text("name");
        let path = mount.required_text("mountPath");
        mount.accept(&["readOnly"]);
        mount.refuse("subPath", "a volume is mounted whole here");
        if host == Host::Serving {
            mount.refuse("mountPropagation", &needs(GATED_PROPAGATION));
        }
        mount.finish();
        let (Some((name, name_at)), Some((path, path_at))) = (name, path) else {
            continue;
        };
        if !path.starts_with('/') {
            report.say(path_at, format!("mountPath `{path}` must be absolute"));
        }
        let Some(content) = volumes.get(name) else {
            let hint = did_you_mean(name, volumes.keys().copied());
            report.say(name_at, format!("there is no volume `{name}`{hint}"));
            continue;
        };
        mounts.push(Mount {
            path: path.to_owned(),
            content: content.clone(),
        });
    }
    mounts
}
