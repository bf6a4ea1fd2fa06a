//! One attempt at a job: waits for its slot, runs the handler within bounds, records how it ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt as _;
use model::{FinishReport, JobState};
use queue::measure::PriorityClass;
use queue::{ClaimedJob, Ended, Finish, Hold};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::drain::{Alone, Held, Run, Worker};
use crate::leases::Lease;
use crate::metrics::{RunOutcome, Stopped};
use crate::{Ctx, Job, JobLog, Outcome, TaskError, cancel};

/// How long a job that was claimed ahead waits for a slot before it is given back.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a handler may take to stop when its job is cancelled …
const STOP_GRACE: Duration = Duration::from_secs(10);
/// … and when the process has to leave: its jobs are wanted elsewhere.
const LEAVE_GRACE: Duration = Duration::from_millis(500);
/// How long a handler that was dropped may go on before what it did is recorded all the same …
const DROP_WAIT: Duration = Duration::from_millis(250);
/// … and before it counts as stuck: it does not come to a point where it could be dropped, and keeps a thread.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// The longest result, in bytes of JSON.
const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// The longest reason, in bytes; what is longer is cut.
const REASON_BYTES_MAX: usize = 8 * 1024;

/// What an attempt has of its worker until it ends.
pub(crate) struct Place {
    pub(crate) lease: Lease,
    /// It gets all slots.
    pub(crate) alone: Option<Alone>,
    pub(crate) _held: Held,
}

/// Reads the payload before `run` is called. A payload that cannot be read never will be.
pub(crate) fn reading<S, F, Fut>(run: F) -> Run
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(Ctx, Job<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    Arc::new(
        move |ctx, mut job| match serde_json::from_value(job.spec.take()) {
            Ok(spec) => run(ctx, job.with(spec)).boxed(),
            Err(error) => {
                let error = anyhow!(error).context("the job's payload is not what this task takes");
                std::future::ready(Err(TaskError::fail(error))).boxed()
            }
        },
    )
}

/// How an attempt came to its end, as far as the process knows.
enum End {
    Said(Result<Outcome, TaskError>),
    Panicked(String),
    TimeOver,
    Lost,
    Leaving,
}

/// Takes a claimed job to its end, or as far as this process may.
pub(crate) async fn attempt(worker: Worker, ctx: Ctx, claimed: ClaimedJob, place: Place) {
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
        let Some(_slot) = slot(&worker, &ctx, &place, claimed.hold).await else {
            return;
        };
        let started = Instant::now();
        tracing::info!(alone = place.alone.is_some(), "started");
        let priority = PriorityClass::of(claimed.priority);
        ctx.metrics()
            .started(&claimed.task, priority, claimed.waited);
        let (log, writing) = JobLog::new(ctx.queue().clone(), claimed.hold);
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the last clone of the log"
        )]
        tokio::spawn(writing);
        let hold = claimed.hold;
        let job = Job {
            hold,
            tenant: claimed.tenant,
            spec: claimed.payload,
            attempt: claimed.attempts,
            attempts_max: claimed.attempts_max,
            traceparent: claimed.traceparent,
            log: log.clone(),
            cancelled: place.lease.cancelled.child_token(),
        };
        let end = run(&worker, &ctx, &place.lease, job).await;
        worker.pace(|pace| pace.job_took(started.elapsed()));
        let outcome = record(&worker, &ctx, &place.lease, &log, hold, end).await;
        ctx.metrics().ran(&claimed.task, outcome, started.elapsed());
        if place.lease.cancelled.is_cancelled()
            && matches!(outcome, RunOutcome::Succeeded | RunOutcome::Failed)
        {
            ctx.metrics().stopped(&claimed.task, Stopped::Noop);
        }
        tracing::info!(duration_ms = started.elapsed().as_millis(), "ended");
    }
    .instrument(span)
    .await;
}

