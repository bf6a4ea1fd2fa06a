//! The frame of a task: a wake-up claims jobs, runs them and records how they ended, for one slice of time.
//!
//! A wake-up is never work: it is answered 202 at the end of its slice whatever became of the jobs, 503 only when nothing
//! could be claimed because the database did not answer or too many wake-ups are here already, 422 when it is an event that
//! can never work here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use events::{EventType, Message, Received, Reply};
use futures::future::BoxFuture;
use model::{JobCancelRequested, JobQueued, TaskPolicy};
use queue::{ClaimedJob, Hold};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::attempt::{self, Place};
use crate::cancel::{self, Stops};
use crate::finisher::Finisher;
use crate::leases::Leases;
use crate::pace::{Looks, Pace};
use crate::tasks::Serves;
use crate::{Ctx, Job, Outcome, Routes, TaskError, presence};

/// Wake-ups that one process holds at a time. More of them could not claim more.
const WAKEUPS_MAX: usize = 64;
/// How long a wake-up waits for the claim of another. A claim takes milliseconds.
const CLAIM_WAIT_MAX: Duration = Duration::from_millis(900);
/// When a wake-up that could not be served may be repeated, in seconds.
const RETRY_AFTER_SECS: &str = "2";

/// What a function does with one attempt at a job whose payload is yet to be read.
pub(crate) type Run = Arc<
    dyn Fn(Ctx, Job<serde_json::Value>) -> BoxFuture<'static, Result<Outcome, TaskError>>
        + Send
        + Sync,
>;

/// A task: `run` is called for each attempt at a job. The routes take wake-ups for the task of the function's name.
pub fn task<S, F, Fut>(policy: TaskPolicy, run: F) -> Routes
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    routes(policy, Serves::Own, attempt::reading(run), Stops::Nothing)
}

/// The routes of whoever works on jobs, its own task's or those of other people's functions.
pub(crate) fn routes(policy: TaskPolicy, serves: Serves, run: Run, stops: Stops) -> Routes {
    let worker: Arc<OnceLock<Worker>> = Arc::default();
    let handler = move |State(ctx): State<Ctx>, Received(message): Received| {
        let worker = worker
            .get_or_init(|| Worker::start(&ctx, policy, serves.clone(), run.clone(), stops.clone()))
            .clone();
        ctx.metrics().received(ctx.function());
        async move {
            match message.ty().parse() {
                Ok(EventType::JobQueued) => worker.woken(ctx, &message).await,
                Ok(EventType::JobCancelRequested) => worker.asked_to_cancel(ctx, &message).await,
                _ => never(format!(
                    "a task takes wake-ups and cancels, not {:?}",
                    message.ty()
                )),
            }
        }
    };
    Router::new().route("/", post(handler)).into()
}

fn never(problem: String) -> Response {
    tracing::warn!("{problem}");
    (StatusCode::UNPROCESSABLE_ENTITY, problem).into_response()
}

pub(crate) fn later(problem: &'static str) -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [("retry-after", RETRY_AFTER_SECS)],
        problem,
    )
        .into_response()
}

/// What all wake-ups of a task share in one process.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) run: Run,
    pub(crate) policy: TaskPolicy,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) leases: Leases,
    pub(crate) finisher: Finisher,
    pub(crate) stops: Stops,
    serves: Serves,
    shared: Arc<Shared>,
}

struct Shared {
    pace: Mutex<Pace>,
    wakeups: Semaphore,
    /// Jobs that were claimed and have not ended here.
    held: AtomicUsize,
    /// Those of them that run alone.
    alone: AtomicUsize,
    /// One of them has ended.
    ended: Notify,
    /// One claim at a time: each knows what the one before has left. Holds when the last one began that found nothing.
    claiming: tokio::sync::Mutex<Option<Instant>>,
}

/// What a claim brought.
enum Claimed {
    Jobs(Vec<ClaimedJob>, Instant),
    Nothing,
    /// There is no room for more.
    Full,
    /// The claim before this one takes too long.
    Slow,
}

