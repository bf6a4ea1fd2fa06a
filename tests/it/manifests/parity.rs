//! Every function has its manifests, they fit it, and nothing else is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bundle::functions::FUNCTIONS;
use bundle::local::manifests::{EnvValue, KeyRef, Manifests, PingSource, Service, Target, Trigger};
use host::Function;
use model::DatabaseRole;
use serde::Deserialize;
use serde_json::Value;

use crate::outside;

mod tried;

/// For how long a drain claims jobs, in seconds.
const SLICE_SECS: u64 = 25;
/// What the host needs after that to finish, release and answer, in seconds.
const GRACE_SECS: u64 = 10;
/// Retries of a wake-up: the queue alone counts attempts.
const WAKE_UP_RETRIES_MAX: u32 = 2;

/// Who works on the jobs of all tasks that are other people's functions.
const EXTERNAL: &str = "task-http";

/// What other systems call, and only inside the cluster.
const INSIDE: &str = "callback";

/// What the test must know of a function.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: &'static str,
    kind: Kind,
    /// The Postgres role.
    role: &'static str,
    /// The longest that it works in one request, without slice and grace, in seconds.
    longest_secs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Answers requests from outside the cluster.
    Service,
    /// Publishes to the brokers.
    Relay,
    /// Takes wake-ups.
    Task,
    /// Runs by the clock.
    Reconciler,
    /// Takes the events of a broker.
    Subscriber { broker: &'static str },
}

const BROKERS: [&str; 3] = ["inbound", "observed", "work"];

/// How long a request of a Service may take that is not a delivery, in seconds.
const SERVICE_SECS: [(&str, u64); 3] = [("api", 30), ("portal", 30), ("site", 60)];
/// A delivery's body may take 30 s to arrive, and its transaction 10 s.
const DELIVERY_SECS: u64 = 40;
/// One transaction.
const EVENT_SECS: u64 = 10;
/// One batch of everything that is to be made true again.
const TICK_SECS: u64 = 15;

impl Listed {
    /// What a function says of itself.
    pub(crate) fn of(function: &Function) -> Self {
        let service = SERVICE_SECS.iter().find(|(name, _)| *name == function.name);
        let (kind, longest_secs) = match function.kind {
            host::Kind::Service => (
                Kind::Service,
                service.map_or(DELIVERY_SECS, |(_, secs)| *secs),
            ),
            host::Kind::Subscriber if function.role == DatabaseRole::Observer => {
                (Kind::Subscriber { broker: "observed" }, EVENT_SECS)
            }
            host::Kind::Subscriber => (Kind::Subscriber { broker: "inbound" }, EVENT_SECS),
            host::Kind::Task(policy) => (Kind::Task, policy.attempt_time_max.as_secs()),
            host::Kind::Reconciler => (Kind::Reconciler, TICK_SECS),
            host::Kind::Relay => (Kind::Relay, 0),
        };
        Self {
            name: function.name,
            kind,
            role: match function.role {
                DatabaseRole::System => "system",
                DatabaseRole::Tenant => "tenant",
                DatabaseRole::Observer => "observer",
            },
            longest_secs,
        }
    }
}

/// The list of this version.
pub(crate) fn listed() -> Vec<Listed> {
    FUNCTIONS.iter().map(Listed::of).collect()
}

/// The parts of a kustomization that decide what reaches a cluster.
#[derive(Deserialize)]
struct Kustomization {
    resources: Vec<String>,
}

/// Everything in which the manifests under a folder do not fit the list of functions.
pub(crate) fn findings(functions: &[Listed], folder: &Path) -> Vec<String> {
    let mut findings = unreachable_files(folder);
    findings.extend(unfit_access(folder).unwrap_or_else(|missing| vec![missing]));
    match Manifests::read(folder) {
        Err(refused) => findings.extend(refused.findings.iter().map(ToString::to_string)),
        Ok(manifests) => compare(functions, &manifests, &mut findings),
    }
    findings
}