/// A free slot. Nothing when the job is not to be begun here: it was given back, or has been taken.
async fn slot(
    worker: &Worker,
    ctx: &Ctx,
    place: &Place,
    hold: Hold,
) -> Option<OwnedSemaphorePermit> {
    let (slots, wait_max) = match place.alone {
        // What runs now may take its time; nothing is begun before this one.
        Some(_) => (
            u32::try_from(worker.policy.slots).unwrap_or(u32::MAX),
            worker.policy.attempt_time_max / 2,
        ),
        None => (1, SLOT_WAIT_MAX),
    };
    tokio::select! {
        biased;
        () = place.lease.lost.cancelled() => return None,
        () = ctx.stopping().cancelled() => {}
        slot = Arc::clone(&worker.slots).acquire_many_owned(slots) => return slot.ok(),
        () = tokio::time::sleep(wait_max) => {
            // Jobs take longer than was thought.
            worker.pace(|pace| pace.job_took(wait_max));
        }
    }
    // One that was asked to stop meanwhile ends by this as well.
    release(ctx, hold).await;
    None
}

/// Runs the handler until it says something, or until it must not go on. Its own task, so that one which never comes to a
/// point where it could be dropped keeps a thread, but not us.
async fn run(worker: &Worker, ctx: &Ctx, lease: &Lease, job: Job<serde_json::Value>) -> End {
    let (job_id, cancelled) = (job.id(), job.cancelled.clone());
    let work = (worker.run)(ctx.clone(), job).instrument(tracing::Span::current());
    #[expect(
        clippy::disallowed_methods,
        reason = "dropped with its handle, and waited for"
    )]
    let mut handler = AbortOnDropHandle::new(tokio::spawn(work));
    let end = watch(
        ctx,
        worker.policy.attempt_time_max,
        lease,
        &cancelled,
        &mut handler,
    )
    .await;
    if !matches!(end, End::Said(_) | End::Panicked(_)) {
        // Whoever comes next should not meet this one.
        handler.abort();
        if tokio::time::timeout(DROP_WAIT, &mut handler).await.is_err() {
            let ctx = ctx.clone();
            ctx.clone().spawn(async move {
                if tokio::time::timeout(STUCK_AFTER, handler).await.is_err() {
                    ctx.stuck(job_id);
                }
            });
        }
    }
    end
}

async fn watch(
    ctx: &Ctx,
    time_max: Duration,
    lease: &Lease,
    cancelled: &CancellationToken,
    handler: &mut AbortOnDropHandle<Result<Outcome, TaskError>>,
) -> End {
    let said = |result: Result<_, tokio::task::JoinError>| match result {
        Ok(said) => End::Said(said),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => End::Panicked(crate::serve::panic_text(&*panic)),
            // The runtime goes down, and we with it.
            Err(_) => End::Leaving,
        },
    };
    let grace = tokio::select! {
        biased;
        () = lease.lost.cancelled() => return End::Lost,
        result = &mut *handler => return said(result),
        () = tokio::time::sleep(time_max) => return End::TimeOver,
        () = lease.cancelled.cancelled() => STOP_GRACE,
        () = ctx.stopping().cancelled() => {
            cancelled.cancel();
            LEAVE_GRACE
        }
    };
    // It was told; it may come to its end by itself.
    tokio::select! {
        biased;
        () = lease.lost.cancelled() => End::Lost,
        result = &mut *handler => said(result),
        () = tokio::time::sleep(grace) => End::Leaving,
        () = async {
            ctx.stopping().cancelled().await;
            tokio::time::sleep(LEAVE_GRACE).await;
        } => End::Leaving,
    }
}

