//! A small installation: Postgres, a relay, reconcilers, workers, and somebody who adds jobs.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use database::{Connect, SystemDb};
use embedded_postgres::{Durability, Options, Server};
use host::{Clock, Env, Function, Resources, ServeLimits};
use model::{DatabaseRole, JobId, Role, TenantId};
use queue::Queue;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use store::Keyring;
use tempfile::TempDir;
use testkit::Proxy;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, client};
use crate::feeder::{Acknowledged, Feeder};
use crate::ledger::{Books, Ledger, Outcome};
use crate::process::{LOOK_EVERY, Process};
use crate::task::{Act, FUNCTION, POLICY};
use crate::{Setup, Times};

/// The file with the key that secrets are sealed with.
const MASTER_KEY: &str = "master-key";
/// How often schedules are looked at.
pub(crate) const SCHEDULES_EVERY: Duration = Duration::from_secs(1);
/// How long something is asked of a database that may be away.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The installation. What was started ends with it.
pub struct Cluster {
    /// How long everything takes.
    pub times: Times,
    /// The superuser's connections.
    pub rows: PgPool,
    /// Whose jobs they are.
    pub tenant: TenantId,
    /// What is done.
    pub ledger: Ledger,
    /// Those who work.
    pub workers: Vec<Process>,
    /// What secrets are sealed with.
    pub(crate) keyring: Keyring,
    setup: Setup,
    http: reqwest::Client,
    relay: Option<Process>,
    board: Board,
    acknowledged: Acknowledged,
    reconcilers: Vec<Process>,
    ticks: Vec<JoinHandle<()>>,
    started: usize,
    folder: TempDir,
    server: Option<Server>,
}

