//! Keeps the leases of everything this process works on, and hears whether to stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::JobId;
use queue::{Beat, Hold};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Ctx;

/// A process stops working on a job before its lease would end, so that nobody else can have begun: by this part of the
/// lease, and by no more than [`MARGIN_MAX`].
const MARGIN_PART: u32 = 5;
const MARGIN_MAX: Duration = Duration::from_secs(2);

/// The holds of one function in one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    held: Arc<Mutex<HashMap<JobId, Held>>>,
    /// There is a reason to ask before the next heartbeat.
    now: Arc<Notify>,
}

#[derive(Debug)]
struct Held {
    hold: Hold,
    /// When to stop: the end of the lease, less the margin.
    until: Instant,
    cancelled: CancellationToken,
    lost: CancellationToken,
    /// That we heard of the cancel is on record.
    heard: bool,
}

/// What a worker listens to while it works on a job. The lease is kept until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Leases,
    hold: Hold,
    /// Somebody asked the job to stop.
    pub(crate) cancelled: CancellationToken,
    /// The job may be another's: stop at once, write nothing.
    pub(crate) lost: CancellationToken,
}

impl Leases {
    /// Keeps the lease of a job that was claimed at `claimed_at` or later.
    pub(crate) fn keep(&self, hold: Hold, claimed_at: Instant, lease: Duration) -> Lease {
        let (cancelled, lost) = (CancellationToken::new(), CancellationToken::new());
        self.lock().insert(
            hold.job,
            Held {
                hold,
                until: claimed_at + usable(lease),
                cancelled: cancelled.clone(),
                lost: lost.clone(),
                heard: false,
            },
        );
        Lease {
            leases: self.clone(),
            hold,
            cancelled,
            lost,
        }
    }

    /// Asks for news of a job at once if it is worked on here.
    pub(crate) fn look_now(&self, hold: Hold) {
        let here = self
            .lock()
            .get(&hold.job)
            .is_some_and(|held| held.hold == hold);
        if here {
            self.now.notify_one();
        }
    }

    /// Renews all leases at every heartbeat until the function stops and nothing is held.
    pub(crate) async fn run(self, ctx: Ctx) {
        let timing = ctx.timing();
        let mut beat = tokio::time::interval(timing.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = self.first_end() => {}
                () = self.now.notified() => {}
                () = ctx.stopping().cancelled(), if self.lock().is_empty() => return,
            }
            self.renew(&ctx, timing.lease).await;
        }
    }

    async fn renew(&self, ctx: &Ctx, lease: Duration) {
        let holds: Vec<Hold> = self.lock().values().map(|held| held.hold).collect();
        if !holds.is_empty() {
            let asked_at = Instant::now();
            // A database that does not answer at all must not keep anybody from hearing that the lease is over.
            let answer = tokio::select! {
                answer = ctx.queue().heartbeat(&holds, lease) => Some(answer),
                () = self.first_end() => None,
            };
            match answer {
                Some(Ok(beats)) => {
                    self.heed(ctx, &holds, beats, asked_at + usable(lease))
                        .await;
                }
                None => tracing::warn!(
                    "the database did not answer a heartbeat for {} leases in time",
                    holds.len()
                ),
                Some(Err(error)) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "{} leases could not be renewed",
                    holds.len()
                ),
            }
        }
        let now = Instant::now();
        for held in self.lock().values() {
            if held.until <= now {
                held.lost.cancel();
            }
        }
    }

    /// What was asked about is held until then, or lost, or to stop.
    async fn heed(&self, ctx: &Ctx, holds: &[Hold], beats: Vec<Beat>, until: Instant) {
        let mut to_stop = Vec::new();
        {
            let mut held = self.lock();
            for beat in beats {
                // It may have ended and been claimed again while the question was on its way.
                let Some(entry) = held
                    .get_mut(&beat.job)
                    .filter(|entry| holds.contains(&entry.hold))
                else {
                    continue;
                };
                if !beat.held {
                    entry.lost.cancel();
                    continue;
                }
                entry.until = until;
                if beat.cancel && !entry.heard {
                    to_stop.push(entry.hold);
                }
            }
        }
        if to_stop.is_empty() {
            return;
        }
        // First on record, then to the handler, which may be done with its job at once.
        let heard = self.say_that_we_heard(ctx, &to_stop).await;
        let mut held = self.lock();
        for entry in held.values_mut() {
            if to_stop.contains(&entry.hold) {
                entry.heard = heard;
                entry.cancelled.cancel();
            }
        }
    }

    /// Puts on record which cancels have arrived here. False when that is to be said again with the next heartbeat.
    async fn say_that_we_heard(&self, ctx: &Ctx, holds: &[Hold]) -> bool {
        let answer = tokio::select! {
            answer = ctx.queue().hear_cancels(holds) => answer,
            () = self.first_end() => return false,
        };
        match answer {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "that a cancel was heard could not be recorded yet"
                );
                false
            }
        }
    }

    /// When the first lease that is still good can no longer be used.
    async fn first_end(&self) {
        let first = self
            .lock()
            .values()
            .filter(|held| !held.lost.is_cancelled())
            .map(|held| held.until)
            .min();
        match first {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a lease in which one may work.
fn usable(lease: Duration) -> Duration {
    lease - (lease / MARGIN_PART).min(MARGIN_MAX)
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        if held
            .get(&self.hold.job)
            .is_some_and(|entry| entry.hold == self.hold)
        {
            held.remove(&self.hold.job);
        }
    }
}
