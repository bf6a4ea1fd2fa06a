//! The frame of a task: a wake-up claims jobs, runs them and records how they ended, for one slice of time.
//!
//! A wake-up is never work: it is answered 202 at the end of its slice whatever became of the jobs, 503 only when nothing
//! could be claimed because the database did not answer, 422 when it is an event that can never work here.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use events::{EventType, Received, Reply};
use futures::FutureExt as _;
use model::{FinishReport, JobQueued, TaskPolicy};
use queue::{ClaimedJob, Ended, Finish, Hold};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::finisher::Finisher;
use crate::leases::{Lease, Leases};
use crate::tasks::Serves;
use crate::{Ctx, Job, JobLog, Outcome, Routes, TaskError};

/// How long a handler may take to stop when its job is cancelled or the process has to leave.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Another claim may hold a lane for a moment: an empty claim is tried once more after this time.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// A task: `run` is called for each attempt at a job. The routes take wake-ups for the task of the function's name.
pub fn task<S, F, Fut>(policy: TaskPolicy, run: F) -> Routes
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    routes(policy, Serves::Own, run)
}

/// The routes of whoever works on jobs, its own task's or those of other people's functions.
pub(crate) fn routes<S, F, Fut>(policy: TaskPolicy, serves: Serves, run: F) -> Routes
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    let worker: Arc<OnceLock<Worker>> = Arc::default();
    let handler = move |State(ctx): State<Ctx>, Received(message): Received| {
        let worker = worker
            .get_or_init(|| Worker::start(&ctx, policy, serves.clone()))
            .clone();
        let run = run.clone();
        async move {
            match message.ty().parse() {
                Ok(EventType::JobQueued) => match message.json::<JobQueued>() {
                    // Its jobs were given to somebody else's function, or came back from there.
                    Ok(wakeup) if worker.serves.leaves(&ctx, &wakeup, &message) => {
                        Reply::Ack.into_response()
                    }
                    Ok(wakeup) if worker.serves.takes(&ctx, &wakeup) => {
                        // Work does not hang on the request that woke it: who sent it may hang up, and a stop waits for it.
                        let drain = worker.drain(ctx.clone(), run);
                        ctx.spawn(drain.instrument(tracing::Span::current()))
                            .await
                            .unwrap_or_else(|error| {
                                tracing::error!("a drain ended badly: {error}");
                                StatusCode::INTERNAL_SERVER_ERROR.into_response()
                            })
                    }
                    Ok(wakeup) => never(format!(
                        "a wake-up for {:?} came to {:?}; check the Trigger's filter",
                        wakeup.task,
                        ctx.function()
                    )),
                    Err(error) => never(format!("the data of a wake-up cannot be read: {error}")),
                },
                // In-process work hears of it at its next heartbeat.
                Ok(EventType::JobCancelRequested) => Reply::Ack.into_response(),
                _ => never(format!("a task takes wake-ups, not {:?}", message.ty())),
            }
        }
    };
    Router::new().route("/", post(handler)).into()
}

fn never(problem: String) -> Response {
    tracing::warn!("{problem}");
    (StatusCode::UNPROCESSABLE_ENTITY, problem).into_response()
}

/// What all wake-ups of a task share in one process.
#[derive(Debug, Clone)]
struct Worker {
    slots: Arc<Semaphore>,
    policy: TaskPolicy,
    serves: Serves,
    leases: Leases,
    finisher: Finisher,
}

impl Worker {
    fn start(ctx: &Ctx, policy: TaskPolicy, serves: Serves) -> Self {
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
        Self {
            slots: Arc::new(Semaphore::new(policy.slots)),
            policy,
            serves,
            leases,
            finisher,
        }
    }