/// A role for nobody, a binding of none, and an account that has a token and may do nothing, or may do something and has none.
fn unfit_access(folder: &Path) -> Result<Vec<String>, String> {
    let items = |name: &str| {
        let text = fs::read_to_string(folder.join("knative").join(name));
        let text = text.map_err(|error| format!("knative/{name}: {error}"))?;
        let list: Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
        Ok::<_, String>(list["items"].as_array().cloned().unwrap_or_default())
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named = |item: &Value| (text(&item["kind"]), text(&item["metadata"]["name"]));
    let access = items("cluster-access.yaml")?;
    let (bindings, roles): (Vec<_>, Vec<_>) =
        access.iter().partition(|item| item["roleRef"].is_object());
    let roles: BTreeSet<_> = roles.into_iter().map(named).collect();
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    let mut bound = BTreeSet::new();
    for binding in bindings {
        let role = &binding["roleRef"];
        let role = (text(&role["kind"]), text(&role["name"]));
        if !roles.contains(&role) || named(binding).1 != role.1 {
            findings.push(format!("{:?} binds {role:?}", named(binding)));
        }
        used.insert(role);
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            bound.insert(text(&subject["name"]));
        }
    }
    findings.extend(
        roles
            .difference(&used)
            .map(|role| format!("nobody has {role:?}")),
    );
    let with_token: BTreeSet<_> = items("accounts.yaml")?
        .iter()
        .filter(|account| account["automountServiceAccountToken"] == true)
        .map(|account| text(&account["metadata"]["name"]))
        .collect();
    let unfit = with_token.symmetric_difference(&bound);
    findings.extend(unfit.map(|account| format!("{account} has a token or rights, and not both")));
    Ok(findings)
}

/// Manifests that no kustomization names never reach a cluster, and names without a file break it.
fn unreachable_files(folder: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    for name in ["knative", "triggers"] {
        let folder = folder.join(name);
        let Ok(text) = fs::read_to_string(folder.join("kustomization.yaml")) else {
            findings.push(format!("{name} has no kustomization.yaml"));
            continue;
        };
        let kustomization: Kustomization = serde_saphyr::from_str(&text).expect("a kustomization");
        let mut named: BTreeSet<String> = kustomization.resources.into_iter().collect();
        if name == "knative" && !named.remove("../triggers") {
            findings.push("knative/kustomization.yaml does not name ../triggers".to_owned());
        }
        let entries = fs::read_dir(&folder).expect("the folder");
        let there = entries.map(|entry| entry.expect("an entry").file_name());
        let there = there.map(|name| name.into_string().expect("a name"));
        let there: BTreeSet<String> = there.filter(|name| name != "kustomization.yaml").collect();
        let difference = named.symmetric_difference(&there);
        findings.extend(difference.map(|file| format!("{name}/{file}: not both there and named")));
    }
    findings
}