impl Cluster {
    /// An installation with so many workers.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn start(setup: &Setup, workers: usize) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("switchyard-chaos-")
            .tempdir()
            .expect("a folder");
        // Postgres does not run as root, and must be able to pass.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
        let data_dir = folder.path().join("data");
        let database = testkit::data_folder(&data_dir).await;
        let server = Server::start(Options {
            data_dir: &data_dir,
            path: &setup.path,
            database: &database,
            roles: &[],
            durability: Durability::On,
            progress: &|_| {},
        })
        .await
        .expect("a server");
        let rows = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(ANSWER_WITHIN)
            .connect_lazy(server.superuser_url())
            .expect("a URL");
        let mut owner = rows.acquire().await.expect("a connection");
        let (tenant, _) = store::people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
            .await
            .expect("a tenant");
        queue::know_task(&mut owner, FUNCTION.name, &POLICY)
            .await
            .expect("a task");
        drop(owner);
        let key = Keyring::generate();
        std::fs::write(folder.path().join(MASTER_KEY), key.expose_secret()).expect("our folder");
        let mut cluster = Self {
            times: setup.times,
            http: client(),
            rows,
            tenant,
            ledger: Ledger {
                path: folder.path().join("ledger"),
            },
            workers: Vec::new(),
            keyring: Keyring::from_base64(&key).expect("it was just made"),
            setup: setup.clone(),
            relay: None,
            board: Board::start().await,
            acknowledged: Arc::default(),
            reconcilers: Vec::new(),
            ticks: Vec::new(),
            started: 0,
            folder,
            server: Some(server),
        };
        cluster.start_relay().await;
        cluster.start_reconciler("cron-reap").await;
        for _ in 0..workers {
            cluster.add_worker().await;
        }
        cluster
    }

    /// The superuser's URL of the database.
    ///
    /// # Panics
    /// When the server is gone.
    #[must_use]
    pub fn url(&self) -> String {
        let server = self.server.as_ref().expect("it runs");
        server.superuser_url().to_owned()
    }

    /// The database's URL through a proxy before it.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn proxy(&self) -> (Proxy, String) {
        let port = self.server.as_ref().expect("it runs").port();
        let proxy = Proxy::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let through = format!(":{}/", proxy.address().port());
        (proxy, self.url().replace(&format!(":{port}/"), &through))
    }

    /// What every function is told.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let seconds = |time: Duration| time.as_secs().to_string();
        let times = self.times;
        let key = self.folder.path().join(MASTER_KEY);
        vec![
            ("PATH", self.setup.path.clone()),
            ("DATABASE_URL", self.url()),
            ("MASTER_KEY_FILE", key.display().to_string()),
            (
                "BLOBS_URL",
                self.folder.path().join("blobs").display().to_string(),
            ),
            ("LEASE_SECS", seconds(times.lease)),
            ("HEARTBEAT_SECS", seconds(times.heartbeat)),
            ("SLICE_SECS", seconds(times.slice)),
            ("CHAOS_LEDGER", self.ledger.path.display().to_string()),
        ]
    }

    /// A function as a process of its own, which ends with what is returned.
    pub async fn process(&mut self, function: &str, settings: &[(&str, String)]) -> Process {
        self.started += 1;
        let log = self
            .folder
            .path()
            .join(format!("{function}-{}.log", self.started));
        let mut all: Vec<(&str, String)> = self.settings();
        all.extend(settings.iter().cloned());
        Process::start(&self.setup.program, function, log, &all).await
    }

    /// A function in this process, on a machine whose clock is wrong by so much. Returns where it listens; it ends with the
    /// cluster.
    ///
    /// # Panics
    /// When it cannot be served.
    pub async fn on_a_wrong_clock(&mut self, function: &Function, wrong: TimeDelta) -> SocketAddr {
        let now: DateTime<Utc> = sqlx::query_scalar("select now()")
            .fetch_one(&self.rows)
            .await
            .expect("the database answers");
        let env = self
            .settings()
            .into_iter()
            .fold(Env::default(), |env, (name, value)| env.with(name, value));
        let resources = Resources::new().expect("an HTTP client");
        let mounted = function
            .mount(&env, &resources.with_clock(Clock::Fixed(now + wrong)))
            .expect("good settings");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let serving = host::serve(
            listener,
            mounted.router,
            ServeLimits::default(),
            CancellationToken::new(),
        );
        #[expect(clippy::disallowed_methods, reason = "ended with the cluster")]
        self.ticks.push(tokio::spawn(serving));
        address
    }

    /// Brings wake-ups to these.
    pub fn lead_all_to(&self, workers: Vec<SocketAddr>) {
        self.board.lead_to(workers);
    }

    /// One more worker. Returns its place.
    pub async fn add_worker(&mut self) -> usize {
        self.add_worker_with(&[]).await
    }

    /// The same, with settings of its own.
    pub async fn add_worker_with(&mut self, settings: &[(&str, String)]) -> usize {
        let worker = self.process(FUNCTION.name, settings).await;
        self.workers.push(worker);
        self.lead();
        self.workers.len() - 1
    }

    /// Starts a new worker for each that has ended, as Knative does.
    pub async fn revive(&mut self) {
        for place in 0..self.workers.len() {
            if self.workers[place].ended().is_some() {
                self.workers[place] = self.process(FUNCTION.name, &[]).await;
                self.lead();
            }
        }
    }

    /// Brings wake-ups to those workers that are there.
    pub fn lead(&mut self) {
        let there = self
            .workers
            .iter_mut()
            .filter_map(|worker| worker.ended().is_none().then(|| worker.address()));
        self.board.lead_to(there.collect());
    }

    /// Brings wake-ups to this one alone.
    pub fn lead_to(&self, worker: usize) {
        self.board.lead_to(vec![self.workers[worker].address()]);
    }

    /// Brings wake-ups to all but this one.
    pub fn lead_past(&self, worker: usize) {
        let others = self.workers.iter().enumerate();
        let others = others.filter(|(place, _)| *place != worker);
        self.board
            .lead_to(others.map(|(_, other)| other.address()).collect());
    }

    /// A relay for wake-ups and cancels.
    pub async fn start_relay(&mut self) {
        let url = self.url();
        self.start_relay_with(url).await;
    }

    /// The same in its place, on this way to the database.
    pub async fn start_relay_with(&mut self, database_url: String) {
        drop(self.relay.take());
        let sink = self.board.url();
        let settings = [
            ("RELAY_BROKER", "work".to_owned()),
            ("K_SINK", sink),
            ("DATABASE_URL", database_url),
        ];
        self.relay = Some(self.process("relay", &settings).await);
    }

    /// A second one beside it, which ends with what is returned.
    pub async fn another_relay(&mut self) -> Process {
        let sink = self.board.url();
        self.relay_of("work", &sink).await
    }

    /// A relay of another broker's, to this address; it ends with what is returned.
    pub async fn relay_of(&mut self, broker: &str, sink: &str) -> Process {
        let settings = [
            ("RELAY_BROKER", broker.to_owned()),
            ("K_SINK", sink.to_owned()),
        ];
        self.process("relay", &settings).await
    }

    /// `kill -9` of the relay and of all reconcilers.
    pub fn kill_relay_and_reconcilers(&mut self) {
        drop(self.relay.take());
        for tick in self.ticks.drain(..) {
            tick.abort();
        }
        self.reconcilers.clear();
    }

    /// One more process of a reconciler, with ticks of its own.
    pub async fn start_reconciler(&mut self, function: &str) {
        let process = self.process(function, &[]).await;
        self.tick(process.address(), self.times.tick);
        self.reconcilers.push(process);
    }

    /// The same in a second of its own, as schedules have it.
    pub async fn start_scheduler(&mut self) {
        let process = self.process("cron-schedules", &[]).await;
        self.tick(process.address(), SCHEDULES_EVERY);
        self.reconcilers.push(process);
    }

    /// Ticks to an address.
    pub fn tick(&mut self, address: SocketAddr, every: Duration) {
        let http = self.http.clone();
        #[expect(clippy::disallowed_methods, reason = "ended with the cluster")]
        self.ticks.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let tick = http
                    .post(format!("http://{address}/"))
                    .header("ce-specversion", "1.0")
                    .header("ce-id", uuid::Uuid::new_v4().to_string())
                    .header("ce-source", "/test")
                    .header("ce-type", "dev.knative.sources.ping");
                // A tick that is lost is no loss.
                tick.send().await.ok();
            }
        }));
    }

    /// Processes of this program that have ended by themselves.
    pub fn deaths(&mut self) -> usize {
        let all = self
            .workers
            .iter_mut()
            .chain(self.relay.iter_mut())
            .chain(self.reconcilers.iter_mut());
        all.filter_map(Process::ended).count()
    }

    /// How wake-ups were answered.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, usize> {
        self.board.answers()
    }

    /// Sends a wake-up to a worker; what it is answered with, and after how long.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn wake(&self, worker: usize) -> (StatusCode, bool, Duration) {
        let asked = Instant::now();
        let address = self.workers[worker].address();
        let response = self
            .http
            .post(format!("http://{address}/"))
            .header("ce-specversion", "1.0")
            .header("ce-id", uuid::Uuid::new_v4().to_string())
            .header("ce-source", "/test")
            .header("ce-type", "dev.switchyard.job.queued.v1")
            .header("content-type", "application/json")
            .body(serde_json::json!({"task": FUNCTION.name}).to_string())
            .send()
            .await
            .expect("it answers");
        let later = response.headers().contains_key("retry-after");
        (response.status(), later, asked.elapsed())
    }

    /// Whether a worker says that it is ready.
    pub async fn is_ready(&self, worker: usize) -> bool {
        let address = self.workers[worker].address();
        let asked = self.http.get(format!("http://{address}/readyz")).send();
        asked
            .await
            .is_ok_and(|response| response.status().is_success())
    }

    /// The queue as functions have it.
    #[must_use]
    pub fn queue(&self) -> Queue {
        let system = SystemDb::new(&Connect {
            url: self.url().into(),
            role: DatabaseRole::System,
            connections_max: 2,
            acquire_timeout: ANSWER_WITHIN,
        });
        Queue::new(system.expect("a URL"))
    }

    /// Adds a job; returns when that is acknowledged, however long the database is away.
    pub async fn add(&self, act: Act) -> JobId {
        self.feeder().add(self.tenant, act, None).await
    }

    /// The same, with a number of tries of its own and for another tenant.
    pub async fn add_for(&self, tenant: TenantId, act: Act, attempts_max: i32) -> JobId {
        self.feeder().add(tenant, act, Some(attempts_max)).await
    }

    /// Somebody who adds jobs.
    #[must_use]
    pub fn feeder(&self) -> Feeder {
        Feeder {
            rows: self.rows.clone(),
            tenant: self.tenant,
            acknowledged: Arc::clone(&self.acknowledged),
        }
    }

    /// One more tenant.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn another_tenant(&self, name: &str) -> TenantId {
        let mut owner = self.rows.acquire().await.expect("a connection");
        let member = store::people::ensure_member(&mut owner, name, "Ann", Role::Admin).await;
        member.expect("a tenant").0
    }

    /// Lets an attempt take no longer than this.
    pub async fn attempts_take(&self, time_max: Duration) {
        self.execute(&format!(
            "update switchyard.tasks set attempt_time_max = make_interval(secs => {}) where name = '{}'",
            time_max.as_secs_f64(),
            FUNCTION.name
        ))
        .await;
    }

    /// Ends all connections to the database but our own.
    pub async fn end_backends(&self) {
        // It may meet one that ends by itself, or the server's own end.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .execute(&self.rows)
        .await
        .ok();
    }

    /// Ends the server: `fast` as an operator does, else as a crash would. It is started again at once.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn end_server(&self, fast: bool) {
        let server = self.server.as_ref().expect("it runs");
        let pid = Pid::from_raw(server.pid()).expect("it has one");
        let signal = if fast { Signal::INT } else { Signal::QUIT };
        kill_process(pid, signal).expect("our own server");
    }

    /// Something that the operator's database answers sooner or later.
    ///
    /// # Panics
    /// When it does not.
    pub async fn execute(&self, sql: &str) {
        database::answered(|| async {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&self.rows)
                .await
        })
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// A number, as SQL counts it.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn count(&self, sql: &str) -> i64 {
        database::answered(|| async {
            sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
                .fetch_one(&self.rows)
                .await
        })
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Looks until something is so.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub async fn until<F>(&self, what: &str, limit: Duration, mut is_so: impl FnMut() -> F)
    where
        F: Future<Output = bool>,
    {
        let end = Instant::now() + limit;
        while !is_so().await {
            assert!(
                Instant::now() < end,
                "after {limit:?} it is still not so: {what}\n{}",
                self.last_words()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until all jobs have ended.
    pub async fn quiet(&self, limit: Duration) {
        self.until("all jobs have ended", limit, || async {
            self.count("select count(*) from switchyard.jobs").await == 0
        })
        .await;
    }

    /// Everything that is compared, as it is now.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn books(&self) -> Books {
        let open = database::answered(|| async {
            sqlx::query_scalar("select id from switchyard.jobs")
                .fetch_all(&self.rows)
                .await
        });
        let outcomes = database::answered(|| async {
            sqlx::query_as("select id, state::text, epoch, attempts from switchyard.jobs_archive")
                .fetch_all(&self.rows)
                .await
        });
        let outcomes: Vec<(i64, String, i64, i32)> = outcomes.await.expect("an answer");
        let acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Books {
            acknowledged,
            open: open.await.expect("an answer"),
            outcomes: outcomes
                .into_iter()
                .map(|(job, state, epoch, attempts)| Outcome {
                    job,
                    state,
                    epoch,
                    attempts,
                })
                .collect(),
            effects: self.ledger.effects(),
        }
    }

    /// Fails unless the books balance; returns them.
    ///
    /// # Panics
    /// When they do not.
    pub async fn balance(&self) -> Books {
        let books = self.books().await;
        let findings = books.findings(true);
        assert!(
            findings.is_empty(),
            "the books do not balance: {findings:#?}\n{}",
            self.last_words()
        );
        books
    }

    fn last_words(&self) -> String {
        let mut words = String::new();
        for process in self.workers.iter().chain(&self.relay) {
            let said = process.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(8)..].join("\n");
            words.push_str(&format!("process {}:\n{last}\n", process.id()));
        }
        words
    }

    /// Ends everything.
    ///
    /// # Panics
    /// When the server does not end.
    pub async fn end(mut self) {
        self.workers.clear();
        self.kill_relay_and_reconcilers();
        self.rows.close().await;
        if let Some(server) = self.server.take() {
            server.stop().await.expect("the server ends");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for tick in &self.ticks {
            tick.abort();
        }
    }
}