    async fn drain<S, F, Fut>(self, ctx: Ctx, run: F) -> Response
    where
        S: DeserializeOwned + Send + 'static,
        F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
    {
        let slice_end = Instant::now() + ctx.timing().slice;
        let mut running = JoinSet::new();
        let mut empty_before = false;
        loop {
            while running.try_join_next().is_some() {}
            let Some(slot) = self.slot(&ctx, slice_end).await else {
                break;
            };
            let mut slots = vec![slot];
            while let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                slots.push(slot);
            }
            let claimed_at = Instant::now();
            let limit = i32::try_from(slots.len()).unwrap_or(i32::MAX);
            let claimed = self.claim(&ctx, limit).await;
            let jobs = match claimed {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "nothing could be claimed"
                    );
                    if running.is_empty() {
                        return (
                            StatusCode::SERVICE_UNAVAILABLE,
                            [("retry-after", "2")],
                            "the database does not answer; the wake-up may be repeated",
                        )
                            .into_response();
                    }
                    break;
                }
            };
            if jobs.is_empty() {
                drop(slots);
                if !running.is_empty() {
                    // What ends may free its lane.
                    empty_before = false;
                    running.join_next().await;
                } else if empty_before {
                    break;
                } else {
                    empty_before = true;
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                continue;
            }
            empty_before = false;
            for job in jobs {
                // A claim never returns more than was asked for.
                let Some(slot) = slots.pop() else { break };
                let lease = self.leases.keep(job.hold, claimed_at, ctx.timing().lease);
                running.spawn(attempt(
                    self.clone(),
                    ctx.clone(),
                    run.clone(),
                    job,
                    lease,
                    slot,
                ));
            }
        }
        while running.join_next().await.is_some() {}
        Reply::Ack.into_response()
    }

    /// Claims jobs of the tasks that are served.
    async fn claim(&self, ctx: &Ctx, limit: i32) -> Result<Vec<ClaimedJob>, sqlx::Error> {
        let tasks = self.serves.tasks(ctx).await?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        ctx.queue()
            .claim(ctx.worker(), &tasks, limit, ctx.timing().lease)
            .await
    }

    /// A free slot, unless the slice is over or the process has to leave.
    async fn slot(&self, ctx: &Ctx, slice_end: Instant) -> Option<OwnedSemaphorePermit> {
        if ctx.stopping().is_cancelled() || Instant::now() >= slice_end {
            return None;
        }
        tokio::select! {
            biased;
            () = ctx.stopping().cancelled() => None,
            slot = Arc::clone(&self.slots).acquire_owned() => slot.ok(),
            () = tokio::time::sleep_until(slice_end) => None,
        }
    }
}

/// How an attempt came to its end, as far as the process knows.
enum End {
    Said(Result<Outcome, TaskError>),
    Panicked(String),
    TimeOver,
    Lost,
    Leaving,
}

async fn attempt<S, F, Fut>(
    worker: Worker,
    ctx: Ctx,
    run: F,
    claimed: ClaimedJob,
    lease: Lease,
    slot: OwnedSemaphorePermit,
) where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    let span = tracing::info_span!(
        "job",
        job.id = claimed.hold.job.0,
        job.epoch = claimed.hold.epoch,
        job.attempt = claimed.attempts,
        task.type = claimed.task,
        tenant.id = %claimed.tenant,
        traceparent = claimed.traceparent,
        correlation.id = claimed.correlation_id,
    );
    async {
        let started = Instant::now();
        tracing::info!("started");
        let (log, writing) = JobLog::new(ctx.queue().clone(), claimed.hold);
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the last clone of the log"
        )]
        tokio::spawn(writing);
        let hold = claimed.hold;
        let end = match serde_json::from_value::<S>(claimed.payload) {
            Ok(spec) => {
                let job = Job {
                    hold,
                    tenant: claimed.tenant,
                    spec,
                    attempt: claimed.attempts,
                    attempts_max: claimed.attempts_max,
                    traceparent: claimed.traceparent,
                    log: log.clone(),
                    cancelled: lease.cancelled.child_token(),
                };
                watch(
                    &ctx,
                    &worker.policy,
                    &lease,
                    job.cancelled.clone(),
                    run(ctx.clone(), job),
                )
                .await
            }
            Err(error) => End::Said(Err(TaskError::fail(
                anyhow!(error).context("the job's payload is not what this task takes"),
            ))),
        };
        record(&worker, &ctx, &lease, &log, hold, end).await;
        tracing::info!(duration_ms = started.elapsed().as_millis(), "ended");
        drop(slot);
    }
    .instrument(span)
    .await;
}

