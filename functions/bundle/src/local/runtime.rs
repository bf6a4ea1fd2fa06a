//! Starting and stopping everything.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use database::{Connect, ConnectError, SystemDb};
use egress::{ClientError, ClusterEgress};
use host::{CtxError, Env, Function, GRACE, Mounted, Resources, ServeLimits, listen, serve};
use model::DatabaseRole;
use secrecy::SecretString;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker::{Brokers, Setup, Sinks, Stops, ingress_router};
use super::child::Child;
use super::clock::{Clock, machine};
use super::endpoint::{Endpoint, Runs};
use super::gateway;
use super::inner;
use super::manifests::{Container, Destination, Manifests, Place, Target};
use super::settings::{self, Here};

/// Connections of the brokers: one for each Broker's writer, one that settles, and a few for lanes that catch up.
const BROKER_CONNECTIONS_MAX: u32 = 8;
/// How long a sender waits for a connection before it is answered 503.
const BROKER_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// After everything else has stopped, for what is still to be recorded.
const RECORD_GRACE: Duration = Duration::from_secs(3);

/// The database under each of its roles.
#[derive(Debug, Clone)]
pub struct Databases {
    /// Secret `database-system`.
    pub system_url: SecretString,
    /// Secret `database-tenant`.
    pub tenant_url: SecretString,
    /// Secret `database-observer`.
    pub observer_url: SecretString,
    /// Secret `database-owner`.
    pub owner_url: SecretString,
}

/// What a runtime is made of.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// What to run and how it is joined.
    pub manifests: Manifests,
    /// The functions that manifests may name.
    pub functions: Vec<Function>,
    /// The database, migrated.
    pub databases: Databases,
    /// A file with the key under which secrets are sealed, in base64.
    pub master_key_file: PathBuf,
    /// Where files are kept: a folder or a URL.
    pub blobs_url: String,
    /// The folder below which runs of this machine have theirs.
    pub run_data: PathBuf,
    /// The gateway's port on 127.0.0.1 and, where there is one, on ::1; 0 takes a free one.
    pub port: u16,
    /// Functions or ContainerSources that run as child processes.
    pub isolate: Vec<String>,
    /// The program of child processes, called with the function's name; `None` is this very program.
    pub executable: Option<PathBuf>,
    /// More settings for every function; they win over the manifests'.
    pub settings: BTreeMap<String, String>,
}

