//! Turns events into jobs: every binding of the event's trigger decides, and what they decide is recorded with its reason.
//!
//! The event on the wire is trusted for nothing but its id. Decisions, jobs and the mark on the event are one transaction,
//! so that an event delivered many times makes each job once.

use anyhow::{Context as _, anyhow};
use events::{Event, Reply};
use host::{Ctx, EventError, Function, Kind};
use model::{DatabaseRole, EventId};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Subscriber,
    routes: |_| Ok(host::subscriber(dispatch)),
};

async fn dispatch(ctx: Ctx, event: Event) -> Result<Reply, EventError> {
    use events::AttributesReader as _;
    let id: EventId = event
        .id()
        .parse()
        .context("only events that are stored here are dispatched")
        .map_err(EventError::never)?;
    let stored = ctx
        .store()
        .event_for_dispatch(id)
        .await
        .context("could not load the event")
        .map_err(EventError::later)?
        .ok_or_else(|| EventError::never(anyhow!("there is no event {id}")))?;
    if stored.dispatched {
        tracing::debug!(event.id = %id, "dispatched before");
        return Ok(Reply::Ack);
    }
    let decisions = match &stored.trigger {
        Some(trigger) => triggers::decide(&stored.event, trigger, &stored.bindings),
        // Its trigger was taken away: nobody is left who could decide.
        None => Vec::new(),
    };
    let jobs = ctx
        .store()
        .record_decisions(id, &decisions)
        .await
        .context("could not record the decisions")
        .map_err(EventError::later)?;
    tracing::info!(
        event.id = %id,
        tenant.id = %stored.tenant,
        bindings = decisions.len(),
        jobs = jobs.len(),
        "dispatched"
    );
    Ok(Reply::Ack)
}

#[cfg(test)]
mod tests;
