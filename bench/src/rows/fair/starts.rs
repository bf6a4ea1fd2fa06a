//! One job beside a flood of another tenant: how many claims pass before it is started.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use model::{JobId, TenantId};
use queue::{Ended, NewJob, Queue};
use rand::Rng as _;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ground::{Ground, Place};
use crate::jobs::{self, Backlog, CLIENTS, LEASE, finish};
use crate::report::Figure;
use crate::stats::{Samples, ms};

const FLOOD: i64 = 100_000;
/// What the flood is spread over in its second form.
const QUEUES: i64 = 10_000;
const TASKS: usize = 50;
/// Jobs of the other tenant, one after the other.
const SAMPLES: usize = 300;
/// The pauses are random, so that no claim is met at the same place each time.
const PAUSE_MS: std::ops::Range<u64> = 2..12;
const START_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let one = flooded(place, 1, None).await?;
    let spread = flooded(place, TASKS, Some(QUEUES)).await?;
    [
        (one, "beside 100 k of another tenant in one lane"),
        (spread, "beside 100 k over 10 000 queues and 50 tasks"),
    ]
    .into_iter()
    .map(|(seen, how)| {
        let what = match how {
            "beside 100 k of another tenant in one lane" => {
                "rounds until B's only job starts, beside 100 k of A in one lane, the most"
            }
            _ => "the same, A's over 10 000 queues and 50 tasks",
        };
        let waits = Samples::new(seen.waits)?;
        let most = seen.rounds.iter().copied().max().unwrap_or_default();
        let late = seen.rounds.iter().filter(|&&rounds| rounds > 1).count();
        Ok(Figure::at_most("fair", what, most as f64, 1.0)
            .showing(format!("{most}"), "-")
            .noting(format!(
                "{SAMPLES} jobs of B {how}, one after the other; {CLIENTS} clients with one slot each claim one job, finish \
                 it and claim the next; a round is a claim that began when B's job was committed and ended with somebody \
                 else's before B's was claimed, and the one that took B's; {late} took more than one; committed → claimed \
                 p50 {}, p99 {}",
                ms(waits.p50()),
                ms(waits.percentile(99.0))
            )))
    })
    .collect()
}

struct Seen {
    rounds: Vec<usize>,
    waits: Vec<Duration>,
}

/// A claim that took a job.
#[derive(Debug, Clone, Copy)]
struct Claim {
    began: Instant,
    ended: Instant,
}

async fn flooded(place: Place<'_>, tasks: usize, queues: Option<i64>) -> anyhow::Result<Seen> {
    let ground = place.ground().await?;
    let tenants = ground.tenants(2).await?;
    let tasks = jobs::tasks(&ground, "flooded", tasks).await?;
    let flood = Backlog {
        queues,
        ..Backlog::new(FLOOD, &tenants[..1], &tasks)
    };
    flood.add(&ground).await?;
    ground.settle().await?;

    let claims: Arc<Mutex<Vec<Claim>>> = Arc::default();
    let (sender, mut claimed) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(
            ground.queue()?,
            tasks.clone(),
            tenants[1],
            Arc::clone(&claims),
            sender.clone(),
            stop.clone(),
        ));
    }
    let seen = sample(&ground, tenants[1], &tasks[0], &claims, &mut claimed).await;
    stop.cancel();
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let seen = seen?;
    let left = ground
        .count("select count(*) from switchyard.jobs where state = 'queued'")
        .await?;
    anyhow::ensure!(left > 0, "the flood was over before the samples were");
    ground.leave().await?;
    Ok(seen)
}

/// A worker with one slot.
async fn client(
    queue: Queue,
    tasks: Vec<String>,
    other: TenantId,
    claims: Arc<Mutex<Vec<Claim>>>,
    claimed: UnboundedSender<(JobId, Claim)>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let worker = Uuid::new_v4();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let jobs = queue.claim(worker, &tasks, 1, LEASE).await?;
        let ended = Instant::now();
        for job in &jobs {
            let claim = Claim { began, ended };
            if job.tenant == other {
                claimed.send((job.hold.job, claim)).ok();
            } else {
                claims
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(claim);
            }
        }
        finish(&queue, &jobs, Ended::Succeeded).await?;
    }
    Ok(())
}

async fn sample(
    ground: &Ground,
    other: TenantId,
    task: &str,
    claims: &Mutex<Vec<Claim>>,
    claimed: &mut UnboundedReceiver<(JobId, Claim)>,
) -> anyhow::Result<Seen> {
    let mut connection = ground.system_connection().await?;
    let payload = serde_json::json!({"for": "a measurement"});
    let mut seen = Seen {
        rounds: Vec::with_capacity(SAMPLES),
        waits: Vec::with_capacity(SAMPLES),
    };
    for _ in 0..SAMPLES {
        let pause = rand::rng().random_range(PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let added = queue::enqueue(&mut connection, &NewJob::new(other, task, &payload)).await?;
        let committed = Instant::now();
        let (job, took) = tokio::time::timeout(START_TIMEOUT, claimed.recv())
            .await
            .context("B's job was not started in time")?
            .context("nobody can start B's job any more")?;
        anyhow::ensure!(job == added.job(), "another job of B was started");
        let passed = claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .rev()
            .take_while(|claim| claim.ended > committed)
            .filter(|claim| claim.began > committed && claim.ended < took.began)
            .count();
        seen.rounds.push(passed + 1);
        seen.waits
            .push(took.ended.saturating_duration_since(committed));
    }
    Ok(seen)
}