impl Worker {
    fn start(ctx: &Ctx, policy: TaskPolicy, serves: Serves, run: Run, stops: Stops) -> Self {
        let leases = Leases::default();
        let (finisher, writing) = Finisher::new(ctx.queue().clone());
        // Neither is waited for at the stop: leases end when nothing is held, the finisher when nobody can finish.
        #[expect(
            clippy::disallowed_methods,
            reason = "both end by themselves after the last job"
        )]
        {
            tokio::spawn(leases.clone().run(ctx.clone()));
            tokio::spawn(writing);
        }
        let slots = Arc::new(Semaphore::new(policy.slots));
        ctx.spawn(presence::tell(
            ctx.clone(),
            Arc::clone(&slots),
            policy.slots,
        ));
        Self {
            run,
            policy,
            slots,
            leases,
            finisher,
            stops,
            serves,
            shared: Arc::new(Shared {
                pace: Mutex::new(Pace::new()),
                wakeups: Semaphore::new(WAKEUPS_MAX),
                held: AtomicUsize::new(0),
                alone: AtomicUsize::new(0),
                ended: Notify::new(),
                claiming: tokio::sync::Mutex::new(None),
            }),
        }
    }

    async fn woken(self, ctx: Ctx, message: &Message) -> Response {
        let wakeup = match message.json::<JobQueued>() {
            Ok(wakeup) => wakeup,
            Err(error) => {
                return never(format!("the data of a wake-up cannot be read: {error}"));
            }
        };
        // Its jobs were given to somebody else's function, or came back from there.
        if self.serves.leaves(&ctx, &wakeup, message) {
            return Reply::Ack.into_response();
        }
        if !self.serves.takes(&ctx, &wakeup) {
            return never(format!(
                "a wake-up for {:?} came to {:?}; check the Trigger's filter",
                wakeup.task,
                ctx.function()
            ));
        }
        // Work does not hang on the request that woke it: who sent it may hang up, and a stop waits for it.
        let drain = self.drain(ctx.clone());
        ctx.spawn(drain.instrument(tracing::Span::current()))
            .await
            .unwrap_or_else(|error| {
                tracing::error!("a drain ended badly: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            })
    }

    async fn asked_to_cancel(self, ctx: Ctx, message: &Message) -> Response {
        let asked = match message.json::<JobCancelRequested>() {
            Ok(asked) => asked,
            Err(error) => {
                return never(format!("the data of a cancel cannot be read: {error}"));
            }
        };
        let hold = Hold {
            job: model::JobId(asked.job),
            epoch: asked.epoch,
        };
        // What is worked on here hears of it by its heartbeat, which need not wait for its time.
        self.leases.look_now(hold);
        // As with a wake-up, the work does not hang on the request.
        let stopping = cancel::by_handle(ctx.clone(), self.stops, hold);
        match ctx
            .spawn(stopping.instrument(tracing::Span::current()))
            .await
        {
            Ok(Ok(())) => Reply::Ack.into_response(),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a cancel could not be taken up"
                );
                later("the database does not answer; the cancel may be repeated")
            }
            Err(error) => {
                tracing::error!("a cancel ended badly: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    async fn drain(self, ctx: Ctx) -> Response {
        let Ok(_wakeup) = self.shared.wakeups.try_acquire() else {
            return later("enough wake-ups are being served; this one may be repeated");
        };
        let came = Instant::now();
        let slice_end = came + ctx.timing().slice;
        let mut running = JoinSet::new();
        let mut looks = Looks::default();
        while !ctx.stopping().is_cancelled() && Instant::now() < slice_end {
            while running.try_join_next().is_some() {}
            // Made before the look: what ends meanwhile is not missed.
            let ended = self.shared.ended.notified();
            let wait = match self.claim(&ctx, came, slice_end).await {
                Ok(Claimed::Jobs(jobs, claimed_at)) => {
                    looks.found();
                    let lease = ctx.timing().lease;
                    let mut places: Vec<Place> = jobs
                        .iter()
                        .map(|job| self.place(job.hold, claimed_at, lease))
                        .collect();
                    for suspect in self.suspects(&ctx, &jobs).await {
                        let found = jobs.iter().position(|job| job.hold.job == suspect);
                        if let Some(place) = found.and_then(|at| places.get_mut(at)) {
                            place.alone = Some(Alone::new(&self.shared));
                        }
                    }
                    for (job, place) in jobs.into_iter().zip(places) {
                        running.spawn(attempt::attempt(self.clone(), ctx.clone(), job, place));
                    }
                    continue;
                }
                Ok(Claimed::Slow) if running.is_empty() => {
                    return later("the database is slow; the wake-up may be repeated");
                }
                // What ends makes room, and may free its lane.
                Ok(Claimed::Full | Claimed::Slow) => None,
                Ok(Claimed::Nothing) => match looks.nothing(!running.is_empty()) {
                    Some(wait) => Some(wait),
                    None => break,
                },
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "nothing could be claimed"
                    );
                    if running.is_empty() {
                        return later("the database does not answer; the wake-up may be repeated");
                    }
                    break;
                }
            };
            let wait = wait.map_or(slice_end, |wait| slice_end.min(Instant::now() + wait));
            tokio::select! {
                () = ctx.stopping().cancelled() => {}
                () = ended => {}
                () = tokio::time::sleep_until(wait) => {}
            }
        }
        while running.join_next().await.is_some() {}
        Reply::Ack.into_response()
    }

    /// Claims as many jobs as there is room for. A wake-up that came at `came` has nothing to find where a claim that began
    /// later has found nothing.
    async fn claim(
        &self,
        ctx: &Ctx,
        came: Instant,
        slice_end: Instant,
    ) -> Result<Claimed, sqlx::Error> {
        let mut empty_at = tokio::select! {
            empty_at = self.shared.claiming.lock() => empty_at,
            () = ctx.stopping().cancelled() => return Ok(Claimed::Full),
            () = tokio::time::sleep_until(slice_end) => return Ok(Claimed::Full),
            () = tokio::time::sleep(CLAIM_WAIT_MAX) => return Ok(Claimed::Slow),
        };
        // What runs may have freed a lane since.
        if empty_at.is_some_and(|at| at > came) && self.shared.held.load(Ordering::Relaxed) == 0 {
            return Ok(Claimed::Nothing);
        }
        let held = self.shared.held.load(Ordering::Relaxed);
        let room = self.pace(|pace| pace.room(self.policy.slots, held));
        if room == 0 || self.shared.alone.load(Ordering::Relaxed) > 0 {
            return Ok(Claimed::Full);
        }
        let claimed_at = Instant::now();
        match self.serves.claim(ctx, room).await {
            Ok(jobs) => {
                self.pace(|pace| pace.claim_took(claimed_at.elapsed()));
                if jobs.is_empty() {
                    *empty_at = Some(claimed_at);
                    return Ok(Claimed::Nothing);
                }
                *empty_at = None;
                self.shared.held.fetch_add(jobs.len(), Ordering::Relaxed);
                Ok(Claimed::Jobs(jobs, claimed_at))
            }
            Err(error) => {
                self.pace(Pace::claim_failed);
                Err(error)
            }
        }
    }

    /// What an attempt at a claimed job has until it ends.
    fn place(&self, hold: Hold, claimed_at: Instant, lease: Duration) -> Place {
        Place {
            lease: self.leases.keep(hold, claimed_at, lease),
            alone: None,
            _held: Held(Arc::clone(&self.shared)),
        }
    }

    /// Jobs whose workers went away twice in a row. One of them may have been the cause, and what runs beside it would pay
    /// for it with its own attempts.
    async fn suspects(&self, ctx: &Ctx, jobs: &[ClaimedJob]) -> Vec<model::JobId> {
        let tried: Vec<Hold> = jobs
            .iter()
            .filter(|job| job.attempts > 2)
            .map(|job| job.hold)
            .collect();
        if tried.is_empty() {
            return Vec::new();
        }
        ctx.queue()
            .left_behind_twice(&tried)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it is not known whether claimed jobs brought down their workers before"
                );
                Vec::new()
            })
    }

    pub(crate) fn pace<T>(&self, change: impl FnOnce(&mut Pace) -> T) -> T {
        let mut pace = self
            .shared
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut pace)
    }
}

/// Counts a job for as long as it is held here.
pub(crate) struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.notify_waiters();
    }
}

/// Keeps the worker from claiming more for as long as a job is to run alone.
pub(crate) struct Alone(Arc<Shared>);

impl Alone {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.alone.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.alone.fetch_sub(1, Ordering::Relaxed);
    }
}
