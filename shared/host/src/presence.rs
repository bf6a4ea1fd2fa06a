//! A worker says that it is there, whether it has work or not: nobody could tell one that is idle from one that has gone.

use std::sync::Arc;

use queue::measure::Presence;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::Ctx;

/// Tells at every heartbeat how many of the worker's slots are taken, until the process stops and all are free again.
pub(crate) async fn tell(ctx: Ctx, free: Arc<Semaphore>, total: usize) {
    ctx.metrics()
        .watch_slots(ctx.function(), Arc::clone(&free), total);
    let slots = i32::try_from(total).unwrap_or(i32::MAX);
    let mut beat = tokio::time::interval(ctx.timing().heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = ctx.stopping().cancelled() => break,
        }
        let unused = i32::try_from(free.available_permits()).unwrap_or(i32::MAX);
        let presence = Presence {
            worker: ctx.worker(),
            function: ctx.function(),
            slots,
            used: slots.saturating_sub(unused).max(0),
        };
        if let Err(error) = ctx.queue().see_worker(presence).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the worker could not say that it is there"
            );
        }
    }
    // Still there while it works. The slots are given back at once: a drain that is late takes none when it sees the stop.
    drop(
        free.acquire_many(u32::try_from(total).unwrap_or(u32::MAX))
            .await,
    );
    if let Err(error) = ctx.queue().forget_worker(ctx.worker()).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the worker could not say that it leaves; it is forgotten within the hour"
        );
    }
}
