//! Everything that takes part: a server, a relay, workers, and what stands for the broker between them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use model::TaskPolicy;
use queue::NewJob;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio_util::task::AbortOnDropHandle;

use super::ledger::Ledger;
use super::process::Process;
use crate::ground::{Ground, Place};
use crate::load::Client;
use crate::rows::served::Served;

/// The task that the workers serve.
pub const TASK: &str = "bench-worker";
/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Wake-ups that nobody took are repeated after this time, as often as the Trigger says.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const REPEATS: usize = 2;

/// The cast.
pub struct Cast {
    pub ground: Ground,
    pub ledger: Ledger,
    pub relay: Process,
    pub workers: Vec<(Process, SocketAddr)>,
    /// Jobs that were acknowledged.
    pub added: BTreeSet<i64>,
    broker: Served,
    reached: Addresses,
    started: usize,
}

type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

impl Cast {
    /// All of it, with so many workers.
    pub async fn start(place: Place<'_>, workers: usize) -> anyhow::Result<Self> {
        let ground = place.ground().await?;
        let policy = TaskPolicy {
            attempts_max: 1000,
            attempt_time_max: Duration::from_secs(30 * 60),
            ..TaskPolicy::DEFAULT
        };
        queue::know_task(&mut ground.connection().await?, TASK, &policy).await?;
        let ledger = Ledger::new(ground.folder())?;
        let reached: Addresses = Arc::default();
        let broker = Served::start(
            Router::new()
                .fallback(post(deliver))
                .with_state((Arc::clone(&reached), Arc::default())),
        )
        .await?;
        let relay = relay(&ground, "work", broker.addr).await?;
        let mut cast = Self {
            ground,
            ledger,
            relay,
            workers: Vec::new(),
            added: BTreeSet::new(),
            broker,
            reached,
            started: 0,
        };
        for _ in 0..workers {
            cast.add_worker(None, &[]).await?;
        }
        Ok(cast)
    }

    /// One more worker, on the server or on a port that leads to it.
    pub async fn add_worker(
        &mut self,
        database_port: Option<u16>,
        more: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let port = free_port()?;
        let url = match database_port {
            None => self.ground.url().to_owned(),
            Some(port) => at_port(self.ground.url(), port)?,
        };
        let mut settings = vec![("DATABASE_URL", url), ("PORT", port.to_string())];
        settings.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        self.started += 1;
        let log = self
            .ground
            .folder()
            .join(format!("worker-{}.log", self.started));
        let worker = Process::start(TASK, None, &settings, &log, "serving on").await?;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        self.workers.push((worker, addr));
        self.reach();
        Ok(())
    }

    /// Lets wake-ups go to the workers that there are.
    pub fn reach(&self) {
        let addresses = self.workers.iter().map(|(_, addr)| *addr).collect();
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The relay once more.
    pub async fn restart_relay(&mut self) -> anyhow::Result<()> {
        self.relay = relay(&self.ground, "work", self.broker.addr).await?;
        Ok(())
    }

    /// Adds jobs that take so long.
    pub async fn add(&mut self, jobs: usize, time: Duration) -> anyhow::Result<Vec<i64>> {
        self.add_that(jobs, time, "done").await
    }

    /// The same, with how they end.
    pub async fn add_that(
        &mut self,
        jobs: usize,
        time: Duration,
        then: &str,
    ) -> anyhow::Result<Vec<i64>> {
        let mut connection = self.ground.system_connection().await?;
        let payload = self.payload(time, then);
        let mut ids = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            let job = NewJob::new(self.ground.tenant, TASK, &payload);
            ids.push(queue::enqueue(&mut connection, &job).await?.job().0);
        }
        self.added.extend(&ids);
        Ok(ids)
    }

    /// What a job is told.
    pub fn payload(&self, time: Duration, then: &str) -> Value {
        json!({
            "for_ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            "ledger": self.ledger.path(),
            "then": then,
        })
    }

