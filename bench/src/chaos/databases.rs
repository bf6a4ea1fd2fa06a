//! Harm to the database and to the way there: 5 to 9 and 11 of the table.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::Full;
use model::TenantId;
use queue::NewJob;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::cast::{self, Beside, Cast, TASK, beside};
use super::process::Process;
use super::proxy::Proxy;
use crate::ground::Place;
use crate::load::Client;
use crate::push::Push;
use crate::report::Figure;
use crate::stats::{Samples, ms};

const LEASE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const RUNNING: &str = "select count(*) from switchyard.jobs where state = 'running'";

/// Somebody who adds jobs at a steady pace and tries again when the database is away.
struct Offering {
    stop: Arc<AtomicBool>,
    added: Beside<anyhow::Result<BTreeSet<i64>>>,
}

impl Offering {
    fn start(cast: &Cast, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, tenant) = (cast.ground.url().to_owned(), cast.ground.tenant);
        let payload = cast.payload(Duration::ZERO, "done");
        let stopped = Arc::clone(&stop);
        Self {
            stop,
            added: beside(async move { offer(&url, tenant, &payload, per_second, &stopped).await }),
        }
    }

    /// The jobs that were acknowledged.
    async fn end(self) -> anyhow::Result<BTreeSet<i64>> {
        self.stop.store(true, Ordering::Relaxed);
        self.added.await?
    }
}

async fn offer(
    url: &str,
    tenant: TenantId,
    payload: &Value,
    per_second: u32,
    stop: &AtomicBool,
) -> anyhow::Result<BTreeSet<i64>> {
    let options = PgConnectOptions::from_str(url)?.options([("role", "switchyard_system")]);
    let mut connection: Option<PgConnection> = None;
    let mut added = BTreeSet::new();
    let mut clock = tokio::time::interval(Duration::from_secs(1) / per_second);
    while !stop.load(Ordering::Relaxed) {
        clock.tick().await;
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => options.connect().await,
        };
        // What was not acknowledged may be there or not: nobody counts on it.
        if let Ok(mut open) = open
            && let Ok(job) = queue::enqueue(&mut open, &NewJob::new(tenant, TASK, payload)).await
        {
            added.insert(job.job().0);
            connection = Some(open);
        }
    }
    Ok(added)
}

/// 5: all sessions are ended every 2 s for 60 s.
pub async fn end_sessions(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    const TIME: Duration = Duration::from_secs(60);
    let mut cast = Cast::start(place, 2).await?;
    let webhook = free_addr()?;
    let settings = [
        ("DATABASE_URL", cast.ground.url().to_owned()),
        (
            "MASTER_KEY_FILE",
            cast.ground.master_key_file().display().to_string(),
        ),
        ("PORT", webhook.port().to_string()),
    ];
    let log = cast.ground.folder().join("webhook.log");
    let mut sender = Process::start(
        "switchyard",
        Some("webhook-github"),
        &settings,
        &log,
        "serving on",
    )
    .await?;
    let offering = Offering::start(&cast, 200);
    let (stop, path) = (
        Arc::new(AtomicBool::new(false)),
        format!("/{}", cast.ground.trigger),
    );
    let stopped = Arc::clone(&stop);
    let pushing = beside(async move { push(webhook, &path, &stopped).await });
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cast::end_sessions(&mut cast.ground.connection().await?).await?;
    }
    cast.added.extend(offering.end().await?);
    stop.store(true, Ordering::Relaxed);
    let (answered, refused) = pushing.await??;
    let again = cast.balance(LONG * 2).await?;
    let stored = cast
        .ground
        .count("select count(*) from switchyard.deliveries where verdict = 'accepted'")
        .await?;
    sender.kill().await?;
    let jobs = cast.added.len();
    cast.leave().await?;
    anyhow::ensure!(
        usize::try_from(stored)? >= answered.count(),
        "{} pushes were acknowledged and {stored} are there",
        answered.count()
    );
    Ok(vec![
        Figure::at_most("chaos", "5: pushes that were not answered 202", refused as f64, 0.0)
            .showing(format!("{refused} of {}", answered.count() + refused), "-")
            .noting(format!(
                "all sessions ended every 2 s for {} s, beside {jobs} jobs at 200 a second: none was lost, each has one \
                 outcome, {again} were begun again",
                TIME.as_secs()
            )),
        Figure::at_most(
            "chaos",
            "5: a push meanwhile, p99, s",
            answered.percentile(99.0).as_secs_f64(),
            5.0,
        )
        .showing(ms(answered.percentile(99.0)), "-"),
    ])
}

/// Pushes, ten a second: how long those took that were answered 202, and how many were not.
async fn push(addr: SocketAddr, path: &str, stop: &AtomicBool) -> anyhow::Result<(Samples, usize)> {
    let push = Push::new()?;
    let (mut answered, mut refused) = (Vec::new(), 0);
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    while !stop.load(Ordering::Relaxed) {
        clock.tick().await;
        let asked = Instant::now();
        match Client::connect(addr).await?.send(push.request(path)).await {
            Ok(answer) if answer.status() == 202 => answered.push(asked.elapsed()),
            _ => refused += 1,
        }
    }
    Ok((Samples::new(answered)?, refused))
}