/// Why the runtime cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A manifest runs something that this binary does not have.
    #[error("{place}: there is no function {function:?} in this binary; it has {known}")]
    NoFunction {
        /// The manifest.
        place: Place,
        /// What it names.
        function: String,
        /// What there is.
        known: String,
    },
    /// Something to isolate is not there.
    #[error(
        "{name:?} cannot be isolated: it is neither a function nor a ContainerSource of the manifests; there are {known}"
    )]
    NoIsolated {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A manifest takes a setting from something that this machine does not have.
    #[error(
        "the variable {variable} of {owner} comes from the key {key:?} of the {kind} {name:?}, which this machine has not; \
         it has the keys `url` of the Secrets database-system, database-tenant, database-observer, database-owner and blobs"
    )]
    Unknown {
        /// The manifest's name.
        owner: String,
        /// The variable.
        variable: String,
        /// Secret or ConfigMap.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key in it.
        key: String,
    },
    /// A function refused its settings.
    #[error("{owner} cannot start")]
    Function {
        /// The manifest's name.
        owner: String,
        /// Why.
        #[source]
        source: CtxError,
    },
    /// Functions share something that cannot be made.
    #[error("what functions share cannot be made")]
    Resources(#[source] CtxError),
    /// The brokers cannot have their HTTP client.
    #[error("the brokers' HTTP client cannot be made")]
    Client(#[from] ClientError),
    /// The database's URL.
    #[error("the database's URL cannot be used")]
    Database(#[from] ConnectError),
    /// A port is taken.
    #[error("could not listen on {address}; give another --port, or end the program that has it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The path of this program is not known, and child processes need it.
    #[error("the path of this program cannot be found, which --isolate needs")]
    Executable(#[source] std::io::Error),
}

/// Everything of the manifests, running.
#[derive(Debug)]
pub struct Runtime {
    gateway: SocketAddr,
    ingress: SocketAddr,
    mounted: Vec<Mounted>,
    /// Takes no more requests and ticks, ends the children.
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Starts no more deliveries.
    stop_lanes: CancellationToken,
    lane_tasks: TaskTracker,
    /// Writes no more rows.
    stop_writers: CancellationToken,
    writer_tasks: TaskTracker,
}

impl Runtime {
    /// Starts everything; when this returns, requests and events are taken. A database that does not answer is no reason
    /// not to start: until it does, senders are answered 503.
    ///
    /// # Errors
    /// When the manifests name what is not there, a function refuses its settings, or a port is taken.
    pub async fn start(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        check_isolated(&options)?;
        let manifests = &options.manifests;
        say_cluster_only(manifests);
        let (listeners, gateway) = bind_gateway(options.port)?;
        let ingress_listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let ingress = ingress_listener
            .local_addr()
            .map_err(|source| RuntimeError::Listen {
                address: gateway,
                source,
            })?;
        let inner_listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let inner = inner_listener
            .local_addr()
            .map_err(|source| RuntimeError::Listen {
                address: gateway,
                source,
            })?;
        let here = Here {
            gateway,
            inner,
            peer_header: gateway::new_peer_header(),
        };
        let resources = Resources::new().map_err(RuntimeError::Resources)?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut starting = Starting {
            options: &options,
            resources,
            mounted: Vec::new(),
            children: Vec::new(),
        };
        let mut endpoints = BTreeMap::new();
        for service in &manifests.services {
            let env = settings::resolve(&service.name, &service.container, &options, &here)?;
            let isolated = options.isolate.contains(&service.name);
            let runs = starting.run(
                &service.name,
                &service.place,
                &service.container,
                env,
                isolated,
            )?;
            let endpoint = Endpoint::new(service, &manifests.namespace, runs);
            endpoints.insert(service.name.clone(), endpoint);
        }
        for source in &manifests.container_sources {
            let mut env = settings::resolve(&source.name, &source.container, &options, &here)?
                .with(
                    "K_SINK",
                    sink_url(&source.sink, manifests, ingress, gateway),
                );
            if !source.extensions.is_empty() {
                let overrides = serde_json::json!({ "extensions": source.extensions });
                env = env.with("K_CE_OVERRIDES", overrides.to_string());
            }
            let isolated = [&source.name, &source.container.function]
                .into_iter()
                .any(|name| options.isolate.contains(name));
            starting.run(
                &source.name,
                &source.place,
                &source.container,
                env,
                isolated,
            )?;
        }
        let Starting {
            mounted,
            children,
            resources,
            ..
        } = starting;

        let store = Store::new(SystemDb::new(&Connect {
            url: options.databases.system_url.clone(),
            role: DatabaseRole::System,
            connections_max: BROKER_CONNECTIONS_MAX,
            acquire_timeout: BROKER_ACQUIRE_TIMEOUT,
        })?);
        let stops = Stops {
            lanes: CancellationToken::new(),
            writers: CancellationToken::new(),
            lane_tasks: TaskTracker::new(),
            writer_tasks: TaskTracker::new(),
        };
        let http = ClusterEgress::new()?;
        let now = machine();
        let brokers = Brokers::start(
            &Setup {
                manifests,
                endpoints: &endpoints,
                store,
                http: http.clone(),
                metrics: resources.metrics().clone(),
                now: now.clone(),
            },
            &stops,
        );
        // The ingress outlives the functions, whose relay publishes until it has stopped.
        let ingress_routes = ingress_router(Arc::clone(&brokers));
        let limits = ServeLimits::default();
        stops.writer_tasks.spawn(serve(
            ingress_listener,
            ingress_routes,
            limits,
            stops.writers.clone(),
        ));
        let sinks = Arc::new(Sinks {
            brokers,
            endpoints: endpoints.clone(),
            http,
            metrics: resources.metrics().clone(),
        });
        for child in children {
            tasks.spawn(child.supervise(stop.clone()));
        }
        for one in &mounted {
            one.start_background();
        }
        for source in &manifests.ping_sources {
            let clock = Clock {
                source: source.clone(),
                namespace: manifests.namespace.clone(),
                sink: sinks.resolve(&source.sink.target),
                sinks: Arc::clone(&sinks),
                now: now.clone(),
            };
            tasks.spawn(clock.run(stop.clone()));
        }
        let named = inner::named(manifests);
        let mut inner_endpoints = endpoints.clone();
        inner_endpoints.retain(|name, _| named.contains(name));
        let inner_routes = inner::router(inner_endpoints);
        tasks.spawn(serve(inner_listener, inner_routes, limits, stop.clone()));
        let routes: Router = gateway::router(endpoints, here.peer_header);
        for listener in listeners {
            tasks.spawn(serve(listener, routes.clone(), limits, stop.clone()));
        }
        tracing::info!(
            services = manifests.services.len(),
            brokers = manifests.brokers.len(),
            triggers = manifests.triggers.len(),
            clocks = manifests.ping_sources.len(),
            "the manifests of {} run; gateway on http://localhost:{}/",
            manifests.origin,
            gateway.port()
        );
        Ok(Self {
            gateway,
            ingress,
            mounted,
            stop,
            tasks,
            stop_lanes: stops.lanes,
            lane_tasks: stops.lane_tasks,
            stop_writers: stops.writers,
            writer_tasks: stops.writer_tasks,
        })
    }

    /// Where people and other systems send requests.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where events are posted, under `/{namespace}/{broker}`.
    #[must_use]
    pub fn broker_ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// Stops everything: no new requests, ticks and deliveries; streams end; what runs may finish within [`GRACE`]. Events
    /// that are not delivered stay in the database for the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        self.stop_lanes.cancel();
        let mut stopping = tokio::task::JoinSet::new();
        for one in &self.mounted {
            let ctx = one.ctx.clone();
            stopping.spawn(async move { ctx.stop(GRACE).await });
        }
        self.tasks.close();
        self.lane_tasks.close();
        let everything = async {
            while stopping.join_next().await.is_some() {}
            self.tasks.wait().await;
            self.lane_tasks.wait().await;
        };
        // The servers and children keep to GRACE themselves and then need a moment.
        if tokio::time::timeout(GRACE + RECORD_GRACE, everything)
            .await
            .is_err()
        {
            tracing::warn!("not everything ended in time; what is left is cut");
        }
        self.stop_writers.cancel();
        self.writer_tasks.close();
        if tokio::time::timeout(RECORD_GRACE, self.writer_tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "not everything was recorded in time; some deliveries will be made once more"
            );
        }
    }
}

impl Drop for Runtime {
    /// A runtime that is dropped without having been stopped leaves nothing running that it started.
    fn drop(&mut self) {
        self.stop.cancel();
        self.stop_lanes.cancel();
        self.stop_writers.cancel();
        for one in &self.mounted {
            one.ctx.stopping().cancel();
        }
    }
}

/// What has been started so far.
struct Starting<'a> {
    options: &'a RuntimeOptions,
    resources: Resources,
    mounted: Vec<Mounted>,
    children: Vec<Child>,
}

