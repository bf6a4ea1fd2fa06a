//! Hears what is observed and writes down the messages that people's rules want sent of it; `cron-notify` sends them.
//!
//! It works under a role that may write messages and nothing else: no job, no event, no row of the log of events. So nothing
//! that is observed can start anything by way of it, and it cannot be told of its own doing.

mod rules;

use std::sync::Arc;

use anyhow::Context as _;
use events::{AttributesReader as _, DataError, Event, Reply};
use host::{Ctx, EventError, Function, Kind};
use model::{DatabaseRole, TenantId};
use outgoing::Observed;
use serde_json::Value;
use store::notifications::NewNotification;
use uuid::Uuid;

use crate::rules::Rules;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::Observer,
    kind: Kind::Subscriber,
    routes: |_| {
        let rules = Arc::new(Rules::default());
        Ok(host::subscriber(move |ctx, event| {
            notify(ctx, Arc::clone(&rules), event)
        }))
    },
};

async fn notify(ctx: Ctx, rules: Arc<Rules>, event: Event) -> Result<Reply, EventError> {
    let Some(tenant) = tenant(&event).map_err(EventError::never)? else {
        // What concerns no tenant is told to none.
        return Ok(Reply::Ack);
    };
    let observed = observed(&event).map_err(EventError::never)?;
    let rules = rules
        .of(&ctx, tenant)
        .await
        .context("could not read the rules")
        .map_err(EventError::later)?;
    let mut messages: Vec<NewNotification> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.wants(&observed)) {
        // One message to an endpoint, however many rules want it.
        if messages
            .iter()
            .any(|message| message.endpoint == rule.endpoint)
        {
            continue;
        }
        let endpoint = rule.endpoint.to_string();
        messages.push(NewNotification {
            id: events::deterministic_uuid(&[
                "notification",
                &endpoint,
                &observed.source,
                &observed.id,
            ]),
            endpoint: rule.endpoint,
            rule: rule.id,
            body: observed.message(rule.format),
        });
    }
    if !messages.is_empty() {
        let written = ctx
            .store()
            .write_notifications(tenant, &observed.id, &observed.ty, &messages)
            .await
            .context("could not write the messages down")
            .map_err(EventError::later)?;
        tracing::debug!(event.id = observed.id, messages = written, "to be told");
    }
    Ok(Reply::Ack)
}

/// Whose event it is.
fn tenant(event: &Event) -> anyhow::Result<Option<TenantId>> {
    let Some(value) = event.extension(events::catalogue::extension::TENANT_ID) else {
        return Ok(None);
    };
    let id: Uuid = value
        .to_string()
        .parse()
        .context("the event's tenantid is none")?;
    Ok(Some(id.into()))
}

fn observed(event: &Event) -> anyhow::Result<Observed> {
    let severity = event.extension(events::catalogue::extension::SEVERITY);
    let data = match events::data(event) {
        Err(DataError::Absent) => Value::Null,
        data => data.context("the event's data is not JSON")?,
    };
    Ok(Observed {
        id: event.id().to_owned(),
        ty: event.ty().to_owned(),
        source: event.source().to_string(),
        subject: event.subject().map(str::to_owned),
        time: event.time().copied(),
        severity: severity.map(ToString::to_string),
        data,
    })
}

#[cfg(test)]
mod tests;