/// Runs a handler until it says something, or until it must not go on.
async fn watch(
    ctx: &Ctx,
    policy: &TaskPolicy,
    lease: &Lease,
    cancelled: tokio_util::sync::CancellationToken,
    handler: impl Future<Output = Result<Outcome, TaskError>> + Send,
) -> End {
    let mut handler = std::pin::pin!(AssertUnwindSafe(handler).catch_unwind());
    let said = |result: Result<_, Box<dyn std::any::Any + Send>>| match result {
        Ok(said) => End::Said(said),
        Err(panic) => End::Panicked(crate::serve::panic_text(&*panic)),
    };
    tokio::select! {
        biased;
        () = lease.lost.cancelled() => return End::Lost,
        result = &mut handler => return said(result),
        () = tokio::time::sleep(policy.attempt_time_max) => return End::TimeOver,
        () = lease.cancelled.cancelled() => {}
        () = ctx.stopping().cancelled() => cancelled.cancel(),
    }
    // It was told; it may come to its end by itself.
    tokio::select! {
        biased;
        () = lease.lost.cancelled() => End::Lost,
        result = &mut handler => said(result),
        () = tokio::time::sleep(STOP_GRACE) => End::Leaving,
    }
}

async fn record(worker: &Worker, ctx: &Ctx, lease: &Lease, log: &JobLog, hold: Hold, end: End) {
    let asked_to_stop = lease.cancelled.is_cancelled();
    let leaving = ctx.stopping().is_cancelled() && !asked_to_stop;
    match &end {
        End::Said(Err(error)) if !leaving => {
            tracing::warn!("{error:#}");
            log.line(error.to_string()).await;
        }
        End::Panicked(text) => {
            tracing::error!("the handler panicked: {text}");
            log.line(format!("the task panicked: {text}")).await;
        }
        _ => {}
    }
    if !matches!(end, End::Lost) {
        log.flush().await;
    }
    let ended = |ended, reason: Option<String>, result| Finish {
        hold,
        ended,
        reason,
        result,
    };
    let report = match end {
        End::Lost => {
            tracing::warn!("the lease is over; the attempt was dropped and writes nothing");
            return;
        }
        End::Said(Ok(Outcome::Recorded)) => return,
        End::Said(Ok(Outcome::Done)) => {
            worker
                .finisher
                .finish(ended(Ended::Succeeded, None, None))
                .await
        }
        End::Said(Ok(Outcome::DoneWith(result))) => {
            worker
                .finisher
                .finish(ended(Ended::Succeeded, None, Some(result)))
                .await
        }
        End::Said(Ok(Outcome::Snooze { delay, reason })) => {
            again(|| ctx.queue().snooze(hold, delay, &reason)).await
        }
        End::Said(Ok(Outcome::Waiting(wait))) => again(|| ctx.queue().wait(hold, &wait)).await,
        End::Said(Err(TaskError::Stopped)) | End::Leaving if asked_to_stop => {
            worker
                .finisher
                .finish(ended(Ended::Cancelled, Some("cancelled".to_owned()), None))
                .await
        }
        End::Said(Err(TaskError::Stopped)) | End::Leaving => release(ctx, hold).await,
        End::Said(Err(_)) if leaving => release(ctx, hold).await,
        End::Said(Err(TaskError::Retry { error, after })) => {
            let text = format!("{error:#}");
            again(|| ctx.queue().retry(hold, &text, after)).await
        }
        End::Said(Err(TaskError::Fail(error))) => {
            worker
                .finisher
                .finish(ended(Ended::Dead, Some(format!("{error:#}")), None))
                .await
        }
        End::Panicked(text) => {
            let text = format!("the task panicked: {text}");
            again(|| ctx.queue().retry(hold, &text, None)).await
        }
        End::TimeOver => {
            let text = format!(
                "the attempt took longer than {} s",
                worker.policy.attempt_time_max.as_secs()
            );
            again(|| ctx.queue().retry(hold, &text, None)).await
        }
    };
    match report {
        Some(FinishReport::Applied(state)) => tracing::info!(job.state = %state, "recorded"),
        Some(FinishReport::Stale) => {
            tracing::warn!("somebody else holds the job; nothing was recorded");
        }
        None => tracing::error!(
            "the end could not be recorded; the job is taken back when its lease is over"
        ),
    }
}

/// What a process does with a job that it has to leave: it goes back at once, uncounted.
async fn release(ctx: &Ctx, hold: Hold) -> Option<FinishReport> {
    match ctx.queue().release(&[hold]).await {
        Ok(0) => Some(FinishReport::Stale),
        Ok(_) => Some(FinishReport::Applied(model::JobState::Queued)),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a job could not be given back"
            );
            None
        }
    }
}

/// What became of a call that is fenced; nothing when the queue refused it or did not answer for too long.
async fn again<F, Fut>(ask: F) -> Option<FinishReport>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<FinishReport, sqlx::Error>>,
{
    database::answered(ask)
        .await
        .inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "the queue refused");
        })
        .ok()
}