fn compare(functions: &[Listed], manifests: &Manifests, findings: &mut Vec<String>) {
    let names = |wanted: &dyn Fn(Kind) -> bool| -> Vec<&str> {
        functions
            .iter()
            .filter(|listed| wanted(listed.kind))
            .map(|listed| listed.name)
            .collect()
    };
    let relays: Vec<String> = BROKERS
        .iter()
        .map(|broker| format!("relay-{broker}"))
        .collect();
    let relays = if names(&|kind| kind == Kind::Relay).is_empty() {
        &[]
    } else {
        &relays[..]
    };
    let mut accounts = names(&|_| true);
    accounts.push("migrate");
    let cluster_only = |kind: &str| -> Vec<&str> {
        let all = manifests.cluster_only.iter().filter(|it| it.kind == kind);
        all.map(|it| it.name.as_str()).collect()
    };
    let services: Vec<_> = manifests
        .services
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let sources: Vec<_> = manifests
        .container_sources
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let brokers: Vec<_> = manifests
        .brokers
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let triggers: Vec<_> = manifests
        .triggers
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let pings: Vec<_> = manifests
        .ping_sources
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let relays: Vec<&str> = relays.iter().map(String::as_str).collect();
    let triggered = |kind| matches!(kind, Kind::Task | Kind::Subscriber { .. });
    for (kind, wanted, there) in [
        ("Service", names(&|kind| kind != Kind::Relay), services),
        ("ContainerSource", relays, sources),
        ("Broker", BROKERS.to_vec(), brokers),
        ("Trigger", names(&triggered), triggers),
        ("PingSource", names(&|kind| kind == Kind::Reconciler), pings),
        ("ServiceAccount", accounts, cluster_only("ServiceAccount")),
        ("Job", vec!["migrate"], cluster_only("Job")),
        (
            "Namespace",
            vec![manifests.namespace.as_str()],
            cluster_only("Namespace"),
        ),
    ] {
        let wanted: BTreeSet<&str> = wanted.into_iter().collect();
        let there: BTreeSet<&str> = there.into_iter().collect();
        let missing = wanted
            .difference(&there)
            .map(|name| format!("{kind} {name} is missing"));
        findings.extend(missing);
        let extra = there
            .difference(&wanted)
            .map(|name| format!("{kind} {name} is for nothing"));
        findings.extend(extra);
    }
    for listed in functions {
        compare_function(listed, manifests, findings);
    }
}

fn compare_function(listed: &Listed, manifests: &Manifests, findings: &mut Vec<String>) {
    let name = listed.name;
    let service = manifests
        .services
        .iter()
        .find(|service| service.name == name);
    let trigger = manifests
        .triggers
        .iter()
        .find(|trigger| trigger.name == name);
    let ping = manifests
        .ping_sources
        .iter()
        .find(|source| source.name == name);
    let mut say = |message: String| findings.push(format!("{name}: {message}"));
    if listed.kind == Kind::Relay {
        return compare_relay(listed, manifests, &mut say);
    }
    let slice = if listed.kind == Kind::Task {
        SLICE_SECS
    } else {
        0
    };
    let needed = Duration::from_secs(slice + listed.longest_secs + GRACE_SECS);
    if let Some(service) = service {
        compare_service(listed, service, needed, &mut say);
    }
    match listed.kind {
        Kind::Service | Kind::Relay => {}
        Kind::Reconciler => {
            if let Some(ping) = ping {
                compare_ping(listed, ping, &mut say);
            }
        }
        Kind::Task => {
            if let Some(trigger) = trigger {
                compare_trigger(listed, "work", trigger, needed, &mut say);
                compare_wake_up(listed, trigger, manifests, &mut say);
            }
        }
        Kind::Subscriber { broker } => {
            if let Some(trigger) = trigger {
                compare_trigger(listed, broker, trigger, needed, &mut say);
            }
        }
    }
    let roles: &[&str] = match listed.kind {
        Kind::Service => &["system", "tenant"],
        // What listens to `observed` must not be able to start anything.
        Kind::Subscriber { broker: "observed" } => &["observer"],
        Kind::Relay | Kind::Task | Kind::Reconciler | Kind::Subscriber { .. } => &["system"],
    };
    if !roles.contains(&listed.role) {
        say(format!(
            "the role {} is not for a {:?}",
            listed.role, listed.kind
        ));
    }
}

fn compare_service(
    listed: &Listed,
    service: &Service,
    needed: Duration,
    say: &mut dyn FnMut(String),
) {
    compare_role(listed, &service.container.env, say);
    if service.service_account.as_deref() != Some(listed.name) {
        say("the service account is not its own".to_owned());
    }
    if service.timeout < needed {
        say(format!(
            "timeoutSeconds is {:?}, but it needs {needed:?}",
            service.timeout
        ));
    }
    let from_outside = listed.kind == Kind::Service && listed.name != INSIDE;
    if service.cluster_local == from_outside {
        say("visibility: only what is called from outside may be".to_owned());
    }
}

