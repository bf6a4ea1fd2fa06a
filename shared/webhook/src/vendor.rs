//! What a vendor is, and what its payloads become.

use http::HeaderMap;
use model::git::{GitBranch, GitChange, GitPushed, GitReleased, GitTagged, PipelineFinished};
use model::image::{ImageDeleted, ImagePushed};
use model::webhook::{ManualRequested, WebhookReceived};
use serde::Serialize;

use crate::{BadSignature, Delivery, ParseError, Raw, Secrets, Tested, Verified, Which, sender};

/// One kind of sender: how it signs, and what its payloads mean.
pub trait Vendor: Send + Sync + 'static {
    /// The name in URLs and in what people read.
    const NAME: &'static str;

    /// Whose headers are taken; a delivery with those of another sender is refused.
    const SENDERS: &'static [model::Vendor];

    /// The events that are understood, and by whose word.
    const TESTED: &'static [Tested] = &[];

    /// Whether these headers are of a sender that this vendor speaks for. Presence decides, values do not.
    #[must_use]
    fn claims(headers: &HeaderMap) -> bool {
        sender(headers).is_some_and(|sender| Self::SENDERS.contains(&sender.vendor))
    }

    /// What the sender calls this delivery and what happened: by its headers, unless a vendor looks into the body because
    /// its senders say it there. An event or a name that is not one short visible text counts as absent.
    #[must_use]
    fn labels(delivery: &Delivery<Verified>) -> Labels {
        delivery.labels()
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

/// What a sender says about a delivery, besides what happened. Read after the signature held, though a name in a header is
/// not signed: whoever has seen one delivery can send it again under another name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Who it is, where a vendor speaks for more than one.
    pub vendor: Option<model::Vendor>,
    /// What the sender calls what happened.
    pub event: Option<String>,
    /// The sender's own name for this delivery, the same when it is sent again.
    pub key: Option<String>,
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
    /// A branch is new.
    BranchCreated(GitBranch),
    /// A branch went away.
    BranchDeleted(GitBranch),
    /// Something happened to a pull request or merge request.
    Changed(GitChange),
    /// Something happened to a release.
    Released(GitReleased),
    /// Somebody else's pipeline ended.
    PipelineFinished(PipelineFinished),
    /// A tag names an image, or an image is there.
    ImagePushed(ImagePushed),
    /// A tag or an image is gone.
    ImageDeleted(ImageDeleted),
    /// Something that no vendor's words describe.
    Received(WebhookReceived),
    /// Somebody wants it to run now.
    ManualRequested(ManualRequested),
}
