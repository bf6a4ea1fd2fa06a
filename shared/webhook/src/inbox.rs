//! What the endpoint asks of whoever keeps deliveries.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use host::Traceparent;
use http::HeaderMap;
use model::{DeliveryId, TriggerId};

use crate::{Normalised, Secrets};

/// Where deliveries are kept.
pub trait Inbox: Clone + Send + Sync + 'static {
    /// What `trigger` returns and `record` and `reject` take back: whose trigger it is.
    type Trigger: Send + Sync + 'static;

    /// The time, against which signatures that are good for a while are held.
    fn now(&self) -> DateTime<Utc>;

    /// Where a request with these headers came from, as far as our own proxies say.
    fn sender_address(&self, headers: &HeaderMap) -> Option<IpAddr>;

    /// The trigger with its secrets, or `None` when there is none that takes webhooks.
    fn trigger(
        &self,
        id: TriggerId,
    ) -> impl Future<Output = Result<Option<(Self::Trigger, Secrets)>, InboxError>> + Send;

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

/// A verified delivery, to be stored.
#[derive(Debug)]
pub struct Incoming {
    /// Who sent it, by their headers.
    pub vendor: &'static str,
    /// Their name for what happened.
    pub vendor_event: Option<String>,
    /// Their name for this delivery or, when they give none, one made of the body; nothing where two equal bodies are two
    /// deliveries.
    pub key: Option<String>,
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
    /// Its headers, masked.
    pub headers: BTreeMap<String, String>,
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