fn compare_role(
    listed: &Listed,
    env: &[bundle::local::manifests::EnvVar],
    say: &mut dyn FnMut(String),
) {
    let expected = EnvValue::Secret(KeyRef {
        name: format!("database-{}", listed.role),
        key: "url".to_owned(),
        optional: false,
    });
    let url = env.iter().find(|variable| variable.name == "DATABASE_URL");
    if url.is_none_or(|url| url.value != expected) {
        say(format!(
            "DATABASE_URL is not that of the role {}",
            listed.role
        ));
    }
}

fn compare_relay(listed: &Listed, manifests: &Manifests, say: &mut dyn FnMut(String)) {
    for source in &manifests.container_sources {
        let Some(broker) = source.name.strip_prefix("relay-") else {
            continue;
        };
        if source.container.function != listed.name {
            say(format!(
                "{} runs {}",
                source.name, source.container.function
            ));
        }
        if source.service_account.as_deref() != Some(listed.name) {
            say(format!(
                "{} has the service account of something else",
                source.name
            ));
        }
        if source.sink.target
            != (Target::Broker {
                name: broker.to_owned(),
            })
        {
            say(format!("{} does not send to its broker", source.name));
        }
        let names = source
            .container
            .env
            .iter()
            .find(|variable| variable.name == "RELAY_BROKER");
        if names.is_none_or(|names| names.value != EnvValue::Literal(broker.to_owned())) {
            say(format!(
                "{} does not read the events of its broker",
                source.name
            ));
        }
        compare_role(listed, &source.container.env, say);
    }
}

fn own_service(name: &str) -> Target {
    Target::Service {
        name: name.to_owned(),
        path: "/".to_owned(),
    }
}

fn compare_ping(listed: &Listed, ping: &PingSource, say: &mut dyn FnMut(String)) {
    if ping.sink.target != own_service(listed.name) {
        say("its PingSource does not send to it".to_owned());
    }
}

fn compare_trigger(
    listed: &Listed,
    broker: &str,
    trigger: &Trigger,
    needed: Duration,
    say: &mut dyn FnMut(String),
) {
    if trigger.broker != broker {
        say(format!(
            "its Trigger listens to {}, not to {broker}",
            trigger.broker
        ));
    }
    if trigger.subscriber.target != own_service(listed.name) {
        say("its Trigger does not deliver to it".to_owned());
    }
    match trigger
        .delivery
        .as_ref()
        .and_then(|delivery| delivery.timeout)
    {
        Some(timeout) if timeout >= needed => {}
        timeout => say(format!(
            "delivery.timeout is {timeout:?}, but it needs {needed:?}"
        )),
    }
}

fn compare_wake_up(
    listed: &Listed,
    trigger: &Trigger,
    manifests: &Manifests,
    say: &mut dyn FnMut(String),
) {
    let attributes = trigger
        .attributes
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    // By whose jobs it is about and nothing else: on `work` there are wake-ups and cancels, and both are for the task.
    let expected = if listed.name == EXTERNAL {
        ("executor", "external")
    } else {
        ("task", listed.name)
    };
    if !attributes.eq([expected]) {
        say(format!("its Trigger filters by {:?}", trigger.attributes));
    }
    let delivery = trigger.delivery.clone().unwrap_or_default();
    if delivery
        .retry
        .is_none_or(|retry| retry > WAKE_UP_RETRIES_MAX)
    {
        say(format!("a wake-up is retried {:?} times", delivery.retry));
    }
    let work = manifests
        .brokers
        .iter()
        .find(|broker| broker.name == "work");
    let fallback = work.and_then(|broker| broker.delivery.as_ref());
    let fallback = fallback.and_then(|delivery| delivery.dead_letter_sink.as_ref());
    if delivery.dead_letter_sink.is_some() || fallback.is_some() {
        say("a wake-up has a dead letter sink".to_owned());
    }
}

#[test]
fn manifests_and_functions_fit() {
    assert_eq!(findings(&listed(), &outside::root()), [""; 0]);
}