impl Starting<'_> {
    fn run(
        &mut self,
        owner: &str,
        place: &Place,
        container: &Container,
        env: Env,
        isolated: bool,
    ) -> Result<Runs, RuntimeError> {
        let functions = &self.options.functions;
        let Some(function) = functions
            .iter()
            .find(|function| function.name == container.function)
        else {
            return Err(RuntimeError::NoFunction {
                place: place.clone(),
                function: container.function.clone(),
                known: functions
                    .iter()
                    .map(|function| function.name)
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        };
        if isolated {
            let (address, listens) = watch::channel(None);
            let executable = match &self.options.executable {
                Some(executable) => executable.clone(),
                None => std::env::current_exe().map_err(RuntimeError::Executable)?,
            };
            self.children.push(Child {
                executable,
                function: function.name,
                owner: owner.to_owned(),
                env,
                address,
            });
            return Ok(Runs::Child(listens));
        }
        let mounted =
            function
                .mount(&env, &self.resources)
                .map_err(|source| RuntimeError::Function {
                    owner: owner.to_owned(),
                    source,
                })?;
        let router = mounted.router.clone();
        self.mounted.push(mounted);
        Ok(Runs::InProcess(router))
    }
}

fn check_isolated(options: &RuntimeOptions) -> Result<(), RuntimeError> {
    let sources = &options.manifests.container_sources;
    let known: Vec<&str> = options
        .manifests
        .services
        .iter()
        .map(|service| service.name.as_str())
        .chain(
            sources
                .iter()
                .flat_map(|it| [it.name.as_str(), it.container.function.as_str()]),
        )
        .collect();
    match options
        .isolate
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(name) => Err(RuntimeError::NoIsolated {
            name: name.clone(),
            known: known.join(", "),
        }),
    }
}

fn say_cluster_only(manifests: &Manifests) {
    let kinds = manifests
        .cluster_only
        .iter()
        .fold(BTreeMap::new(), |mut kinds, one| {
            *kinds.entry(one.kind.as_str()).or_insert(0_usize) += 1;
            kinds
        });
    if !kinds.is_empty() {
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, count)| format!("{kind} × {count}"))
            .collect();
        tracing::info!("only a cluster has a use for: {}", kinds.join(", "));
    }
}

/// The address that a sender in another process may use.
fn sink_url(
    sink: &Destination,
    manifests: &Manifests,
    ingress: SocketAddr,
    gateway: SocketAddr,
) -> String {
    match &sink.target {
        Target::Broker { name } => format!("http://{ingress}/{}/{name}", manifests.namespace),
        Target::Service { name, path } => format!("http://{gateway}/{name}{path}"),
        Target::Url(url) => url.to_string(),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, RuntimeError> {
    listen(address).map_err(|source| RuntimeError::Listen { address, source })
}

/// Listens on 127.0.0.1 and, because some resolvers answer `localhost` with it alone, on ::1 where the machine has it.
fn bind_gateway(port: u16) -> Result<(Vec<TcpListener>, SocketAddr), RuntimeError> {
    let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let first = bind(asked)?;
    let gateway = first.local_addr().map_err(|source| RuntimeError::Listen {
        address: asked,
        source,
    })?;
    let mut listeners = vec![first];
    match listen((Ipv6Addr::LOCALHOST, gateway.port()).into()) {
        Ok(second) => listeners.push(second),
        Err(error) => tracing::debug!("not listening on [::1]:{}: {error}", gateway.port()),
    }
    Ok((listeners, gateway))
}
