//! The inbox of functions: the store, reached through their [`Ctx`].

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::EventType;
use host::{Ctx, Env, Routes, SettingsError};
use http::HeaderMap;
use model::git::ChangeAction;
use model::scheme::Issuer;
use model::{DeliveryId, EventId, Scheme, TenantId, TriggerId};
use store::RedeliveryToken;
use store::inbox::{
    Accepted, InboxTrigger, NewDelivery, NewEvent, NewKey, ProvedBy, Rejection as StoredRejection,
    Stored,
};

use crate::inbox::{Again, Inbox, InboxError, Incoming, Key, Meaning, Recorded, Rejection};
use crate::{
    Normalised, PathHash, PathSecrets, Secrets, SigningKey, Taking, Vendor, Which, endpoint,
};

/// The routes of a vendor's function.
///
/// # Errors
/// When there is no master key, without which no trigger's secret can be opened, or a setting of [`Taking`] is none.
pub fn routes<V: Vendor>(env: &Env) -> Result<Routes, SettingsError> {
    env.require("MASTER_KEY_FILE")?;
    Ok(endpoint::<V, Ctx>(Taking::of(env)?).into())
}

impl Inbox for Ctx {
    type Trigger = Whose;

    fn received(&self) {
        self.metrics().received(self.function());
    }

    fn now(&self) -> DateTime<Utc> {
        Ctx::now(self)
    }

    fn sender_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        Ctx::sender_address(self, headers)
    }

    async fn trigger(&self, id: TriggerId) -> Result<Option<(Whose, Secrets)>, InboxError> {
        let keyring = self.keyring().map_err(failed)?;
        let found = self.store().inbox_trigger(keyring, id).await;
        let found = found.map_err(|error| match error {
            store::inbox::InboxError::Database(error) => unanswered(error),
            error @ (store::inbox::InboxError::Sealed(_)
            | store::inbox::InboxError::NotText
            | store::inbox::InboxError::Kind(_)
            | store::inbox::InboxError::Scheme(_)) => failed(error),
        })?;
        with_secrets(self, found).await
    }

    async fn remembered(
        &self,
        id: TriggerId,
    ) -> Result<Option<Option<(Whose, Secrets)>>, InboxError> {
        match self.store().remembered_trigger(id) {
            Some(found) => Ok(Some(with_secrets(self, found).await?)),
            None => Ok(None),
        }
    }

    fn redelivered(&self, id: TriggerId, proof: &str, body_sha256: [u8; 32]) -> Option<Again> {
        let keyring = self.keyring().ok()?;
        let token = RedeliveryToken::verify(proof, keyring, Ctx::now(self)).ok()?;
        (token.trigger == id && token.body_sha256 == body_sha256).then_some(Again {
            of: token.delivery,
            attempt: token.attempt,
        })
    }

    async fn record(&self, whose: &Whose, incoming: Incoming) -> Result<Recorded, InboxError> {
        let &Whose {
            tenant,
            trigger,
            version,
        } = whose;
        let (accepted, reason, facts) = match &incoming.meaning {
            Meaning::Accepted(facts) => (Accepted::Events, None, facts.as_slice()),
            Meaning::Ping => (Accepted::Ping, None, [].as_slice()),
            Meaning::Ignored { reason } => (Accepted::Ignored, Some(reason), [].as_slice()),
            Meaning::Malformed { reason } => (Accepted::Malformed, Some(reason), [].as_slice()),
        };
        let id = DeliveryId::from(self.new_id());
        // Two equal bodies with more than their window between them are two deliveries, with two events.
        let unnamed = id.to_string();
        let named = match &incoming.key {
            Some(Key::Named(name)) => name,
            Some(Key::OfBody(..)) | None => &unnamed,
        };
        let events = facts
            .iter()
            .enumerate()
            .map(|(child, fact)| event(trigger, named, child, fact))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let delivery = NewDelivery {
            id,
            tenant,
            trigger,
            trigger_version: version,
            proved_by: incoming.proved_by.map(|which| match which {
                Which::Current => ProvedBy::Current,
                Which::Previous => ProvedBy::Previous,
            }),
            function: self.function(),
            vendor: incoming.vendor,
            vendor_event: incoming.vendor_event.as_deref(),
            key: incoming.key.as_ref().map(|key| match key {
                Key::Named(name) => NewKey::Named(name),
                Key::OfBody(text, window) => NewKey::OfBody(text, *window),
            }),
            accepted,
            reason: reason.map(String::as_str),
            headers: serde_json::to_value(&incoming.headers).map_err(failed)?,
            body: &incoming.body,
            body_sha256: incoming.body_sha256,
            traceparent: Some(incoming.traceparent.as_str()),
            redelivery_of: incoming.again,
            events: &events,
        };
        let keyring = self.keyring().map_err(failed)?;
        let stored = self.store().accept_delivery(keyring, &delivery).await;
        let stored = stored.map_err(unanswered)?;
        if stored == Stored::Changed {
            self.store().forget_trigger(trigger);
        }
        Ok(match stored {
            Stored::AsGiven => Recorded::New(delivery.id),
            Stored::Duplicate { first } => Recorded::Duplicate { first },
            Stored::Conflict { first } => Recorded::Conflict { first },
            Stored::Changed => Recorded::Changed,
        })
    }

    async fn reject(
        &self,
        trigger: Option<&Whose>,
        rejection: Rejection,
    ) -> Result<(), InboxError> {
        let rejection = StoredRejection {
            id: self.new_id().into(),
            trigger: trigger.map(|whose| (whose.tenant, whose.trigger)),
            function: self.function(),
            vendor: rejection.vendor,
            vendor_event: rejection.vendor_event.as_deref(),
            reason: &rejection.reason,
            cause: rejection.cause.as_str(),
            headers: serde_json::to_value(&rejection.headers).map_err(failed)?,
            sampled: i32::try_from(rejection.sampled).unwrap_or(i32::MAX),
        };
        let counted = self.store().count_rejection(&rejection).await;
        counted.map_err(unanswered)
    }
}