/// 6: the server is restarted, properly (`fast`) and by a crash (`immediate`).
pub async fn restart(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (signal, what) in [
        (
            Signal::INT,
            "6: fast restart → the next job is done, s after the server is back",
        ),
        (
            Signal::QUIT,
            "6: crash restart → the next job is done, s after the server is back",
        ),
    ] {
        let mut cast = Cast::start(place, 2).await?;
        let offering = Offering::start(&cast, 100);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let file = cast.ground.folder().join("postgres/postmaster.pid");
        let pid = std::fs::read_to_string(file)?;
        let pid = pid.lines().next().context("it has an id")?.parse()?;
        kill_process(Pid::from_raw(pid).context("a process has an id")?, signal)?;
        // Until it is gone, it may answer.
        let gone = Instant::now();
        while cast.ground.connection().await.is_ok() {
            anyhow::ensure!(gone.elapsed() < LEASE, "the server does not go away");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let gone = Instant::now();
        while cast.ground.connection().await.is_err() {
            anyhow::ensure!(gone.elapsed() < LONG, "the server does not come back");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let back = next_end(&cast).await?;
        for (worker, _) in &mut cast.workers {
            anyhow::ensure!(!worker.has_ended()?, "a worker has ended");
        }
        anyhow::ensure!(!cast.relay.has_ended()?, "the relay has ended");
        cast.added.extend(offering.end().await?);
        let again = cast.balance(LONG).await?;
        let jobs = cast.added.len();
        cast.leave().await?;
        figures.push(
            Figure::at_most("chaos", what, back.as_secs_f64(), 10.0)
                .showing(ms(back), "-")
                .noting(format!(
                    "{jobs} jobs at 100 a second: none that was acknowledged was lost, each has one outcome, {again} were \
                     begun again; no process had to be started again"
                )),
        );
    }
    Ok(figures)
}

/// How long until a job ends that ends from now on.
async fn next_end(cast: &Cast) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let ends = || -> anyhow::Result<usize> {
        let marks = cast.ledger.marks()?;
        Ok(marks.iter().filter(|mark| mark.what == "end").count())
    };
    let before = ends()?;
    while ends()? == before {
        anyhow::ensure!(begun.elapsed() < LONG, "nothing is done any more");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(begun.elapsed())
}

/// 7: the server refuses to write for a while, its connections stay.
pub async fn read_only(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut cast = Cast::start(place, 2).await?;
    let offering = Offering::start(&cast, 100);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut owner = cast.ground.connection().await?;
    for statement in [
        "set default_transaction_read_only = off",
        "alter system set default_transaction_read_only = on",
        "select pg_reload_conf()",
    ] {
        sqlx::raw_sql(statement).execute(&mut owner).await?;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    for statement in [
        "alter system reset default_transaction_read_only",
        "select pg_reload_conf()",
    ] {
        sqlx::raw_sql(statement).execute(&mut owner).await?;
    }
    let back = next_end(&cast).await?;
    cast.added.extend(offering.end().await?);
    let again = cast.balance(LONG).await?;
    let jobs = cast.added.len();
    cast.leave().await?;
    Ok(vec![
        Figure::at_most(
            "chaos",
            "7: read-only for 20 s (25006) → the next job is done, s after it takes writes",
            back.as_secs_f64(),
            10.0,
        )
        .showing(ms(back), "-")
        .noting(format!(
            "{jobs} jobs at 100 a second: none was lost, each has one outcome, {again} were begun again"
        )),
    ])
}

/// 8: all connections of a worker wait for a lock.
pub async fn pool_exhausted(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    const ASKED: usize = 40;
    let mut cast = Cast::start(place, 0).await?;
    cast.add_worker(None, &[("DATABASE_POOL_MAX", "2")]).await?;
    let addr = cast.workers[0].1;
    cast.add(20, Duration::ZERO).await?;
    cast.balance(LONG).await?;

    let mut locking = cast.ground.connection().await?;
    sqlx::raw_sql("begin; lock table switchyard.jobs in access exclusive mode")
        .execute(&mut locking)
        .await?;
    let mut asking = Vec::new();
    for number in 0..ASKED {
        asking.push(beside(async move {
            let (headers, body) = wakeup(number)?;
            let asked = Instant::now();
            let (status, headers) = cast::send(addr, &headers, &body).await?;
            anyhow::Ok((status, headers.contains_key("retry-after"), asked.elapsed()))
        }));
    }
    let mut refused = Vec::new();
    for answer in asking {
        let (status, says_when, took) = answer.await??;
        anyhow::ensure!(
            status == StatusCode::SERVICE_UNAVAILABLE && says_when,
            "a wake-up was answered {status} while no connection was free"
        );
        refused.push(took);
    }
    let ready = http::Request::get("/readyz")
        .header("host", "127.0.0.1")
        .body(Full::new(Bytes::new()))?;
    let ready = Client::connect(addr).await?.send(ready).await?.status();
    anyhow::ensure!(!ready.is_success(), "it says that it is ready");
    drop(locking);
    cast.add(20, Duration::ZERO).await?;
    let back = next_end(&cast).await?;
    cast.balance(LONG).await?;
    cast.leave().await?;
    let refused = Samples::new(refused)?;
    Ok(vec![
        Figure::at_most(
            "chaos",
            "8: wake-ups while every connection hangs → 503 with Retry-After, s, the slowest",
            refused.percentile(100.0).as_secs_f64(),
            1.0,
        )
        .showing(ms(refused.percentile(100.0)), "-")
        .noting(format!(
            "{ASKED} at once, a pool of 2; not ready meanwhile; {} after the lock was gone the next job was done",
            ms(back)
        )),
    ])
}

/// A wake-up as the relay sends it.
fn wakeup(number: usize) -> anyhow::Result<(HeaderMap, Bytes)> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| -> anyhow::Result<()> {
        headers.insert(name, value.parse()?);
        Ok(())
    };
    put("content-type", "application/json")?;
    put("ce-specversion", "1.0")?;
    put("ce-id", &format!("bench-{number}"))?;
    put("ce-type", "dev.switchyard.job.queued.v1")?;
    put("ce-source", "/switchyard/relay")?;
    put("ce-task", TASK)?;
    let body = serde_json::to_vec(&serde_json::json!({"task": TASK}))?;
    Ok((headers, body.into()))
}

/// 9: the connections of a worker are dead, and neither side is told.
pub async fn silent_connections(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut cast = Cast::start(place, 0).await?;
    let proxy = Proxy::to(cast::server_port(&cast.ground)?).await?;
    cast.add_worker(Some(proxy.port()), &[]).await?;
    let offering = Offering::start(&cast, 20);
    tokio::time::sleep(Duration::from_secs(5)).await;
    proxy.strand();
    let back = next_end_after_silence(&cast).await?;
    cast.added.extend(offering.end().await?);
    let again = cast.balance(LONG * 2).await?;
    cast.leave().await?;
    Ok(vec![
        Figure::at_most(
            "chaos",
            "9: dead connections without a reset → the next job is recorded, s",
            back.as_secs_f64(),
            60.0,
        )
        .showing(ms(back), "-")
        .noting(format!(
            "the only worker, 20 jobs a second; none was lost, each has one outcome, {again} were begun again"
        )),
    ])
}

/// How long until an end is recorded that cannot have been on its way.
async fn next_end_after_silence(cast: &Cast) -> anyhow::Result<Duration> {
    const DONE: &str = "select count(*) from switchyard.jobs_archive";
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = cast.ground.count(DONE).await?;
    cast.until("a job is recorded", LONG, DONE, |done| done > before)
        .await?;
    Ok(begun.elapsed())
}

/// 11: a worker does not reach the database for 60 s, and then does again.
pub async fn partition(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut cast = Cast::start(place, 0).await?;
    let proxy = Proxy::to(cast::server_port(&cast.ground)?).await?;
    cast.add_worker(Some(proxy.port()), &[]).await?;
    cast.add(40, Duration::from_secs(100)).await?;
    cast.until("40 jobs run", LONG, RUNNING, |running| running == 40)
        .await?;
    let alone = cast.workers[0].0.id();
    let hand = cast.ledger.in_hand(alone)?;
    // So that a renewal has just come, or is about to, at random.
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..10_000))).await;
    proxy.freeze();
    let frozen = Instant::now();
    let over: String = sqlx::query_scalar(
        "select (extract(epoch from min(lease_until)) * 1000)::bigint::text from switchyard.jobs where state = 'running'",
    )
    .fetch_one(&mut cast.ground.connection().await?)
    .await?;
    let over: u128 = over.parse()?;
    cast.add_worker(None, &[]).await?;
    tokio::time::sleep_until((frozen + Duration::from_secs(60)).into()).await;
    let late = cast
        .ledger
        .marks()?
        .into_iter()
        .filter(|mark| mark.process == alone && mark.at >= over)
        .filter(|mark| hand.contains(&(mark.job, mark.epoch)))
        .count();
    proxy.heal();
    let again = cast.balance(LONG * 4).await?;
    cast.leave().await?;
    Ok(vec![
        Figure::at_most(
            "chaos",
            "11: marks of a worker without database after its first lease was over",
            late as f64,
            0.0,
        )
        .showing(format!("{late}"), "-")
        .noting(format!(
            "60 s without a word with {} jobs in hand, then healed; {again} were begun again by the other worker; none was \
             lost, each has one outcome",
            hand.len()
        )),
    ])
}

fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], cast::free_port()?)))
}
