//! What each event of a vendor is tested with, so that people can see what is promised and by whose word.

use events::EventType;

/// One event of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tested {
    /// Who sends it.
    pub vendor: model::Vendor,
    /// What they call it.
    pub event: &'static str,
    /// What it may become; nothing for a try.
    pub becomes: &'static [EventType],
    /// By whose word.
    pub with: With,
}

/// By whose word an event is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// A payload that somebody else recorded: the address of the collection.
    Recorded(&'static str),
    /// A payload of our own in the shape that is documented: the document's address.
    Documented(&'static str),
}

impl With {
    /// Where it can be read.
    #[must_use]
    pub const fn address(self) -> &'static str {
        match self {
            Self::Recorded(address) | Self::Documented(address) => address,
        }
    }
}

/// What happens to a pull request or merge request that is opened, changed and ended.
pub const OF_A_CHANGE: &[EventType] = &[
    EventType::GitChangeOpened,
    EventType::GitChangeSynchronized,
    EventType::GitChangeEdited,
    EventType::GitChangeReviewed,
    EventType::GitChangeReopened,
    EventType::GitChangeClosed,
    EventType::GitChangeMerged,
];