async fn record(
    worker: &Worker,
    ctx: &Ctx,
    lease: &Lease,
    log: &JobLog,
    hold: Hold,
    end: End,
) -> RunOutcome {
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
    if matches!(end, End::Leaving) || leaving {
        // Lines that cannot be written at once are not worth a job that waits.
        tokio::time::timeout(LEAVE_GRACE, log.flush()).await.ok();
    } else if !matches!(end, End::Lost) {
        log.flush().await;
    }
    let finish = |ended, reason: Option<String>, result| {
        worker.finisher.finish(Finish {
            hold,
            ended,
            reason: reason.map(cut),
            result,
        })
    };
    let put_back = matches!(
        end,
        End::Leaving | End::Said(Ok(Outcome::Snooze { .. })) | End::Said(Err(TaskError::Stopped))
    ) || leaving;
    let report = match end {
        End::Lost => {
            tracing::warn!("the lease is over; the attempt was dropped and writes nothing");
            return RunOutcome::Lost;
        }
        End::Said(Ok(Outcome::Recorded)) => return RunOutcome::Succeeded,
        End::Said(Ok(Outcome::Done)) => finish(Ended::Succeeded, None, None).await,
        End::Said(Ok(Outcome::DoneWith(result))) => match size(&result) {
            Ok(()) => finish(Ended::Succeeded, None, Some(result)).await,
            // It would be as long the next time.
            Err(problem) => finish(Ended::Dead, Some(problem), None).await,
        },
        End::Said(Ok(Outcome::Snooze { delay, reason })) => {
            again(|| ctx.queue().snooze(hold, delay, &reason)).await
        }
        End::Said(Ok(Outcome::Waiting(wait))) => {
            let report = again(|| ctx.queue().wait(hold, &wait)).await;
            if report == Some(FinishReport::Applied(JobState::Cancelling)) && wait.runner.is_some()
            {
                // It was asked to stop before there was a handle to stop it by.
                if let Err(error) = cancel::by_handle(ctx.clone(), worker.stops.clone(), hold).await
                {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a cancel could not be taken up; it is told again"
                    );
                }
            }
            report
        }
        End::Said(Err(TaskError::Stopped)) | End::Leaving if asked_to_stop => {
            finish(Ended::Cancelled, Some("cancelled".to_owned()), None).await
        }
        End::Said(Err(TaskError::Stopped)) | End::Leaving => release(ctx, hold).await,
        End::Said(Err(_)) if leaving => release(ctx, hold).await,
        End::Said(Err(TaskError::Retry { error, after })) => {
            let text = cut(format!("{error:#}"));
            again(|| ctx.queue().retry(hold, &text, after)).await
        }
        End::Said(Err(TaskError::Fail(error))) => {
            finish(Ended::Dead, Some(format!("{error:#}")), None).await
        }
        End::Panicked(text) => {
            let text = cut(format!("the task panicked: {text}"));
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
        Some(FinishReport::Applied(state)) => {
            tracing::info!(job.state = %state, "recorded");
            outcome(state, put_back)
        }
        Some(FinishReport::Stale) => {
            tracing::warn!("somebody else holds the job; nothing was recorded");
            RunOutcome::Lost
        }
        None => {
            tracing::error!(
                "the end could not be recorded; the job is taken back when its lease is over"
            );
            RunOutcome::Lost
        }
    }
}

/// What an attempt counts as that left its job in this state.
const fn outcome(state: JobState, put_back: bool) -> RunOutcome {
    match state {
        JobState::Succeeded => RunOutcome::Succeeded,
        JobState::Dead => RunOutcome::Failed,
        JobState::Cancelled => RunOutcome::Cancelled,
        JobState::Waiting | JobState::Cancelling => RunOutcome::Waiting,
        JobState::Queued if !put_back => RunOutcome::Retried,
        // A newer one took its place when it was put back.
        JobState::Queued | JobState::Superseded | JobState::Running => RunOutcome::PutBack,
    }
}

/// What a process does with a job that it has to leave: it goes back at once, uncounted.
async fn release(ctx: &Ctx, hold: Hold) -> Option<FinishReport> {
    match ctx.queue().release(&[hold]).await {
        Ok(0) => Some(FinishReport::Stale),
        Ok(_) => Some(FinishReport::Applied(JobState::Queued)),
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
pub(crate) async fn again<F, Fut>(ask: F) -> Option<FinishReport>
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

/// What is wrong with the size of a result.
fn size(result: &serde_json::Value) -> Result<(), String> {
    let bytes = result.to_string().len();
    if bytes <= RESULT_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "the result has {bytes} bytes of JSON, more than {RESULT_BYTES_MAX}; keep it as an artifact and name that instead"
    ))
}

fn cut(mut text: String) -> String {
    if text.len() > REASON_BYTES_MAX {
        let end = text.floor_char_boundary(REASON_BYTES_MAX);
        let left_out = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("… [{left_out} bytes cut]"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_or_a_reason_has_a_size() {
        assert_eq!(size(&serde_json::json!({"url": "http://x"})), Ok(()));
        let large = serde_json::Value::String("a".repeat(RESULT_BYTES_MAX));
        assert!(size(&large).is_err_and(|problem| problem.contains("1048578 bytes")));
        assert_eq!(cut("as it is".to_owned()), "as it is");
        let long = cut("é".repeat(REASON_BYTES_MAX));
        assert!(long.len() < REASON_BYTES_MAX + 40);
        assert!(long.ends_with("… [8192 bytes cut]"), "{long}");
    }
}
