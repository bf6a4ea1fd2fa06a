//! Those who come back: a worker from beyond its lease, relays that are killed and started again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use chaos::faults::Seen;
use chaos::{Act, Cluster, Setup, What};
use http::StatusCode;
use model::{FinishReport, JobId, LogLine, LogStream};
use queue::{Ended, Finish, Hold};
use rand::Rng as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::rows::served::Served;

/// Jobs in hand, and how much longer one takes than a lease: shorter than an attempt may.
const JOBS: usize = 16;
const LONGER: Duration = Duration::from_secs(10);
/// By when a worker that comes back must have noticed that it is late.
const NOTICES_WITHIN: Duration = Duration::from_secs(1);
/// The number of a line that comes late.
const LATE_LINE: i64 = 1_000;
/// Kills of each relay, and jobs between two of them.
const KILLS: usize = 50;
const PER_KILL: usize = 40;
/// The moment of a kill is random.
const LIVES_MS: std::ops::Range<u64> = 5..200;

/// Fault 4: a worker is stopped past its lease, others take its jobs, it goes on.
///
/// # Panics
/// When it works on, or an outcome is recorded twice.
pub async fn a_worker_comes_back(setup: &Setup) -> Seen {
    let cluster = Cluster::start(setup, 2).await;
    cluster.lead_to(0);
    let work = cluster.times.lease + LONGER;
    let millis = u64::try_from(work.as_millis()).expect("it is short");
    for _ in 0..JOBS {
        cluster.add(Act::Work { millis }).await;
    }
    let zombie = cluster.workers[0].id();
    let in_hand = async || {
        let books = cluster.books().await;
        books.unfinished(zombie, u64::MAX)
    };
    cluster
        .until(
            "all jobs are in its hand",
            cluster.times.patience,
            async || in_hand().await.len() == JOBS,
        )
        .await;
    let hand: BTreeSet<(i64, i64)> = in_hand().await.into_iter().collect();
    let stopped = Instant::now();
    signal(zombie, Signal::STOP);
    cluster.lead_past(0);
    let limit = cluster.times.taken_over();
    cluster
        .until("others have begun all of them", limit, async || {
            let effects = cluster.ledger.effects();
            hand.iter().all(|(job, epoch)| {
                effects
                    .iter()
                    .any(|it| it.job == *job && it.epoch > *epoch && it.what == What::Began)
            })
        })
        .await;
    let taken_over = stopped.elapsed();
    // What it may have had on the wire when it was stopped arrives now: it changes nothing, and is told so.
    let queue = cluster.queue();
    for (job, epoch) in &hand {
        let hold = Hold {
            job: JobId(*job),
            epoch: *epoch,
        };
        let late = Finish {
            hold,
            ended: Ended::Succeeded,
            reason: None,
            result: None,
        };
        let reports = queue.finish(&[late]).await.expect("an answer");
        assert_eq!(reports, [(hold.job, FinishReport::Stale)]);
        let line = LogLine {
            seq: LATE_LINE,
            stream: LogStream::Task,
            text: "late".to_owned(),
        };
        let taken = queue.append_log(hold, &[line]).await.expect("an answer");
        assert!(!taken, "a line of job {job}");
    }
    let told =
        "select count(distinct job_id) from switchyard.job_events where kind = 'stale_write'";
    assert_eq!(usize::try_from(cluster.count(told).await), Ok(hand.len()));
    let woken = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    signal(zombie, Signal::CONT);
    cluster.quiet(work + cluster.times.patience).await;
    let books = cluster.books().await;
    let may_until = woken + NOTICES_WITHIN.as_micros();
    let late = books
        .effects
        .iter()
        .filter(|it| it.pid == zombie && hand.contains(&(it.job, it.epoch)))
        .filter(|it| u128::from(it.at) > may_until)
        .count();
    assert_eq!(late, 0, "it worked on after it had come back");
    // What it did before it could notice is no finding: effects are fenced downstream.
    let own = format!("process {zombie} went on");
    let findings: Vec<String> = books
        .findings(true)
        .into_iter()
        .filter(|finding| !finding.contains(&own))
        .collect();
    assert!(findings.is_empty(), "{findings:#?}");
    cluster.end().await;
    vec![("its jobs run elsewhere", taken_over)]
}

fn signal(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("ids of processes are small"), signal).expect("our own process");
}

type Heard = Arc<Mutex<Vec<String>>>;

/// Fault 16: the relays are killed between commit, publish and mark, again and again.
///
/// # Panics
/// When an end of a job is never told.
pub async fn relays_are_killed_again_and_again(setup: &Setup) -> Seen {
    let mut cluster = Cluster::start(setup, 2).await;
    let heard: Heard = Arc::default();
    let listener = Router::new()
        .fallback(post(hear))
        .with_state(Arc::clone(&heard));
    let listener = Served::start(listener).await.expect("a free port");
    let sink = format!("http://{}/", listener.addr);
    for _ in 0..KILLS {
        for _ in 0..PER_KILL {
            cluster.add(Act::Work { millis: 1 }).await;
        }
        let relay = cluster.relay_of("observed", &sink).await;
        let lives = rand::rng().random_range(LIVES_MS);
        tokio::time::sleep(Duration::from_millis(lives)).await;
        drop(relay);
        cluster.kill_relay_and_reconcilers();
        cluster.start_relay().await;
    }
    cluster.start_reconciler("cron-reap").await;
    cluster
        .quiet(cluster.times.taken_over() + cluster.times.patience)
        .await;
    let books = cluster.balance().await;
    let last = cluster.relay_of("observed", &sink).await;
    let left = Instant::now();
    cluster
        .until("all is told", cluster.times.patience, async || {
            let sql = "select count(*) from switchyard.outbox where broker = 'observed'";
            cluster.count(sql).await == 0
        })
        .await;
    let told = left.elapsed();
    drop(last);
    let heard: BTreeSet<String> = heard
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
        .collect();
    let never = books
        .outcomes
        .iter()
        .filter(|it| !heard.contains(&it.job.to_string()))
        .count();
    assert_eq!(never, 0, "ends of jobs were never told");
    listener.stop().await.expect("it ends");
    cluster.end().await;
    vec![("what was left is told", told)]
}

async fn hear(State(heard): State<Heard>, headers: HeaderMap) -> StatusCode {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text("ce-type") == Some("dev.switchyard.job.finished.v1")
        && let Some(job) = text("ce-subject")
    {
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(job.to_owned());
    }
    StatusCode::ACCEPTED
}
