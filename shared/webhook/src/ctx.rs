//! The inbox of functions: the store, reached through their [`Ctx`].

use std::error::Error;

use chrono::{DateTime, Utc};
use host::{Ctx, Env, Routes, SettingsError};
use model::{EventId, TenantId, TriggerId, TriggerKind};
use store::inbox::{Accepted, NewDelivery, NewEvent, Rejection as StoredRejection, Stored};

use crate::inbox::{Inbox, InboxError, Incoming, Meaning, Recorded, Rejection};
use crate::{Normalised, Secrets, Vendor, endpoint};

/// The routes of a vendor's function.
///
/// # Errors
/// When there is no master key, without which no trigger's secret can be opened.
pub fn routes<V: Vendor>(env: &Env) -> Result<Routes, SettingsError> {
    env.require("MASTER_KEY_FILE")?;
    Ok(endpoint::<V, Ctx>().into())
}

impl Inbox for Ctx {
    type Trigger = (TenantId, TriggerId);

    fn now(&self) -> DateTime<Utc> {
        Ctx::now(self)
    }

    async fn trigger(&self, id: TriggerId) -> Result<Option<(Self::Trigger, Secrets)>, InboxError> {
        self.metrics().received(self.function());
        let keyring = self.keyring().map_err(failed)?;
        let found = self.store().inbox_trigger(keyring, id).await;
        let found = found.map_err(|error| match error {
            store::inbox::InboxError::Database(error) => unanswered(error),
            error @ (store::inbox::InboxError::Sealed(_)
            | store::inbox::InboxError::NotText
            | store::inbox::InboxError::Kind(_)) => failed(error),
        })?;
        Ok(found
            .filter(|trigger| match trigger.kind {
                TriggerKind::Git => true,
                TriggerKind::Manual => false,
            })
            .map(|trigger| {
                let secrets = match trigger.secret {
                    Some(current) => Secrets::new(current, trigger.secret_previous),
                    None => Secrets::none(),
                };
                ((trigger.tenant, trigger.id), secrets)
            }))
    }

    async fn record(
        &self,
        &(tenant, trigger): &Self::Trigger,
        incoming: Incoming,
    ) -> Result<Recorded, InboxError> {
        let (accepted, reason, facts) = match &incoming.meaning {
            Meaning::Accepted(facts) => (Accepted::Events, None, facts.as_slice()),
            Meaning::Ping => (Accepted::Ping, None, [].as_slice()),
            Meaning::Ignored { reason } => (Accepted::Ignored, Some(reason), [].as_slice()),
            Meaning::Malformed { reason } => (Accepted::Malformed, Some(reason), [].as_slice()),
        };
        let events = facts
            .iter()
            .enumerate()
            .map(|(child, fact)| event(trigger, &incoming.key, child, fact))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let delivery = NewDelivery {
            id: self.new_id().into(),
            tenant,
            trigger,
            vendor: incoming.vendor,
            vendor_event: incoming.vendor_event.as_deref(),
            key: Some(&incoming.key),
            accepted,
            reason: reason.map(String::as_str),
            headers: serde_json::to_value(&incoming.headers).map_err(failed)?,
            body: &incoming.body,
            body_sha256: incoming.body_sha256,
            traceparent: Some(incoming.traceparent.as_str()),
            events: &events,
        };
        let keyring = self.keyring().map_err(failed)?;
        let stored = self.store().accept_delivery(keyring, &delivery).await;
        Ok(match stored.map_err(unanswered)? {
            Stored::AsGiven => Recorded::New(delivery.id),
            Stored::Duplicate { first } => Recorded::Duplicate { first },
            Stored::Conflict { first } => Recorded::Conflict { first },
        })
    }

    async fn reject(
        &self,
        trigger: Option<&Self::Trigger>,
        rejection: Rejection,
    ) -> Result<(), InboxError> {
        let rejection = StoredRejection {
            id: self.new_id().into(),
            trigger: trigger.copied(),
            vendor: rejection.vendor,
            vendor_event: rejection.vendor_event.as_deref(),
            reason: &rejection.reason,
            headers: serde_json::to_value(&rejection.headers).map_err(failed)?,
        };
        let counted = self.store().count_rejection(&rejection).await;
        counted.map_err(unanswered)
    }
}

/// A delivery's fact as an event. Its id follows from the trigger and the sender's name for the delivery, so that the same
/// delivery can never make a second event, whatever became of the row that remembers its name.
fn event(
    trigger: TriggerId,
    key: &str,
    child: usize,
    fact: &Normalised,
) -> Result<NewEvent, serde_json::Error> {
    let (ty, subject, data) = match fact {
        Normalised::Pushed(it) => {
            let data = serde_json::to_string(it)?;
            (events::EventType::GitPushed, &it.ref_name, data)
        }
        Normalised::Tagged(it) => {
            let data = serde_json::to_string(it)?;
            (events::EventType::GitTagged, &it.ref_name, data)
        }
    };
    let trigger = trigger.to_string();
    let id = events::deterministic_uuid(&[&trigger, key, &child.to_string()]);
    Ok(NewEvent {
        id: EventId::from(id),
        ty: ty.as_str(),
        source: format!("/switchyard/triggers/{trigger}"),
        subject: Some(subject.clone()),
        data,
    })
}

/// What passes by itself is worth sending again.
fn unanswered(error: sqlx::Error) -> InboxError {
    if database::is_passing(&error) {
        InboxError::Unavailable(Box::new(error))
    } else {
        failed(error)
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> InboxError {
    InboxError::Failed(Box::new(error))
}