    /// Waits until a statement yields this number; asks again while the server is away.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        statement: &'static str,
        wanted: impl Fn(i64) -> bool,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < within {
            if let Ok(count) = self.ground.count(statement).await {
                last = Some(count);
                if wanted(count) {
                    return Ok(begun.elapsed());
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("not within {} s: {what}; last {last:?}", within.as_secs())
    }

    /// Waits until nothing is left to do, and compares what was acknowledged with what was recorded: one outcome each, that
    /// of success. Returns how often a job was begun beyond the first time.
    pub async fn balance(&self, within: Duration) -> anyhow::Result<usize> {
        self.until(
            "all jobs have ended",
            within,
            "select count(*) from switchyard.jobs",
            |left| left == 0,
        )
        .await?;
        let recorded: Vec<(i64, i64, String)> = sqlx::query_as(
            "select id, count(*), min(state::text) from switchyard.jobs_archive where task = $1 group by id",
        )
        .bind(TASK)
        .fetch_all(&mut self.ground.connection().await?)
        .await?;
        for (id, outcomes, state) in &recorded {
            anyhow::ensure!(*outcomes == 1, "job {id} has {outcomes} outcomes");
            anyhow::ensure!(state == "succeeded", "job {id} is {state}");
        }
        let recorded: BTreeSet<i64> = recorded.into_iter().map(|(id, ..)| id).collect();
        let lost: Vec<&i64> = self.added.difference(&recorded).collect();
        anyhow::ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let begun = self.ledger.begun()?;
        let undone: Vec<&i64> = recorded
            .iter()
            .filter(|id| !begun.contains_key(id))
            .collect();
        anyhow::ensure!(undone.is_empty(), "recorded and never done: {undone:?}");
        Ok(begun.values().map(|times| times - 1).sum())
    }

    /// Ends everything.
    pub async fn leave(mut self) -> anyhow::Result<()> {
        self.relay.kill().await?;
        for (worker, _) in &mut self.workers {
            worker.kill().await?;
        }
        self.broker.stop().await?;
        self.ground.leave().await
    }
}

/// A relay that sends to this address.
pub async fn relay(ground: &Ground, broker: &str, to: SocketAddr) -> anyhow::Result<Process> {
    let settings = [
        ("DATABASE_URL", ground.url().to_owned()),
        ("RELAY_BROKER", broker.to_owned()),
        ("K_SINK", format!("http://{to}/")),
        ("PORT", free_port()?.to_string()),
    ];
    let log = ground
        .folder()
        .join(format!("relay-{broker}-{}.log", uuid::Uuid::new_v4()));
    Process::start("switchyard", Some("relay"), &settings, &log, "relaying").await
}

/// A port that nobody has.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// The same URL, on another port of this machine.
pub fn at_port(url: &str, port: u16) -> anyhow::Result<String> {
    let own = PgConnectOptions::from_str(url)?.get_port();
    let (from, to) = (format!(":{own}/"), format!(":{port}/"));
    anyhow::ensure!(url.contains(&from), "the URL names no port");
    Ok(url.replace(&from, &to))
}

/// The port of the server.
pub fn server_port(ground: &Ground) -> anyhow::Result<u16> {
    Ok(PgConnectOptions::from_str(ground.url())?.get_port())
}

/// Ends all sessions but one's own.
pub async fn end_sessions(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid() and backend_type = 'client backend'",
    )
    .execute(connection)
    .await?;
    Ok(())
}

type Broker = (Addresses, Arc<AtomicUsize>);

/// Takes a wake-up and gives it to a worker, another one each time, as Knative spreads requests over pods.
async fn deliver(
    State((reached, turn)): State<Broker>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the answer to a wake-up"
    )]
    tokio::spawn(async move {
        for _ in 0..=REPEATS {
            let addr = {
                let reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
                let at = turn.fetch_add(1, Ordering::Relaxed);
                (!reached.is_empty()).then(|| reached[at % reached.len()])
            };
            if let Some(addr) = addr
                && pass_on(addr, &headers, &body).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    });
    StatusCode::ACCEPTED
}

/// Sends a wake-up as it came; an answer that is no success is an error.
pub async fn pass_on(addr: SocketAddr, headers: &HeaderMap, body: &Bytes) -> anyhow::Result<()> {
    let status = send(addr, headers, body).await?.0;
    anyhow::ensure!(status.is_success(), "answered {status}");
    Ok(())
}

/// Sends a wake-up as it came, and returns what it was answered with.
pub async fn send(
    addr: SocketAddr,
    headers: &HeaderMap,
    body: &Bytes,
) -> anyhow::Result<(StatusCode, HeaderMap)> {
    let mut request = Request::post("/").body(Full::new(body.clone()))?;
    for (name, value) in headers {
        if name.as_str().starts_with("ce-") || name == "content-type" {
            request.headers_mut().append(name, value.clone());
        }
    }
    request
        .headers_mut()
        .insert("host", "127.0.0.1".parse().context("a header")?);
    let answer = Client::connect(addr).await?.send(request).await?;
    Ok((answer.status(), answer.headers().clone()))
}

/// Something that goes on beside, ended when it is dropped.
pub type Beside<T> = AbortOnDropHandle<T>;

/// Lets it go on beside.
pub fn beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Beside<T> {
    #[expect(clippy::disallowed_methods, reason = "it ends with its handle")]
    AbortOnDropHandle::new(tokio::spawn(work))
}