/// Whose trigger a request named, and in which version it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    tenant: TenantId,
    trigger: TriggerId,
    version: i64,
}

async fn with_secrets(
    ctx: &Ctx,
    found: Option<InboxTrigger>,
) -> Result<Option<(Whose, Secrets)>, InboxError> {
    let Some(trigger) = found.filter(|trigger| trigger.kind.takes_webhooks()) else {
        return Ok(None);
    };
    let secrets = match trigger.secret {
        Some(current) => Secrets::new(current, trigger.secret_previous),
        None => Secrets::none(),
    };
    let keys = match &trigger.scheme {
        Some(Scheme::Oidc(scheme)) => keys(ctx, scheme.issuer).await?,
        Some(_) | None => Arc::default(),
    };
    let secrets = secrets
        .with_scheme(trigger.scheme)
        .with_path(PathSecrets {
            current: trigger.path_sha256.map(PathHash),
            previous: trigger.path_sha256_previous.map(PathHash),
        })
        .with_keys(keys);
    let whose = Whose {
        tenant: trigger.tenant,
        trigger: trigger.id,
        version: trigger.version,
    };
    Ok(Some((whose, secrets)))
}

/// Where an issuer publishes its keys.
/// <https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions>
pub const fn keys_url(issuer: Issuer) -> &'static str {
    match issuer {
        Issuer::Google => "https://www.googleapis.com/oauth2/v3/certs",
    }
}

/// The keys that an issuer publishes. Without them nothing can be told of a token, so the sender has to come again.
async fn keys(ctx: &Ctx, issuer: Issuer) -> Result<Arc<[SigningKey]>, InboxError> {
    let unavailable = |error: Box<dyn Error + Send + Sync>| InboxError::Unavailable(error);
    let set = ctx.documents().get(keys_url(issuer)).await;
    let set = set.map_err(|error| unavailable(error.into()))?;
    let keys = SigningKey::of_set(&set).map_err(|error| unavailable(error.into()))?;
    Ok(keys.into())
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
        Normalised::Pushed(it) => (
            EventType::GitPushed,
            it.ref_name.clone(),
            serde_json::to_string(it)?,
        ),
        Normalised::Tagged(it) => (
            EventType::GitTagged,
            it.ref_name.clone(),
            serde_json::to_string(it)?,
        ),
        Normalised::BranchCreated(it) => (
            EventType::GitBranchCreated,
            it.ref_name.clone(),
            serde_json::to_string(it)?,
        ),
        Normalised::BranchDeleted(it) => (
            EventType::GitBranchDeleted,
            it.ref_name.clone(),
            serde_json::to_string(it)?,
        ),
        Normalised::Changed(it) => (
            changed(it.action),
            it.number.to_string(),
            serde_json::to_string(it)?,
        ),
        Normalised::Released(it) => (
            EventType::GitReleased,
            it.tag.clone(),
            serde_json::to_string(it)?,
        ),
        Normalised::PipelineFinished(it) => (
            EventType::PipelineFinished,
            it.run.clone(),
            serde_json::to_string(it)?,
        ),
        Normalised::ImagePushed(it) => (
            EventType::ImagePushed,
            it.image.to_string(),
            serde_json::to_string(it)?,
        ),
        Normalised::ImageDeleted(it) => (
            EventType::ImageDeleted,
            it.image.to_string(),
            serde_json::to_string(it)?,
        ),
        Normalised::Received(it) => (
            EventType::WebhookReceived,
            it.subject().to_owned(),
            serde_json::to_string(it)?,
        ),
        Normalised::ManualRequested(it) => (
            EventType::ManualRequested,
            trigger.to_string(),
            serde_json::to_string(it)?,
        ),
    };
    let trigger = trigger.to_string();
    let id = events::deterministic_uuid(&[&trigger, key, &child.to_string()]);
    Ok(NewEvent {
        id: EventId::from(id),
        ty: ty.as_str(),
        source: format!("/switchyard/triggers/{trigger}"),
        subject: Some(subject),
        data,
    })
}

fn changed(action: ChangeAction) -> EventType {
    match action {
        ChangeAction::Opened => EventType::GitChangeOpened,
        ChangeAction::Synchronized => EventType::GitChangeSynchronized,
        ChangeAction::Edited => EventType::GitChangeEdited,
        ChangeAction::Reviewed => EventType::GitChangeReviewed,
        ChangeAction::Reopened => EventType::GitChangeReopened,
        ChangeAction::Closed => EventType::GitChangeClosed,
        ChangeAction::Merged => EventType::GitChangeMerged,
    }
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
