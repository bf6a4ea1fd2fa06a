//! What a vendor is, and what its payloads become.

use http::HeaderMap;
use model::git::{GitPushed, GitTagged};
use serde::Serialize;

use crate::{BadSignature, Delivery, ParseError, Raw, Secrets, Verified, Which, delivery, sender};

/// How long a vendor's name for a delivery may be.
const DELIVERY_KEY_BYTES_MAX: usize = 200;

/// One kind of sender: how it signs, and what its payloads mean.
pub trait Vendor: Send + Sync + 'static {
    /// The name in URLs and in what people read.
    const NAME: &'static str;

    /// Whose headers are taken; a delivery with those of another sender is refused.
    const SENDERS: &'static [model::Vendor];

    /// Whether these headers are of a sender that this vendor speaks for. Presence decides, values do not.
    #[must_use]
    fn claims(headers: &HeaderMap) -> bool {
        sender(headers).is_some_and(|sender| Self::SENDERS.contains(&sender.vendor))
    }

    /// The sender's own name for this delivery, the same when it is sent again. `None` when there is none, or it is not
    /// one short visible text. It is not signed: it may be looked at only after the signature held.
    #[must_use]
    fn delivery_key(headers: &HeaderMap) -> Option<String> {
        delivery::one(headers, sender(headers)?.delivery)
            .ok()
            .flatten()
            .filter(|key| !key.is_empty() && key.len() <= DELIVERY_KEY_BYTES_MAX)
            .map(str::to_owned)
    }

    /// Checks the signature over the bytes as they were sent.
    ///
    /// # Errors
    /// When it does not hold.
    fn verify(delivery: &Delivery<Raw>, secrets: &Secrets) -> Result<Which, BadSignature>;

    /// Reads what happened. [`Delivery::parse`] calls it, after it has looked at whose headers they are.
    ///
    /// # Errors
    /// When the payload is not what its headers say.
    fn parse(delivery: &Delivery<Verified>) -> Result<Parsed, ParseError>;
}

/// What a delivery means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parsed {
    /// Facts that may start work.
    Events(Vec<Normalised>),
    /// The sender tries whether we are there. The hook works; nothing starts.
    Ping,
    /// Well-formed, and nothing here acts on it.
    Ignored {
        /// Why not.
        reason: String,
    },
}

/// A fact in our own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalised {
    /// A branch moved, appeared or went away.
    Pushed(GitPushed),
    /// A tag moved, appeared or went away.
    Tagged(GitTagged),
}
