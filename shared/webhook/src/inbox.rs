//! What the endpoint asks of whoever keeps deliveries.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use host::Traceparent;
use http::HeaderMap;
use model::{DeliveryId, TriggerId};

use crate::{Cause, Normalised, Secrets, Which};

/// A trigger with its secrets, or that there is none.
pub type FoundTrigger<Trigger> = Option<(Trigger, Secrets)>;

/// Where deliveries are kept.
pub trait Inbox: Clone + Send + Sync + 'static {
    /// What `trigger` returns and `record` and `reject` take back: whose trigger it is, in which version.
    type Trigger: PartialEq + Send + Sync + 'static;

    /// Counts a request, whatever becomes of it.
    fn received(&self) {}

    /// The time, against which signatures that are good for a while are held.
    fn now(&self) -> DateTime<Utc>;

    /// Where a request with these headers came from, as far as our own proxies say.
    fn sender_address(&self, headers: &HeaderMap) -> Option<IpAddr>;

    /// The trigger with its secrets, or `None` when there is none that takes webhooks.
    fn trigger(
        &self,
        id: TriggerId,
    ) -> impl Future<Output = Result<Option<(Self::Trigger, Secrets)>, InboxError>> + Send;

    /// What [`Inbox::trigger`] found a moment ago, when it was asked then: the trigger, or that there is none. What does not
    /// verify against it is held against [`Inbox::trigger`], and `record` says when it has changed since.
    fn remembered(
        &self,
        _: TriggerId,
    ) -> impl Future<Output = Result<Option<FoundTrigger<Self::Trigger>>, InboxError>> + Send {
        std::future::ready(Ok(None))
    }

    /// The delivery of which somebody here wants a new attempt: what a header says that only we can have made for this trigger
    /// and this body, a moment ago.
    fn redelivered(&self, _: TriggerId, _proof: &str, _body_sha256: [u8; 32]) -> Option<Again> {
        None
    }

    /// Stores a verified delivery, its events and their publication: all of it or nothing. What has the same key as an
    /// earlier one is recorded as a repeat and starts nothing.
    fn record(
        &self,
        trigger: &Self::Trigger,
        incoming: Incoming,
    ) -> impl Future<Output = Result<Recorded, InboxError>> + Send;

    /// Counts a request that did not verify. The trigger is `None` when there is no such one.
    fn reject(
        &self,
        trigger: Option<&Self::Trigger>,
        rejection: Rejection,
    ) -> impl Future<Output = Result<(), InboxError>> + Send;
}

/// A new attempt at a delivery that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// The stored one.
    pub of: DeliveryId,
    /// The attempt: one that comes twice is one.
    pub attempt: uuid::Uuid,
}

/// By what a delivery is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The sender's name for it.
    Named(String),
    /// One made of its body; counts for a while.
    OfBody(String, Duration),
}

impl Key {
    /// The key's text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Named(text) | Self::OfBody(text, _) => text,
        }
    }
}

/// A verified delivery, to be stored.
#[derive(Debug)]
pub struct Incoming {
    /// Who sent it, by their headers.
    pub vendor: &'static str,
    /// Their name for what happened.
    pub vendor_event: Option<String>,
    /// Which of the trigger's secrets proved it; none proves a new attempt.
    pub proved_by: Option<Which>,
    /// Their name for this delivery or, when they give none, one made of the body; nothing where two equal bodies are two
    /// deliveries.
    pub key: Option<Key>,
    /// The delivery of which this is a new attempt.
    pub again: Option<DeliveryId>,
    /// What it means.
    pub meaning: Meaning,
    /// Its headers, masked.
    pub headers: BTreeMap<String, String>,
    /// Its bytes as they were sent.
    pub body: Bytes,
    /// Their SHA-256.
    pub body_sha256: [u8; 32],
    /// The trace that it belongs to.
    pub traceparent: Traceparent,
}

/// What a verified delivery means.
#[derive(Debug)]
pub enum Meaning {
    /// Facts that may start work.
    Accepted(Vec<Normalised>),
    /// A try.
    Ping,
    /// Nothing acts on it.
    Ignored {
        /// Why not.
        reason: String,
    },
    /// It is not what its headers say.
    Malformed {
        /// Where and why.
        reason: String,
    },
}

/// What became of a verified delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is the first with its key, or was malformed.
    New(DeliveryId),
    /// It was here before.
    Duplicate {
        /// The first one.
        first: DeliveryId,
    },
    /// Another one with the same key was here before.
    Conflict {
        /// The first one.
        first: DeliveryId,
    },
    /// It was not stored: the trigger has changed since, and the delivery is held against it once more.
    Changed,
}

/// A request that did not verify. Nothing of its body is kept.
#[derive(Debug)]
pub struct Rejection {
    /// Whose URL it came to.
    pub vendor: &'static str,
    /// What it says happened.
    pub vendor_event: Option<String>,
    /// Why it did not verify: one of a few texts, so that they can be counted.
    pub reason: String,
    /// What is probably wrong.
    pub cause: Cause,
    /// Its headers, masked.
    pub headers: BTreeMap<String, String>,
    /// How many of a trigger and hour are stored; the others are counted only.
    pub sampled: u32,
}

/// Why the inbox could not answer.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// It cannot be reached now; the same may succeed later.
    #[error("the inbox cannot be reached")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Something else went wrong, which sending again may not mend.
    #[error("the delivery could not be handled")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}
